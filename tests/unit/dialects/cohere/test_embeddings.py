import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from extproc.dialects import BadAnswerError
from extproc.dialects.cohere import Cohere
from extproc.errors import ClientError
from extproc.simulator import cohere_request as wire
from tests.unit.dialects.level import Level

MODEL = "embed-v4.0"


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "hi", **fields}).encode()


def level(**fields: Any) -> Level:
    return Level(Cohere(), "embeddings", body(**fields), model=MODEL)


def answer(*rows: Any, kind: str = "float") -> bytes:
    meta = {"billed_units": {"input_tokens": 3.0}}
    return json.dumps({"id": "x", "embeddings": {kind: rows}, "meta": meta}).encode()


def test_a_request() -> None:
    made = level().request(body(input=["a", "b"], dimensions=512))
    assert made.path == "/v2/embed"
    wire.EMBED.decode(made.body)
    assert json.loads(made.body) == {
        "model": MODEL,
        "input_type": "search_document",
        "texts": ["a", "b"],
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 512,
    }
    made = level().request(body(encoding_format="base64"))
    assert json.loads(made.body)["embedding_types"] == ["base64"]


def test_answers() -> None:
    found = CreateEmbeddingResponse.model_validate_json(level().answer(answer([0.5, 1], [2])).body)
    assert [one.embedding for one in found.data] == [[0.5, 1], [2]]
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (3, 3)
    packed = level(encoding_format="base64").answer(answer("AAAAPw==", kind="base64"))
    assert json.loads(packed.body)["data"][0]["embedding"] == "AAAAPw=="


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": [1, 2]}, "embeddings: Cohere takes text, not tokens"),
        ({"input": [[1], [2]]}, "embeddings: Cohere takes text, not tokens"),
        ({"input": ["x"] * 97}, "embeddings: Cohere takes at most 96 texts a request"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], said: str) -> None:
    assert level().lacks(body(**fields)) == said


def test_tokens_are_not_written() -> None:
    with pytest.raises(ClientError):
        level().request(body(input=[1, 2]))


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{}", b"[]", b'{"embeddings": {}}', answer(), answer("x"), answer(1),
        answer([1], kind="int8"), answer([1], ["1"]), answer([[1]]), answer([None]),
        b'{"embeddings": {"float": [[1, {"\xc1": 5}]]}}',
        b'{"embeddings": {"float": [[1]]}, "meta": 1}',
        b'{"embeddings": {"float": [[1]]}, "meta": {"billed_units": {"input_tokens": -1}}}',
    ],
)  # fmt: skip
def test_what_are_no_embeddings(wrong: bytes) -> None:
    with pytest.raises(BadAnswerError):
        level().answer(wrong)


@given(st.binary(max_size=99))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        level().answer(data)
