import json
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse

from extproc.dialects import BadAnswerError, Vectors
from extproc.dialects.openai import OpenAI
from extproc.errors import ClientError
from tests.unit.dialects.level import FORMATS, Level

FORMAT = FORMATS["embeddings"]
ANSWER: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.25]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


def body(given: Any = "a text", **fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": given, **fields}).encode()


@pytest.mark.parametrize("given", ["a", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_kind_of_input_passes(given: Any) -> None:
    level = Level(OpenAI(), "embeddings", server="openai")
    sent = body(given, dimensions=2, encoding_format="base64", user="u")
    assert level.lacks(sent) is None
    wire = level.request(sent, model="e")
    assert wire.path == "/v1/embeddings"
    assert json.loads(wire.body) == {**json.loads(sent), "model": "e"}


@pytest.mark.parametrize(
    ("given", "text"),
    [("abcd", (4, 0)), (["ab", "é"], (2, 1)), ([1, 2], (8, 0)), ([[1, 2], [3]], (12, 0))],
)
def test_what_counts_as_prompt(given: Any, text: tuple[int, int]) -> None:
    assert FORMAT.parse(body(given)).text == text


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (b'{"model":"m"}', "input"),
        (body(""), "input"),
        (body([]), "input"),
        (body(["a", 1]), "input"),
        (body([[]]), "input[0]"),
        (body([-1]), "input[0]"),
        (body(["a"] * 2049), "input"),
        (body(dimensions=0), "dimensions"),
        (body(encoding_format="hex"), "encoding_format"),
        (body(model=""), "model"),
    ],
)
def test_a_wrong_field_is_named(sent: bytes, param: str) -> None:
    with pytest.raises(ClientError) as caught:
        FORMAT.parse(sent)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_server_without_embeddings_refuses() -> None:
    refusal = Level(OpenAI(), "chat", server="groq").dialect.lacks(
        FORMAT.parse(body()), Level(OpenAI(), "chat", server="groq").target
    )
    assert refusal == "embeddings: this server makes none"


def test_vectors_are_written_as_they_came() -> None:
    read = Vectors("e", [msgspec.Raw(b"[0.10,1e-3]"), msgspec.Raw(b'"AAAA"')], 7)
    made = FORMAT.whole(read, FORMAT.decode(body()))
    assert b"[0.10,1e-3]" in made
    answer = CreateEmbeddingResponse.model_validate(
        {**json.loads(made), "data": json.loads(made)["data"][:1]}
    )
    assert answer.data[0].embedding == [0.1, 0.001]
    assert answer.usage.prompt_tokens == 7


def test_an_answer_passes_or_is_none() -> None:
    given = json.dumps(ANSWER).encode()
    assert Level(OpenAI(), "embeddings").answer(given).body is given
    not_text = b'{"data":[{"embedding":[1],"new":"\xff"}]}'
    for bad in (b"", b"{}", b'{"data":[]}', b'{"error":{"message":"x"}}', b"<html>", not_text):
        with pytest.raises(BadAnswerError):
            FORMAT.look(bad)


def test_only_the_model_changes_on_the_way() -> None:
    given = body()
    request = FORMAT.parse(given)
    assert FORMAT.forwarded(request, given, None) is None
    made = FORMAT.forwarded(request, given, "e")
    assert made is not None
    assert json.loads(made) == {"model": "e", "input": "a text"}
