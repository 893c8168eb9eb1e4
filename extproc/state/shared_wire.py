"""Commands over one connection to Redis, many at once, for callers who cannot wait long.

Replies come back in the order of the commands. A caller whose time is over hears so at once; while
commands are overdue, or no connection is there, others are refused without being sent, so that a
server in trouble is not asked by everybody again and again. redis-py makes the connection
(addresses, TLS, passwords); after that its transport is read and written here: a command of its own
costs some 150 us of the event loop, one of these some 20.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from extproc.state import StateError
from extproc.state.shared import DEADLINE, Script

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Seconds between attempts to connect: the pause doubles up to this, give or take a quarter."""
TURNS: Final = 2
"""How often the loop may look once more for an answer whose time is over."""
TURN: Final = 0.001
"""Seconds between two looks, within the caller's time."""
SILENCE: Final = 1.0
"""Seconds without any answer after which a connection is given up."""
_NOTHING: Final = object()
_ELSEWHERE: Final = re.compile(r"\b(READONLY|LOADING|MOVED|CLUSTERDOWN|MASTERDOWN)\b")
"""Errors, also of a command inside a script, after which another server may be the right one."""

Part = bytes | str | int | float


def command(*parts: Part) -> bytes:
    """A command as Redis reads it."""
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type] # its stub: of one part
    return packed


def call(script: Script, key: bytes, *values: Part) -> bytes:
    """A call of a script with one key."""
    return command("EVALSHA", script.sha, 1, key, *values)


class _Asked:
    """Commands that were sent together. `future` is done when all replies are there."""

    __slots__ = ("future", "missing", "overdue", "replies", "seconds", "timer", "turns", "until")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.missing = count
        self.replies: list[Any] = []
        self.future: asyncio.Future[list[Any]] = loop.create_future()
        self.seconds = seconds
        self.until = loop.time() + seconds
        self.overdue = False
        self.turns = TURNS
        self.timer: asyncio.TimerHandle | None = None

    def fail(self, problem: StateError) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            self.future.set_exception(problem)


class Wire:
    """See the module. `scripts` are there when the connection is; `seconds` is how long a caller
    waits, connecting included."""

    def __init__(self, url: str, scripts: Sequence[Script], seconds: float) -> None:
        self._pool = redis.ConnectionPool.from_url(
            url,
            protocol=3,
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
            retry=Retry(NoBackoff(), 0),
        )
        self._scripts = scripts
        self._seconds = seconds
        self._link: _Link | None = None
        self._batch: list[tuple[_Asked, bytes]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._away: str | None = None
        self._closed = False
        self._since = 0.0
        self.server = ""
        """Another one after Redis was restarted, or another took its place."""

    async def ask(self, *commands: bytes, within: float | None = None) -> list[Any]:
        """The replies, errors among them as values. `within`: other seconds than is usual. Raises
        StateError when Redis is away, or does not answer in time; whether the commands were done
        is not known then."""
        if self._away is not None:
            raise StateError(self._away)
        link = self._link
        if link is not None and link.is_late:
            raise StateError("Redis: answers are overdue")
        loop = asyncio.get_running_loop()
        seconds = self._seconds if within is None else within
        asked = _Asked(len(commands), loop, seconds)
        asked.timer = loop.call_at(asked.until - TURNS * TURN, self._overdue, asked)
        data = commands[0] if len(commands) == 1 else b"".join(commands)
        if link is not None:
            link.send(asked, data)
        else:
            self._batch.append((asked, data))
            self._reconnect()
        return await asked.future

    async def run(self, script: Script, key: bytes, *values: Part) -> Any:
        """What a script answers. Raises StateError."""
        (reply,) = await self.ask(call(script, key, *values))
        if is_unknown(reply):
            (reply,) = await self.ask(command("EVAL", script.text, 1, key, *values))
        return good(reply)

    def _overdue(self, asked: _Asked) -> None:
        if asked.turns:
            # A busy loop comes to its timers before it reads what has long arrived.
            asked.turns -= 1
            asked.timer = asyncio.get_running_loop().call_later(TURN, self._overdue, asked)
            return
        problem = StateError(f"Redis: no answer within {asked.seconds:g} s")
        asked.overdue = True
        asked.fail(problem)
        if self._link is None:
            self._batch = [one for one in self._batch if one[0] is not asked]
            self._away = str(problem)
        else:
            self._link.late(problem)

    def _reconnect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.create_task(self._connect(), name="cache-connect")

    async def _connect(self) -> None:
        pause = FIRST_PAUSE
        if self._away is not None:
            await asyncio.sleep(pause)
        told = False
        while True:
            connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()
                for script in self._scripts:
                    await connection.send_command("SCRIPT", "LOAD", script.text)
                    await connection.read_response()
                await connection.send_command("INFO", "server")
                about = await connection.read_response()
            except (RedisError, OSError, TimeoutError) as error:
                await connection.disconnect(nowait=True)
                if not told:
                    log.warning("the cache is off: Redis is away", extra={"reason": str(error)})
                told = True
                self._away = f"Redis: {error}"
                self._fail(StateError(self._away))
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            else:
                break
        if told:
            log.info("the cache is on again: Redis is back")
        self._away, self._connecting = None, None
        self.server = _run_id(about)
        self._link = _Link(self, connection)
        self._since = asyncio.get_running_loop().time()
        batch, self._batch = self._batch, []
        for asked, data in batch:
            self._link.send(asked, data)

    def _fail(self, problem: StateError) -> None:
        batch, self._batch = self._batch, []
        for asked, _ in batch:
            asked.fail(problem)

    def lost(self, link: _Link, problem: StateError) -> None:
        """For the link: it is no more. One that did not last is not made again at once."""
        if self._link is link:
            self._link = None
            if not self._closed:
                lasted = asyncio.get_running_loop().time() - self._since
                if lasted < LONGEST_PAUSE or link.is_late:
                    self._away = str(problem)
                self._reconnect()

    async def close(self) -> None:
        """End the connection; commands that were not answered fail."""
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
        await self._pool.aclose()


class _Link(asyncio.Protocol):
    """One connection for as long as it lasts."""

    def __init__(self, wire: Wire, connection: Any) -> None:
        self._wire = wire
        self._sent: deque[_Asked] = deque()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._connection = connection
        self._given_up: asyncio.TimerHandle | None = None
        # redis-py has no other way to its transport; `set_protocol` is asyncio's own.
        self._transport = connection._writer.transport  # noqa: SLF001
        self._transport.set_protocol(self)

    @property
    def is_late(self) -> bool:
        """The answer that comes next is overdue."""
        return bool(self._sent) and self._sent[0].overdue

    def send(self, asked: _Asked, data: bytes) -> None:
        self._sent.append(asked)
        self._transport.write(data)

    def late(self, problem: StateError) -> None:
        """Some are overdue: wait a while longer for a sign of life."""
        if self._given_up is None:
            loop = asyncio.get_running_loop()
            self._given_up = loop.call_later(SILENCE, self.lose, problem)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None
        reader, sent = self._reader, self._sent
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING:
                if type(reply) is hiredis.PushNotification:
                    continue
                asked = sent[0]
                asked.replies.append(reply)
                asked.missing -= 1
                if not asked.missing:
                    sent.popleft()
                    _answer(asked)
                if isinstance(reply, hiredis.ReplyError) and _ELSEWHERE.search(str(reply)):
                    self.lose(StateError(f"Redis: {reply}"))
                    return
        except (hiredis.ProtocolError, IndexError) as error:
            self.lose(StateError(f"Redis: {error!r}"))
            return
        if self.is_late:
            self.late(StateError("Redis: answers are overdue"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lose(StateError(f"Redis: {exc or 'the connection was closed'}"))

    def lose(self, problem: StateError) -> None:
        """Give the connection up; commands that were not answered may or may not have been done."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._given_up is not None:
            self._given_up.cancel()
        self._transport.abort()
        connection._close()  # noqa: SLF001 - or it warns of itself
        self._wire.lost(self, problem)
        sent, self._sent = self._sent, deque()
        for asked in sent:
            asked.fail(problem)


def _answer(asked: _Asked) -> None:
    if asked.timer is not None:
        asked.timer.cancel()
    if not asked.future.done():
        asked.future.set_result(asked.replies)


def is_unknown(reply: Any) -> bool:
    """The server has forgotten its scripts."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def good(reply: Any) -> Any:
    """A reply that is no error. Raises StateError."""
    if isinstance(reply, hiredis.ReplyError):
        raise StateError(f"Redis: {reply}")
    return reply


def _run_id(about: Any) -> str:
    text = about if isinstance(about, bytes) else str(about).encode()
    found = re.search(rb"run_id:(\w+)", text)
    return found[1].decode() if found else ""
