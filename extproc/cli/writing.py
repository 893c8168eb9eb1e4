"""Files that commands write: there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click


@contextlib.contextmanager
def opened(path: Path | None, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Standard output, or a file that is put in its place when all is written.

    `private`: only its owner may read it. Raises click.ClickException where it cannot be written.
    """
    if path is None or str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if path.exists() and not path.is_file():
            # A pipe or a terminal cannot be exchanged.
            with path.open("wb") as out:
                yield out
            return
        yield from _exchanged(path, private=private)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error


def _exchanged(path: Path, *, private: bool) -> Iterator[IO[bytes]]:
    made, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(made, "wb") as out:
            yield out
        # mkstemp makes what only the owner may read; others as the process's umask has it.
        if not private:
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
