"""Answers kept for the cache in Redis.

What entries there are is one set of keys on one node; the answers lie under a key of their own
each, on any. An answer counts only if it bears the id that stands there, so whatever happens in
between the two is a miss and no wrong answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from extproc.state import StateError
from extproc.state.answer_frames import (
    OLDER,
    DamagedError,
    Frames,
    attribute,
    attributes,
    check,
    is_forgotten,
    limit_of,
    match_of,
    matches,
    size_of,
    worth_of,
)
from extproc.state.answers import (
    MOST_CHANGES,
    Change,
    Changes,
    Entry,
    Forgotten,
    Gone,
    Head,
    Listed,
    Match,
    Page,
    Placed,
    Room,
    Stats,
)
from extproc.state.shared import Script
from extproc.state.shared_blobs import SCRIPTS as BLOB_SCRIPTS
from extproc.state.shared_blobs import SharedBlobs
from extproc.state.shared_wire import Part, Wire, call, command, good, is_unknown
from extproc.state.touches import TIDY_EVERY, Hits, Touches

log = logging.getLogger(__name__)

GET_SECONDS: Final = 0.01
"""How long a request waits for an entry: one round trip takes some 0.1 ms."""
PATIENCE: Final = 2.0
"""Seconds for one round trip where no request waits."""
PREFIX: Final = b"{tollgate:cache}:"
SCANNED: Final = 128
"""Entries looked at, removed or fetched in one go: Redis and the event loop are each busy with them
for a millisecond."""
_HEAD: Final = 56
"""Bytes of a row before its sealed head; as in the script."""
_ID: Final = 8
_ROW: Final = struct.Struct(">ddd32s")

CHECK: Final = Script("""\
-- KEYS: as of `answers.lua`. ARGV: an exact key. Answers with the entry's id; where anything is
-- being forgotten, then with its number and what that is.
local id = redis.call('HGET', KEYS[1] .. 'ids', ARGV[1])
if not id then return false end
local pending = redis.call('HGETALL', KEYS[1] .. 'pending')
if #pending == 0 then return {id} end
local row = redis.call('HGET', KEYS[1] .. 'rows', id)
if not row or #row < 8 then return false end
return {id, string.format('%.0f', (struct.unpack('>d', row))), pending}
""")
WRITE: Final = Script("""\
-- KEYS: an answer. ARGV: its entry's id, the entry, its vector or '', milliseconds to live.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'body', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'vector', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")
REMOVE: Final = Script("""\
-- KEYS: an answer. ARGV: an id. Removes it if it is that entry's.
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
""")


class SharedAnswers:
    """Entries that several workers share. See `CacheStore`.

    `get` and `find` go over a connection of their own.
    """

    def __init__(
        self,
        url: str,
        room: Room = Room(),  # noqa: B008 - it is frozen
        *,
        secret: bytes = b"",
        wall: Callable[[], float] = time.time,
        changes: int = MOST_CHANGES,
        every: float = TIDY_EVERY,
        seconds: float = GET_SECONDS,
    ) -> None:
        """`secret`: see `Frames`. `wall`: epoch seconds. `changes`: how many are remembered.
        `every`: seconds between two looks for what is over. `seconds`: how long `get` waits for a
        round trip. Raises ValueError for a URL that cannot be."""
        text = (files("extproc.state") / "lua" / "answers.lua").read_text("utf-8")
        self._script = Script(text)
        self._quick = Wire(url, (CHECK,), seconds)
        self._slow = Wire(url, (self._script, WRITE, REMOVE, *BLOB_SCRIPTS), PATIENCE)
        self._frames = Frames(secret)
        self._blobs = SharedBlobs(self._slow, self._frames, self._damaged)
        self._room = room
        self._wall = wall
        self._changes = changes
        self._touches = Touches(self._tell, self.tidy, every)
        self._losing: set[asyncio.Task[None]] = set()
        self.corrupt = 0
        """See `CacheStore`."""

    async def get(self, exact: bytes) -> Entry | None:
        """See `CacheStore`."""
        self._touches.begin()
        asks = (call(CHECK, PREFIX, exact), command("HMGET", _key(exact), "id", "body"))
        known, found = await self._quick.ask(*asks)
        if is_unknown(known):
            (known,) = await self._quick.ask(command("EVAL", CHECK.text, 1, PREFIX, exact))
        if good(known) is None:
            return None
        name, body = good(found)
        if name is None:
            return None
        entry = self._read_body(known[0], name, body, exact)
        if entry is None or entry.head.expires <= self._wall():
            return None
        if len(known) > 1 and is_forgotten(entry.head, int(known[1]), _pairs(known[2])):
            return None
        return entry

    def _read_body(
        self, known: bytes, name: bytes, body: bytes | None, exact: bytes
    ) -> Entry | None:
        """The entry that is known under an exact key, if it is what stands there under a name. None
        also if it is another's, put there this moment."""
        with contextlib.suppress(DamagedError):
            entry = self._frames.read_body(_number(known), body or b"", exact)
            if name == known:
                return entry
        if name == known or not self._is_whole(name, body, exact):
            self._lose(_number(known))
        return None

    def _is_whole(self, name: bytes, body: bytes | None, exact: bytes) -> bool:
        if len(name) != _ID:
            return False
        with contextlib.suppress(DamagedError):
            return bool(self._frames.read_body(_number(name), body or b"", exact))
        return False

    async def find(self, entry: int) -> Entry | None:
        """See `CacheStore`. Takes two round trips; `get` with its exact key takes one."""
        (row,) = await self._quick.ask(command("HGET", PREFIX + b"rows", _name(entry)))
        if good(row) is None:
            return None
        exact = _exact(row)
        found = None if exact is None else await self.get(exact)
        return found if found is not None and found.head.id == entry else None

    async def show(self, entry: int) -> Listed | None:
        """See `CacheStore`."""
        pending, *row = await self._run("row", _name(entry))
        found = self._listed([_name(entry), *row], _pairs(pending), None) if row else []
        return found[0] if found else None

    async def put(self, entry: Entry, *, since: str = "", of: int = 0) -> bool:
        """See `CacheStore`."""
        check(entry)
        head, size, now = entry.head, size_of(entry), self._wall()
        epoch, number = await self._since(since)
        if size > self._room.bytes or head.expires <= now or (since and not epoch):
            return False
        # Looked at first, for what is refused must not take the place of what is there.
        original = _name(of) if of else b""
        may: tuple[Part, ...] = (epoch, number, *attributes(head))
        if not await self._run("may", _epoch(), repr(head.created), original, *may):
            return False
        name, key = _name(head.id), _key(head.exact)
        vector = self._frames.vector(head.id, entry.vector) if entry.vector else b""
        life = max(1, int((head.expires - now) * 1000))
        written: list[Part] = [name, self._frames.body(entry), vector, life]
        placed: list[Part] = ["put", _epoch(), self._changes, name, head.exact]
        placed += [size, worth_of(head), repr(head.created), repr(head.expires)]
        placed += [self._frames.head(head), original, *self._bounds(), *may]
        # The answer first: who follows the changes fetches its vector at once.
        replies = await self._slow.ask(
            call(WRITE, key, *written), call(self._script, PREFIX, *placed)
        )
        if any(map(is_unknown, replies)):
            replies = [await self._slow.run(WRITE, key, *written), await self._run(*placed)]
        good(replies[0])
        done, over, *gone = good(replies[1])
        if not done:
            await self._unlink([name, head.exact])
            return False
        while over:
            _, over, *more = await self._run("room", self._changes, name, *self._bounds())
            gone += more
        await self._unlink(
            [part for pair in _turns(gone) if pair[1] != head.exact for part in pair]
        )
        return True

    def _bounds(self) -> tuple[int, int, str]:
        return self._room.entries, self._room.bytes, repr(self._wall())

    def touch(self, entry: int, saved: int) -> None:
        """See `CacheStore`."""
        self._touches.begin()
        self._touches.add(entry, saved)

    async def flush(self) -> None:
        """See `CacheStore`."""
        await self._touches.flush()

    async def _tell(self, hits: Hits) -> None:
        values = [(_name(one), count, saved) for one, (count, saved) in hits.items()]
        for at in range(0, len(values), SCANNED):
            some = values[at : at + SCANNED]
            await self._run("touch", *(part for one in some for part in one))

    async def drop(self, ids: Sequence[int]) -> int:
        """See `CacheStore`."""
        return await self._remove([_name(one) for one in ids if one > 0])

    async def forget(self, match: Match) -> int:
        """See `CacheStore`."""
        limit = repr(limit_of(match)) if match.what == OLDER else ""
        await self._run("forget", _epoch(), self._changes, attribute(match), limit)
        return await self._sweep()

    async def _sweep(self) -> int:
        """Remove what is forgotten; returns how many entries went."""
        pending = await self._run("pending")
        if not pending:
            return 0
        forgotten, gone, cursor = _pairs(pending), 0, b"0"
        while True:
            cursor, _, *rows = await self._run("scan", cursor, SCANNED)
            names = []
            for name, row, _, _ in _turns(rows, 4):
                head = self._read_row(name, row)
                if head is None or is_forgotten(head, _row_number(row), forgotten):
                    names.append(name)
            gone += await self._remove(names, "forgotten")
            if cursor == b"0":
                break
        await self._run("swept", *pending)
        return gone

    async def tidy(self) -> None:
        """Remove what is over or was forgotten. Raises StateError."""
        while await self._run("expire", self._changes, repr(self._wall()), SCANNED):
            pass  # Redis lets go of the answers itself
        await self._sweep()

    async def page(self, after: str = "", most: int = 200, match: Match | None = None) -> Page:
        """See `CacheStore`."""
        cursor, pending, *rows = await self._run("scan", after or "0", min(most, SCANNED))
        listed = self._listed(rows, _pairs(pending), match)
        return Page(listed, "" if cursor == b"0" else cursor.decode())

    def _listed(
        self, rows: Sequence[bytes], forgotten: Mapping[str, float], match: Match | None
    ) -> list[Listed]:
        now, listed = self._wall(), []
        for name, row, hits, saved in _turns(rows, 4):
            head = self._read_row(name, row)
            if head is None:
                self._remove_soon(_number(name))
            elif (
                head.expires > now
                and not is_forgotten(head, _row_number(row), forgotten)
                and matches(match, head)
            ):
                size = int(_ROW.unpack_from(row)[1])
                listed.append(Listed(head, size, int(hits), int(saved)))
        return listed

    async def stats(self) -> Stats:
        """See `CacheStore`."""
        names = Stats.__struct_fields__
        return Stats(**dict(zip(names, map(int, await self._run("stats")), strict=True)))

    async def cursor(self) -> str:
        """See `CacheStore`."""
        return self._cursor(*await self._run("cursor", _epoch()))

    async def changes(self, after: str, most: int = 1000) -> Changes:
        """See `CacheStore`."""
        epoch, number = await self._since(after)
        here, last, whole, *rows = await self._run("changes", _epoch(), number or "0", most)
        if not whole or here.decode() != epoch or epoch != self._split(after)[0]:
            return Changes((), self._cursor(here, last), reload=True)
        heads: list[Head] = []
        marks: list[Change | int] = []
        for _, what, data, row in _turns(rows, 4):
            with self._noticing():
                if what == b"g":
                    marks.append(Gone(tuple(map(_number, _cut(data)))))
                elif what == b"f":
                    marks.append(Forgotten(match_of(data.decode())))
                elif row and (head := self._read_row(data, row)) and head.embedder:
                    heads.append(head)
                    marks.append(head.id)
        placed = {one.id: one for one in await self._placed(heads)}
        found = [placed.get(one) if isinstance(one, int) else one for one in marks]
        count = len(rows) // 4
        return Changes(
            [one for one in found if one is not None],
            self._cursor(here, rows[-4] if rows else number.encode()),
            more=count == most,
        )

    async def vectors(self) -> AsyncIterator[Sequence[Placed]]:
        """See `CacheStore`."""
        cursor = b"0"
        while True:
            cursor, _, *rows = await self._run("scan", cursor, SCANNED)
            heads = (self._read_row(name, row) for name, row, _, _ in _turns(rows, 4))
            if found := await self._placed([one for one in heads if one and one.embedder]):
                yield found
            if cursor == b"0":
                return

    async def _placed(self, heads: Sequence[Head]) -> list[Placed]:
        """Entries with their vectors, of those whose answers are there."""
        now, found = self._wall(), []
        for at in range(0, len(heads), SCANNED):
            some = heads[at : at + SCANNED]
            asks = [command("HMGET", _key(head.exact), "id", "vector") for head in some]
            for head, reply in zip(some, await self._slow.ask(*asks), strict=True):
                name, sealed = good(reply)
                if name != _name(head.id) or head.expires <= now:
                    continue
                with self._noticing():
                    vector = self._frames.read_vector(head.id, sealed or b"")
                    key = (head.id, head.exact, head.family, head.answer)
                    found.append(Placed(*key, head.expires, head.embedder, vector))
        return found

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """See `CacheStore`."""
        return await self._blobs.read(name)

    async def write(self, name: str, blob: bytes, version: int) -> int:
        """See `CacheStore`."""
        return await self._blobs.write(name, blob, version)

    async def append(self, name: str, labels: Sequence[bytes], keep: int = 10_000) -> None:
        """See `CacheStore`."""
        await self._blobs.append(name, labels, keep)

    async def labels(
        self, name: str, after: str = "", most: int = 10_000
    ) -> tuple[list[bytes], str]:
        """See `CacheStore`."""
        return await self._blobs.labels(name, after, most)

    async def discard(self, name: str) -> None:
        """See `CacheStore`."""
        await self._blobs.discard(name)

    async def ping(self) -> None:
        """See `CacheStore`."""
        (reply,) = await self._slow.ask(command("PING"))
        good(reply)

    async def close(self) -> None:
        """See `CacheStore`."""
        await self._touches.close()
        await asyncio.gather(*self._losing)
        await self._quick.close()
        await self._slow.close()

    async def _run(self, *values: Part) -> Any:
        self._touches.begin()
        return await self._slow.run(self._script, PREFIX, *values)

    async def _remove(self, names: Sequence[bytes], why: str = "") -> int:
        count = 0
        for at in range(0, len(names), SCANNED):
            gone = await self._run("drop", self._changes, why, *names[at : at + SCANNED])
            count += len(gone) // 2
            await self._unlink(gone)
        return count

    async def _unlink(self, gone: Sequence[bytes]) -> None:
        """Let go of answers, given as ids and exact keys in turns. One that stays all the same is
        nobody's, and is over in time."""
        asks = [call(REMOVE, _key(exact), name) for name, exact in _turns(gone)]
        if asks:
            with contextlib.suppress(StateError):
                await self._slow.ask(*asks)

    def _read_row(self, name: bytes, row: bytes) -> Head | None:
        """A row's head; None, and counted, if it is damaged."""
        try:
            return self._frames.read_head(_number(name), row[_HEAD:])
        except DamagedError:
            self._damaged()
            return None

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except (DamagedError, UnicodeDecodeError, msgspec.MsgspecError):
            self._damaged()

    def _damaged(self) -> None:
        self.corrupt += 1

    def _lose(self, entry: int) -> None:
        """Count a damaged entry and remove it, while nobody waits."""
        self.corrupt += 1
        self._remove_soon(entry)

    def _remove_soon(self, entry: int) -> None:
        async def remove() -> None:
            with contextlib.suppress(StateError):
                await self.drop([entry])

        task = asyncio.get_running_loop().create_task(remove())
        self._losing.add(task)
        task.add_done_callback(self._losing.discard)

    def _cursor(self, epoch: bytes, number: bytes) -> str:
        """With the server's own name: one that was restarted may have lost its last changes, and
        have made others of the same numbers."""
        return f"{epoch.decode()}.{self._slow.server}:{number.decode()}"

    async def _since(self, cursor: str) -> tuple[str, str]:
        if cursor and not self._slow.server:
            await self.ping()
        return self._split(cursor)

    def _split(self, cursor: str) -> tuple[str, str]:
        """Epoch and number of a cursor of the server that is there; empty ones of another."""
        place, _, number = cursor.partition(":")
        epoch, _, server = place.partition(".")
        return (epoch, number) if server == self._slow.server else ("", "")


def _key(exact: bytes) -> bytes:
    return b"tollgate:cache:%b" % exact.hex().encode()


def _name(entry: int) -> bytes:
    return entry.to_bytes(_ID, "big")


def _number(name: bytes) -> int:
    return int.from_bytes(name, "big")


def _cut(names: bytes) -> list[bytes]:
    return [names[at : at + _ID] for at in range(0, len(names), _ID)]


def _exact(row: bytes) -> bytes | None:
    exact: bytes | None = _ROW.unpack_from(row)[3] if len(row) >= _HEAD else None
    return exact


def _row_number(row: bytes) -> float:
    number: float = _ROW.unpack_from(row)[0]
    return number


def _pairs(flat: Sequence[bytes]) -> dict[str, float]:
    """What is being forgotten; see `is_forgotten`."""
    return {name.decode(errors="replace"): float(value) for name, value in _turns(flat)}


def _turns(flat: Sequence[Any], length: int = 2) -> list[tuple[Any, ...]]:
    return [tuple(flat[at : at + length]) for at in range(0, len(flat), length)]


def _epoch() -> str:
    """What a store is called that is begun now."""
    return uuid.uuid4().hex
