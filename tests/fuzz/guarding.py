"""What the guard does to bodies and streams: whatever they hold, structure stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from extproc.guard.bodies import UnreadableError, read_answer, read_request
from extproc.guard.placeholders import Mapping
from extproc.guard.streams import Stream
from tests.fuzz import samples
from tests.fuzz.parsers import CUTS, ways
from tests.fuzz.target import Door, Target

MAPPING: Final = Mapping({"PERSON_1": 'Kim "B" Berger', "EMAIL_ADDRESS_12": "kim@corp.example"})
_STREAMED: Final = ("chat", "completions", "messages", "responses")


def bodies(format_: str, data: bytes) -> None:
    """Texts that stay leave every byte; texts that change leave JSON, and nothing of what was."""
    for read in (read_request, read_answer):
        try:
            body = read(data, format_)
        except UnreadableError:
            continue
        values = [one.value for one in body.texts]
        assert all(values)
        assert body.written(values) is data
        if not values:
            continue
        out = body.written([f"\u00e9{number}" for number in range(len(values))])
        json.loads(out)
        if not any(one.under or "*" in one.place for one in body.texts):
            assert out != data


async def _through(format_: str, pieces: Sequence[bytes]) -> bytes:
    stream = Stream(format_, MAPPING, None)
    out = [await stream.feed(piece) for piece in pieces]
    return b"".join(out) + await stream.end()


def streams(format_: str, data: bytes) -> None:
    """Any cutting gives the same."""
    places, stream = data[:CUTS], data[CUTS:]
    whole = asyncio.run(_through(format_, [stream]))
    for pieces in ways(stream, places):
        assert asyncio.run(_through(format_, pieces)) == whole


def _named(stream: bytes) -> bytes:
    """A sample in which placeholders stand."""
    return stream.replace(b"Hello", b"<PERSON_1>").replace(b"Hi", b"&lt;EMAIL\\\\_ADDRESS\\\\_12>")


def every() -> list[Target]:
    """The targets of this module."""
    known = samples.CLIENTS
    read = tuple(
        Door(partial(bodies, name), "json", 0, (*one.requests, *one.answers))
        for name, one in known.items()
    )
    flowing = tuple(
        Door(partial(streams, name), "sse", CUTS, tuple(map(_named, known[name].streams)))
        for name in _STREAMED
    )
    return [Target("guard.bodies", read), Target("guard.streams", flowing)]
