"""OpenAI's embeddings as a client's format."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from extproc import strict_json
from extproc.dialects import (
    BadAnswerError,
    ClientRequest,
    Counted,
    StreamReader,
    Vectors,
    bodies,
    errors,
)
from extproc.dialects.again import Again, unknown
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.chat.failures import of_error
from extproc.dialects.clients.chat import ChatWatch
from extproc.errors import ClientError, bad_request

Token = Annotated[int, Meta(ge=0)]
MOST: Final = 2048
"""Inputs in one request: OpenAI's own bound."""


class EmbeddingsRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for the vectors of one or more inputs."""

    model: str = ""
    input: str | list[str | Token | Annotated[list[Token], Meta(min_length=1)]]
    """A text, texts, a text as tokens, or texts as tokens; `parse` lets no mixture in."""
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None

    def texts(self) -> list[str] | None:
        """The inputs, if they are text; None if they are tokens."""
        if isinstance(self.input, str):
            return [self.input]
        found = [one for one in self.input if isinstance(one, str)]
        return found if len(found) == len(self.input) else None

    def tokens(self) -> int:
        """Tokens of inputs that are given as such."""
        if isinstance(self.input, str):
            return 0
        return sum(len(one) if isinstance(one, list) else isinstance(one, int)
                   for one in self.input)  # fmt: skip


FIELDS: Final = frozenset(EmbeddingsRequest.__struct_fields__)
_DECODER: Final = Again(EmbeddingsRequest)


class Embeddings:
    """See `extproc.dialects.ClientFormat`."""

    name = "embeddings"
    operation = "embeddings"

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        tree = bodies.load(body, FIELDS)
        _check_input(tree.get("input"))
        asked = bodies.convert(tree, EmbeddingsRequest)
        if not asked.model:
            raise bad_request("you must provide a model parameter", "model")
        plain, wide = bodies.measure(asked.texts() or [])
        return ClientRequest(
            format=self.name,
            model=asked.model,
            user=asked.user,
            # Tokens count four bytes each, as the estimator has it.
            text=(plain + 4 * asked.tokens(), wide),
            uses=("embeddings",),
            embeddings=asked,
        )

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        asked = _DECODER.decode(body)
        return ClientRequest(
            format=self.name,
            model=asked.model,
            uses=("embeddings",),
            embeddings=asked,
            unknown=unknown(asked, body, FIELDS),
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body, with another model if one is given."""
        if model is None or model == request.model:
            return None
        return strict_json.splice(body, {"model": model})

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:  # noqa: ARG002 - the door's shape
        """The body: no tokens are written."""
        return body

    def look(self, body: bytes) -> bool:
        """Judge a whole answer: vectors are never refused."""
        try:
            # What is not looked at has to be text as well: msgspec passes over it.
            str(body, "utf-8")
            answer = _ANSWER.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise BadAnswerError("not embeddings: " + errors.plain(200, body)) from None
        if answer.error:
            raise BadAnswerError(of_error(200, {"error": answer.error}).message)
        if not answer.data:
            raise BadAnswerError("not embeddings: no data")
        return False

    def watch(self) -> StreamReader:
        """Vectors are not streamed: what comes as a stream is none of this format."""
        return ChatWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:  # noqa: ARG002 - the door's shape
        """A list of embeddings."""
        assert isinstance(answer, Vectors)  # noqa: S101 - such a request asks for no other
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(answer.vectors)
        ]
        usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
        return msgspec.json.encode(
            {"object": "list", "data": data, "model": answer.model, "usage": usage}
        )

    def writer(self, request: ClientRequest) -> Writer:
        """Raises NotImplementedError: vectors are not streamed, and no request can ask for it."""
        raise NotImplementedError

    def error(self, error: ClientError) -> bytes:
        """OpenAI's error object."""
        return error.openai()

    def error_event(self, error: ClientError, position: int) -> bytes:  # noqa: ARG002 - never within a stream
        """OpenAI's error object as an event."""
        return error.sse()


def _check_input(given: object) -> None:
    """What a type cannot say in OpenAI's words. Raises ClientError."""
    if given in ("", []):
        raise bad_request("'input' cannot be empty.", "input")
    if isinstance(given, list):
        if len(given) > MOST and not isinstance(given[0], int):
            raise bad_request(f"'input' has more than {MOST} inputs.", "input")
        if len({type(one) for one in given}) > 1:
            raise bad_request("'$.input' is invalid: strings or tokens, not both.", "input")


class _Vector(Struct):
    embedding: Raw


class _Answer(Struct):
    data: list[_Vector] | None = None
    error: object = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)
