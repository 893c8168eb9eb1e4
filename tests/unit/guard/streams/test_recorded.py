"""Streams that real providers sent: their texts come through, and values come back in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.dialects.recorded.recordings import CASES, Exchange, load
from tests.unit.guard.streams.flowing import READERS, run
from tests.unit.guard.streams.test_review import Replacing

pytestmark = pytest.mark.skipif(not CASES.exists(), reason="the recordings are not here")

WORD, GIVEN, VALUE = b" the ", b" <PERSON_1> ", b" Ada Lovelace "


def recorded() -> list[Exchange]:
    """Streams in a format that clients speak."""
    if not CASES.exists():
        return []
    streams = [one for one in load() if one.streamed and one.status == 200]
    return [one for one in streams if one.asked in READERS]


def read(stream: bytes) -> list[Any]:
    lines = stream.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def signed(event: Any) -> bool:
    return bool(event.get("delta", {}).get("type") == "thinking_delta")


@pytest.mark.parametrize("one", recorded(), ids=lambda one: one.name)
def test_a_recorded_stream(one: Exchange) -> None:
    assert run(one.asked, one.response) == one.response
    given = one.response.replace(WORD, GIVEN)
    out = run(one.asked, given)
    wanted = read(one.response.replace(WORD, VALUE))
    if one.asked == "messages":
        assert [event for event in read(out) if not signed(event)] == [
            event for event in wanted if not signed(event)
        ]
    else:
        assert read(out) == wanted
    assert run(one.asked, *(given[at : at + 7] for at in range(0, len(given), 7))) == out


@pytest.mark.parametrize("one", recorded(), ids=lambda one: one.name)
def test_a_recorded_stream_that_is_reviewed_says_the_same(one: Exchange) -> None:
    out = run(one.asked, one.response, mapping=None, review=Replacing())
    assert texts(read(out)) == texts(read(one.response))


def texts(events: list[Any]) -> dict[Any, str]:
    """What deltas say, by where; and what else is said whole."""
    found: dict[Any, str] = {}
    for event in events:
        where = tuple(event.get(name) for name in ("index", "output_index", "content_index"))
        if "choices" in event:
            for choice in event["choices"]:
                add(found, choice.get("delta"), choice.get("index"))
        elif "delta" in event:
            add(found, event["delta"], (event["type"], *where))
        else:
            whole = {name: inner for name, inner in event.items() if name != "sequence_number"}
            found[json.dumps(whole, sort_keys=True)] = ""
    return {where: text for where, text in found.items() if text or isinstance(where, str)}


def add(found: dict[Any, str], said: Any, where: Any) -> None:
    """Every text of a delta, by where it is; of a list's entries, which go on, all in one."""
    match said:
        case str():
            found[where] = found.get(where, "") + said
        case dict():
            for name, inner in said.items():
                if name not in ("type", "role"):
                    add(found, inner, (where, name))
        case list():
            for inner in said:
                add(found, inner, (where, inner.get("index")))
