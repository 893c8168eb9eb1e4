"""Deltas put together, each in time that does not grow with what came before.

What is being put together is not to be read before it is `settled`: texts are still in pieces.
"""

from __future__ import annotations

from typing import Any, Final

from extproc.cache.replay.pieces import StreamError

_ONCE: Final = frozenset({"role", "type", "id"})
"""Texts that some servers repeat in each chunk."""
_TOLD: Final = ("text", "summary", "data")
"""Fields of a detail of thinking that come in pieces."""


class Joined(list[str]):
    """A text in pieces."""


class _Calls(dict[int, dict[str, Any]]):
    """Calls of tools by their index."""


def add(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Put a delta, whose lists and objects are `into`'s from now on, to what came before: texts are
    joined, lists too, and where their members have an `index`, member by member. Raises
    StreamError for what cannot be told apart."""
    for name, value in delta.items():
        if name == "tool_calls" and isinstance(value, list):
            _add_calls(into, value)
            continue
        if name == "reasoning_details" and isinstance(value, list):
            _add_details(into, value)
            continue
        before = into.get(name)
        if before is None:
            into[name] = value
        elif value is None or name in _ONCE:
            continue
        elif isinstance(value, str) and isinstance(before, str):
            into[name] = Joined((before, value))
        elif isinstance(value, str) and isinstance(before, Joined):
            before.append(value)
        elif isinstance(value, dict) and isinstance(before, dict):
            add(before, value)
        elif isinstance(value, list) and type(before) is list:
            before += value
        else:
            into[name] = value


def settled(found: Any) -> Any:
    """What has been put together, to be read."""
    if isinstance(found, Joined):
        return "".join(found)
    if isinstance(found, _Calls):
        return [
            settled({name: one for name, one in found[index].items() if name != "index"})
            for index in sorted(found)
        ]
    if isinstance(found, dict):
        return {name: settled(one) for name, one in found.items()}
    if isinstance(found, list):
        return [settled(one) for one in found]
    return found


def _add_calls(into: dict[str, Any], value: list[dict[str, Any]]) -> None:
    calls = into.get("tool_calls")
    if not isinstance(calls, _Calls):
        calls = into["tool_calls"] = _Calls()
    for piece in value:
        index = piece.get("index")
        if type(index) is not int:
            raise StreamError("a call without an index")
        before = calls.get(index)
        if before is None:
            calls[index] = piece
            continue
        if piece.get("id") and before.get("id") and piece["id"] != before["id"]:
            raise StreamError("two calls with one index")
        for name, one in piece.items():
            if isinstance(one, dict) and isinstance(before.get(name), dict) and "name" in one:
                # A name comes whole, and from some servers again and again.
                one = {**one}  # noqa: PLW2901 - without the name
                if before[name].get("name"):
                    del one["name"]
            if name != "index":
                add(before, {name: one})


def _add_details(into: dict[str, Any], value: list[dict[str, Any]]) -> None:
    """OpenRouter's thinking: pieces of one detail follow each other with its index."""
    details = into.get("reasoning_details")
    if not isinstance(details, list):
        details = into["reasoning_details"] = []
    for piece in value:
        last = details[-1] if details else {}
        place = (piece.get("type"), piece.get("index"))
        if piece.get("index") is None or (last.get("type"), last.get("index")) != place:
            details.append(piece)
            continue
        for name, one in piece.items():
            if name not in _TOLD:
                if one is not None:
                    last[name] = one
            elif isinstance(last.get(name), Joined):
                last[name].append(one or "")
            else:
                last[name] = Joined((last.get(name) or "", one or ""))
