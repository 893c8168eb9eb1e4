"""A real Envoy, the service and the simulator, started as a person would: `tollgate run`."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import psutil
import pytest
from openai import AsyncOpenAI, OpenAI

from extproc.config import load

if TYPE_CHECKING:
    from tests.e2e.limits_gateways import Limited

GATEWAY = Path(__file__).parent / "gateway.yaml"
START_WITHIN = 60.0
BLOCK = 2_500
Json = dict[str, Any]


@cache
def _block() -> int:
    """The first of this process's own `BLOCK` ports, held until its end: no other run of the tests
    takes a port between our finding it free and a gateway's opening it."""
    for first in range(20_000, 30_000, BLOCK):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", first))
        except OSError:
            held.close()
        else:
            atexit.register(held.close)
            return first
    raise RuntimeError("no free block of ports")


def free_ports(count: int) -> int:
    """The first of `count` free TCP ports in a row."""
    for _ in range(200):
        first = random.randrange(_block() + 1, _block() + BLOCK - count)
        if all(_is_free(first + number) for number in range(count)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def poll(condition: Callable[[], Any], *, within: float = 10.0, what: str = "") -> Any:
    """Wait until `condition` gives something true, and return it."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}")
        time.sleep(0.02)


@dataclass
class Running:
    """One gateway that runs."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    envoy_admin: int
    admin: int
    simulator: int
    providers: tuple[str, ...]
    log: Path
    api_key: str = "tg-test"
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def openai(self, **options: Any) -> OpenAI:
        return OpenAI(base_url=self.url, api_key=self.api_key, max_retries=0, **options)

    def async_openai(self, **options: Any) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url, api_key=self.api_key, max_retries=0, **options)

    def chat(
        self,
        model: str = "flagship",
        text: str = "Hello",
        *,
        script: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> httpx.Response:
        """One chat completion, read whole."""
        sent = {"content-type": "application/json", **(headers or {})}
        if script is not None:
            sent["x-sim-script"] = json.dumps(script)
        content = {"model": model, "messages": [{"role": "user", "content": text}], **body}
        return self.http.post(f"{self.url}/chat/completions", json=content, headers=sent)

    def raw(self, body: bytes, **headers: str) -> httpx.Response:
        """A body as it is to `/v1/chat/completions`."""
        sent = {"content-type": "application/json", **headers}
        return self.http.post(f"{self.url}/chat/completions", content=body, headers=sent)

    def received(self, **match: Any) -> list[Json]:
        """What the simulator got, in order."""
        found: list[Json] = self.http.get(f"http://127.0.0.1:{self.simulator}/_sim/requests").json()
        return [
            one for one in found if all(one.get(name) == value for name, value in match.items())
        ]

    def asked(self) -> list[Json]:
        """What the simulator got that is no health check."""
        return [one for one in self.received() if one["method"] == "POST"]

    def sent_body(self, one: Json) -> bytes:
        """The body of a request that the simulator got, byte for byte."""
        url = f"http://127.0.0.1:{self.simulator}/_sim/body?sequence={one['sequence']}"
        return self.http.get(url).content

    def behave(self, scripts: Json) -> None:
        """Set the simulator's default scripts, by model or provider; `{}` forgets them."""
        url = f"http://127.0.0.1:{self.simulator}/_sim/config"
        self.http.put(url, json=scripts).raise_for_status()

    def forget(self) -> None:
        self.http.delete(f"http://127.0.0.1:{self.simulator}/_sim/requests")

    def metrics(self) -> str:
        return self.http.get(f"http://127.0.0.1:{self.admin}/metrics").text

    def access_log(self, request_id: str, within: float = 10.0) -> Json:
        """The line of one request; Envoy writes every second or so."""

        def find() -> Json | None:
            for line in (self.folder / "access.log").read_text().splitlines():
                if request_id in line:
                    found: Json = json.loads(line)
                    if found.get("request_id") == request_id:
                        return found
            return None

        found: Json = poll(find, within=within, what=f"access log of {request_id}")
        return found

    def part(self, name: str) -> psutil.Process:
        """The process of `service`, `envoy` or `simulator`."""
        words = {"service": "serve", "simulator": "simulate", "envoy": "--disable-hot-restart"}
        for child in psutil.Process(self.process.pid).children():
            if words[name] in child.cmdline():
                return child
        raise AssertionError(f"no {name}")

    def stop(self, within: float = 60.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


@contextmanager
def running(
    folder: Path,
    config: Path = GATEWAY,
    *arguments: str,
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Start a gateway of one's own; stopped at the end."""
    ports = free_ports(24)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "run.log"
    command = [
        *(sys.executable, "-m", "extproc.cli", "run", str(config)),
        *("--folder", str(folder), "--port", str(ports), "--envoy-admin", str(ports + 1)),
        *("--admin", str(ports + 2), "--simulator", str(ports + 3), "--drain-timeout", "10"),
        *arguments,
    ]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and not name.startswith("AWS_")
    }
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**clean, **(env or {})})
    try:
        poll(
            lambda: process.poll() is not None or b"Tollgate is ready" in log.read_bytes(),
            within=START_WITHIN,
            what=f"start of {config}",
        )
        assert process.poll() is None, log.read_text()
        found = Running(
            process, folder, ports, ports + 1, ports + 2, ports + 3, _providers(config), log
        )
        with closing(found.http):
            yield found
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _providers(config: Path) -> tuple[str, ...]:
    return tuple(load(config).providers)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for all tests that leave it as they found it."""
    with running(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def gateway(shared: Running) -> Running:
    """The shared gateway, with the simulator's record empty."""
    shared.forget()
    return shared


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[AsyncOpenAI]:
    """The OpenAI SDK on the shared gateway."""
    async with gateway.async_openai() as found:
        yield found


# Not for the whole session: each Envoy takes some inotify instances, of which a user has 128.
@pytest.fixture(scope="module", params=["embedded", "redis"])
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Limited]:
    """A gateway with every kind of limit, on each store; its callers are made by each test."""
    from tests.e2e.limits_gateways import limited_gateway  # noqa: PLC0415 - it needs this module

    with limited_gateway(tmp_path_factory.mktemp(request.param), request.param) as found:
        yield found
