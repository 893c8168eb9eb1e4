"""Mistakes of the code, as they may be logged."""

from __future__ import annotations

import traceback
from pathlib import Path


def mistake(error: Exception) -> dict[str, object]:
    """What may be logged, as `extra`, of a mistake whose text and frames may hold what was asked or
    answered: what it is, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = [f"{Path(one.filename).name}:{one.lineno}" for one in last]
    return {"error": type(error).__name__, "where": where}
