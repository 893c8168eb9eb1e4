"""Cohere's chat, version 2."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.dialects.wire.said import COUNTED, PLAIN, Said, pieces

SAYS = PLAIN | {"thinking", "cited", "logprobs"}
COUNTS = COUNTED | {"cached"}
FINISH = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR_TOXIC",
}


def whole(said: Said) -> bytes:
    content: list[dict[str, Any]] = (
        [{"type": "thinking", "thinking": said.thinking}] if said.thinking else []
    )
    if said.text:
        content.append({"type": "text", "text": said.text})
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if said.calls:
        message["tool_calls"] = [_call(one, json.dumps(one.arguments)) for one in said.calls]
    if said.cited:
        message["citations"] = [_cited(*one) for one in said.cited]
    found: dict[str, Any] = {"id": "r-1", "finish_reason": FINISH[said.finish], "message": message}
    if said.logprobs:
        found["logprobs"] = [_likely(*one) for one in said.logprobs]
    return json.dumps({**found, "usage": _usage(said)}).encode()


def stream(said: Said, size: int = 4) -> bytes:
    out = _event("message-start", None, role="assistant")
    index = 0
    for kind, name, text in (
        ("thinking", "thinking", said.thinking),
        ("text", "text", said.text),
    ):
        if text:
            out += _event("content-start", index, content={"type": kind, name: ""})
            if kind == "text" and said.logprobs:
                out += b"".join(_probable(index, *one) for one in said.logprobs)
            else:
                for one in pieces(text, size):
                    out += _event("content-delta", index, content={name: one})
            out += _event("content-end", index)
            index += 1
    for number, one_cited in enumerate(said.cited):
        out += _event("citation-start", number, citations=_cited(*one_cited))
        out += _event("citation-end", number)
    for number, call in enumerate(said.calls):
        out += _event("tool-call-start", number, tool_calls=_call(call, ""))
        for one in pieces(json.dumps(call.arguments), size):
            out += _event("tool-call-delta", number, tool_calls={"function": {"arguments": one}})
        out += _event("tool-call-end", number)
    delta = {"finish_reason": FINISH[said.finish], "usage": _usage(said)}
    return out + _framed({"type": "message-end", "delta": delta})


def error(status: int, kind: str, message: str) -> bytes:  # noqa: ARG001 - the writers' shape
    return json.dumps({"id": "e-1", "message": message}).encode()


def _call(call: Any, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _cited(start: int, end: int, url: str, title: str) -> dict[str, Any]:
    document = {"url": url, "title": title}
    source = {"type": "document", "id": "d:0", "document": document}
    return {"start": start, "end": end, "text": "x", "sources": [source]}


def _likely(token: str, logprob: float) -> dict[str, Any]:
    return {"text": token, "token_ids": [1], "logprobs": [logprob]}


def _probable(index: int, token: str, logprob: float) -> bytes:
    """A piece of the text with its probability; the text is what the tokens come to."""
    delta = {"message": {"content": {"text": token}}}
    likely = _likely(token, logprob)
    return _framed({"type": "content-delta", "index": index, "delta": delta, "logprobs": likely})


def _usage(said: Said) -> dict[str, Any]:
    used = said.used
    tokens = {"input_tokens": used.prompt, "output_tokens": used.completion}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": used.cached}


def _event(kind: str, index: int | None, **piece: Any) -> bytes:
    found: dict[str, Any] = {"type": kind, "delta": {"message": piece}}
    return _framed(found if index is None else {**found, "index": index})


def _framed(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
