"""Targets that know no dialect: JSON, the framings of streams, policy, limits."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from extproc import strict_json
from extproc.dialects import event_stream, sse
from extproc.errors import ClientError
from extproc.guard.default import DefaultDetector, DetectorPolicy
from extproc.headers import NAMESPACE
from extproc.limits.expression import MOST
from extproc.limits.reading import Known, Place, read
from extproc.policy import HostPolicy, PolicyError, RoutePolicy, TargetPolicy, parse
from tests.fuzz import samples
from tests.fuzz.target import Door, Target
from tests.unit.dialects.test_event_stream import botocores
from tests.unit.dialects.test_sse import plain

PLACES: Final = 4
CUTS: Final = 2 * PLACES
"""Bytes of an input that say where the rest of it is cut."""

_SINGLY: Final = 512
"""Bytes of an input that is also cut after each byte."""


def cuts(stream: bytes, places: bytes) -> list[bytes]:
    """The stream in pieces; two bytes a cut."""
    found = {
        int.from_bytes(places[at : at + 2]) % (len(stream) + 1) for at in range(0, len(places), 2)
    }
    edges = [0, *sorted(found), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def ways(stream: bytes, places: bytes) -> list[list[bytes]]:
    """Cuttings that must give what the whole gives."""
    found = [cuts(stream, places)]
    if len(stream) <= _SINGLY:
        found.append([stream[at : at + 1] for at in range(len(stream))])
    return found


def one_reading(body: bytes) -> Any:
    """JSON that every parser reads alike. Raises ValueError."""
    tree = json.loads(body, parse_constant=_constant)
    assert msgspec.json.decode(body) == tree
    json.dumps(tree, ensure_ascii=False).encode()
    return tree


def _constant(text: str) -> None:
    raise ValueError(text)


def blamed(error: ClientError, status: int = 400) -> None:
    """An error that can be told to whoever sent the bytes."""
    assert error.status == status
    shown = one_reading(error.openai())["error"]
    assert shown["message"]
    assert shown["type"]


# --- strict JSON --------------------------------------------------------------------------


def strict(data: bytes) -> None:
    """A body has one reading, or is refused; splicing leaves the rest as it was."""
    try:
        tree = strict_json.load(data)
    except ClientError as error:
        blamed(error)
        return
    assert one_reading(data) == tree
    assert strict_json.keys(data) == list(tree)
    spliced = strict_json.splice(data, {"model": "other"}, remove=("stream", "n"))
    kept = {name: value for name, value in tree.items() if name not in {"stream", "n"}}
    assert strict_json.load(spliced) == kept | {"model": "other"}
    raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
    before, after = raw.decode(data), raw.decode(spliced)
    assert all(bytes(after[name]) == bytes(before[name]) for name in kept if name != "model")


# --- server-sent events -------------------------------------------------------------------

_LIMITS: Final = (1 << 20, 1 << 20, 1 << 20, 200, 64, 12, 1, 0)


def _events(pieces: Sequence[bytes], limit: int) -> tuple[list[sse.Event], bool, bytes, int | None]:
    parser = sse.Parser(limit)
    found: list[sse.Event] = []
    try:
        for piece in pieces:
            found += parser.feed(piece)
        found += parser.end()
    except sse.EventTooLargeError as error:
        # What an id or a retry said before is not asked for any more.
        return found + error.events, True, b"", None
    return found, False, parser.last_id, parser.retry


def server_sent_events(data: bytes) -> None:
    """Any cutting gives the same events, and those that the standard's algorithm gives."""
    limit = _LIMITS[data[0] % len(_LIMITS)] if data else 1
    places, stream = data[1 : 1 + CUTS], data[1 + CUTS :]
    whole = _events([stream], limit)
    for pieces in ways(stream, places):
        assert _events(pieces, limit) == whole
    events, too_large, *_ = whole
    expected = plain(stream)
    assert events == (expected[: len(events)] if too_large else expected)


# --- Amazon's event streams ---------------------------------------------------------------


def _messages(
    pieces: Sequence[bytes], limit: int
) -> tuple[list[event_stream.Message], type[event_stream.FramingError] | None]:
    parser = event_stream.Parser(limit)
    found: list[event_stream.Message] = []
    try:
        for piece in pieces:
            found += parser.feed(piece)
        parser.end()
    except event_stream.FramingError as error:
        return found + error.messages, type(error)
    return found, None


def event_streams(data: bytes) -> None:
    """Any cutting gives the same messages, and nothing is read that botocore does not read."""
    limit = _LIMITS[data[0] % len(_LIMITS)] if data else 1
    places, stream = data[1 : 1 + CUTS], data[1 + CUTS :]
    whole = _messages([stream], limit)
    for pieces in ways(stream, places):
        assert _messages(pieces, limit) == whole
    messages, error = whole
    theirs, failed = botocores(stream)
    assert messages == theirs[: len(messages)]
    if error is None:
        assert (theirs, failed) == (messages, False)


# --- policy -------------------------------------------------------------------------------

_KINDS: Final[tuple[type[Any], ...]] = (HostPolicy, RoutePolicy, TargetPolicy)


def policy(data: bytes) -> None:
    """Metadata is read or refused, whatever Envoy's text holds."""
    text = data.decode("utf-8", "replace")
    for kind in _KINDS:
        try:
            found = parse(kind, text)
        except PolicyError:
            continue
        assert NAMESPACE in text or "\\" in text
        assert msgspec.convert(msgspec.to_builtins(found), kind) == found


# --- limits -------------------------------------------------------------------------------


def limits(data: bytes) -> None:
    """What a key says of its limits is read or refused, and what is read can be counted."""
    try:
        tree = strict_json.load(data)
    except ClientError:
        return
    found = read(tree, Place(label="key", scope="k", direct=("key",), priority=True), Known())
    assert all(str(one).isprintable() for one in found.errors)
    assert len({one.scope for one in found.rules}) == len(found.rules)
    for rule in found.rules:
        assert rule.form == "trend" or min(rule.amount, rule.most) >= 1
        assert max(rule.amount, rule.most) <= MOST


# --- the guard ----------------------------------------------------------------------------


@cache
def detector() -> DefaultDetector:
    """One that looks for everything, however unsure it is of it."""
    return DefaultDetector(
        DetectorPolicy(least=0.0, patterns={"ticket": r"AC-\d{4}"}, words={"project": ["falcon 9"]})
    )


def guard(data: bytes) -> None:
    """Findings of any text are in order, none over another, and can be taken out of it."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"s" else "replace")
    rest, reached = [], 0
    for one in detector().find(text):
        assert reached <= one.start < one.end <= len(text)
        assert 0 < one.confidence <= 1
        rest.append(text[reached : one.start])
        reached = one.end
    assert "4111111111111111" not in "".join((*rest, text[reached:])).split()


def every() -> list[Target]:
    """The targets of this module."""
    known = samples.PARSERS
    doors = {
        "strict_json": Door(strict, "json", 0, known["strict_json"]),
        "sse": Door(server_sent_events, "sse", 1 + CUTS, known["sse"]),
        "event_stream": Door(event_streams, "event_stream", 1 + CUTS, known["event_stream"]),
        "policy": Door(policy, "text", 0, known["policy"]),
        "limits": Door(limits, "json", 0, known["limits"]),
        "guard": Door(guard, "text", 0, known["guard"]),
    }
    return [Target(name, (door,)) for name, door in doors.items()]
