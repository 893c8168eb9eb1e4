"""What a limit says: `100000/h`, `5M/d`, `0.50/mo`, `100000/h burst 2x`, `10000/d rolling`,
`8000/request`, `5`.

The reader takes anything and raises nothing but RuleError; what `Expression.text` writes it reads
as the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from extproc.catalogue.price import NANO
from extproc.limits.rule import Measure
from extproc.rule_error import RuleError

SECONDS: Final = {
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
    "mo": 2_592_000.0,
}
"""Units and their seconds; of a month, 30 days, for information only."""
BUCKETS: Final = ("s", "m", "h")
"""Units that are token buckets; the others are calendar windows."""
ROLLING: Final = ("m", "h", "d", "w")
"""Units that may roll. A second is too short to be cut in slices of use, and months differ."""
REQUEST: Final = "request"
SINGLE: Final = ("input_tokens", "output_tokens", "tokens", "usd")
"""Measures of which a single request may have a ceiling."""
MOST: Final = 2**53
"""Units, and nano-dollars (nine million dollars): what a double counts without a gap, and the
stores count in doubles."""
MOST_TEXT: Final = 100
"""Characters of an expression."""

_FORM: Final = "write it as 100000/h, 5M/d or 1_000/m"
_NUMBER: Final = re.compile(r"([0-9](?:[0-9_]*[0-9])?)(?:\.([0-9]+))?([kKMG]?)")
_FACTOR: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)x")
_SCALE: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_DIGITS: Final = 28
"""Characters of a number: as many digits as decimal arithmetic keeps."""
_WORDS: Final = {
    "second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "day": "d", "week": "w",
    "month": "mo", "mon": "mo", "M": "m", "req": REQUEST, "r": REQUEST, "call": REQUEST,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """An amount, for how long, and how much of it at once."""

    measure: Measure
    amount: int
    """1 to MOST; nano-dollars for usd."""
    unit: str
    """Of SECONDS, REQUEST, or empty for concurrent."""
    most: int
    """What may be used at once: a bucket's capacity, else the amount."""
    rolling: bool = False

    @property
    def bucket(self) -> bool:
        """It is a token bucket."""
        return self.unit in BUCKETS and not self.rolling

    @property
    def calendar(self) -> bool:
        """It is a window that keeps to a calendar."""
        return self.unit in SECONDS and self.unit not in BUCKETS and not self.rolling

    @property
    def text(self) -> str:
        """As a person writes it."""
        text = written(self.measure, self.amount)
        if self.unit:
            text += f"/{self.unit}"
        if self.rolling:
            return f"{text} rolling"
        return text if self.most == self.amount else f"{text} burst {self._capacity()}"

    def _capacity(self) -> str:
        times, rest = divmod(self.most, self.amount)
        if rest or times >= 10**9:  # a factor has nine digits
            return written(self.measure, self.most)
        return f"{times}x"


def read(measure: Measure, given: Any, *, burst: Any = None, rolling: bool = False) -> Expression:
    """An expression as `given`, a text or for concurrent a number; `burst` and `rolling` as if they
    stood in it. Raises RuleError, whose path is empty, or `burst` where that is what is wrong."""
    if measure == "concurrent":
        return _concurrent(given, burst=burst, rolling=rolling)
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = _number(given)
    if not isinstance(given, str):
        raise RuleError(f"{shown(given)} is not a limit; {_FORM}")
    if len(given) > MOST_TEXT:
        raise RuleError(f"{len(given)} characters are not a limit; {_FORM}")
    what, *options = given.split() or [""]
    number, slash, unit = what.partition("/")
    if not slash:
        raise RuleError(f"{shown(given)} does not say for how long; {_FORM}")
    size = amount(measure, number)
    _known(unit, measure)
    said_burst, said_rolling = _options(options)
    if said_burst is not None and burst is not None:
        raise RuleError("is said in the limit as well; once is enough", ("burst",))
    rolling = rolling or said_rolling
    if rolling:
        _may_roll(unit)
    path = () if burst is None else ("burst",)
    burst = burst if said_burst is None else said_burst
    most = size
    if burst is not None:
        most = _burst(measure, size, unit, burst, rolling=rolling, path=path)
    return Expression(measure=measure, amount=size, unit=unit, most=most, rolling=rolling)


def amount(measure: Measure, text: str) -> int:
    """A number of units, above zero. Raises RuleError."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > _DIGITS:
        raise RuleError(_no_number(measure, text))
    whole, fraction, scale = found[1].replace("_", ""), found[2] or "0", found[3]
    unit = NANO if measure == "usd" else 1
    scaled = Decimal(f"{whole}.{fraction}") * _SCALE[scale] * unit
    if scaled != int(scaled):
        what = "a nano-dollar is the least" if measure == "usd" else f"{_noun(measure)} are whole"
        raise RuleError(f"{shown(text)} has a fraction; {what}")
    if not scaled:
        raise RuleError("is zero, so nothing would pass; say 1 or more, or leave the limit out")
    if scaled > MOST:
        raise RuleError(f"{shown(text)} is too large; {written(measure, MOST)} is the most")
    return int(scaled)


def written(measure: Measure, units: int) -> str:
    """An amount as `amount` reads it: of usd dollars."""
    if measure != "usd":
        return str(units)
    whole, fraction = divmod(units, NANO)
    return f"{whole}.{fraction:09d}".rstrip("0").removesuffix(".")


def shown(value: Any) -> str:
    """A value for a message: short, and on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > MOST:
        return "a number that is too large"  # Python refuses to write the longest ones
    text = repr(value if isinstance(value, str) else str(value))
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _noun(measure: Measure) -> str:
    if measure in {"requests", "concurrent"}:
        return "requests"
    return "dollars" if measure == "usd" else "tokens"


def _no_number(measure: Measure, text: str) -> str:
    if text.startswith("-"):
        return f"{shown(text)} is negative"
    if re.fullmatch(r"[0-9.]+[eE][+-]?[0-9]+", text):
        return f"{shown(text)} is in scientific notation; write the digits, or 10k, 5M"
    if re.fullmatch(r"[0-9_.]+m", text):
        return f"{shown(text)} is not a number; millions are {text[:-1]}M"
    if text.startswith("$"):
        return f"{shown(text)} is not a number; leave the $ out"
    if len(text) > _DIGITS and _NUMBER.fullmatch(text):
        return f"{shown(text)} is too long; {_DIGITS} characters are the most"
    example = "0.50" if measure == "usd" else "100000"
    return f"{shown(text)} is not a number of {_noun(measure)}, e.g. {example}"


def _known(unit: str, measure: Measure) -> None:
    if unit == REQUEST:
        if measure not in SINGLE:
            raise RuleError("a single request is always one; /request is for tokens and usd")
        return
    if unit in SECONDS:
        return
    word = unit.strip().lower()
    near = _WORDS.get(unit) or _WORDS.get(word) or _WORDS.get(word.removesuffix("s"))
    if near is None:
        near = next(iter(get_close_matches(word, [*SECONDS, REQUEST], 1, 0.6)), None)
    hint = f"did you mean '/{near}'?" if near else f"there is {', '.join(SECONDS)} and {REQUEST}"
    raise RuleError(f"no unit {shown(unit)}; {hint}")


def _options(words: list[str]) -> tuple[str | None, bool]:
    """What stands behind the amount: burst and rolling."""
    burst: str | None = None
    rolling = False
    rest = iter(words)
    for word in rest:
        if word == "rolling" and not rolling:
            rolling = True
        elif word == "burst" and burst is None:
            burst = next(rest, None)
            if burst is None:
                raise RuleError("burst says not how much; write burst 2x or burst 5000")
        elif word in {"rolling", "burst"}:
            raise RuleError(f"'{word}' is there twice")
        else:
            raise RuleError(f"no option {shown(word)}; there is burst and rolling")
    return burst, rolling


def _may_roll(unit: str) -> None:
    if unit == REQUEST:
        raise RuleError("a ceiling of a single request has no window that could roll")
    if unit not in ROLLING:
        why = "is a bucket that refills evenly" if unit == "s" else "keeps to the calendar"
        raise RuleError(f"/{unit} {why}; rolling is for {', '.join(f'/{one}' for one in ROLLING)}")


def _burst(
    measure: Measure, size: int, unit: str, given: Any, *, rolling: bool, path: tuple[str, ...]
) -> int:
    """The capacity. Raises RuleError."""
    if unit == REQUEST:
        raise RuleError("a single request has no burst", path)
    if unit not in BUCKETS or rolling:
        kind = "rolling window" if rolling else f"calendar window (/{unit})"
        buckets = ", ".join(f"/{one}" for one in BUCKETS)
        raise RuleError(f"a {kind} has no burst; it is for {buckets}", path)
    try:
        return _capacity(measure, size, given)
    except RuleError as error:
        raise RuleError(error.message if path else f"burst: {error.message}", path) from None


def _capacity(measure: Measure, size: int, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise RuleError(f"{shown(given)} is no burst; write 2x or 5000")
    text = given.strip() if isinstance(given, str) else _number(given)
    factor = _FACTOR.fullmatch(text)
    if factor is None:
        return amount(measure, text)
    times = Decimal(factor[1])
    if times < 1:
        raise RuleError(f"{text} is less than the amount itself; say units instead, as burst 5000")
    if size * times > MOST:
        raise RuleError(f"{text} is too large; {written(measure, MOST)} is the most")
    return int(size * times)


def _concurrent(given: Any, *, burst: Any, rolling: bool) -> Expression:
    if burst is not None:
        raise RuleError("what is in flight at once has no burst", ("burst",))
    if rolling:
        raise RuleError("what is in flight at once has no window that could roll")
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise RuleError(f"{shown(given)} is not a number of requests, e.g. concurrent: 5")
    text = given.strip() if isinstance(given, str) else _number(given)
    if "/" in text:
        raise RuleError("what is in flight at once has no unit; write concurrent: 5")
    size = amount("concurrent", text)
    return Expression(measure="concurrent", amount=size, unit="", most=size)


def _number(given: float) -> str:
    """A number as it could stand in an expression."""
    if isinstance(given, int):
        # Python refuses to write integers of more than some thousand digits.
        return str(max(-1, min(given, MOST + 1)))
    return str(int(given)) if given.is_integer() and abs(given) <= MOST else str(given)
