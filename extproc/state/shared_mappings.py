"""The sealed placeholders of sessions in Redis, which also lets go of them in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ConnectionError, NoScriptError  # noqa: A004 - not the system's

from extproc.state import check_mapping, new_version
from extproc.state.shared import DEADLINE, Script, connect, said

PUT: Final = Script("""\
-- KEYS: an entry. ARGV: the version to replace or 0, the new one, what is sealed, milliseconds.
-- Answers with 1 when done, 0 when the version is another.
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'sealed', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")


class SharedMappings:
    """Mappings that several workers share. See `Mappings`.

    One round trip a call, of `DEADLINE` seconds at most, connecting included.
    """

    def __init__(self, url: str) -> None:
        self._client = connect(url)

    async def get(self, name: str) -> tuple[bytes, int] | None:
        """See `Mappings`."""
        sealed, version = await _in_time(
            lambda: self._client.hmget(_key(name), ["sealed", "version"])
        )
        return None if sealed is None or version is None else (sealed, int(version))

    async def put(self, name: str, sealed: bytes, *, version: int, ttl: float) -> int:
        """See `Mappings`. When the answer was lost, 0 though it was done: who is told so loads
        again and finds it."""
        check_mapping(sealed)
        new = new_version()
        values = (_key(name), version, new, sealed, _milliseconds(ttl))

        async def call() -> Any:
            try:
                return await self._client.evalsha(PUT.sha, 1, *values)
            except NoScriptError:
                return await self._client.eval(PUT.text, 1, *values)

        return new if await _in_time(call) else 0

    async def touch(self, name: str, ttl: float) -> bool:
        """See `Mappings`."""
        return bool(await _in_time(lambda: self._client.pexpire(_key(name), _milliseconds(ttl))))

    async def forget(self, name: str) -> None:
        """See `Mappings`."""
        await _in_time(lambda: self._client.delete(_key(name)))

    async def ping(self) -> None:
        """See `Mappings`."""
        await _in_time(self._client.ping)

    async def close(self) -> None:
        """See `Mappings`."""
        await self._client.aclose()


async def _in_time(call: Callable[[], Any]) -> Any:
    """The call's answer. A connection that was lost (an idle one is cut, Redis was restarted) is
    made again once: every call here may be done twice."""
    with said():
        async with asyncio.timeout(DEADLINE):
            try:
                return await call()
            except ConnectionError:
                return await call()


def _key(name: str) -> str:
    return f"tollgate:{{{name}}}:placeholders"


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))
