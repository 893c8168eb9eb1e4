"""Requests and answers in the client formats, made of words: what a client will ask for, and what
it will get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from extproc.admin.cache.lines import LineError, Pair

DEFAULT: Final = "chat"
FORMATS: Final = ("chat", "messages", "responses", "completions")
"""In which a question can be put."""

Json = dict[str, Any]


def request(pair: Pair, format_: str) -> Json:
    """The body in which a client asks this question. Raises LineError."""
    if pair.question is None or not pair.question.strip():
        raise LineError("has no question")
    if not pair.model:
        raise LineError("has no model: clients say one")
    body = _REQUESTS[_known(format_)](pair.model, pair.question, pair.system)
    body |= {name: one for name, one in (pair.fields or {}).items() if one is not None}
    if format_ == "messages" and "max_tokens" not in body:
        raise LineError("has no max_tokens, which all requests of this format have, in its fields")
    return body


def answer(text: str, format_: str, *, name: str, model: str, now: int) -> Json:
    """An answer that says `text`. `name`: what its id ends in. Raises LineError."""
    if not text.strip():
        raise LineError("has no answer")
    return _ANSWERS[_known(format_)](text, name, model, now)


def _known(format_: str) -> str:
    if format_ not in FORMATS:
        known = ", ".join(FORMATS)
        raise LineError(f"format: {format_[:40]!a} is not known, or its answers are no words; "
                        f"use {known}")  # fmt: skip
    return format_


# --- requests -----------------------------------------------------------------------------


def _chat_request(model: str, question: str, system: str | None) -> Json:
    first = [] if system is None else [{"role": "system", "content": system}]
    return {"model": model, "messages": [*first, {"role": "user", "content": question}]}


def _messages_request(model: str, question: str, system: str | None) -> Json:
    said = {} if system is None else {"system": system}
    return {"model": model, **said, "messages": [{"role": "user", "content": question}]}


def _responses_request(model: str, question: str, system: str | None) -> Json:
    said = {} if system is None else {"instructions": system}
    return {"model": model, **said, "input": question}


def _completions_request(model: str, question: str, system: str | None) -> Json:
    if system is not None:
        raise LineError("system: a completion has none")
    return {"model": model, "prompt": question}


# --- answers ------------------------------------------------------------------------------
# No tokens were used for them, and they say so.


def _chat_answer(text: str, name: str, model: str, now: int) -> Json:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": now,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def _messages_answer(text: str, name: str, model: str, now: int) -> Json:  # noqa: ARG001 - the shape of all
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _responses_answer(text: str, name: str, model: str, now: int) -> Json:
    said = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": now,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [
            {
                "id": f"msg_{name}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [said],
            }
        ],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }


def _completions_answer(text: str, name: str, model: str, now: int) -> Json:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": now,
        "model": model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


_REQUESTS: Final[Mapping[str, Callable[[str, str, str | None], Json]]] = {
    "chat": _chat_request,
    "messages": _messages_request,
    "responses": _responses_request,
    "completions": _completions_request,
}
_ANSWERS: Final[Mapping[str, Callable[[str, str, str, int], Json]]] = {
    "chat": _chat_answer,
    "messages": _messages_answer,
    "responses": _responses_answer,
    "completions": _completions_answer,
}


# --- back to words ------------------------------------------------------------------------


def words(answer: Any) -> str:
    """What an answer of any format says, in words; empty where there are none."""
    if not isinstance(answer, dict):
        return ""
    found: list[str] = []
    for choice in _objects(answer.get("choices")):
        message = choice.get("message")
        found += _texts(message.get("content") if isinstance(message, dict) else choice.get("text"))
    found += _texts(answer.get("content"))
    for item in _objects(answer.get("output")):
        found += _texts(item.get("content"))
    return "\n".join(found)


def _objects(given: Any) -> list[Json]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    found = [one.get("text") for one in _objects(content)]
    return [one for one in found if isinstance(one, str)]
