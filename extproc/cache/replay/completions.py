"""Legacy completions as chunks, and back."""

from __future__ import annotations

from typing import Any, Final

from extproc.cache.replay.chat import DONE, merge_head
from extproc.cache.replay.deltas import Joined, add, settled
from extproc.cache.replay.pieces import chunk, cut_chunks, objects

_HERE: Final = "\x00here"


def write(answer: dict[str, Any], *, usage: bool) -> bytes:
    """The chunks of a completion."""
    head = {name: one for name, one in answer.items() if name not in ("choices", "usage")}
    if usage:
        head["usage"] = None
    written: list[bytes] = []
    for choice in answer["choices"]:
        text, logprobs = choice.get("text", ""), choice.get("logprobs")
        bare = {name: one for name, one in choice.items() if name != "text"}
        bare |= {"logprobs": None, "finish_reason": None}
        if logprobs is None:
            shape = {**head, "choices": [{**bare, "text": _HERE}]}
            written += cut_chunks(shape, text, _HERE)
            last = ""
        else:
            last = text
        written.append(chunk({**head, "choices": [{**choice, "text": last}]}))
    if usage and answer.get("usage") is not None:
        written.append(chunk({**head, "choices": [], "usage": answer["usage"]}))
    return b"".join((*written, DONE))


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
            into = choices.setdefault(index, {"text": Joined(), "index": index, "logprobs": None})
            _merge(into, choice)
    found = [settled(choices[index]) for index in sorted(choices)]
    if not done or not found or any(one.get("finish_reason") is None for one in found):
        return None
    return {**answer, "choices": found}


def _merge(into: dict[str, Any], choice: dict[str, Any]) -> None:
    for name, value in choice.items():
        if name == "text":
            into[name].append(value or "")
        elif name == "logprobs" and into[name] is not None and value is not None:
            add(into[name], value)
        elif name != "index" and (value is not None or name not in into):
            into[name] = value
