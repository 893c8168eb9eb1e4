"""Where the workers of one service listen: `unix:PATH` or `HOST:PORT`."""

from __future__ import annotations

from typing import Final

UNIX: Final = "unix:"
SLOT: Final = "{n}"


def of_workers(listen: str, workers: int) -> list[str]:
    """One address a worker: `{n}` becomes its number from 0, a TCP port counts up.

    Raises ValueError for an address that is neither, or that would serve two workers.
    """
    if listen.startswith(UNIX):
        if workers > 1 and SLOT not in listen:
            raise ValueError(f"{listen}: {workers} workers need '{SLOT}' in the path")
        return [listen.replace(SLOT, str(number)) for number in range(workers)]
    host, port = host_port(listen)
    return [f"{host}:{port + number}" for number in range(workers)]


def host_port(address: str) -> tuple[str, int]:
    """Split `HOST:PORT` (`[::1]:80` too). Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - TCP
        raise ValueError(f"{address}: neither unix:PATH nor HOST:PORT")
    return host, int(port)
