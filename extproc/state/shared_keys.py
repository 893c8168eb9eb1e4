"""The callers' keys in Redis.

All of them bear one hash tag: a key and its digests must change together, and a cluster does that
on one node only. A gateway has thousands of keys, not what needs spreading.
"""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, Final, cast

import msgspec
from redis.exceptions import NoScriptError

from extproc.state import ExistsError, StoredKey
from extproc.state.shared import Script, connect, connect_blocking, said
from extproc.state.threads import Desk

RECORDS: Final = "tollgate:{keys}:records"
"""Hash: a key's id -> its record."""
OWNED: Final = "tollgate:{keys}:owned"
"""Hash: a key's id -> its digests, as a MessagePack array."""
DIGESTS: Final = "tollgate:{keys}:digests"
"""Hash: digest -> the id of the key it belongs to."""
SETTINGS: Final = "tollgate:{keys}:settings"
REVISION: Final = "revision"
"""The setting that changes with the keys."""
SCANNED: Final = 500
"""Keys read at a time, of which others wait for less than a millisecond."""

ADD: Final = Script("""\
-- KEYS: records, owned, digests, settings. ARGV: the new revision; then id, record, digests
--   (MessagePack) of each key.
-- Looks first at all, then writes all. Answers with nothing, or with what is there already.
local ids, digests = {}, {}
for i = 2, #ARGV, 3 do
  local id, owned = ARGV[i], cmsgpack.unpack(ARGV[i + 2])
  if ids[id] or redis.call('HEXISTS', KEYS[1], id) == 1 then return {'key', id} end
  ids[id] = true
  for _, digest in ipairs(owned) do
    if digests[digest] or redis.call('HEXISTS', KEYS[3], digest) == 1 then
      return {'digest', id}
    end
    digests[digest] = id
  end
end
for i = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
for digest, id in pairs(digests) do redis.call('HSET', KEYS[3], digest, id) end
redis.call('HSET', KEYS[4], 'revision', ARGV[1])
return {}
""")

REPLACE: Final = Script("""\
-- KEYS: records, owned, digests, settings. ARGV: id, record, digests (MessagePack), the old record,
--   the new revision.
-- Answers with 1 when done, 0 when the record is another, -1 when a digest is another key's.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[4] then return 0 end
local owned = cmsgpack.unpack(ARGV[3])
local before = cmsgpack.unpack(redis.call('HGET', KEYS[2], ARGV[1]))
for _, digest in ipairs(owned) do
  local owner = redis.call('HGET', KEYS[3], digest)
  if owner and owner ~= ARGV[1] then return -1 end
end
for _, digest in ipairs(before) do redis.call('HDEL', KEYS[3], digest) end
for _, digest in ipairs(owned) do redis.call('HSET', KEYS[3], digest, ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[4], 'revision', ARGV[5])
return 1
""")

FIND: Final = Script("""\
-- KEYS: records, owned, digests. ARGV: a digest. Answers with id, record and digests.
local id = redis.call('HGET', KEYS[3], ARGV[1])
if not id then return {} end
return {id, redis.call('HGET', KEYS[1], id), redis.call('HGET', KEYS[2], id)}
""")

SETTLE: Final = Script("""\
-- KEYS: settings. ARGV: name, value.
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
""")

_HASHES: Final = (RECORDS, OWNED, DIGESTS)
_CHANGED: Final = (*_HASHES, SETTINGS)
_encode = msgspec.msgpack.Encoder().encode
_digests = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class SharedKeys:
    """Keys that several workers share. See `KeyStore`."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self._patient = connect_blocking(url)
        self._desk = Desk("redis-keys")

    async def add(self, keys: Sequence[StoredKey]) -> None:
        """See `KeyStore`. One script: Redis serves nobody else meanwhile, some 30 ms for 10,000
        keys."""

        def work() -> list[bytes]:
            values: list[str | bytes] = [_revision()]
            for key in keys:
                values += (key.id, key.record, _encode(key.digests))
            with said():
                try:
                    found = self._patient.evalsha(ADD.sha, len(_CHANGED), *_CHANGED, *values)
                except NoScriptError:
                    found = self._patient.eval(ADD.text, len(_CHANGED), *_CHANGED, *values)
            return cast("list[bytes]", found)

        found = await self._desk.run(work)
        if found:
            what = "key" if found[0] == b"key" else "a digest of key"
            raise ExistsError(f"{what} {found[1].decode()} is there already")

    async def replace(self, key: StoredKey, old: bytes) -> bool:
        """See `KeyStore`. Raises ExistsError if a digest is another key's."""
        values = (key.id, key.record, _encode(key.digests), old, _revision())
        done = await self._run(REPLACE, _CHANGED, *values)
        if done < 0:
            raise ExistsError(f"a digest of key {key.id} is there already")
        return bool(done)

    async def find(self, digest: str) -> StoredKey | None:
        """See `KeyStore`."""
        found = await self._run(FIND, _HASHES, digest)
        return _key(*found) if found else None

    async def get(self, key_id: str) -> StoredKey | None:
        """See `KeyStore`."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hget(RECORDS, key_id)
        pipe.hget(OWNED, key_id)
        with said():
            record, owned = await pipe.execute()
        return None if record is None else _key(key_id.encode(), record, owned)

    async def list(self) -> list[StoredKey]:
        """See `KeyStore`. Keys that change meanwhile are seen before or after."""
        return await self._desk.run(self._list)

    def _list(self) -> builtins.list[StoredKey]:
        found: dict[bytes, StoredKey] = {}
        cursor = 0
        while True:
            with said():
                cursor, ids = cast(
                    "tuple[int, dict[bytes, bytes]]",
                    self._patient.hscan(RECORDS, cursor, count=SCANNED),
                )
                if ids:
                    pipe = self._patient.pipeline(transaction=True)
                    pipe.hmget(RECORDS, list(ids))
                    pipe.hmget(OWNED, list(ids))
                    for key_id, record, owned in zip(ids, *pipe.execute(), strict=True):
                        found[key_id] = _key(key_id, record, owned)
            if not cursor:
                return sorted(found.values(), key=lambda key: key.id)

    async def revision(self) -> str:
        """See `KeyStore`."""
        with said():
            found = await cast("Awaitable[bytes | None]", self._client.hget(SETTINGS, REVISION))
        return "" if found is None else found.decode()

    async def settle(self, name: str, value: str) -> str:
        """See `KeyStore`."""
        found: bytes = await self._run(SETTLE, (SETTINGS,), name, value)
        return found.decode()

    async def ping(self) -> None:
        """See `KeyStore`."""
        with said():
            await cast("Awaitable[Any]", self._client.ping())

    async def close(self) -> None:
        """See `KeyStore`."""
        await self._desk.close(self._patient.close)
        await self._client.aclose()

    async def _run(self, script: Script, keys: Sequence[str], *values: str | bytes) -> Any:
        with said():
            try:
                return await self._client.evalsha(script.sha, len(keys), *keys, *values)
            except NoScriptError:
                return await self._client.eval(script.text, len(keys), *keys, *values)


def _revision() -> str:
    """Random, not counted: a server that has lost its last changes must not come to a revision that
    somebody has seen with other keys."""
    return uuid.uuid4().hex


def _key(key_id: bytes, record: bytes, owned: bytes) -> StoredKey:
    return StoredKey(key_id.decode(), record, _digests(owned))
