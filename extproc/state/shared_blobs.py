"""Blobs and labels by name in Redis, the two of a name on one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from extproc.state.answer_frames import DamagedError, Frames, check_blob, name_of
from extproc.state.answers import BLOB_SECONDS, new_id
from extproc.state.shared import Script
from extproc.state.shared_wire import Wire, command, good

_LIFE: Final = int(BLOB_SECONDS * 1000)

REPLACE: Final = Script("""\
-- KEYS: a blob. ARGV: the version to replace or 0, the new one, the blob, milliseconds to live.
-- Answers with 1 when done, 0 when the version is another.
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'blob', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")
APPEND: Final = Script("""\
-- KEYS: labels. ARGV: how many to keep, milliseconds to live, labels.
for i = 3, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'l', ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")
SCRIPTS: Final = (REPLACE, APPEND)


class SharedBlobs:
    """See `CacheStore`. `damaged` is called for each that is not what was written."""

    def __init__(self, wire: Wire, frames: Frames, damaged: Callable[[], None]) -> None:
        self._wire = wire
        self._frames = frames
        self._damaged = damaged

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """See `CacheStore`. One that is damaged is empty, so that it can be replaced."""
        salt = name_of(name)
        (reply,) = await self._wire.ask(command("HMGET", _blob(salt), "blob", "version"))
        sealed, version = good(reply)
        if sealed is None or version is None:
            return None
        return self._opened(salt, sealed) or b"", int(version)

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """See `CacheStore`. When the answer was lost, StateError or 0 though it was done: who reads
        again finds it."""
        check_blob(blob)
        salt, new = name_of(name), new_id()
        sealed = self._frames.seal(salt, blob)
        values = (str(version), str(new), sealed, _LIFE)
        return new if await self._wire.run(REPLACE, _blob(salt), *values) else 0

    async def append(self, name: str, labels: Sequence[bytes], keep: int) -> None:
        """See `CacheStore`."""
        salt = name_of(name)
        sealed = [self._frames.seal(salt, label) for label in labels]
        if sealed:
            await self._wire.run(APPEND, _labels(salt), keep, _LIFE, *sealed)

    async def labels(self, name: str, after: str, most: int) -> tuple[list[bytes], str]:
        """See `CacheStore`."""
        salt = name_of(name)
        start = f"({after}" if after else "-"
        (reply,) = await self._wire.ask(command("XRANGE", _labels(salt), start, "+", "COUNT", most))
        rows: list[Any] = good(reply)
        opened = (self._opened(salt, fields[1]) for _, fields in rows)
        found = [label for label in opened if label is not None]
        return found, rows[-1][0].decode() if rows else after

    async def discard(self, name: str) -> None:
        """See `CacheStore`."""
        salt = name_of(name)
        (reply,) = await self._wire.ask(command("UNLINK", _blob(salt), _labels(salt)))
        good(reply)

    def _opened(self, salt: bytes, sealed: bytes) -> bytes | None:
        try:
            return self._frames.open(salt, sealed)
        except DamagedError:
            self._damaged()
            return None


def _blob(salt: bytes) -> bytes:
    return b"tollgate:cache:{%b}:blob" % salt.hex().encode()


def _labels(salt: bytes) -> bytes:
    return b"tollgate:cache:{%b}:labels" % salt.hex().encode()
