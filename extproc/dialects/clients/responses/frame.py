"""The response object around its output: what the request said, repeated as OpenAI repeats it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from extproc.dialects.chat.completion import Usage
from extproc.dialects.clients.responses.request import Parts, ResponsesRequest
from extproc.errors import ClientError

_encode: Final = msgspec.json.encode
_UNFIT: Final = re.compile(r"[^A-Za-z0-9]")
_MAX_ID: Final = 48
"""Characters of an id after its prefix: OpenAI takes ids back up to 64 in all."""

TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
CODES: Final = frozenset({"server_error", "rate_limit_exceeded", "invalid_prompt"})
"""Of the codes that a failed response may have, those that an error here can mean."""


def stem(id_: str) -> str:
    """An answer's id without its own prefix, as it may stand behind `resp_` and `msg_`."""
    return _UNFIT.sub("", id_.removeprefix("chatcmpl-"))[:_MAX_ID] or "0"


class Frame:
    """One response object, to be written several times over a stream. `created` in seconds since
    the epoch."""

    __slots__ = ("_head", "_middle", "_tail", "id", "tier")

    def __init__(
        self, said: ResponsesRequest, parts: Parts, id_: str, created: int, model: str
    ) -> None:
        self.id = id_
        self.tier = said.service_tier
        self._head = b'{"id":%b,"object":"response","created_at":%d,"status":"' % (
            _encode(id_),
            created,
        )
        self._middle = b',"instructions":' + _encode(said.instructions) + b',"model":'
        self._middle += _encode(model) + b',"output":['
        self._tail = b"]," + _encode(_echo(said, parts))[1:-1]

    def object(
        self,
        status: str,
        output: bytes = b"",
        *,
        usage: Usage | None = None,
        reason: str | None = None,
        error: ClientError | None = None,
        completed: int | None = None,
        tier: str | None = None,
    ) -> bytes:
        """The whole object. `output` is the items, encoded, with commas between; `reason` why it
        is incomplete; `completed` in seconds since the epoch."""
        failed = None if error is None else {"code": code_of(error), "message": error.message}
        incomplete = None if reason is None else {"reason": reason}
        return b"".join(
            (
                self._head,
                status.encode(),
                b'","background":false,"completed_at":',
                _encode(completed),
                b',"error":',
                _encode(failed),
                b',"incomplete_details":',
                _encode(incomplete),
                self._middle,
                output,
                self._tail,
                b',"service_tier":',
                _encode(_tier(tier or self.tier)),
                b',"usage":',
                _encode(None if usage is None else usage_shape(usage)),
                b"}",
            )
        )


def code_of(error: ClientError) -> str:
    """The code of a failed response: it has only some."""
    if error.code in CODES:
        return error.code or "server_error"
    if error.code == "content_policy_violation":
        return "invalid_prompt"
    return "rate_limit_exceeded" if error.type == "rate_limit_error" else "server_error"


def usage_shape(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage` of a response."""
    read: dict[str, int] = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write}
    written: dict[str, int] = {"reasoning_tokens": usage.reasoning}
    if usage.cache_write_1h:
        read["cache_write_1h_tokens"] = usage.cache_write_1h
    if usage.audio_prompt:
        read["audio_tokens"] = usage.audio_prompt
    if usage.audio_completion:
        written["audio_tokens"] = usage.audio_completion
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": read,
        "output_tokens": usage.completion,
        "output_tokens_details": written,
        "total_tokens": usage.prompt + usage.completion,
    }


def _tier(tier: str | None) -> str | None:
    return tier if tier is None or tier in TIERS else "default"


def _echo(said: ResponsesRequest, parts: Parts) -> dict[str, Any]:
    """The request's parameters with OpenAI's defaults. `store` and `truncation` are as they are:
    nothing was stored, nothing left out."""
    reasoning = said.reasoning
    return {
        "max_output_tokens": said.max_output_tokens,
        "max_tool_calls": said.max_tool_calls,
        "metadata": said.metadata or {},
        "parallel_tool_calls": said.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": said.prompt_cache_key,
        "reasoning": {
            "effort": reasoning and reasoning.effort,
            "summary": reasoning and (reasoning.summary or reasoning.generate_summary),
        },
        "safety_identifier": said.safety_identifier,
        "store": False,
        "temperature": 1.0 if said.temperature is None else said.temperature,
        "text": {
            "format": parts.text.format or {"type": "text"},
            "verbosity": parts.text.verbosity or "medium",
        },
        "tool_choice": _given(said.tool_choice) or "auto",
        "tools": _given(said.tools) or [],
        "top_logprobs": said.top_logprobs or 0,
        "top_p": 1.0 if said.top_p is None else said.top_p,
        "truncation": "disabled",
        "user": said.user,
    }


def _given(raw: Raw) -> Raw | None:
    return None if not raw or bytes(raw) == b"null" else raw
