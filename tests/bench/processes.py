"""Processes of a benchmark: started together, stopped together, and what each of them cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from tests.bench.load import Job, Result

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 120.0
"""Seconds for a process to answer its first request: the slowest peer takes half a minute."""
STOP_WITHIN = 5.0
_LINE = 64 << 20
"""Bytes of one result line: some hundred thousand latencies."""


class NotReadyError(Exception):
    """A process died or did not answer in time."""


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody has, in a row or not."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(contextlib.closing(socket.socket()))
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
    return ports


def free_row(count: int) -> int:
    """The first of `count` free ports in a row."""
    while True:
        first = free_ports(1)[0]
        if first + count > 65535:
            continue
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probe = stack.enter_context(contextlib.closing(socket.socket()))
                probe.bind(("127.0.0.1", port))
            return first


def many_files() -> None:
    """Let this process and its children open as many files as the system lets them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system time spent so far, in seconds; to the kernel's clock tick (10 ms)."""
    times = [one.cpu_times() for one in processes]
    return sum(one.user + one.system for one in times)


def rss_mb(processes: Iterable[psutil.Process]) -> float:
    """Resident memory in MB (1e6 bytes)."""
    return sum(one.memory_info().rss for one in processes) / 1e6


@dataclass(slots=True)
class Fleet:
    """Child processes with their logs in one folder."""

    folder: Path
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(
        self, name: str, *command: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> int:
        """Start one; its pid."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self._running[name] = process
        return process.pid

    async def python(self, name: str, module: str, *arguments: str) -> int:
        """Start one of our own modules; its pid."""
        return await self.start(name, sys.executable, "-m", module, *arguments)

    async def ready(self, name: str, port: int, request: bytes) -> None:
        """Wait until `request` gets a 200 on `port`. Raises NotReadyError."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            process = self._running.get(name)
            if process is not None and process.returncode is not None:
                raise NotReadyError(f"{name} exited with {process.returncode}: {self._words(name)}")
            if await _status(port, request) == 200:
                return
            await asyncio.sleep(0.05)
        raise NotReadyError(f"{name} does not serve on port {port}: {self._words(name)}")

    def _words(self, name: str) -> str:
        log = self.folder / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it logged nothing"

    async def stop(self) -> None:
        """Stop all of them, the last one first."""
        for process in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN)
            except TimeoutError:
                # A session of its own: whatever it started goes with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        self._running.clear()


async def _status(port: int, request: bytes) -> int:
    """Status of one answer; 0 when there was none."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            line = await asyncio.wait_for(reader.readline(), 10)
            return int(line[9:12])
        finally:
            writer.close()
    return 0


class Generator:
    """The load generator's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Generator:
        """Start it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.load"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=_LINE,
        )
        return cls(process)

    async def run(self, job: Job) -> Result:
        """Run a job; one at a time. Raises NotReadyError if the process has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise NotReadyError("the load generator has died")
        return msgspec.json.decode(line, type=Result)

    async def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def chat_request(
    body: Mapping[str, object], headers: Sequence[tuple[str, str]] = (), *, key: str = "simulated"
) -> bytes:
    """A chat completion as bytes of HTTP/1.1."""
    content = msgspec.json.encode(body)
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: bench.test",
        "content-type: application/json",
        "accept: */*",
        f"authorization: Bearer {key}",
        f"content-length: {len(content)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content
