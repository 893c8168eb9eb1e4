from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.catalogue import compile_price
from extproc.errors import ClientError
from extproc.limits import Candidate
from extproc.limits.amounts import FIRST_OUTPUT, MOST_UNITS, STRICT_OUTPUT, Learned, reserve
from extproc.limits.rule import Rule
from extproc.policy import Price
from tests.unit.limits.gating import asking, candidate, compiled
from tests.unit.limits.gating import target as target_of


def rules(**limits: Any) -> list[Rule]:
    found = compiled({"user": limits})
    return list(found.of(asking().caller).rules)


def test_the_output_is_what_the_request_allows_for_each_answer() -> None:
    found = reserve(asking(output=50, answers=3), None, (), money=True)
    assert found.tokens == (100, 150)
    assert found.estimated["tokens"] == 250
    assert found.estimated["usd"] == 100 * 2_000 + 150 * 10_000


def test_what_a_request_does_not_say_is_learned() -> None:
    assert reserve(asking(output=None), None, (), money=False).tokens[1] == FIRST_OUTPUT
    assert reserve(asking(output=None), 70, (), money=False).tokens[1] == 70


def test_no_answer_is_longer_than_any_model_of_the_chain_makes() -> None:
    levels = (candidate("a", cap=300), candidate("b", cap=200))
    assert reserve(asking(levels=levels, output=9_000), None, (), money=False).tokens[1] == 300
    assert reserve(asking(levels=levels, output=None), None, (), money=False).tokens[1] == 300


def test_embeddings_have_no_output() -> None:
    found = reserve(asking(output=None, generates=False), 80, (), money=False)
    assert found.tokens == (100, 0)


@given(st.integers(-(2**70), 2**70), st.integers(-5, 2**40), st.integers(0, 2**70))
def test_nothing_that_a_request_says_overflows(output: int, answers: int, read: int) -> None:
    asked = asking(output=output, answers=answers, input=read)
    found = reserve(asked, None, (), money=True)
    assert all(0 <= one <= MOST_UNITS for one in found.estimated.values())


def test_money_is_reserved_at_the_dearest_level() -> None:
    levels = (candidate("a", ("1", "1")), candidate("b", ("5", "2")), candidate("c", None))
    found = reserve(asking(levels=levels), None, (), money=True)
    assert found.estimated["usd"] == 100 * 5_000 + 50 * 2_000


def test_who_pays_the_provider_himself_uses_no_money_here() -> None:
    assert reserve(asking(own_key=True), None, (), money=True).estimated["usd"] == 0


def long_context() -> Candidate:
    long = compile_price(Price(input="4", output="20"))
    price = replace(compile_price(Price(input="2", output="10")), above=1_000, long=long)
    return Candidate(target_of("a"), price)


@pytest.mark.parametrize(("read", "each"), [(400, 2_000), (501, 4_000), (5_000, 4_000)])
def test_an_estimate_near_the_long_context_price_takes_the_dearer(read: int, each: int) -> None:
    found = reserve(asking(levels=[long_context()], input=read, output=0), None, (), money=True)
    assert found.estimated["usd"] == read * each


# --- strict -------------------------------------------------------------------------------


def test_strict_reserves_what_the_input_cannot_pass_and_caps_the_output() -> None:
    (rule,) = rules(tokens={"limit": "100000/h", "strict": True})
    found = reserve(asking(bound=400, output=50, answers=2), None, [rule], money=False)
    assert found.of(rule, binding=True) == 400 + 100
    assert found.cap == 50
    assert found.tokens == (100, 100)


def test_strict_sends_a_cap_up_where_the_request_says_none() -> None:
    (rule,) = rules(tokens={"limit": "100000/h", "strict": True})
    found = reserve(asking(bound=400, output=None), 20, [rule], money=False)
    assert found.cap == STRICT_OUTPUT
    assert found.of(rule, binding=True) == 400 + STRICT_OUTPUT


def test_a_cap_of_ours_fits_into_the_smallest_strict_limit() -> None:
    found = rules(
        tokens={"limit": "3000/h", "strict": True}, usd={"limit": "0.01/d", "strict": True}
    )
    reserved = reserve(asking(bound=400, output=None, answers=2), None, found, money=True)
    assert reserved.cap == (10_000_000 - 400 * 2_000) // 10_000 // 2
    for rule in found:
        assert reserved.of(rule, binding=True) <= rule.most


def test_strict_money_counts_every_token_at_its_dearest_kind() -> None:
    (rule,) = rules(usd={"limit": "5/d", "strict": True})
    price = compile_price(Price(input="2", output="10", cache_write="3", reasoning="12"))
    asked = asking(levels=[Candidate(target_of("a"), price)], bound=200)
    found = reserve(asked, None, [rule], money=True)
    assert found.of(rule, binding=True) == 200 * 3_000 + 50 * 12_000
    assert found.estimated["usd"] == 100 * 2_000 + 50 * 10_000


def test_strict_refuses_what_nobody_can_bound() -> None:
    (rule,) = rules(tokens={"limit": "100000/h", "strict": True})
    with pytest.raises(ClientError) as caught:
        reserve(asking(bound=None), None, [rule], money=False)
    assert (caught.value.status, caught.value.code) == (400, "input_not_bounded")
    assert "remote image" in caught.value.message


def test_strict_output_needs_no_bound_of_the_input() -> None:
    (rule,) = rules(output_tokens={"limit": "100000/h", "strict": True})
    assert reserve(asking(bound=None), None, [rule], money=False).of(rule, binding=True) == 50


def test_strict_money_refuses_a_target_without_a_price() -> None:
    (rule,) = rules(usd={"limit": "5/d", "strict": True})
    asked = asking(levels=(candidate("a"), candidate("free", None)), bound=9)
    with pytest.raises(ClientError) as caught:
        reserve(asked, None, [rule], money=True)
    assert caught.value.code == "price_not_known"
    assert "'free'" in caught.value.message


# --- against what a limit holds -------------------------------------------------------------


def test_a_guess_is_no_reason_to_refuse() -> None:
    (rule,) = rules(tokens="500/h")
    found = reserve(asking(output=None), None, [rule], money=False)
    assert found.of(rule, binding=True) == 500


def test_an_input_that_is_too_large_stays_so() -> None:
    (rule,) = rules(tokens="90/h")
    assert reserve(asking(output=None), None, [rule], money=False).of(rule, binding=True) == 100


def test_what_the_request_allows_is_no_guess() -> None:
    (rule,) = rules(tokens="500/h")
    assert reserve(asking(output=900), None, [rule], money=False).of(rule, binding=True) == 1_000


def test_a_ceiling_of_a_request_goes_up_as_its_cap() -> None:
    found = rules(tokens="1000/request", output_tokens="600/request")
    assert reserve(asking(output=None), 20, found, money=False).cap == 600
    assert reserve(asking(output=None, answers=2), 20, found, money=False).cap == 300
    assert reserve(asking(output=None, input=700), 20, found, money=False).cap == 300
    assert reserve(asking(output=80), 20, found, money=False).cap is None


def test_a_ceiling_that_the_input_fills_refuses() -> None:
    with pytest.raises(ClientError) as caught:
        reserve(asking(output=None, input=1_000), 20, rules(tokens="1000/request"), money=False)
    assert (caught.value.code, caught.value.param) == ("request_exceeds_limit", "messages")


# --- what is learned ------------------------------------------------------------------------


def test_answers_are_taken_to_be_as_long_as_the_latest_and_their_spread() -> None:
    learned = Learned()
    assert learned.output("main", "best") is None
    for written in (100, 100, 100):
        learned.saw("main", "best", written, 2.0)
    assert learned.output("main", "best") == 100
    assert learned.seconds("main", "best") == 2.0
    for written in (50, 150) * 20:
        learned.saw("main", "best", written, 2.0)
    found = learned.output("main", "best")
    assert found is not None
    assert 140 <= found <= 160
    for _ in range(100):
        learned.saw("main", "best", 1_000, 2.0)
    found = learned.output("main", "best")
    assert found is not None
    assert 990 <= found <= 1_100


def test_what_is_learned_is_bounded() -> None:
    learned = Learned(kept=3)
    for number in range(10):
        learned.saw("main", f"model-{number}", 10, 1.0)
    assert learned.output("main", "model-6") is None
    assert learned.output("main", "model-9") == 10
