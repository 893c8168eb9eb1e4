"""Anthropic's Messages API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from extproc.dialects import (
    Answer,
    BadAnswerError,
    Failure,
    StreamReader,
    Wire,
    anthropic_answer,
    anthropic_errors,
    anthropic_request,
    chat,
    errors,
)
from extproc.errors import bad_request


class Anthropic:
    """See `extproc.dialects.Dialect`. `clock` gives seconds since the epoch."""

    name = "anthropic"
    base_path = "/v1"
    passes_client = False
    drops = frozenset({"seed", "penalties", "parallel_tool_calls"})

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def ready_path(self, base_path: str | None) -> None:  # noqa: ARG002 - the door's shape
        """No body of a client is the provider's."""
        return

    def lacks(self, chat: chat.ChatRequest) -> str | None:
        """What Anthropic cannot be asked for."""
        return anthropic_request.lacks(chat)

    def request(
        self, body: bytes, model: str, *, base_path: str | None, output_cap: int | None
    ) -> Wire:
        """`POST /v1/messages`. Raises ClientError (400) for what `lacks` names."""
        base = self.base_path if base_path is None else base_path.rstrip("/")
        asked = chat.decode(body)
        try:
            translated, warnings = anthropic_request.translate(asked, model, output_cap)
        except ValueError as error:
            raise bad_request(self.lacks(asked) or str(error)) from error
        return Wire(
            f"{base}/messages",
            translated,
            (
                ("anthropic-version", anthropic_request.VERSION),
                ("content-type", "application/json"),
            ),
            (*warnings, *chat.unknown(body)),
        )

    def answer(self, body: bytes) -> Answer:
        """A whole message as a chat completion. Raises BadAnswerError."""
        try:
            return anthropic_answer.translate(body, int(self._clock()))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadAnswerError("not a message: " + errors.plain(200, body)) from error

    def stream(self) -> StreamReader:
        """A reader of one stream of messages events."""
        return anthropic_answer.Reader(int(self._clock()))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """An error answer of any status and body."""
        tree = errors.parsed(body)
        if not isinstance(tree, dict):
            return errors.unreadable(status, headers, body)
        return anthropic_errors.of_error(status, tree, headers, body)
