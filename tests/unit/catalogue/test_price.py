from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.catalogue import compile_price
from extproc.catalogue.price import nano
from extproc.policy import Price as PriceText


def test_fractions_of_a_cent_are_kept() -> None:
    assert nano("0.075") == 75_000_000
    assert nano("0.01875") == 18_750_000
    assert nano("600") == 600_000_000_000
    assert nano("1E-3") == 1_000_000


@pytest.mark.parametrize(
    "text", ["", "free", "-1", "NaN", "Infinity", "1e99", "0.0000000001", "1,5", "$3"]
)
def test_what_is_no_price_is_refused_with_the_text_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"price|finer") as error:
        nano(text)
    assert repr(text) in str(error.value)


def test_prices_not_given_follow_input_and_output() -> None:
    price = compile_price(PriceText(input="3", output="15"))
    assert {price.cached_input, price.cache_write, price.cache_write_1h, price.audio_input} == {
        price.input
    }
    assert {price.reasoning, price.audio_output} == {price.output}
    assert price.batch_input is None


def test_prices_given_are_taken() -> None:
    price = compile_price(
        PriceText(
            input="3",
            output="15",
            cached_input="0.3",
            cache_write="3.75",
            cache_write_1h="6",
            reasoning="0",
            audio_input="32",
            audio_output="64",
            batch_input="1.5",
            batch_output="7.5",
        )
    )
    assert price.cached_input == 300_000_000
    assert price.cache_write == 3_750_000_000
    assert price.cache_write_1h == 6_000_000_000
    assert price.reasoning == 0
    assert (price.audio_input, price.audio_output) == (32_000_000_000, 64_000_000_000)
    assert (price.batch_input, price.batch_output) == (1_500_000_000, 7_500_000_000)


def test_an_hours_write_follows_the_shorter_one() -> None:
    price = compile_price(PriceText(input="3", output="15", cache_write="3.75"))
    assert price.cache_write_1h == price.cache_write == 3_750_000_000


@given(st.decimals(min_value=0, max_value=1000, places=9))
def test_no_digit_is_lost(dollars: Decimal) -> None:
    assert Decimal(nano(str(dollars))) == dollars * 1_000_000_000
