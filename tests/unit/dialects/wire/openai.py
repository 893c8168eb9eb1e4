"""OpenAI's own answers."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.dialects.wire.said import COUNTED, PLAIN, Said, Used, pieces

SAYS = PLAIN | {"thinking", "refusal", "tier", "logprobs", "cited", "image", "others"}
COUNTS = frozenset(Used.__dataclass_fields__) | COUNTED
ID = "chatcmpl-1"


def whole(said: Said) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    message["refusal"] = said.refusal or None
    if said.thinking:
        message["reasoning_content"] = said.thinking
    if said.calls:
        message["tool_calls"] = [_call(one, json.dumps(one.arguments)) for one in said.calls]
    if said.cited:
        message["annotations"] = _cited(said)
    if said.image:
        message["images"] = [{"type": "image_url", "image_url": {"url": said.image}}]
    first = _choice(0, "message", message, said.finish, _logprobs(said))
    others = [
        _choice(number, "message", {"role": "assistant", "content": text, "refusal": None}, "stop")
        for number, text in enumerate(said.others, 1)
    ]
    return _body("chat.completion", [first, *others], said, usage=_usage(said.used))


def stream(said: Said, size: int = 4) -> bytes:
    begin = {"role": "assistant", "content": "", "refusal": None}
    deltas: list[dict[str, Any]] = [begin]
    deltas += [{"reasoning_content": one} for one in pieces(said.thinking, size)]
    texts = [{"content": one} for one in pieces(said.text, size)]
    deltas += [] if said.logprobs else texts
    if said.cited:
        deltas.append({"annotations": _cited(said)})
    deltas += [{"refusal": one} for one in pieces(said.refusal, size)]
    if said.image:
        deltas.append({"images": [{"type": "image_url", "image_url": {"url": said.image}}]})
    for number, call in enumerate(said.calls):
        deltas.append({"tool_calls": [{"index": number, **_call(call, "")}]})
        deltas += [
            {"tool_calls": [{"index": number, "function": {"arguments": one}}]}
            for one in pieces(json.dumps(call.arguments), size)
        ]
    choices = [_choice(0, "delta", delta, None) for delta in deltas]
    if said.logprobs:
        choices.append(_choice(0, "delta", {"content": said.text}, None, _logprobs(said)))
    choices.append(_choice(0, "delta", {}, said.finish))
    for number, text in enumerate(said.others, 1):
        choices.append(_choice(number, "delta", {**begin, "content": text}, None))
        choices.append(_choice(number, "delta", {}, "stop"))
    events = [_body("chat.completion.chunk", [one], said) for one in choices]
    events.append(_body("chat.completion.chunk", [], said, usage=_usage(said.used)))
    return b"".join(b"data: " + one + b"\n\n" for one in (*events, b"[DONE]"))


def error(status: int, kind: str, message: str) -> bytes:  # noqa: ARG001 - the writers' shape
    found = {"message": message, "type": kind, "param": None, "code": None}
    return json.dumps({"error": found}).encode()


def _body(kind: str, choices: list[Any], said: Said, **more: Any) -> bytes:
    tier = {} if said.tier is None else {"service_tier": said.tier}
    found = {"id": ID, "object": kind, "created": 1, "model": "gpt", "choices": choices}
    return json.dumps({**found, **tier, **more}).encode()


def _choice(
    index: int, name: str, value: dict[str, Any], finish: str | None, logprobs: Any = None
) -> dict[str, Any]:
    return {"index": index, name: value, "logprobs": logprobs, "finish_reason": finish}


def _call(call: Any, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _cited(said: Said) -> list[dict[str, Any]]:
    names = ("start_index", "end_index", "url", "title")
    return [
        {"type": "url_citation", "url_citation": dict(zip(names, one, strict=True))}
        for one in said.cited
    ]


def _logprobs(said: Said) -> dict[str, Any] | None:
    if not said.logprobs:
        return None
    content: list[dict[str, Any]] = [
        {"token": token, "logprob": value, "bytes": None, "top_logprobs": []}
        for token, value in said.logprobs
    ]
    return {"content": content, "refusal": None}


def _usage(used: Used) -> dict[str, Any]:
    prompt = {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write}
    prompt |= {"audio_tokens": used.audio_prompt, "cache_write_1h_tokens": used.cache_write_1h}
    completion = {"reasoning_tokens": used.reasoning, "audio_tokens": used.audio_completion}
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.completion,
        "total_tokens": used.prompt + used.completion,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    }
