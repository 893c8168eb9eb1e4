"""Months of many users' requests, as both stores would hold them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from extproc.accounting.rollup.views import VIEWS, key_of
from extproc.state import DAY, HOUR, MEASURES, Cell, Entry
from extproc.state.shared_ledger import DAYS, _rollup
from extproc.state.shared_ledger import VIEWS as SHARED_VIEWS
from extproc.state.sqlite import SqliteLedger
from tests.bench.ledger_arms import FEATURES, TEAMS, TENANTS, user_of

USERS: Final = 1_000
HOURS_EACH: Final = 1
"""Hours of a day in which each user asks with each feature: the upper end of what such a gateway
sees, 20,000 rows a day by user and feature."""
MODELS: Final = ("gpt-4o-mini", "gpt-4o")
_BINS: Final = (
    "SELECT key, bins FROM days_bins JOIN names ON id = key_id WHERE view = 'main' AND period = ?"
)


def _values(user: int, feature: int) -> dict[str, Any]:
    """The dimensions of a user's requests with a feature."""
    return {
        "tenant": f"tenant-{user % TENANTS}",
        "team": f"team-{user % TEAMS}",
        "tier": None,
        "key": f"key{user % (5 * TEAMS):09}",
        "feature": f"feature-{feature:02}",
        "user": user_of(user),
        "route": "direct",
        "model": MODELS[feature % len(MODELS)],
        "target": "gpt",
        "provider": "openai",
        "cache": "bypass",
        "labels": (),
    }


def _key(view: str, user: int, feature: int) -> str:
    values = _values(user, feature)
    return key_of(tuple(values[name] for name in VIEWS[view]))


async def fill(folder: Path, days: int, now: float) -> int:
    """A ledger of `days` whole days and today in SQLite; how many rows by the hour it has. The
    sums are made by SQLite, the days and weeks by the store itself."""
    path = folder / "ledger.db"
    store = SqliteLedger(folder)
    first = int(now // DAY) - days
    await store.write([Entry("first", first * DAY, b"{}", ())])
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        rows = _write(file, first, int(now // HOUR))
    store = SqliteLedger(folder)
    # A record of today: the days before it are over, and get rows of their own.
    nothing = Cell("main", _key("main", 0, 0), (0,) * len(MEASURES))
    await store.write([Entry("last", now, b"{}", (nothing,))])
    await store.close()
    return rows


def _write(file: sqlite3.Connection, first: int, last_hour: int) -> int:
    file.execute("BEGIN")
    file.execute("CREATE TEMP TABLE pairs (number INTEGER, view TEXT, key_id INTEGER)")
    last = last_hour // 24
    for user in range(USERS):
        for feature in range(FEATURES):
            for view in VIEWS:
                key = _key(view, user, feature)
                file.execute("INSERT OR IGNORE INTO names (key, last) VALUES (?, ?)", (key, last))
                file.execute(
                    "INSERT INTO pairs SELECT ?, ?, id FROM names WHERE key = ?",
                    (user * FEATURES + feature, view, key),
                )
    file.execute("CREATE TEMP TABLE spread (number INTEGER, period INTEGER, n INTEGER)")
    # Every pair in HOURS_EACH hours of every day, 1 to 5 requests in each; nobody at the same time.
    file.execute(
        "WITH RECURSIVE pair (p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM pair WHERE p < ? - 1),"
        " day (d) AS (SELECT ? UNION ALL SELECT d + 1 FROM day WHERE d < ?),"
        " turn (t) AS (SELECT 0 UNION ALL SELECT t + 1 FROM turn WHERE t < ? - 1)"
        " INSERT INTO spread SELECT p, d * 24 + (p * 7 + d * 5 + t * 11) % 24,"
        " 1 + (p + d + t) % 5 FROM day, pair, turn",
        (USERS * FEATURES, first, last, HOURS_EACH),
    )
    file.execute("DELETE FROM spread WHERE period > ?", (last_hour,))
    # Errors, tokens and nano-dollars of a request are the same for all: only their sums matter.
    each = {
        "requests": 1, "walked": 0, "cache_hits": 0, "input_tokens": 210, "output_tokens": 190,
        "cached_input_tokens": 64, "cost": 145_500,
    }  # fmt: skip
    sums = ", ".join(f"sum(n) * {each.get(measure, 0)}" for measure in MEASURES)
    for view in VIEWS:
        file.execute(
            f"INSERT INTO hours SELECT view, period, key_id, {sums} FROM spread"  # noqa: S608
            " JOIN pairs USING (number) WHERE view = ? GROUP BY period, key_id",
            (view,),
        )
    # Sketches of some forty bins each, of the view that questions about features are answered from.
    bins = {f"{sort}{at}": 1 + at % 3 for sort in "dt" for at in range(40, 60)}
    file.execute(
        "INSERT INTO hours_bins SELECT view, period, key_id, ? FROM hours WHERE view = 'main'",
        (msgspec.msgpack.encode(bins),),
    )
    (rows,) = file.execute("SELECT count(*) FROM hours").fetchone()
    file.execute("DROP TABLE pairs")
    file.execute("DROP TABLE spread")
    file.commit()
    return int(rows)


def copy(folder: Path, url: str, since: int) -> None:
    """The same sums in Redis: each day's, and the hours' of those days that the questions begin and
    end with. `since`: the first day, number since 1970."""
    client = redis.Redis.from_url(url)
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as file:
        (closed,) = file.execute("SELECT day FROM bounds WHERE name = 'closed'").fetchone()
        columns = ", ".join(MEASURES)
        # The first day of each question is asked for by its hours, and so is today.
        edges = {since, since + 1, closed - 7, closed - 1, closed}
        for view in VIEWS:
            client.sadd(SHARED_VIEWS, view)
            for day in range(since, closed + 1):
                client.zadd(DAYS, {str(day): day})
                table = "days" if day < closed else "hours"
                period = "period" if day < closed else "period / 24"
                total = ", ".join(f"sum({one})" for one in MEASURES)
                _hash(client, _rollup("day", day, view), file.execute(
                    f"SELECT key, {total} FROM {table} JOIN names ON id = key_id"  # noqa: S608
                    f" WHERE view = ? AND {period} = ? GROUP BY key_id", (view, day),
                ))  # fmt: skip
                if view == "main" and day < closed:
                    _bins(client, f"{_rollup('day', day, view)}:bins", file, day)
                if day not in edges:
                    continue
                for hour in range(day * 24, day * 24 + 24):
                    _hash(client, _rollup("hour", hour, view), file.execute(
                        f"SELECT key, {columns} FROM hours JOIN names ON id = key_id"  # noqa: S608
                        " WHERE view = ? AND period = ?", (view, hour),
                    ))  # fmt: skip
    client.close()


def _hash(client: redis.Redis, name: str, rows: sqlite3.Cursor) -> None:
    found = {key: msgspec.msgpack.encode(sums) for key, *sums in rows}
    if found:
        client.hset(name, mapping=found)


def _bins(client: redis.Redis, name: str, file: sqlite3.Connection, day: int) -> None:
    rows = dict(file.execute(_BINS, (day,)))
    if rows:
        client.hset(name, mapping=rows)
