"""A provider simulator: every wire format that Tollgate speaks, well behaved or not.

It imports nothing of Tollgate, so that the two cannot agree by sharing a mistake. The doors are
`run` (blocking, for a command line) and `Simulator` (within a running loop, for tests).
docs/simulator.md tells how to use it.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from extproc.simulator.http import Connection
from extproc.simulator.openai_routes import SERVERS
from extproc.simulator.recorder import Record, Totals
from extproc.simulator.replay import Library, load
from extproc.simulator.server import Application, Port

__all__ = ["DEFAULT_PORTS", "Port", "Record", "Simulator", "parse_port", "port_of", "run"]

DEFAULT_PORTS: Mapping[str, int] = {
    "openai": 9910,
    "anthropic": 9911,
    "gemini": 9912,
    "local": 9913,
}
"""`local` is a self-hosted OpenAI-compatible server: it needs no key."""

_DIALECTS = (*SERVERS, "anthropic", "gemini", "vertex", "bedrock", "cohere")


def port_of(name: str, number: int, dialect: str | None = None, *, keyless: bool = False) -> Port:
    """A port: its dialect is the one named, else its own name if that is one, else OpenAI's. A
    keyless one, and one whose name begins with `local`, is a self-hosted server. Raises
    ValueError."""
    if not name:
        raise ValueError("a port needs a name")
    if not 0 <= number <= 65535:  # noqa: PLR2004 - TCP
        raise ValueError(f"port {number} of '{name}' is not between 0 and 65535")
    if dialect is not None and dialect not in _DIALECTS:
        raise ValueError(f"dialect '{dialect}' of '{name}' is none of {', '.join(_DIALECTS)}")
    usual = name if name in _DIALECTS else "openai"
    return Port(name, number, dialect or usual, hosted=not (keyless or name.startswith("local")))


def parse_port(text: str) -> Port:
    """Read `name=port[:dialect[:keyless]]`. Raises ValueError."""
    name, equals, rest = text.partition("=")
    number, _, rest = rest.partition(":")
    dialect, _, keyless = rest.partition(":")
    if not equals or not number.isdigit() or keyless not in ("", "keyless"):
        raise ValueError(f"'{text}' is not name=port[:dialect[:keyless]]")
    return port_of(name, int(number), dialect or None, keyless=bool(keyless))


class Simulator:
    """The simulator in the running loop: `async with Simulator() as sim: sim.url("openai")`.

    A port number of 0 is a free port. Raises OSError naming the port that is taken, and
    ValueError for a configuration or a folder of recordings that cannot be read.
    """

    def __init__(
        self,
        ports: Mapping[str, int | Port] | None = None,
        *,
        host: str = "127.0.0.1",
        config: Path | None = None,
        replay: Path | None = None,
        seed: int = 0,
    ) -> None:
        wanted = ports if ports is not None else dict.fromkeys(DEFAULT_PORTS, 0)
        self._ports = [
            one if isinstance(one, Port) else port_of(name, one) for name, one in wanted.items()
        ]
        self._host = host
        self._numbers: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        self._live: set[Connection] = set()
        library: Library | None = load(replay) if replay is not None else None
        self._application = Application(self._ports, seed, library)
        if config is not None:
            try:
                self._application.configure(_read(config))
            except ValueError as error:
                raise ValueError(f"{config}: {error}") from None

    async def __aenter__(self) -> Self:
        """Listen on every port."""
        loop = asyncio.get_running_loop()
        try:
            for port in self._ports:
                server = await self._listen(loop, port)
                self._servers.append(server)
                self._numbers[port.name] = server.sockets[0].getsockname()[1]
        except OSError:
            await self.close()
            raise
        return self

    async def _listen(self, loop: asyncio.AbstractEventLoop, port: Port) -> asyncio.Server:
        try:
            return await loop.create_server(
                lambda: Connection(self._application.serve, self._live, port.name),
                self._host,
                port.number,
                backlog=4096,
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            words = f"port {port.number} ({port.name}) is taken on {self._host}"
            raise OSError(errno.EADDRINUSE, words) from None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and drop what is open."""
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        for server in self._servers:
            server.close()
        for connection in list(self._live):
            connection.drop()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    @property
    def ports(self) -> dict[str, int]:
        """The port numbers by name."""
        return dict(self._numbers)

    def url(self, name: str) -> str:
        """`http://host:port` of a port, without a path."""
        return f"http://{self._host}:{self._numbers[name]}"

    def configure(self, scripts: Mapping[str, Any]) -> None:
        """Set the default script of each port (`*` for all). Raises ValueError."""
        self._application.configure(dict(scripts))

    def requests(self, port: str | None = None, since: int = 0) -> list[Record]:
        """What came, oldest first."""
        return self._application.recorder.since(since, port)

    def totals(self) -> dict[str, Totals]:
        """Sums by port."""
        return self._application.recorder.totals()

    def clear(self) -> None:
        """Forget what came."""
        self._application.recorder.clear()


def _read(path: Path) -> Any:
    if path.suffix in (".yaml", ".yml"):
        from ruamel.yaml import YAML  # noqa: PLC0415 - an optional dependency, slow to import
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415

        try:
            return YAML(typ="safe").load(path)
        except YAMLError as error:
            raise ValueError(f"not YAML: {error}") from None
    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def run(
    ports: Mapping[str, int | Port] | None = None,
    *,
    host: str = "127.0.0.1",
    config: Path | None = None,
    replay: Path | None = None,
    seed: int = 0,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called once every port listens.

    `config` is a JSON or YAML file of port names to scripts, `replay` a folder of recordings.
    Raises OSError naming the port that is taken, ValueError for what cannot be read.
    """
    import uvloop  # noqa: PLC0415 - only a command needs it; tests bring their own loop

    async def main() -> None:
        simulator = Simulator(
            DEFAULT_PORTS if ports is None else ports,
            host=host,
            config=config,
            replay=replay,
            seed=seed,
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, stop.set)
        async with simulator:
            if ready is not None:
                ready()
            await stop.wait()

    uvloop.run(main())
