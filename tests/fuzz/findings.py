"""Inputs that a target does not pass: where they fail, and how little of them it takes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

_OURS: Final = str(Path(__file__).parents[2])


@dataclass(frozen=True, slots=True)
class Finding:
    """What a target raised. `place` tells one cause from another: the exception's type, and the
    last line of this project that it came through."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def of(error: Exception) -> Finding:
    """The finding that an exception is."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.filename.startswith(_OURS) and ".venv" not in one.filename]
    last = own[-1]
    file = str(Path(last.filename).relative_to(_OURS))
    return Finding(f"{type(error).__name__} at {file}:{last.lineno}", f"{error} [{last.line}]")


def failure(check: Callable[[bytes], None], data: bytes) -> Finding | None:
    """What the target makes of an input; None if it passes."""
    try:
        check(data)
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        return of(error)
    return None


def shrunk(check: Callable[[bytes], None], data: bytes, seconds: float) -> bytes:
    """A shorter input that fails in the same way at the same place."""
    until = monotonic() + seconds
    wanted = failure(check, data)

    def alike(one: bytes) -> bool:
        met = failure(check, one)
        return met is not None and wanted is not None and met.place == wanted.place

    size = max(len(data) // 2, 1)
    while monotonic() < until:
        at, shorter = 0, False
        while at < len(data) and monotonic() < until:
            candidate = data[:at] + data[at + size :]
            if alike(candidate):
                data, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return data
