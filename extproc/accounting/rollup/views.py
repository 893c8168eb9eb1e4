"""Which dimensions requests are summed up by, and the text that a row's values go by.

A row's key is a JSON array of its view's values in order: text, or null where a request had none.
Values are data: whatever stands in them is escaped as JSON escapes it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

MAIN: Final = ("tenant", "team", "feature", "route", "model", "target", "cache")
USER: Final = ("tenant", "team", "tier", "key", "user")
FULL: Final = (
    *("tenant", "team", "tier", "key", "feature", "user"),
    *("route", "model", "target", "provider", "cache", "labels"),
)
VIEWS: Final = {"main": MAIN, "user": USER, "full": FULL}
"""Smallest first. `labels` is an array of [name, value] pairs, sorted."""
DIMENSIONS: Final = FULL[:-1]
"""By name; labels go by `label:NAME`."""
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


def view_for(dimensions: Collection[str]) -> str:
    """The smallest view that has all of these dimensions."""
    names = {"labels" if name.startswith(LABEL) else name for name in dimensions}
    return next(view for view, has in VIEWS.items() if names.issubset(has))
