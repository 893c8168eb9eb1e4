"""Embeddings by the OpenAI SDK: vectors of every provider that makes them, and nobody else's."""

from __future__ import annotations

import math
import subprocess
import sys
from array import array
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from extproc import catalogue
from tests.e2e.conftest import GATEWAY, Running
from tests.e2e.figures import figures
from tests.e2e.levels import dollars, headers, said, scripted

pytestmark = pytest.mark.e2e

TARGETS = {
    "embed-small": ("openai", "openai", "text-embedding-3-small", 1536),
    "embed-azure": ("azure", "azure.ai.openai", "text-embedding-3-small", 1536),
    "embed-gemini": ("gemini", "gcp.gemini", "gemini-embedding-001", 768),
    "embed-cohere": ("cohere", "cohere", "embed-v4.0", 1536),
}
"""The simulator's port, the catalogue's entry, and the usual length."""
TEXTS = ["a cat", "naïve 東京 🚦", 'a "dog"\n', "a cat"]


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


def alike(one: list[float], other: list[float]) -> bool:
    """The same vector, within what float32 keeps."""
    return len(one) == len(other) and max(
        abs(left - right) for left, right in zip(one, other, strict=True)
    ) < 1e-6  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_batch(target: str, sdk: OpenAI, gateway: Running) -> None:
    """As the SDK asks on its own (base64), and as numbers."""
    port, system, model, length = TARGETS[target]
    packed = sdk.embeddings.with_raw_response.create(model=target, input=TEXTS)
    plain = sdk.embeddings.create(model=target, input=TEXTS, encoding_format="float")
    answer = packed.parse()
    # Azure knows deployments.
    assert answer.model == ("vectors" if port == "azure" else model)
    assert answer.object == "list"
    for vectors in (answer.data, plain.data):
        assert [one.index for one in vectors] == [0, 1, 2, 3]
        assert {one.object for one in vectors} == {"embedding"}
    pairs = zip(answer.data, plain.data, strict=True)
    assert all(alike(one.embedding, other.embedding) for one, other in pairs)
    first, second, _, again = [one.embedding for one in answer.data]
    assert len(first) == length
    assert alike(first, again)
    assert not alike(first, second)
    assert math.isclose(math.hypot(*first), 1, rel_tol=1e-3)
    sent = gateway.asked()[0]
    assert sent["port"] == port
    assert packed.headers["x-tollgate-target"] == target
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sent["billed"]["input"]
    found = catalogue.load().find(system, model)
    assert found is not None
    assert found.price is not None
    cost = sent["billed"]["input"] * found.price.input
    assert dollars(packed.headers["x-tollgate-cost"]) == round(cost / 1_000_000)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["float", "base64", None])
def test_one_text_of_fewer_dimensions(target: str, form: Any, sdk: OpenAI) -> None:
    asked: dict[str, Any] = {"model": target, "input": "a cat", "dimensions": 768}
    if target == "embed-cohere":
        asked["dimensions"] = 512  # it has steps of its own
    if form is not None:
        asked["encoding_format"] = form
    answer = sdk.embeddings.create(**asked)
    (vector,) = answer.data
    vectors: Any = vector.embedding
    if form == "base64":  # asked for by name it stays so
        vectors = array("f", b64decode(vectors))
    assert len(vectors) == asked["dimensions"]


async def test_without_blocking(gateway: Running) -> None:
    async with gateway.async_openai() as client:
        answer = await client.embeddings.create(model="vectors", input=["x"] * 300)
    assert len(answer.data) == 300


def test_the_same_model_elsewhere(gateway: Running, sdk: OpenAI) -> None:
    """A chain of one model: Azure serves what OpenAI cannot, and the vectors are the same."""
    by_openai = sdk.embeddings.create(model="vectors", input="a cat").data[0].embedding
    script = scripted(by={"openai": {"error": "rate_limit"}})
    answer = sdk.embeddings.with_raw_response.create(
        model="vectors", input="a cat", extra_headers=script
    )
    assert answer.headers["x-tollgate-target"] == "embed-azure"
    assert alike(answer.parse().data[0].embedding, by_openai)
    assert "/deployments/vectors/embeddings" in gateway.asked()[-1]["path"]


def test_what_a_provider_sees(gateway: Running, sdk: OpenAI) -> None:
    secret = {"x-tollgate-user": "canary", "openai-organization": "canary", "cookie": "canary"}
    for target in TARGETS:
        sdk.embeddings.create(model=target, input="a cat", extra_headers=secret)
        got = headers(gateway.asked()[-1])
        assert "canary" not in str(got)
        assert not [name for name in got if name.startswith("x-tollgate-")]
        assert "a cat" in said(gateway)


def test_tokens_instead_of_text(sdk: OpenAI) -> None:
    """OpenAI takes what was cut into its tokens; nobody else knows them."""
    answer = sdk.embeddings.create(model="embed-small", input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2
    for target in ("embed-gemini", "embed-cohere"):
        with pytest.raises(openai.BadRequestError, match=f"{target}.*tokens") as raised:
            sdk.embeddings.create(model=target, input=[[1, 2, 3], [4]])
        assert raised.value.code == "unsupported_parameter"


@pytest.mark.parametrize("target", ["claude-sonnet", "gpt-4-turbo", "nova", "command"])
def test_models_that_make_none(target: str, sdk: OpenAI, gateway: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="embeddings") as raised:
        sdk.embeddings.create(model=target, input="a cat")
    assert raised.value.code == "unsupported_parameter"
    assert gateway.asked() == []


def test_models_that_do_nothing_else(sdk: OpenAI, gateway: Running) -> None:
    for target in TARGETS:
        with pytest.raises(openai.BadRequestError, match=target):
            sdk.chat.completions.create(model=target, messages=[{"role": "user", "content": "Hi"}])
    assert gateway.asked() == []


BAD: list[Any] = ["", [], ["x", 1], [""] * 3000, {"a": 1}, None]


@pytest.mark.parametrize("given", BAD, ids=["empty", "none", "mixed", "many", "object", "null"])
def test_input_that_is_wrong(given: Any, sdk: OpenAI, gateway: Running) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.embeddings.create(model="embed-small", input=given)
    assert raised.value.param == "input"
    assert gateway.asked() == []


@pytest.mark.parametrize("target", TARGETS)
def test_errors(target: str, sdk: OpenAI) -> None:
    def fails(**script: Any) -> None:
        sdk.embeddings.create(
            model=target,
            input="a cat",
            extra_headers=scripted(**script),
        )

    with pytest.raises(openai.RateLimitError) as limited:
        fails(error="rate_limit", retry_after=9)
    assert limited.value.response.headers["retry-after"] == "9"
    with pytest.raises(openai.BadRequestError, match="canary"):
        fails(error="invalid_request", message="canary")
    for garbage in ("html", "truncated_json", "empty", "binary"):
        with pytest.raises(openai.InternalServerError) as raised:
            fails(garbage=garbage)
        assert raised.value.code in ("no_provider_available", "bad_answer")


def test_what_is_counted(sdk: OpenAI, gateway: Running) -> None:
    before = figures(gateway)
    answer = sdk.embeddings.with_raw_response.create(model="embed-small", input=TEXTS)
    tokens = answer.parse().usage.total_tokens
    after = figures(gateway)
    labels = {"target": "embed-small", "kind": "input"}
    name = "tollgate_tokens_total"
    assert after.sum(name, **labels) - before.sum(name, **labels) == tokens
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert (line["input_tokens"], line["output_tokens"]) == (tokens, 0)
    assert line["cost_nanousd"] == dollars(answer.headers["x-tollgate-cost"])
    spans = {"gen_ai_operation_name": "embeddings"}
    name = "gen_ai_client_operation_duration_seconds_count"
    assert after.sum(name, **spans) - before.sum(name, **spans) == 1


def test_check_refuses_a_chain_of_two_models(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    text = GATEWAY.read_text()
    config.write_text(text.replace("[embed-small, embed-azure]", "[embed-small, embed-cohere]"))
    assert config.read_text() != text
    command = [sys.executable, "-m", "extproc.cli", "check", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "vectors" in done.stdout + done.stderr
    assert "embed-v4.0" in done.stdout + done.stderr
