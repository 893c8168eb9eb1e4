"""Messages that pass as they came: is it an answer, did it fail, when did it begin?"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc.dialects import BadAnswerError, Failure, errors, sse
from extproc.dialects.anthropic.problems import of_error
from extproc.dialects.clients.watch import Watch


class _Block(Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None

    @property
    def says(self) -> bool:
        """It is content by itself; text begins empty in a stream."""
        return bool(self.text or self.thinking) or self.type not in ("text", "thinking")


class _Message(Struct):
    type: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    error: Any = None


class _Delta(Struct):
    type: str = ""
    stop_reason: str | None = None


class _Event(Struct):
    type: str = ""
    delta: _Delta | None = None
    content_block: _Block | None = None
    error: Any = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_EVENT: Final = msgspec.json.Decoder(_Event)
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_THOUGHT_DELTAS: Final = frozenset({"thinking_delta", "signature_delta"})


def look(body: bytes) -> bool:
    """Judge a whole message: was the content refused? Raises BadAnswerError."""
    try:
        # What is not looked at has to be text as well: msgspec passes over it.
        str(body, "utf-8")
        found = _MESSAGE.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadAnswerError("not a message: " + errors.plain(200, body)) from None
    if found.type == "error" or found.error:
        raise BadAnswerError(of_error(200, {"error": found.error}, {}, body).message)
    if found.type != "message" or found.content is None:
        raise BadAnswerError("not a message: " + errors.plain(200, body))
    return found.stop_reason == "refusal" and not any(
        block.says and block.type not in _THOUGHTS for block in found.content
    )


class MessagesWatch(Watch):
    """Looks for content, errors and the end."""

    def __init__(self) -> None:
        super().__init__()
        self._spoke = False

    def event(self, event: sse.Event) -> bool:
        """See `Watch`."""
        if self._spoke and event.type in _INSIDE:
            return True
        try:
            found = _EVENT.decode(event.data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        kind = found.type or event.type.decode("utf-8", "replace")
        if kind == "content_block_delta" and found.delta is not None:
            self.content = True
            self._spoke = self._spoke or found.delta.type not in _THOUGHT_DELTAS
        elif kind == "content_block_start" and found.content_block is not None:
            self._begin(found.content_block)
        elif kind == "message_delta" and found.delta is not None and found.delta.stop_reason:
            self.refused = found.delta.stop_reason == "refusal" and not self._spoke
            self.content = True
        elif kind == "message_stop":
            self.finished = True
        elif kind == "error" or found.error:
            tree = errors.mapping(errors.parsed(event.data))
            self.fail(of_error(200, tree, {}, event.data))
        return bool(kind or found.error)

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """See `Watch`."""
        return of_error(200, tree, {}, body)

    def _begin(self, block: _Block) -> None:
        if block.says:
            self.content = True
            self._spoke = self._spoke or block.type not in _THOUGHTS


_INSIDE: Final = frozenset(
    {b"content_block_start", b"content_block_delta", b"content_block_stop", b"ping"}
)
"""Once there is text, these tell nothing more."""
