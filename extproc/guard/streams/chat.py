"""Chunks of chat completions, and of completions, whose text stands in the choices themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from extproc.guard.streams.events import Part, Tree, again, event
from extproc.guard.streams.texts import Channel, Texts

_FRAME: Final = frozenset(
    {"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"}
)
"""Members that every chunk of an answer repeats."""
_SAID: Final = frozenset({"reasoning_content", "reasoning", "content", "refusal"})
_CHUNK: Final = _FRAME | {"choices", "usage", "obfuscation"}
_CHOICE: Final = frozenset(
    {"index", "delta", "text", "finish_reason", "native_finish_reason", "stop_reason", "logprobs"}
)
_DELTA: Final = _SAID | {"role", "audio", "function_call", "tool_calls", "reasoning_details"}
"""Members of each that are no texts, or that are read piece by piece."""

Where = tuple[str | int, ...]
"""A text's place in a delta: `("tool_calls", 1, "function", "arguments")`."""


class _Text(NamedTuple):
    """A text in a delta: the member of its holder, and where that is."""

    holder: Any
    member: str
    where: Where


class _Key(NamedTuple):
    """A text of an answer."""

    choice: int
    where: Where


class ChatReader:
    """Restores and reviews the chunks of one answer."""

    __slots__ = ("_texts", "_whole", "events")

    def __init__(self, texts: Texts[_Key], *, whole: bool = False) -> None:
        """`whole`: completions, which have text instead of deltas."""
        self._texts = texts
        self._whole = whole
        self.events = 0
        """Chunks have no numbers."""

    async def read(self, part: Part, tree: Tree) -> bytes:
        """What goes out for an event. Raises BlockedError, GuardError."""
        if tree.get("error") is not None or part.name == b"error":
            return await self.end() + part.event
        choices = tree.get("choices")
        before: list[bytes] = []
        changed = False
        for at, choice in enumerate(choices if type(choices) is list else ()):
            if type(choice) is dict and await self._choice(choice, at, tree, before):
                changed = True
        changed |= await self._rest(tree, _CHUNK, "chunk")
        sent = part.event
        if changed:
            sent = b"" if _says_nothing(tree) else again(part, tree)
        return b"".join((*before, sent))

    async def end(self) -> bytes:
        """What still waits, in chunks of its own. Raises BlockedError, GuardError."""
        out = [self._extra(one, await one.end()) for one in list(self._texts.open)]
        return b"".join(out)

    async def _choice(self, choice: Tree, at: int, chunk: Tree, before: list[bytes]) -> bool:
        """Put in place what a choice may say now; whether that changes it. `before` is what has to
        be said in front of the chunk."""
        index = choice.get("index")
        index = index if type(index) is int else at
        delta = choice if self._whole else choice.get("delta")
        if type(delta) is not dict:
            delta = {}
        texts = list(_completion(delta) if self._whole else _delta(delta))
        await self._begun(index, {text.where for text in texts}, before)
        changed = False
        if self._texts.review is not None and choice.get("logprobs"):
            choice["logprobs"] = None  # tokens of what waits, or is replaced
            changed = True
        for text in texts:
            said = text.holder[text.member]
            channel = self._channel(_Key(index, text.where))
            now = await channel.take(said)
            if channel.held:
                channel.shape = {name: chunk[name] for name in _FRAME & chunk.keys()}
            if now != said:
                text.holder[text.member] = now
                changed = True
        place = f"choices[{index}]"
        changed |= await self._rest(choice, _CHOICE, place)
        if not self._whole:
            changed |= await self._rest(delta, _DELTA, f"{place}.message")
        if choice.get("finish_reason"):
            changed |= await self._over(index, delta, before)
        if changed and not self._whole:
            choice["delta"] = delta
        return changed

    async def _rest(self, holder: Tree, known: frozenset[str], place: str) -> bool:
        """What a chunk says beside its texts (annotations, what a server has added) is as it is in
        a whole answer: text, unless its name says otherwise. Whether that changes it."""
        others = {name: one for name, one in holder.items() if name not in known and one}
        if not others or not await self._texts.tree(others, place):
            return False
        holder |= others
        return True

    async def _begun(self, index: int, here: set[Where], before: list[bytes]) -> None:
        """A text begins: those before it are over. (Without a review only what could be a
        placeholder waits, which whole JSON never ends with; texts may then come mixed.)"""
        if self._texts.review is None or not self._texts.open:
            return
        if any(self._texts.get(_Key(index, where)) is None for where in here):
            over = [one for one in self._waiting(index) if one.key.where not in here]
            before += [self._extra(one, await one.end()) for one in over]

    async def _over(self, index: int, delta: Tree, before: list[bytes]) -> bool:
        """All texts of a choice are over: what waits goes into its last delta."""
        changed = False
        for channel in self._waiting(index):
            rest = await channel.end()
            if rest and _put(delta, channel.key.where, rest):
                changed = True
            else:
                before.append(self._extra(channel, rest))
        return changed

    def _waiting(self, index: int) -> list[Channel[_Key]]:
        return [one for one in self._texts.open if one.key.choice == index]

    def _channel(self, key: _Key) -> Channel[_Key]:
        channel = self._texts.get(key)
        if channel is not None:
            return channel
        message = "" if self._whole else ".message"
        return self._texts.begin(
            key,
            f"choices[{key.choice}]{message}{_shown(key.where)}",
            json=key.where[-1] == "arguments",
            sealed=key.where[0] == "reasoning_details",
        )

    def _extra(self, channel: Channel[_Key], rest: str) -> bytes:
        """A chunk that says `rest`, none if that is nothing."""
        if not rest:
            return b""
        key = channel.key
        choice: Tree = {"index": key.choice}
        if self._whole:
            choice |= {"text": rest, "logprobs": None, "finish_reason": None}
        else:
            delta: Tree = {}
            _put(delta, key.where, rest)
            choice |= {"delta": delta, "finish_reason": None}
        return event({**(channel.shape or {}), "choices": [choice]})


def _completion(choice: Tree) -> Iterator[_Text]:
    yield from _held(choice, "text", ())


def _delta(delta: Tree) -> Iterator[_Text]:
    """The texts of a delta that are not empty."""
    for name, inner in list(delta.items()):
        if type(inner) is str:
            if inner and name in _SAID:
                yield _Text(delta, name, (name,))
        elif inner:
            yield from _within(name, inner)


def _within(name: str, inner: Any) -> Iterator[_Text]:
    match name:
        case "content":
            yield from _parts(inner)
        case "audio":
            yield from _held(inner, "transcript", ("audio",))
        case "function_call":
            yield from _held(inner, "arguments", ("function_call",))
        case "tool_calls":
            for at, call in _listed(inner):
                yield from _held(call.get("function"), "arguments", (name, at, "function"))
                yield from _held(call.get("custom"), "input", (name, at, "custom"))
        case "reasoning_details":
            for at, detail in _listed(inner):
                for member in ("text", "summary"):
                    yield from _held(detail, member, (name, at))


def _parts(content: Any) -> Iterator[_Text]:
    """Content in parts, as Mistral sends it when a model thinks."""
    if type(content) is list:
        for part in content:
            if type(part) is dict:
                yield from _held(part, "text", ("content", "parts"))
                for thought in part["thinking"] if type(part.get("thinking")) is list else ():
                    yield from _held(thought, "text", ("content", "thinking"))


def _listed(entries: Any) -> Iterator[tuple[int, Tree]]:
    """Entries of a list that goes on over chunks, by their index."""
    if type(entries) is list:
        for at, entry in enumerate(entries):
            if type(entry) is dict:
                index = entry.get("index")
                yield (index if type(index) is int else at), entry


def _held(holder: Any, member: str, above: Where) -> Iterator[_Text]:
    if type(holder) is dict and holder.get(member) and type(holder[member]) is str:
        yield _Text(holder, member, (*above, member))


def _put(delta: Tree, where: Where, rest: str) -> bool:
    """Add to the text at `where`, which may not be there yet; False where other things are."""
    match where:
        case ("content", str(kind), _):
            part: Tree = {"type": "text", "text": rest}
            if kind == "thinking":
                part = {"type": "thinking", "thinking": [part]}
            told = delta.get("content") or []
            if type(told) is not list:
                return False
            delta["content"] = [*told, part]
            return True
        case (str(name), int(index), *inner):
            holder = _entry(delta, name, index)
            for step in inner[:-1]:
                holder = _inside(holder, str(step))
            if name == "reasoning_details":
                holder.setdefault("type", f"reasoning.{where[-1]}")
        case (*inner, _):
            holder = delta
            for step in inner:
                holder = _inside(holder, str(step))
    member = str(where[-1])
    said = holder.get(member) or ""
    if type(said) is not str:
        return False
    holder[member] = said + rest
    return True


def _inside(holder: Tree, member: str) -> Tree:
    inner = holder.get(member)
    if type(inner) is not dict:
        inner = holder[member] = {}
    return inner


def _entry(delta: Tree, name: str, index: int) -> Tree:
    """The entry of a list with that index; a new one comes first, as what waited is older."""
    entries = delta.get(name)
    if type(entries) is not list:
        entries = delta[name] = []
    for at, entry in _listed(entries):
        if at == index:
            return entry
    made: Tree = {"index": index}
    entries.insert(0, made)
    return made


def _shown(where: Where) -> str:
    return "".join(f"[{step}]" if type(step) is int else f".{step}" for step in where)


def _says_nothing(chunk: Tree) -> bool:
    """Whether nothing is left in a chunk that a client would miss."""
    return all(_silent(choice) for choice in chunk["choices"]) and not any(
        value is not None and name not in _FRAME and name not in ("choices", "obfuscation")
        for name, value in chunk.items()
    )


def _silent(value: Any) -> bool:
    """Empty texts, and indices of what is empty."""
    match value:
        case dict():
            return all(
                name == "index" or (name, inner) == ("type", "function") or _silent(inner)
                for name, inner in value.items()
            )
        case list():
            return all(_silent(inner) for inner in value)
        case _:
            return value is None or value == ""
