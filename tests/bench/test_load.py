from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.simulator import Simulator
from tests.bench import report, workload
from tests.bench.arms import Figures
from tests.bench.load import Answer, Job, _Body, answers, load, percentile

BODY = b"data: {}\n\n: a comment\n\ndata: data: x\n\ndata: [DONE]\n\n"


@given(st.lists(st.integers(0, len(BODY)), max_size=6), st.lists(st.integers(0, 150), max_size=12))
def test_any_cutting_of_a_chunked_stream_counts_the_same(sizes: list[int], cuts: list[int]) -> None:
    edges = sorted({0, *sizes, len(BODY)})
    pieces = [BODY[a:b] for a, b in pairwise(edges)]
    wire = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
    at = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    body = _Body(Answer(), keep=True)
    whole = [body.chunks(wire[a:b]) for a, b in pairwise(at)]
    body.end()
    assert whole == [False] * (len(at) - 2) + [True]
    assert body.answer.body == BODY
    assert (body.answer.size, body.answer.events, body.answer.done) == (len(BODY), 3, True)


async def test_it_counts_what_a_server_says_and_what_it_fails_at() -> None:
    async with Simulator({"openai": 0}) as sim:
        port = sim.ports["openai"]

        def job(script: dict[str, object], *, stream: bool) -> Job:
            request = workload.chat(stream=stream, sim=script)
            return Job(port=port, requests=[request], connections=4, each=3)

        whole = await load(job({}, stream=False))
        stream = await load(job({"events": 7}, stream=True))
        refused = await load(job({"status": 429}, stream=False))
        reset = await load(job({"events": 7, "reset": 3}, stream=True))
        early = await load(job({"events": 7, "stop_early": 3}, stream=True))
    assert (whole.requests, whole.failed, whole.events) == (12, {}, 0)
    # A head, a finish reason and [DONE] beside the seven.
    assert (stream.requests, stream.events, stream.unfinished) == (12, 12 * 10, 0)
    assert (refused.requests, refused.failed) == (0, {"429": 12})
    assert reset.requests == 0
    assert sum(reset.failed.values()) == 12
    assert early.unfinished == 12


async def test_it_reconnects_when_the_server_closes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        found = await answers(Job(port=port, requests=[request], connections=2, each=3, keep=True))
    assert [(one.status, one.body) for one in found] == [(200, b"ok")] * 6


def _figures(**said: float) -> Figures:
    plain = dict.fromkeys(Figures.__struct_fields__, 0) | said
    return msgspec.convert(plain, Figures)


def test_a_round_whose_no_op_is_too_slow_is_suspect() -> None:
    envoy = _figures(rps_16=1000.0)
    assert report.suspect({"envoy": envoy, "noop": _figures(rps_16=299.0)})
    assert report.suspect({"envoy": envoy, "noop": _figures(rps_16=301.0)}) is None
    assert report.suspect({"noop": _figures(rps_16=1.0)}) is None


def test_what_was_not_measured_is_null_and_judged_as_such() -> None:
    summary = report.Summary({"noop": [_figures(service_cpu_us=2.0, rps_1=math.nan)]})
    plain = summary.plain()
    assert plain["litellm"] is None
    assert plain["noop"]["rps_1"] is None
    assert plain["noop"]["service_cpu_us"] == 2.0
    assert {one.kept for one in report.budgets(summary, None)} == {None}


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.99) == 4.0
    assert math.isnan(percentile([], 0.5))
