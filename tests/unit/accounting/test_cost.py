import json
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from extproc.accounting import Usage, cost, usd
from extproc.catalogue import Price

PRICE = Price(
    input=2_500_000_000,
    output=10_000_000_000,
    cached_input=1_250_000_000,
    cache_write=3_125_000_000,
    reasoning=10_000_000_000,
    cache_write_1h=5_000_000_000,
    audio_input=40_000_000_000,
    audio_output=80_000_000_000,
)
tokens = st.integers(0, 10**9)
rates = st.integers(0, 600 * 10**9)
prices = st.builds(
    Price,
    input=rates,
    output=rates,
    cached_input=rates,
    cache_write=rates,
    reasoning=rates,
    cache_write_1h=rates,
    audio_input=rates,
    audio_output=rates,
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    a, b, c, d, e = (draw(tokens) for _ in range(5))
    return Usage(
        a + b + c,
        d + e,
        b,
        c,
        e,
        cache_write_1h=draw(st.integers(0, c)),
        audio_input=draw(st.integers(0, a + b + c)),
        audio_output=draw(st.integers(0, d + e)),
    )


def exact(usage: Usage, price: Price) -> Fraction:
    fresh = usage.input - usage.cached_input - usage.cache_write
    visible = usage.output - usage.reasoning
    heard, spoken = min(usage.audio_input, fresh), min(usage.audio_output, visible)
    return Fraction(
        (fresh - heard) * price.input
        + heard * price.audio_input
        + usage.cached_input * price.cached_input
        + (usage.cache_write - usage.cache_write_1h) * price.cache_write
        + usage.cache_write_1h * price.cache_write_1h
        + (visible - spoken) * price.output
        + spoken * price.audio_output
        + usage.reasoning * price.reasoning,
        10**6,
    )


def test_a_request_costs_what_a_person_would_reckon() -> None:
    spent = cost(Usage(1000, 200, cached_input=400, cache_write=100, reasoning=50), PRICE)
    assert spent is not None
    assert spent.input == 1_250_000  # 500 tokens at $2.50
    assert spent.cached_input == 500_000
    assert spent.cache_write == 312_500
    assert spent.output == 1_500_000
    assert spent.reasoning == 500_000
    assert usd(spent.total) == "0.0040625"


def test_a_write_to_live_an_hour_costs_its_own_price() -> None:
    spent = cost(Usage(1000, 0, cache_write=300, cache_write_1h=100), PRICE)
    assert spent is not None
    assert spent.cache_write == 200 * 3125 + 100 * 5000
    assert spent.total == 700 * 2500 + spent.cache_write


def test_sound_costs_its_own_price() -> None:
    spent = cost(Usage(1000, 200, audio_input=600, audio_output=150, reasoning=20), PRICE)
    assert spent is not None
    assert (spent.input, spent.audio_input) == (400 * 2500, 600 * 40_000)
    assert (spent.output, spent.audio_output) == (30 * 10_000, 150 * 80_000)
    assert spent.reasoning == 20 * 10_000


def test_sound_that_was_cached_is_billed_once() -> None:
    spent = cost(Usage(1000, 100, cached_input=700, audio_input=600, audio_output=100), PRICE)
    assert spent is not None
    assert (spent.input, spent.cached_input, spent.audio_input) == (0, 700 * 1250, 300 * 40_000)
    whole = cost(Usage(1000, 100, 700, 300, 100, audio_input=1000, audio_output=100), PRICE)
    assert whole is not None
    assert (whole.audio_input, whole.audio_output) == (0, 0)
    assert whole.total == 700 * 1250 + 300 * 3125 + 100 * 10_000


def test_unknown_is_not_zero() -> None:
    assert cost(None, PRICE) is None
    assert cost(Usage(1, 1), None) is None
    nothing = cost(Usage(0, 0), PRICE)
    assert nothing is not None
    assert nothing.total == 0


def test_half_a_nano_dollar_is_rounded_up_once() -> None:
    price = Price(
        500_000, 500_000, 500_000, 500_000, 500_000, 500_000, 500_000, 500_000
    )  # half a nano-dollar a token
    spent = cost(Usage(1, 2), price)
    assert spent is not None
    assert (spent.total, spent.input, spent.output) == (2, 1, 1)


def test_a_long_prompt_costs_its_own_price_for_all_its_tokens() -> None:
    long = replace(PRICE, input=5 * 10**9, output=2 * 10**9)
    price = replace(PRICE, input=10**9, output=10**9, above=200_000, long=long)
    below, above = cost(Usage(200_000, 1000), price), cost(Usage(200_001, 1000), price)
    assert below is not None
    assert above is not None
    assert below.total == 201_000_000
    assert above.total == 200_001 * 5000 + 1000 * 2000


@given(usages(), prices)
def test_the_total_is_rounded_once_and_the_parts_add_up(usage: Usage, price: Price) -> None:
    spent = cost(usage, price)
    assert spent is not None
    parts = astuple(spent)[1:]
    assert sum(parts) == spent.total
    assert all(part >= 0 for part in parts)
    want = exact(usage, price)
    assert abs(spent.total - want) <= Fraction(1, 2)
    rounded = Decimal(want.numerator) / Decimal(want.denominator)
    assert spent.total == int(rounded.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.integers(-(10**18), 10**18))
def test_dollars_are_exact_plain_decimals_and_json(nano: int) -> None:
    text = usd(nano)
    assert "e" not in text.lower()
    assert Decimal(text) * 10**9 == nano
    assert Decimal(json.loads(text, parse_float=Decimal, parse_int=Decimal)) == Decimal(text)


def test_dollars_read_well() -> None:
    assert [usd(one) for one in (0, 123_450, 10**9, 1_500_000_000, -5)] == [
        "0",
        "0.00012345",
        "1",
        "1.5",
        "-0.000000005",
    ]
