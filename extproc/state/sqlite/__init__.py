"""Stores in files, for a gateway of one process."""

from extproc.state.sqlite.counters import SqliteCounters
from extproc.state.sqlite.keys import SqliteKeys
from extproc.state.sqlite.ledger import SqliteLedger
from extproc.state.sqlite.mappings import SqliteMappings

__all__ = ["SqliteCounters", "SqliteKeys", "SqliteLedger", "SqliteMappings"]
