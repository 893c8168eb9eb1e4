"""State that several workers share, in Redis 6.2 or newer.

Keys of one request carry its id as hash tag, so that they live on one node of a cluster.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, cast

import redis.asyncio as redis
from redis.exceptions import RedisError

from extproc.state import MOST_NOTES, NOTE_SECONDS, StateError

DEADLINE: Final = 0.5
"""Seconds for one round trip: a note that comes later than that is worth nothing."""


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` URLs. Does not connect yet."""
    return redis.Redis.from_url(
        url, socket_timeout=DEADLINE, socket_connect_timeout=DEADLINE, health_check_interval=30
    )


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
    try:
        return await call
    except (RedisError, OSError, TimeoutError) as error:
        raise StateError(f"Redis: {error}") from error
