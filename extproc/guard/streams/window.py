"""What a model says is looked through as it streams by.

Text goes out only when it can no longer be part of something that is still being said: the last
`KEPT` characters wait, and so does a finding that reaches into them. Where a text is cut into
scans depends on its characters alone, never on the pieces it came in, so that the same text always
gives the same.

Every character is looked at a bounded number of times: a scan follows `STEP` new characters, or
half as many as wait if that is more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from extproc.guard import Finding
from extproc.guard.restore import in_json
from extproc.guard.streams.escapes import Plain

KEPT: Final = 160
"""Characters that wait for what follows. An IBAN with spaces is 42, an address on four lines about
120, a password with the words that give it away 100; keys are longer but hold no space, and a text
is cut at spaces only."""
STEP: Final = 128
"""New characters after which a text is looked through again."""
CONTEXT: Final = 200
"""Characters that went out already but are shown to the detector: the words before a number tell
what it is."""
BOUND: Final = 7680
"""Characters held at most. An RSA key of 8,192 bits is 6,400 in PEM; and the default detector
follows a key whose end has not come for 8,000, so that of a longer one it still sees no end."""
_BREAKS: Final = frozenset(" \t\r\n,;\"'()[]{}>|")
_WIDE: Final = "\u0e00"
"""From here on there are scripts that put no spaces between words."""


class Review(Protocol):
    """What is to be done about the words of a model, as a route wants it."""

    async def review(self, text: str, place: str) -> list[Finding]:
        """Findings in `text` that have to be acted on, by `start`, not overlapping. Raises
        GuardError."""
        ...

    def act(self, text: str, findings: Sequence[Finding], place: str) -> str:
        """`text` as it may go out: nothing changes outside the findings. Raises BlockedError."""
        ...

    def unread(self) -> None:
        """Something goes by that nobody can look through. Raises GuardError where nothing may."""
        ...


@dataclass(frozen=True, slots=True)
class _Hit:
    """A finding in what waits."""

    start: int
    end: int
    began: bool
    """It began in what went out already."""
    value: str = field(repr=False)
    """What it says; where it stands, that may be written otherwise."""
    finding: Finding


class Window:
    """One text that comes in pieces: `take` each, then `end`.

    `json`: the text is JSON, and stays it: its escapes are read for what they mean. `sealed`: the
    text must not change (its provider has signed it), but it may be blocked.
    """

    __slots__ = ("_before", "_due", "_json", "_place", "_review", "_sealed", "_text")

    def __init__(
        self, review: Review, place: str, *, json: bool = False, sealed: bool = False
    ) -> None:
        self._review = review
        self._json = json
        self._place = place
        self._sealed = sealed
        self._before = ""  # what went out last
        self._text = ""  # what waits
        self._due = KEPT + STEP  # how much of it there must be for the next scan

    @property
    def held(self) -> int:
        """Characters that wait now, fewer than `BOUND`."""
        return len(self._text)

    async def take(self, piece: str) -> str:
        """What may go out now that `piece` is there. Raises BlockedError, GuardError."""
        out: list[str] = []
        at = 0
        while len(piece) - at >= self._due - len(self._text):
            stop = at + self._due - len(self._text)
            self._text += piece[at:stop]
            at = stop
            out.append(await self._settle())
        self._text += piece[at:]
        return "".join(out)

    async def end(self) -> str:
        """What waited. Another text can then begin. Raises BlockedError, GuardError."""
        out = ""
        if self._text:
            out = self._release(len(self._text), await self._found(self._plain(self._text)))
        self._before = ""
        return out

    async def _settle(self) -> str:
        plain = self._plain(self._text)
        found = await self._found(plain)
        cut = self._cut(found)
        head = ""
        if len(self._text) >= BOUND and cut < BOUND // 2:
            cut = len(self._text) - KEPT
            cut = cut if plain is None else plain.apart(cut)
            for one in found:
                if one.start < cut < one.end:
                    cut, head = self._through(one)
        out = self._release(cut, found)
        self._before = head or self._before
        return out

    def _through(self, hit: _Hit) -> tuple[int, str]:
        """Where to cut behind a finding that is too long to wait for; and if it goes on, what it
        begins with: before the rest, that shows what the rest is."""
        if self._text[hit.end :].strip():
            return hit.end, ""
        return len(self._text), self._before if hit.began else self._text[hit.start :][:CONTEXT]

    def _plain(self, text: str) -> Plain | None:
        return Plain(text) if self._json else None

    async def _found(self, plain: Plain | None) -> list[_Hit]:
        """The findings in what waits; of one that began before, the part that waits."""
        before = self._before if plain is None else Plain(self._before).text
        text = self._text if plain is None else plain.text
        shown = len(before)
        hits: list[_Hit] = []
        for one in await self._review.review(before + text, self._place):
            start, end = max(0, one.start - shown), one.end - shown
            if start < end:
                place = (start, end) if plain is None else (plain.at(start), plain.at(end))
                hits.append(_Hit(*place, one.start < shown, text[start:end], one))
        return hits

    def _cut(self, found: Sequence[_Hit]) -> int:
        """Where what waits can be cut: between words, in no finding, `KEPT` before its end."""
        text = self._text
        cut = len(text) - KEPT
        for one in reversed(found):
            if one.end <= (cut := self._between_words(cut)):
                return cut
            cut = min(cut, one.start)
        return self._between_words(cut)

    def _between_words(self, cut: int) -> int:
        text = self._text
        while cut > 0 and text[cut - 1] not in _BREAKS and text[cut - 1] < _WIDE:
            cut -= 1
        return max(0, cut)

    def _release(self, cut: int, found: Sequence[_Hit]) -> str:
        text, self._text = self._text[:cut], self._text[cut:]
        self._before = (self._before + text)[-CONTEXT:]
        waiting = len(self._text)
        self._due = min(BOUND, max(waiting + STEP, waiting + waiting // 2, KEPT + STEP))
        out: list[str] = []
        at = 0
        for hit in found:
            if at <= hit.start and hit.end <= cut:
                out += (text[at : hit.start], self._acted(hit, text[hit.start : hit.end]))
                at = hit.end
        return text if self._sealed or not out else "".join((*out, text[at:]))

    def _acted(self, hit: _Hit, written: str) -> str:
        one = hit.finding
        place = Finding(0, len(hit.value), one.type, one.confidence)
        said = self._review.act(hit.value, [place], self._place)
        if said == hit.value:
            return written
        return in_json(said) if self._json else said
