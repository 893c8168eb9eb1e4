"""Anthropic Messages, as the provider speaks them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from extproc.simulator import anthropic_answer as answers
from extproc.simulator import anthropic_prompt as prompts
from extproc.simulator import anthropic_request as wire
from extproc.simulator import problems
from extproc.simulator.anthropic_rules import broken_rule
from extproc.simulator.chat import (
    NOTHING,
    Ask,
    Failure,
    Frame,
    RejectedError,
    Reply,
    Tool,
    Usage,
    bearer,
)
from extproc.simulator.prompt_cache import Memory

MODELS = (
    ("claude-opus-5-5", "Claude Opus 5.5"),
    ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    ("claude-haiku-5-5", "Claude Haiku 5.5"),
    ("claude-opus-5", "Claude Opus 5"),
    ("claude-sonnet-5", "Claude Sonnet 5"),
    ("claude-opus-4-8", "Claude Opus 4.8"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-sonnet-4-5", "Claude Sonnet 4.5"),
    ("claude-haiku-4-5", "Claude Haiku 4.5"),
)
VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
"""What `anthropic-version` may be."""
BODY_LIMIT = 32 * 1024 * 1024
"""Bytes; beyond it the API answers 413 `request_too_large`."""

# kind: status, type, message
_ERRORS: dict[str, tuple[int, str, str]] = {
    "invalid_request": (400, "invalid_request_error", "Invalid request."),
    "authentication": (401, "authentication_error", "invalid x-api-key"),
    "billing": (
        402,
        "billing_error",
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
            "Billing to upgrade or purchase credits."
        ),
    ),
    "permission": (
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    "not_found": (404, "not_found_error", "Not found"),
    "model_not_found": (404, "not_found_error", "model: claude-gone"),
    "too_large": (413, "request_too_large", "Request exceeds the maximum size"),
    "unprocessable": (422, "invalid_request_error", "Unprocessable entity."),
    "context_length": (
        400,
        "invalid_request_error",
        "prompt is too long: 212345 tokens > 200000 maximum",
    ),
    "content_filter": (
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
    ),
    "rate_limit": (
        429,
        "rate_limit_error",
        (
            "This request would exceed your organization's rate limit of 30,000 input tokens per "
            "minute. For details, refer to: https://docs.claude.com/en/api/rate-limits."
        ),
    ),
    "quota": (
        400,
        "invalid_request_error",
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
            "Billing to upgrade or purchase credits."
        ),
    ),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "unavailable": (503, "api_error", "Service Unavailable"),
    "server": (500, "api_error", "Internal server error"),
    "timeout": (504, "timeout_error", "Request timed out"),
}
_TYPES = {
    "float": "number",
    "int": "integer",
    "str": "string",
    "bool": "boolean",
    "array": "array",
    "object": "dictionary",
}
_UNIONS = {"content", "tools"}
_TAGGED = {"thinking", "tool_choice", "source"}
_CAN_BE_BARE = {"tools": "custom"}


def body_of(kind: str, message: str, request_id: str = "req_011Sim") -> bytes:
    """Anthropic's error object."""
    return msgspec.json.encode(
        {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": request_id,
        }
    )


def rejected(message: str, kind: str = "invalid_request_error", status: int = 400) -> RejectedError:
    """An error that ends the request."""
    return RejectedError(Failure(status, body_of(kind, message)))


def _location(path: problems.Path, document: Any) -> str:
    """Where, as Anthropic writes it: the tag of a union stands in the path after its index."""
    words: list[str] = []
    for n, step in enumerate(path):
        words.append(str(step))
        parent = path[n - 1] if n else ""
        union = (isinstance(step, int) and parent in _UNIONS) or step in _TAGGED
        if union and n < len(path) - 1 and path[n + 1] not in ("type", "custom"):
            value = problems.value_at(document, path[: n + 1])
            tag = value.get("type") if isinstance(value, dict) else None
            tag = tag or _CAN_BE_BARE.get(str(parent))
            words += [str(tag)] if tag else []
    return ".".join(words)


_BOUNDS = re.compile(r"(?P<type>\w+)(?P<length> of length)? (?P<op>[<>]=?) (?P<bound>.+)")


def complaint(error: problems.InvalidError, body: bytes) -> str:
    """Anthropic's words for a problem."""
    problem = error.problem
    if problem.kind == "json":
        return f"The request body is not valid JSON: {problem.got}"
    document = error.document
    if document is None:
        document = msgspec.json.decode(body)
    where = _location(problem.path, document)
    match problem.kind:
        case "unknown":
            return f"{where}: Extra inputs are not permitted"
        case "missing":
            return f"{where}: Field required"
        case "type":
            kinds = [_TYPES.get(one, one) for one in problem.expected.split(" | ")]
            return f"{where}: Input should be a valid {' or '.join(kinds)}"
        case "range":
            return f"{where}: {_rule(problem.expected)}"
        case _:
            return f"{where}: Input should be one of the permitted values, not '{problem.got}'"


def _rule(expected: str) -> str:
    found = _BOUNDS.fullmatch(expected)
    if found is None:
        return f"String should match pattern {expected.partition('regex ')[2]}"
    bound = found["bound"].removesuffix(".0")
    least = found["op"].startswith(">")
    if found["length"]:
        return f"String should have at {'least' if least else 'most'} {bound} characters"
    return f"Input should be {'greater' if least else 'less'} than or equal to {bound}"


class Anthropic:
    """Anthropic's side of the wire."""

    name = "anthropic"
    keepalive = b'event: ping\ndata: {"type": "ping"}\n\n'

    def __init__(self) -> None:
        self._memory = Memory()

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as Anthropic says it. Keys come as `x-api-key` (which wins) or as a bearer token,
        which is how the official SDKs send them since 2.0."""
        key = headers.get("x-api-key", "")
        token = bearer(headers)
        if not key and not token:
            return Failure(401, body_of("authentication_error", "x-api-key header is required"))
        if "wrong" in (key or token):
            words = "invalid x-api-key" if key else "invalid bearer token"
            return Failure(401, body_of("authentication_error", words))
        return None

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as Anthropic does. Raises RejectedError."""
        del query
        if len(body) > BODY_LIMIT:
            status, kind, words = _ERRORS["too_large"]
            raise rejected(words, kind, status)
        version = headers.get("anthropic-version", "")
        if not version:
            raise rejected("anthropic-version: header is required")
        if version not in VERSIONS:
            raise rejected(f'anthropic-version: "{version}" is not a valid version')
        if "application/json" not in headers.get("content-type", ""):
            raise rejected(
                "Invalid content type. Expected application/json.", "invalid_request_error", 400
            )
        counting = path.endswith("/count_tokens")
        try:
            if counting:
                message = problems.decode(wire.COUNT_BODY, body).whole()
            else:
                message = problems.decode(wire.BODY, body)
            wrong = broken_rule(message, version, headers.get("anthropic-beta", ""))
        except problems.InvalidError as error:
            raise rejected(complaint(error, body)) from None
        model = message.model
        if re.search(r"gone|unknown|nonexistent|does-not-exist", model) or (
            hosted and not model.startswith("claude-")
        ):
            raise rejected(f"model: {model}", "not_found_error", 404)
        if wrong is not None:
            raise rejected(wrong)
        if counting:
            own = answers.Own(counting=True)
            return Ask(model=model, silent=True, free=True, own=own)
        return self._ask(message)

    def _ask(self, body: wire.Body) -> Ask:
        tools = tuple(
            Tool(one["name"], one["input_schema"])
            for one in body.tools or ()
            if "input_schema" in one
        )
        choice = body.tool_choice
        schema = None
        if body.output_config is not UNSET and body.output_config.format is not None:
            schema = body.output_config.format.schema
        prompt = prompts.prompt_text(body.messages[-1])
        return Ask(
            model=body.model,
            stream=body.stream is True,
            tools=tools,
            forced=choice.name if isinstance(choice, wire.ChoiceTool) else None,
            required=isinstance(choice, wire.ChoiceAny),
            tools_off=isinstance(choice, wire.ChoiceNone),
            parallel=getattr(choice, "disable_parallel_tool_use", None) is not True,
            max_tokens=body.max_tokens,
            prompt=prompt,
            json_schema=schema,
            thinks=prompts.thinks(body),
            writes_cache=True,
            prompt_cache=self._memory.look(body.model, prompts.cached_blocks(body)),
            stops=tuple(body.stop_sequences or ()),
            own=answers.Own(
                citations=tuple(prompts.citations(body)),
                query=prompts.web_query(body),
                shows_thinking=prompts.shows_thinking(body),
                redacts="ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING" in prompt,
                runs_code=any("code_execution" in one.get("type", "") for one in body.tools or ()),
                edits_context=body.context_management is not None,
            ),
        )

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """Anthropic's words for a kind of error."""
        del hosted
        usual, type_, words = _ERRORS[kind]
        headers = [("x-should-retry", "true" if (status or usual) >= 429 else "false")]  # noqa: PLR2004
        if retry_after is not None:
            headers.append(("retry-after", f"{max(1, round(retry_after))}"))
        return Failure(status or usual, body_of(type_, message or words), tuple(headers))

    def not_found(self, method: str, path: str) -> Failure:  # noqa: ARG002
        """404 as Anthropic says it."""
        return Failure(404, body_of("not_found_error", "Not Found"))

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `message`, or a count of tokens."""
        usage = reply.usage or NOTHING
        if ask.own.counting:
            return msgspec.json.encode({"input_tokens": usage.input})
        content = answers.content(ask, reply)
        return msgspec.json.encode(answers.message(ask, reply, content, usage, done=True))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`message_start` … `message_stop`."""
        usage = reply.usage or NOTHING
        opening = Usage(
            usage.input,
            min(1, usage.output),
            usage.cached,
            usage.cache_write,
            cache_write_1h=usage.cache_write_1h,
        )
        start = answers.message(ask, reply, [], opening, done=False)
        yield _event("message_start", {"message": start}), False
        for n, (block, deltas) in enumerate(answers.blocks(ask, reply)):
            called = block["type"] == "tool_use"
            yield _event("content_block_start", {"index": n, "content_block": block}), called
            if n == 0:
                yield self.keepalive, False
            for delta in deltas:
                fields = {"index": n, "delta": delta}
                yield _event("content_block_delta", fields), answers.is_content(delta)
            yield _event("content_block_stop", {"index": n}), False
        delta = {
            "stop_reason": answers.stop_reason(reply),
            "stop_sequence": reply.stopped,
            **answers.ending(ask, reply),
        }
        fields = {"delta": delta, "usage": answers.usage_of(ask, usage)}
        if "context_management" in delta:
            fields["context_management"] = delta.pop("context_management")
        yield _event("message_delta", fields), False
        yield _event("message_stop", {}), False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Text and thinking deltas, starts of tool calls and pieces of their input."""
        if ask.own.counting:
            return 1
        return sum(
            (block["type"] == "tool_use") + sum(map(answers.is_content, deltas))
            for block, deltas in answers.blocks(ask, reply)
        )

    def error_event(self, failure: Failure) -> bytes:
        """An `error` event."""
        return b"event: error\ndata: " + failure.body.replace(b"\n", b" ") + b"\n\n"

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of Anthropic's answers."""
        kind = "text/event-stream; charset=utf-8" if stream else "application/json"
        return [
            ("content-type", kind),
            ("request-id", f"req_{reply_id}"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
            ("anthropic-ratelimit-input-tokens-reset", "2030-01-01T00:00:00Z"),
            ("anthropic-ratelimit-output-tokens-limit", "400000"),
            ("anthropic-ratelimit-output-tokens-remaining", "399000"),
            ("anthropic-ratelimit-output-tokens-reset", "2030-01-01T00:00:00Z"),
        ]

    def models(self, model: str | None) -> bytes | None:
        """`GET /v1/models`."""
        listed = [
            {
                "type": "model",
                "id": name,
                "display_name": title,
                "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 200000,
                "max_tokens": 64000,
            }
            for name, title in MODELS
            if model in (None, name)
        ]
        if model is not None:
            return msgspec.json.encode(listed[0]) if listed else None
        return msgspec.json.encode(
            {
                "data": listed,
                "has_more": False,
                "first_id": listed[0]["id"],
                "last_id": listed[-1]["id"],
            }
        )


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    data = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
