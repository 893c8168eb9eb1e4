"""What the guard found in a request, as its record, the access log and reports tell it: types and
numbers, never a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from extproc.records import GuardCount, GuardDirection, GuardDone, Observation

MOST_COUNTS: Final = 32
"""Counts of a record. What a request could be told in more than these adds up under `OTHER`; real
ones have a handful."""
LONGEST_TYPE: Final = 64
"""Characters of a type. Those of the detector have at most some twenty; what an endpoint calls its
findings is not in our hands."""
LONGEST_FACT: Final = 512
"""Characters of the access log's fact."""
OTHER: Final = "_OTHER"
"""Stands for types that are too many to be told apart, as in metrics."""

Sort = tuple[str, str, str]
"""Type, action, direction."""

_DONE: Final = {
    "block": "blocked",
    "redact": "redacted",
    "mask": "masked",
    "hash": "hashed",
    "flag": "flagged",
}
_RESTS: Final = 2 * len(_DONE)
"""Of two directions."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.:-]")
"""A type is a name: whatever else stands in one must neither end a log's line nor look like the
next entry."""


def guard_counts(found: Mapping[Sort, int], *, observed: bool = False) -> tuple[GuardCount, ...]:
    """What was found as a record holds it: the most first, bounded. Findings that are ignored are
    none. `observed`: nothing was done about them."""
    sums: dict[Sort, int] = {}
    for (type_, action, direction), count in found.items():
        if count > 0 and action in _DONE:
            sort = (_UNSAFE.sub("_", type_[:LONGEST_TYPE]) or OTHER, action, direction)
            sums[sort] = sums.get(sort, 0) + count
    if len(sums) > MOST_COUNTS:
        sums = _folded(sums)
    ordered = sorted(sums.items(), key=lambda one: (-one[1], one[0]))
    # The struct's own words: what is no action was left out, and whoever counts knows directions.
    return tuple(
        [
            GuardCount(
                type_, cast(GuardDone, action), cast(GuardDirection, direction), count, observed
            )
            for (type_, action, direction), count in ordered
        ]
    )


def _folded(sums: Mapping[Sort, int]) -> dict[Sort, int]:
    """The most frequent, and the others as one for each action and direction."""
    order = sorted(sums, key=lambda sort: (-sums[sort], sort))
    most = MOST_COUNTS - _RESTS
    kept = {sort: sums[sort] for sort in order[:most]}
    for sort in order[most:]:
        rest = (OTHER, *sort[1:])
        kept[rest] = kept.get(rest, 0) + sums[sort]
    return kept


def guard_facts(counts: Iterable[GuardCount]) -> dict[str, str]:
    """The access log's fact: `{"guard": "EMAIL_ADDRESS:redact:2,PERSON:redact:1"}`, both directions
    together; `would_redact` where the guard only observed. Nothing if nothing was found. An entry
    is read from its right end, since a type may hold a colon; `+3` at the end: three more entries
    that had no room."""
    sums: dict[str, int] = {}
    for one in counts:
        name = f"{one.type}:{'would_' if one.observed else ''}{one.action}"
        sums[name] = sums.get(name, 0) + one.count
    if not sums:
        return {}
    entries = [f"{name}:{count}" for name, count in sums.items()]
    text, length = [], 0
    for at, entry in enumerate(entries):
        length += len(entry) + 1
        if length > LONGEST_FACT - _ROOM:
            text.append(f"+{len(entries) - at}")
            break
        text.append(entry)
    return {"guard": ",".join(text)}


_ROOM: Final = 4
"""Characters for the number of those left out."""


def guard_observed(counts: Iterable[GuardCount]) -> tuple[Observation, ...]:
    """What would have been done on a route that only observes, one an outcome. A request that
    would have been blocked would have been nothing else."""
    by_action: dict[str, dict[str, int]] = {}
    for one in counts:
        if one.observed:
            types = by_action.setdefault(one.action, {})
            types[one.type] = types.get(one.type, 0) + one.count
    if "block" in by_action:
        by_action = {"block": by_action["block"]}
    return tuple(
        Observation(
            capability="guard",
            outcome=outcome,
            detail=", ".join(f"{type_} x{n}" for type_, n in by_action[action].items()),
        )
        for action, outcome in _DONE.items()
        if action in by_action
    )
