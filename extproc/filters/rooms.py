"""What the gateway filter uses of the other rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.cache.room import Cache
from extproc.dialects import ClientFormat, Dialect
from extproc.filters.large import Large
from extproc.filters.last import Last
from extproc.filters.settlement import Ledger
from extproc.guard.room import Guard
from extproc.identity import Identify
from extproc.limits import Limits
from extproc.routing import Routes
from extproc.state import Notes
from extproc.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the filter uses."""

    dialects: Mapping[str, Dialect]
    formats: Mapping[str, ClientFormat]
    routes: Routes
    notes: Notes
    telemetry: Telemetry
    identify: Identify
    ledger: Ledger
    limits: Limits
    large: Large
    guard: Guard
    cache: Cache
    last: Last
    secret: bytes = b""
    """What fingerprints of requests, and users in the access log, are keyed with."""
