import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from google.genai import types

from extproc.dialects import BadAnswerError, ClientRequest, Reply, Vectors, Wire
from extproc.dialects.clients.embeddings import EmbeddingsRequest
from extproc.errors import ClientError
from tests.unit.dialects.gemini.samples import GEMINI, VERTEX, at_vertex, target

MODEL = "gemini-embedding-001"


def asked(**fields: Any) -> ClientRequest:
    request = msgspec.convert({"model": "x", **fields}, EmbeddingsRequest)
    return ClientRequest(format="embeddings", model="x", embeddings=request)


def sent(request: ClientRequest) -> tuple[str, dict[str, Any]]:
    assert GEMINI.lacks(request, target(MODEL)) is None
    wire = GEMINI.write(request, b"", target(MODEL))
    assert isinstance(wire, Wire)
    return wire.path, json.loads(wire.body)


def test_texts() -> None:
    path, body = sent(asked(input=["a", "b"], dimensions=256))
    assert path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert body == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 256,
            }
            for text in ("a", "b")
        ]
    }
    for one in body["requests"]:
        types.Content.model_validate(one["content"])


def test_a_text() -> None:
    [one] = sent(asked(input="a"))[1]["requests"]
    assert one == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "a"}]},
    }


@pytest.mark.parametrize("tokens", [[1, 2], [[1], [2, 3]]])
def test_tokens_are_refused(tokens: Any) -> None:
    request = asked(input=tokens)
    refusal = "embeddings: Gemini takes texts and no tokens"
    assert GEMINI.lacks(request, target(MODEL)) == refusal
    with pytest.raises(ClientError, match=refusal):
        GEMINI.write(request, b"", target(MODEL))


def test_a_batch_has_a_bound() -> None:
    assert GEMINI.lacks(asked(input=["a"] * 101), target(MODEL)) == (
        "embeddings: at most 100 inputs in one request"
    )


def read(body: Any, **reply: Any) -> Vectors:
    found = GEMINI.read(json.dumps(body).encode(), Reply(kind="embeddings", **reply))
    assert isinstance(found, Vectors)
    return found


BATCH = {"embeddings": [{"values": [0.5, -1.25]}, {"values": [1e-3]}]}


def test_vectors_keep_their_digits() -> None:
    body = b'{"embeddings":[{"values":[0.50, -1.25]},{"values":[1e-3]}]}'
    found = GEMINI.read(body, Reply(kind="embeddings", model="m"))
    assert isinstance(found, Vectors)
    assert [bytes(one) for one in found.vectors] == [b"[0.50, -1.25]", b"[1e-3]"]
    assert (found.model, found.tokens) == ("m", 0)


def test_vectors_as_base64() -> None:
    one, _ = read(BATCH, base64=True).vectors
    assert struct.unpack("<2f", base64.b64decode(json.loads(bytes(one)))) == (0.5, -1.25)


def test_a_number_that_base64_cannot_carry_is_no_answer() -> None:
    body = b'{"embeddings":[{"values":[1e39]}]}'
    with pytest.raises(BadAnswerError, match="float32"):
        GEMINI.read(body, Reply(kind="embeddings", base64=True))


def test_tokens_where_it_tells() -> None:
    assert read({**BATCH, "usageMetadata": {"promptTokenCount": 7}}).tokens == 7


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"embeddings":[]}', b'{"embeddings":[{"values":["x"]}]}', b"[]"]
)
def test_an_answer_that_is_none_raises(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        GEMINI.read(body, Reply(kind="embeddings"))


# --- at Vertex AI -------------------------------------------------------------------------

BASE = "/v1/projects/blue/locations/europe-west4/publishers/google/models"


@pytest.mark.parametrize(
    ("model", "given", "path", "body"),
    [
        (
            "text-embedding-005",
            ["a", "b"],
            "text-embedding-005:predict",
            {
                "instances": [{"content": "a"}, {"content": "b"}],
                "parameters": {"outputDimensionality": 256, "autoTruncate": False},
            },
        ),
        (
            "gemini-embedding-2",
            "a",
            "gemini-embedding-2:embedContent",
            {
                "content": {"parts": [{"text": "a"}]},
                "embedContentConfig": {"outputDimensionality": 256, "autoTruncate": False},
            },
        ),
        (
            "gemini-embedding-2",
            ["a", "b"],
            "gemini-embedding-2:batchEmbedContents",
            {
                "requests": [
                    {
                        "content": {"parts": [{"text": text}]},
                        "embedContentConfig": {"outputDimensionality": 256, "autoTruncate": False},
                    }
                    for text in ("a", "b")
                ]
            },
        ),
    ],
)
def test_vertex(model: str, given: Any, path: str, body: dict[str, Any]) -> None:
    wire = VERTEX.write(asked(input=given, dimensions=256), b"", at_vertex(model))
    assert isinstance(wire, Wire)
    assert wire.path == f"{BASE}/{path}"
    assert json.loads(wire.body) == body


def test_claude_makes_none() -> None:
    assert VERTEX.lacks(asked(input="a"), at_vertex("claude-sonnet-4-5")) == (
        "embeddings: Claude makes none"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 3.0}}}]},
        {"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 3}},
        {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 3}},
    ],
)
def test_answers_of_vertex(body: dict[str, Any]) -> None:
    found = VERTEX.read(json.dumps(body).encode(), Reply(kind="embeddings"))
    assert isinstance(found, Vectors)
    assert ([bytes(one) for one in found.vectors], found.tokens) == ([b"[0.5]"], 3)


@pytest.mark.parametrize("count", [-7, 1e300, "3"])
def test_a_count_that_is_none_is_no_answer_of_vertex(count: Any) -> None:
    vector = {"values": [0.5], "statistics": {"token_count": count}}
    body = json.dumps({"predictions": [{"embeddings": vector}]}).encode()
    with pytest.raises(BadAnswerError):
        VERTEX.read(body, Reply(kind="embeddings"))
