"""`tollgate serve`: the service that Envoy asks."""

from __future__ import annotations

import click
import uvloop

from extproc import addresses
from extproc.server import Settings
from extproc.server import run as run_worker
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
    drain_timeout: float,
    log_level: str,
) -> None:
    """Decide about requests: the gRPC service behind Envoy's ext_proc filters."""
    if workers > 1 and redis is None:
        raise click.UsageError(f"--workers {workers} needs --redis: filters of one request may run "
                               "in different workers and meet in shared state.")  # fmt: skip
    try:
        each = [
            Settings(
                listen=address,
                admin=admin,
                redis=redis,
                drain_timeout=drain_timeout,
                log_level=log_level,
            )
            for address in addresses.of_workers(listen, workers)
        ]
        addresses.of_workers(admin, 1)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logs.configure(log_level)
    try:
        uvloop.run(run_worker(each[0]) if workers == 1 else Workers(each).run(admin))
    except OSError as error:
        raise click.ClickException(str(error)) from error
