"""What the cache's benchmarks read from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def whole(path: Path) -> str:
    """What is in a file. Raises SystemExit when it cannot be read or is empty."""
    try:
        found = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not found.strip():
        raise SystemExit(f"{path}: there is nothing in it")
    return found


def lines(path: Path) -> list[tuple[int, str]]:
    """Lines of a file that are not blank, by their numbers. Raises SystemExit as `whole`."""
    found = enumerate(whole(path).split("\n"), 1)
    return [(number, line) for number, line in found if line.strip()]


def share(text: str) -> float:
    """A share of one, above 0 and at most a half."""
    value = float(text)
    if not 0.0 < value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 0.5")
    return value
