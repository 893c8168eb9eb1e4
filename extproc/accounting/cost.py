"""Money: integers only, rounded once."""

from __future__ import annotations

from extproc.catalogue import NANO, PER, Price
from extproc.records import Cost, Usage

_HALF = PER // 2


def cost(usage: Usage | None, price: Price | None) -> Cost | None:
    """What the tokens cost in nano-dollars; None when usage or price is unknown.

    Each token is billed once. What was read from or written to a cache is billed as that; audio
    that is neither, as audio. Providers do not say how much of the cached input is audio: it is
    taken to be text as far as there is text, because caches hold the beginning of a prompt. In
    the same way reasoning is text, and audio is of the output beside it.

    One rounding: `total` is the exact sum of tokens times price, rounded half up to a nano-dollar.
    The parts are the differences of the running sum, rounded the same way, in the order of
    `Cost`'s fields: so they add up to the total, and each is within a nano-dollar of its own
    exact value. A price with no more than three decimals needs no rounding at all.
    """
    if usage is None or price is None:
        return None
    if price.long is not None and usage.input > price.above:
        price = price.long
    fresh = usage.input - usage.cached_input - usage.cache_write
    visible = usage.output - usage.reasoning
    heard = min(usage.audio_input, fresh)
    spoken = min(usage.audio_output, visible)
    exact = (fresh - heard) * price.input + _HALF
    a = exact // PER
    exact += usage.cached_input * price.cached_input
    b = exact // PER
    exact += (usage.cache_write - usage.cache_write_1h) * price.cache_write
    exact += usage.cache_write_1h * price.cache_write_1h
    c = exact // PER
    exact += (visible - spoken) * price.output
    d = exact // PER
    exact += usage.reasoning * price.reasoning
    e = exact // PER
    exact += heard * price.audio_input
    f = exact // PER
    total = (exact + spoken * price.audio_output) // PER
    return Cost(total, a, b - a, c - b, d - c, e - d, f - e, total - f)


def usd(nano: int) -> str:
    """Nano-dollars as dollars in plain decimal text, exact: 123 is `0.000000123`, 0 is `0`.

    It is also a JSON number.
    """
    sign, whole = ("-", -nano) if nano < 0 else ("", nano)
    dollars, rest = divmod(whole, NANO)
    if not rest:
        return f"{sign}{dollars}"
    return f"{sign}{dollars}.{rest:09d}".rstrip("0")
