"""Prices as integers: nano-dollars per million tokens, so that no float ever touches money."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

NANO: Final = 1_000_000_000
"""Nano-dollars in a dollar."""
PER: Final = 1_000_000
"""Tokens that a price is for."""
DEAREST: Final = Decimal(100_000)
"""Dollars per million tokens beyond which a price is a slip of the pen; the dearest model on
sale costs 600."""


class PriceText(Protocol):
    """Dollars per million tokens as decimal text; `extproc.policy.Price` is one."""

    @property
    def input(self) -> str: ...  # noqa: D102
    @property
    def output(self) -> str: ...  # noqa: D102
    @property
    def cached_input(self) -> str | None: ...  # noqa: D102
    @property
    def cache_write(self) -> str | None: ...  # noqa: D102
    @property
    def cache_write_1h(self) -> str | None: ...  # noqa: D102
    @property
    def reasoning(self) -> str | None: ...  # noqa: D102
    @property
    def audio_input(self) -> str | None: ...  # noqa: D102
    @property
    def audio_output(self) -> str | None: ...  # noqa: D102
    @property
    def batch_input(self) -> str | None: ...  # noqa: D102
    @property
    def batch_output(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per million tokens: $0.075 a million is 75_000_000."""

    input: int
    output: int
    cached_input: int
    """Input read from the provider's cache. Where none is published: as input."""
    cache_write: int
    """Input written to the provider's cache. Where none is published: as input."""
    reasoning: int
    """Output that is reasoning. Where none is published: as output."""
    cache_write_1h: int
    """Input written to the provider's cache to live an hour. Where none is published: as
    `cache_write`."""
    audio_input: int
    """Input that is sound. Where none is published: as input."""
    audio_output: int
    """Output that is sound. Where none is published: as output."""
    batch_input: int | None = None
    batch_output: int | None = None
    above: int = 0
    """Input tokens above which the whole request is billed at `long`."""
    long: Price | None = None


def nano(text: str) -> int:
    """Dollars as decimal text to nano-dollars. Raises ValueError: not a number, negative, finer
    than a nano-dollar, or beyond `DEAREST`."""
    try:
        dollars = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{text!r} is not a price in dollars, e.g. '2.50'") from None
    if not dollars.is_finite() or dollars < 0 or dollars > DEAREST:
        raise ValueError(f"{text!r} is not a price between 0 and {DEAREST} dollars per million")
    scaled = dollars * NANO
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{text!r} is finer than a nano-dollar per million tokens")
    return whole


def compile_price(text: PriceText) -> Price:
    """Prices as text to prices as integers. Raises ValueError."""
    into, out = nano(text.input), nano(text.output)
    written = _or(text.cache_write, into)
    return Price(
        input=into,
        output=out,
        cached_input=_or(text.cached_input, into),
        cache_write=written,
        reasoning=_or(text.reasoning, out),
        cache_write_1h=_or(text.cache_write_1h, written),
        audio_input=_or(text.audio_input, into),
        audio_output=_or(text.audio_output, out),
        batch_input=None if text.batch_input is None else nano(text.batch_input),
        batch_output=None if text.batch_output is None else nano(text.batch_output),
    )


def with_long(price: Price, above: int, long: Price) -> Price:
    """The price with another one for requests of more than `above` input tokens."""
    return replace(price, above=above, long=long)


def _or(text: str | None, other: int) -> int:
    return other if text is None else nano(text)
