"""An answer that came from a provider, on its way into the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from extproc import headers as h
from extproc.cache.control import of_answer
from extproc.cache.question import Question
from extproc.cache.replay import fold
from extproc.cache.room import Came
from extproc.cache.storable import Unfit
from extproc.filters import guarded
from extproc.filters.admission import Asked
from extproc.filters.rooms import Rooms

STREAM_WEIGHT: Final = 16
"""How much longer a stream may be than what is kept of it: a token of some five bytes comes in an
event of some two hundred, and in larger ones with its logprobs; tokens are what is kept."""


def heard(asked: Asked, sent: Mapping[str, str]) -> list[str]:
    """Take down what an answer's head says of its keeping; returns the headers that said it, which
    are not for the client."""
    question = asked.question
    if question is not None:
        kinds = frozenset(question.rules.by_kind)
        question.ttl, question.told_kind = of_answer(sent, kinds)
    return [name for name in (h.CACHE_TTL, h.CACHE_KIND) if name in sent]


def collects(asked: Asked) -> bool:
    """Its answer may be kept."""
    question = asked.question
    return question is not None and question.control.write and not question.asked.items


def piece(rooms: Rooms, asked: Asked, data: bytes) -> None:
    """A piece of a streamed answer, as the provider sends it."""
    question = asked.question
    if question is None or question.stream is None or not collects(asked):
        return
    if len(question.stream) + len(data) > STREAM_WEIGHT * question.rules.max_entry_bytes:
        question.unfit = Unfit.TOO_LARGE
    elif rooms.cache.collect(len(data)):
        question.stream += data
        return
    _collected(rooms, question)
    question.leave()


def _collected(rooms: Rooms, question: Question) -> bytes | None:
    """What came of a stream, of which nothing more is collected. None: that has ended before."""
    stream, question.stream = question.stream, None
    if stream is None:
        return None
    rooms.cache.collected -= len(stream)
    return bytes(stream)


def keep_whole(rooms: Rooms, asked: Asked, body: bytes, cost: int) -> None:
    """Keep a whole answer as the provider sent it."""
    question = asked.question
    if question is None or not collects(asked):
        return
    if len(body) > STREAM_WEIGHT * question.rules.max_entry_bytes:
        question.unfit = Unfit.TOO_LARGE
    _keep(rooms, asked, partial(_read, body), cost, size=len(body), none=Unfit.UNREADABLE)


def keep_stream(rooms: Rooms, asked: Asked, cost: int) -> None:
    """Keep a streamed answer that has ended as it should."""
    question = asked.question
    if question is None or not collects(asked):
        return
    data = _collected(rooms, question) or b""
    if not data and question.unfit is None:
        return  # there was no room for it
    read = partial(fold, data, asked.format)
    _keep(rooms, asked, read, cost, size=len(data), weight=STREAM_WEIGHT, none=Unfit.ABORTED)


def drop(rooms: Rooms, asked: Asked) -> None:
    """It is not answered out of the cache, nor is its answer kept: whoever waits for that goes
    on."""
    if asked.served is not None:
        asked.cache = "miss"
    asked.served, asked.saved = None, 0
    question = asked.question
    if question is not None and not question.keeping:
        _collected(rooms, question)
        question.leave()


def _keep(
    rooms: Rooms,
    asked: Asked,
    read: Callable[[], dict[str, Any] | None],
    cost: int,
    *,
    size: int,
    weight: int = 1,
    none: Unfit,
) -> None:
    """`size`: bytes that are held until then; `weight`: how much more it takes to read them than
    JSON. `none`: why there is nothing to read."""
    question, target = asked.question, asked.target
    if question is None or target is None:
        return

    async def came() -> Came | Unfit:
        if question.unfit is not None:
            return question.unfit
        tree = await rooms.large.work(size * weight, read)
        if tree is None:
            return none
        seen = await guarded.seen(rooms, asked, tree)
        if seen is None:
            return Unfit.PERSONAL
        return Came(
            tree=seen,
            target=target.target,
            model=target.model,
            cost=cost,
            ttl=question.ttl,
            kind=question.told_kind,
        )

    rooms.cache.keep(question, came, size=size)


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
