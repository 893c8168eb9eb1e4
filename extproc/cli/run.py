"""`tollgate run`: everything on one machine, to try out and to develop against."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from extproc.cli.caching import flags
from extproc.config import ConfigError
from extproc.guard.scanning import NAMES, TIMEOUT
from extproc.stack import Options, Stack, StackError

CONFIG = Path("envoy/gateway.yaml")

TRY = """\
{key}curl {url}/chat/completions -H 'content-type: application/json' {auth}\\
  -d '{{"model": "flagship", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True), default=CONFIG)
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".run"), show_default=True,
              help="Sockets, logs and the rendered configuration.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=10000, show_default=True, help="The gateway.")
@click.option("--envoy-admin", default=9901, show_default=True)
@click.option("--admin", default=9902, show_default=True, help="The service's metrics and health.")
@click.option("--simulator", default=9910, show_default=True, help="First simulator port.")
@click.option("--tcp", default=None, type=int, metavar="PORT",
              help="ext_proc over TCP from this port on, instead of Unix sockets.")  # fmt: skip
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--redis", default=None, metavar="URL", help="Needed from two workers.")
@click.option("--data", type=click.Path(path_type=Path), default=None,
              help="Keys, ledger and spool; by default in the folder.")  # fmt: skip
@click.option("--ledger/--no-ledger", default=True, show_default=True)
@click.option("--guard", default="default", show_default=True, envvar="TOLLGATE_GUARD",
              type=click.Choice(NAMES), help="What finds personal data and secrets.")  # fmt: skip
@click.option("--guard-url", default=None, metavar="URL", envvar="TOLLGATE_GUARD_URL",
              help="The endpoint of --guard http.")  # fmt: skip
@click.option("--guard-timeout", default=TIMEOUT, show_default=True,
              envvar="TOLLGATE_GUARD_TIMEOUT", type=click.FloatRange(0, min_open=True))  # fmt: skip
@flags
@click.option("--drain-timeout", default=30.0, show_default=True, type=click.FloatRange(0))
@click.option("--time-scale", default=1.0, show_default=True, hidden=True)
def run(config: Path, **options: object) -> None:
    """Start simulator, service and Envoy from CONFIG, until Ctrl-C or SIGTERM.

    A provider whose key stands in the environment is the real one; the others are simulated.
    """
    stack = Stack(Options(config=config, **options))  # type: ignore[arg-type]
    try:
        asyncio.run(_run(stack))
    except (StackError, ConfigError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


async def _run(stack: Stack) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        starting = asyncio.create_task(stack.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        await starting
        _announce(stack)
        while not stop.is_set():
            stack.check_alive()
            await asyncio.wait({stopping}, timeout=0.5)
        click.echo("draining …")
    finally:
        await stack.stop()


def _try(stack: Stack) -> str:
    if stack.open:
        return TRY.format(key="", auth="", url=stack.url)
    admin = f"http://{stack.options.host}:{stack.options.admin}"
    key = f"KEY=$(tollgate keys create --name trial --admin {admin})\n"
    return TRY.format(key=key, auth='-H "authorization: Bearer $KEY" ', url=stack.url)


def _announce(stack: Stack) -> None:
    options = stack.options
    real = [name for name in stack.providers if name not in stack.simulated]
    click.echo(f"""Tollgate is ready.

  gateway    {stack.url}   (point an OpenAI SDK here)
  providers  simulated: {", ".join(stack.simulated) or "none"}; real: {", ".join(real) or "none"}
  Envoy      http://{options.host}:{options.envoy_admin}
  metrics    http://{options.host}:{options.admin}/metrics
  logs       {options.folder}/

Try:

{_try(stack)}

Ctrl-C stops everything.""")
