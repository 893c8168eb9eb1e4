"""Gemini's generateContent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec

from extproc.dialects import (
    Answer,
    BadAnswerError,
    Failure,
    StreamReader,
    Wire,
    chat,
    errors,
    gemini_answer,
    gemini_errors,
    gemini_request,
)
from extproc.errors import bad_request


class Gemini:
    """See `extproc.dialects.Dialect`. `clock` gives seconds since the epoch, `mint` an id for
    an answer that has none."""

    name = "gemini"
    base_path = "/v1beta"
    passes_client = False
    drops = frozenset({"parallel_tool_calls"})

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        mint: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._clock = clock
        self._mint = mint

    def ready_path(self, base_path: str | None) -> None:  # noqa: ARG002 - the door's shape
        """No body of a client is the provider's."""
        return

    def lacks(self, chat: chat.ChatRequest) -> str | None:
        """What Gemini cannot be asked for."""
        return gemini_request.lacks(chat)

    def request(
        self,
        body: bytes,
        model: str,
        *,
        base_path: str | None,
        output_cap: int | None,  # noqa: ARG002 - without maxOutputTokens the cap is the model's
    ) -> Wire:
        """`POST …/models/{model}:generateContent`, or `:streamGenerateContent`. Raises
        ClientError (400) for what `lacks` names."""
        asked = chat.decode(body)
        try:
            translated, warnings = gemini_request.translate(asked, model)
        except ValueError as error:
            raise bad_request(self.lacks(asked) or str(error)) from error
        base = self.base_path if base_path is None else base_path.rstrip("/")
        method = "streamGenerateContent?alt=sse" if asked.stream else "generateContent"
        return Wire(
            f"{base}/{_resource(model)}:{method}",
            translated,
            (("content-type", "application/json"),),
            (*warnings, *chat.unknown(body)),
        )

    def answer(self, body: bytes) -> Answer:
        """A whole answer as a chat completion. Raises BadAnswerError."""
        try:
            return gemini_answer.translate(body, int(self._clock()), self._mint)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadAnswerError("not an answer: " + errors.plain(200, body)) from error

    def stream(self) -> StreamReader:
        """A reader of one stream of answers."""
        return gemini_answer.Reader(int(self._clock()), self._mint)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """An error answer of any status and body."""
        tree = errors.parsed(body)
        if not isinstance(tree, dict):
            return errors.unreadable(status, headers, body)
        return gemini_errors.of_error(status, tree, headers, body)


@lru_cache(maxsize=256)
def _resource(model: str) -> str:
    return quote(model if "/" in model else f"models/{model}", safe="/@.-_~")
