"""What a request used and what it cost.

The door: `read_answer` for a whole answer, `StreamMeter` for a streamed one, `cost` for both,
`usd` where people read it.
"""

from extproc.accounting.cost import cost, usd
from extproc.accounting.meter import StreamMeter
from extproc.accounting.usage import estimated, read_answer, read_chunk, usage_of
from extproc.records import Cost, RequestRecord, Usage

__all__ = [
    "Cost",
    "RequestRecord",
    "StreamMeter",
    "Usage",
    "cost",
    "estimated",
    "read_answer",
    "read_chunk",
    "usage_of",
    "usd",
]
