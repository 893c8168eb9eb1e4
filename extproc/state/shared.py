"""State that several workers share, in Redis 6.2 or newer.

Keys of one request carry its id as hash tag, so that they live on one node of a cluster.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Iterator
from typing import Any, Final, cast

import redis as blocking
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as BlockingRetry

from extproc.state import MOST_NOTES, NOTE_SECONDS, StateError

DEADLINE: Final = 0.5
"""Seconds for one round trip: a note that comes later than that is worth nothing."""
QUERY_DEADLINE: Final = 10.0
"""Seconds for one round trip where nobody's request waits for it."""


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` URLs. Does not connect yet."""
    return redis.Redis.from_url(
        url,
        socket_timeout=DEADLINE,
        socket_connect_timeout=DEADLINE,
        health_check_interval=30,
        # What was sent may have been done: whoever called knows whether to do it again.
        retry=Retry(NoBackoff(), 0),
    )


def connect_blocking(url: str) -> blocking.Redis:
    """The same for a thread that may block, with more patience. Does not connect yet."""
    return blocking.Redis.from_url(
        url,
        socket_timeout=QUERY_DEADLINE,
        socket_connect_timeout=DEADLINE,
        health_check_interval=30,
        retry=BlockingRetry(NoBackoff(), 0),
    )


class Script:
    """A Lua script, sent whole only to a server that does not have it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Say what Redis and the network say as this room does."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StateError(f"Redis: {error}") from error


class SharedNotes:
    """Notes as Redis lists, one round trip a call."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def leave(self, request_id: str, note: bytes) -> None:
        """See `Notes`."""
        key = f"tollgate:{{{request_id}}}:notes"
        pipe = self._client.pipeline(transaction=False)
        pipe.rpush(key, note)
        pipe.ltrim(key, 0, MOST_NOTES - 1)
        pipe.pexpire(key, int(NOTE_SECONDS * 1000))
        await _guarded(pipe.execute())

    async def take(self, request_id: str) -> list[bytes]:
        """See `Notes`."""
        key = f"tollgate:{{{request_id}}}:notes"
        pipe = self._client.pipeline(transaction=True)
        pipe.lrange(key, 0, -1)
        pipe.delete(key)
        found, _ = await _guarded(pipe.execute())
        return cast("list[bytes]", found)

    async def ping(self) -> None:
        """See `Notes`."""
        await _guarded(cast("Awaitable[Any]", self._client.ping()))

    async def close(self) -> None:
        """See `Notes`."""
        await self._client.aclose()


async def _guarded(call: Awaitable[Any]) -> Any:
    with said():
        return await call
