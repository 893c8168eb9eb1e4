"""One limit, read: what it counts, whose, how much of it, and what becomes of a request that finds
nothing left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

Measure = Literal["requests", "input_tokens", "output_tokens", "tokens", "usd", "concurrent"]
Form = Literal["bucket", "window", "rolling", "concurrent", "request", "trend"]
OnExhausted = Literal["reject", "queue", "downgrade"]

MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
DIMENSIONS: Final = (
    *("key", "user", "team", "tenant", "feature", "session", "route", "model", "target"),
)
ALL: Final = "all"
"""What the group is called that counts everything in one."""
CALLER: Final = "caller"
"""The key, where there is none the user, else the tenant."""
WHOSE: Final = "whose"
"""The user, where there is none the key, else the tenant."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""A limit's own name, and that of a priority class: they stand in headers and metrics."""
NAME_FORM: Final = "use up to 63 letters, digits, '.', '_' and '-'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit."""

    name: str
    """Unique among the rules that one request meets, and the same after a restart: `route support:
    user input_tokens 100000/h`, or what its `name` says."""
    scope: str
    """Where it stands and what it counts, for the keys of counters: `r:support|user|tokens|h|0`.
    The amount is not in it, so that who changes the amount keeps the count."""
    dims: tuple[str, ...]
    """Of DIMENSIONS, each at most once, in that order; or CALLER or WHOSE alone. Empty: one count
    over everything."""
    measure: Measure
    form: Form
    amount: int
    """Units in a period; nano-dollars of usd."""
    most: int
    """Units at once: a bucket's capacity, else the amount."""
    period: float
    """Seconds of the unit, 30 days for a month; 0 for concurrent and request."""
    unit: str
    """`s`, `m`, `h`, `d`, `w`, `mo`, or empty."""
    zone: str = "UTC"
    """IANA's name of the time zone whose days, weeks and months a window keeps to."""
    strict: bool = False
    """What a request may use at most is reserved, and no more let through."""
    observe: bool = False
    """It counts and tells, and refuses nothing."""
    on_exhausted: OnExhausted = "reject"
    downgrade: str | None = None
    """The chain for `downgrade`."""
    status: int = 429
    """429, or 402 for a budget."""
    upgrade_url: str | None = None
    budget: bool = False
    """It is money over a day, a week or a month."""
    trend: tuple[float, ...] = ()
    """Of a trend: seconds of the fast mean, of the slow one, factor, floor (nano-dollars a second),
    age in seconds before it may speak, seconds that it stays marked."""
    guard: bool = False
    """It holds only while the trend, which is the rule before it, is marked."""
