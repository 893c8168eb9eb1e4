"""One worker process: `python -m extproc.worker SETTINGS`, started by its parent."""

from __future__ import annotations

import sys

import msgspec
import uvloop

from extproc.server import Settings, run
from extproc.telemetry import logs


def main() -> None:
    """Serve with the settings (JSON) of the only argument."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    logs.configure(settings.log_level)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
