"""What the cache reads: requests, answers and streams that are kept, headers, stored bytes."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any, Final

import msgspec

from extproc import headers as names
from extproc.cache.control import NOTHING, READS, control, of_answer
from extproc.cache.fingerprint import Asked, Place, asked, fields
from extproc.cache.replay import Asker, events, fold, kept, whole
from extproc.cache.replay.pieces import StreamError
from extproc.cache.rules import LONGEST_TTL, MOST_TAGS, Rules, rules
from extproc.cache.shapes import SHAPES
from extproc.cache.storable import Unfit, unfit_answer, unfit_request
from extproc.cache.vectors import inputs, joined, missing, vector, vectors
from extproc.errors import ClientError
from extproc.policy import CachePolicy
from tests.fuzz import samples
from tests.fuzz.doors import clients
from tests.fuzz.parsers import blamed, one_reading
from tests.fuzz.target import Door, Target

_CHOICES: Final = 2
"""Bytes of a request that say which of its leaves is to become another."""
_STREAMED: Final = ("chat", "completions", "messages", "responses")
_WITH: Final = Asker(usage=True)
_EXACT: Final = 2**53
_OTHER: Final = "\x01other"
_HINTS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})


@cache
def route() -> Rules:
    """A route that keeps as much as one may."""
    found = rules(
        None,
        CachePolicy(mode="semantic", tool_calls=True, allow_scope="tenant", temperature_max=2.0),
    )
    assert found is not None
    return found


# --- requests -----------------------------------------------------------------------------


def fingerprint(format_: str, data: bytes) -> None:
    """A request that is accepted has one key however it is written, and another once it says
    something else."""
    choice, body = int.from_bytes(data[:_CHOICES]), data[_CHOICES:]
    try:
        clients()[format_].parse(body)
    except ClientError:
        return
    given = fields(body)
    place = Place(format=format_, route="r", scope=b"s" * 32)
    found = asked(given, place)
    assert given == fields(body)
    assert len(found.exact) == len(found.family) == 32
    unfit_request(given, format_, route())
    Asker.of(format_, given)
    tree = one_reading(body)
    again = asked(fields(_otherwise(tree).encode()), place)
    assert again == found
    several = asked(given, place, conversation=True)
    assert several.exact == found.exact
    _other_meaning(format_, tree, choice, found, place)


def _other_meaning(format_: str, tree: Any, choice: int, found: Asked, place: Place) -> None:
    paths = [path for path in _leaves(tree) if path and path[0] not in SHAPES[format_].silent]
    paths = [path for path in paths if _HINTS.isdisjoint(path)]
    if not paths:
        return
    path = paths[choice % len(paths)]
    other = asked(fields(_otherwise(_changed(tree, path)).encode()), place)
    assert other.exact != found.exact, path


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(tree, dict) and tree:
        return [leaf for name, one in tree.items() for leaf in _leaves(one, (*path, name))]
    if isinstance(tree, list) and tree:
        return [leaf for at, one in enumerate(tree) for leaf in _leaves(one, (*path, at))]
    return [] if tree == _OTHER else [path]


def _changed(tree: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return _OTHER
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = _changed(tree[path[0]], path[1:])
    return copy


def _otherwise(tree: Any) -> str:
    """JSON with its fields the other way round, escapes, and numbers with a point."""
    if isinstance(tree, dict):
        pairs = (f"{json.dumps(name)} : {_otherwise(tree[name])}" for name in reversed(tree))
        return "{\n" + ",\t".join(pairs) + "}"
    if isinstance(tree, list):
        return "[ " + " , ".join(map(_otherwise, tree)) + "]"
    if isinstance(tree, int) and not isinstance(tree, bool) and abs(tree) < _EXACT:
        return f"{tree}.0"
    return json.dumps(tree)


# --- answers ------------------------------------------------------------------------------


def folding(format_: str, data: bytes) -> None:
    """Of any stream there is an answer or none; one that may be kept is streamed and folded
    again."""
    found = fold(data, format_)
    if found is None:
        return
    if unfit_answer(found, format_, route()) is None:
        _there_and_back(kept(found, format_), format_)


def stored(format_: str, data: bytes) -> None:
    """Stored bytes are told to be no answer, or are sent whole and as events. What may be kept is
    sent."""
    try:
        tree = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        tree = None
    asker = Asker.of(format_, {"user": "u", "metadata": {"a": "b"}, "stream_options": {}})
    for read in (whole, events):
        if read is events and format_ == "embeddings":
            continue
        try:
            out = read(data, format_, asker)
        except StreamError:
            continue
        assert isinstance(out, bytes)
    unfit = unfit_answer(tree, format_, route())
    assert unfit is None or unfit in Unfit
    if unfit is None and format_ != "embeddings":
        assert events(kept(tree, format_), format_, asker)


def _there_and_back(entry: bytes, format_: str) -> None:
    again = fold(events(entry, format_, _WITH), format_)
    assert again is not None
    second = kept(again, format_)
    assert unfit_answer(again, format_, route()) is None
    assert fold(events(second, format_, _WITH), format_) == again


# --- vectors ------------------------------------------------------------------------------


def embedded(data: bytes) -> None:
    """Vectors of an answer are kept one by one, and make the answer again."""
    found = vectors(data, ["one", "two"])
    one = vector(data)
    assert one is None or vector(one.entry()) == one
    if found is None:
        return
    assert sum(each.tokens for each in found) == found[0].tokens + found[1].tokens
    read = [vector(each.entry()) for each in found]
    assert read == found
    again = vectors(joined(found), ["one", "two"])
    assert again is not None
    assert [bytes(each.embedding) for each in again] == [bytes(each.embedding) for each in found]


def inputs_of(data: bytes) -> None:
    """Of an embeddings request each input can be asked for alone."""
    try:
        clients()["embeddings"].parse(data)
    except ClientError:
        return
    given = fields(data)
    place = Place(format="embeddings", route="r", scope=b"s" * 32)
    items = asked(given, place).items
    assert len(inputs(given["input"])) == len(items)
    for at in range(min(len(items), 4)):
        body = missing(data, given["input"], [at])
        clients()["embeddings"].parse(body)
        assert asked(fields(body), place).items == (items[at],)


# --- headers ------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """Headers say what they want, or which of them is wrong."""
    given = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        given[name.strip().lower()] = value
    of_answer(given, frozenset(route().by_kind))
    try:
        found = control(given, route())
    except ClientError as error:
        blamed(error, 403 if error.code == "cache_scope_not_allowed" else 400)
        return
    assert (found is NOTHING) == READS.isdisjoint(given)
    assert found.ttl is None or found.ttl <= LONGEST_TTL or names.CACHE_CONTROL in given
    assert len(found.tags) <= MOST_TAGS
    assert found.scope in (None, "session", "user", "tenant")
    assert found.read or not found.only
    assert found.write or not found.refresh


_HEADERS: Final = tuple(
    "\n".join(lines).encode()
    for lines in (
        [f"{name}: true" for name in sorted(READS)],
        ["x-tollgate-cache: no-cache, max-age=60", "x-tollgate-cache-ttl: 15m"],
        ["x-tollgate-cache: only-if-cached", "x-tollgate-tags: pricing, plan-a"],
        ["cache-control: no-store, max-age=3600", "helicone-cache-enabled: true"],
        ["x-portkey-cache-force-refresh: 1", "x-portkey-cache-namespace: a b"],
        ["cf-aig-cache-ttl: 90", "cf-aig-cache-key: k", "cf-aig-skip-cache: false"],
        ["x-tollgate-cache-scope: shared", "x-tollgate-cache-kind: factual"],
    )
)


def every() -> list[Target]:
    """The targets of this module."""
    known = samples.CLIENTS
    asks = tuple(
        Door(partial(fingerprint, name), "json", _CHOICES, known[name].requests) for name in SHAPES
    )
    streams = tuple(
        Door(partial(folding, name), "sse", 0, known[name].streams) for name in _STREAMED
    )
    answers = tuple(Door(partial(stored, name), "json", 0, known[name].answers) for name in SHAPES)
    vectors_ = (
        Door(embedded, "json", 0, known["embeddings"].answers),
        Door(inputs_of, "json", 0, known["embeddings"].requests),
    )
    return [
        Target("cache.fingerprint", asks),
        Target("cache.fold", streams),
        Target("cache.answers", answers),
        Target("cache.vectors", vectors_),
        Target("cache.control", (Door(headers, "text", 0, _HEADERS),)),
    ]
