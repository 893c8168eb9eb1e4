"""The texts of one stream: those that come in pieces, and those that come whole."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final, Generic, TypeVar

from extproc.guard.placeholders import Mapping
from extproc.guard.restore import Restorer, in_json
from extproc.guard.streams.events import Tree
from extproc.guard.streams.window import Review, Window

K = TypeVar("K", bound=Hashable)
"""What tells the texts of a format apart."""
_JSON: Final = frozenset({"arguments"})
"""Members whose text is JSON, wherever they stand."""
_SEALED: Final = frozenset({"thinking"})
"""Members whose text its provider may have signed."""
_BEGINS: Final = re.compile(
    r"\s{0,64}+(?:(?P<json>\{|\[\s{0,64}+[\[{\"])|(?P<text>[^\s\[{]|\s|\[\s{0,64}+[^\[{\"]))"
)
"""An object or an array, or something else. (`[1]` is a note, `[text](url)` a link.)"""
_FREE: Final = frozenset({"input", "metadata"})
"""Members in which names are the client's own."""
_OPAQUE: Final = frozenset(
    """
    call_id container_id data encrypted_content encrypted_index file_id id item_id model object
    partial_image_b64 result role signature status type
    """.split()  # noqa: SIM905 - a list of words reads best so
)
"""Members that are no text: a detector would take an id for a key."""


def _is_json(text: str) -> bool | None:
    """Whether a text that begins so is an answer in JSON; None: not to be told yet."""
    begun = _BEGINS.match(text)
    return None if begun is None else begun["json"] is not None


class Way:
    """What one text goes through: it is looked at, then restored."""

    __slots__ = ("_restorer", "_window")

    def __init__(self, window: Window | None, restorer: Restorer | None) -> None:
        self._window = window
        self._restorer = restorer

    @property
    def held(self) -> int:
        """Characters that wait now."""
        waiting = 0 if self._window is None else self._window.held
        return waiting if self._restorer is None else waiting + self._restorer.held

    async def take(self, text: str) -> str:
        """What may go out now that `text` is there."""
        said = text if self._window is None else await self._window.take(text)
        return said if self._restorer is None else self._restorer.feed(said)

    async def end(self) -> str:
        """What waited."""
        said = "" if self._window is None else await self._window.end()
        return said if self._restorer is None else self._restorer.feed(said) + self._restorer.end()


class Channel(Generic[K]):
    """A text that comes in pieces, `take` each, then `end`: looked through, then restored."""

    __slots__ = ("_lead", "_said", "_sealed", "_texts", "_told", "_way", "key", "place", "shape")

    def __init__(self, key: K, texts: Texts[K], place: str, *, json: bool, sealed: bool) -> None:
        self.key = key
        self.place = place
        self.shape: Any = None
        """What an event of it looks like, for the one that brings its rest."""
        self._texts = texts
        self._sealed = sealed
        self._lead = ""  # what came before it could be told whether the text is JSON
        self._way: Way | None = None
        if json or sealed or not texts.sniffs:
            self._way = texts.way(place, json=json, sealed=sealed)
        self._told: list[str] = []  # all that came, and what went out for it
        self._said: list[str] = []

    @property
    def held(self) -> int:
        """Characters that wait now."""
        return len(self._lead) + (0 if self._way is None else self._way.held)

    async def take(self, text: str) -> str:
        """What may go out now that `text` is there. Raises BlockedError, GuardError."""
        said = await self._take(text)
        if self._texts.said is not None:
            self._told.append(text)
            self._said.append(said)
        if self.held:
            self._texts.open[self] = None
        else:
            self._texts.open.pop(self, None)
        return said

    async def end(self) -> str:
        """What waited. Raises BlockedError, GuardError."""
        self._texts.open.pop(self, None)
        said = ""
        if self._lead:
            text, self._lead = self._lead, ""
            self._way = self._texts.way(self.place, json=False, sealed=False)
            said = await self._way.take(text)
        if self._way is not None:
            said += await self._way.end()
        if self._texts.said is not None and self._told:
            self._told, self._said = ["".join(self._told)], ["".join((*self._said, said))]
            self._texts.said[self._told[0]] = self._said[0]
        return said

    async def _take(self, text: str) -> str:
        if self._way is None:
            self._lead += text
            json = _is_json(self._lead)
            if json is None:
                return ""
            self._way = self._texts.way(self.place, json=json, sealed=self._sealed)
            text, self._lead = self._lead, ""
        return await self._way.take(text)


class Texts(Generic[K]):
    """All texts of one stream.

    `repeated`: what came in pieces comes once more as a whole, and must then say the same. Without
    a review it does, because restoring knows no pieces; with one, what went out is remembered.
    """

    __slots__ = ("_channels", "_mapping", "_wholes", "open", "review", "said", "sniffs")

    def __init__(
        self, mapping: Mapping | None, review: Review | None, *, repeated: bool = False
    ) -> None:
        self._mapping = mapping
        values = () if mapping is None else mapping.values.values()
        self.sniffs = review is not None or any(in_json(value) != value for value in values)
        """It has to be known what is JSON: there are values that must be escaped in it."""
        self._wholes = self._restorer(json=False), self._restorer(json=True)
        self.review = review
        self.open: dict[Channel[K], None] = {}
        """Channels in which something waits, the longest waiting first."""
        self.said: dict[str, str] | None = {} if repeated and review else None
        self._channels: dict[K, Channel[K]] = {}

    def way(self, place: str, *, json: bool, sealed: bool) -> Way:
        """The way of one text."""
        window = None
        if self.review is not None:
            window = Window(self.review, place, json=json, sealed=sealed)
        return Way(window, None if sealed else self._restorer(json=json))

    def _restorer(self, *, json: bool) -> Restorer | None:
        return None if self._mapping is None else Restorer(self._mapping, json=json)

    def get(self, key: K) -> Channel[K] | None:
        """The text with this key, if something was said there."""
        return self._channels.get(key)

    def begin(self, key: K, place: str, *, json: bool = False, sealed: bool = False) -> Channel[K]:
        """A text with a new key."""
        channel = Channel(key, self, place, json=json, sealed=sealed)
        self._channels[key] = channel
        return channel

    async def whole(
        self, text: str, place: str, *, json: bool = False, sealed: bool = False, told: bool = True
    ) -> str:
        """A text that comes in one piece, as it may go out. `told`: by the model. Raises
        BlockedError, GuardError."""
        if self.said is not None and (said := self.said.get(text)) is not None:
            return said
        json = json or (self.sniffs and not sealed and _is_json(text) is True)
        if told and self.review is not None:
            window = Window(self.review, place, json=json, sealed=sealed)
            text = await window.take(text) + await window.end()
        restorer = self._wholes[json]
        if sealed or restorer is None:
            return text
        return restorer.feed(text) + restorer.end()

    async def tree(self, tree: Tree | list[Any], place: str, *, told: bool = True) -> bool:
        """Put in place every text of `tree` as it may go out; whether any changed. Raises
        BlockedError, GuardError."""
        changed = False
        waiting: list[tuple[Any, str, bool, bool]] = [(tree, place, told, False)]
        while waiting:
            inner, path, told, free = waiting.pop()
            for key, value in list(inner.items() if type(inner) is dict else enumerate(inner)):
                where = f"{path}[{key}]" if type(key) is int else f"{path}.{key}"
                if key == "logprobs" and not free:  # tokens of what was reviewed
                    if told and value and self.review is not None:
                        inner[key] = []
                        changed = True
                elif type(value) is dict or type(value) is list:
                    waiting.append((value, where, told, free or key in _FREE))
                elif type(value) is str:
                    said = await self.whole(
                        value,
                        where,
                        json=key in _JSON and not free,
                        sealed=key in _SEALED and not free,
                        told=told and (free or key not in _OPAQUE),
                    )
                    if said != value:
                        inner[key] = said
                        changed = True
        return changed
