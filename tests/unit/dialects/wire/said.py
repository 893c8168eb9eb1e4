"""What a model said, in no provider's words: `Said` is written as each provider's answer by the
modules beside this one, and read back from what a client of chat completions gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Used:
    """Tokens, as OpenAI counts them: `prompt` has the cached ones in it, `completion` those that
    were thought."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_prompt: int = 0
    audio_completion: int = 0


@dataclass(frozen=True)
class Said:
    """One answer. `finish` in OpenAI's words."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    """Of the thinking, or where the provider signs the text, of that."""
    sealed: str = ""
    """Thinking that only the provider reads."""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    stop_sequence: str | None = None
    refusal: str = ""
    used: Used = Used(60, 12)
    tier: str | None = None
    logprobs: tuple[tuple[str, float], ...] = ()
    cited: tuple[tuple[int, int, str, str], ...] = ()
    """(start, end, URL, title), in characters of the text."""
    image: str = ""
    """A `data:` URL."""
    others: tuple[str, ...] = ()
    """Texts of the other answers to one request."""


def only(said: Said, names: frozenset[str], tokens: frozenset[str]) -> Said:
    """What a provider can say of it: the fields and the kinds of tokens that it has."""
    nothing = Said()
    kept = {name: getattr(said if name in names else nothing, name) for name in _FIELDS}
    used = {name: getattr(said.used, name) if name in tokens else 0 for name in _TOKENS}
    return Said(**{**kept, "used": Used(**used)})


_FIELDS = tuple(name for name in Said.__dataclass_fields__ if name != "used")
_TOKENS = tuple(Used.__dataclass_fields__)
PLAIN = frozenset({"text", "calls", "finish"})
COUNTED = frozenset({"prompt", "completion"})


def pieces(text: str, size: int = 4) -> Iterator[str]:
    """Text as a stream brings it."""
    for at in range(0, len(text), size):
        yield text[at : at + size]


# --- what a client of chat completions hears ------------------------------------------------


def heard(body: bytes) -> Said:
    """A chat completion."""
    tree = json.loads(body)
    first, *others = tree["choices"]
    found = _message(first["message"], first)
    return replace(
        found,
        used=_used(tree["usage"]),
        tier=tree.get("service_tier"),
        others=tuple(one["message"]["content"] for one in others),
    )


def overheard(out: bytes) -> Said:
    """The chunks of one, put together as a client does."""
    datas = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: ")]
    assert datas.pop() == b"[DONE]"
    messages: dict[int, dict[str, Any]] = {}
    choices: dict[int, dict[str, Any]] = {}
    used, tier = Used(), None
    for chunk in map(json.loads, datas):
        for choice in chunk["choices"]:
            index = choice["index"]
            _add(messages.setdefault(index, {}), choice["delta"])
            _add(choices.setdefault(index, {}), {"logprobs": choice.get("logprobs")})
            for name in ("finish_reason", "stop_sequence"):
                if choice.get(name):
                    choices[index][name] = choice[name]
        if chunk.get("usage"):
            used, tier = _used(chunk["usage"]), chunk.get("service_tier")
    assert sorted(messages) == list(range(len(messages)))
    found = _message(messages[0], choices[0])
    others = tuple(messages[one]["content"] for one in range(1, len(messages)))
    return replace(found, used=used, tier=tier, others=others)


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                calls = message.setdefault(name, [])
                if call["index"] == len(calls):
                    calls.append(call)
                else:
                    arguments = call["function"]["arguments"]
                    calls[call["index"]]["function"]["arguments"] += arguments
        elif name == "logprobs" and value is not None:
            message.setdefault(name, {"content": []})["content"] += value["content"]
        elif isinstance(value, str | list) and isinstance(message.get(name), str | list):
            message[name] += value
        elif value is not None:
            message[name] = value


def _message(message: dict[str, Any], choice: dict[str, Any]) -> Said:
    details = message.get("reasoning_details", [])
    probabilities = (choice.get("logprobs") or {}).get("content", [])
    cited = [one["url_citation"] for one in message.get("annotations", [])]
    images = message.get("images", [])
    return Said(
        text=message.get("content") or "",
        thinking=message.get("reasoning_content", ""),
        signature="".join(one.get("signature", "") for one in details),
        sealed="".join(one.get("data", "") for one in details),
        calls=tuple(map(_call, message.get("tool_calls", []))),
        finish=choice["finish_reason"],
        stop_sequence=choice.get("stop_sequence"),
        refusal=message.get("refusal") or "",
        logprobs=tuple((one["token"], one["logprob"]) for one in probabilities),
        cited=tuple((o["start_index"], o["end_index"], o["url"], o["title"]) for o in cited),
        image=images[0]["image_url"]["url"] if images else "",
    )


def _call(call: dict[str, Any]) -> Call:
    called = call["function"]
    return Call(call["id"], called["name"], json.loads(called["arguments"]))


def _used(usage: dict[str, Any]) -> Used:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return Used(
        prompt=usage["prompt_tokens"],
        completion=usage["completion_tokens"],
        cached=prompt.get("cached_tokens", 0),
        cache_write=prompt.get("cache_write_tokens", 0),
        cache_write_1h=prompt.get("cache_write_1h_tokens", 0),
        reasoning=completion.get("reasoning_tokens", 0),
        audio_prompt=prompt.get("audio_tokens", 0),
        audio_completion=completion.get("audio_tokens", 0),
    )
