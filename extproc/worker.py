"""One worker process: `python -m extproc.worker`, started by its parent."""

from __future__ import annotations

import os
import stat
from threading import Thread
from typing import Final

import msgspec
import uvloop

from extproc.server import Settings, run
from extproc.telemetry import logs

STDIN: Final = 0
SETTINGS: Final = "TOLLGATE_WORKER"
"""The variable with the settings as JSON. Not an argument: addresses of stores and sinks may hold a
password, and arguments are for everybody on the machine to see."""


def end_with_parent() -> None:
    """End at once when the parent is killed, which holds the other end of standard input. Nobody
    else would ever stop this process, and the parent's successor needs its sockets and its spool.
    """
    mode = os.fstat(STDIN).st_mode
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while os.read(STDIN, 1):
        pass  # nothing is ever said
    os._exit(1)


def main() -> None:
    """Serve with the settings of the environment."""
    end_with_parent()
    settings = msgspec.json.decode(os.environ.pop(SETTINGS), type=Settings)
    logs.configure(settings.log_level)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
