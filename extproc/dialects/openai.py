"""OpenAI chat completions, and the many servers that speak it. The client's own dialect: bodies
and streams pass through as they are, and are only looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc import strict_json
from extproc.dialects import Answer, BadAnswerError, Failure, Fault, StreamReader, Wire, errors, sse
from extproc.dialects.chat import ChatRequest

_DONE: Final = b"[DONE]"
_HEAD: Final = 65_536
"""Bytes kept of a stream in which no event has come: it may be an error body."""

_BY_CODE: Final[dict[str, Fault]] = {
    "context_length_exceeded": Fault.CONTEXT,
    "exceed_context_size_error": Fault.CONTEXT,  # llama.cpp
    "content_filter": Fault.CONTENT,  # Azure
    "content_policy_violation": Fault.CONTENT,
    "invalid_prompt": Fault.CONTENT,  # reasoning models: flagged as against the usage policy
    "invalid_api_key": Fault.AUTHENTICATION,
    "authentication_error": Fault.AUTHENTICATION,
    "insufficient_quota": Fault.BILLING,
    "billing_not_active": Fault.BILLING,
    "billing_hard_limit_reached": Fault.BILLING,
    "model_not_found": Fault.NOT_FOUND,
    "DeploymentNotFound": Fault.NOT_FOUND,  # Azure
    "rate_limit_exceeded": Fault.RATE_LIMIT,
    "requests": Fault.RATE_LIMIT,
    "tokens": Fault.RATE_LIMIT,
    "rate_limit_error": Fault.RATE_LIMIT,
    "overloaded_error": Fault.OVERLOADED,
    "server_error": Fault.SERVER,
    "api_error": Fault.SERVER,
    "internal_server_error": Fault.SERVER,
    "timeout": Fault.TIMEOUT,
}
_STATUS_OF: Final[dict[Fault, int]] = {
    Fault.RATE_LIMIT: 429,
    Fault.OVERLOADED: 503,
    Fault.TIMEOUT: 504,
    Fault.AUTHENTICATION: 401,
    Fault.BILLING: 402,
    Fault.NOT_FOUND: 404,
    Fault.CONTEXT: 400,
    Fault.CONTENT: 400,
    Fault.INVALID: 400,
}
"""The status that an error inside a 200 stands for."""


class _Text(Struct):
    """A message, or what a chunk adds to it. `reasoning` is OpenRouter's name of it."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None

    def any(self) -> bool:
        return bool(
            self.content
            or self.tool_calls
            or self.refusal
            or self.reasoning_content
            or self.reasoning
            or self.function_call
            or self.audio
        )


class _Choice(Struct):
    delta: _Text | None = None
    message: _Text | None = None
    finish_reason: str | None = None
    index: int = 0


class _Completion(Struct):
    choices: list[_Choice] | None = None
    error: Any = None


class OpenAI:
    """See `extproc.dialects.Dialect`."""

    name = "openai"
    base_path = "/v1"
    passes_client = True
    drops: frozenset[str] = frozenset()

    def ready_path(self, base_path: str | None) -> str:
        """A client's body is the provider's, but for the model's name."""
        base = self.base_path if base_path is None else base_path.rstrip("/")
        return f"{base}/chat/completions"

    def lacks(self, chat: ChatRequest) -> str | None:  # noqa: ARG002 - the door's shape
        """Nothing: whatever the client may say is said in this format."""
        return None

    def request(
        self,
        body: bytes,
        model: str,
        *,
        base_path: str | None,
        output_cap: int | None,  # noqa: ARG002 - the provider judges its own cap
    ) -> Wire:
        """The client's body with another model; every other field keeps its bytes."""
        # `models` is OpenRouter's list, which the gateway has acted on.
        body = strict_json.splice(body, {"model": model}, remove=("models",))
        return Wire(self.ready_path(base_path), body)

    def answer(self, body: bytes) -> Answer:
        """The body as it is, if it is a completion. Raises BadAnswerError."""
        completion = _read(body)
        if completion is None:
            raise BadAnswerError("not a chat completion: " + errors.plain(200, body))
        if completion.error:
            raise BadAnswerError(of_error(200, {"error": completion.error}).message)
        if completion.choices is None:
            raise BadAnswerError("not a chat completion: no choices")
        refused = bool(completion.choices) and all(
            one.finish_reason == "content_filter" and not (one.message and one.message.any())
            for one in completion.choices
        )
        return Answer(body, refused)

    def stream(self) -> StreamReader:
        """A reader that passes every byte on."""
        return Reader()

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """An error answer of OpenAI or a compatible server."""
        tree = errors.parsed(body)
        if not isinstance(tree, dict):
            return errors.unreadable(status, headers, body)
        return of_error(status, tree, headers, body)


class Reader:
    """Looks for content, errors and the end; changes nothing."""

    def __init__(self) -> None:
        self.content = False
        self.failure: Failure | None = None
        self.finished = False
        self.refused = False
        self._parser: sse.Parser | None = sse.Parser()
        self._head: list[bytes] | None = []
        self._head_size = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; they go on as they came."""
        if self._parser is not None and data:
            if self._head is not None and self._head_size < _HEAD:
                piece = data[: _HEAD - self._head_size]
                self._head.append(piece)
                self._head_size += len(piece)
            try:
                events = self._parser.feed(data)
            except sse.EventTooLargeError as error:
                self._events(error.events)
                self._fail(Failure(Fault.BAD_ANSWER, 502, str(error)))
            else:
                self._events(events)
        return data

    def end(self) -> bytes:
        """The provider ended its stream. Nothing is added."""
        if self._parser is not None:
            try:
                self._events(self._parser.end(), last=True)
            except sse.EventTooLargeError as error:
                self._fail(Failure(Fault.BAD_ANSWER, 502, str(error)))
        if self._head is not None and self.failure is None:
            self._fail(_no_stream(b"".join(self._head)))
        return b""

    def _events(self, events: list[sse.Event], *, last: bool = False) -> None:
        for event in events:
            self._head = None
            if self._parser is None:
                return
            if event.data == _DONE:
                self.finished = True
            elif not self.content or b'"error"' in event.data or event.type == b"error":
                self._event(event, last=last)

    def _event(self, event: sse.Event, *, last: bool) -> None:
        chunk = _read(event.data)
        if chunk is None:
            # What a stream was cut in the middle of is no error of its own: it did not finish.
            if not last:
                shown = errors.plain(200, event.data)
                self._fail(Failure(Fault.BAD_ANSWER, 502, f"not a chunk of a stream: {shown}"))
            return
        if chunk.error or event.type == b"error":
            self._fail(of_error(200, errors.mapping(errors.parsed(event.data)), {}, event.data))
            return
        for choice in chunk.choices or ():
            if choice.delta is not None and choice.delta.any():
                self.content = True
            elif choice.finish_reason:
                self.refused = choice.finish_reason == "content_filter" and not self.content
                self.content = True

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self._parser = None


def of_error(
    status: int, tree: dict[str, Any], headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Failure:
    """An error object, in the shapes that OpenAI-compatible servers give it: `{"error": {…}}`,
    `{"error": "…"}`, `{"message": …}` (older vLLM), `{"detail": …}` (FastAPI)."""
    headers = headers or {}
    inner = tree.get("error", tree)
    found = errors.mapping(inner)
    message = (
        errors.text(inner)
        or errors.text(found.get("message"))
        or errors.text(found.get("detail"))
        or errors.text(tree.get("message"))
        or errors.plain(status, body)
    )
    code = found.get("code")
    fault = _fault(status, found, message)
    if status < 400:  # noqa: PLR2004 - an error inside a 200
        said = code if isinstance(code, int) else found.get("status_code")  # Groq
        ours = _STATUS_OF.get(fault, 502)
        status = said if isinstance(said, int) and 400 <= said < 600 else ours  # noqa: PLR2004
        fault = errors.fault_of(status) if fault is Fault.BAD_ANSWER else fault
    return Failure(
        fault,
        status,
        errors.bounded(message),
        code if isinstance(code, str) else None,
        errors.text(found.get("param")),
        errors.retry_after(headers),
    )


def _fault(status: int, error: dict[str, Any], message: str) -> Fault:
    if (named := _named(status, error)) is not None:
        return named
    if status in {200, 400, 413, 422, 500} and errors.is_context(message):
        # llama.cpp and Ollama have said 500 for a prompt that is too long.
        return Fault.CONTEXT
    if status in {200, 400} and errors.is_content(message):
        return Fault.CONTENT
    if status < 400 and error.get("type") == "invalid_request_error":  # noqa: PLR2004
        return Fault.INVALID
    return errors.fault_of(status)


def _named(status: int, error: dict[str, Any]) -> Fault | None:
    """The fault by its code or type."""
    for key in ("code", "type"):
        name = error.get(key)
        fault = _BY_CODE.get(name) if isinstance(name, str) else None
        # Of a server's error the status says more than the type.
        if fault is not None and (fault is not Fault.SERVER or status < 400):  # noqa: PLR2004
            return fault
    if errors.mapping(error.get("innererror")).get("code") == "ResponsibleAIPolicyViolation":
        return Fault.CONTENT  # Azure
    content = str(error.get("param")).endswith("content")
    if content and error.get("code") == "string_above_max_length":
        return Fault.CONTEXT
    return None


def _no_stream(head: bytes) -> Failure:
    tree = errors.parsed(head)
    if isinstance(tree, dict) and "error" in tree:
        return of_error(200, tree, {}, head)
    return Failure(Fault.BAD_ANSWER, 502, "no event in the stream: " + errors.plain(200, head))


def _read(body: bytes) -> _Completion | None:
    try:
        return _COMPLETION.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)
