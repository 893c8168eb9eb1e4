"""OpenAI's Responses API."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.samples.shapes import FUNCTION, PDF, PNG, SCHEMA, Client, body, named

REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    {"model": "m", "input": "Weather in Paris?"},
    {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "c2VhbGVk",
            },
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "get_weather",
                "arguments": '{"city": "Paris"}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "grey"},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Grey.", "annotations": []}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": PNG, "detail": "auto"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
                ],
            },
        ],
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": "required",
        "stream": True,
        "max_output_tokens": 100,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    },
    {
        "model": "m",
        "input": "x",
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}},
        "temperature": 0.1,
        "top_p": 0.5,
        "parallel_tool_calls": False,
        "metadata": {"a": "b"},
        "user": "u",
        "truncation": "disabled",
        "service_tier": "auto",
    },
    {
        "model": "m",
        "input": "x",
        "previous_response_id": "resp_1",
        "tools": [{"type": "web_search"}, {"type": "custom", "name": "sql"}],
        "tool_choice": {"type": "function", "name": "f"},
        "background": False,
    },
)
_RESPONSE_USAGE: Final = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 17,
}
_RESPONSE: Final[dict[str, Any]] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "m-1",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Grey.", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "get_weather",
            "arguments": "{}",
            "status": "completed",
        },
    ],
    "usage": _RESPONSE_USAGE,
}
_BEGUN: Final = {**_RESPONSE, "status": "in_progress", "output": [], "usage": None}
_ITEM: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def _numbered(*events: dict[str, Any]) -> bytes:
    return named(*({**one, "sequence_number": at} for at, one in enumerate(events)))


RESPONSES: Final = Client(
    body(*REQUESTS),
    body(
        _RESPONSE,
        {
            **_RESPONSE,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "output": [],
        },
        {**_RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no"}},
    ),
    (
        _numbered(
            {"type": "response.created", "response": _BEGUN},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []},
            },
            {"type": "response.output_text.delta", **_ITEM, "delta": "Grey."},
            {"type": "response.output_text.done", **_ITEM, "text": "Grey."},
            {"type": "response.completed", "response": _RESPONSE},
        ),
        _numbered(
            {"type": "response.created", "response": _BEGUN},
            {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "Hm."},
            {
                "type": "response.function_call_arguments.delta",
                "item_id": "fc_1",
                "output_index": 0,
                "delta": "{}",
            },
            {"type": "response.refusal.delta", **_ITEM, "delta": "No."},
            {
                "type": "response.incomplete",
                "response": {
                    **_RESPONSE,
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                },
            },
        ),
        _numbered(
            {"type": "response.created", "response": _BEGUN},
            {
                "type": "response.failed",
                "response": {
                    **_BEGUN,
                    "status": "failed",
                    "error": {"code": "rate_limit_exceeded", "message": "slow down"},
                },
            },
            {"type": "error", "code": "server_error", "message": "no", "param": None},
        ),
    ),
)
