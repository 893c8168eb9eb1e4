"""How figures and texts are shown to people.

What a request says of itself is data of strangers: on a terminal nothing of it may move the cursor,
hide itself or begin a new line, and in a spreadsheet nothing of it may be a formula.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
import tabulate

LONGEST: Final = 80
"""Characters of a text in a table."""
NANO: Final = 1_000_000_000
MILLION: Final = 1_000_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""As OWASP lists them, the full-width forms included."""
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_WIDE: Final = re.compile(r"[^\x00-\x7f]")
_NOTHING: Final = "-"
_SOON: Final = 10
"""Seconds below which hundredths are worth showing."""


def dumped(value: object) -> str:
    """JSON in ASCII, so that no terminal obeys what stands in it; numbers to their last digit."""
    text = _ENCODER.encode(value).decode()
    return text if text.isascii() else _WIDE.sub(lambda one: json.dumps(one[0])[1:-1], text)


def plain(value: object, longest: int | None = None) -> str:
    """A text in which whatever is not printable is escaped (control characters, line ends, changes
    of direction), cut off at `longest` characters."""
    text = str(value)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    if longest is not None and len(text) > longest:
        text = f"{text[: longest - 1]}…"
    return text


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def cell(value: object) -> str:
    """A text of a table; a dash for none."""
    return plain(value, LONGEST) if value not in (None, "") else _NOTHING


def money(dollars: float | Decimal | None) -> str:
    """US dollars with the digits that tell something: `$1,234.50`, `$0.0421`, `$0.000012`."""
    if dollars is None:
        return _NOTHING
    sign, size = ("-", -dollars) if dollars < 0 else ("", dollars)
    if size == 0 or size >= 1:
        digits = 2
    elif size >= 0.01:  # noqa: PLR2004 - a cent
        digits = 4
    else:
        # Two digits that are not zero; nano-dollars have nine.
        digits = next((place for place in range(4, 10) if size >= 10 ** (1 - place)), 9)
    return f"{sign}${size:,.{digits}f}"


def exact(dollars: float) -> str:
    """US dollars to the nano-dollar, as little as that is: `$0.0042`, `$0.000000123`."""
    return f"${_digits(round(dollars, 9))}"


def _digits(value: float | Decimal) -> str:
    """A number without an exponent."""
    return format(value if isinstance(value, Decimal) else Decimal(repr(value)), "f")


def share(fraction: float | Decimal | None) -> str:
    """A fraction of one as a percentage."""
    return _NOTHING if fraction is None else f"{fraction * 100:.1f} %"


def change(now: float | Decimal, before: float | Decimal | None) -> str:
    """How much more or less than before."""
    if before is None:
        return _NOTHING
    if not before:
        return "new" if now else "0.0 %"
    return f"{(float(now) - float(before)) / float(before) * 100:+.1f} %"


def count(number: float | Decimal | None) -> str:
    """A whole number."""
    return _NOTHING if number is None else f"{number:,.0f}"


def seconds(value: float | Decimal | None) -> str:
    """A duration: `840 ms`, `1.42 s`, `75 s`."""
    if value is None:
        return _NOTHING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < _SOON else f"{value:.0f} s"


def clock(at: float | None) -> str:
    """`2026-11-20 10:00:05Z`."""
    if at is None:
        return _NOTHING
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return plain(at)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table; the first `left` columns are texts, the others figures."""
    align = tuple("left" if number < left else "right" for number in range(len(head)))
    return tabulate.tabulate(
        [list(row) for row in rows],
        headers=list(head),
        tablefmt="simple",
        colalign=align,
        # A feature called `1e5` stays what it is called.
        disable_numparse=True,
    )


def pairs(found: Iterable[tuple[str, str]]) -> str:
    """Names and values, one a line."""
    lines = list(found)
    width = max((len(name) for name, _ in lines), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def guarded(value: object) -> object:
    """A value of a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe
    in front, and what is not printable is escaped. Figures have no exponents."""
    if isinstance(value, float | Decimal):
        return _digits(value)
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if value.startswith(_FORMULA) else text


def csv_line(values: Iterable[object]) -> str:
    """One line of a CSV file (RFC 4180, with the line end of this system's texts)."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([guarded(one) for one in values])
    return out.getvalue()


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a head."""
    return csv_line(columns) + "".join(
        csv_line([row.get(column) for column in columns]) for row in rows
    )
