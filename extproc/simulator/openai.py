"""OpenAI chat completions, as the provider speaks them (and vLLM, for self-hosted models)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from extproc.simulator import openai_request as wire
from extproc.simulator import problems
from extproc.simulator.chat import (
    Ask,
    Failure,
    Frame,
    RejectedError,
    Reply,
    Tool,
    Usage,
    bearer,
)
from extproc.simulator.openai_errors import (
    ERRORS,
    PARAMS,
    VLLM_TYPES,
    body_of,
    complaint,
    rejected,
)
from extproc.simulator.openai_rules import broken_rule, reasons

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.2",
    "gpt-5.5",
    "o3",
    "o4-mini",
    "llama-3.3-70b-instruct",
)
_CREATED = 1_745_000_000

_FINISH = {"refusal": "stop"}
_CONTENT_PIECE = 12
"""Characters of arguments in one event of a stream."""


class OpenAI:
    """OpenAI's side of the wire."""

    name = "openai"
    keepalive = b": keep-alive\n\n"

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as OpenAI says it."""
        key = bearer(headers) or headers.get("api-key", "")
        if not key:
            message = (
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), "
                "or as the password field (with blank username) if you're accessing the API "
                "from your browser and are prompted for a username and password."
            )
            code = None
        elif "wrong" in key:
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
            message = (
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            )
            code = "invalid_api_key"
        else:
            return None
        body = body_of(message, "invalid_request_error", None, code)
        return Failure(401, msgspec.json.encode(body))

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as OpenAI does. Raises RejectedError."""
        del path, query
        if "application/json" not in headers.get("content-type", ""):
            shown = headers.get("content-type", "application/octet-stream")
            raise rejected(
                f"Unsupported content type: '{shown}'. This API method only accepts "
                "'application/json' requests, but you specified the header 'Content-Type: "
                f"{shown}'. Please try again with a supported content type.",
                None,
                "unsupported_content_type",
                hosted=hosted,
            )
        decoder: msgspec.json.Decoder[wire.Body] = (
            wire.BODY if hosted else wire.SELF_HOSTED_BODY  # type: ignore[assignment]
        )
        try:
            chat = problems.decode(decoder, body)
        except problems.InvalidError as error:
            raise rejected(*complaint(error), hosted=hosted) from None
        wrong = broken_rule(chat, body, hosted=hosted)
        if wrong is not None:
            if wrong.code == "model_not_found":
                made = body_of(wrong.message, "invalid_request_error", None, wrong.code)
                raise RejectedError(Failure(404, msgspec.json.encode(made)))
            raise rejected(wrong.message, wrong.param, wrong.code, hosted=hosted)
        return _ask(chat, hosted=hosted)

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """OpenAI's words for a kind of error."""
        usual, type_, code, words = ERRORS[kind]
        status = status or usual
        if hosted:
            body = body_of(message or words, type_, PARAMS.get(kind), code)
        else:
            type_ = VLLM_TYPES.get(status, "InternalServerError")
            body = body_of(message or words, type_, None, status)
        headers: list[tuple[str, str]] = []
        if retry_after is not None:
            headers = [
                ("retry-after", f"{max(1, round(retry_after))}"),
                ("retry-after-ms", f"{round(retry_after * 1000)}"),
            ]
        return Failure(status, msgspec.json.encode(body), tuple(headers))

    def not_found(self, method: str, path: str) -> Failure:
        """404 as OpenAI says it."""
        body = body_of(f"Invalid URL ({method} {path})", "invalid_request_error", None, None)
        return Failure(404, msgspec.json.encode(body))

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `chat.completion`."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text if reply.pieces or not reply.calls else None,
            "refusal": None,
            "annotations": [],
        }
        if reply.finish == "refusal":
            message |= {"content": None, "refusal": reply.text or "I'm sorry, I can't help."}
        if reply.thinking:
            message["reasoning_content"] = "".join(reply.thinking)
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{call.id}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in reply.calls
            ]
        finish = _FINISH.get(reply.finish, reply.finish)
        logprobs = _logprobs(reply.pieces) if ask.logprobs else None
        choices = [
            {"index": n, "message": message, "logprobs": logprobs, "finish_reason": finish}
            for n in range(ask.choices)
        ]
        body: dict[str, Any] = {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.model,
            "choices": choices,
        }
        if reply.usage is not None:
            body["usage"] = _usage(reply.usage)
        body |= {"service_tier": "default", "system_fingerprint": "fp_51e1070cf2"}
        return msgspec.json.encode(body)

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`chat.completion.chunk` events, then `[DONE]`."""
        return _Stream(ask, reply).frames()

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Text pieces, heads of calls and pieces of arguments, for each choice."""
        calls = sum(1 + len(_cut(call.arguments)) for call in reply.calls)
        return ask.choices * (len(reply.thinking) + len(reply.pieces) + calls)

    def error_event(self, failure: Failure) -> bytes:
        """OpenAI sends the error object as an event."""
        return b"data: " + failure.body.replace(b"\n", b" ") + b"\n\n"

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of OpenAI's answers."""
        kind = "text/event-stream; charset=utf-8" if stream else "application/json"
        return [
            ("content-type", kind),
            ("access-control-expose-headers", "X-Request-ID"),
            ("openai-organization", "org-sim"),
            ("openai-processing-ms", "42"),
            ("openai-version", "2020-10-01"),
            ("x-request-id", f"req_{reply_id}"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "30000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "29999900"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "0s"),
        ]

    def models(self, model: str | None) -> bytes | None:
        """`GET /v1/models`."""
        listed = [
            {"id": name, "object": "model", "created": _CREATED, "owned_by": "system"}
            for name in MODELS
            if model in (None, name)
        ]
        if model is None:
            return msgspec.json.encode({"object": "list", "data": listed})
        return msgspec.json.encode(listed[0]) if listed else None


def _ask(chat: wire.Body, *, hosted: bool) -> Ask:
    tools = tuple(
        Tool(one.function.name, one.function.parameters or None)
        for one in chat.tools or ()
        if isinstance(one, wire.FunctionTool)
    )
    choice = chat.tool_choice
    options = chat.stream_options
    form = chat.response_format
    last = chat.messages[-1]
    return Ask(
        model=chat.model,
        stream=bool(chat.stream),
        include_usage=options is not None and options.include_usage is True,
        obfuscate=hosted and (options is None or options.include_obfuscation is not False),
        tools=tools,
        forced=choice.function.name if isinstance(choice, wire.FunctionChoice) else None,
        required=choice == "required"
        or (isinstance(choice, wire.AllowedChoice) and choice.allowed_tools.mode == "required"),
        tools_off=choice == "none",
        parallel=chat.parallel_tool_calls is not False,
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        choices=chat.n or 1,
        prompt=_text(last) if isinstance(last, wire.User) else "",
        json_schema=form.json_schema.schema or None
        if isinstance(form, wire.SchemaFormat)
        else None,
        json_mode=form is not UNSET and not isinstance(form, wire.TextFormat),
        reasons=reasons(chat.model),
        logprobs=bool(chat.logprobs),
    )


def _text(message: wire.User) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join(part.text for part in message.content if isinstance(part, wire.TextPart))


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = {"cached_tokens": usage.cached, "audio_tokens": 0}
    if usage.cache_write:
        prompt["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _logprobs(pieces: tuple[str, ...]) -> dict[str, Any]:
    return {
        "content": [
            {"token": one, "logprob": -0.25, "bytes": list(one.encode()), "top_logprobs": []}
            for one in pieces
        ],
        "refusal": None,
    }


def _cut(arguments: str) -> list[str]:
    return [
        arguments[n : n + _CONTENT_PIECE] for n in range(0, len(arguments), _CONTENT_PIECE)
    ] or [""]


class _Stream:
    """Builds the events of one stream. The parts that do not change are encoded once."""

    def __init__(self, ask: Ask, reply: Reply) -> None:
        self._ask = ask
        self._reply = reply
        head = {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.model,
            "service_tier": "default",
            "system_fingerprint": "fp_51e1070cf2",
        }
        self._head = b"data: " + msgspec.json.encode(head)[:-1] + b',"choices":'
        self._tail = b',"usage":null' if ask.include_usage else b""
        self._n = 0

    def _event(self, choices: Any, usage: Any = None) -> bytes:
        text = self._head + msgspec.json.encode(choices)
        text += self._tail if usage is None else b',"usage":' + msgspec.json.encode(usage)
        if self._ask.obfuscate:
            self._n += 1
            pad = "kT9xQ2mZpL4sVb7R"[: 4 + self._n * 7 % 12].encode()
            text += b',"obfuscation":"' + pad + b'"'
        return text + b"}\n\n"

    def _delta(
        self, index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._event([choice])

    def frames(self) -> Iterator[Frame]:
        """Every event in order."""
        ask, reply = self._ask, self._reply
        choices = range(ask.choices)
        opening = None if reply.calls and not reply.pieces else ""
        for n in choices:
            first = {"role": "assistant", "content": opening, "refusal": None}
            yield self._delta(n, first), False
        yield from self._content()
        for n in choices:
            yield self._delta(n, {}, _FINISH.get(reply.finish, reply.finish)), False
        if ask.include_usage and reply.usage is not None:
            yield self._event([], _usage(reply.usage)), False
        yield b"data: [DONE]\n\n", False

    def _content(self) -> Iterator[Frame]:
        ask, reply = self._ask, self._reply
        choices = range(ask.choices)
        key = "refusal" if reply.finish == "refusal" else "content"
        for piece in reply.thinking:
            for n in choices:
                yield self._delta(n, {"reasoning_content": piece}), True
        for piece in reply.pieces:
            shown = _logprobs((piece,)) if ask.logprobs else None
            for n in choices:
                yield self._delta(n, {key: piece}, logprobs=shown), True
        for position in range(len(reply.calls)):
            for n in choices:
                yield from self._call(n, position)

    def _call(self, choice: int, position: int) -> Iterator[Frame]:
        call = self._reply.calls[position]
        first = {
            "index": position,
            "id": f"call_{call.id}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield self._delta(choice, {"tool_calls": [first]}), True
        for piece in _cut(call.arguments):
            part = {"index": position, "function": {"arguments": piece}}
            yield self._delta(choice, {"tool_calls": [part]}), True
