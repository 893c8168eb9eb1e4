"""`tollgate serve`: the service that Envoy asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

import click
import uvloop

from extproc import addresses
from extproc.accounting.ledger import LedgerError
from extproc.alerts import alerts
from extproc.cli.asking import SPAN
from extproc.cli.caching import Flags, caching, flags
from extproc.cli.caching import check as check_cache
from extproc.guard.scanning import NAMES, TIMEOUT, check
from extproc.identity import SecretError
from extproc.server import Settings
from extproc.server import run as run_worker
from extproc.state import StateError
from extproc.stores import Keeping
from extproc.telemetry import logs
from extproc.workers import Workers

LISTEN = "unix:.run/extproc-{n}.sock"
ADMIN = "127.0.0.1:9902"


@click.command()
@click.option("--listen", default=LISTEN, show_default=True,
              help="unix:PATH ({n} is the worker's number) or HOST:PORT (counts up).")  # fmt: skip
@click.option("--admin", default=ADMIN, show_default=True,
              help="Address of /metrics, /healthz and /readyz.")  # fmt: skip
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--redis", default=None, metavar="URL", help="Shared state; needed from two workers.")
@click.option("--data", default="tollgate-data", show_default=True, type=click.Path(path_type=Path),
              help="Folder of the spool, of SQLite's files and of the keys' secret.")  # fmt: skip
@click.option("--ledger/--no-ledger", default=True, show_default=True,
              help="Keep a record of every request.")  # fmt: skip
@click.option("--keep-records", default="30d", show_default=True, type=SPAN,
              help="How long single records are kept.")  # fmt: skip
@click.option("--keep-rollups", default="400d", show_default=True, type=SPAN,
              help="How long the sums by hour and day are kept.")  # fmt: skip
@click.option("--spool-limit", default=256, show_default=True, type=click.IntRange(1, 1 << 20),
              metavar="MIB", help="What may wait on disk while the store is away.")  # fmt: skip
@click.option("--sink-file", default=None, metavar="FILE",
              help="Append every record to this file, as a line of JSON.")  # fmt: skip
@click.option("--sink-url", default=None, metavar="URL",
              help="POST every record there, as lines of JSON; the bearer token is in "
                   "TOLLGATE_SINK_TOKEN.")  # fmt: skip
@click.option("--alert-url", default=None, metavar="URL",
              help="POST there, as JSON, when 80 % or 95 % of a limit is used and when a key's "
                   "spending runs away; the bearer token is in TOLLGATE_ALERT_TOKEN.")  # fmt: skip
@click.option("--tier", "tiers", multiple=True, metavar="NAME",
              help="A tier that keys may have; repeat it. Without any: every name.")  # fmt: skip
@click.option("--guard", default="default", show_default=True, envvar="TOLLGATE_GUARD",
              type=click.Choice(NAMES),
              help="What finds personal data and secrets. presidio: Presidio too, in this process; "
                   "http: an endpoint too.")  # fmt: skip
@click.option("--guard-url", default=None, metavar="URL", envvar="TOLLGATE_GUARD_URL",
              help="The endpoint; the bearer token is in TOLLGATE_GUARD_TOKEN.")  # fmt: skip
@click.option("--guard-timeout", default=TIMEOUT, show_default=True,
              envvar="TOLLGATE_GUARD_TIMEOUT", type=click.FloatRange(0, min_open=True),
              help="Seconds that Presidio or the endpoint has for a request's texts.")  # fmt: skip
@flags
@click.option("--judge-url", default=None, metavar="URL", envvar="TOLLGATE_JUDGE_URL",
              help="The gateway itself, without /v1: where caches' judges are asked; its key is in "
                   "TOLLGATE_JUDGE_KEY.")  # fmt: skip
@click.option("--drain-timeout", default=30.0, show_default=True, type=click.FloatRange(0),
              help="Seconds that live requests get after SIGTERM.")  # fmt: skip
@click.option("--log-level", default="info", show_default=True,
              type=click.Choice(["debug", "info", "warning", "error"]))  # fmt: skip
def serve(
    *,
    listen: str,
    admin: str,
    workers: int,
    redis: str | None,
    data: Path,
    ledger: bool,
    keep_records: float,
    keep_rollups: float,
    spool_limit: int,
    sink_file: str | None,
    sink_url: str | None,
    alert_url: str | None,
    tiers: tuple[str, ...],
    guard: str,
    guard_url: str | None,
    guard_timeout: float,
    judge_url: str | None,
    drain_timeout: float,
    log_level: str,
    **cached: Unpack[Flags],
) -> None:
    """Decide about requests: the gRPC service behind Envoy's ext_proc filters."""
    if workers > 1 and redis is None:
        raise click.UsageError(f"--workers {workers} needs --redis: filters of one request may run "
                               "in different workers and meet in shared state.")  # fmt: skip
    keeping = Keeping(
        redis=redis,
        data=str(data.resolve()),
        ledger=ledger,
        keep_records=keep_records,
        keep_rollups=keep_rollups,
        spool_limit=spool_limit << 20,
        sink_file=sink_file,
        sink_url=sink_url,
        alert_url=alert_url,
        tiers=tiers,
    )
    cache = caching(cached, judge_url)
    try:
        each = [
            Settings(
                listen=address,
                admin=admin,
                slot=slot,
                slots=workers,
                keeping=keeping,
                guard=guard,
                guard_url=guard_url,
                guard_timeout=guard_timeout,
                cache=cache,
                drain_timeout=drain_timeout,
                log_level=log_level,
            )
            for slot, address in enumerate(addresses.of_workers(listen, workers))
        ]
        addresses.of_workers(admin, 1)
        # Wrong ones are told before anything runs.
        alerts(alert_url, os.environ)
        check(guard, guard_url, os.environ)
        check_cache(cache, os.environ, data.resolve())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logs.configure(log_level)
    try:
        uvloop.run(run_worker(each[0]) if workers == 1 else Workers(each).run(admin))
    except (OSError, LedgerError, SecretError, StateError, ValueError) as error:
        raise click.ClickException(str(error)) from error
