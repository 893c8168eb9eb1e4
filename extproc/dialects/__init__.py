"""Wire formats: what clients say, what providers take, and the way between the two.

Two doors. A `ClientFormat` is how an application talks to the gateway (OpenAI chat completions,
Anthropic messages …); a `Dialect` is how a provider is talked to. Where a provider speaks the
client's format its bytes pass; everywhere else a request becomes a `ChatRequest`, and an answer a
`Completion` or calls of a `Writer`, which each side knows how to read or write.

Nothing here knows Envoy, sockets or routes. A new provider is one package, a new client format one
module in `clients`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from msgspec import Raw

    from extproc.dialects.chat.completion import Completion, Writer
    from extproc.dialects.chat.request import ChatRequest
    from extproc.dialects.clients.embeddings import EmbeddingsRequest
    from extproc.errors import ClientError
    from extproc.policy import TargetPolicy


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


MOST_OUTPUT: Final = 2**31 - 1
"""Tokens: what a client allows beyond is taken as this. No model writes a thousandth of it, and
providers that keep the number at all keep it in 32 bits."""


class BadAnswerError(Exception):
    """A 2xx body that cannot be read as the dialect's answer."""


# --- what the client says -----------------------------------------------------------------


class ClientRequest(Struct, frozen=True, kw_only=True):
    """One request, whatever format it came in."""

    format: str
    """The name of the client's format."""
    model: str
    models: Sequence[str] | None = None
    """OpenRouter's list of models to try in order."""
    stream: bool = False
    hide_usage: bool = False
    """The stream's usage chunk is asked for by the gateway alone: the client must not see it."""
    user: str | None = None
    metadata: Mapping[str, str] | None = None
    max_output: int | None = None
    """The most tokens the client wants, of each answer; at most MOST_OUTPUT."""
    answers: int = 1
    """Answers that it makes a provider write. Only from `parse`."""
    bounded: bool = False
    """`max_output` must not be raised on the way to a provider, whatever the thinking takes: no
    more has been reserved."""
    text: tuple[int, int] = (0, 0)
    """(ASCII bytes, other characters) of all that counts as prompt. Only from `parse`."""
    messages: int = 0
    uses: tuple[str, ...] = ()
    """Features used, in the words of the table in docs/dialects.md; some more than once."""
    needs: frozenset[str] = frozenset()
    """Those that a model must have, in the catalogue's words. Only from `parse`."""
    chat: ChatRequest | None = None
    """The request as chat completions would say it. None: an embeddings request."""
    embeddings: EmbeddingsRequest | None = None
    native_only: str | None = None
    """Why only a target that speaks this very format can serve it, as a refusal's detail. It
    begins with the feature's name in the table, e.g. "previous_response_id: …"."""
    unknown: tuple[str, ...] = ()
    """Top-level fields that the format does not have. Only from `decode`."""
    dropped: tuple[str, ...] = ()
    """Parameters that `chat` has no place for and that do not change the meaning."""
    sealed: bool = False
    """It holds what was sealed for other providers than those that speak this format."""

    def passing(self, body: bytes) -> bytes:
        """The client's body for a target that speaks this format: without what was sealed for
        others."""
        return body

    def bound(self, body: bytes) -> int | None:
        """Tokens that the input of this body cannot pass, whichever model reads it. None: there is
        no telling."""
        from extproc.dialects.bounds import bound  # noqa: PLC0415 - the module knows every format

        return bound(self.format, body)


class Reply(Struct, frozen=True):
    """What reading an answer must know of the request that it answers."""

    kind: str = "chat"
    """`chat`, `embeddings` or `count_tokens`."""
    json_tool: str | None = None
    """The tool that the model was made to call in place of JSON as text: its input is the text."""
    passed: bool = False
    """The request was passed in the client's own format: only details of the answer differ."""
    model: str = ""
    """What was asked for, for answers that do not say."""
    base64: bool = False
    """Vectors are wanted as base64 of little-endian float32."""


class Wire(Struct, frozen=True):
    """A request as the provider takes it. `headers` are added to, or set over, the client's;
    `defaults` only where the client sent none of the name."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    """Parameters dropped because the provider lacks them and the meaning does not change, and
    what is emulated."""
    reply: Reply = Reply()
    defaults: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings, in the order of the inputs. Each is JSON: an array of numbers, or, when the
    request wanted base64, a string."""

    model: str
    vectors: list[Raw]
    tokens: int


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer in the client's own format. `refused`: the provider refused the content."""

    body: bytes
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """A prompt's length in tokens. `estimated`: by the gateway, no provider was asked."""

    tokens: int
    estimated: bool = False


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


class ClientFormat(Protocol):
    """How an application talks to the gateway."""

    name: str
    operation: str
    """`gen_ai.operation.name` of OpenTelemetry."""

    def parse(self, body: bytes) -> ClientRequest:
        """Read a client's body, which has one reading only. Raises ClientError (400) naming the
        field that is wrong."""
        ...

    def decode(self, body: bytes) -> ClientRequest:
        """Read a body that `parse` has accepted before, with what translation needs."""
        ...

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body with what the gateway asks of every provider, and, if given, another model;
        None when nothing changes. `request` is from `parse`."""
        ...

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:
        """The body with no more than `cap` (1 or more) tokens allowed for an answer: as it is if it
        allows no more, or has no answer that is written; else every other field keeps its value.
        `request` is from `parse`."""
        ...

    def look(self, body: bytes) -> bool:
        """Judge a whole 2xx body in this format: was the content refused? Raises
        BadAnswerError."""
        ...

    def watch(self) -> StreamReader:
        """A reader of a stream in this format: it passes every byte on."""
        ...

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:
        """An answer in this format. `request` is from `decode`."""
        ...

    def writer(self, request: ClientRequest) -> Writer:
        """A writer of one stream in this format. `request` is from `decode`."""
        ...

    def error(self, error: ClientError) -> bytes:
        """A whole body that says what went wrong."""
        ...

    def error_event(self, error: ClientError, position: int) -> bytes:
        """An event that says so within a stream. `position`: events that went before, for formats
        that number them."""
        ...


# --- what the provider takes --------------------------------------------------------------


class Dialect(Protocol):
    """How a provider is talked to. `target` is the level's policy: the model, and where it is."""

    name: ClassVar[str]
    stream_type: ClassVar[str]
    """The media type of its streams."""

    def native(self, format_: str, target: TargetPolicy) -> bool:
        """The provider takes and gives this client format itself: bytes pass."""
        ...

    def droppable(self, target: TargetPolicy) -> frozenset[str]:
        """Features, in the catalogue's words, that are left out with a warning where the model
        lacks them, because the request means the same without."""
        ...

    def endpoint(self, format_: str, target: TargetPolicy) -> str:
        """Where a body goes that is `ready`."""
        ...

    def ready(self, request: ClientRequest, target: TargetPolicy) -> bool:
        """The client's body is what goes there once it names the provider's model."""
        ...

    def lacks(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """The first thing in the request that cannot be carried to this target, or None.

        The text is the refusal's detail, and begins with the feature's name in the table of
        docs/dialects.md, e.g. "logprobs: Anthropic has no log probabilities".
        """
        ...

    def write(self, request: ClientRequest, body: bytes, target: TargetPolicy) -> Wire | Counted:
        """The request (`body`, decoded) as the provider takes it; `Counted` when the gateway can
        say the answer itself. Raises ClientError (400) only for what `lacks` names."""
        ...

    def read(self, body: bytes, reply: Reply) -> Completion | Vectors | Counted | Passed:
        """Read a whole 2xx body. Raises BadAnswerError."""
        ...

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader for one streamed 2xx body."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Read an error answer of any status and any body. Never raises."""
        ...

    def limits(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The provider's rate-limit headers under OpenAI's names (`x-ratelimit-…`), where it has
        its own."""
        ...


def load() -> dict[str, Dialect]:
    """Every provider dialect by name."""
    from extproc.dialects.anthropic import Anthropic  # noqa: PLC0415 - the modules import this one
    from extproc.dialects.bedrock import Bedrock  # noqa: PLC0415
    from extproc.dialects.cohere import Cohere  # noqa: PLC0415
    from extproc.dialects.gemini import Gemini, Vertex  # noqa: PLC0415
    from extproc.dialects.openai import Azure, OpenAI  # noqa: PLC0415

    every: tuple[Dialect, ...] = (
        OpenAI(),
        Azure(),
        Anthropic(),
        Gemini(),
        Vertex(),
        Bedrock(),
        Cohere(),
    )
    return {one.name: one for one in every}


def formats() -> dict[str, ClientFormat]:
    """Every client format by name."""
    from extproc.dialects.clients.chat import Chat  # noqa: PLC0415 - the modules import this one
    from extproc.dialects.clients.completions import Completions  # noqa: PLC0415
    from extproc.dialects.clients.count_tokens import CountTokens  # noqa: PLC0415
    from extproc.dialects.clients.embeddings import Embeddings  # noqa: PLC0415
    from extproc.dialects.clients.messages import Messages  # noqa: PLC0415
    from extproc.dialects.clients.responses import Responses  # noqa: PLC0415

    every: tuple[ClientFormat, ...] = (
        Chat(),
        Completions(),
        Embeddings(),
        Responses(),
        Messages(),
        CountTokens(),
    )
    return {one.name: one for one in every}
