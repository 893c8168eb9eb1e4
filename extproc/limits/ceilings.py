"""What a provider takes of us: its ceilings as counters, and what a request takes from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from extproc.limits import Candidate
from extproc.policy import Ceilings, TargetPolicy
from extproc.state.counters import Counter, Option, Take

MINUTE: Final = 60.0
RATES: Final = ("rpm", "tpm", "itpm", "otpm")
"""Ceilings that are counted by the minute, as buckets that hold a minute's worth."""

Named = tuple[str, Counter]
"""What a counter counts, as `Ceilings` calls it, and the counter."""


def option_of(
    candidate: Candidate, tokens: tuple[int, int], extra: tuple[Take, ...] = ()
) -> Option | None:
    """A level with what a request of (input, output) tokens takes there: of the target's own
    ceilings, of its provider's key, then `extra`. None: nothing is counted there.

    A request larger than a ceiling takes all of it: whether it is too large is the provider's to
    say, whose count of it is exact.
    """
    target = candidate.target
    takes = tuple(
        Take(counter, min(amount(name, tokens), int(counter.most)))
        for name, counter in counters(target)
    )
    if not (takes or extra):
        return None
    return Option(target.target, takes + extra, _high_water(target))


def counters(target: TargetPolicy) -> tuple[Named, ...]:
    """The counters of a target, its own first."""
    own, shared = target.ceilings, target.provider_ceilings
    if own is None and shared is None:
        return ()
    return own_counters(target) + shared_counters(target)


def own_counters(target: TargetPolicy) -> tuple[Named, ...]:
    """Those of the target alone."""
    return () if target.ceilings is None else _counters(f"t:{target.target}", target.ceilings)


def shared_counters(target: TargetPolicy) -> tuple[Named, ...]:
    """Those of its provider's key."""
    if target.provider_ceilings is None:
        return ()
    return _counters(f"p:{target.provider}", target.provider_ceilings)


def amount(name: str, tokens: tuple[int, int]) -> int:
    """Units of a ceiling that (input, output) tokens are. Never negative."""
    read, written = max(0, tokens[0]), max(0, tokens[1])
    if name == "tpm":
        return read + written
    if name == "itpm":
        return read
    return written if name == "otpm" else 1


def used(target: TargetPolicy, tokens: tuple[int, int], *, asked: bool = True) -> tuple[int, ...]:
    """What the takes of a target's ceilings came to in the end, in the order of `option_of`, for
    (input, output) tokens as the provider counted them. `asked`: the target was asked at all."""
    return tuple(
        amount(name, tokens) if asked and name != "concurrent" else 0
        for name, _ in counters(target)
    )


@lru_cache(maxsize=4096)
def _counters(prefix: str, ceilings: Ceilings) -> tuple[Named, ...]:
    found = []
    for name in RATES:
        most: int | None = getattr(ceilings, name)
        if most is not None:
            key = f"{prefix}:{name}"
            found.append((name, Counter(key, "bucket", float(most), most / MINUTE, MINUTE)))
    if ceilings.concurrent is not None:
        key = f"{prefix}:concurrent"
        found.append(("concurrent", Counter(key, "concurrent", float(ceilings.concurrent))))
    return tuple(found)


def _high_water(target: TargetPolicy) -> float:
    """The lower of the target's and its key's: an option has one for all its counters."""
    given: Sequence[Ceilings | None] = (target.ceilings, target.provider_ceilings)
    return min((_share(one) for one in given if one is not None), default=1.0)


def _share(ceilings: Ceilings) -> float:
    # One at once has no share that is less than all of it.
    return 1.0 if ceilings.concurrent == 1 else ceilings.high_water
