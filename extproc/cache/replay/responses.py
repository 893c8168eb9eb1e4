"""Responses as events, and back."""

from __future__ import annotations

from typing import Any, Final

from extproc.cache.replay.pieces import encode, objects, pieces

_HOSTED: Final[dict[str, tuple[str, ...]]] = {
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "image_generation_call": ("in_progress", "generating", "completed"),
    "mcp_call": ("in_progress", "completed"),
    "mcp_list_tools": ("in_progress", "completed"),
}
"""Calls that a provider runs itself, and what it tells of them on the way."""
_SAID: Final[dict[str, tuple[str, str]]] = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
"""The text of an item that comes in pieces, and what its events are called."""
_PARTS: Final[dict[str, tuple[str, str]]] = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}
_RESULTS: Final = ("result", "results", "output", "outputs")
"""What a call that a provider runs has only when it is done."""
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})


class _Writer:
    """Numbers the events."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        number = len(self.written)
        made = encode({"type": kind, "sequence_number": number, **fields})
        self.written.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), made))

    def deltas(self, kind: str, place: dict[str, Any], text: str) -> None:
        """A text in pieces."""
        kind += ".delta"
        head = b'event: %b\ndata: {"type":"%b",%b,' % (
            kind.encode(),
            kind.encode(),
            encode(place)[1:-1],
        )
        for piece in pieces(text):
            number = len(self.written)
            self.written.append(
                b'%b"delta":%b,"sequence_number":%d}\n\n' % (head, encode(piece), number)
            )


def write(answer: dict[str, Any], *, usage: bool) -> bytes:  # noqa: ARG001 - responses always tell
    """The events of a response."""
    status = answer.get("status") or "completed"
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    for name in ("completed_at", "incomplete_details"):
        if name in answer:
            begun[name] = None
    writer = _Writer()
    writer.event("response.created", {"response": begun})
    writer.event("response.in_progress", {"response": begun})
    for index, item in enumerate(answer["output"]):
        _item(writer, index, item)
    writer.event(f"response.{status}", {"response": answer})
    return b"".join(writer.written)


def _item(writer: _Writer, index: int, item: dict[str, Any]) -> None:
    kind = item["type"]
    place = {"item_id": item.get("id") or item.get("call_id") or "", "output_index": index}
    writer.event("response.output_item.added", {"output_index": index, "item": _begun(item)})
    if kind in ("message", "reasoning"):
        _message(writer, place, item)
    else:
        _call(writer, place, item)
    writer.event("response.output_item.done", {"output_index": index, "item": item})


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """The item as it stands before anything is in it."""
    kind = item["type"]
    begun = dict(item)
    if "status" in item and kind in {"message", "reasoning", *_SAID, *_HOSTED}:
        begun["status"] = "in_progress" if item["status"] is not None else None
    if kind in ("message", "reasoning"):
        for name in ("content", "summary"):
            if isinstance(item.get(name), list):
                begun[name] = []
    elif kind in _SAID and isinstance(item.get(_SAID[kind][0]), str):
        begun[_SAID[kind][0]] = ""
    if kind in _HOSTED:
        for name in _RESULTS:
            if item.get(name) is not None:
                begun[name] = None
    return begun


def _call(writer: _Writer, place: dict[str, Any], item: dict[str, Any]) -> None:
    kind = item["type"]
    on_the_way = list(_HOSTED.get(kind, ()))
    if on_the_way and item.get("status") in ("failed", "incomplete"):
        on_the_way[-1] = "failed" if kind.startswith("mcp_") else ""
    if on_the_way:
        writer.event(f"response.{kind}.{on_the_way.pop(0)}", place)
    if kind in _SAID:
        name, said = _SAID[kind]
        text = item.get(name)
        if isinstance(text, str):
            writer.deltas(said, place, text)
            writer.event(f"{said}.done", {**place, name: text})
    for state in on_the_way:
        if state:
            writer.event(f"response.{kind}.{state}", place)


def _message(writer: _Writer, place: dict[str, Any], item: dict[str, Any]) -> None:
    """The parts of a message, or of a thought: of what it was in short, and of all of it."""
    for number, part in enumerate(item.get("summary") or ()):
        where = {**place, "summary_index": number}
        kind = "response.reasoning_summary_text"
        around = "response.reasoning_summary_part"
        writer.event(f"{around}.added", {**where, "part": {**part, "text": ""}})
        writer.deltas(kind, where, part.get("text", ""))
        writer.event(f"{kind}.done", {**where, "text": part.get("text", "")})
        writer.event(f"{around}.done", {**where, "part": part})
    for number, part in enumerate(item.get("content") or ()):
        _part(writer, {**place, "content_index": number}, part)


def _part(writer: _Writer, where: dict[str, Any], part: dict[str, Any]) -> None:
    known = _PARTS.get(part.get("type", ""))
    if known is None:
        writer.event("response.content_part.added", {**where, "part": part})
        writer.event("response.content_part.done", {**where, "part": part})
        return
    name, kind = known
    begun = {**part, name: ""}
    for listed in ("annotations", "logprobs"):
        if part.get(listed):
            begun[listed] = []
    writer.event("response.content_part.added", {**where, "part": begun})
    text = part.get(name, "")
    ended = {**where, name: text}
    if kind == "response.output_text":
        tokens = part.get("logprobs") or []
        if tokens and text:
            # Tokens cannot be told apart by the text: a character may be several.
            writer.event(f"{kind}.delta", {**where, "delta": text, "logprobs": tokens})
        else:
            writer.deltas(kind, {**where, "logprobs": []}, text)
        for number, one in enumerate(part.get("annotations") or ()):
            fields = {**where, "annotation_index": number, "annotation": one}
            writer.event("response.output_text.annotation.added", fields)
        ended["logprobs"] = tokens
    else:
        writer.deltas(kind, where, text)
    writer.event(f"{kind}.done", ended)
    writer.event("response.content_part.done", {**where, "part": part})


# --- back ---------------------------------------------------------------------------------


def read(stream: bytes) -> dict[str, Any] | None:
    """The response that the last event holds, with the items that came before it where it has none
    of its own. None: there was no such event."""
    items: dict[int, dict[str, Any]] = {}
    for one in objects(stream):
        kind = one.get("type")
        if kind == "response.output_item.done":
            items[one["output_index"]] = one["item"]
        elif kind in _ENDS:
            found: dict[str, Any] = dict(one["response"])
            if not found.get("output"):
                found["output"] = [items[index] for index in sorted(items)]
            return found
        elif kind == "response.failed":
            return None
    return None
