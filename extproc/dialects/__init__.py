"""Wire formats. The door: a `Dialect` turns a chat request into what its provider takes, and
what the provider answers into what the client speaks (OpenAI chat completions).

Nothing here knows Envoy, sockets or policy. A new provider format is one module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from extproc.dialects.chat import ChatRequest


class Fault(StrEnum):
    """What a provider's error means, whoever says it."""

    INVALID = "invalid_request"
    CONTEXT = "context_length"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    BILLING = "billing"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONTENT = "content_policy"
    BAD_ANSWER = "bad_answer"
    """Not the provider's own words: HTML, an empty body, broken JSON."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A provider's error, in no dialect. `retry_after` in seconds, if the provider gave one."""

    fault: Fault
    status: int
    message: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None


class BadAnswerError(Exception):
    """A 2xx body that cannot be read as the dialect's answer."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as the provider takes it. `headers` are added to, or set over, the client's."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    """Parameters dropped because the provider lacks them and the meaning does not change."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in the client's dialect. `refused`: the provider refused the content."""

    body: bytes
    refused: bool = False


class StreamReader(Protocol):
    """Reads one provider stream, cut anywhere, and writes the client's.

    The concatenation of everything returned is the same however the input was cut.
    """

    content: bool
    """A content event (text, tool call, reasoning, refusal, or a finish reason) was seen."""
    failure: Failure | None
    """An error event was seen, or the bytes are no stream of this dialect."""
    finished: bool
    """The dialect's terminal event was seen."""
    refused: bool
    """The provider ended for content policy before any text."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return what can go to the client now (maybe nothing)."""
        ...

    def end(self) -> bytes:
        """The provider ended its stream. An unfinished last event still counts."""
        ...


class Dialect(Protocol):
    """One provider wire format."""

    name: str
    base_path: str
    passes_client: bool
    """The provider speaks the client's dialect: its answers need no translation."""

    drops: frozenset[str]
    """Features, in the catalogue's words, that are left out with a warning where the provider
    lacks them, because the request means the same without."""

    def ready_path(self, base_path: str | None) -> str | None:
        """Where a client's body goes once it names the provider's model; None where the provider
        takes another format."""
        ...

    def lacks(self, chat: ChatRequest) -> str | None:
        """The first thing in the request that this wire format cannot carry, or None.

        The text is the refusal's detail, and begins with the feature's name in the table of
        docs/dialects.md, e.g. "logprobs: Anthropic has no log probabilities".
        """
        ...

    def request(
        self, body: bytes, model: str, *, base_path: str | None, output_cap: int | None
    ) -> Wire:
        """Translate a validated OpenAI chat body. Raises ClientError (400) only for
        what `lacks` names."""
        ...

    def answer(self, body: bytes) -> Answer:
        """Translate a whole 2xx body. Raises BadAnswerError."""
        ...

    def stream(self) -> StreamReader:
        """A reader for one streamed 2xx body."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Read an error answer of any status and any body. Never raises."""
        ...


def load() -> dict[str, Dialect]:
    """Every provider dialect by name."""
    from extproc.dialects.anthropic import Anthropic  # noqa: PLC0415 - the modules import this one
    from extproc.dialects.gemini import Gemini  # noqa: PLC0415
    from extproc.dialects.openai import OpenAI  # noqa: PLC0415

    return {one.name: one for one in (OpenAI(), Anthropic(), Gemini())}
