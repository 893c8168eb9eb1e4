import asyncio
import random
from typing import Any

import pytest

from extproc.simulator import Simulator
from extproc.simulator.chat import NOTHING, Usage
from extproc.simulator.recorder import KEPT, Recorder
from tests.unit.simulator.talk import Talk


async def test_request_is_recorded_as_received(talk: Talk) -> None:
    await talk.send(
        "openai",
        "/v1/chat/completions?x=1",
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
        headers={"X-Odd-Case": "Value"},
    )
    listed = (await talk.send("local", "/_sim/requests", method="GET")).json
    assert len(listed) == 1
    one = listed[0]
    assert (one["port"], one["dialect"], one["method"]) == ("openai", "openai", "POST")
    assert one["path"] == "/v1/chat/completions?x=1"
    assert ["X-Odd-Case", "Value"] in one["headers"]
    assert one["body"]["messages"][0]["content"] == "hi"
    assert (one["model"], one["stream"], one["status"]) == ("gpt-4o", False, 200)
    assert one["outcome"] == "whole"
    assert one["disconnected"] is False
    assert one["seconds"] >= 0


async def test_refused_requests_are_recorded_with_their_text(talk: Talk) -> None:
    await talk.send("openai", "/v1/chat/completions", b"not json \xff")
    record = talk.last()
    assert (record.status, record.outcome) == (400, "error")
    assert record.json() == "not json \ufffd"
    assert record.billed == NOTHING


async def test_since_port_and_delete(talk: Talk) -> None:
    for port in ("openai", "anthropic", "openai"):
        await talk.chat(port)
    first = talk.sim.requests()[0].sequence
    after = await talk.send("openai", f"/_sim/requests?since={first}", method="GET")
    assert [one["port"] for one in after.json] == ["anthropic", "openai"]
    of_port = await talk.send("openai", "/_sim/requests?port=anthropic", method="GET")
    assert len(of_port.json) == 1
    await talk.send("openai", "/_sim/requests", method="DELETE")
    assert talk.sim.requests() == []
    assert talk.sim.totals() == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_totals_are_what_was_reported(talk: Talk, *, stream: bool) -> None:
    entered = output = 0
    for _ in range(20):
        more: Any = {"stream_options": {"include_usage": True}} if stream else {}
        heard = await talk.chat("openai", stream=stream, **more)
        usage = heard.events[-1]["usage"] if stream else heard.json["usage"]
        entered += usage["prompt_tokens"]
        output += usage["completion_tokens"]
    totals = (await talk.send("openai", "/_sim/totals", method="GET")).json["openai"]
    assert (totals["requests"], totals["ended"], totals["failed"]) == (20, 20, 0)
    assert (totals["input"], totals["output"]) == (entered, output)


async def test_anthropic_and_gemini_figures_add_up_to_the_totals(talk: Talk) -> None:
    found = []
    for _ in range(10):
        usage = (await talk.chat("anthropic")).json["usage"]
        found.append(
            usage["input_tokens"]
            + usage["cache_read_input_tokens"]
            + usage["cache_creation_input_tokens"]
        )
        await talk.chat("gemini")
    gemini = [one.usage for one in talk.sim.requests("gemini")]
    totals = talk.sim.totals()
    assert totals["anthropic"].input == sum(found)
    assert totals["gemini"].input == sum(one.input for one in gemini if one)
    assert totals["anthropic"].cache_write > 0
    assert totals["gemini"].cache_write == 0


async def test_usage_tells_nothing_of_the_text(talk: Talk) -> None:
    """Neither input nor output tokens go with the length of anything."""
    lengths, figures = [], []
    for size in random.Random(1).sample(range(1, 3000), 60):
        message = {"role": "user", "content": "word " * size}
        script = {"text": "word " * (size % 50 + 1)}
        usage = (await talk.chat("openai", messages=[message], script=script)).json["usage"]
        lengths.append(size)
        figures.append(usage["prompt_tokens"])
    assert abs(correlation(lengths, figures)) < 0.4


def correlation(a: list[int], b: list[int]) -> float:
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return float(both / spread**0.5)


async def test_the_seed_decides_the_figures() -> None:
    async def drawn(seed: int) -> list[int]:
        async with Simulator({"openai": 0}, seed=seed) as sim, Talk(sim) as talk:
            return [(await talk.chat("openai")).json["usage"]["prompt_tokens"] for _ in range(5)]

    assert await drawn(1) == await drawn(1)
    assert await drawn(1) != await drawn(2)


async def test_a_stream_left_half_way_bills_what_was_sent(talk: Talk) -> None:
    script = {"events": 10, "silence": 4, "usage": {"input": 100, "output": 50, "reasoning": 10}}
    await talk.chat("openai", stream=True, script=script, patience=0.1)
    record = await talk.ended()
    assert record.outcome == "gone"
    assert record.events == 4
    assert record.billed == Usage(100, 10 + 16, 0, 0, 10)
    totals = talk.sim.totals()["openai"]
    assert (totals.input, totals.output, totals.disconnected) == (100, 26, 1)


async def test_gemini_reports_while_streaming_what_is_billed_so_far(talk: Talk) -> None:
    script = {"events": 10, "stop_early": 4, "usage": {"input": 100, "output": 50}}
    heard = await talk.chat("gemini", stream=True, script=script)
    reported = heard.events[-1]["usageMetadata"]
    assert reported["totalTokenCount"] - reported["promptTokenCount"] == 20
    assert (await talk.ended()).billed == Usage(100, 20)


async def test_leaving_is_noticed_within_a_tenth_of_a_second(sim: Simulator) -> None:
    loop = asyncio.get_running_loop()
    number = sim.ports["local"]
    _, writer = await asyncio.open_connection("127.0.0.1", number)
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b'x-sim-script: {"rate": 100, "events": 100000}\r\ncontent-length: %d\r\n\r\n'
        % len(body)
        + body
    )
    talk = Talk(sim)
    await talk.sent(3)
    left = loop.time()
    writer.close()
    record = await talk.ended()
    assert loop.time() - left < 0.1
    assert record.outcome == "gone"
    assert 3 <= record.events < 50


def test_usage_after_part_of_a_stream_never_exceeds_the_whole() -> None:
    whole = Usage(10, 7, 0, 0, 3)
    steps = [whole.after(sent, 5) for sent in range(7)]
    assert steps[0] == NOTHING
    assert [one.output for one in steps] == sorted(one.output for one in steps)
    assert steps[5] == steps[6] == whole


def test_memory_is_bounded() -> None:
    recorder = Recorder()
    big = b"x" * (40 * 1024 * 1024)
    for _ in range(10):
        recorder.start("a", "POST", "/", b"", big)
    kept = [one for one in recorder.since() if one.body is not None]
    assert sum(len(one.body or b"") for one in kept) <= 256 * 1024 * 1024
    assert len(recorder.since()) == 10
    for _ in range(KEPT + 5):
        recorder.start("a", "POST", "/", b"", b"")
    assert len(recorder.since()) == KEPT
    assert recorder.totals()["a"].requests == KEPT + 15
