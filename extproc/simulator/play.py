"""Plays one answer: when each part leaves, and how it goes wrong if the script says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

import msgspec

from extproc.simulator.chat import NEXT, Dialect, Failure, Frame
from extproc.simulator.http import Connection, head
from extproc.simulator.recorder import Record, Recorder
from extproc.simulator.script import Script

SETTLE = 0.02
"""Seconds between the last bytes and a reset, so that the client has read them: a reset
overtakes what is still on its way."""
_BATCH = 64
_BATCH_BYTES = 64 * 1024

HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad "
    b"Gateway</h1></center>\r\n<hr><center>nginx/1.29.3</center>\r\n</body>\r\n</html>\r\n"
)


class Plan(msgspec.Struct, kw_only=True):
    """An answer before it is played."""

    status: int
    headers: list[tuple[str, str]]
    frames: Iterator[Frame]
    """Of an answer that is not streamed: one frame, the body."""
    length: int | None
    """Bytes of the body; None for a stream."""
    events: int
    """Content events of the stream it is, or would have been: they set the pace."""
    ends: bool = False
    """The frames are garbled already: the end counts as `cut`."""

    @property
    def head(self) -> bytes:
        """The response head."""
        framing = (
            ("transfer-encoding", "chunked")
            if self.length is None
            else ("content-length", str(self.length))
        )
        return head(self.status, [*self.headers, framing])


def garbled(plan: Plan, script: Script, body: bytes) -> Plan:
    """The plan with its body replaced by garbage, if the script wants that."""
    kind = "binary" if script.garbage is True else script.garbage
    if not kind:
        return plan
    stream = plan.length is None
    plan.ends = True
    if kind == "html":
        body = HTML
        plan.headers = [("content-type", "text/html"), ("server", "nginx/1.29.3")]
        stream = False
    elif kind == "binary":
        body = random.Random(len(body)).randbytes(256)
    elif kind == "empty":
        body = b""
    elif stream:
        plan.frames = _cut_first(plan.frames)
        return plan
    else:
        body = body[: len(body) * 3 // 5]
    plan.frames = iter([(body, False)] if body else [])
    plan.length = None if stream else len(body)
    return plan


def _cut_first(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Up to the middle of the first content event."""
    for data, content in frames:
        yield (data[: len(data) // 2] if content else data), content
        if content:
            return


class Player:
    """Plays a plan on a connection. One at a time per connection."""

    def __init__(
        self,
        connection: Connection,
        recorder: Recorder,
        record: Record,
        plan: Plan,
        script: Script,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._connection = connection
        self._recorder = recorder
        self._record = record
        self._plan = plan
        self._script = script
        self._keepalive = b""
        self._error = b""
        self._keep_alive = True
        self._limit, self._act = self._fault()
        self._held: Frame | None = None
        self._first_at = self._began + max(script.ttft, script.latency)
        self._sent = 0
        self._frames = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiting = False
        self._slow = bytearray()
        self._then: Callable[[], None] | None = None

    def start(self, dialect: Dialect, failure: Failure, *, keep_alive: bool) -> None:
        """Begin. `failure` is what an error within the stream says."""
        self._keepalive = dialect.keepalive
        self._error = dialect.error_event(failure)
        self._keep_alive = keep_alive
        self._connection.exchange = self
        script = self._script
        if script.reset == "before":
            self._later(script.latency, self._reset)
        elif script.silence == "before_head":
            self._record.outcome = "silent"
        elif script.latency:
            self._later(script.latency, self._head)
        else:
            self._head()

    # Exchange

    def gone(self) -> None:
        """The client left."""
        self._cancel()
        self._recorder.end(self._record, "gone")

    def drained(self) -> None:
        """The client takes bytes again."""
        if self._waiting:
            self._waiting = False
            self._pump()

    # faults

    def _fault(self) -> tuple[int | None, Callable[[], None]]:
        """After how many content events something happens, and what."""
        script = self._script
        if isinstance(script.reset, int):
            return script.reset, self._settle_reset
        if isinstance(script.silence, int):
            return script.silence, self._fall_silent
        if script.stop_early is not None:
            return script.stop_early, self._stop_early
        if script.first_event_error:
            return 0, self._error_event
        if script.error_at is not None:
            return script.error_at, self._error_event
        return None, self._whole

    def _reset(self) -> None:
        self._cancel()
        self._recorder.end(self._record, "reset")
        self._connection.reset()

    def _settle_reset(self) -> None:
        self._later(SETTLE, self._reset)

    def _fall_silent(self) -> None:
        self._record.outcome = "silent"
        self._ping()

    def _stop_early(self) -> None:
        self._finish("cut")

    def _error_event(self) -> None:
        if self._plan.length is None:
            self._write(self._error.replace(NEXT, b"%d" % self._frames))
            self._finish("error")
        else:
            self._settle_reset()

    def _whole(self) -> None:
        self._finish("cut" if self._plan.ends else "whole")

    # parts

    def _head(self) -> None:
        self._record.status = self._plan.status
        script = self._script
        self._connection.write(self._plan.head)
        if script.reset == "after_headers":
            self._settle_reset()
            return
        if script.silence == "after_head":
            self._fall_silent()
            return
        if script.comment_first and self._plan.length is None and self._keepalive:
            self._write(b": this is only a comment\n\n")
        self._ping()
        if self._plan.length is None:
            self._pump()
        else:
            rate = script.rate
            self._first_at += (self._plan.events - 1) / rate if rate and self._plan.events else 0
            self._at(self._first_at, self._body)

    def _body(self) -> None:
        """The body of an answer that is not streamed, or the half of it before a fault."""
        self._quiet()
        body = b"".join(data for data, _ in self._plan.frames)
        if self._limit is not None:
            self._write(body[: len(body) // 2])
            self._then_do(self._act if self._act != self._stop_early else self._settle_reset)
            return
        self._record.events = self._record.total
        self._write(body)
        failed = self._plan.status >= 400  # noqa: PLR2004
        outcome = "error" if failed else "cut" if self._plan.ends else "whole"
        self._finish(outcome)

    def _due(self) -> float:
        rate = self._script.rate
        return self._first_at + (self._sent / rate if rate else 0.0)

    def _pump(self) -> None:
        """Send every event that is due, unless the client is behind."""
        if self._connection.paused:
            self._waiting = True
            return
        now = self._loop.time()
        batch = bytearray()
        count = 0
        while True:
            frame = self._held or next(self._plan.frames, None)
            self._held = None
            if frame is None:
                self._flush(batch)
                self._then_do(self._whole if self._limit is None else self._act)
                return
            data, content = frame
            if content:
                if self._sent == self._limit:
                    self._flush(batch)
                    self._then_do(self._act)
                    return
                due = self._due()
                if due > now:
                    self._held = frame
                    self._flush(batch)
                    self._at(due, self._pump)
                    return
                self._sent += 1
                if self._sent == 1:
                    self._quiet()
            batch += b"%x\r\n%b\r\n" % (len(data), data)
            self._frames += 1
            self._record.events = self._sent
            if content and self._sent == self._limit:
                self._flush(batch)
                self._then_do(self._act)
                return
            count += 1
            if count >= _BATCH or len(batch) >= _BATCH_BYTES:
                self._flush(batch)
                self._later(0, self._pump)  # let other connections have their turn
                return

    def _finish(self, outcome: str) -> None:
        self._then_do(lambda: self._end(outcome))

    def _end(self, outcome: str) -> None:
        self._cancel()
        if self._plan.length is None:
            self._connection.write(b"0\r\n\r\n")
        self._recorder.end(self._record, outcome)
        self._connection.done(keep_alive=self._keep_alive)

    # keep-alives

    def _ping(self) -> None:
        every = self._script.ping_every
        if every is not None and self._plan.length is None:
            self._timers["ping"] = self._loop.call_later(every, self._ping_now, every)

    def _ping_now(self, every: float) -> None:
        self._write(self._keepalive)
        self._timers["ping"] = self._loop.call_later(every, self._ping_now, every)

    def _quiet(self) -> None:
        timer = self._timers.pop("ping", None)
        if timer is not None:
            timer.cancel()

    # writing

    def _write(self, data: bytes) -> None:
        """One piece of the body, framed if it is a stream."""
        if self._plan.length is None and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._flush(data)

    def _flush(self, data: bytes | bytearray) -> None:
        if not data:
            return
        if self._script.slow_bytes is None:
            self._connection.write(bytes(data))
            return
        self._slow += data
        if "slow" not in self._timers:
            self._dribble()

    def _dribble(self) -> None:
        step = self._script.slow_bytes or 1
        self._timers.pop("slow", None)
        if self._slow:
            self._connection.write(bytes(self._slow[:step]))
            del self._slow[:step]
            self._timers["slow"] = self._loop.call_later(self._script.slow_delay, self._dribble)
        elif self._then is not None:
            then, self._then = self._then, None
            then()

    def _then_do(self, action: Callable[[], None]) -> None:
        """Act once everything written so far is out."""
        if "slow" in self._timers:
            self._then = action
        else:
            action()

    # timers

    def _at(self, when: float, action: Callable[[], None]) -> None:
        if when <= self._loop.time():
            action()
        else:
            self._timers["next"] = self._loop.call_at(when, action)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers["next"] = self._loop.call_later(seconds, action)

    def _cancel(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._slow.clear()
        self._then = None
