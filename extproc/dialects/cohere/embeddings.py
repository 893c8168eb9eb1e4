"""Embeddings of Cohere's `/v2/embed`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects import BadAnswerError, Vectors
from extproc.dialects.clients.embeddings import EmbeddingsRequest
from extproc.dialects.cohere.received import Tokens

INPUT_TYPE: Final = "search_document"
"""Cohere's models from version 3 on want to know what a text is for, which OpenAI's API does not
say; this is what a text that is kept is for."""
MOST: Final = 96
"""Texts in one request."""


class Request(Struct, frozen=True):
    """The body."""

    model: str
    input_type: str
    texts: list[str]
    embedding_types: list[str]
    truncate: str = "NONE"
    """A text that is too long is refused, as OpenAI does, and not cut."""
    output_dimension: int | UnsetType = UNSET


class _Units(Struct):
    input_tokens: Tokens | None = None


class _Meta(Struct):
    billed_units: _Units | None = None


class _Vectors(Struct):
    float_: list[Raw] | None = msgspec.field(name="float", default=None)
    base64: list[Raw] | None = None


class _Answer(Struct):
    embeddings: _Vectors | None = None
    meta: _Meta | None = None


def refusal(asked: EmbeddingsRequest) -> str | None:
    """See `extproc.dialects.Dialect.lacks`."""
    texts = asked.texts()
    if texts is None:
        return "embeddings: Cohere takes text, not tokens"
    if len(texts) > MOST:
        return f"embeddings: Cohere takes at most {MOST} texts a request"
    return None


def translate(asked: EmbeddingsRequest, model: str) -> bytes:
    """The body. Raises ValueError for what `refusal` names."""
    texts = asked.texts()
    if texts is None:
        raise ValueError("tokens")
    kind = asked.encoding_format or "float"
    size = UNSET if asked.dimensions is None else asked.dimensions
    return msgspec.json.encode(Request(model, INPUT_TYPE, texts, [kind], output_dimension=size))


def read(body: bytes, model: str, *, base64: bool) -> Vectors:
    """A whole answer. Raises BadAnswerError, or what msgspec raises."""
    answer = _ANSWER.decode(body)
    found = answer.embeddings
    vectors = (found.base64 if base64 else found.float_) if found else None
    if not vectors:
        raise BadAnswerError("not embeddings: no vectors")
    # They go on as they are written, so nobody else would see that one is none.
    decoder = _PACKED if base64 else _NUMBERS
    for one in vectors:
        decoder.decode(one)
    units = answer.meta.billed_units if answer.meta else None
    return Vectors(model, vectors, int((units.input_tokens if units else None) or 0))


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_NUMBERS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(list[float])
_PACKED: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(str)
