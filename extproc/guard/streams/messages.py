"""Events of Anthropic's messages."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from extproc.guard.streams.events import Part, Tree, again, event
from extproc.guard.streams.texts import Channel, Texts

_MEMBERS: Final = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
    "compaction_delta": "content",
}
"""What a delta calls its text, by its type."""
_PLACES: Final = {"partial_json": "input"}


class _Key(NamedTuple):
    block: int
    member: str


class _Shape(NamedTuple):
    """An event of a channel, for the one that brings its rest."""

    name: bytes
    tree: Tree
    delta: Tree


class MessagesReader:
    """Restores and reviews the events of one message.

    Thinking is reviewed and never changed: its signature, which comes after it, seals it.
    """

    __slots__ = ("_texts", "events")

    def __init__(self, texts: Texts[_Key]) -> None:
        self._texts = texts
        self.events = 0
        """These events have no numbers."""

    async def read(self, part: Part, tree: Tree) -> bytes:
        """What goes out for an event. Raises BlockedError, GuardError."""
        match tree.get("type") or part.name.decode("ascii", "replace"):
            case "content_block_delta":
                return await self._piece(part, tree)
            case "content_block_start":
                return await self._start(part, tree)
            case "content_block_stop":
                return await self._flush(_index(tree)) + part.event
            case "message_start":
                message = tree.get("message")
                content = message.get("content") if type(message) is dict else None
                if type(content) is list and await self._texts.tree(content, "content"):
                    return again(part, tree)
            case "message_delta" | "message_stop" | "error":
                return await self.end() + part.event
        return part.event

    async def end(self) -> bytes:
        """What still waits, in events of its own. Raises BlockedError, GuardError."""
        return await self._flush(None)

    async def _piece(self, part: Part, tree: Tree) -> bytes:
        delta, index = tree.get("delta"), _index(tree)
        if type(delta) is not dict:
            return part.event
        kind = delta.get("type")
        if kind == "signature_delta":  # what it signs is over
            return await self._flush(index) + part.event
        member = _MEMBERS.get(kind, "") if type(kind) is str else ""
        text = delta.get(member)
        if type(text) is not str:
            changed = await self._texts.tree(delta, f"content[{index}]")
            return again(part, tree) if changed else part.event
        channel = self._channel(index, member)
        said = await channel.take(text)
        if channel.held:
            channel.shape = _Shape(part.name, tree, delta)
        if said == text:
            return part.event
        return again(part, {**tree, "delta": {**delta, member: said}}) if said else b""

    async def _start(self, part: Part, tree: Tree) -> bytes:
        """A block begins, mostly empty; what it says already may go on in deltas."""
        block, index = tree.get("content_block"), _index(tree)
        if type(block) is not dict:
            return part.event
        begun: dict[str, Any] = {}
        for member in ("text", "thinking"):
            if type(block.get(member)) is str:
                channel = self._channel(index, member)
                begun[member] = await channel.take(block[member])
                if channel.held:
                    delta = {"type": f"{member}_delta"}
                    frame = {"type": "content_block_delta", "index": index}
                    channel.shape = _Shape(b"content_block_delta", frame, delta)
        rest = {member: inner for member, inner in block.items() if member not in begun}
        changed = await self._texts.tree(rest, f"content[{index}]")
        changed |= any(block[member] != said for member, said in begun.items())
        block.update({**rest, **begun})
        return again(part, tree) if changed else part.event

    async def _flush(self, block: int | None) -> bytes:
        """What waits in the channels of a block, or in all."""
        out: list[bytes] = []
        for channel in list(self._texts.open):
            key, shape = channel.key, channel.shape
            if block in (None, key.block):
                rest = await channel.end()
                if rest:
                    delta = {**shape.delta, key.member: rest}
                    out.append(event({**shape.tree, "delta": delta}, shape.name))
        return b"".join(out)

    def _channel(self, block: int, member: str) -> Channel[_Key]:
        key = _Key(block, member)
        return self._texts.get(key) or self._texts.begin(
            key,
            f"content[{block}].{_PLACES.get(member, member)}",
            json=member == "partial_json",
            sealed=member == "thinking",
        )


def _index(tree: Tree) -> int:
    index = tree.get("index")
    return index if type(index) is int else 0
