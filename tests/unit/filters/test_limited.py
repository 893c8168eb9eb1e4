"""Limits at the filters: what goes up, what comes back, and what is given back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from extproc.errors import Reason
from extproc.filters.verdict import Note, encode
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import chat, outer
from tests.unit.filters.test_gateway import ANSWER, POST, Gateway, gateway

__all__ = ["gateway"]

SERVED = {"content-type": "application/json", "x-tollgate-i-target": "t-openai"}
ALICE = {"x-tollgate-user": "alice"}


async def ask(gateway: Gateway, body: bytes, limits: dict[str, Any], **more: Any) -> Envoy:
    headers = {**ALICE, **more.pop("headers", {})}
    envoy, _ = await gateway.ask(body, headers, limits=limits, **more)
    return envoy


async def served(envoy: Envoy, answer: dict[str, Any] | None = None) -> dict[str, str]:
    attributes: dict[str, str | float] = {"upstream.request_attempt_count": 1}
    await envoy.head(200, SERVED, attributes=attributes)
    headers = dict(envoy.headers)
    await envoy.chunk(json.dumps(answer or ANSWER).encode(), end=True)
    return headers


def error(envoy: Envoy) -> dict[str, Any]:
    assert envoy.answer is not None
    return {"status": envoy.answer.status, **json.loads(envoy.answer.body)["error"]}


async def test_the_third_of_two_requests_is_refused_and_costs_nothing(gateway: Gateway) -> None:
    limits = {"user": {"requests": "2/h"}}
    for left in ("1", "0"):
        envoy = await ask(gateway, chat(), limits)
        headers = await served(envoy)
        assert headers["x-ratelimit-limit-requests"] == "2"
        assert headers["x-ratelimit-remaining-requests"] == left
    envoy = await ask(gateway, chat(), limits)
    assert error(envoy)["status"] == 429
    assert error(envoy)["code"] == "rate_limit_exceeded"
    assert envoy.answer is not None
    wait = int(dict(envoy.answer.headers)["retry-after"])
    assert 1790 < wait <= 1800
    assert gateway.records.kept[-1].cost is None
    other, _ = await gateway.ask(chat(), {"x-tollgate-user": "bob"}, limits=limits)
    assert other.answer is None


async def test_a_list_of_models_counts_as_the_first_of_them(gateway: Gateway) -> None:
    limits = {"user,model": {"requests": "1/h"}}
    await served(await ask(gateway, chat(model="t-openai"), limits))
    envoy = await ask(gateway, chat(model="t-openai", models=["t-gemini"]), limits)
    assert error(envoy)["status"] == 429
    assert (await ask(gateway, chat(model="t-gemini"), limits)).answer is None


async def test_what_was_not_used_is_given_back(gateway: Gateway) -> None:
    limits = {"user": {"tokens": "5000/h"}}
    envoy = await ask(gateway, chat(max_tokens=4900), limits)
    refused = await ask(gateway, chat(max_tokens=4900), limits)
    assert error(refused)["status"] == 429
    await served(envoy)
    again = await ask(gateway, chat(max_tokens=4000), limits)
    assert again.answer is None


async def test_more_than_the_limit_itself_is_no_matter_of_waiting(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(max_tokens=6000), {"user": {"tokens": "5000/h"}})
    assert error(envoy)["status"] == 400
    assert error(envoy)["code"] == "request_exceeds_limit"


async def test_a_strict_limit_bounds_what_goes_up(gateway: Gateway) -> None:
    limits = {"user": {"output_tokens": {"limit": "5000/h", "strict": True}}}
    envoy = await ask(gateway, chat(), limits)
    assert envoy.answer is None
    sent = json.loads(envoy.body)
    assert sent["max_tokens"] <= 5000
    assert envoy.headers["x-tollgate-i-cap"] == "1"
    asked = await ask(gateway, chat(max_tokens=7, model="t-openai"), limits)
    if asked.answer is None:
        assert json.loads(asked.body)["max_tokens"] == 7


async def test_the_bound_goes_up_where_a_level_translates_too(gateway: Gateway) -> None:
    limits = {"user": {"output_tokens": {"limit": "5000/h", "strict": True}}}
    envoy = await ask(gateway, chat(model="t-gemini"), limits)
    assert envoy.answer is None
    assert json.loads(envoy.body)["max_tokens"] <= 5000


async def test_a_client_that_leaves_gives_back_what_it_did_not_use(gateway: Gateway) -> None:
    limits = {"user": {"concurrent": 1}}
    _, handler = await gateway.ask(chat(), ALICE, limits=limits)
    assert error(await ask(gateway, chat(), limits))["status"] == 429
    await handler.gone()
    assert (await ask(gateway, chat(), limits)).answer is None


async def test_a_route_that_observes_refuses_nothing(gateway: Gateway) -> None:
    limits = {"user": {"requests": "1/h"}}
    for _ in range(2):
        envoy = await ask(gateway, chat(), limits, mode="observe")
        await served(envoy)
    seen = gateway.records.kept[-1].observed
    assert [(one.capability, one.outcome) for one in seen] == [("limits", "refused")]


def ceiling(**more: int) -> dict[str, Any]:
    targets: dict[str, dict[str, Any]] = {}
    for name, dialect, system, model in (
        ("t-openai", "openai", "openai", "gpt-4o"),
        ("t-anthropic", "anthropic", "anthropic", "claude-sonnet-4-5"),
    ):
        targets[name] = {
            "provider": dialect, "system": system, "dialect": dialect, "model": model,
            "cluster": f"target-{name}",
        }  # fmt: skip
    targets["t-openai"]["ceilings"] = more
    chains = {"main": [{"t-openai": 1}, {"t-anthropic": 1}], "one": [{"t-openai": 1}]}
    return {"targets": targets, "chains": chains}


async def test_a_level_without_room_is_left_out(gateway: Gateway) -> None:
    host = ceiling(concurrent=1, high_water=1)
    first = await ask(gateway, chat(), {}, host=host)
    lease = first.headers["x-tollgate-i-lease"]
    assert lease.endswith(";t-openai")
    second = await ask(gateway, chat(), {}, host=host)
    assert second.passed[-1].levels == ((("target-t-anthropic", 1),),)
    await served(first)
    third = await ask(gateway, chat(), {}, host=host)
    assert third.passed[-1].levels is not None
    assert third.passed[-1].levels[0] == (("target-t-openai", 1),)


async def test_who_finds_no_room_waits_and_goes_in_turn(gateway: Gateway) -> None:
    host = ceiling(concurrent=1, high_water=1)
    first = await ask(gateway, chat(model="one"), {}, host=host)
    handler = gateway.filter.open()
    second = Envoy(handler)
    asking = asyncio.create_task(second.request({**POST, **ALICE}, chat(model="one"), outer(host)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asking.done()
    await served(first)
    await asking
    assert second.waits
    assert second.waits[0] > 10
    headers = await served(second)
    assert headers["x-tollgate-queue-position"] == "1"
    assert float(headers["x-tollgate-queue-wait"]) >= 0
    assert gateway.records.kept[-1].queued is not None


async def test_who_waited_too_long_is_told_so(gateway: Gateway) -> None:
    host = ceiling(concurrent=1, high_water=1)
    await ask(gateway, chat(model="one"), {}, host=host)
    envoy = await ask(
        gateway, chat(model="one"), {}, host=host, headers={"x-tollgate-deadline": "50ms"}
    )
    assert error(envoy)["status"] == 503
    assert error(envoy)["code"] == "queue_timeout"
    assert envoy.answer is not None
    assert int(dict(envoy.answer.headers)["retry-after"]) >= 1


@pytest.mark.parametrize(
    "limits", [{"user": {"requests": "100/x"}}, {"planet": {"requests": "1/h"}}]
)
async def test_rules_that_cannot_be_are_a_mistake_of_the_configuration(
    gateway: Gateway, limits: dict[str, Any]
) -> None:
    envoy = await ask(gateway, chat(), limits)
    assert error(envoy)["status"] == 500


async def test_levels_without_room_count_in_what_a_client_is_told_of_waiting(
    gateway: Gateway,
) -> None:
    """The least of all levels' waits: also of one that was left out beforehand."""
    host = ceiling(rpm=6, high_water=1)
    for _ in range(6):
        await served(await ask(gateway, chat(), {}, host=host))
    envoy = await ask(gateway, chat(), {}, host=host)
    asked = envoy.headers["x-tollgate-i-id"]
    left = Note("t-anthropic", Reason.CAPACITY, 429, 100.0)
    await gateway.notes.leave(asked, encode(left))
    attributes: dict[str, str | float] = {"upstream.request_attempt_count": 1}
    refused = {"x-tollgate-i-refusal": "capacity", "x-tollgate-i-target": "t-anthropic"}
    await envoy.head(429, refused, attributes=attributes)
    assert envoy.answer is not None
    assert envoy.answer.status == 429
    assert 9 <= int(dict(envoy.answer.headers)["retry-after"]) <= 10
