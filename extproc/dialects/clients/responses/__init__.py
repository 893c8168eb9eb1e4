"""OpenAI's Responses API as a client's format.

A target that speaks it gets the client's body and its answer passes; for every other one a request
becomes a chat request (`chat`, `turns`), and an answer a response object (`whole`) or its events
(`writer`). Nothing is kept between requests: what a provider wants back of its thinking travels
with the client, in `encrypted_content` of reasoning items (`sealed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from extproc import strict_json
from extproc.dialects import ClientRequest, Counted, StreamReader, Vectors, bodies
from extproc.dialects.again import unknown
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.clients.responses import request as requests
from extproc.dialects.clients.responses.chat import Translation, translate
from extproc.dialects.clients.responses.request import FIELDS, Parts, ResponsesRequest
from extproc.dialects.clients.responses.sealed import for_native
from extproc.dialects.clients.responses.watch import ResponsesWatch, look
from extproc.dialects.clients.responses.whole import response
from extproc.dialects.clients.responses.writer import Events, error_event
from extproc.errors import ClientError


class ResponsesClientRequest(ClientRequest, frozen=True, kw_only=True):
    """With what an answer repeats."""

    said: ResponsesRequest
    parts: Parts

    def passing(self, body: bytes) -> bytes:
        """See `ClientRequest`."""
        return for_native(body) if self.sealed else body


class Responses:
    """See `extproc.dialects.ClientFormat`. `clock` gives seconds since the epoch."""

    name = "responses"
    operation = "chat"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        said, parts = requests.parse(body)
        made = translate(said, parts)
        uses = _uses(made)
        return ResponsesClientRequest(
            format=self.name,
            model=said.model,
            models=said.models,
            stream=bool(said.stream),
            user=said.user,
            metadata=said.metadata,
            max_output=bodies.allowed(said.max_output_tokens),
            text=made.chat.text_bytes(),
            messages=len(made.chat.messages),
            uses=uses,
            needs=made.chat.needs(uses),
            chat=made.chat,
            native_only=made.native_only,
            said=said,
            parts=parts,
            sealed=made.sealed,
        )

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        said, parts = requests.decode(body)
        made = translate(said, parts)
        return ResponsesClientRequest(
            format=self.name,
            model=said.model,
            stream=bool(said.stream),
            uses=_uses(made),
            chat=made.chat,
            native_only=made.native_only,
            unknown=unknown(said, body, FIELDS),
            dropped=made.dropped,
            said=said,
            parts=parts,
            sealed=made.sealed,
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body with another model, and without what was for the gateway."""
        changes = {} if model is None or model == request.model else {"model": model}
        remove = [] if request.models is None else ["models"]
        if remove:
            changes["model"] = model or request.model
        return strict_json.splice(body, changes, remove=remove) if changes or remove else None

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:
        """The body with no more than `cap` tokens allowed for an answer."""
        return bodies.capped(body, "max_output_tokens", request.max_output, cap)

    def look(self, body: bytes) -> bool:
        """Judge a whole response."""
        return look(body)

    def watch(self) -> StreamReader:
        """A reader that passes every byte on."""
        return ResponsesWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:
        """A response object."""
        assert isinstance(answer, Completion)  # noqa: S101 - a chat request asks for no other
        assert isinstance(request, ResponsesClientRequest)  # noqa: S101 - `decode` makes no other
        return response(answer, request.said, request.parts, int(self.clock()))

    def writer(self, request: ClientRequest) -> Writer:
        """Events."""
        assert isinstance(request, ResponsesClientRequest)  # noqa: S101 - `decode` makes no other
        return Events(request.said, request.parts, self.clock)

    def error(self, error: ClientError) -> bytes:
        """OpenAI's error object."""
        return error.openai()

    def error_event(self, error: ClientError, position: int) -> bytes:
        """OpenAI's `error` event."""
        return error_event(error, position)


def _uses(made: Translation) -> tuple[str, ...]:
    found = made.chat.uses()
    if made.native_only is not None:
        found.append(made.native_only.partition(":")[0])
    return tuple(found)


__all__ = ["Responses", "ResponsesClientRequest", "for_native"]
