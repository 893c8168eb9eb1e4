"""Reads usage off a stream on its way to the client: what the meters of all formats share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from extproc.accounting.cost import cost, usd
from extproc.accounting.usage import estimated
from extproc.catalogue import Price
from extproc.framing import Framing
from extproc.records import Cost, Usage

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Meter(Framing):
    """The meter of one stream. It judges nothing: what it cannot read passes unchanged.

    `hide_usage`: the client did not ask for the chunk that holds nothing but usage (a thing of
    `chat` and `completions`), so it is swallowed. Otherwise that chunk's usage gets a member
    `cost`, in US dollars. If the cost has not been told that way, a comment in front of the
    event that ends the stream tells it; `epilogue` writes something else there instead.
    `input_estimate` is the prompt's tokens, for streams that give no usage.
    """

    __slots__ = (
        "_ascii",
        "_epilogue",
        "_hide",
        "_price",
        "_wide",
        "content",
        "done",
        "events",
        "finish_reason",
        "input_estimate",
        "model",
        "told",
        "usage",
    )

    def __init__(
        self,
        *,
        hide_usage: bool = False,
        price: Price | None,
        input_estimate: int = 0,
        epilogue: Callable[[Meter], bytes] | None = None,
    ) -> None:
        super().__init__()
        self.usage: Usage | None = None
        """What the provider reported last."""
        self.model: str | None = None
        """What the provider says it used."""
        self.finish_reason: str | None = None
        """In the format's own words."""
        self.content = False
        """Text, a tool call, reasoning, a refusal or a finish reason went by."""
        self.events = 0
        """Events with text, a tool call, reasoning or a refusal in them."""
        self.done = False
        """The event went by that ends a stream of this format: it is whole."""
        self.told = False
        """The cost stands in the usage chunk that the client asked for."""
        self.input_estimate = input_estimate
        self._ascii = 0
        self._wide = 0
        self._hide = hide_usage
        self._price = price
        self._epilogue = epilogue

    @property
    def position(self) -> int:
        """The number of the event that would come next, in formats that number them."""
        return 0

    def billed(self) -> Usage:
        """The provider's figures, else an estimate of what was produced so far."""
        return self.usage or estimated(self.input_estimate, self._ascii, self._wide)

    def cost(self) -> Cost | None:
        """What `billed` costs; None when the price is unknown."""
        return cost(self.billed(), self._price)

    def comment(self) -> bytes:
        """An SSE comment that tells cost and tokens; clients skip comments."""
        usage, spent = self.billed(), self.cost()
        price = "" if spent is None else f" cost={usd(spent.total)}"
        guess = " estimated" if usage.estimated else ""
        text = f": tollgate{price} input={usage.input} output={usage.output}{guess}\n\n"
        return text.encode()

    def _produced(self, *texts: object) -> None:
        """An event with something of the answer in it; what of it is text is counted."""
        self.content = True
        self.events += 1
        for text in texts:
            if type(text) is str:
                self._measure(text)

    def _measure(self, text: str) -> None:
        if text.isascii():
            self._ascii += len(text)
        else:
            narrow = len(text.encode("ascii", "ignore"))
            self._ascii += narrow
            self._wide += len(text) - narrow

    def _finish(self, event: bytes) -> bytes:
        """The event that ends the stream, with the cost in front of it."""
        if self.done:
            return event
        self.done = True
        if self._epilogue is not None:
            told = self._epilogue(self)
        else:
            told = b"" if self.told else self.comment()
        # OpenAI's and Anthropic's clients take an empty line for an event once they know an id: a
        # comment must then be part of the event that follows.
        return (told.removesuffix(b"\n") if self._ids else told) + event
