"""Opens the store of sessions' placeholders."""

from __future__ import annotations

from pathlib import Path

from extproc.state import Mappings


def open_mappings(redis: str | None, folder: Path) -> Mappings:
    """In Redis if its URL is given, else in a file of `folder`. Not asked yet; it needs no task of
    its user's. Raises ValueError for a URL that cannot be."""
    if redis is not None:
        from extproc.state.shared_mappings import SharedMappings  # noqa: PLC0415 - 40 ms that one worker need not spend

        return SharedMappings(redis)
    from extproc.state.sqlite.mappings import SqliteMappings  # noqa: PLC0415 - not with Redis

    return SqliteMappings(folder)
