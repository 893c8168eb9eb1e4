import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.embedders import EmbedderError
from extproc.cache.embedders.static import LONGEST, StaticEmbedder


@pytest.fixture(scope="module")
def static() -> StaticEmbedder:
    return StaticEmbedder()


def package() -> Path:
    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


async def cosine(static: StaticEmbedder, first: str, second: str) -> float:
    a, b = await static.embed([first, second])
    return float(a @ b)


async def test_near_questions_are_near_and_far_ones_far(static: StaticEmbedder) -> None:
    near = await cosine(static, "How do I reset my password?", "how can I reset my password")
    far = await cosine(static, "How do I reset my password?", "Who painted the Mona Lisa?")
    assert near > 0.85
    assert far < 0.4


async def test_it_is_the_mean_of_the_table(static: StaticEmbedder) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    tokenizers = pytest.importorskip("tokenizers")
    table = safetensors.load_file(package() / "weights" / "l2_supercat_256.safetensors")
    words = tokenizers.Tokenizer.from_file(
        str(package() / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    text = "May I work remotely from Spain?"
    ids = words.encode(text, add_special_tokens=False).ids
    mean = table["embedding.weight"][ids].astype(np.float64).mean(axis=0)
    found = (await static.embed([text]))[0]
    assert np.allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


WORDS = st.sampled_from(
    [
        "How",
        "my",
        "parcel's",
        "parcel?",
        "12.5",
        "",
        "\n",
        "\u2581",
        "x\u2581",
        "\ud55c",
        "<s>",
        "aa" * 15,
    ]
) | st.text(max_size=4)


@given(texts=st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=4))
def test_word_by_word_it_is_the_same(static: StaticEmbedder, texts: list[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    whole = tokenizers.Tokenizer.from_file(
        str(package() / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    whole.encode_special_tokens = True
    for text in [one.strip() for one in texts if one.strip()]:
        ids = whole.encode(text, add_special_tokens=False).ids
        for _ in range(2):  # with words that are new, and that are known
            assert static._spelling.ids(text) == ids


async def test_shape_and_name(static: StaticEmbedder) -> None:
    found = await static.embed(["a", "b c", ""])
    assert found.shape == (3, static.dim) == (3, 256)
    assert found.dtype == np.float32
    assert (await static.embed([])).shape == (0, 256)
    assert static.id.startswith("static/wordllama-")
    assert static.id.endswith("/256")
    assert (await static.embedded(["a"])).tokens == 0
    assert StaticEmbedder().id == static.id


@given(texts=st.lists(st.text(st.characters(codec=None)), max_size=5))
def test_every_text_has_a_direction(static: StaticEmbedder, texts: list[str]) -> None:
    found = static.vectors(texts)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


async def test_scripts_differ(static: StaticEmbedder) -> None:
    texts = ["日本の首都はどこですか", "ഇന്ത്യയുടെ തലസ്ഥാനം ഏത്", "ⴰⵣⵓⵍ", "🙂", "🙃", "\x00", ""]
    found = await static.embed(texts)
    scores = found @ found.T - np.eye(len(texts))
    assert scores.max() < 0.99


async def test_marks_in_a_text_are_text(static: StaticEmbedder) -> None:
    assert await cosine(static, "<s>", "") < 0.9
    assert await cosine(static, "</s>", "<unk>") < 0.99


async def test_white_space_around_does_not_count(static: StaticEmbedder) -> None:
    assert await cosine(static, "\n a question ", "a question") == pytest.approx(1)


async def test_of_a_long_text_the_ends_count_and_it_is_said(static: StaticEmbedder) -> None:
    text = "tell me about cats. " * 5000
    other = text + "Now translate this into French, please!" * 300
    assert not static.whole(text)
    assert await cosine(static, text, other) < 0.98
    assert static.whole("x" * LONGEST)
    assert not static.whole("\ud800")


async def test_a_long_text_leaves_the_event_loop_alone(static: StaticEmbedder) -> None:
    turns, text = 0, "some words of a long text " * 1200
    found = asyncio.create_task(static.embed([text] * 10))
    while not found.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


def test_without_the_package_the_command_is_said(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="pip install wordllama"):
        StaticEmbedder(tmp_path)


def test_a_broken_package_is_told(tmp_path: Path) -> None:
    for folder in ("weights", "tokenizers"):
        shutil.copytree(package() / folder, tmp_path / folder)
    table = tmp_path / "weights" / "l2_supercat_256.safetensors"
    whole = table.read_bytes()
    assert StaticEmbedder(tmp_path).dim == 256
    table.write_bytes(whole[:-1000])
    with pytest.raises(EmbedderError, match="outside the file"):
        StaticEmbedder(tmp_path)
    table.write_bytes(whole)
    (tmp_path / "tokenizers" / "l2_supercat_tokenizer_config.json").write_text("{}")
    with pytest.raises(EmbedderError, match="its tokenizer cannot be read"):
        StaticEmbedder(tmp_path)


def test_another_table_has_another_name(tmp_path: Path) -> None:
    for folder in ("weights", "tokenizers"):
        shutil.copytree(package() / folder, tmp_path / folder)
    before = StaticEmbedder(tmp_path).id
    table = tmp_path / "weights" / "l2_supercat_256.safetensors"
    data = bytearray(table.read_bytes())
    data[-2] ^= 1
    table.write_bytes(data)
    assert StaticEmbedder(tmp_path).id != before
