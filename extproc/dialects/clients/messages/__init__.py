"""Anthropic's Messages API as a client's format.

A target that speaks it gets the client's body and its answer passes; for every other one a request
becomes a chat request (`chat`, `turns`, `parts`), and an answer a message (`whole`) or its events
(`writer`). Nothing is kept between requests: what a provider wants back of its thinking travels
with the client, in blocks of thinking (`thoughts`).
"""

from __future__ import annotations

from extproc import strict_json
from extproc.dialects import ClientRequest, Counted, StreamReader, Vectors, bodies
from extproc.dialects.again import unknown
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.clients.messages.chat import Translation, translate
from extproc.dialects.clients.messages.native import (
    MessagesClientRequest,
    for_native,
    is_sealed_in,
    thinking_within,
)
from extproc.dialects.clients.messages.parsing import parse
from extproc.dialects.clients.messages.request import FIELDS, MessagesRequest, decode
from extproc.dialects.clients.messages.watch import MessagesWatch, look
from extproc.dialects.clients.messages.whole import message
from extproc.dialects.clients.messages.writer import Events, error_event
from extproc.errors import ClientError


class Messages:
    """See `extproc.dialects.ClientFormat`."""

    name = "messages"
    operation = "chat"

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        said = parse(body)
        made = translate(said)
        uses = _uses(made)
        return MessagesClientRequest(
            format=self.name,
            model=said.model,
            stream=bool(said.stream),
            user=said.user,
            metadata=said.labels,
            max_output=bodies.allowed(said.max_tokens),
            text=made.chat.text_bytes(),
            messages=len(made.chat.messages),
            uses=uses,
            needs=made.chat.needs(uses),
            chat=made.chat,
            native_only=made.native_only,
            sealed=is_sealed_in(body),
        )

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        said = decode(body)
        made = translate(said)
        return MessagesClientRequest(
            format=self.name,
            model=said.model,
            stream=bool(said.stream),
            uses=_uses(made),
            chat=made.chat,
            native_only=made.native_only,
            sealed=is_sealed_in(body),
            unknown=unknown(said, body, FIELDS),
            dropped=made.dropped,
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body with another model, and without what was for the gateway."""
        return forwarded(request, body, model)

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:
        """The body with no more than `cap` tokens allowed for an answer."""
        if request.max_output is not None and request.max_output <= cap:
            return body
        changes: dict[str, object] = {"max_tokens": cap}
        thinking = thinking_within(body, cap)
        if thinking is not None:
            changes["thinking"] = thinking
        return strict_json.splice(body, changes)

    def look(self, body: bytes) -> bool:
        """Judge a whole message."""
        return look(body)

    def watch(self) -> StreamReader:
        """A reader that passes every byte on."""
        return MessagesWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:  # noqa: ARG002 - the door's shape
        """A message."""
        assert isinstance(answer, Completion)  # noqa: S101 - a chat request asks for no other
        return message(answer)

    def writer(self, request: ClientRequest) -> Writer:  # noqa: ARG002 - the door's shape
        """Events."""
        return Events()

    def error(self, error: ClientError) -> bytes:
        """Anthropic's error object."""
        return error.anthropic()

    def error_event(self, error: ClientError, position: int) -> bytes:  # noqa: ARG002 - events have no numbers
        """Anthropic's `error` event."""
        return error_event(error)


def forwarded(request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
    """See `Messages.forwarded`. Labels in `metadata` have been read; Anthropic refuses them."""
    changes: dict[str, object] = {}
    if model is not None and model != request.model:
        changes["model"] = model
    remove = []
    if request.metadata is not None:
        if request.user is None:
            remove.append("metadata")
        else:
            changes["metadata"] = {"user_id": request.user}
    return strict_json.splice(body, changes, remove=remove) if changes or remove else None


def _uses(made: Translation) -> tuple[str, ...]:
    found = made.chat.uses()
    if made.native_only is not None:
        found.append(made.native_only.partition(":")[0])
    return tuple(found)


__all__ = ["Messages", "MessagesRequest", "for_native", "forwarded"]
