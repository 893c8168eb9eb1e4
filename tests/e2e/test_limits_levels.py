"""Providers' ceilings, budgets and what people hear of them, through Envoy, on both stores."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.e2e.conftest import poll
from tests.e2e.figures import figures
from tests.e2e.limits_gateways import Caller, Limited, code

pytestmark = pytest.mark.e2e


def targets(answers: list[httpx.Response]) -> list[str]:
    """Who served; every one of them has to have been served."""
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    return [one.headers["x-tollgate-target"] for one in answers]


def capacity(limited: Limited, target: str) -> float:
    """How often a target was passed over for want of room."""
    found = figures(limited.gateway)
    return found.sum("tollgate_refusals_total", target=target, reason="capacity")


# --- ceilings -----------------------------------------------------------------------------


def test_a_full_level_is_passed_over_unseen(limited: Limited) -> None:
    """Nobody asks it, so nobody is refused by it."""
    limited.gateway.forget()
    caller = limited.caller()
    answers = [caller.ask("rpm") for _ in range(7)]
    assert targets(answers) == ["rpm"] * 4 + ["gpt"] * 3
    assert {one.headers["x-tollgate-attempts"] for one in answers} == {"1"}
    assert len(limited.gateway.asked()) == 7
    assert not any("retry-after" in one.headers for one in answers)
    headroom = figures(limited.gateway).sum("tollgate_target_headroom", target="rpm")
    assert headroom < 0.5
    assert capacity(limited, "rpm") == 3


def test_from_the_high_water_on_others_are_preferred(limited: Limited) -> None:
    """As long as there are others with room."""
    caller = limited.caller()
    assert targets([caller.ask("water") for _ in range(7)]) == ["water"] * 5 + ["gpt"] * 2
    answers = [caller.ask("water-alone") for _ in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [429]
    refused = answers[-1]
    assert code(refused) == (429, "rate_limit_exceeded")
    assert "water" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 6  # ten a minute


def test_requests_at_once_at_a_level(limited: Limited) -> None:
    caller = limited.caller()
    slow = {"by": {"*": {"latency": 0.4}}}
    with ThreadPoolExecutor(4) as pool:
        asks = [pool.submit(caller.ask, "at-once", script=slow, settle=False) for _ in range(4)]
        assert sorted(targets([one.result() for one in asks])) == ["gpt"] * 3 + ["one"]
    limited.settled()
    assert targets([caller.ask("at-once")]) == ["one"]


def test_all_targets_of_a_provider_share_its_key(limited: Limited) -> None:
    """Four a minute from two targets together."""
    caller = limited.caller()
    direct = [caller.ask("shared-key") for _ in range(2)]
    direct += [caller.ask("everything", model="shared-two") for _ in range(2)]
    assert targets(direct) == ["shared-one"] * 2 + ["shared-two"] * 2
    assert targets([caller.ask("shared-key")]) == ["gpt"]


def test_output_tokens_of_a_level_are_settled(limited: Limited) -> None:
    """Reserved by the estimate, charged by the truth."""
    caller = limited.caller()
    answers = [caller.ask("otpm", usage=(10, 600), max_tokens=50) for _ in range(2)]
    assert targets(answers) == ["otpm", "otpm"]
    assert targets([caller.ask("otpm", max_tokens=50)]) == ["gpt"]


def test_what_a_provider_says_is_left_is_believed(limited: Limited) -> None:
    caller = limited.caller()
    said = {"x-ratelimit-limit-requests": "30", "x-ratelimit-remaining-requests": "0"}
    assert targets([caller.ask("words")]) == ["words"]
    script = {"usage": {"input": 10, "output": 10}, "headers": said}
    assert targets([caller.ask("words", script=script)]) == ["words"]

    def passed() -> bool:
        return targets([caller.ask("words")]) == ["gpt"]

    poll(passed, what="a level that is passed over")


def test_a_429_of_a_provider_keeps_others_away(limited: Limited) -> None:
    """The one who meets it is served by the next level; the others do not even ask."""
    caller = limited.caller()
    busy = {"by": {"openai": {"sequence": [{"error": "rate_limit", "retry_after": 30}, {}]}}}
    first = caller.ask("busy", script=busy)
    assert targets([first]) == ["gpt"]
    assert first.headers["x-tollgate-attempts"] == "2"
    before = capacity(limited, "busy")
    later = [caller.ask("busy") for _ in range(3)]
    assert targets(later) == ["gpt"] * 3
    assert {one.headers["x-tollgate-attempts"] for one in later} == {"1"}
    assert capacity(limited, "busy") == before + 3


def test_a_429_of_gemini_says_in_its_body_how_long(limited: Limited) -> None:
    caller = limited.caller()
    busy = {"by": {"gemini": {"error": "rate_limit", "retry_after": 30}, "*": {}}}
    assert targets([caller.ask("gemini")]) == ["gemini"]
    assert targets([caller.ask("gemini", script=busy)]) == ["gpt"]
    assert targets([caller.ask("gemini")]) == ["gpt"]


def test_what_anthropic_says_is_left_is_believed(limited: Limited) -> None:
    """Ten flow back in a second; a request is taken for more."""
    caller = limited.caller()
    said = {
        "anthropic-ratelimit-input-tokens-limit": "600",
        "anthropic-ratelimit-input-tokens-remaining": "0",
    }
    script = {"usage": {"input": 10, "output": 10}, "headers": said}
    long = "word " * 60
    assert targets([caller.ask("haiku", script=script, text=long)]) == ["haiku"]
    poll(
        lambda: targets([caller.ask("haiku", text=long)]) == ["gpt"],
        within=3,
        what="a level that is passed over",
    )


def test_targets_beside_each_other_each_have_their_room(limited: Limited) -> None:
    """What is leased is where it goes: nobody tries the one that is full."""
    caller = limited.caller()
    slow = {"latency": 0.4}
    with ThreadPoolExecutor(3) as pool:
        asks = [pool.submit(caller.ask, "beside", script=slow, settle=False) for _ in range(3)]
        answers = [one.result() for one in asks]
    assert sorted(targets(answers)) == ["gpt", "left", "right"]
    assert {one.headers["x-tollgate-attempts"] for one in answers} == {"1"}
    limited.settled()


def test_a_level_that_is_come_to_by_walking_has_its_ceiling_too(limited: Limited) -> None:
    """The first level fails; the second takes two a minute."""
    caller = limited.caller()
    down = {"by": {"anthropic": {"status": 500}, "*": {"usage": {"input": 1, "output": 1}}}}
    answers = [caller.ask("behind", script=down) for _ in range(3)]
    assert targets(answers) == ["next", "next", "small"]
    assert [one.headers["x-tollgate-attempts"] for one in answers] == ["2", "2", "3"]


def test_when_all_are_full_the_shortest_wait_is_told(limited: Limited) -> None:
    """One a minute, and two: in half a minute there is room."""
    caller = limited.caller()
    served, refused = caller.served("both-full")
    assert served == 3
    assert code(refused) == (429, "rate_limit_exceeded")
    assert 25 <= int(refused.headers["retry-after"]) <= 30
    assert all(one in refused.json()["error"]["message"] for one in ("slow", "fast"))


# --- budgets ------------------------------------------------------------------------------


def _once(name: str) -> dict[str, str]:
    return {name: f"{name}-{time.monotonic_ns()}"}


def test_a_budget_says_how_much_is_spent_and_ends_with_402(limited: Limited) -> None:
    caller, team = limited.caller(), _once("team")
    shares = []
    for _ in range(3):
        answer = caller.ask("paid", usage=(100_000, 0), said=team)
        assert answer.status_code == 200
        name, _, share = answer.headers["x-tollgate-budget"].partition("=")
        assert name == "team-day"
        shares.append(share)
    assert shares == ["0.00", "0.40", "0.80"]
    refused = caller.ask("paid", said=team)
    assert code(refused) == (402, "budget_exceeded")
    assert refused.json()["error"]["type"] == "insufficient_quota"
    assert refused.headers["x-tollgate-budget"] == "team-day=1.00"
    assert int(refused.headers["retry-after"]) >= 1
    client = openai.OpenAI(
        base_url=limited.gateway.url,
        api_key=caller.key,
        max_retries=0,
        default_headers=caller.head("paid", **team),
    )
    with client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.status_code == 402
    assert caller.ask("paid", said=_once("team")).status_code == 200


def test_a_budget_that_is_spent_sends_down(limited: Limited) -> None:
    caller, user = limited.caller(), _once("user")
    before = limited.decided("user-month", "downgraded")
    answers = [caller.ask("sent-down", usage=(100_000, 0), said=user) for _ in range(3)]
    assert targets(answers) == ["gpt"] * 3
    answers = [caller.ask("sent-down", said=user) for _ in range(2)]
    assert targets(answers) == ["small"] * 2
    assert {one.headers["x-tollgate-budget"] for one in answers} == {"user-month=1.00"}
    assert limited.decided("user-month", "downgraded") == before + 2
    assert targets([caller.ask("sent-down", said=_once("user"))]) == ["gpt"]


# --- who hears of it ----------------------------------------------------------------------


def _events(limited: Limited, limit: str, who: str) -> list[dict[str, Any]]:
    return [one for one in limited.hook.events(limit) if who in one["who"].values()]


def _logged(limited: Limited) -> str:
    return (limited.gateway.folder / "service.log").read_text()


def test_80_and_95_percent_are_told_once(limited: Limited) -> None:
    caller, user = limited.caller(), _once("user")
    name = user["user"]
    before = figures(limited.gateway)

    def crossed(share: str) -> float:
        now = figures(limited.gateway)
        labels = {"limit": "user-day", "share": share}
        total = "tollgate_limits_crossed_total"
        return now.sum(total, **labels) - before.sum(total, **labels)

    for used, told in (
        (790, []),
        (20, ["limit_80"]),
        (20, ["limit_80"]),
        (130, ["limit_80", "limit_95"]),
        (20, ["limit_80", "limit_95"]),
    ):
        assert caller.ask("events", usage=(used, 0), said=user).status_code == 200
        poll(
            lambda told=told: [one["event"] for one in _events(limited, "user-day", name)] == told,  # type: ignore[misc]
            what=f"{told} after {used}",
        )
    first, last = _events(limited, "user-day", name)
    assert first["who"] == {"user": name}
    assert (first["used"], first["of"]) == (810, 1000)
    assert first["share"] == pytest.approx(0.81)
    assert last["share"] == pytest.approx(0.96)
    assert first["resets_at"] > time.time()
    assert (crossed("0.8"), crossed("0.95")) == (1, 1)
    log = _logged(limited)
    assert "limit_80" in log
    assert "limit_95" in log


def test_both_at_once_are_told_as_the_higher(limited: Limited) -> None:
    caller, user = limited.caller(), _once("user")
    caller.ask("events", usage=(999, 0), said=user)
    found = poll(lambda: _events(limited, "user-day", user["user"]), what="the event")
    assert [one["event"] for one in found] == ["limit_95"]


def test_a_runaway_key_is_told_and_slowed(limited: Limited) -> None:
    """A little, for a while, then very much: known to people, and held to one a minute."""
    caller, calm = limited.caller(), limited.caller()
    before = len(limited.hook.events("wild"))
    began = time.monotonic()
    while time.monotonic() - began < 3.2:
        for one in (caller, calm):
            assert one.ask("runaway", usage=(1000, 0)).status_code == 200
        time.sleep(0.2)  # it is time that has to pass
    assert caller.ask("runaway", usage=(50_000_000, 0)).status_code == 200
    poll(lambda: len(limited.hook.events("wild")) == before + 1, what="the event")
    event = limited.hook.events("wild")[-1]
    assert event["event"] == "runaway"
    assert event["share"] > 2
    assert event["used"] > event["of"] > 0
    assert "runaway" in _logged(limited)
    found = figures(limited.gateway)
    assert found.sum("tollgate_limits_crossed_total", limit="wild", share="runaway") >= 1
    answers = [caller.ask("runaway") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 429, 429]
    assert "wild" in answers[-1].json()["error"]["message"]
    assert {calm.ask("runaway").status_code for _ in range(3)} == {200}


def test_nobody_is_slowed_who_only_begins(limited: Limited) -> None:
    caller: Caller = limited.caller()
    before = len(limited.hook.events("wild"))
    answers = [caller.ask("runaway", usage=(1_000_000, 0)) for _ in range(3)]
    assert {one.status_code for one in answers} == {200}
    assert len(limited.hook.events("wild")) == before
