"""Text that says who somebody is: bounded, printable, the same however often it is read."""

from __future__ import annotations

import json
import re
from typing import Final

MOST_CHARACTERS: Final = 256
"""Of a value. OpenAI allows 512 in its metadata, headers that reach proxies rarely carry more than
a name or an id."""
MOST_LABELS: Final = 16
"""As many as OpenAI's metadata holds."""
MOST_NAME: Final = 64
"""Characters of a label's name, as in OpenAI's metadata."""
LABEL: Final = re.compile(r"[a-z0-9.-][a-z0-9_.-]{0,63}")
"""A label's name."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_SHOWN: Final = 40


def clean(value: object) -> str:
    """The value as bounded text; empty if it is none. Numbers and truth values are written as
    JSON does. For what a client claims: two values may become one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)[:MOST_CHARACTERS]
    if not isinstance(value, str):
        return ""
    text = value[: 4 * MOST_CHARACTERS]
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    return text.strip()[:MOST_CHARACTERS]


def is_clean(text: str, most: int = MOST_CHARACTERS) -> bool:
    """Whether the text can stand as it is. For what is proven: cutting or cleaning it could turn
    one identity into another's."""
    if not 0 < len(text) <= most or text != text.strip():
        return False
    return text.isprintable() or _CONTROL.search(text) is None


def shown(value: object) -> str:
    """A value as it may stand in a message: quoted, escaped, cut off."""
    text = value if isinstance(value, str) else repr(value)
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
