"""What a kept answer says: its words and the tools that it calls, of any client format.

Thoughts, and what a provider's own searches and sandboxes did on the way, are not said: two answers
that came to the same in other ways are the same. What is of a type that nobody knows here counts
as a call, so that it never passes for equal to something else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from extproc.cache.embedders.texts import readable

Tree = Mapping[str, Any]


class Spoken(NamedTuple):
    """Of one answer."""

    text: str
    calls: bytes
    """Canonical JSON of the tools that the client is to call, of what a provider's connectors were
    told to do, and of pictures and sounds, without ids; empty: none."""


def spoken(answer: bytes, format_: str) -> Spoken | None:
    """What an answer says. None: nothing that could be read, or nothing at all. Never raises."""
    read = _READERS.get(format_)
    if read is None:
        return None
    try:
        texts: list[Any] = []
        calls: list[Any] = []
        for kind, said in read(_decode(answer)):
            (texts if kind == _TEXT else calls).append(said)
        text = readable("".join(texts))
        canonical = _canonical(calls) if calls else b""
    except (msgspec.DecodeError, UnicodeError, AttributeError, KeyError, TypeError, ValueError,
            RecursionError):  # fmt: skip
        return None
    return Spoken(text, canonical) if text.strip() or canonical else None


_TEXT: Final = "text"
_CALL: Final = "call"
_IDS: Final = frozenset({"id", "call_id", "approval_request_id", "status", "caller", "output"})
"""Of a call: what says which one it is, or how it went, and not what is to be done."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode

Said = Iterator[tuple[str, Any]]
"""Texts and calls, in their order."""


# --- formats ------------------------------------------------------------------------------


def _chat(tree: Tree) -> Said:
    (choice,) = tree["choices"]
    message = choice["message"]
    for name in ("content", "refusal"):
        yield from _content(message.get(name))
    audio = message.get("audio")
    if audio:
        # Another voice says the same: the words count.
        yield (_TEXT, audio["transcript"]) if audio.get("transcript") else (_CALL, _bare(audio))
    for image in message.get("images") or ():
        yield _CALL, image
    for call in message.get("tool_calls") or ():
        yield _CALL, _called(call)
    if message.get("function_call"):
        yield _CALL, _function(message["function_call"], "arguments")


def _content(content: object) -> Said:
    """A text, or parts, of which some servers make a message."""
    if isinstance(content, str):
        yield _TEXT, content
        return
    for part in content or ():  # type: ignore[attr-defined]  # what is no list is a TypeError
        if part["type"] in ("text", "output_text", "refusal"):
            yield _TEXT, part.get("text") or part.get("refusal") or ""
        elif part["type"] not in _ON_THE_WAY:
            yield _CALL, _bare(part)


def _completion(tree: Tree) -> Said:
    (choice,) = tree["choices"]
    yield _TEXT, choice["text"]


def _message(tree: Tree) -> Said:
    for block in tree["content"]:
        kind = block["type"]
        if kind == "text":
            # Sentences with sources are cut into several blocks: nothing stands between them.
            yield _TEXT, block["text"]
        elif kind in ("tool_use", "mcp_tool_use"):
            yield _CALL, {"name": block["name"], "arguments": block["input"]}
        elif kind not in _ON_THE_WAY and not kind.endswith("_tool_result"):
            yield _CALL, _bare(block)


def _response(tree: Tree) -> Said:
    between = ""
    for item in tree["output"]:
        kind = item["type"]
        if kind == "message":
            if between:
                yield _TEXT, between
            between = "\n"
            yield from _content(item["content"])
        elif kind in _ARGUMENTS:
            yield _CALL, _function(item, _ARGUMENTS[kind])
        elif kind not in _ON_THE_WAY:
            yield _CALL, _bare(item)


_ON_THE_WAY: Final = frozenset(
    {
        *("thinking", "redacted_thinking", "reasoning", "compaction"),
        *("server_tool_use", "web_search_call", "file_search_call", "code_interpreter_call"),
        *("tool_search_call", "tool_search_output", "mcp_list_tools", "additional_tools"),
    }
)
"""Parts of an answer that tell how it was come to. What a provider's tools found stands in the
words that follow."""
_ARGUMENTS: Final[Mapping[str, str]] = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "mcp_approval_request": "arguments",
}

_READERS: Final[Mapping[str, Callable[[Tree], Said]]] = {
    "chat": _chat,
    "completions": _completion,
    "messages": _message,
    "responses": _response,
}


# --- calls --------------------------------------------------------------------------------


def _called(call: Tree) -> object:
    kind = call.get("type", "function")
    if kind == "function":
        return _function(call["function"], "arguments")
    if kind == "custom":
        return _function(call["custom"], "input")
    return _bare(call)


def _function(call: Tree, name: str) -> object:
    """`name`: of the field in which the arguments are, as a text."""
    said = call.get(name) or ""
    found = {"name": call["name"], "arguments": _read(said) if name == "arguments" else said}
    if call.get("server_label"):
        found["server"] = call["server_label"]
    return found


def _read(arguments: object) -> object:
    """Arguments, so that neither white space nor the order of fields tells them apart; as they are
    where they are no JSON, or could be read in two ways."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}", object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return arguments


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _bare(part: Tree) -> object:
    return {name: one for name, one in part.items() if name not in _IDS}


def _canonical(calls: list[Any]) -> bytes:
    # Not msgspec: it writes infinity as null.
    written = json.dumps(calls, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return written.encode("utf-8", "surrogatepass")
