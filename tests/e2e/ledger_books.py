"""What ledger, metrics, access log and simulator have of the same requests, to be compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

import httpx2 as httpx

from tests.e2e.conftest import Json, Running, poll
from tests.e2e.figures import figures

NANO: Final = 10**9
MARK: Final = re.compile(r"mark-(\d{6})")
"""Stands in a prompt, so that what the simulator received can be told apart."""
COUNTS: Final = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_input_tokens": "cached_input",
    "cache_write_tokens": "cache_write",
    "reasoning_tokens": "reasoning",
}
"""Figures of `tollgate usage`, and what a record calls them."""


def mark(number: int) -> str:
    """What a prompt says so that its request is known again."""
    return f"mark-{number:06}"


def tollgate(gateway: Running, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`tollgate …`, asking this gateway."""
    admin = f"http://127.0.0.1:{gateway.admin}"
    return subprocess.run(
        [sys.executable, "-m", "extproc.cli", *arguments, "--admin", admin],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


def told(gateway: Running, *arguments: str, **env: str) -> str:
    """What `tollgate …` says; it has to succeed."""
    done = tollgate(gateway, *arguments, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(gateway: Running, *arguments: str) -> list[Json]:
    """`tollgate usage … --json`. Numbers with a point stay text: no money goes through a float."""
    found: list[Json] = json.loads(told(gateway, "usage", *arguments, "--json"), parse_float=str)
    return found


def admin(gateway: Running, path: str, **query: str) -> httpx.Response:
    """A GET to the service's admin port."""
    return gateway.http.get(f"http://127.0.0.1:{gateway.admin}{path}", params=query)


def make(gateway: Running, **fields: Any) -> Json:
    """A new key."""
    answer = gateway.http.post(f"http://127.0.0.1:{gateway.admin}/keys", json=fields)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def records(gateway: Running, since: str = "6h") -> list[Json]:
    """All records, oldest first."""
    answer = admin(gateway, "/usage/records", since=since)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def record(gateway: Running, request_id: str) -> Json:
    """The record of one request, as soon as it is there."""

    def find() -> Json | None:
        return next((one for one in records(gateway) if one["id"] == request_id), None)

    found: Json = poll(find, what=f"the record of {request_id}")
    return found


def at_rest(gateway: Running, within: float = 30.0) -> None:
    """Wait until no request is open and everything that is over is in the store."""

    def over() -> bool:
        found = figures(gateway)
        names = ("requests_in_flight", "ledger_open", "ledger_waiting")
        return not any(found.sum(f"tollgate_{name}") for name in names)

    poll(over, within=within, what="a ledger that has everything")


def access_log(gateway: Running, ids: Iterable[str]) -> dict[str, Json]:
    """Envoy's lines by request; waits until all are written."""
    wanted = set(ids)
    path = gateway.folder / "access.log"

    def read() -> dict[str, Json] | None:
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True)
                 if line.endswith("\n")]  # fmt: skip
        found = {line["request_id"]: line for line in lines if line["request_id"]}
        return found if wanted <= found.keys() else None

    found: dict[str, Json] = poll(read, what="the access log")
    return found


def dollars(text: object) -> int:
    """Dollars as `rows` has them, in nano-dollars; exact or not at all."""
    nano = Fraction(str(text)) * NANO
    assert nano.denominator == 1, text
    return int(nano)


def cost_of(one: Json) -> int:
    """Nano-dollars of a record; 0 where they are not known."""
    return one["cost"]["total"] if one.get("cost") else 0


def sums(found: Iterable[Json]) -> dict[str, int]:
    """What `tollgate usage` should say of these records."""
    total: dict[str, int] = defaultdict(int)
    for one in found:
        usage = one.get("usage") or {}
        total["requests"] += 1
        total["errors"] += one.get("status", 200) >= 400 or bool(one.get("error_type"))
        total["aborted"] += bool(one.get("aborted"))
        total["estimated"] += bool(usage.get("estimated"))
        total["walked"] += one.get("attempts", 1) > 1
        total["cost"] += cost_of(one)
        for figure, name in COUNTS.items():
            total[figure] += usage.get(name, 0)
    return dict(total)


def row_sums(row: Json) -> dict[str, int]:
    """The same of a row of `tollgate usage`."""
    names = ("requests", "errors", "aborted", "estimated", "walked", *COUNTS)
    return {**{name: row[name] for name in names}, "cost": dollars(row["cost_usd"])}


def value(one: Json, dimension: str) -> str | None:
    """What a record stands under in a dimension of `tollgate usage`."""
    said = one.get("attribution") or {}
    if dimension.startswith("label:"):
        return dict(said.get("labels") or ()).get(dimension.removeprefix("label:"))
    if dimension == "model":
        found = one.get("response_model") or one.get("request_model") or None
    elif dimension in ("team", "user", "feature"):
        found = said.get(dimension)
    else:
        found = one.get(dimension)
    return found


def label(one: Json, name: str) -> str | None:
    """A label of a record."""
    return value(one, f"label:{name}")


def grouped(found: Iterable[Json], by: str) -> dict[tuple[str | None, ...], dict[str, int]]:
    """Records, summed up by hand by some dimensions."""
    groups: dict[tuple[str | None, ...], list[Json]] = defaultdict(list)
    for one in found:
        groups[tuple(value(one, name) for name in by.split(","))].append(one)
    return {group: sums(members) for group, members in groups.items()}


def marks(gateway: Running, since: int = 0) -> dict[str, list[Json]]:
    """What the simulator received and billed, by the mark in the prompt."""
    url = f"http://127.0.0.1:{gateway.simulator}/_sim/requests"
    found: dict[str, list[Json]] = defaultdict(list)
    for one in gateway.http.get(url, params={"since": str(since)}).json():
        if said := MARK.search(json.dumps(one["body"])):
            found[said[1]].append(one)
    return found
