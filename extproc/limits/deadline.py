"""How long a client is ready to wait: `x-tollgate-deadline`, read."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from extproc.errors import ClientError, bad_request
from extproc.headers import DEADLINE

_NUMBER: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOMENT: Final = 1e9
"""A plain number from here on (September 2001) is a moment; below, seconds (31 years)."""
_LONGEST: Final = 64
"""Characters; RFC 3339 needs 35 at most."""


def ready_to_wait(value: str, now: float) -> float:
    """Seconds from `now` (epoch): never negative, 0 once the moment has passed. Raises ClientError
    400 for what is none of `2.5`, `2.5s`, `500ms`, `1m`, epoch seconds and RFC 3339."""
    text = value.strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        return max(0.0, _moment(text) - now)
    number = float(found[1])
    if found[2] is not None:
        return number * _UNITS[found[2]]
    return max(0.0, number - now) if number >= _MOMENT else number


def _moment(text: str) -> float:
    """Epoch seconds of a moment in RFC 3339."""
    if len(text) > _LONGEST:
        raise _unreadable(text)
    try:
        then = datetime.fromisoformat(text)
        if then.tzinfo is not None:
            return then.timestamp()
    except (ValueError, OverflowError):
        pass
    raise _unreadable(text)


def _unreadable(text: str) -> ClientError:
    shown = text[:40].encode("ascii", "backslashreplace").decode()
    return bad_request(
        f"'{shown}' is no deadline; say how long to wait ('2.5', '500ms', '1m') or until when "
        "(epoch seconds, or RFC 3339 with a time zone).",
        DEADLINE,
        "invalid_deadline",
    )
