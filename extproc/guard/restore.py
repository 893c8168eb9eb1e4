r"""Placeholders in an answer back to the values they stand for, whole or as it streams by.

A model does not always give a placeholder back as it got it: in another case, with markup around
or inside, with escaped signs (`&lt;PERSON_1&gt;`, `\<PERSON\_1\>`, `\u003cPERSON_1\u003e`). All
of these are read. One that was never given stays as it is.

A stream is held back only while its end could still become a placeholder that was given: from an
opening bracket on, as long as what follows is the beginning of one of the names. Text without an
opening bracket passes at once. However a text is cut, the sum of the pieces is what `restore`
makes of the whole.
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from extproc.guard.placeholders import BODY, CLOSING, LONGEST_BODY, OPENING, Mapping, name_of

_JSON_BODY: Final = (
    r"(?:[A-Za-z0-9_\s*`~\-\u00ad\u200b-\u200d\u2060\ufeff]"
    r"|\\[\\nrt]|\\u(?:00[aA][0dD]|200[b-dB-D]|2060|[fF][eE][fF][fF]))"
)
"""The same characters as they stand in a JSON string."""
_MAYBE_OPENING: Final = (
    r"(?:&(?:[lL](?:[tT];?)?|#(?:6(?:0;?)?|[xX](?:3(?:[cC];?)?)?)?)?"
    r"|\\(?:u(?:0(?:0(?:3[cC]?)?)?)?)?)"
)
_MAYBE_CLOSING: Final = r"&(?:[gG](?:[tT];?)?|#(?:6(?:2;?)?|[xX](?:3(?:[eE];?)?)?)?)?"
_MAYBE_ESCAPE: Final = r"\\(?:u[0-9A-Fa-f]{0,3})?"
_TRIGGERS: Final = re.compile(r"[<＜‹&\\]")


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The expressions of a kind of text. All of them take bounded time at a place."""

    begin: re.Pattern[str]
    """Where one may begin: a bracket, with the backslash before it; what may become that, at the
    end of the text."""
    whole: re.Pattern[str]
    """A placeholder."""
    part: re.Pattern[str]
    """What may still become one, up to the end of the text."""


def _grammar(backslash: str, body: str, unfinished: str, skip: str) -> _Grammar:
    """`backslash` before an escaped bracket goes with it; `unfinished` is `body` at the end."""
    return _Grammar(
        begin=re.compile(
            rf"(?:{backslash})?{OPENING}|(?:{backslash})?{_MAYBE_OPENING}\Z|{backslash}\Z{skip}"
        ),
        whole=re.compile(
            rf"(?P<lead>{backslash})?{OPENING}(?P<body>{body}{{1,{LONGEST_BODY}}}?){CLOSING}"
        ),
        part=re.compile(
            rf"(?:{backslash})?(?:{OPENING}(?P<body>{unfinished}{{0,{LONGEST_BODY}}})"
            rf"(?:{_MAYBE_CLOSING}|{_MAYBE_ESCAPE})?|{_MAYBE_OPENING}?)\Z"
        ),
    )


_TEXT: Final = _grammar(
    r"\\", BODY, BODY.replace("(?!u003[cCeE])", r"(?!u003[cCeE]|u?\Z|u00?3?\Z)"), ""
)
# In JSON a backslash and what it escapes are one sign: `\\u003c` is no bracket, `\u003c` is.
_JSON: Final = _grammar(r"\\\\", _JSON_BODY, _JSON_BODY, r"|\\.")


class Restorer:
    """Puts values back into one text that comes in pieces: `feed` each, then `end`.

    `json=True`: the text is JSON (the arguments of a tool call), values go into its strings.
    """

    __slots__ = ("_grammar", "_held", "_json", "_names", "_tally", "_values")

    def __init__(self, mapping: Mapping, *, json: bool = False) -> None:
        self._values = mapping.values
        self._tally = mapping.tally
        self._names = sorted(mapping.values)
        self._json = json
        self._grammar = _JSON if json else _TEXT
        self._held = ""

    def __repr__(self) -> str:
        return f"Restorer({len(self._values)} values, {len(self._held)} characters held)"

    @property
    def held(self) -> int:
        """Characters held back now: `LONGEST_BODY` and two brackets at most."""
        return len(self._held)

    def feed(self, piece: str) -> str:
        """What can be said now that `piece` is there: maybe nothing, maybe more than `piece`."""
        if not self._values or (not self._held and _TRIGGERS.search(piece) is None):
            return piece
        return self._read(self._held + piece, final=False)

    def end(self) -> str:
        """What was held back. The restorer can then begin another text."""
        return self._read(self._held, final=True) if self._held else ""

    def _read(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        at = 0
        self._held = ""
        begin, whole, part = self._grammar.begin, self._grammar.whole, self._grammar.part
        while (start := begin.search(text, at)) is not None:
            found = whole.match(text, start.start())
            value = None if found is None else self._value(found["body"])
            if found is not None and value is not None:
                escaped = found["lead"] and "\\" in found["body"]
                kept = "" if escaped else found["lead"] or ""
                out += (text[at : start.start()], kept, value)
                at = found.end()
                continue
            if not final and found is None and self._may_become(part.match(text, start.start())):
                out.append(text[at : start.start()])
                self._held = text[start.start() :]
                return "".join(out)
            stop = max(start.end(), start.start() + 1)
            out.append(text[at:stop])
            at = stop
        out.append(text[at:])
        return "".join(out)

    def _value(self, body: str) -> str | None:
        name = self._name(body)
        value = self._values.get(name)
        if value is not None:
            if len(value) > self._tally.left:
                return None
            self._tally.left -= len(value)
            self._tally.names.add(name)
        return value if value is None or not self._json else in_json(value)

    def _name(self, body: str) -> str:
        if self._json and "\\" in body:
            body = json.loads(f'"{body}"', strict=False)
        return name_of(body)

    def _may_become(self, part: re.Match[str] | None) -> bool:
        """Whether what is there so far begins a name that was given."""
        if part is None:
            return False
        body = part["body"]
        if body is None:
            return True
        name = self._name(body)
        place = bisect_left(self._names, name)
        return place < len(self._names) and self._names[place].startswith(name)


def in_json(value: str) -> str:
    """`value` as it stands between the quotes of a JSON string."""
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(value)[1:-1]
    return json.dumps(value, ensure_ascii=False)[1:-1]


def restore(text: str, mapping: Mapping, *, json: bool = False) -> str:
    """`text` with the value of every placeholder that `mapping` gave. Time is linear in `text`."""
    restorer = Restorer(mapping, json=json)
    return restorer.feed(text) + restorer.end()
