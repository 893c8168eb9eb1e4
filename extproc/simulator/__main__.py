"""`python -m extproc.simulator`: the simulator by itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from extproc.simulator import DEFAULT_PORTS, parse_port, port_of, run


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 1 if it could not start."""
    parser = argparse.ArgumentParser(prog="python -m extproc.simulator", description=__doc__)
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="NAME=PORT[:DIALECT]",
        help="a port to listen on (default: "
        + ", ".join(f"{name}={number}" for name, number in DEFAULT_PORTS.items())
        + ")",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--config", type=Path, help="JSON or YAML file of port names to scripts")
    parser.add_argument("--replay", type=Path, help="folder of VCR.py or go-vcr recordings")
    parser.add_argument("--seed", type=int, default=0, help="of the usage figures")
    options = parser.parse_args(arguments)
    try:
        ports = [parse_port(text) for text in options.port]
        if not ports:
            ports = [port_of(name, number) for name, number in DEFAULT_PORTS.items()]
        run(
            {port.name: port for port in ports},
            host=options.host,
            config=options.config,
            replay=options.replay,
            seed=options.seed,
            ready=lambda: print(  # noqa: T201 - a command says that it is up
                "simulator: "
                + " ".join(f"{port.name}=http://{options.host}:{port.number}" for port in ports),
                flush=True,
            ),
        )
    except (OSError, ValueError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or error
        print(f"simulator: {words}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
