"""What a request used and what it cost, in every format that clients speak.

The door: `read_answer` for a whole answer, `estimate_answer` for one without figures, `meter_of`
for a streamed one, `cost` for all of them, `usd` where people read it; `guard_counts` for what the
guard found, `guard_facts` and `guard_observed` for how it is told; `cache_facts` and
`cache_observed` likewise of the cache, `shadow` and `embedder_price` for what its embedder was
paid. Formats go by their names: `chat`, `completions`, `embeddings`, `responses`, `messages`,
`count_tokens`.
"""

from extproc.accounting.answer import estimate_answer, read_answer
from extproc.accounting.cached import cache_facts, cache_observed, embedder_price, shadow
from extproc.accounting.cost import cost, usd
from extproc.accounting.formats import METERS, meter_of
from extproc.accounting.guarded import guard_counts, guard_facts, guard_observed
from extproc.accounting.meter import Meter
from extproc.accounting.usage import estimated, usage_of
from extproc.records import Cost, RequestRecord, Usage

__all__ = [
    "METERS",
    "Cost",
    "Meter",
    "RequestRecord",
    "Usage",
    "cache_facts",
    "cache_observed",
    "cost",
    "embedder_price",
    "estimate_answer",
    "estimated",
    "guard_counts",
    "guard_facts",
    "guard_observed",
    "meter_of",
    "read_answer",
    "shadow",
    "usage_of",
    "usd",
]
