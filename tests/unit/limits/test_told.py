from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.limits import told
from extproc.limits.rule import Rule
from extproc.state.counters import Standing
from tests.unit.limits.gating import NOON, asking, compiled


def rules(**limits: Any) -> tuple[Rule, ...]:
    return compiled({"user": limits}).of(asking().caller).rules


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0061, "7ms"),
        (0.12, "120ms"),
        (1.0, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (360.0, "6m0s"),
        (90.2, "1m31s"),
        (86_400.0, "24h0m0s"),
    ],
)
def test_spans_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert told.span(seconds) == text


def test_headers_tell_the_limit_with_the_smallest_share_left() -> None:
    found = rules(
        requests=["10/m", "1000/d"], tokens="500/h", input_tokens="1000/h", usd="5/mo", concurrent=3
    )
    used = {"requests 10/m": 5, "requests 1000/d": 900, "tokens 500/h": 100,
            "input_tokens 1000/h": 990.5, "usd 5/mo": 1, "concurrent 3": 3}  # fmt: skip
    standings = [
        Standing(next(n for text, n in used.items() if one.name.endswith(text)), 0.0, 30.0)
        for one in found
    ]
    assert told.rate_limits(found, standings) == [
        ("x-ratelimit-limit-requests", "1000"),
        ("x-ratelimit-remaining-requests", "100"),
        ("x-ratelimit-reset-requests", "30s"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "9"),
        ("x-ratelimit-reset-tokens", "30s"),
    ]


def test_a_limit_that_is_only_observed_is_not_told() -> None:
    found = rules(requests={"limit": "10/m", "mode": "observe"})
    assert told.rate_limits(found, [Standing(5, 0, 1)]) == []


def test_more_used_than_there_is_leaves_nothing() -> None:
    assert told.rate_limits(rules(requests="10/m"), [Standing(12, 0, 1)])[1][1] == "0"


def test_budgets_are_told_by_name_and_never_rounded_up() -> None:
    found = rules(usd=[{"limit": "5/mo", "name": "team-month"}, "1/d"], tokens="9/h")
    standings = [Standing(4_999_999_999 if one.unit == "mo" else 2e9, 0, 1) for one in found]
    spent = told.budgets(found, standings)
    assert told.budget_header(spent) == "team-month=0.99, gateway-user-usd-1-d=1.00"


def message(rule: Rule, amount: int, standing: Standing, wait: float) -> ClientError:
    return told.refused(rule, amount, standing, wait, NOON)


def test_a_refusal_says_which_limit_how_much_and_when() -> None:
    (rule,) = rules(input_tokens="100000/h", upgrade_url="https://acme.example/pro")
    error = message(rule, 1_204, Standing(99_812.4, 11.2, 3_593.2), 11.2)
    assert (error.status, error.type, error.code) == (
        429, "rate_limit_error", "rate_limit_exceeded",
    )  # fmt: skip
    assert error.message == (
        "The limit 'gateway: user input_tokens 100000/h' is reached: 99,813 of 100,000 input "
        "tokens are used, and this request asks for 1,204; it resets in 3,594 seconds, at "
        "2026-11-23T12:59:53Z. Try again in 12 seconds. More: https://acme.example/pro"
    )
    assert ("retry-after", "12") in error.headers()


def test_a_budget_that_is_spent_says_so_in_dollars() -> None:
    (rule,) = rules(usd={"limit": "5/mo", "status": 402, "name": "month"})
    error = message(rule, 25_000_000, Standing(4_990_000_000, 60, 60), 60)
    assert (error.status, error.type, error.code) == (402, "insufficient_quota", "budget_exceeded")
    assert "$4.99 of $5.00 are used, and this request asks for $0.025;" in error.message


def test_a_budget_is_429_where_nothing_else_is_said() -> None:
    (rule,) = rules(usd="5/d")
    error = message(rule, 1, Standing(5e9, 60, 60), 60)
    assert (error.status, error.code) == (429, "budget_exceeded")


def test_requests_at_once_have_no_time_at_which_they_reset() -> None:
    (rule,) = rules(concurrent=5)
    error = message(rule, 1, Standing(5, -1, 0), 1.0)
    assert "5 of 5 requests at once are being served. Try again in 1 second." in error.message
