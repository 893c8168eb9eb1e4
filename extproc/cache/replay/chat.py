"""Chat completions as chunks, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.cache.replay.deltas import add, settled
from extproc.cache.replay.pieces import chunk, cut_chunks, objects

DONE: Final = b"data: [DONE]\n\n"
_HERE: Final = "\x00here"
"""Where a piece of text is to stand."""
_TEXTS: Final = ("reasoning_content", "reasoning", "content", "refusal")
"""Fields of a message that come in pieces, in the order in which models say them."""
_OWN: Final = frozenset({"index", "message", "finish_reason", "logprobs"})
_NO_HEAD: Final = frozenset({"choices", "usage", "object"})


def write(answer: dict[str, Any], *, usage: bool) -> bytes:
    """The chunks of a completion."""
    head = {name: one for name, one in answer.items() if name not in _NO_HEAD}
    head["object"] = "chat.completion.chunk"
    if usage:
        # "All other chunks will also include a `usage` field, but with a null value."
        head["usage"] = None
    written: list[bytes] = []
    for choice in answer["choices"]:
        written += _choice(head, choice)
    if usage and answer.get("usage") is not None:
        written.append(chunk({**head, "choices": [], "usage": answer["usage"]}))
    return b"".join((*written, DONE))


def _choice(head: dict[str, Any], choice: dict[str, Any]) -> Iterator[bytes]:
    index, message = choice.get("index", 0), choice["message"]
    logprobs = choice.get("logprobs")

    def made(delta: dict[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
        one = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **more}
        return {**head, "choices": [one]}

    first = {
        name: "" if name in _TEXTS and isinstance(one, str) else one
        for name, one in message.items()
        if name not in ("tool_calls", "function_call") or not one
    }
    yield chunk(made(first))
    for name in _TEXTS:
        text = message.get(name)
        if not isinstance(text, str) or not text:
            continue
        if logprobs is not None and name in ("content", "refusal"):
            # Tokens cannot be told apart by the text: a character may be several.
            yield chunk(made({name: text}, logprobs=logprobs))
            logprobs = None
        else:
            yield from cut_chunks(made({name: _HERE}), text, _HERE)
    yield from _calls(made, message)
    rest = {name: one for name, one in choice.items() if name not in _OWN}
    if logprobs is not None:
        rest["logprobs"] = logprobs
    elif "logprobs" in choice:
        rest["logprobs"] = None
    yield chunk(made({}, choice.get("finish_reason"), **rest))


def _calls(made: Any, message: dict[str, Any]) -> Iterator[bytes]:
    for number, call in enumerate(message.get("tool_calls") or ()):
        begun = {"index": number, **call}
        said, name = None, _ARGUMENTS.get(call.get("type", "function"))
        if name is not None and isinstance(call.get(name[0]), dict):
            said = call[name[0]].get(name[1])
        if name is None or not isinstance(said, str):
            yield chunk(made({"tool_calls": [begun]}))
            continue
        begun[name[0]] = {**call[name[0]], name[1]: ""}
        yield chunk(made({"tool_calls": [begun]}))
        more = {"tool_calls": [{"index": number, name[0]: {name[1]: _HERE}}]}
        yield from cut_chunks(made(more), said, _HERE)
    call = message.get("function_call")
    if call is not None:
        arguments = call.get("arguments", "")
        yield chunk(made({"function_call": {**call, "arguments": ""}}))
        yield from cut_chunks(made({"function_call": {"arguments": _HERE}}), arguments, _HERE)


_ARGUMENTS: Final[Mapping[Any, tuple[str, str]]] = {
    "function": ("function", "arguments"),
    "custom": ("custom", "input"),
}
"""Where the text of a call stands, by its type."""


# --- back ---------------------------------------------------------------------------------


def read(stream: bytes) -> dict[str, Any] | None:
    """The completion of chunks. None: they did not come to their end."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    done = False
    for one in objects(stream):
        if not one:
            done = True
            break
        merge_head(answer, one)
        for choice in one.get("choices") or ():
            index = choice.get("index", 0)
            into = choices.setdefault(index, {"index": index, "message": {}})
            _merge_choice(into, choice)
    if not done or not choices:
        return None
    found = [_finished(choices[index]) for index in sorted(choices)]
    if any(one.get("finish_reason") is None for one in found):
        return None
    return {**answer, "object": "chat.completion", "choices": found}


def merge_head(answer: dict[str, Any], one: dict[str, Any]) -> None:
    """Take what a chunk says beside its choices: what came first stays, until more is known."""
    for name, value in one.items():
        if name in ("choices", "obfuscation"):
            continue
        if name == "usage":
            if value is not None:
                answer[name] = value
        elif name not in answer or (
            value is not None and (not answer[name] or name == "service_tier")
        ):
            answer[name] = value


def _merge_choice(into: dict[str, Any], choice: dict[str, Any]) -> None:
    for name, value in choice.items():
        if name == "delta":
            if value:
                add(into["message"], value)
        elif name == "logprobs":
            if value is not None and into.get(name) is not None:
                add(into[name], value)
            elif value is not None or name not in into:
                into[name] = value
        elif name != "index" and (value is not None or name not in into):
            into[name] = value


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = settled(choice)
    made["message"] = {"role": "assistant", "content": None, **made["message"]}
    made.setdefault("logprobs", None)
    return made
