"""Walks along chains: which failures are walked on from, when, and which are not."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Json, Running
from tests.e2e.wire import PORTS, REFUSALS, at, counted, many, ports, stream

pytestmark = pytest.mark.e2e

DIALECTS = {"claude-sonnet": "anthropic", "gpt-4-turbo": "openai", "gemini-pro": "gemini"}
"""Targets by provider; the provider's name is the simulator's port."""
TIMES = {"claude-sonnet": 1.0, "gpt-4-turbo": 0.8, "gemini-pro": 0.8}
FLAGSHIP = ("claude-sonnet", "gpt-4-turbo", "gemini-pro", "llama")
LATE = 0.7
"""Seconds that a busy machine may add to a level's own time."""


@dataclass(frozen=True)
class Fault:
    """One way of a level to fail at once, and the reason that is counted for it."""

    script: Mapping[str, Any]
    reason: str


ANY_FAULTS = {
    "500": Fault({"status": 500}, "unavailable"),
    "502": Fault({"status": 502}, "unavailable"),
    "503": Fault({"status": 503}, "unavailable"),
    "504": Fault({"status": 504}, "timeout"),
    "529": Fault({"status": 529}, "unavailable"),
    "408": Fault({"status": 408, "error": "timeout"}, "timeout"),
    "429": Fault({"status": 429}, "capacity"),
    "429-wait": Fault({"status": 429, "retry_after": 20}, "capacity"),
    "401": Fault({"error": "authentication"}, "credentials"),
    "402": Fault({"status": 402}, "credentials"),
    "billing": Fault({"error": "billing"}, "credentials"),
    "403": Fault({"status": 403}, "credentials"),
    "404-model": Fault({"error": "model_not_found"}, "model"),
    "context": Fault({"error": "context_length"}, "context_length"),
    "html-503": Fault({"status": 503, "garbage": "html"}, "unavailable"),
    "reset": Fault({"reset": "before"}, "unavailable"),
    "html-200": Fault({"garbage": "html"}, "bad_answer"),
}
AFTER_HEAD = {
    "reset-after-headers": Fault({"reset": "after_headers"}, "unavailable"),
    "garbage": Fault({"garbage": "binary"}, "bad_answer"),
    "truncated": Fault({"garbage": "truncated_json"}, "bad_answer"),
}
EMPTY = {"empty": Fault({"garbage": "empty"}, "bad_answer")}
STREAM_FAULTS = {
    **AFTER_HEAD,
    **EMPTY,
    "error-first": Fault({"first_event_error": True}, "bad_answer"),
    "no-event": Fault({"stop_early": 0}, "bad_answer"),
}


TRANSLATED = ("claude-sonnet", "gemini-pro")


def cases(faults: Mapping[str, Fault], targets: Iterable[str] = DIALECTS) -> list[Any]:
    return [
        pytest.param(target, fault, id=f"{target}-{name}")
        for name, fault in faults.items()
        for target in targets
    ]


def walked_past(gateway: Running, target: str, fault: Fault, before: str) -> None:
    """The failing level was asked once, then the last resort, in time and with the reason told."""
    first, second = gateway.asked()
    assert (first["port"], second["port"]) == (PORTS[target], "local")
    assert second["time"] - first["time"] < 0.5
    after = gateway.metrics()
    labels = {"target": target, "reason": fault.reason}
    assert counted(after, REFUSALS, **labels) - counted(before, REFUSALS, **labels) == 1


@pytest.mark.parametrize(
    ("target", "fault"), cases(ANY_FAULTS | EMPTY) + cases(AFTER_HEAD, TRANSLATED)
)
def test_a_failing_level_is_walked_past(target: str, fault: Fault, gateway: Running) -> None:
    before = gateway.metrics()
    answer = gateway.chat(target, script=at(target, fault.script), models=[target, "llama"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-tollgate-target"] == "llama"
    assert answer.headers["x-tollgate-attempts"] == "2"
    walked_past(gateway, target, fault, before)


@pytest.mark.parametrize(("target", "fault"), cases(ANY_FAULTS | STREAM_FAULTS))
def test_a_failing_level_is_walked_past_streamed(
    target: str, fault: Fault, gateway: Running
) -> None:
    before = gateway.metrics()
    answer = stream(gateway, target, script=at(target, fault.script), models=[target, "llama"])
    assert answer.status == 200, answer.body
    assert answer.text
    assert answer.done
    assert not answer.errors
    assert answer.target == "llama"
    assert answer.attempts == "2"
    walked_past(gateway, target, fault, before)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"garbage": "binary"}, 502, "bad_answer"),
        ({"garbage": "truncated_json"}, 502, "bad_answer"),
        ({"silence": "after_head"}, 504, "provider_stalled"),
        ({"reset": "after_headers"}, 503, None),
    ],
    ids=["garbage", "truncated", "silence", "reset"],
)
def test_a_whole_answer_that_breaks_after_its_head(
    script: Json, status: int, code: str | None, gateway: Running
) -> None:
    # The level of a target in the client's own dialect is over with a head that tells the
    # length of its body: too late to walk on, but never a 200, and never for ever.
    began = time.monotonic()
    answer = gateway.chat("pair", script=at("gpt-4-turbo", script))
    assert answer.status_code == status, answer.text
    assert time.monotonic() - began < 1.5 + LATE
    error = answer.json()["error"]
    assert error["type"] == "server_error"
    assert code in (None, error["code"])
    assert ports(gateway.asked()) == ["openai"]


# --- the four levels ------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize(
    "script",
    [
        {"status": 500},
        {"status": 429, "retry_after": 30},
        {"reset": "before"},
        {"error": "context_length"},
        {"garbage": "html"},
    ],
    ids=["500", "429", "reset", "context", "html"],
)
def test_the_chain_in_its_order(
    script: Json, failing: int, streamed: bool, gateway: Running
) -> None:
    scripts = {"by": {PORTS[name]: script for name in FLAGSHIP[:failing]}}
    expected = [PORTS[name] for name in FLAGSHIP[: failing + 1]]
    if streamed:
        seen = stream(gateway, "flagship", script=scripts)
        assert seen.done
        headers = seen.headers
    else:
        answer = gateway.chat("flagship", script=scripts)
        assert answer.status_code == 200, answer.text
        headers = answer.headers
    assert headers["x-tollgate-target"] == FLAGSHIP[failing]
    assert headers["x-tollgate-attempts"] == str(failing + 1)
    assert ports(gateway.asked()) == expected


SILENCES: dict[str, Json] = {
    "nothing": {"silence": "before_head"},
    "a 200": {"silence": "after_head"},
    "a comment": {"comment_first": True, "silence": "after_head"},
    "a role": {"silence": 0},
    "pings": {"ping_every": 0.1, "ttft": 5},
}
"""What providers send before they say nothing more; to none of it a client could listen."""


@dataclass(frozen=True)
class Silent:
    """One request to a level that says nothing, told from others by its text."""

    target: str
    how: str
    streamed: bool

    @property
    def text(self) -> str:
        return f"{self.target} with {self.how}, {'' if self.streamed else 'not '}streamed"

    async def ask(self, client: httpx.AsyncClient, gateway: Running) -> httpx.Response:
        body: Json = {"model": self.target, "models": [self.target, "llama"]}
        body |= {"messages": [{"role": "user", "content": self.text}], "stream": self.streamed}
        headers = {"x-sim-script": json.dumps(at(self.target, SILENCES[self.how]))}
        return await client.post(f"{gateway.url}/chat/completions", json=body, headers=headers)


async def test_a_silent_level_is_left_at_its_deadline(gateway: Running) -> None:
    cases = [Silent(target, how, streamed=True) for target in DIALECTS for how in SILENCES]
    cases += [Silent(target, "nothing", streamed=False) for target in DIALECTS]
    cases += [Silent(target, "a 200", streamed=False) for target in TRANSLATED]
    before = gateway.metrics()
    async with many() as client:
        answers = await asyncio.gather(*(case.ask(client, gateway) for case in cases))
    asked = gateway.asked()
    for case, answer in zip(cases, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-tollgate-target"] == "llama", case.text
        assert answer.headers["x-tollgate-attempts"] == "2"
        assert "[DONE]" in answer.text or not case.streamed
        first, second = [one for one in asked if f'"{case.text}"' in json.dumps(one["body"])]
        assert (first["port"], second["port"]) == (PORTS[case.target], "local")
        waited = second["time"] - first["time"]
        assert TIMES[case.target] - 0.02 <= waited <= TIMES[case.target] + LATE, case.text
    after = gateway.metrics()
    for target in DIALECTS:
        labels = {"target": target, "reason": "timeout"}
        wanted = sum(case.target == target for case in cases)
        assert counted(after, REFUSALS, **labels) - counted(before, REFUSALS, **labels) == wanted


async def test_each_level_has_its_own_deadline(gateway: Running) -> None:
    # The fourth takes longer than any of the others may: its time is its own as well.
    ways: list[tuple[bool, Json]] = [
        (False, {"silence": "before_head"}),
        (True, {"silence": "after_head"}),
    ]

    async def walk(client: httpx.AsyncClient, silent: Json, streamed: bool) -> httpx.Response:
        by = {"anthropic": silent, "openai": silent, "gemini": silent, "local": {"ttft": 1.6}}
        body = {"model": "flagship", "messages": [{"role": "user", "content": f"s{streamed}"}]}
        return await client.post(
            f"{gateway.url}/chat/completions",
            json={**body, "stream": streamed},
            headers={"x-sim-script": json.dumps({"by": by})},
        )

    async with many() as client:
        answers = await asyncio.gather(
            *(walk(client, silent, streamed) for streamed, silent in ways)
        )
    for (streamed, _), answer in zip(ways, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-tollgate-attempts"] == "4"
        asked = [one for one in gateway.asked() if f'"s{streamed}"' in json.dumps(one["body"])]
        assert ports(asked) == ["anthropic", "openai", "gemini", "local"]
        times = [one["time"] for one in asked]
        for name, began, ended in zip(TIMES, times, times[1:], strict=False):
            assert TIMES[name] - 0.02 <= ended - began <= TIMES[name] + LATE, name
        line = gateway.access_log(answer.headers["x-tollgate-request-id"])
        assert line["refusals"] == "claude-sonnet:timeout,gpt-4-turbo:timeout,gemini-pro:timeout"
        assert line["target"] == "llama"


@pytest.mark.parametrize("target", DIALECTS)
def test_content_just_in_time_is_served(target: str, gateway: Running) -> None:
    script = {"ttft": TIMES[target] * 0.6, "ping_every": 0.1, "comment_first": True}
    answer = stream(gateway, target, script=at(target, script), models=[target, "llama"])
    assert answer.done
    assert answer.target == target
    assert ports(gateway.asked()) == [PORTS[target]]


# --- what is not walked from ----------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ({"status": 400, "message": "temperature is out of range"}, 400),
        ({"status": 413, "message": "temperature is out of range"}, 413),
        ({"status": 422, "message": "temperature is out of range"}, 422),
    ],
    ids=["400", "413", "422"],
)
def test_blame_of_the_request_is_not_walked_from(
    script: Json, status: int, target: str, streamed: bool, gateway: Running
) -> None:
    answer = gateway.chat(
        target, script=at(target, script), models=[target, "llama"], stream=streamed
    )
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "temperature is out of range" in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert ports(gateway.asked()) == [PORTS[target]]


# --- content policy -------------------------------------------------------------------------

REFUSED: dict[str, Json] = {
    "error": {"error": "content_filter"},
    "finish": {"finish": "content_filter", "events": 0},
}
WALKING = {"x-test-route": "walk-on-content"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("how", REFUSED)
def test_refused_content_walks_on_where_the_route_says_so(
    how: str, target: str, streamed: bool, gateway: Running
) -> None:
    script = at(target, _refused(how, target))
    models = [target, "llama"]
    if streamed:
        seen = stream(gateway, target, script=script, headers=WALKING, models=models)
        assert seen.done
        assert seen.text
        served, request_id = seen.target, seen.id
    else:
        answer = gateway.chat(target, script=script, headers=WALKING, models=models)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        served = answer.headers["x-tollgate-target"]
        request_id = answer.headers["x-tollgate-request-id"]
    assert served == "llama"
    assert ports(gateway.asked()) == [PORTS[target], "local"]
    assert request_id


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("how", REFUSED)
def test_refused_content_is_final_elsewhere(
    how: str, target: str, streamed: bool, gateway: Running
) -> None:
    script = at(target, _refused(how, target))
    models = [target, "llama"]
    if how == "error":
        answer = gateway.chat(target, script=script, models=models, stream=streamed)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "content_policy_violation"
    elif streamed:
        seen = stream(gateway, target, script=script, models=models)
        assert seen.finish == ["content_filter"]
        assert seen.done
    else:
        answer = gateway.chat(target, script=script, models=models)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
    assert ports(gateway.asked()) == [PORTS[target]]


def _refused(how: str, target: str) -> Json:
    script = dict(REFUSED[how])
    if how == "finish" and target == "claude-sonnet":
        script["finish"] = "refusal"
    return script


# --- known beforehand -----------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_too_long_leaves_the_level_out(streamed: bool, gateway: Running) -> None:
    answer = gateway.chat("small-first", "word " * 2400, stream=streamed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == "patient"
    assert answer.headers["x-tollgate-attempts"] == "1"
    assert [one["model"] for one in gateway.asked()] == ["gpt-4o"]
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["refusals"] == "small:context_length"


def test_a_prompt_that_fits_takes_the_level(gateway: Running) -> None:
    answer = gateway.chat("small-first", "word " * 1200)
    assert answer.headers["x-tollgate-target"] == "small"


def test_output_asked_for_counts_too(gateway: Running) -> None:
    answer = gateway.chat("small-first", "word " * 1200, max_tokens=1500)
    assert answer.headers["x-tollgate-target"] == "patient"


TOOL: Json = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_missing_feature_leaves_the_level_out(streamed: bool, gateway: Running) -> None:
    answer = gateway.chat("plain-first", tools=[TOOL], stream=streamed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == "patient"
    assert [one["model"] for one in gateway.asked()] == ["gpt-4o"]
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["refusals"] == "plain:feature"


def test_with_the_feature_not_needed_the_level_serves(gateway: Running) -> None:
    assert gateway.chat("plain-first").headers["x-tollgate-target"] == "plain"


# --- once more on the same target -----------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reset_before_any_byte_is_tried_once_more(streamed: bool, gateway: Running) -> None:
    script = {"sequence": [{"reset": "before"}, {}], "id": f"once-{streamed}"}
    answer = gateway.chat("once-more", script=script, stream=streamed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == "once-more"
    assert answer.headers["x-tollgate-attempts"] == "1"
    assert [one["model"] for one in gateway.asked()] == ["gpt-4o-mini"] * 2


def test_only_once_more(gateway: Running) -> None:
    script = {"by": {"openai": {"reset": "before"}}}
    answer = gateway.chat("once-more", script=script, models=["once-more", "llama"])
    assert answer.headers["x-tollgate-target"] == "llama"
    assert ports(gateway.asked()) == ["openai", "openai", "local"]


def test_without_the_policy_a_reset_is_not_tried_again(gateway: Running) -> None:
    answer = gateway.chat("pair", script={"by": {"openai": {"reset": "before"}}})
    assert answer.headers["x-tollgate-target"] == "llama"
    assert ports(gateway.asked()) == ["openai", "local"]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_second_try_does_not_double_the_deadline(streamed: bool, gateway: Running) -> None:
    tries: list[Json] = [{"latency": 0.5, "reset": "before"}, {"silence": "before_head"}]
    script = {"by": {"openai": {"sequence": tries}}, "id": f"double-{streamed}"}
    models = ["once-briefly", "llama"]
    answer = gateway.chat("once-briefly", script=script, models=models, stream=streamed)
    assert answer.headers["x-tollgate-target"] == "llama"
    first, second, last = gateway.asked()
    assert (first["port"], second["port"], last["port"]) == ("openai", "openai", "local")
    # 0.8 s for the level, not 0.5 s and then 0.8 s or more.
    assert 0.78 <= last["time"] - first["time"] < 1.25


# --- many at once, and how fast -------------------------------------------------------------


async def test_a_hundred_whose_first_level_refuses(gateway: Running) -> None:
    script = {"by": {"openai": {"status": 429, "retry_after": 5}}}
    headers = {"x-sim-script": json.dumps(script)}
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hello"}]}
    async with many() as client:
        answers: list[httpx.Response] = await asyncio.gather(
            *(
                client.post(f"{gateway.url}/chat/completions", json=body, headers=headers)
                for _ in range(100)
            )
        )
    assert Counter(one.status_code for one in answers) == {200: 100}
    assert {one.headers["x-tollgate-target"] for one in answers} == {"llama"}
    assert Counter(ports(gateway.asked())) == {"openai": 100, "local": 100}


def test_what_a_walk_of_four_costs(gateway: Running) -> None:
    """Four levels refuse at once: how long after the first the fifth is asked, without what the
    four providers took to say no."""
    models = ["claude-sonnet", "gpt-4-turbo", "gemini-pro", "small", "llama"]
    script = {"by": {port: {"status": 429} for port in ("anthropic", "openai", "gemini")}}
    number = gateway.providers.index("openai")
    provider = f"http://127.0.0.1:{gateway.simulator + number}/v1/chat/completions"
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"x-sim-script": json.dumps(script), "authorization": "Bearer sk-simulated"}

    def refuse() -> float:
        began = time.perf_counter()
        assert gateway.http.post(provider, json=body, headers=headers).status_code == 429
        return time.perf_counter() - began

    def plain() -> float:
        began = time.perf_counter()
        assert gateway.chat("llama").headers["x-tollgate-attempts"] == "1"
        return time.perf_counter() - began

    def median() -> tuple[float, float]:
        gateway.forget()
        for _ in range(25):
            answer = gateway.chat(models[0], script=script, models=models)
            assert answer.headers["x-tollgate-attempts"] == "5"
        times: list[float] = [one["time"] for one in gateway.asked()]
        walks = [end - begin for begin, end in zip(times[::5], times[4::5], strict=True)]
        providers = 4 * statistics.median(refuse() for _ in range(25))
        walk = statistics.median(walks) - providers
        return walk / statistics.median(plain() for _ in range(25)), walk * 1000

    # Whatever else runs on the machine only adds: the best of some rounds is the figure. Envoy's
    # own pause between two tries would make it ten requests and more.
    rounds = [median()]
    while rounds[-1][0] > 4 and len(rounds) < 12:
        rounds.append(median())
    ratio, walk = min(rounds)
    print(f"past four refusing levels in {walk:.1f} ms, as {ratio:.1f} plain requests take")  # noqa: T201
    assert ratio <= 4
