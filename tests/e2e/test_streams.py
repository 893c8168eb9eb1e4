"""Streams after their first content: whole, slow, stalled, cut, broken, left alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Json, Running, poll
from tests.e2e.wire import ABORTED, PORTS, Streamed, counted, many, stream, stream_async

pytestmark = pytest.mark.e2e

TARGETS = PORTS
TIMES = {"claude-sonnet": 1.0, "gpt-4-turbo": 0.8, "gemini-pro": 0.8, "llama": 3.0}
STALL = 1.5
every_target = pytest.mark.parametrize("target", TARGETS)


def ended(gateway: Running) -> Json:
    """The simulator's record of the only request, once it is over."""

    def find() -> Json | None:
        (one,) = gateway.asked()
        return one if one["seconds"] is not None else None

    found: Json = poll(find, what="the end at the provider")
    return found


# --- whole ----------------------------------------------------------------------------------


async def all_at_once(gateway: Running, script: Callable[[str], Json]) -> dict[str, Streamed]:
    """One stream of each target."""
    async with many() as client:
        answers = await asyncio.gather(
            *(stream_async(client, gateway, one, script=script(one)) for one in TARGETS)
        )
    return dict(zip(TARGETS, answers, strict=True))


async def test_the_levels_time_does_not_cut_a_stream(gateway: Running) -> None:
    # Content for about three times as long as the first of it may take.
    answers = await all_at_once(gateway, lambda _: {"events": 30, "rate": 10})
    for target, answer in answers.items():
        assert answer.ended > 2.8 > 2.5 * TIMES[target] or target == "llama"
        assert len(answer.pieces) == 30
        assert answer.done
        assert not answer.errors
        assert not answer.truncated
        assert answer.attempts == "1"


async def test_a_pause_shorter_than_the_stall_is_none(gateway: Running) -> None:
    # 1.1 s between events: above the hosted levels' own time, below the stall.
    answers = await all_at_once(gateway, lambda _: {"events": 3, "rate": 0.9})
    for answer in answers.values():
        assert len(answer.pieces) == 3
        assert answer.done


@every_target
def test_every_event_of_a_long_stream(target: str, gateway: Running) -> None:
    text = " ".join(f"word{number}" for number in range(3000))
    answer = stream(gateway, target, script={"text": text})
    assert answer.text == text
    assert answer.done
    record = ended(gateway)
    assert len(answer.pieces) == record["events"] == record["total_events"]


@every_target
async def test_many_long_streams_at_once(target: str, gateway: Running) -> None:
    """The target filter leaves early where it can: nothing may get lost when it does."""
    texts = [" ".join(f"s{one}w{word}" for word in range(400)) for one in range(24)]
    async with many() as client:
        answers = await asyncio.gather(
            *(stream_async(client, gateway, target, script={"text": text}) for text in texts)
        )
    assert [one.text for one in answers] == texts
    assert all(one.done and not one.truncated for one in answers)


async def test_two_hundred_streams_at_once(gateway: Running) -> None:
    # They last longer than it takes to open them all, so they are all live together.
    events = 30
    async with many() as client:
        answers = await asyncio.gather(
            *(
                stream_async(
                    client,
                    gateway,
                    ("llama", "patient")[number % 2],
                    script={"text": "".join(f" {number}.{n}" for n in range(events)), "rate": 8},
                )
                for number in range(200)
            )
        )
    for number, one in enumerate(answers):
        assert one.status == 200, one.body
        assert one.text == "".join(f" {number}.{n}" for n in range(events))
        assert one.done
        assert not one.truncated
    sent = sum(one["events"] for one in gateway.asked())
    assert sum(len(one.pieces) for one in answers) == sent == 200 * events
    assert {one["outcome"] for one in gateway.asked()} == {"whole"}


@pytest.mark.parametrize("size", [1, 7, 64])
@every_target
def test_bytes_cut_anywhere(target: str, size: int, gateway: Running) -> None:
    script: Json = {"text": "naïve café 東京 🚦 and the rest", "usage": {"input": 90, "output": 40}}
    plain = stream(gateway, target, script=script, stream_options={"include_usage": True})
    # The level's time holds for slow bytes too: it runs to the first content.
    script |= {"slow_bytes": size, "slow_delay": 0.0001}
    slow = stream(gateway, target, script=script, stream_options={"include_usage": True})
    assert slow.text == plain.text == script["text"]
    assert slow.finish == plain.finish == ["stop"]
    assert slow.usage == plain.usage
    assert slow.done
    assert [set(one) for one in slow.chunks] == [set(one) for one in plain.chunks]


# --- usage ----------------------------------------------------------------------------------

FIGURES: Json = {"usage": {"input": 1000, "output": 200, "cached": 300}}


@every_target
def test_usage_that_was_asked_for(target: str, gateway: Running) -> None:
    answer = stream(gateway, target, script=FIGURES, stream_options={"include_usage": True})
    assert answer.done
    (usage,) = answer.usage
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1000, 200)
    assert usage["total_tokens"] == 1200
    assert usage["prompt_tokens_details"]["cached_tokens"] == 300
    line = gateway.access_log(answer.id)
    assert round(usage["cost"] * 1_000_000_000) == int(line["cost_nanousd"])
    assert (usage["cost"] == 0) == (target == "llama")
    assert not any("cost" in one for one in answer.comments)


@every_target
def test_usage_that_nobody_asked_for(target: str, gateway: Running) -> None:
    answer = stream(gateway, target, script=FIGURES)
    assert answer.done
    assert answer.usage == []
    assert all(one["choices"] for one in answer.chunks)
    (comment,) = [one for one in answer.comments if one.startswith("tollgate")]
    line = gateway.access_log(answer.id)
    told = dict(word.split("=") for word in comment.split()[1:])
    assert (told["input"], told["output"]) == ("1000", "200")
    assert round(float(told["cost"]) * 1_000_000_000) == int(line["cost_nanousd"])
    assert (int(line["input_tokens"]), int(line["output_tokens"])) == (1000, 200)
    assert line["estimated"] == "false"


def test_no_cost_where_no_price_is_known(gateway: Running) -> None:
    answer = stream(gateway, "unpriced", script=FIGURES, stream_options={"include_usage": True})
    (usage,) = answer.usage
    assert "cost" not in usage
    assert gateway.access_log(answer.id)["cost_nanousd"] is None


# --- tools ----------------------------------------------------------------------------------

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "time_of_day")
]


@every_target
async def test_parallel_tool_calls(target: str, client: AsyncOpenAI, gateway: Running) -> None:
    calls = [
        {"name": "weather", "arguments": {"city": "Zürich and a long name, to be cut"}},
        {"name": "time_of_day", "arguments": {"city": "東京"}},
    ]
    headers = {"x-sim-script": json.dumps({"tools": calls})}
    chunks = await client.chat.completions.create(
        model=target,
        messages=[{"role": "user", "content": "Use the tools."}],
        tools=TOOLS,
        stream=True,
        extra_headers=headers,
    )
    made: dict[int, Json] = {}
    finish = None
    async for chunk in chunks:
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                one = made.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                one["id"] += call.id or ""
                assert call.function is not None
                one["name"] += call.function.name or ""
                one["arguments"] += call.function.arguments or ""
    assert finish == "tool_calls"
    assert sorted(made) == [0, 1]
    assert [one["name"] for one in made.values()] == ["weather", "time_of_day"]
    assert [json.loads(one["arguments"]) for one in made.values()] == [
        one["arguments"] for one in calls
    ]
    assert len({one["id"] for one in made.values()}) == 2
    assert gateway.asked()[0]["outcome"] == "whole"


# --- broken after content -------------------------------------------------------------------


async def test_a_stall_after_content(gateway: Running) -> None:
    answers = await all_at_once(gateway, lambda _: {"events": 9, "silence": 3})
    for answer in answers.values():
        assert answer.first < 1
        assert STALL - 0.05 <= answer.ended - answer.first < STALL + 1.0
        assert len(answer.pieces) == 3
        (event,) = answer.errors
        assert event["error"]["code"] == "provider_stalled"
        assert set(event["error"]) == {"message", "type", "param", "code"}
        assert not answer.done
        assert not answer.truncated  # the body ends as HTTP says
        line = gateway.access_log(answer.id)
        assert line["estimated"] == "true"
        assert int(line["output_tokens"]) > 0
    # Nobody goes on paying for it.
    poll(
        lambda: all(one["disconnected"] for one in gateway.asked()),
        within=1.0,
        what="cancelled upstream",
    )


@every_target
def test_an_end_without_the_terminal_event(target: str, gateway: Running) -> None:
    answer = stream(gateway, target, script={"events": 9, "stop_early": 4})
    assert len(answer.pieces) == 4
    (event,) = answer.errors
    assert event["error"]["code"] == "provider_cut"
    assert not answer.done
    assert not answer.truncated
    line = gateway.access_log(answer.id)
    if target == "gemini-pro":
        # It tells with every event what it has used so far.
        billed = gateway.asked()[0]["billed"]
        assert line["estimated"] == "false"
        assert int(line["output_tokens"]) == billed["output"]
    else:
        assert line["estimated"] == "true"
        assert int(line["output_tokens"]) > 0


async def test_the_sdk_sees_an_error(client: AsyncOpenAI) -> None:
    headers = {"x-sim-script": json.dumps({"events": 9, "stop_early": 4})}
    chunks = await client.chat.completions.create(
        model="flagship",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        extra_headers=headers,
    )
    got = ""

    async def read() -> None:
        nonlocal got
        async for chunk in chunks:
            got += chunk.choices[0].delta.content or ""

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert len(got.split()) == 4
    assert caught.value.code == "provider_cut"


@every_target
def test_a_reset_after_content(target: str, gateway: Running) -> None:
    before = gateway.metrics()
    answer = stream(gateway, target, script={"events": 9, "reset": 5})
    assert answer.truncated
    assert not answer.done
    assert len(answer.pieces) <= 5
    assert ended(gateway)["outcome"] == "reset"
    _billed_by_estimate(gateway, target, answer, before)


@every_target
def test_an_error_event_after_content(target: str, gateway: Running) -> None:
    answer = stream(gateway, target, script={"events": 9, "error_at": 3, "message": "out of GPUs"})
    assert len(answer.pieces) == 3
    assert any("out of GPUs" in one["error"]["message"] for one in answer.errors)
    assert not answer.done
    assert not answer.truncated
    assert answer.target == target


def _billed_by_estimate(gateway: Running, target: str, answer: Streamed, before: str) -> None:
    """The aborted stream stands in the metrics with tokens for what was produced."""
    series: dict[str, Callable[[str], float]] = {
        "aborted": lambda text: counted(text, ABORTED, target=target),
        "output": lambda text: counted(
            text, "tollgate_tokens_total", target=target, kind="output", estimated="true"
        ),
        "input": lambda text: counted(
            text, "tollgate_tokens_total", target=target, kind="input", estimated="true"
        ),
    }
    first = {name: count(before) for name, count in series.items()}

    def found() -> dict[str, float] | None:
        now = gateway.metrics()
        grown = {name: count(now) - first[name] for name, count in series.items()}
        return grown if grown["aborted"] else None

    grown = poll(found, within=2.0, what="the aborted stream in the metrics")
    assert grown["aborted"] == 1
    assert grown["output"] > 0
    assert grown["input"] > 0
    line = gateway.access_log(answer.id)
    assert line["target"] == target


# --- the client goes ------------------------------------------------------------------------


@every_target
def test_a_client_that_leaves(target: str, gateway: Running) -> None:
    before = gateway.metrics()
    began = time.time()
    answer = stream(
        gateway,
        target,
        script={"events": 400, "rate": 20, "usage": FIGURES["usage"]},
        leave_after=5,
    )
    left = time.time()
    record = ended(gateway)
    assert record["outcome"] == "gone"
    gone = record["time"] + record["disconnected_at"]
    assert gone - left < 1.0
    assert began <= gone
    assert record["events"] < 60
    _billed_by_estimate(gateway, target, answer, before)


@pytest.mark.parametrize(
    ("target", "streamed", "silence"),
    [(target, True, "after_head") for target in TARGETS]
    + [("gpt-4-turbo", True, "before_head"), ("claude-sonnet", False, "before_head")],
)
def test_a_client_that_leaves_before_anything_came(
    target: str, streamed: bool, silence: str, gateway: Running
) -> None:
    before = gateway.metrics()
    body = {"model": target, "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    with pytest.raises(httpx.TimeoutException):
        gateway.http.post(
            f"{gateway.url}/chat/completions",
            json=body,
            headers={"x-sim-script": json.dumps({"silence": silence})},
            timeout=0.3,
        )
    record = ended(gateway)
    assert record["outcome"] == "gone"
    assert record["disconnected_at"] < TIMES[target]  # before any deadline of ours
    poll(
        lambda: counted(gateway.metrics(), ABORTED) - counted(before, ABORTED) == 1,
        within=2.0,
        what="the aborted request",
    )
    assert len(gateway.asked()) == 1  # and no next level for nobody


# --- what an operator watches ---------------------------------------------------------------

ODD = (
    "streams_failed",
    "message_timeouts",
    "failure_mode_allowed",
    "spurious_msgs_received",
    "rejected_header_mutations",
    "override_message_timeout_ignored",
)


def test_envoy_and_the_service_never_misunderstood_each_other(gateway: Running) -> None:
    for target in TARGETS:
        assert stream(gateway, target).done
        assert gateway.chat(target).status_code == 200
    # Since the start: whatever the tests before this one have done.
    url = f"http://127.0.0.1:{gateway.envoy_admin}/stats"
    text = gateway.http.get(url, params={"filter": r"ext_proc\."}).text
    lines = [line.rpartition(": ") for line in text.splitlines()]
    assert any(name.endswith("streams_started") and int(value) for name, _, value in lines)
    assert [name for name, _, value in lines if name.endswith(ODD) and int(value)] == []
    log = (gateway.folder / "service.log").read_text()
    assert "Traceback" not in log
    assert '"level":"error"' not in log
