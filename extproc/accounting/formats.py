"""Which meter reads the streams of which client format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.accounting.chat import ChatMeter
from extproc.accounting.messages import MessagesMeter
from extproc.accounting.meter import Meter
from extproc.accounting.responses import ResponsesMeter
from extproc.catalogue import Price

METERS: Final[dict[str, type[Meter]]] = {
    "chat": ChatMeter,
    "completions": ChatMeter,
    "responses": ResponsesMeter,
    "messages": MessagesMeter,
}
"""By client format. `embeddings` and `count_tokens` have no streams."""


def meter_of(
    format_: str,
    *,
    hide_usage: bool = False,
    price: Price | None,
    input_estimate: int = 0,
    epilogue: Callable[[Meter], bytes] | None = None,
) -> Meter:
    """A meter for one stream in a client format; see `Meter`. Raises KeyError for a format that
    has no streams."""
    return METERS[format_](
        hide_usage=hide_usage, price=price, input_estimate=input_estimate, epilogue=epilogue
    )
