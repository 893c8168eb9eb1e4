"""How often the ledger does what, in seconds; and how much at once."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_LIMIT = 256 * 1024 * 1024
"""Bytes of spool, of all workers together."""
LEAST_LIMIT = 64 * 1024
"""Bytes of one worker's spool: some requests in flight and a segment that can be given up."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Tests go faster."""

    tick: float = 1.0
    """Between two looks for something to ship: a finished request is in the store after that. Each
    batch has a price of its own, a commit and more, which many records share."""
    tell: float = 0.2
    """Between two calls of `publish`, for those who watch from another process."""
    sync: float = 1.0
    """Between two `fdatasync`: what the machine, not the process, loses when the power fails."""
    keep: float = 120.0
    """What has been shipped stays on disk for so long, to be shipped again if the store lost it."""
    keep_least: float = 5.0
    """The same when room is short. Redis' `appendfsync everysec` may lose two seconds."""
    first_pause: float = 0.1
    """After the first failure; doubled with each, up to `longest_pause`, less up to a half."""
    longest_pause: float = 5.0
    stop: float = 5.0
    """For shipping what is left when the service stops."""
    lock: float = 3.0
    """For the process before this one to let go of the folder."""
    orphans: float = 60.0
    """Between two looks for folders that nobody holds."""
    batch: int = 500
    """Records that are shipped at once."""


PACE = Pace()
