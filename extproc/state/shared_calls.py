"""Calls of one script over one connection to Redis, in order and many at once.

What is called in one turn of the event loop goes out in one write. Replies come back in the order
of the calls, and messages published to this process in between (RESP3), so there is nothing to
match up. redis-py makes the connection (addresses, TLS, passwords); after that its transport is
read and written here: its own commands cost some 150 us of the event loop each, these some 20.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from extproc.state import StateError
from extproc.state.shared import DEADLINE, Script

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 1.0
"""Seconds between attempts to connect: the pause doubles up to this."""
_NOTHING: Final = object()
_ELSEWHERE: Final = re.compile(r"\b(READONLY|LOADING|MOVED|CLUSTERDOWN|MASTERDOWN)\b")
"""Errors, also of a command inside the script, after which another server may be the right one."""
_LATER: Final = re.compile(r"\b(OOM|MISCONF|NOREPLICAS|BUSY)\b")
"""Errors that go by."""

Done = Callable[[bytes, bytes, Any], None]
"""Hears of its call's head and argument, and the reply: bytes, None or a StateError."""
Heard = Callable[[bytes], None]


class ScriptError(StateError):
    """The script refused its argument: to send it again would not help."""


class Calls:
    """See the module. `heard` gets each message published on `channel`; `turned` hears True when
    the connection is there, and False after each attempt that failed."""

    def __init__(
        self, url: str, script: Script, channel: str, heard: Heard, turned: Callable[[bool], None]
    ) -> None:
        self._pool = redis.ConnectionPool.from_url(
            url,
            protocol=3,
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = script
        self._channel = channel
        self._load = _packed(b"SCRIPT", b"LOAD", script.text.encode())
        self._heard, self._turned = heard, turned
        self._link: _Link | None = None
        self._batch: list[_Call] = []
        self._soon: asyncio.Handle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._away: str | None = None
        self._closed = False
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def up(self) -> bool:
        """The connection is there."""
        return self._link is not None

    def head(self, *arguments: bytes) -> bytes:
        """The beginning of calls whose last argument is another each time."""
        parts = (b"EVALSHA", self._script.sha.encode(), b"1", b"{tollgate:limits}:", *arguments)
        return _packed(*parts, more=1)

    def call(self, head: bytes, argument: bytes, done: Done) -> None:
        """Send a call with this turn's. Raises StateError when Redis is known to be away."""
        if self._away is not None:
            raise StateError(self._away)
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        self._batch.append((loop.time(), head, argument, done))
        if self._soon is None:
            self._soon = loop.call_soon(self._flush)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()

    def _flush(self) -> None:
        self._soon = None
        if self._link is None:
            self._reconnect()
        elif self._batch:
            self._link.send(self._batch)
            self._batch = []
        if self._watch is None:
            self._look_again()

    def _look_again(self) -> None:
        """Look after the oldest call when its time is over, not after each."""
        assert self._loop is not None  # noqa: S101 - whoever has calls has a loop
        oldest = self._oldest()
        if oldest is None:
            self._watch = None
        else:
            self._watch = self._loop.call_at(oldest + DEADLINE, self._overdue)

    def _oldest(self) -> float | None:
        if self._link is not None and self._link.sent:
            return self._link.sent[0][0]
        return self._batch[0][0] if self._batch else None

    def _overdue(self) -> None:
        assert self._loop is not None  # noqa: S101 - as above
        oldest = self._oldest()
        if oldest is not None and oldest + DEADLINE <= self._loop.time():
            problem = StateError(f"Redis: no answer within {DEADLINE} s")
            if self._link is not None and self._link.sent:
                self._link.lose(problem)
            else:
                self._fail(problem)
        self._look_again()

    def _fail(self, problem: StateError) -> None:
        batch, self._batch = self._batch, []
        for _, head, argument, done in batch:
            done(head, argument, problem)

    def _reconnect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.create_task(self._connect(), name="limits-connect")

    async def _connect(self) -> None:
        pause = FIRST_PAUSE
        if self._away is not None:
            await asyncio.sleep(pause)
        while True:
            connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()
                await connection.send_command("SCRIPT", "LOAD", self._script.text)
                await connection.read_response()
                await connection.send_command("SUBSCRIBE", self._channel)
                await connection.read_response(push_request=True)
            except (RedisError, OSError, TimeoutError) as error:
                await connection.disconnect(nowait=True)
                if self._away is None:
                    log.warning("no counters: Redis is away", extra={"reason": str(error)})
                self._away = f"Redis: {error}"
                self._fail(StateError(self._away))
                self._turned(False)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            else:
                break
        if self._away is not None:
            log.info("Redis is back")
        self._away, self._connecting = None, None
        self._link = _Link(self, connection)
        self._since = self._clock()
        self._turned(True)
        self._flush()

    def received(self, message: list[Any]) -> None:
        """For the link: something was pushed."""
        if message[0] == b"message":
            _say(self._heard, message[2])

    def load(self, calls: list[_Call]) -> None:
        """For the link: a server that has forgotten its scripts is told, and asked again before
        what was called since."""
        assert self._link is not None  # noqa: S101 - the link itself says so
        self._batch = calls + self._batch
        self._link.reload(self._load)
        if self._soon is None and self._loop is not None:
            self._soon = self._loop.call_soon(self._flush)

    def lost(self, link: _Link, problem: StateError) -> None:
        """For the link: it is no more. One that did not last is not made again at once."""
        if self._link is link:
            self._link = None
            if self._clock() - self._since < LONGEST_PAUSE and not self._closed:
                self._away = str(problem)
            self._reconnect()

    async def close(self) -> None:
        """End the connection; calls that were not answered fail."""
        self._closed = True
        self._away = "closed"
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
            self._connecting = None
        problem = StateError("closed")
        if self._link is not None:
            self._link.lose(problem)
        self._fail(problem)
        for handle in (self._soon, self._watch):
            if handle is not None:
                handle.cancel()
        await self._pool.aclose()


_Call = tuple[float, bytes, bytes, Done]
"""When it was made, on the loop's clock; head, argument, who hears."""


class _Link(asyncio.Protocol):
    """One connection for as long as it lasts."""

    def __init__(self, calls: Calls, connection: Any) -> None:
        self._calls = calls
        self.sent: deque[_Call] = deque()
        self._again: list[_Call] = []
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._connection = connection
        # redis-py has no other way to its transport; `set_protocol` is asyncio's own.
        self._transport = connection._writer.transport  # noqa: SLF001
        self._transport.set_protocol(self)

    def send(self, batch: list[_Call]) -> None:
        self.sent.extend(batch)
        parts = []
        for _, head, argument, _ in batch:
            parts.append(b"%b$%d\r\n%b\r\n" % (head, len(argument), argument))
        self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def reload(self, load: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), b"", b"", _ignored))
        self._transport.write(load)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        reader, sent = self._reader, self.sent
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING:
                if type(reply) is hiredis.PushNotification:
                    self._calls.received(reply)
                elif isinstance(reply, hiredis.ReplyError):
                    self._refused(sent.popleft(), str(reply))
                else:
                    _, head, argument, done = sent.popleft()
                    _say(done, head, argument, reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.lose(StateError(f"Redis: {error!r}"))
        if self._again:
            again, self._again = self._again, []
            self._calls.load(again)

    def _refused(self, call: _Call, words: str) -> None:
        _, head, argument, done = call
        if words.startswith("NOSCRIPT"):
            self._again.append(call)
        elif _ELSEWHERE.search(words):
            problem = StateError(f"Redis: {words}")
            done(head, argument, problem)
            self.lose(problem)
        elif words.startswith("ERR") and not _LATER.search(words):
            done(head, argument, ScriptError(f"Redis: {words}"))
        else:
            done(head, argument, StateError(f"Redis: {words}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lose(StateError(f"Redis: {exc or 'the connection was closed'}"))

    def lose(self, problem: StateError) -> None:
        """Give the connection up; calls that were not answered may or may not have been done."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._transport.abort()
        connection._close()  # noqa: SLF001 - or it warns of itself
        self._calls.lost(self, problem)
        sent, self.sent = self.sent, deque()
        for _, head, argument, done in [*self._again, *sent]:
            done(head, argument, problem)
        self._again = []


def _packed(*parts: bytes, more: int = 0) -> bytes:
    """A command as Redis reads it, or the beginning of one with `more` parts."""
    return b"*%d\r\n" % (len(parts) + more) + b"".join(
        b"$%d\r\n%b\r\n" % (len(part), part) for part in parts
    )


def _say(listener: Callable[..., None], *words: Any) -> None:
    """A listener that fails harms neither the connection nor the listeners after it."""
    try:
        listener(*words)
    except Exception:  # as asyncio does with call-backs
        log.exception("a reply of Redis was not understood")


def _ignored(_: bytes, __: bytes, ___: Any) -> None:
    """What becomes of a call that nobody asked for."""
