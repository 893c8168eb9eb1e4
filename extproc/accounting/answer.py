"""Whole answers: their usage and model, and an estimate where they give no figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from extproc.accounting.usage import NOTHING, estimated, usage_of
from extproc.records import Usage


class _Answer(msgspec.Struct):
    usage: Any = None
    model: Any = None
    x_groq: Any = None
    input_tokens: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_answer(body: bytes, format_: str = "chat") -> tuple[Usage | None, str | None]:
    """Usage and model of a whole answer in a client format. Never raises for a body: what cannot
    be read is None."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return None, None
    if format_ == "count_tokens":
        told: Any = {"input_tokens": answer.input_tokens}
    elif answer.usage is None and type(answer.x_groq) is dict:
        told = answer.x_groq.get("usage")
    else:
        told = answer.usage
    model = answer.model
    return usage_of(told, format_), model if type(model) is str else None


def estimate_answer(body: bytes, format_: str, input_tokens: int) -> Usage:
    """Usage of a whole answer in a client format whose provider gave no figures: input as it was
    estimated before, output from all text that the model produced. Counting is free and making
    embeddings has no output. Never raises for a body."""
    if format_ == "count_tokens":
        return NOTHING
    return estimated(input_tokens, *measured(produced(body, format_)))


def produced(body: bytes, format_: str) -> Iterator[str]:
    """The texts of a whole answer in a client format; none of a body that cannot be read."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return
    if type(answer) is not dict:
        return
    if format_ == "responses":
        for item in _trees(answer.get("output")):
            yield from _strings(item, "name", "arguments", "input", "code")
            said = item.get("content") or item.get("summary")
            for part in _trees(said):
                yield from _strings(part, "text", "refusal")
    elif format_ == "messages":
        for block in _trees(answer.get("content")):
            yield from _strings(block, "text", "thinking", "name")
            if block.get("input"):
                with suppress(RecursionError):  # nested to the very limit of what can be read
                    yield msgspec.json.encode(block["input"]).decode()
    else:
        for choice in _trees(answer.get("choices")):
            yield from _strings(choice, "text")
            yield from message_texts(choice.get("message"))


def message_texts(message: object) -> Iterator[str]:
    """The texts of a chat completion's message, or of a chunk's delta."""
    if type(message) is not dict:
        return
    yield from _strings(message, "content", "refusal")
    for part in _trees(message.get("content")):  # Mistral's: text and thinking in parts
        yield from _strings(part, "text")
        for thought in _trees(part.get("thinking")):
            yield from _strings(thought, "text")
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if type(thoughts) is str:
        yield thoughts
    if type(message.get("audio")) is dict:
        yield from _strings(message["audio"], "transcript")
    calls = [one.get(kind) for one in _trees(message.get("tool_calls")) for kind in _CALLS]
    for call in (*calls, message.get("function_call")):
        if type(call) is dict:
            yield from _strings(call, "name", "arguments", "input")


_CALLS = ("function", "custom")


def measured(texts: Iterator[str]) -> tuple[int, int]:
    """(ASCII bytes, other characters) of texts."""
    whole = "".join(texts)
    narrow = len(whole) if whole.isascii() else len(whole.encode("ascii", "ignore"))
    return narrow, len(whole) - narrow


def _strings(tree: dict[str, Any], *names: str) -> Iterator[str]:
    for name in names:
        if type(tree.get(name)) is str:
            yield tree[name]


def _trees(value: object) -> Iterator[dict[str, Any]]:
    if type(value) is list:
        for one in value:
            if type(one) is dict:
                yield one
