"""The counting of a message's tokens, of Anthropic's Messages API, as a client's format."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects import (
    BadAnswerError,
    ClientRequest,
    Counted,
    StreamReader,
    Vectors,
    errors,
)
from extproc.dialects.again import unknown
from extproc.dialects.anthropic.problems import of_error
from extproc.dialects.chat.completion import Completion, Count, Writer
from extproc.dialects.clients.messages import forwarded
from extproc.dialects.clients.messages.chat import translate
from extproc.dialects.clients.messages.native import MessagesClientRequest, is_sealed_in
from extproc.dialects.clients.messages.parsing import parse
from extproc.dialects.clients.messages.request import FIELDS, MessagesRequest, decode
from extproc.dialects.clients.messages.watch import MessagesWatch
from extproc.dialects.clients.messages.writer import error_event
from extproc.errors import ClientError


class CountTokens:
    """See `extproc.dialects.ClientFormat`. A prompt is counted for any model, whatever it can
    do with it: nothing is needed of a target."""

    name = "count_tokens"
    operation = "count_tokens"

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        return self._request(parse(body, counts=True), body)

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        return self._request(decode(body), body)

    def _request(self, said: MessagesRequest, body: bytes) -> ClientRequest:
        made = translate(said)
        return MessagesClientRequest(
            format=self.name,
            model=said.model,
            user=said.user,
            metadata=said.labels,
            text=made.chat.text_bytes(),
            messages=len(made.chat.messages),
            uses=("count_tokens",),
            chat=made.chat,
            native_only=made.native_only,
            sealed=is_sealed_in(body),
            unknown=unknown(said, body, FIELDS),
            dropped=made.dropped,
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body, with another model if one is given."""
        return forwarded(request, body, model)

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:  # noqa: ARG002 - the door's shape
        """The body: no tokens are written."""
        return body

    def look(self, body: bytes) -> bool:
        """Judge a whole answer: a count is never refused."""
        try:
            # What is not looked at has to be text as well: msgspec passes over it.
            str(body, "utf-8")
            answer = _ANSWER.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise BadAnswerError("not a count of tokens: " + errors.plain(200, body)) from None
        if answer.error:
            raise BadAnswerError(of_error(200, {"error": answer.error}, {}, body).message)
        if answer.input_tokens is None:
            raise BadAnswerError("not a count of tokens: " + errors.plain(200, body))
        return False

    def watch(self) -> StreamReader:
        """Counts are not streamed: what comes as a stream is none of this format."""
        return MessagesWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:  # noqa: ARG002 - the door's shape
        """`{"input_tokens": N}`."""
        assert isinstance(answer, Counted)  # noqa: S101 - such a request asks for no other
        return msgspec.json.encode({"input_tokens": answer.tokens})

    def writer(self, request: ClientRequest) -> Writer:
        """Raises NotImplementedError: counts are not streamed, and no request can ask for it."""
        raise NotImplementedError

    def error(self, error: ClientError) -> bytes:
        """Anthropic's error object."""
        return error.anthropic()

    def error_event(self, error: ClientError, position: int) -> bytes:  # noqa: ARG002 - never within a stream
        """Anthropic's `error` event."""
        return error_event(error)


class _Answer(Struct):
    input_tokens: Count | None = None
    error: object = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)
