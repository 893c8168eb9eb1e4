"""Settings that the traffic suggests, each with the figures that it was derived from.

All of them are what traffic was, with room above it: they do not say what it should be.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from ddsketch import DDSketch

from extproc.accounting.cost import usd
from extproc.accounting.rollup.repeats import TTL, RepeatSum
from extproc.accounting.rollup.sketches import ACCURACY
from extproc.accounting.rollup.views import MAIN, OTHER, values_of
from extproc.state import DAY, HOUR, MEASURES, LedgerStore, Row

FEWEST: Final = 100
"""Samples from which a 99th percentile is not just the largest."""
FEWEST_TIMES: Final = 200
"""The same for a 99.5th percentile."""
FEWEST_DAYS: Final = 5
"""Whole days with traffic that a month is judged by."""
MOST: Final = 50
"""Suggestions of one sort."""
OFTEN: Final = 0.1
"""Share of refusals from which a level is spoken of."""
FEWEST_TRIED: Final = 50

_INPUT, _OUTPUT = MEASURES.index("input_tokens"), MEASURES.index("output_tokens")
_COST: Final = MEASURES.index("cost")
_SIGNIFICANT: Final = 2


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A setting."""

    about: str
    setting: str
    """YAML, as it stands in a policy; empty where it is a matter of judgement."""
    value: str
    derivation: str
    """From what figures, in words."""


class LevelSum(msgspec.Struct, frozen=True, kw_only=True):
    """How often a target refused of the times it was asked."""

    target: str
    tried: int
    refused: int
    share: float
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The rollups of a time: `since` is the beginning of a UTC day, `until` that of an hour."""

    store: LedgerStore
    since: int
    until: int

    @property
    def days(self) -> list[int]:
        """The beginnings of its UTC days."""
        return list(range(self.since, self.until, DAY))

    def whole(self, day: int) -> bool:
        """Whether all of a day is in it."""
        return day + DAY <= self.until


# --- tokens of users -----------------------------------------------------------------------


@dataclass(slots=True)
class _Tier:
    """Totals of the users of a tier."""

    hours: DDSketch = field(default_factory=lambda: DDSketch(ACCURACY))
    days: DDSketch = field(default_factory=lambda: DDSketch(ACCURACY))
    users: set[int] = field(default_factory=set)


async def token_limits(traffic: Traffic) -> tuple[list[Suggestion], list[str]]:
    """Limits of tokens for each user of a tier, an hour and a day: the 99th percentile of what
    users used in an hour (day) in which they used any, half as much again, rounded up.

    A user is who is named so within a tenant, else a key. Hours are read a day at a time.
    """
    tiers: dict[str | None, _Tier] = {}
    for day in traffic.days:
        end = min(day + DAY, traffic.until)
        series = await traffic.store.series("user", day, end, HOUR)
        # Many rows: in a thread, so that the service goes on meanwhile.
        await asyncio.to_thread(_add_day, tiers, series, whole=traffic.whole(day))
    found: list[Suggestion] = []
    notes: list[str] = []
    for tier in sorted(tiers, key=lambda name: name or "")[:MOST]:
        totals = tiers[tier]
        for sketch, period in ((totals.hours, "hour"), (totals.days, "day")):
            of = "users of no tier" if tier is None else f"users of tier {tier}"
            count = int(sketch.count)
            if count >= FEWEST:
                found.append(_limit(tier, f"{period} for each of the {of}", totals.users, sketch))
            else:
                notes.append(
                    f"no limit of tokens by the {period} for {of}: {count} {period}s of users are "
                    f"known, {FEWEST} are needed"
                )
    return found, notes or ([] if tiers else ["no limits of tokens: no user or key is known"])


def _add_day(
    tiers: dict[str | None, _Tier], series: Mapping[int, Sequence[Row]], *, whole: bool
) -> None:
    """Add the hours of a day, and the day if all of it is there."""
    daily: dict[tuple[str | None, int], int] = {}
    for rows in series.values():
        for (tier, user), tokens in _by_user(rows).items():
            totals = tiers.setdefault(tier, _Tier())
            totals.hours.add(tokens)
            totals.users.add(user)
            daily[tier, user] = daily.get((tier, user), 0) + tokens
    if whole:
        for (tier, _), tokens in daily.items():
            tiers[tier].days.add(tokens)


def _by_user(rows: Sequence[Row]) -> dict[tuple[str | None, int], int]:
    """Tokens by tier and user; users by a hash."""
    found: dict[tuple[str | None, int], int] = {}
    for row in rows:
        tenant, _, tier, key, user = values_of(row.key)
        tokens = row.sums[_INPUT] + row.sums[_OUTPUT]
        if OTHER in {user, key} or not tokens or (user is None and key is None):
            continue
        who = (tier, hash((tenant, user) if user is not None else (tenant, None, key)))
        found[who] = found.get(who, 0) + tokens
    return found


def _limit(tier: str | None, of: str, users: set[int], sketch: DDSketch) -> Suggestion:
    """`of`: which period and whose, beginning with the period."""
    p99 = math.ceil(_quantile(sketch, 0.99))
    period = of.partition(" ")[0]
    value = f"{round_up((p99 * 3 + 1) // 2)}/{period[0]}"
    limit = {"tokens": value}
    return Suggestion(
        about=f"tokens {'an' if period == 'hour' else 'a'} {of}",
        setting=yaml({"limits": {"user": limit}} if tier is None else {"tiers": {tier: limit}}),
        value=value,
        derivation=(
            f"{len(users):,} users had {int(sketch.count):,} {period}s with traffic; in 99 % of "
            f"them they used at most {p99:,} tokens (within 1 %); times 1.5, rounded up"
        ),
    )


# --- money of tenants ----------------------------------------------------------------------


async def spending(traffic: Traffic) -> tuple[list[Suggestion], list[str]]:
    """A budget a month for each tenant: the 95th percentile of what it spent on a whole day
    with traffic, times 31 days, a fifth more, rounded up."""
    daily: dict[str, list[int]] = {}
    for day in filter(traffic.whole, traffic.days):
        spent: dict[str, int] = {}
        for row in await traffic.store.rows("main", day, day + DAY):
            tenant = values_of(row.key)[MAIN.index("tenant")]
            if tenant is not None and tenant != OTHER:
                spent[tenant] = spent.get(tenant, 0) + row.sums[_COST]
        for tenant, cost in spent.items():
            daily.setdefault(tenant, []).append(cost)
    if not daily:
        return [], ["no budget: no tenant is known on a whole day"]
    found: list[Suggestion] = []
    few = 0
    order = sorted(daily, key=lambda tenant: (-sum(daily[tenant]), tenant))
    for tenant in order:
        days = sorted(daily[tenant])
        if len(days) < FEWEST_DAYS or not days[-1]:
            few += 1
        elif len(found) < MOST:
            found.append(_budget(tenant, days))
    if not few:
        return found, []
    why = f"{FEWEST_DAYS} whole days with spending are needed"
    return found, [f"no budget for {few} of {len(daily)} tenants: {why}"]


def _budget(tenant: str, days: Sequence[int]) -> Suggestion:
    """`days`: nano-dollars of each, in order of size."""
    p95 = days[math.ceil(0.95 * len(days)) - 1]
    value = f"{usd(round_up(-(-p95 * 31 * 6 // 5)))}/mo"
    return Suggestion(
        about=f"money a month of tenant {tenant}",
        setting=yaml({"limits": {"tenant": {"usd": value}}}),
        value=value,
        derivation=(
            f"{len(days)} whole days with traffic; on 95 % of them it spent at most "
            f"{usd(p95)} USD; times 31 days, times 1.2, rounded up"
        ),
    )


# --- times of targets ----------------------------------------------------------------------


def answer_times(times: Mapping[str, DDSketch]) -> tuple[list[Suggestion], list[str]]:
    """A time-out for each target: the 99.5th percentile of its times to the head of an answer, or
    to a stream's first content, half as much again, rounded up.

    Only answers that came count, and only those of the first level asked: a target that is cut
    off by too short a time-out seems faster than it is.
    """
    found: list[Suggestion] = []
    notes: list[str] = []
    for target in sorted(times, key=lambda name: (-times[name].count, name))[:MOST]:
        sketch = times[target]
        count = int(sketch.count)
        if count < FEWEST_TIMES:
            notes.append(
                f"no time-out for {target}: {count} answers are known, {FEWEST_TIMES} are needed"
            )
            continue
        slow = _quantile(sketch, 0.995)
        milliseconds = round_up(max(100, math.ceil(slow * 1500)))
        value = f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
        found.append(
            Suggestion(
                about=f"time-out of target {target}",
                setting=yaml({"targets": {target: {"timeout": value}}}),
                value=value,
                derivation=(
                    f"{count:,} answers of it as the first level asked; 99.5 % of them began "
                    f"within {slow:.3g} s (within 1 %); times 1.5, rounded up"
                ),
            )
        )
    return found, notes


# --- levels and the cache ------------------------------------------------------------------


def often(levels: Iterable[LevelSum]) -> list[Suggestion]:
    """Levels that refuse often."""
    return [
        Suggestion(
            about=f"place of target {level.target} in its chains",
            setting="",
            value="further down",
            derivation=(
                f"asked {level.tried:,} times it refused {level.refused:,} times "
                f"({100 * level.share:.1f} %): "
                + ", ".join(f"{reason} {count:,}" for reason, count in level.reasons.items())
            ),
        )
        for level in levels
        if level.tried >= FEWEST_TRIED and level.share >= OFTEN
    ][:MOST]


def caching(repeats: Iterable[RepeatSum]) -> list[Suggestion]:
    """Routes on which an exact cache would have served anything."""
    value = f"{int(TTL // HOUR)}h"
    return [
        Suggestion(
            about=f"exact cache on route {one.route}",
            setting=yaml({"cache": {"mode": "exact", "ttl": {"default": value}}}),
            value=value,
            derivation=(
                f"{one.hits:,} of {one.requests:,} requests "
                f"({100 * one.hits / one.requests:.1f} %) were the same as one that was "
                f"answered in the {value} before; they cost {usd(one.saved)} USD"
            ),
        )
        for one in repeats
        if one.hits
    ][:MOST]


# --- figures and text ----------------------------------------------------------------------


def round_up(number: int) -> int:
    """To two significant digits, upwards."""
    digits = len(str(number))
    if digits <= _SIGNIFICANT:
        return number
    scale: int = 10 ** (digits - _SIGNIFICANT)
    return -(-number // scale) * scale


def _quantile(sketch: DDSketch, quantile: float) -> float:
    """Of a sketch that is not empty."""
    return sketch.get_quantile_value(quantile) or 0.0


_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|[0-9]+(\.[0-9]+)?(/mo|[/smhd]+)")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def yaml(place: Mapping[str, Any]) -> str:
    """A mapping of mappings of text as YAML, one line a level. What YAML could take for anything
    but this text is in quotes, as JSON writes it."""
    lines: list[str] = []
    _lines(place, 0, lines.append)
    return "\n".join(lines)


def _lines(place: Mapping[str, Any], depth: int, say: Callable[[str], None]) -> None:
    for name, inner in place.items():
        head = "  " * depth + _scalar(name) + ":"
        if isinstance(inner, Mapping):
            say(head)
            _lines(inner, depth + 1, say)
        else:
            say(f"{head} {_scalar(inner)}")


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return msgspec.json.encode(text).decode()
