"""The load generator: a process of its own that speaks HTTP/1.1 over kept-alive connections.

`python -m tests.bench.load` reads one job (JSON) a line on stdin and writes one result a line on
stdout. A job is a closed loop: each connection sends its next request when the answer to the last
one is whole. Requests are prebuilt bytes; nothing of an answer is parsed but its framing.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from typing import cast

import msgspec
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_EVENT = b"\ndata:"
_DONE = b"data: [DONE]"
_TAIL = 4096
"""Bytes of a stream's end that are kept, to see whether it ended properly."""
_GRACE = 60.0
"""Seconds after which a job that does not end is given up."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send and for how long. Times in seconds."""

    port: int
    requests: list[bytes]
    """Whole HTTP requests; connection n sends the nth, counted round."""
    around: bool = False
    """All of them are sent, one after the other, each connection taking its share."""
    connections: int
    seconds: float = 0.0
    """No request starts later than this. 0: only `each` limits."""
    stagger: float = 0.0
    """Between the starts of two connections."""
    each: int = 0
    """Requests of each connection. 0: only `seconds` limits."""
    host: str = "127.0.0.1"
    keep: bool = False
    """Keep heads and bodies."""


class Answer(msgspec.Struct):
    """One answer as it came. Times in milliseconds since the request was sent."""

    status: int = 0
    size: int = 0
    """Bytes of body."""
    events: int = 0
    """SSE events with data, `[DONE]` included."""
    done: bool = False
    """`data: [DONE]` was there."""
    whole: bool = False
    """The framing ended as HTTP says."""
    first_ms: float = 0.0
    """Until the first byte of the body."""
    total_ms: float = 0.0
    head: bytes = b""
    body: bytes = b""

    def header(self, name: str) -> str:
        """The first header of that name (lower case); empty if there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.strip().decode("latin-1")
        return ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One job's figures."""

    requests: int
    """Whole answers with status 200."""
    failed: dict[str, int]
    """Others, by status or reason."""
    elapsed: float
    """Seconds from the first request to the last answer."""
    size: int
    events: int
    unfinished: int
    """Event streams that ended without `[DONE]`."""
    latencies_ms: list[float]
    first_ms: list[float]

    @property
    def rate(self) -> float:
        """Whole answers a second."""
        return self.requests / self.elapsed if self.elapsed else 0.0


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; `share` in 0..1. NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class _Body:
    """Takes a body apart as far as counting goes, cut anywhere."""

    __slots__ = ("_buffer", "_counted", "_left", "_tail", "_trailer", "answer", "keep", "kept")

    def __init__(self, answer: Answer, *, keep: bool) -> None:
        self.answer = answer
        self.keep = keep
        self.kept = bytearray()
        self._buffer = b""
        self._left = -1
        self._trailer = False
        self._counted = b"\n"
        self._tail = b""

    def take(self, data: bytes) -> None:
        """Bytes of the body itself."""
        answer = self.answer
        answer.size += len(data)
        seen = self._counted + data
        answer.events += seen.count(_EVENT)
        self._counted = seen[1 - len(_EVENT) :]
        self._tail = (self._tail + data)[-_TAIL:]
        if self.keep:
            self.kept += data

    def chunks(self, data: bytes) -> bool:
        """Bytes of a chunked body. True when it is whole. Raises ValueError."""
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        try:
            while at < size:
                if self._left >= 0:
                    taken = min(self._left, size - at)
                    if taken:
                        self.take(buffer[at : at + taken])
                        at += taken
                        self._left -= taken
                    if self._left or size - at < 2:  # CR LF
                        return False
                    at += 2
                    self._left = -1
                    continue
                end = buffer.find(b"\r\n", at)
                if end < 0:
                    return False
                line = buffer[at:end]
                at = end + 2
                if self._trailer:
                    if not line:
                        return True
                    continue
                self._left = int(line.partition(b";")[0], 16)
                if not self._left:
                    self._left, self._trailer = -1, True
            return False
        finally:
            self._buffer = buffer[at:]

    def end(self) -> None:
        """The body is whole."""
        self.answer.done = _DONE in self._tail
        if self.keep:
            self.answer.body = bytes(self.kept)


class _Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, run: _Run, number: int, sent: int = 0) -> None:
        self._run = run
        self._number = number
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = -1
        """Bytes of a body of known length that are still to come; -1: in the head or chunked."""
        self._body: _Body | None = None
        self._answer = Answer()
        self._started = 0.0
        self._sent = sent
        self._busy = False
        self._close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        run = self._run
        if run.over(self._sent):
            self._stop()
            return
        assert self._transport is not None
        request = run.request(self._number, self._sent)
        self._sent += 1
        self._busy = True
        self._head, self._body, self._left = b"", None, -1
        self._answer = Answer()
        self._started = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            if self._body is None:
                self._read_head(data)
            else:
                self._read_body(data)
        except ValueError:
            self._finish("malformed")

    def _read_head(self, data: bytes) -> None:
        head = self._head + data if self._head else data
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self._head = head
            return
        answer = self._answer
        answer.status = int(head[9:12])
        self._body = _Body(answer, keep=self._run.job.keep)
        top = head[:end]
        if self._run.job.keep:
            answer.head = top
        self._close = _CLOSE.search(top) is not None
        if _CHUNKED.search(top):
            self._left = -1
        else:
            found = _LENGTH.search(top)
            self._left = int(found[1]) if found else 0
        rest = head[end + 4 :]
        if rest or not self._left:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        body, answer = self._body, self._answer
        assert body is not None
        if data and not answer.first_ms:
            answer.first_ms = (time.perf_counter() - self._started) * 1000
        if self._left < 0:
            if body.chunks(data):
                self._finish("")
            return
        body.take(data)
        self._left -= len(data)
        if self._left <= 0:
            self._finish("")

    def _finish(self, reason: str) -> None:
        answer = self._answer
        answer.total_ms = (time.perf_counter() - self._started) * 1000
        answer.whole = not reason
        if self._body is not None:
            self._body.end()
        self._busy = False
        self._run.note(answer, reason)
        if reason or self._close:
            self._again()
        else:
            self._next()

    def _again(self) -> None:
        """On with a new connection."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            self._run.reconnect(_Connection(self._run, self._number, self._sent))

    def _stop(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.close()
            self._run.left()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        if self._busy:
            self._finish("reset" if exc else "truncated")
        else:
            self._again()


class _Run:
    """One job under way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.answers: list[Answer] = []
        self.failed: dict[str, int] = {}
        self.finished = asyncio.Event()
        self.elapsed = 0.0
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = time.perf_counter()

    def over(self, sent: int) -> bool:
        """Whether a connection that has sent so many requests is to stop."""
        job = self.job
        if job.each and sent >= job.each:
            return True
        return bool(job.seconds) and time.perf_counter() - self._began >= job.seconds

    def request(self, connection: int, sent: int) -> bytes:
        """What a connection sends next."""
        job = self.job
        at = connection + sent * job.connections if job.around else connection
        return job.requests[at % len(job.requests)]

    def note(self, answer: Answer, reason: str) -> None:
        """An answer has ended."""
        self.elapsed = time.perf_counter() - self._began
        if reason or answer.status != 200:
            why = reason or str(answer.status)
            self.failed[why] = self.failed.get(why, 0) + 1
            if not self.job.keep:
                return
        self.answers.append(answer)

    async def connect(self, connection: _Connection) -> None:
        """Open a connection for it."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, self.job.host, self.job.port)
        except OSError:
            self.failed["connect"] = self.failed.get("connect", 0) + 1
            self.left()

    def reconnect(self, connection: _Connection) -> None:
        """Open another one for it, a little later: a server that is gone must not be hammered."""
        task = asyncio.get_running_loop().create_task(self._later(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, connection: _Connection) -> None:
        await asyncio.sleep(0.01)
        await self.connect(connection)

    def left(self) -> None:
        """A connection has stopped."""
        self._open -= 1
        if not self._open:
            self.finished.set()

    async def run(self) -> None:
        """Until every connection has stopped."""
        job = self.job
        self._open = job.connections
        self._began = time.perf_counter()
        connections = [_Connection(self, number) for number in range(job.connections)]
        starts = []
        for number, one in enumerate(connections):
            if number and job.stagger:
                await asyncio.sleep(job.stagger)
            starts.append(asyncio.create_task(self.connect(one)))
        await asyncio.gather(*starts)
        try:
            await asyncio.wait_for(self.finished.wait(), job.seconds + _GRACE)
        except TimeoutError:
            self.failed["unanswered"] = self.failed.get("unanswered", 0) + self._open


async def answers(job: Job) -> list[Answer]:
    """Run a job and hand over every answer, failed ones too when `keep` is set."""
    run = _Run(job)
    await run.run()
    return run.answers


async def load(job: Job) -> Result:
    """Run a job."""
    run = _Run(job)
    await run.run()
    good = [one for one in run.answers if one.whole and one.status == 200]
    return Result(
        requests=len(good),
        failed=run.failed,
        elapsed=run.elapsed,
        size=sum(one.size for one in good),
        events=sum(one.events for one in good),
        unfinished=sum(1 for one in good if one.events and not one.done),
        latencies_ms=[round(one.total_ms, 4) for one in good],
        first_ms=[round(one.first_ms, 4) for one in good],
    )


def main() -> None:
    """Serve jobs until stdin ends."""
    decoder = msgspec.json.Decoder(Job)
    for line in sys.stdin.buffer:
        result = uvloop.run(load(decoder.decode(line)))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
