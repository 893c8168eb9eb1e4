"""Which dimensions requests are summed up by, and the text that a row's values go by.

A row's key is a JSON array of its view's values in order: text, or null where a request had none.
Values are data: whatever stands in them is escaped as JSON escapes it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from extproc.state import MEASURES

MAIN: Final = ("tenant", "team", "feature", "route", "model", "target", "cache")
USER: Final = ("tenant", "team", "tier", "key", "user")
FULL: Final = (
    *("tenant", "team", "tier", "key", "feature", "user"),
    *("route", "model", "target", "provider", "cache", "labels"),
)
VIEWS: Final = {"main": MAIN, "user": USER, "full": FULL}
"""Those that every request is in, smallest first. `labels` is an array of [name, value] pairs,
sorted."""
DIMENSIONS: Final = FULL[:-1]
"""By name; labels go by `label:NAME`."""
GUARD_DIMENSIONS: Final = ("guard_type", "guard_action", "guard_direction", "guard_mode")
"""Of what the guard found; the mode is `enforce` or `observe`."""
WITH_GUARD: Final = ("tenant", "team", "feature", "key", "user", "route")
"""Dimensions that findings are told by as well."""
GUARD: Final = "guard"
"""The view of findings: a row for each sort that a request had, none for requests without."""
ALL_VIEWS: Final = {**VIEWS, GUARD: (*GUARD_DIMENSIONS, *WITH_GUARD)}
FINDINGS: Final = MEASURES.index("input_tokens")
"""Where a row of the view of findings has their number. Measures are columns, and those of ledgers
that exist are given; this view's rows use two of them, `requests` being the other."""
LABEL: Final = "label:"
OTHER: Final = "(other)"
"""Stands for values that are too many to be kept apart. A client that sends this very text is
summed up with them."""
EVERY_LABEL: Final = "*"
"""As a label's name: none of the labels is kept apart."""

Labels = tuple[tuple[str, str], ...]
Value = str | Labels | None

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(list[Any])


def key_of(values: tuple[Value, ...]) -> str:
    """A row's key."""
    return _encode(values).decode()


def values_of(key: str) -> list[Any]:
    """The values of a key, in its view's order. Raises msgspec.DecodeError if it is none."""
    return _decoder.decode(key)


def of_findings(dimensions: Collection[str]) -> bool:
    """Whether a question by these is about what the guard found."""
    return not set(GUARD_DIMENSIONS).isdisjoint(dimensions)


def view_for(dimensions: Collection[str]) -> str:
    """The smallest view that has all of these dimensions."""
    if of_findings(dimensions):
        return GUARD
    names = {"labels" if name.startswith(LABEL) else name for name in dimensions}
    return next(view for view, has in VIEWS.items() if names.issubset(has))
