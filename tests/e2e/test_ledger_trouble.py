"""A disk that is full, files that cannot be read: said loudly, and nothing recorded is lost."""

from __future__ import annotations

import json
import resource
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import Json, Running, poll, running
from tests.e2e.figures import figures
from tests.e2e.ledger_books import at_rest, make, records, rows, tollgate
from tests.e2e.ledger_processes import Service, gone

pytestmark = pytest.mark.e2e

CONFIG = """
providers:
  openai: {dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY, outlier: {consecutive_5xx: 1000000}}
targets:
  gpt: {provider: openai, model: gpt-4o-mini, timeout: 10s}
chains:
  main: [gpt]
routes:
  - name: strict
    match: {headers: {x-test-route: strict}}
    models: {"*": main}
    identity: open
    ledger: required
  - name: keyed
    match: {headers: {x-test-route: keyed}}
    models: {"*": main}
  - name: everything
    models: {"*": main}
    identity: open
identity: keys
"""  # noqa: E501 - a provider a line
FULL = 192 * 1024
"""Bytes that a file may have while the disk is full."""
GARBAGE = b"this is no database " * 500


def log_lines(log: Path) -> list[Json]:
    """What the service logged."""
    lines = log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose ledger was no database when it started."""
    folder = tmp_path_factory.mktemp("trouble")
    config, data = folder / "gateway.yaml", folder / "run" / "data"
    config.write_text(CONFIG)
    data.mkdir(parents=True)
    (data / "ledger.db").write_bytes(GARBAGE)
    with running(folder / "run", config) as gateway:
        yield gateway


class Told(NamedTuple):
    """What a client is told."""

    status: int
    id: str | None
    code: str | None


def ask(gateway: Running, route: str = "", **headers: str) -> Told:
    answer = gateway.chat("main", headers={"x-test-route": route, **headers})
    code = None if answer.status_code == 200 else answer.json()["error"]["code"]
    return Told(answer.status_code, answer.headers.get("x-tollgate-request-id"), code)


def test_a_ledger_that_cannot_be_read_is_moved_aside(begun: Running) -> None:
    first = ask(begun)
    assert first.status == 200
    poll(lambda: first.id in {one["id"] for one in records(begun)}, what="the record")
    assert rows(begun, "--since", "6h")[0]["requests"] == 1
    (aside,) = (begun.folder / "data").glob("ledger.db.corrupt-*")
    assert aside.read_bytes() == GARBAGE
    with closing(sqlite3.connect(begun.folder / "data" / "ledger.db")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    loud = [
        one
        for one in log_lines(begun.folder / "service.log")
        if one["level"] in ("error", "critical")
    ]
    assert [one for one in loud if "ledger.db" in json.dumps(one)]


def test_a_full_disk(begun: Running) -> None:
    """Where records are required nobody is served; elsewhere everybody is, and counted. What was
    taken is kept."""
    gateway = begun
    at_rest(gateway)
    before, kept = figures(gateway), {one["id"] for one in records(gateway)}
    service = gateway.part("service")
    soft, hard = service.rlimit(resource.RLIMIT_FSIZE)
    service.rlimit(resource.RLIMIT_FSIZE, (FULL, hard))
    strict: list[Told] = []
    best: list[Told] = []
    try:
        with ThreadPoolExecutor(8) as pool:

            def refused() -> bool:
                best.extend(pool.map(lambda _: ask(gateway), range(16)))
                strict.append(ask(gateway, "strict"))
                return strict[-1].status != 200

            poll(refused, within=30, what="the disk to be full")
            best += pool.map(lambda _: ask(gateway), range(16))
        went_up = len(gateway.asked())
        strict.append(ask(gateway, "strict"))
        assert len(gateway.asked()) == went_up
        assert [(one.status, one.code) for one in strict[-2:]] == [(503, "ledger_unavailable")] * 2
        assert {one.status for one in best} == {200}
    finally:
        service.rlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def taken() -> bool:
        strict.append(ask(gateway, "strict"))
        return strict[-1].status == 200

    poll(taken, within=15, what="the disk to take records again")
    at_rest(gateway)
    found = {one["id"] for one in records(gateway)}
    assert kept | {one.id for one in strict if one.status == 200} <= found
    after = figures(gateway)
    unrecorded = after.sum("tollgate_ledger_unrecorded_total") - before.sum(
        "tollgate_ledger_unrecorded_total"
    )
    missing = {one.id for one in (*best, *strict)} - found
    assert len(missing) == unrecorded > 0
    said = [
        one["message"]
        for one in log_lines(gateway.folder / "service.log")
        if one["level"] == "error"
    ]
    assert [one for one in said if "disk refuses" in one]


def test_keys_that_cannot_be_read_let_nobody_in(begun: Running) -> None:
    gateway = begun
    key = make(gateway)["key"]
    bearer = {"authorization": f"Bearer {key}"}
    assert ask(gateway, "keyed", **bearer).status == 200
    keys = gateway.folder / "data" / "keys.db"
    with Service.held(gateway) as service:
        service.kill()
        whole = {one: one.read_bytes() for one in keys.parent.glob("keys.db*")}
        for one in whole:
            one.unlink()
        keys.write_bytes(GARBAGE)
        service.start()
        poll(lambda: gone(service.process), what="the end of a service without keys")
        for route in ("keyed", ""):
            assert ask(gateway, route, **bearer).status in (401, 503)
        said = (gateway.folder / "service-1.log").read_text()
        assert "keys.db" in said
        assert "cannot be read" in said
        assert "Traceback" not in said
        assert keys.read_bytes() == GARBAGE
        assert tollgate(gateway, "keys", "list").returncode == 1
        # With the file as it was, everybody is let in who was before.
        keys.unlink()
        for one, data in whole.items():
            one.write_bytes(data)
        service.start()
        poll(lambda: ask(gateway, "keyed", **bearer).status == 200, within=20, what="a good start")
        assert ask(gateway, "keyed", authorization="Bearer tg-wrong").status == 401
        at_rest(gateway)
