"""Embeddings: three endpoints, one answer.

The Developer API has `:batchEmbedContents`. Vertex AI has `:predict` for its older models and,
for Gemini's own, `:embedContent` for one input and `:batchEmbedContents` for more, with another
body than the Developer API's. Vertex AI would cut an input that is too long in silence, unless it
is told not to.
"""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from extproc.dialects import BadAnswerError, Reply, Vectors
from extproc.dialects.chat.completion import Count
from extproc.dialects.clients.embeddings import EmbeddingsRequest
from extproc.dialects.gemini.body import Text
from extproc.dialects.text import NONE

MOST: Final = {"batchEmbedContents": 100, "predict": 250}
"""Inputs in one request, by endpoint."""


class _Parts(Struct, frozen=True):
    parts: list[Text]


class _One(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A request of the Developer API's batch."""

    model: str
    content: _Parts
    output_dimensionality: int | None = None


class _Config(Struct, frozen=True, omit_defaults=True, rename="camel"):
    output_dimensionality: int | None = None
    auto_truncate: bool = True


class _VertexOne(Struct, frozen=True, rename="camel"):
    """A request of Vertex AI's batch, or its only one."""

    content: _Parts
    embed_content_config: _Config


class _Batch(Struct, frozen=True):
    requests: list[_One] | list[_VertexOne]


class _Instance(Struct, frozen=True):
    content: str


class _Predict(Struct, frozen=True):
    instances: list[_Instance]
    parameters: _Config


def refusal(asked: EmbeddingsRequest, method: str) -> str | None:
    """What cannot be carried."""
    texts = asked.texts()
    if texts is None:
        return "embeddings: Gemini takes texts and no tokens"
    most = MOST.get(method, 1)
    if len(texts) > most:
        return f"embeddings: at most {most} inputs in one request"
    return None


def _texts(asked: EmbeddingsRequest) -> list[str]:
    texts = asked.texts()
    if texts is None:
        raise ValueError("tokens")
    return texts


def developer(asked: EmbeddingsRequest, resource: str) -> bytes:
    """The Developer API's body; `resource` is `models/…`. Raises ValueError."""
    size = asked.dimensions
    every = [_One(resource, _Parts([Text(one)]), size) for one in _texts(asked)]
    return msgspec.json.encode(_Batch(every))


def vertex_method(asked: EmbeddingsRequest, model: str) -> str:
    """Which of Vertex AI's endpoints takes it."""
    if "gemini" not in model:
        return "predict"
    texts = asked.texts()
    return "embedContent" if texts is not None and len(texts) == 1 else "batchEmbedContents"


def vertex(asked: EmbeddingsRequest, method: str) -> bytes:
    """Vertex AI's body. Raises ValueError."""
    texts = _texts(asked)
    config = _Config(asked.dimensions, auto_truncate=False)
    if method == "predict":
        return msgspec.json.encode(_Predict([_Instance(one) for one in texts], config))
    every = [_VertexOne(_Parts([Text(one)]), config) for one in texts]
    return msgspec.json.encode(every[0] if method == "embedContent" else _Batch(every))


# --- the answer ---------------------------------------------------------------------------


class _Statistics(Struct):
    token_count: Annotated[float, Meta(ge=0, le=1 << 53)] = 0


class _Vector(Struct):
    values: Raw = NONE
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Vector


class _Usage(Struct, rename="camel"):
    prompt_token_count: Count = 0


class _Answer(Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    predictions: list[_Prediction] | None = None
    usage_metadata: _Usage | None = None

    def vectors(self) -> list[_Vector]:
        if self.embedding is not None:
            return [self.embedding]
        if self.embeddings is not None:
            return self.embeddings
        return [one.embeddings for one in self.predictions or ()]


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_NUMBERS: Final = msgspec.json.Decoder(list[float])


def read(body: bytes, reply: Reply) -> Vectors:
    """A whole answer of any of the endpoints. `tokens` is 0 where it does not tell (the Developer
    API's for models before gemini-embedding-2). The model's name is never in it. Raises
    BadAnswerError, or what msgspec raises."""
    found = _ANSWER.decode(body)
    every = found.vectors()
    if not every:
        raise BadAnswerError("an answer without embeddings")
    vectors = [_vector(one.values, as_base64=reply.base64) for one in every]
    tokens = found.usage_metadata.prompt_token_count if found.usage_metadata else 0
    counted = sum(one.statistics.token_count for one in every if one.statistics)
    return Vectors(reply.model, vectors, tokens or int(counted))


def _vector(values: Raw, *, as_base64: bool) -> Raw:
    numbers: list[Any] = _NUMBERS.decode(values)
    if not as_base64:
        return values
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        raise BadAnswerError("an embedding with a number that is no float32") from None
    return Raw(b'"' + base64.b64encode(packed) + b'"')
