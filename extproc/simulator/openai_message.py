"""The parts of OpenAI's answers: calls, citations, sound and log probabilities."""

from __future__ import annotations

import base64
from typing import Any

from msgspec import UNSET

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Call, Reply

FINISH = {"refusal": "stop"}
REFUSAL = "I'm sorry, I can't help with that."
SOURCE = ("https://example.com/tollgate?utm_source=openai", "What a gateway says")
"""Address and title of what every web search finds."""
_PIECE = 12
"""Characters of arguments in one event of a stream."""
_HOUR = 3600


def cut(text: str) -> list[str]:
    """A call's arguments, in the pieces of a stream."""
    return [text[n : n + _PIECE] for n in range(0, len(text), _PIECE)] or [""]


def searches(chat: wire.Body) -> bool:
    """Whether the answer cites what it found."""
    return chat.web_search_options is not UNSET


def speaks(chat: wire.Body) -> bool:
    """Whether the answer is spoken."""
    return chat.modalities is not None and "audio" in chat.modalities


def old_way(chat: wire.Body) -> bool:
    """Whether calls are made as `function_call`."""
    return chat.functions is not UNSET and chat.tools is UNSET


def finish_of(chat: wire.Body, reply: Reply) -> str:
    """The finish reason in OpenAI's words."""
    if reply.finish == "tool_calls" and old_way(chat):
        return "function_call"
    return FINISH.get(reply.finish, reply.finish)


def call_of(call: Call) -> dict[str, Any]:
    """A tool call of a message."""
    if call.custom:
        made = {"name": call.name, "input": call.arguments}
        return {"id": f"call_{call.id}", "type": "custom", "custom": made}
    made = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{call.id}", "type": "function", "function": made}


def citations(text: str) -> list[dict[str, Any]]:
    """What the text cites."""
    url, title = SOURCE
    place = {"start_index": 0, "end_index": len(text), "url": url, "title": title}
    return [{"type": "url_citation", "url_citation": place}]


def sound(text: str) -> str:
    """Sound in base64 that is as deterministic as the text: its bytes, said slowly."""
    return base64.b64encode(text.encode() * 8).decode()


def audio_of(reply: Reply) -> dict[str, Any]:
    """The spoken answer."""
    return {
        "id": f"audio_{reply.id}",
        "data": sound(reply.text),
        "expires_at": reply.created + _HOUR,
        "transcript": reply.text,
    }


def tokens_of(pieces: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    """Log probabilities of each piece, with `top` alternatives."""
    return [{**_token(one, -0.25), "top_logprobs": _others(one, top)} for one in pieces]


def logprobs_of(reply: Reply, pieces: tuple[str, ...], top: int) -> dict[str, Any]:
    """The log probabilities of a choice."""
    found = tokens_of(pieces, top)
    refused = reply.finish == "refusal"
    return {"content": None if refused else found, "refusal": found if refused else None}


def _others(token: str, top: int) -> list[dict[str, Any]]:
    return [_token(token if n == 0 else f"{token}{n}", -0.25 - n * 2.0) for n in range(top)]


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def moderated(model: str) -> dict[str, Any]:
    """What moderation found on one side: nothing."""
    return {
        "type": "moderation_result",
        "model": model,
        "flagged": False,
        "categories": {"hate": False, "violence": False},
        "category_scores": {"hate": 0.0001, "violence": 0.0002},
        "category_applied_input_types": {"hate": ["text"], "violence": ["text"]},
    }


def moderation(model: str) -> dict[str, Any]:
    """What moderation found on both sides of a chat."""
    side = {"type": "moderation_results", "model": model, "results": [moderated(model)]}
    return {"input": side, "output": side}


def message_of(chat: wire.Body, reply: Reply, thought: dict[str, Any]) -> dict[str, Any]:
    """The message of an answer that is not streamed. `thought` holds its reasoning."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text if reply.pieces or not reply.calls else None,
        "refusal": None,
        "annotations": citations(reply.text) if searches(chat) and reply.pieces else [],
    }
    if reply.finish == "refusal":
        message |= {"content": None, "refusal": reply.text or REFUSAL}
    elif speaks(chat) and reply.pieces:
        message |= {"content": None, "audio": audio_of(reply)}
    message |= thought
    if reply.calls and old_way(chat):
        call = reply.calls[0]
        message["function_call"] = {"name": call.name, "arguments": call.arguments}
    elif reply.calls:
        message["tool_calls"] = [call_of(call) for call in reply.calls]
    return message
