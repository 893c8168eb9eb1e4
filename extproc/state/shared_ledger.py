"""Records and rollups in Redis.

What belongs to a UTC day bears one hash tag, `{ledger:YYYYMMDD}`, so that a record and what it
adds are written in one step, on one node of a cluster, and days are spread over the nodes. Hashes
by key of a view stand for the hours and for the day; a set tells which days and views there are.
Nothing that a caller said is in the name of a Redis key.

Everything runs on two threads with a connection each: one writes, one reads, and neither the
packing of thousands of arguments nor a long answer holds the event loop up.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import msgspec
import redis
from redis.exceptions import NoScriptError

from extproc.state import DAY, HOUR, Entry, Row
from extproc.state.shared import Script, connect_blocking, said
from extproc.state.shared_scripts import FORGET, PAGE, WRITE
from extproc.state.spans import HOURS_A_DAY, bounded, merge, parts, total
from extproc.state.threads import Answer, Desk

DAYS: Final = "tollgate:ledger:days"
"""Sorted set: days (number since 1970) that may have anything."""
VIEWS: Final = "tollgate:ledger:views"
KEPT_AT_LEAST: Final = DAY
"""Seconds that a day's keys live after they were written, however old the day: a record that comes
again must find itself."""
GROUP: Final = 8
"""Entries a script call: Redis serves nobody else for about a millisecond."""
GROUP_BYTES: Final = 512 * 1024
"""Beyond this a script call takes no more entries."""
PAGE_SIZE: Final = 500
"""Records read or forgotten at a time."""
AHEAD: Final = 32
"""Calls sent in one round trip."""
HASHES: Final = 8
"""Hashes read in one round trip: each may have tens of thousands of rows."""

_encode = msgspec.msgpack.Encoder().encode
_sums = msgspec.msgpack.Decoder(list[int]).decode
_bins = msgspec.msgpack.Decoder(dict[str, int]).decode
Step = Literal["hour", "day"]


class SharedLedger:
    """A ledger that several workers share. See `LedgerStore`.

    `keep_records` and `keep_rollups`: seconds after the end of a day (UTC) that Redis forgets its
    records and its sums by itself.
    """

    def __init__(
        self,
        url: str,
        *,
        keep_records: float,
        keep_rollups: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writing, self._reading = Desk("redis-writer"), Desk("redis-reader")
        self._writer, self._reader = connect_blocking(url), connect_blocking(url)
        self._keep = (keep_records, keep_rollups)
        self._clock = clock

    async def write(self, entries: Sequence[Entry]) -> int:
        """See `LedgerStore`. When it fails, some of the entries may have been taken; writing them
        all again takes the others."""
        if not entries:
            return 0
        return await self._writing.run(lambda: self._write(entries))

    def _write(self, entries: Sequence[Entry]) -> int:
        days = {int(entry.started // DAY) for entry in entries}
        views = {cell.view for entry in entries for cell in entry.cells}
        calls = [self._call(group) for group in _groups(entries)]
        with said():
            # First, so that no day is written that nobody will find.
            self._writer.zadd(DAYS, {str(day): day for day in days})
            if views:
                self._writer.sadd(VIEWS, *views)
            return sum(
                sum(_evaluate(self._writer, WRITE, calls[at : at + AHEAD]))
                for at in range(0, len(calls), AHEAD)
            )

    def _call(self, entries: Sequence[Entry]) -> tuple[list[str], list[Any]]:
        """Keys and arguments for entries of one hour."""
        hour = int(entries[0].started // HOUR)
        day = hour // HOURS_A_DAY
        views: dict[str, int] = {}
        now, end = self._clock(), (day + 1) * DAY
        values: list[Any] = [math.ceil(max(end + keep, now + KEPT_AT_LEAST)) for keep in self._keep]
        for entry in entries:
            cells = [
                (
                    views.setdefault(cell.view, len(views)),
                    cell.key,
                    bounded(cell),
                    cell.bins or None,
                )
                for cell in entry.cells
            ]
            content = entry.content
            kept = 0 if content is None else 1
            values += (entry.id, repr(entry.started), entry.record, kept, content or b"")
            values.append(_encode(cells))
        keys = list(_records(day))
        for view in views:
            for tail in ("", ":bins"):
                keys += (_rollup("hour", hour, view) + tail, _rollup("day", day, view) + tail)
        return keys, values

    async def record(self, record_id: str) -> tuple[bytes, bytes | None] | None:
        """See `LedgerStore`. Asks every day for it, the latest first."""

        def work() -> tuple[bytes, bytes | None] | None:
            days = self._days(0, math.inf)[::-1]
            for at in range(0, len(days), AHEAD):
                pipe = self._reader.pipeline(transaction=False)
                for day in days[at : at + AHEAD]:
                    records, contents, _ = _records(day)
                    pipe.hget(records, record_id)
                    pipe.hget(contents, record_id)
                found = pipe.execute()
                for record, content in zip(found[::2], found[1::2], strict=True):
                    if record is not None:
                        return record, content
            return None

        return await self._read(work)

    async def records(self, since: float, until: float) -> AsyncIterator[Sequence[bytes]]:
        """See `LedgerStore`. What is written meanwhile may or may not be among them."""
        for day in await self._read(lambda: self._days(since, until)):
            last: bytes = b""
            records, _, order = _records(day)
            while True:
                values = (repr(since), repr(until), last, PAGE_SIZE)
                call = ([records, order], list(values))
                (found,) = await self._read(
                    lambda call=call: _evaluate(self._reader, PAGE, [call])  # type: ignore[misc]
                )
                if not found:
                    break
                last, page = found
                yield [record for record in page if record is not None]

    async def rows(self, view: str, since: int, until: int, *, bins: bool = False) -> list[Row]:
        """See `LedgerStore`."""
        span = parts(since, until)

        def work() -> list[Row]:
            known = set(self._days(since, until))
            days = [day for part in span.days for day in part if day in known]
            hours = [hour for edge in span.hours for hour in edge if hour // HOURS_A_DAY in known]
            names = [_rollup("day", day, view) for day in days]
            names += [_rollup("hour", hour, view) for hour in hours]
            sums: dict[bytes, list[list[int]]] = defaultdict(list)
            for found in self._hashes(names):
                for key, packed in found.items():
                    sums[key].append(_sums(packed))
            sketches: dict[bytes, dict[str, int]] = defaultdict(dict)
            if bins:
                for found in self._hashes([f"{name}:bins" for name in names]):
                    for key, packed in found.items():
                        merge(sketches[key], _bins(packed))
            return [
                Row(key.decode(), total(each), sketches.get(key, {})) for key, each in sums.items()
            ]

        return await self._read(work)

    async def series(self, view: str, since: int, until: int, step: int) -> Mapping[int, list[Row]]:
        """See `LedgerStore`. Raises ValueError for a step that is neither."""
        if step not in {HOUR, DAY}:
            raise ValueError(f"a step of {step} seconds")
        span = parts(since, until)
        hours = [hour for edge in span.hours for hour in edge]
        days = [day for part in span.days for day in part]
        if step == HOUR:
            hours, days = list(range(-(-since // HOUR), -(-until // HOUR))), []

        def work() -> dict[int, list[Row]]:
            known = set(self._days(since, until))
            names = {
                _rollup("hour", hour, view): hour * HOUR // step * step
                for hour in hours
                if hour // HOURS_A_DAY in known
            }
            names |= {_rollup("day", day, view): day * DAY for day in days if day in known}
            sums: dict[int, dict[bytes, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
            for start, found in zip(names.values(), self._hashes(list(names)), strict=True):
                for key, packed in found.items():
                    sums[start][key].append(_sums(packed))
            return {
                start: [Row(key.decode(), total(each), {}) for key, each in rows.items()]
                for start, rows in sorted(sums.items())
            }

        return await self._read(work)

    async def prune(self, records_before: float, rollups_before: float) -> None:
        """See `LedgerStore`. Rollups go by whole days, so that hours and days always agree."""
        for day in await self._read(lambda: self._days(0, math.inf)):
            old = (day + 1) * DAY <= rollups_before
            if day * DAY < records_before or old:
                await self._writing.run(lambda day=day: self._forget(day, records_before))  # type: ignore[misc]
            if old:
                await self._writing.run(lambda day=day: self._forget_rollups(day))  # type: ignore[misc]

    def _forget(self, day: int, before: float) -> None:
        keys = list(_records(day))
        with said():
            if (day + 1) * DAY <= before:
                self._writer.unlink(*keys)
                return
            while sum(_evaluate(self._writer, FORGET, [(keys, [repr(before), PAGE_SIZE])])):
                pass

    def _forget_rollups(self, day: int) -> None:
        first = day * HOURS_A_DAY
        with said():
            for view in cast("set[bytes]", self._writer.smembers(VIEWS)):
                names = [_rollup("day", day, view.decode())]
                names += [
                    _rollup("hour", hour, view.decode())
                    for hour in range(first, first + HOURS_A_DAY)
                ]
                self._writer.unlink(*names, *(f"{name}:bins" for name in names))
            if not self._writer.exists(*_records(day)):
                self._writer.zrem(DAYS, str(day))

    async def generation(self) -> str:
        """See `LedgerStore`. Of the server that answers: another one after a failover."""

        def work() -> str:
            return str(self._reader.info("server")["run_id"])

        return await self._read(work)

    async def ping(self) -> None:
        """See `LedgerStore`."""
        await self._read(self._reader.ping)

    async def close(self) -> None:
        """See `LedgerStore`."""
        await self._reading.close(self._reader.close)
        await self._writing.close(self._writer.close)

    async def _read(self, work: Callable[[], Answer]) -> Answer:
        def guarded() -> Answer:
            with said():
                return work()

        return await self._reading.run(guarded)

    def _days(self, since: float, until: float) -> list[int]:
        """Days that may have something of a span, in order."""
        first, end = since // DAY, until / DAY
        found = cast("list[bytes]", self._reader.zrangebyscore(DAYS, first, f"({end}"))
        return [int(day) for day in found]

    def _hashes(self, names: Sequence[str]) -> Iterator[dict[bytes, bytes]]:
        for at in range(0, len(names), HASHES):
            pipe = self._reader.pipeline(transaction=False)
            for name in names[at : at + HASHES]:
                pipe.hgetall(name)
            yield from pipe.execute()


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Entries of one hour each, few enough for one script call."""
    open_: dict[int, tuple[list[Entry], int]] = {}
    for entry in entries:
        hour = int(entry.started // HOUR)
        group, size = open_.pop(hour, ([], 0))
        group.append(entry)
        size += len(entry.record) + len(entry.content or b"")
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
        else:
            open_[hour] = (group, size)
    for group, _ in open_.values():
        yield group


def _evaluate(
    client: redis.Redis, script: Script, calls: Sequence[tuple[list[str], list[Any]]]
) -> list[Any]:
    """Each call's answer, in one round trip. A server that does not know the script is told, and
    asked again."""
    answers: list[Any] = [None] * len(calls)
    waiting = list(range(len(calls)))
    for told in (False, True):
        pipe = client.pipeline(transaction=False)
        for number in waiting:
            keys, values = calls[number]
            pipe.evalsha(script.sha, len(keys), *keys, *values)
        for number, answer in zip(waiting, pipe.execute(raise_on_error=False), strict=True):
            answers[number] = answer
        waiting = [
            number for number in waiting if isinstance(answers[number], NoScriptError) and not told
        ]
        if not waiting:
            break
        client.script_load(script.text)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _records(day: int) -> tuple[str, str, str]:
    """Names of a day's records (hash by id), contents (hash by id) and order (sorted by start)."""
    tag = _tag(day)
    return f"{tag}:records", f"{tag}:contents", f"{tag}:order"


def _rollup(step: Step, number: int, view: str) -> str:
    """Name of an hour's or a day's sums (hash: key -> MessagePack array); with `:bins` behind it
    that of its sketches (hash: key -> MessagePack map)."""
    if step == "day":
        return f"{_tag(number)}:day:{view}"
    return f"{_tag(number // HOURS_A_DAY)}:hour:{number % HOURS_A_DAY:02}:{view}"


def _tag(day: int) -> str:
    return f"tollgate:{{ledger:{datetime.fromtimestamp(day * DAY, UTC):%Y%m%d}}}"
