"""Which entries a request to the admin port is about."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from extproc.admin.answers import Query, Refused
from extproc.cache.whose import tenant_mark
from extproc.spans import seconds_of
from extproc.state.answer_frames import matches
from extproc.state.answers import Head, Match, What, read_id

BY: Final[tuple[What, ...]] = ("tag", "route", "tenant", "model", "answer")
"""`answer`: the id of an answer, which several wordings may have."""
_OLDER: Final = "older_than"
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Entries of which all of this holds."""

    matches: tuple[Match, ...] = ()

    @property
    def first(self) -> Match | None:
        """What the store looks for itself."""
        return self.matches[0] if self.matches else None

    def takes(self, head: Head) -> bool:
        """All of it holds for the entry."""
        return all(matches(one, head) for one in self.matches)


def read(query: Query, secret: bytes) -> Chosen:
    """What a query chooses by; without a word all. Raises Refused."""
    found = [Match(name, _value(name, text, secret)) for name in BY for text in _all(query, name)]
    if (span := query.one(_OLDER)) is not None:
        found.append(_older(span))
    return Chosen(tuple(found))


def one(query: Query, secret: bytes) -> Match:
    """The one thing that a query chooses by. Raises Refused for none, and for several: the store
    forgets by one at a time."""
    found = list(read(query, secret).matches)
    everything = query.one(_ALL)
    if everything not in (None, "1"):
        raise Refused(400, "must be 1 or left out", param=_ALL)
    if everything:
        found.append(Match("all"))
    if len(found) != 1:
        names = ", ".join((*BY, _OLDER, _ALL))
        raise Refused(400, f"say what is to be forgotten by one of {names}")
    return found[0]


def cursor(text: str | None) -> str:
    """Where a list goes on. Raises Refused for what no page has ended with."""
    if text is None:
        return ""
    if len(text) > 20 or not text.isascii() or not text.isdigit():  # noqa: PLR2004 - 64 bits
        raise Refused(400, "is no place in a list", param="after")
    return text


def _all(query: Query, name: str) -> list[str]:
    found = list(query.all(name))
    for text in found:
        if not text:
            raise Refused(400, "is empty", param=name)
    return found


def _value(name: What, text: str, secret: bytes) -> str:
    if name == "answer":
        try:
            read_id(text)
        except ValueError as error:
            raise Refused(400, str(error), param=name) from error
    return tenant_mark(secret, text) if name == "tenant" else text


def _older(span: str) -> Match:
    found = seconds_of(span.strip())
    if found is None:
        raise Refused(400, "use a span such as 90m, 24h or 30d", param=_OLDER)
    return Match("older", repr(max(0.0, time.time() - found)))
