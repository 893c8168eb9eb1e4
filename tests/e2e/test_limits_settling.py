"""What was reserved is settled to what was used: after answers, streams, aborts and errors, and
when the provider's true usage is 0.3 to 3 times what was estimated. Overshoot is counted from the
simulator's own record."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import record, records
from tests.e2e.limits_gateways import DOLLAR, Caller, Limited, code
from tests.e2e.wire import stream

pytestmark = pytest.mark.e2e

AT_ONCE = 8
PROMPT = 200
"""Bytes."""
ANSWER = 100
"""Tokens that are allowed for one."""


def used(output: int, **script: Any) -> Json:
    """A script with so many output tokens."""
    return {"usage": {"input": 10, "output": output}, **script}


# --- how requests end ---------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_to_the_tokens_that_the_provider_tells(streamed: bool, limited: Limited) -> None:
    """More than was reserved, less, and nothing said of how much is wanted."""
    caller = limited.caller()
    total = 0
    for output, most in ((400, 20), (33, 1000), (700, None)):
        answer = caller.ask("settle", script=used(output), max_tokens=most, stream=streamed)
        assert answer.status_code == 200
        total += output
        assert caller.spent() == total


def test_reserved_while_it_is_in_flight(limited: Limited) -> None:
    caller = limited.caller()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(
            caller.ask, "settle", script=used(3, latency=0.5), max_tokens=5000, settle=False
        )
        poll(lambda: limited.gateway.received(status=None), what="a request in flight")
        answer = caller.ask("settle", usage=(0, 0), max_tokens=1, settle=False)
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 100_000 - 5000 - 1
        assert slow.result().status_code == 200
    limited.settled()
    assert caller.spent() == 3


@pytest.mark.parametrize(
    "script",
    [
        {"status": 500},
        {"error": "rate_limit", "retry_after": 1},
        {"error": "invalid_request"},
        {"error": "authentication"},
        {"reset": "before"},
        {"first_event_error": True},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_costs_no_tokens(script: Json, streamed: bool, limited: Limited) -> None:
    """It counts as a request, though."""
    caller = limited.caller(limits={"requests": "100/h"})
    answer = caller.ask("settle", script=script, max_tokens=900, stream=streamed)
    assert answer.status_code >= 400
    assert caller.spent() == 0
    left = caller.ask("settle", usage=(0, 0)).headers["x-ratelimit-remaining-requests"]
    assert left == "97"


def test_a_level_that_failed_costs_nothing(limited: Limited) -> None:
    caller = limited.caller()
    script = {"by": {"openai": {"status": 500}, "anthropic": used(70)}}
    answer = caller.ask("settle", script=script)
    assert answer.headers["x-tollgate-target"] == "claude"
    assert caller.spent() == 70


SLOW = {"usage": {"input": 10, "output": 600}, "text": "word " * 60, "rate": 60}


@pytest.mark.parametrize(
    ("script", "leave"),
    [
        (SLOW, 5),
        ({**SLOW, "reset": 20}, None),
        ({**SLOW, "error_at": 20}, None),
        ({**SLOW, "stop_early": 20}, None),
        ({"usage": "none", "text": "word " * 60}, None),
    ],
)
def test_a_stream_that_breaks_costs_what_the_ledger_says(
    script: Json, leave: int | None, limited: Limited
) -> None:
    """An abort by the client or the provider, and a provider that gives no figures."""
    caller = limited.caller()
    found = stream(
        limited.gateway,
        "any",
        script=script,
        headers=caller.head("settle"),
        leave_after=leave,
        max_tokens=5000,
    )
    assert found.status == 200
    limited.settled()
    assert caller.spent() == _recorded(limited, found.id)


def _recorded(limited: Limited, request_id: str) -> int:
    """Output tokens that the ledger has."""
    return _output(record(limited.gateway, request_id))


def _output(found: Json) -> int:
    return int((found.get("usage") or {}).get("output", 0))


def test_a_client_that_leaves_before_the_head(limited: Limited) -> None:
    caller = limited.caller()
    body = {"model": "any", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hi"}]}
    head = {**caller.head("settle"), "x-sim-script": json.dumps(used(40, latency=5))}
    began = time.time()
    with suppress(httpx.TimeoutException), httpx.Client(timeout=0.3) as client:
        client.post(f"{limited.gateway.url}/chat/completions", json=body, headers=head)
    limited.settled()
    found = poll(
        lambda: [one for one in records(limited.gateway, "1m") if one["started"] >= began],
        what="the record",
    )
    assert found[0]["aborted"]
    assert caller.spent() == _output(found[0])


def test_money_is_settled_at_the_price_of_the_level_that_served(limited: Limited) -> None:
    """`cheap` costs a tenth."""
    caller = limited.caller()
    session = {"session": f"s-{time.monotonic_ns()}"}
    caller.ask("session-money", model="cheap", usage=(1_000_000, 0), said=session)
    answer = caller.ask("session-money", said=session)
    assert answer.headers["x-tollgate-budget"].endswith("=0.40")
    assert answer.status_code == 200
    refused = caller.served("session-money", usage=DOLLAR, said=session)[1]
    assert code(refused) == (429, "budget_exceeded")


# --- overshoot ----------------------------------------------------------------------------


def _race(
    limited: Limited, caller: Caller, route: str, count: int, times: tuple[float, float]
) -> tuple[list[httpx.Response], int]:
    """Requests of several clients at once whose true usage is between so many times the estimate;
    their answers, and what the simulator billed."""
    draw = random.Random(7)
    limited.gateway.forget()
    text = "overshoot " * (PROMPT // 10)

    def one(number: int) -> httpx.Response:
        factor = draw.uniform(*times)
        # A word has more than one byte, and an answer no more than it may.
        read, written = PROMPT / 4 * factor, ANSWER * factor
        script = used(round(written if route == "estimated" else min(written, ANSWER)))
        script["usage"]["input"] = round(read)
        return caller.ask(route, text=f"{text}{number}", script=script, max_tokens=ANSWER,
                          settle=False)  # fmt: skip

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(one, range(count)))
    limited.settled()
    billed = [one["billed"] for one in limited.gateway.asked()]
    return answers, sum(one["input"] + one["output"] for one in billed)


def test_estimates_are_passed_by_no_more_than_their_error_in_flight(limited: Limited) -> None:
    caller = limited.caller()
    answers, billed = _race(limited, caller, "estimated", 90, (0.3, 3.0))
    assert {one.status_code for one in answers} == {200, 429}
    # An estimate of about 150 tokens, of which three times as many may be used.
    worst = AT_ONCE * 2 * (PROMPT / 4 + ANSWER) * 1.2
    assert 6000 - worst <= billed <= 6000 + worst
    assert caller.ask("estimated", max_tokens=ANSWER).status_code == 429


@pytest.mark.parametrize("route", ["strict", "strict-claude"])
def test_strict_limits_are_never_passed(route: str, limited: Limited) -> None:
    caller = limited.caller()
    answers, billed = _race(limited, caller, route, 60, (0.3, 3.0))
    assert {one.status_code for one in answers} == {200, 429}
    assert billed <= 6000
    # What was not used is there again: one after the other may go on, as long as what one can use
    # at most is left.
    served, _ = caller.served(route, 60, text="x" * PROMPT, usage=(50, ANSWER), max_tokens=ANSWER)
    billed += 150 * served
    assert 6000 - 2000 <= billed <= 6000


def test_strict_says_upstream_what_is_reserved(limited: Limited) -> None:
    caller = limited.caller()
    for given in (None, 77):
        limited.gateway.forget()
        answer = caller.ask("strict", max_tokens=given)
        assert answer.status_code == 200
        (sent,) = limited.gateway.asked()
        most = _most(sent["body"])
        if given is not None:
            assert most == given
        left = int(answer.headers["x-ratelimit-remaining-tokens"])
        assert most <= 6000 - left
    for given in (None, 77):
        limited.gateway.forget()
        assert caller.ask("strict-claude", max_tokens=given).status_code == 200
        (sent,) = limited.gateway.asked()
        assert sent["body"]["max_tokens"] == given or given is None
        assert sent["body"]["max_tokens"] < 6000


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/responses", {"input": "Hello"}, "max_output_tokens"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hello"}]}, "max_tokens"),
    ],
)
def test_strict_holds_in_every_format(path: str, body: Json, field: str, limited: Limited) -> None:
    """Responses and messages are capped, too, whichever provider they go to."""
    caller = limited.caller()
    url = f"{limited.gateway.root}{path}"
    for route in ("strict", "strict-claude"):
        limited.gateway.forget()
        needs = {"max_tokens": 30} if field == "max_tokens" else {}
        head = caller.head(route)
        answer = limited.gateway.http.post(
            url, json={"model": "any", **body, **needs}, headers=head
        )
        assert answer.status_code == 200, answer.text
        (sent,) = limited.gateway.asked()
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        (most,) = [sent["body"][name] for name in names if name in sent["body"]]
        assert most == 30 if needs else 1 <= most < 6000
        too_much = {"model": "any", **body, field: 7000}
        refused = limited.gateway.http.post(url, json=too_much, headers=head)
        assert refused.status_code == 400, refused.text
        limited.settled()


def test_embeddings_have_no_output(limited: Limited) -> None:
    """Their input counts, as the provider tells it."""
    caller = limited.caller()
    url = f"{limited.gateway.url}/embeddings"
    head = {**caller.head("vectors"), "x-sim-script": json.dumps(used(0))}
    left = []
    for _ in range(3):
        body = {"model": "any", "input": "Hello"}
        answer = limited.gateway.http.post(url, json=body, headers=head)
        assert answer.status_code == 200, answer.text
        left.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
        limited.settled()
    assert left[0] - left[1] == left[1] - left[2] == 10


def _most(body: Mapping[str, Any]) -> int:
    return int(body.get("max_tokens") or body["max_completion_tokens"])


def test_what_nobody_can_bound_is_refused_by_a_strict_limit(limited: Limited) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/huge.png"}}
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": [image]}],
        "max_tokens": 20,
    }
    url = f"{limited.gateway.url}/chat/completions"
    caller = limited.caller()
    answer = limited.gateway.http.post(url, json=body, headers=caller.head("strict"))
    assert answer.status_code == 400, answer.text


def test_nothing_is_held_in_the_end(limited: Limited) -> None:
    """Every reservation of this module has been given back."""

    def held() -> bool:
        return figures(limited.gateway).sum("tollgate_limits_held") == 0

    poll(held, what="reservations at rest")
