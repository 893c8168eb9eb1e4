"""Requests for embeddings, which the cache knows input by input: the provider is asked for those
that are new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from extproc import headers as h
from extproc.cache import vectors
from extproc.cache.question import Question, Served
from extproc.cache.room import Came
from extproc.catalogue import estimate
from extproc.dialects import ClientFormat
from extproc.errors import ClientError
from extproc.filters.admission import Asked, Planned
from extproc.filters.rooms import Rooms
from extproc.state.answers import Entry

NOT_CACHED: Final = ClientError(
    504,
    "invalid_request_error",
    "not_cached",
    "Nothing that answers this request is in the cache, and it asks for nothing else "
    "('only-if-cached').",
    h.CACHE,
)
NOT_WHOLE: Final = ClientError(
    502, "server_error", "bad_answer", "The provider's answer could not be read."
)
LARGEST: Final = 48 << 20
"""Bytes of an answer that goes to Envoy in one message, which may have 64 MiB."""


async def ask(
    rooms: Rooms, asked: Asked, format_: ClientFormat, planned: Planned, question: Question
) -> Planned:
    """Look every input up; the plan asks for those that are not there."""
    said = question.control
    entries = await rooms.cache.items(question)
    if know(asked, question, entries):
        return planned
    known = question.vectors
    at = [number for number, one in enumerate(known) if one is None] or list(range(len(known)))
    if said.only:
        raise NOT_CACHED
    await rooms.cache.join(question, question.asked.items[at[0]])
    size = sum(len(one.value) for one in entries if one is not None)
    if (
        len(at) == len(known)
        or size > LARGEST // 2  # with those that come it has to go into one message
        or not question.rules.serve
        or not _one_model(asked, planned)
    ):
        question.vectors = [None] * len(known)
        return planned
    asked.saved = sum(one.head.cost for one in entries if one is not None)
    body = vectors.missing(planned.body, question.given, at)
    request = format_.parse(body)
    asked.rewritten = True
    asked.tokens = estimate(*request.text, request.messages)
    return replace(planned, body=body, request=request)


def know(asked: Asked, question: Question, entries: Sequence[Entry | None]) -> bool:
    """Take down the vectors that are kept. True: they are all there, and are served."""
    known = [vectors.vector(one.value) if one is not None else None for one in entries]
    every = [one for one in entries if one is not None]
    whole = None not in known and len({one.head.target for one in every}) == 1
    if question.flight is not None and not whole:
        return False  # what was planned without them stands
    question.vectors = known
    if not whole:
        return False
    served = Served(every[0], "hit")
    if not question.rules.serve:
        question.would = served
        return False
    asked.served, asked.saved = served, sum(one.head.cost for one in every)
    question.found = every
    return True


def _one_model(asked: Asked, planned: Planned) -> bool:
    """Whichever level answers, its vectors may stand beside those that are kept."""
    targets = asked.route.targets
    models = {targets[name].policy.model for level in planned.levels for name, _ in level}
    return len(models) == 1


async def joined(rooms: Rooms, asked: Asked, body: bytes, cost: int) -> bytes:
    """A whole answer to a request for embeddings: with the vectors that were known already; the
    others are kept. Of any other request, its answer as it is. Raises ClientError for an answer
    that lacks some of what was asked for."""
    question = asked.question
    if question is None or not question.asked.items or asked.target is None:
        return body
    inputs, keys = vectors.inputs(question.given), question.asked.items
    known = question.vectors
    at = [number for number, one in enumerate(known) if one is None]
    wanted = [inputs[number] for number in at]
    came = await rooms.large.work(len(body), partial(vectors.vectors, body, wanted))
    if came is None and len(at) < len(known):
        raise NOT_WHOLE
    if came is None:
        return body
    if question.control.write:
        pairs = list(zip(at, came, strict=True))
        entries = await rooms.large.work(
            len(body), lambda: {keys[number]: one.entry() for number, one in pairs}
        )
        told = Came(tree=None, target=asked.target.target, model=asked.target.model, cost=cost,
                    ttl=question.ttl, kind=question.told_kind)  # fmt: skip
        rooms.cache.keep_items(question, entries, told, size=len(body))
    if len(at) == len(known):
        return body
    fresh = iter(came)
    every = [one if one is not None else next(fresh) for one in known]
    return await rooms.large.work(len(body), partial(vectors.joined, every))
