"""Events of OpenAI's Responses API: numbered, and what came in pieces comes whole as well."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from extproc.guard.streams.events import Part, Tree, again, event
from extproc.guard.streams.texts import Channel, Texts

_TERMINAL: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "error"}
)
_SOUND: Final = "response.audio.delta"
_WITHIN: Final = ("content_index", "summary_index", "command_index")
_JSON: Final = "call_arguments"
_PLACES: Final = {
    "response.output_text": "content[{}].text",
    "response.reasoning_text": "content[{}].text",
    "response.refusal": "content[{}].refusal",
    "response.reasoning_summary_text": "summary[{}].text",
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
_LEFT_OUT: Final = frozenset({"delta", "obfuscation", "logprobs"})


class _Key(NamedTuple):
    """A text of a response: which kind of event tells it, and where it is."""

    kind: str
    item: int
    inner: int


class ResponsesReader:
    """Restores and reviews the events of one response, and numbers them anew where it has to."""

    __slots__ = ("_next", "_texts", "events")

    def __init__(self, texts: Texts[_Key]) -> None:
        self._texts = texts
        self._next = 0
        self.events = 0
        """How many more events went out than came in."""

    async def read(self, part: Part, tree: Tree) -> bytes:
        """What goes out for an event. Raises BlockedError, GuardError."""
        number = tree.get("sequence_number")
        if type(number) is int:
            self._next = number
        kind = tree.get("type") or part.name
        kind = kind if type(kind) is str else part.name.decode("ascii", "replace")
        if kind.endswith(".delta") and type(tree.get("delta")) is str and kind != _SOUND:
            return await self._piece(part, tree, kind.removesuffix(".delta"))
        before = await self._over(kind, tree)
        changed = await self._whole(kind, tree)
        return before + self._sent(part, tree, changed=changed)

    async def end(self) -> bytes:
        """What still waits, in events of its own. Raises BlockedError, GuardError."""
        return await self._flush(None)

    async def _piece(self, part: Part, tree: Tree, kind: str) -> bytes:
        channel = self._channel(_key(kind, tree))
        text = tree["delta"]
        changed = False
        if self._texts.review is not None and tree.get("logprobs"):
            tree["logprobs"] = []  # tokens of what waits, or is replaced
            changed = True
        said = await channel.take(text)
        if channel.held:
            channel.shape = (part.name, tree)
        if said == text:
            return self._sent(part, tree, changed=changed)
        if not said and self._texts.review is not None:
            self._next += 1
            self.events -= 1
            return b""
        # Without a review an empty delta is the cheaper one: nothing has to be numbered anew.
        return self._sent(part, {**tree, "delta": said}, changed=True)

    async def _over(self, kind: str, tree: Tree) -> bytes:
        """What waits in channels that this event ends."""
        if not self._texts.open:
            return b""
        if kind in _TERMINAL:
            return await self._flush(None)
        if not kind.endswith(".done"):
            return b""
        key = _key(kind.removesuffix(".done"), tree)
        if kind == "response.output_item.done":
            return await self._flush(key.item)
        if kind.endswith("_part.done"):
            return await self._flush(key.item, key.inner)
        return await self._flush(key.item, key.inner, key.kind)

    async def _flush(
        self, item: int | None, inner: int | None = None, kind: str | None = None
    ) -> bytes:
        out: list[bytes] = []
        for channel in list(self._texts.open):
            key = channel.key
            if item in (None, key.item) and inner in (None, key.inner) and kind in (None, key.kind):
                rest = await channel.end()
                if rest:
                    out.append(self._extra(channel, rest))
        return b"".join(out)

    async def _whole(self, kind: str, tree: Tree) -> bool:
        """Texts that come in one piece."""
        if kind == "error":
            return False
        texts = self._texts
        place = f"output[{_index(tree, 'output_index')}]"
        changed = False
        response, item = tree.pop("response", None), tree.pop("item", None)
        if type(response) is dict:
            output = response.pop("output", None)
            changed |= await texts.tree(response, "response", told=False)
            if output is not None:
                changed |= type(output) is list and await texts.tree(output, "output")
                response["output"] = output
        if type(item) is dict:
            changed |= await texts.tree(item, place)
        changed |= await texts.tree(tree, place)
        tree |= {"response": response} if response is not None else {}
        tree |= {"item": item} if item is not None else {}
        return changed

    def _channel(self, key: _Key) -> Channel[_Key]:
        channel = self._texts.get(key)
        if channel is not None:
            return channel
        inner = _PLACES.get(key.kind, key.kind).format(key.inner)
        json = key.kind.endswith(_JSON)
        return self._texts.begin(key, f"output[{key.item}].{inner}", json=json)

    def _sent(self, part: Part, tree: Tree, *, changed: bool) -> bytes:
        """An event that goes out with its number."""
        if self.events and type(tree.get("sequence_number")) is int:
            tree["sequence_number"] = self._next + self.events
            changed = True
        self._next += 1
        return again(part, tree) if changed else part.event

    def _extra(self, channel: Channel[_Key], rest: str) -> bytes:
        name, tree = channel.shape
        made: Tree = {key: value for key, value in tree.items() if key not in _LEFT_OUT}
        made["delta"] = rest
        if "logprobs" in tree:
            made["logprobs"] = []
        if "sequence_number" in tree:
            made["sequence_number"] = self._next + self.events
        self.events += 1
        return event(made, name)


def _key(kind: str, tree: Tree) -> _Key:
    return _Key(kind, _index(tree, "output_index"), _inner(tree))


def _inner(tree: Tree) -> int:
    return next((_index(tree, name) for name in _WITHIN if name in tree), 0)


def _index(tree: Tree, name: str) -> int:
    index: Any = tree.get(name)
    return index if type(index) is int else 0
