"""Providers that are not there, that die and come back, and that do not know our key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from tests.e2e.conftest import Json, Running, free_ports, poll, running
from tests.e2e.wire import stat, stream

pytestmark = pytest.mark.e2e

KEY = "sk-wrong-0123456789abcdef"
DIALECTS = ("openai", "anthropic", "gemini")
CONFIG = """
providers:
  dead:     {{dialect: openai, url: "http://127.0.0.1:{dead}", key_env: SOME_KEY}}
  flaky:    {{dialect: openai, url: "http://127.0.0.1:{flaky}", key_env: SOME_KEY,
             health: {{interval: 1s, timeout: 1s}}, outlier: {{consecutive_5xx: 3, ejection: 1s}}}}
  openai:    {{dialect: openai, url: "http://127.0.0.1:{openai}", key_env: WRONG_KEY}}
  anthropic: {{dialect: anthropic, url: "http://127.0.0.1:{anthropic}", key_env: WRONG_KEY}}
  gemini:    {{dialect: gemini, url: "http://127.0.0.1:{gemini}", key_env: WRONG_KEY}}
  good:      {{dialect: openai, url: "http://127.0.0.1:8000"}}
targets:
  dead:      {{provider: dead, model: gpt-4o, timeout: 3s}}
  flaky:     {{provider: flaky, model: gpt-4o-mini, timeout: 3s}}
  openai:    {{provider: openai, model: gpt-4.1, timeout: 3s}}
  anthropic: {{provider: anthropic, model: claude-sonnet-4-5, timeout: 3s}}
  gemini:    {{provider: gemini, model: gemini-2.5-flash, timeout: 3s}}
  good:      {{provider: good, model: llama-3.1-8b-instruct, timeout: 3s, price: {{input: "0", output: "0"}}}}
chains:
  dead-first: [dead, good]
  flaky-first: [flaky, good]
  wrong: [openai, anthropic, gemini]
routes:
  - {{name: everything, chain: dead-first}}
identity: open
"""  # noqa: E501 - a line a provider


@contextmanager
def simulator(**ports: int) -> Iterator[subprocess.Popen[bytes]]:
    """A simulator whose providers the gateway takes for real ones."""
    dialects = {name: name if name in DIALECTS else "openai" for name in ports}
    command = [sys.executable, "-m", "extproc.cli", "simulate"]
    command += [f"{name}={port}:{dialects[name]}" for name, port in ports.items()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for port in ports.values():
                poll(partial(_answers, port), what=f"simulator on {port}")
            yield process
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/_sim/totals").status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Faulty:
    gateway: Running
    ports: dict[str, int]

    def asked(self, port: str) -> list[Json]:
        url = f"http://127.0.0.1:{self.ports[port]}/_sim/requests?port={port}"
        found: list[Json] = self.gateway.http.get(url).json()
        return [one for one in found if one["method"] == "POST"]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faulty")
    first = free_ports(5)
    names = ("dead", "flaky", *DIALECTS)
    ports = {name: first + number for number, name in enumerate(names)}
    config = folder / "gateway.yaml"
    config.write_text(CONFIG.format(**ports))
    env = {"SOME_KEY": "sk-some", "WRONG_KEY": KEY}
    with (
        simulator(**{name: ports[name] for name in DIALECTS}),
        running(folder / "run", config, env=env) as gateway,
    ):
        yield Faulty(gateway, ports)


@pytest.mark.parametrize("streamed", [False, True])
def test_nobody_at_the_address(streamed: bool, faulty: Faulty) -> None:
    gateway = faulty.gateway
    if streamed:
        seen = stream(gateway, "dead-first")
        assert seen.done
        assert (seen.target, seen.attempts) == ("good", "2")
        assert seen.ended < 1
    else:
        answer = gateway.chat("dead-first")
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-tollgate-target"] == "good"


def test_a_provider_known_to_be_dead_is_not_even_tried(faulty: Faulty) -> None:
    gateway = faulty.gateway
    poll(lambda: stat(gateway, "cluster.provider-dead.membership_healthy") == 0)
    before = stat(gateway, "cluster.provider-dead.upstream_rq_total")
    answer = gateway.chat("dead-first")
    assert answer.headers["x-tollgate-target"] == "good"
    assert stat(gateway, "cluster.provider-dead.upstream_rq_total") == before
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["refusals"] == "dead:unhealthy"


def test_nobody_else_to_ask(faulty: Faulty) -> None:
    with faulty.gateway.openai() as sdk, pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(model="dead", messages=[{"role": "user", "content": "Hello"}])
    assert caught.value.status_code == 503
    assert caught.value.code == "no_provider_available"


def test_a_provider_dies_and_comes_back(faulty: Faulty) -> None:
    gateway = faulty.gateway

    def served() -> str:
        answer = gateway.chat("flaky-first")
        assert answer.status_code == 200, answer.text
        return answer.headers["x-tollgate-target"]

    with simulator(flaky=faulty.ports["flaky"]):
        poll(lambda: served() == "flaky", what="health of a provider that has come up")
    # It is gone: not one request fails, and soon nobody asks it.
    healthy = "cluster.provider-flaky.membership_healthy"
    poll(lambda: served() == "good" and stat(gateway, healthy) == 0)
    before = stat(gateway, "cluster.provider-flaky.upstream_rq_total")
    assert served() == "good"
    assert stat(gateway, "cluster.provider-flaky.upstream_rq_total") == before
    with simulator(flaky=faulty.ports["flaky"]):
        poll(lambda: served() == "flaky", what="a provider that has come back")


def test_a_provider_that_keeps_failing_is_left_alone(faulty: Faulty) -> None:
    # Its health check is content; what requests meet there is not.
    gateway = faulty.gateway
    ejections = "cluster.provider-flaky.outlier_detection.ejections_enforced_total"
    with simulator(flaky=faulty.ports["flaky"]):
        poll(lambda: gateway.chat("flaky-first").headers["x-tollgate-target"] == "flaky")
        before = stat(gateway, ejections)
        url = f"http://127.0.0.1:{faulty.ports['flaky']}/_sim/config"
        gateway.http.put(url, json={"gpt-4o-mini": {"status": 500}})

        def ejected() -> bool:
            answer = gateway.chat("flaky-first")
            assert answer.headers["x-tollgate-target"] == "good"
            return stat(gateway, ejections) > before

        poll(ejected)


# --- our key is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_wrong_key_and_a_next_level(dialect: str, streamed: bool, faulty: Faulty) -> None:
    gateway = faulty.gateway
    answer = gateway.chat(dialect, models=[dialect, "good"], stream=streamed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == "good"
    assert faulty.asked(dialect)[-1]["status"] in (400, 401)
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["refusals"] == f"{dialect}:credentials"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", [*DIALECTS, "wrong"])
def test_a_wrong_key_alone(model: str, streamed: bool, faulty: Faulty) -> None:
    with faulty.gateway.openai() as sdk, pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], stream=streamed
        )
    assert caught.value.status_code == 502
    assert caught.value.code == "provider_credentials"
    told = caught.value.response.text.lower()
    assert "sk-" not in told
    assert "wrong-" not in told
    assert "incorrect api key" not in told
    assert "api_key_invalid" not in told


def test_the_key_is_written_down_nowhere(faulty: Faulty) -> None:
    answer = faulty.gateway.chat("openai", models=["openai", "good"])
    faulty.gateway.access_log(answer.headers["x-tollgate-request-id"])
    for path in Path(faulty.gateway.folder).rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in faulty.gateway.metrics()
