"""The watch on callers that suddenly spend many times what is usual for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from extproc.limits.expression import BUCKETS, SECONDS, Expression, read, shown
from extproc.limits.rule import CALLER, NAME, NAME_FORM, Rule
from extproc.rule_error import RuleError

FACTOR: Final = 10.0
"""Times the usual."""
AT_LEAST: Final = "1/h"
"""Dollars; a caller that spends less is left alone, however little is usual."""
SPANS: Final = {"window": 60.0, "past": 86_400.0, "after": 3600.0, "hold": 600.0}
"""Seconds: what is "now", what is "usual", how long a caller must be known before anything is
usual, and how long it stays marked."""
LONGEST: Final = 30 * 86_400.0
"""Seconds of a span."""
MOST_FACTOR: Final = 1e6

_FIELDS: Final = ("factor", "at_least", *SPANS, "slow", "mode", "name")
_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd])")


def runaway(given: Any, label: str, scope: str) -> tuple[list[Rule], str | None]:
    """The trend, and the bucket that slows a caller down while it is marked; and its name, if one
    is given. Raises RuleError."""
    if given is True:
        given = {}
    if not isinstance(given, Mapping):
        raise RuleError(f"{shown(given)} is not a mapping, e.g. {{factor: 10, slow: 10/m}}")
    for field in given:
        if field not in _FIELDS:
            near = get_close_matches(str(field), _FIELDS, 1, 0.7)
            there = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(_FIELDS)}"
            raise RuleError(f"no field {shown(field)}; {there}", (field,))
    spans = {name: _span(given, name, usual) for name, usual in SPANS.items()}
    if spans["past"] <= spans["window"]:
        raise RuleError("is not longer than window", ("past",))
    floor = _expression("usd", given.get("at_least", AT_LEAST), "at_least")
    observe = _mode(given.get("mode", "enforce"))
    name = given.get("name")
    if name is not None and (not isinstance(name, str) or NAME.fullmatch(name) is None):
        raise RuleError(f"{shown(name)} is not a name; {NAME_FORM}", ("name",))
    trend = Rule(
        name=name or f"{label}: runaway",
        scope=f"{scope}|{CALLER}|runaway",
        dims=(CALLER,),
        measure="usd",
        form="trend",
        amount=0,
        most=0,
        period=spans["past"],
        unit="",
        observe=observe,
        trend=(
            spans["window"],
            spans["past"],
            _factor(given.get("factor", FACTOR)),
            floor.amount / SECONDS[floor.unit],
            spans["after"],
            spans["hold"],
        ),
    )
    if given.get("slow") is None:
        return [trend], name
    slow = _expression("requests", given["slow"], "slow")
    bucket = Rule(
        name=f"{name}-slow" if name else f"{label}: runaway requests {slow.text}",
        scope=f"{scope}|{CALLER}|runaway|requests|{slow.unit}",
        dims=(CALLER,),
        measure="requests",
        form="bucket",
        amount=slow.amount,
        most=slow.most,
        period=SECONDS[slow.unit],
        unit=slow.unit,
        observe=observe,
        guard=True,
    )
    return [trend, bucket], name


def _expression(measure: Any, given: Any, field: str) -> Expression:
    try:
        found = read(measure, given)
    except RuleError as error:
        raise error.below((field,)) from None
    if not found.bucket:
        units = ", ".join(f"/{one}" for one in BUCKETS)
        raise RuleError(f"{shown(given)} is not a rate by {units}", (field,))
    return found


def _factor(given: Any) -> float:
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?x?", given):
        given = float(given.removesuffix("x"))
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not 1 < given <= MOST_FACTOR:
        raise RuleError(f"{shown(given)} is not a number above 1, e.g. 10", ("factor",))
    return float(given)


def _span(given: Mapping[str, Any], field: str, usual: float) -> float:
    """Seconds from `10m`, `1d` or a number of them."""
    value = given.get(field, usual)
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        value = float(found[1]) * SECONDS[found[2]]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 1 <= value <= LONGEST:
        raise RuleError(f"{shown(given[field])} is not a time from 1s to 30d", (field,))
    return float(value)


def _mode(given: Any) -> bool:
    if not isinstance(given, str) or given not in {"enforce", "observe"}:
        raise RuleError(f"{shown(given)} is none of enforce, observe", ("mode",))
    return bool(given == "observe")
