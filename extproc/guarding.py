"""The guard of one worker: what it looks through texts with, and where it keeps placeholders."""

from __future__ import annotations

import os
from pathlib import Path

from extproc.guard import Work
from extproc.guard.room import Guard, Told
from extproc.guard.scanning import scanner
from extproc.guard.sessions import Sessions
from extproc.state.mappings import open_mappings
from extproc.stores import Stores


def open_guard(
    stores: Stores, work: Work, told: Told, *, name: str, url: str | None, timeout: float
) -> Guard:
    """The guard with the scanner called `name` (`--guard`). Raises ValueError for one that cannot
    be."""
    keeping, secret = stores.keeping, stores.secret
    return Guard(
        scanner(name, url, os.environ, timeout=timeout),
        Sessions(
            open_mappings(keeping.redis, Path(keeping.data)),
            secret.derive("placeholders of sessions"),
            work,
        ),
        secret.derive("hashes of personal data"),
        work,
        told,
    )
