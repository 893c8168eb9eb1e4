"""Between a request's plan and the limits: was it answered before?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from extproc import headers as h
from extproc.cache import vectors
from extproc.cache.control import control
from extproc.cache.question import Served
from extproc.cache.replay import Asker, events, whole
from extproc.cache.replay.pieces import StreamError
from extproc.cache.storable import Unfit
from extproc.dialects import ClientFormat
from extproc.filters import asking, embedded, guarded
from extproc.filters.admission import Asked, Planned
from extproc.filters.embedded import LARGEST, NOT_CACHED
from extproc.filters.keeping import STREAM_WEIGHT
from extproc.filters.provider_headers import model_header
from extproc.filters.rooms import Rooms


async def ask(rooms: Rooms, asked: Asked, format_: ClientFormat, planned: Planned) -> Planned:
    """Look a planned request up and keep in `asked` what there is to be served or waited for.
    Returns the plan of what the provider has to be asked for. Raises ClientError."""
    found = asking.rules_of(asked.route)
    if found is None:
        return planned
    said = control(asked.headers, found)
    made = await rooms.large.work(
        len(planned.body), partial(asking.question, rooms, asked, planned, found, said)
    )
    if isinstance(made, Unfit):
        asked.cache_reason = made
        if said.only:
            raise NOT_CACHED
        return planned
    asked.question = made
    asked.cache = "miss" if said.read else "bypass"
    if made.asked.items:
        return await embedded.ask(rooms, asked, format_, planned, made)
    asked.served = await rooms.cache.look(made)
    if said.only and asked.served is None:
        made.leave()
        raise NOT_CACHED
    return planned


async def waited(rooms: Rooms, asked: Asked) -> None:
    """Wait for the answer to the same request, and go on without it if it does not come."""
    question = asked.question
    if question is None:
        return
    asked.served = await rooms.cache.waited(question)
    if question.asked.items:
        if asked.served is not None:
            came, asked.served = asked.served.entry, None
            embedded.know(asked, question, await rooms.cache.items(question, came))
    elif asked.served is None:
        asked.served = await rooms.cache.alike(question)


async def answer(rooms: Rooms, asked: Asked) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of what is served, as its client wants it: with the values that the guard
    took out, as a stream or whole. Raises ClientError, and StreamError for an entry that is none.
    """
    question, served = asked.question, asked.served
    assert question is not None  # noqa: S101 - what is served was looked up
    assert served is not None  # noqa: S101 - the caller asked
    media = "application/json"
    if question.asked.items:
        body = vectors.joined([one for one in question.vectors if one is not None])
    else:
        value = await guarded.restored(rooms, asked, served.entry.value)
        write: Callable[[bytes, str, Asker], bytes] = events if asked.stream else whole
        media = "text/event-stream" if asked.stream else media
        body = await rooms.large.work(
            len(value) * STREAM_WEIGHT, partial(write, value, asked.format, question.asker)
        )
    if len(body) > LARGEST:
        raise StreamError("more than a message may hold")
    asked.cache = served.outcome
    head = served.entry.head
    return [
        ("content-type", media),
        (h.REQUEST_ID, asked.id),
        (h.TARGET, head.target),
        (h.MODEL, model_header(head.provider_model or head.model)),
        (h.ATTEMPTS, "0"),
        (h.CACHE, status(asked)),
        (h.COST, "0"),
    ], body


def hit(rooms: Rooms, asked: Asked) -> None:
    """What was found is sent."""
    question, served = asked.question, asked.served
    if question is None or served is None:
        return
    if not question.asked.items:
        asked.saved = served.entry.head.cost
        rooms.cache.hit(served)
    for one in question.found:
        rooms.cache.hit(Served(one, "hit"))


async def spoiled(rooms: Rooms, asked: Asked) -> None:
    """What was found cannot be sent: it is let go, and the provider is asked. Raises ClientError if
    that is not wanted."""
    question, served = asked.question, asked.served
    asked.served, asked.saved = None, 0
    if served is not None:
        await rooms.cache.drop(served)
    if question is not None:
        asked.cache = "miss"
        question.vectors = [None] * len(question.vectors)
        if question.control.only:
            raise NOT_CACHED


def status(asked: Asked) -> str:
    """What `x-tollgate-cache` says."""
    served = asked.served
    if asked.cache not in ("hit", "semantic") or served is None:
        return asked.cache
    return served.told(time.time())
