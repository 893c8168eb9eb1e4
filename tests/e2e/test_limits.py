"""Each kind of limit through Envoy, on both stores: whose, of what, over which time; and what
clients are told of it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import openai
import pytest
from anthropic import Anthropic
from anthropic import RateLimitError as AnthropicRateLimitError

from tests.e2e.conftest import Json, poll
from tests.e2e.ledger_books import admin, tollgate
from tests.e2e.limits_gateways import DIMENSIONS, KINDS, UPGRADE, Caller, Limited, code

pytestmark = pytest.mark.e2e

FIELDS = {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset")
          for of in ("requests", "tokens")}  # fmt: skip
SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def seconds(span: str) -> float:
    """A time as OpenAI writes it."""
    found = SPAN.fullmatch(span)
    assert found is not None, span
    hours, minutes, whole, millis = (float(one or 0) for one in found.groups())
    return hours * 3600 + minutes * 60 + whole + millis / 1000


# --- of what, and over which time ---------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(kind: str, limited: Limited) -> None:
    """So many are served, the next is not, and another caller has as much."""
    limits, usage, wanted = KINDS[kind]
    served, refused = limited.caller().served(f"kind-{kind}", usage=usage)
    assert served == wanted
    money = "usd" in limits
    expected = "budget_exceeded" if kind == "money" else "rate_limit_exceeded"
    assert code(refused) == (429, expected)
    error = refused.json()["error"]
    assert error["type"] == "rate_limit_error"
    assert f"kind-{kind}: key" in error["message"]
    assert int(refused.headers["retry-after"]) >= 1
    assert f"Try again in {int(refused.headers['retry-after']):,} second" in error["message"]
    assert money or not FIELDS.isdisjoint(refused.headers)
    assert refused.headers["x-tollgate-request-id"]
    assert limited.caller().ask(f"kind-{kind}", usage=usage).status_code == 200


def _ends(unit: str, zone: str) -> float:
    """Seconds until the window that holds now ends, worked out anew."""
    now = datetime.now(ZoneInfo(zone))
    day = datetime(now.year, now.month, now.day, tzinfo=now.tzinfo)
    if unit == "d":
        then = day + timedelta(days=1)
    elif unit == "w":
        then = day + timedelta(days=7 - now.weekday())
    else:
        then = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (then.astimezone(UTC) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize(
    ("kind", "unit", "zone"),
    [
        ("day", "d", "Asia/Tokyo"),
        ("week", "w", "America/New_York"),
        ("month", "mo", "UTC"),
        ("tokens", "d", "UTC"),
    ],
)
def test_windows_keep_to_the_calendar(kind: str, unit: str, zone: str, limited: Limited) -> None:
    _, usage, _ = KINDS[kind]
    _, refused = limited.caller().served(f"kind-{kind}", usage=usage)
    assert abs(int(refused.headers["retry-after"]) - _ends(unit, zone)) < 3
    of = "tokens" if kind == "tokens" else "requests"
    assert abs(seconds(refused.headers[f"x-ratelimit-reset-{of}"]) - _ends(unit, zone)) < 3
    told = re.search(r"at (\S+Z)\.", refused.json()["error"]["message"])
    assert told is not None
    moment = datetime.fromisoformat(told[1]).astimezone(ZoneInfo(zone))
    assert (moment.hour, moment.minute, moment.second) == (0, 0, 0)


def test_rolling_windows_let_go_of_the_oldest_only_after_the_whole_time(limited: Limited) -> None:
    _, refused = limited.caller().served("kind-rolling")
    assert 3600 <= int(refused.headers["retry-after"]) <= 3660


@pytest.mark.parametrize("dims", DIMENSIONS)
def test_whose(dims: str, limited: Limited) -> None:
    """Who shares all dimensions shares the count; who differs in one has his own."""
    number = time.monotonic_ns()
    tenant = f"tenant-{number}"
    caller = limited.caller(tenant=tenant)
    said = {name: f"{name}-{number}" for name in ("user", "team", "feature", "session")}
    route = f"dim-{dims}"

    def ask(who: Caller, model: str = "main", **other: str) -> int:
        return who.ask(route, model=model, said={**said, **other}).status_code

    assert [ask(caller) for _ in range(3)] == [200, 200, 429]
    if dims in {"all", "route"}:
        assert ask(limited.caller(), user="other", team="other") == 429
        assert limited.caller().ask("everything").status_code == 200
        return
    for dim in dims.split(","):
        if dim == "key":
            assert ask(limited.caller(tenant=tenant)) == 200
        elif dim == "tenant":
            assert ask(limited.caller(tenant=f"other-{number}")) == 200
            assert ask(limited.caller(tenant=tenant)) == 429
        elif dim == "model":
            assert ask(caller, "cheap") == 200
        else:
            assert ask(caller, **{dim: f"other-{number}"}) == 200
    assert ask(caller) == 429


@pytest.mark.parametrize("dims", ["user", "team", "session"])
def test_a_name_is_one_within_its_tenant(dims: str, limited: Limited) -> None:
    """Two tenants' anns are two."""
    number = time.monotonic_ns()
    said = {dims: f"ann-{number}"}
    first, other = (limited.caller(tenant=f"{one}-{number}") for one in ("first", "other"))
    assert first.served(f"dim-{dims}", model="main", said=said)[0] == 2
    assert other.served(f"dim-{dims}", model="main", said=said)[0] == 2


@pytest.mark.parametrize("dims", ["user", "team", "feature", "session"])
def test_who_does_not_say_is_not_counted(dims: str, limited: Limited) -> None:
    caller = limited.caller()
    assert [caller.ask(f"dim-{dims}", model="main").status_code for _ in range(3)] == [200] * 3


def test_a_target_that_is_used_up_is_passed_over(limited: Limited) -> None:
    """A limit by target takes the next level, and refuses when there is none."""
    caller = limited.caller()
    answers = [caller.ask("dim-target") for _ in range(5)]
    assert [one.status_code for one in answers] == [200] * 4 + [429]
    assert code(answers[-1]) == (429, "rate_limit_exceeded")
    targets = [one.headers.get("x-tollgate-target") for one in answers[:4]]
    assert targets == ["gpt", "gpt", "claude", "claude"]


def test_at_once(limited: Limited) -> None:
    caller = limited.caller()
    slow = {"latency": 0.5}
    with ThreadPoolExecutor(5) as pool:
        asks = [pool.submit(caller.ask, "concurrent", script=slow, settle=False) for _ in range(5)]
        statuses = sorted(one.result().status_code for one in asks)
    assert statuses == [200, 200, 429, 429, 429]
    limited.settled()
    assert caller.ask("concurrent").status_code == 200


def test_several_limits_are_all_or_nothing(limited: Limited) -> None:
    """One that refuses keeps a request from taking of the others."""
    caller = limited.caller(limits={"tokens": "100/h"})
    assert caller.ask("kind-requests", usage=(50, 100)).status_code == 200
    for _ in range(3):
        refused = caller.ask("kind-requests")
        assert code(refused) == (429, "rate_limit_exceeded")
        assert refused.headers["x-ratelimit-remaining-requests"] == "2"


# --- tiers, and keys' own limits ----------------------------------------------------------


def test_tiers(limited: Limited) -> None:
    free, pro = limited.caller(tier="free"), limited.caller(tier="pro")
    served, refused = free.served("everything")
    assert served == 2
    assert UPGRADE in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    served, refused = pro.served("everything")
    assert served == 4
    assert UPGRADE not in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-limit-tokens"] == "100000"


def test_a_tiers_limits_are_each_users(limited: Limited) -> None:
    caller = limited.caller(tier="free")
    for user in ("ann", "bob"):
        said = {"user": f"{user}-{time.monotonic_ns()}"}
        assert caller.served("everything", said=said)[0] == 2


def test_a_tiers_limits_may_be_the_tenants(limited: Limited) -> None:
    """Six, burst 2x, for all keys of the tenant together."""
    tenant = f"acme-{time.monotonic_ns()}"
    keys = [limited.caller(tier="enterprise", tenant=tenant) for _ in range(2)]
    assert [keys[number % 2].ask("everything").status_code for number in range(7)] == (
        [200] * 6 + [429]
    )


def test_a_key_has_limits_of_its_own(limited: Limited) -> None:
    own = limited.caller(limits={"requests": "2/h"}, tier="pro")
    served, refused = own.served("everything")
    assert served == 2
    assert "key: requests 2/h" in refused.json()["error"]["message"]
    assert limited.decided("key", "refused") >= 1
    other = limited.caller(limits={"requests": "3/h", "user": {"requests": "1/h"}})
    said = {"user": f"ann-{time.monotonic_ns()}"}
    assert other.served("everything", said=said)[0] == 1
    assert other.served("everything")[0] == 2


def test_an_own_limit_may_be_strict(limited: Limited) -> None:
    own = limited.caller(limits={"tokens": {"limit": "5000/d", "strict": True}})
    limited.gateway.forget()
    answer = own.ask("everything", max_tokens=None)
    assert answer.status_code == 200, answer.text
    (sent,) = limited.gateway.asked()
    assert 1 <= (sent["body"].get("max_tokens") or sent["body"]["max_completion_tokens"]) < 5000


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        ({"requests": "100/x"}, "requests"),
        ({"requests": "-1/h"}, "requests"),
        ({"requests": "0/h"}, "requests"),
        ({"tokens": "9" * 40 + "/h"}, "tokens"),
        ({"tokens": 10**30}, "tokens"),
        ({"tokens": ["10/h", "x"]}, "tokens"),
        ({"nobody": {"tokens": "10/h"}}, "nobody"),
        ({"user": {"tokens": {"limit": "10/h", "strict": "maybe"}}}, "strict"),
        ({"user": "10/h"}, "user"),
        ({"concurrent": 0}, "concurrent"),
        ({"usd": "1e400/d"}, "usd"),
    ],
)
def test_own_limits_that_cannot_be(limits: Json, place: str, limited: Limited) -> None:
    url = f"http://127.0.0.1:{limited.gateway.admin}/keys"
    answer = limited.gateway.http.post(url, json={"limits": limits})
    assert answer.status_code == 400, answer.text
    assert "limits" in answer.text
    assert place in answer.text


def test_the_command_line_names_the_place(limited: Limited) -> None:
    told = tollgate(limited.gateway, "keys", "create", "--limit", "requests=100/x")
    assert told.returncode != 0
    assert "requests" in told.stderr
    assert "'/x'" in told.stderr or "'x'" in told.stderr


# --- what clients are told ----------------------------------------------------------------


def test_rate_limit_headers(limited: Limited) -> None:
    """On success and on 429, for requests and for tokens."""
    caller = limited.caller()
    for left in (2, 1, 0):
        answer = caller.ask("both", usage=(100, 100))
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-limit-tokens"] == "100000"
        assert 0 < seconds(answer.headers["x-ratelimit-reset-requests"]) <= 3600
    # What the last one has reserved is gone as well, not what it used.
    assert 99_000 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 99_600
    refused = caller.ask("both")
    assert refused.status_code == 429
    assert refused.headers.keys() >= FIELDS
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_stream_has_the_headers_too(limited: Limited) -> None:
    answer = limited.caller().ask("both", stream=True)
    assert answer.headers["x-ratelimit-remaining-requests"] == "2"


def test_the_openai_sdk_understands(limited: Limited) -> None:
    caller = limited.caller()
    client = openai.OpenAI(base_url=limited.gateway.url, api_key=caller.key, max_retries=0)
    with client.with_options(default_headers={"x-test-route": "upgrade"}) as sdk:
        ask: Callable[[], Any] = lambda: sdk.chat.completions.create(  # noqa: E731 - thrice
            model="main", messages=[{"role": "user", "content": "Hello"}]
        )
        ask()
        limited.settled()
        with pytest.raises(openai.RateLimitError) as caught:
            ask()
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "rate_limit_error"
    assert UPGRADE in str(caught.value)
    assert 3590 <= int(caught.value.response.headers["retry-after"]) <= 3600


def test_the_anthropic_sdk_understands(limited: Limited) -> None:
    caller = limited.caller()
    sdk = Anthropic(
        base_url=limited.gateway.root,
        api_key=caller.key,
        max_retries=0,
        default_headers={"x-test-route": "upgrade"},
    )
    with sdk:
        ask: Callable[[], Any] = lambda: sdk.messages.create(  # noqa: E731 - twice
            model="main", max_tokens=20, messages=[{"role": "user", "content": "Hello"}]
        )
        ask()
        limited.settled()
        with pytest.raises(AnthropicRateLimitError) as caught:
            ask()
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "rate_limit_error"
    assert UPGRADE in body["error"]["message"]
    assert caught.value.response.headers["retry-after"]


# --- how long to wait ---------------------------------------------------------------------

SOON = {
    "soon-requests": (10, 10),
    "soon-tokens": (100, 30),
    "soon-money": (500_000, 0),
    "soon-either": (100, 30),
    "soon-provider": (300, 335),
}
"""Routes whose limits flow back in seconds, and what a request uses there."""


TRIES = 4


async def _true(limited: Limited, route: str, usage: tuple[int, int]) -> None:
    caller = limited.caller()

    def exhaust() -> tuple[int, float]:
        # Several workers: what is settled has to be known before the next one is asked.
        _, refused = caller.served(route, usage=usage)
        return int(refused.headers["retry-after"]), time.monotonic()

    for _ in range(TRIES):
        wait, since = await asyncio.to_thread(exhaust)
        await asyncio.sleep(since + wait - 2 - time.monotonic())
        early = await asyncio.to_thread(caller.ask, route, usage=(1, 1), settle=False)
        if wait >= 3 and time.monotonic() - since < wait - 1:
            break
        # The machine was so slow that the question came too late to say anything.
        await asyncio.sleep(wait)
    assert 3 <= wait <= 10, (route, wait)
    assert early.status_code == 429, (route, wait)
    assert int(early.headers["retry-after"]) <= 3, (route, wait)
    await asyncio.sleep(since + wait - time.monotonic())
    late = await asyncio.to_thread(caller.ask, route, usage=(1, 1), settle=False)
    assert late.status_code == 200, (route, wait, late.text)


async def test_retry_after_is_true(limited: Limited) -> None:
    """Waiting that long succeeds, and two seconds less does not."""
    await asyncio.gather(*(_true(limited, route, usage) for route, usage in SOON.items()))


# --- requests that are too large, or nonsense ---------------------------------------------


def test_larger_than_the_limit_itself(limited: Limited) -> None:
    limited.gateway.forget()
    caller = limited.caller()
    refused = caller.ask("kind-tokens", max_tokens=2000)
    assert code(refused) == (400, "request_exceeds_limit")
    assert refused.json()["error"]["param"] == "max_tokens"
    refused = caller.ask("kind-input", text="word " * 2000)
    assert code(refused) == (400, "request_exceeds_limit")
    assert refused.json()["error"]["param"] == "messages"
    assert not limited.gateway.asked()
    assert caller.served("kind-tokens", usage=(200, 200))[0] == 3


def test_a_ceiling_of_a_single_request(limited: Limited) -> None:
    limited.gateway.forget()
    caller = limited.caller()
    assert code(caller.ask("single", max_tokens=51)) == (400, "request_exceeds_limit")
    assert code(caller.ask("single", text="word " * 1000)) == (400, "request_exceeds_limit")
    assert not limited.gateway.asked()
    assert [caller.ask("single", max_tokens=50).status_code for _ in range(4)] == [200] * 4
    # Who does not say how much he wants gets no more than there is.
    assert caller.ask("single", max_tokens=None).status_code == 200
    body = limited.gateway.asked()[-1]["body"]
    assert (body.get("max_tokens") or body.get("max_completion_tokens")) == 50


WILD = (-1, 0, 2**31, 2**53, 2**63, 10**30, 1.5, "many", True, 1e300)


def test_a_wild_max_tokens(limited: Limited) -> None:
    """400, or served within the model's own bound; and the caller's limits are as before."""
    caller = limited.caller()
    for given in WILD:
        for route in ("kind-tokens", "strict", "everything"):
            answer = caller.ask(route, max_tokens=given, settle=False)  # type: ignore[arg-type]
            statuses = (200, 400) if route == "everything" else (400,)
            assert answer.status_code in statuses, (given, route, answer.text)
            assert answer.json()
    assert caller.served("kind-tokens", usage=(200, 200))[0] == 3
    assert caller.spent() == 0


def test_a_million_choices_are_no_overflow(limited: Limited) -> None:
    caller = limited.caller()
    answer = caller.ask("kind-tokens", n=10**15, max_tokens=10**15)
    assert answer.status_code == 400
    assert caller.ask("kind-tokens").status_code == 200


# --- what is watched ----------------------------------------------------------------------


def test_a_route_that_only_observes(limited: Limited) -> None:
    caller = limited.caller()
    answers = [caller.ask("observed") for _ in range(3)]
    assert {one.status_code for one in answers} == {200}
    _observed(limited, answers[-1].headers["x-tollgate-request-id"])


def test_a_limit_that_is_only_observed(limited: Limited) -> None:
    before = limited.decided("watched", "observed")
    caller = limited.caller()
    answers = [caller.ask("observed-limit") for _ in range(3)]
    assert {one.status_code for one in answers} == {200}
    assert not any(one.startswith("x-ratelimit-limit-requests") and one in FIELDS
                   and answers[0].headers[one] == "1" for one in answers[0].headers)  # fmt: skip
    assert limited.decided("watched", "observed") == before + 2
    _observed(limited, answers[-1].headers["x-tollgate-request-id"])


def _observed(limited: Limited, request_id: str) -> None:
    """The ledger has what would have been refused."""

    def find() -> Json | None:
        told = admin(limited.gateway, f"/usage/requests/{request_id}")
        return dict(told.json()) if told.status_code == 200 else None

    record = poll(find, what="the record")
    assert "limits" in json.dumps(record.get("observed")), record
