"""The ledger's write path: one record a request, exactly once, whatever dies meanwhile.

A request is reserved in the spool on this worker's disk when it is admitted and settled there when
it is over; followers ship what is settled into the store, which takes each id once, and to sinks.
A process that dies leaves its reservations behind, and the next one settles them as lost.
"""

from extproc.accounting.ledger.ledger import Ledger
from extproc.accounting.ledger.pace import DEFAULT_LIMIT, LEAST_LIMIT, Pace
from extproc.accounting.ledger.segments import LedgerError
from extproc.accounting.ledger.sinks import FileSink, Sink, SinkError, WebhookSink, webhook
from extproc.accounting.ledger.tail import Reader, Tail

__all__ = [
    "DEFAULT_LIMIT",
    "LEAST_LIMIT",
    "FileSink",
    "Ledger",
    "LedgerError",
    "Pace",
    "Reader",
    "Sink",
    "SinkError",
    "Tail",
    "WebhookSink",
    "webhook",
]
