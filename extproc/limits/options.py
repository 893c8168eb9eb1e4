"""What may be said beside a limit: burst, time zone, what becomes of a request, and the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from extproc.limits.expression import shown
from extproc.limits.rule import NAME, NAME_FORM, OnExhausted
from extproc.limits.windows import is_zone
from extproc.rule_error import Path, RuleError

OPTIONS: Final = (
    *("burst", "rolling", "timezone", "strict", "mode", "on_exhausted", "status"),
    *("upgrade_url", "name"),
)
"""What may stand beside a measure, for every limit of its group, or in a limit of its own."""
_URL: Final = re.compile(r"https?://[!-~]{1,2000}")
_STATUS: Final = (402, 429)
_FOR: Final = {
    "burst": "it is for /s, /m and /h",
    "timezone": "it is for /d, /w and /mo",
    "strict": "requests are counted exactly, and it is for tokens and usd",
    "status": "402 is for usd over /d, /w and /mo",
    "on_exhausted": "a request that is too large is refused",
}
"""Why an option may have no use."""
_MEANT: Final = "there is none"


@dataclass(slots=True)
class Option:
    """An option for several limits."""

    value: Any
    path: Path
    used: bool = False


def option_of(name: str, value: Any, chains: Collection[str] | None) -> Any:
    """An option's value as it is used: of `on_exhausted` the action and its chain. `chains`: those
    there are; None: any may be. Raises RuleError."""
    if name == "on_exhausted":
        return _exhausted(value, chains)
    # What a burst says is read with the limit that it belongs to.
    return _READERS[name](value) if name in _READERS else value


def why_unused(name: str) -> str:
    """What to say of an option that no limit of its group has a use for."""
    return f"has no effect on any limit here; {_FOR.get(name, _MEANT)}"


def _exhausted(value: Any, chains: Collection[str] | None) -> tuple[OnExhausted, str | None]:
    if value == "downgrade":
        raise RuleError("says not where to; write {downgrade: CHAIN}")
    if not isinstance(value, Mapping):
        word: OnExhausted = _word(value, ("reject", "queue"), "{downgrade: CHAIN}")
        return word, None
    if list(value) != ["downgrade"]:
        raise RuleError("is reject, queue or {downgrade: CHAIN}")
    chain = value["downgrade"]
    if not isinstance(chain, str) or not chain:
        raise RuleError(f"{shown(chain)} is not a chain", ("downgrade",))
    if chains is not None and chain not in chains:
        raise RuleError(unknown(chain, "chain", chains), ("downgrade",))
    return "downgrade", chain


def zone_of(value: Any) -> str:
    """A time zone's name. Raises RuleError."""
    if not isinstance(value, str) or not is_zone(value):
        raise RuleError(f"{shown(value)} is not a time zone; write it as Europe/Berlin or UTC")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RuleError(f"{shown(value)} is not true or false")
    return value


def _mode(value: Any) -> str:
    return str(_word(value, ("enforce", "observe")))


def _url(value: Any) -> str:
    if not isinstance(value, str) or _URL.fullmatch(value) is None:
        raise RuleError(f"{shown(value)} is not an http(s) URL")
    return value


def name_of(value: Any) -> str:
    """A limit's own name. Raises RuleError."""
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise RuleError(f"{shown(value)} is not a name; {NAME_FORM}")
    return value


def _word(value: Any, words: tuple[str, ...], *more: str) -> Any:
    if value not in words:
        raise RuleError(f"{shown(value)} is none of {', '.join((*words, *more))}")
    return value


def _status(value: Any) -> int:
    # Envoy hands numbers of its metadata over as they are, but people quote them.
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{3}", value) else value
    if isinstance(number, bool) or number not in _STATUS:
        raise RuleError(f"{shown(value)} is neither 402 nor 429")
    return int(number)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "rolling": _boolean,
    "strict": _boolean,
    "timezone": zone_of,
    "mode": _mode,
    "status": _status,
    "upgrade_url": _url,
    "name": name_of,
}


def unknown(word: str, kind: str, known: Collection[str], also: Collection[str] = ()) -> str:
    """What to say of a word that is none of `known`. `also` may be meant as well, and is not
    listed."""
    near = get_close_matches(str(word), [*known, *also], 1, 0.7)
    there = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(known) or 'none'}"
    return f"no {kind} {shown(word)}; {there}"
