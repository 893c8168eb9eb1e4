"""What an operator sees: metrics by the convention, readiness, and an Envoy that never wondered."""

from __future__ import annotations

import json
import math
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Running, poll, running
from tests.e2e.figures import Figures, figures
from tests.e2e.sockets import CHAT, request

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
TARGETS = ["claude-sonnet", "gpt-4-turbo", "gemini-pro", "llama"]
SECONDS = [0.01 * 2**power for power in range(14)]
MODEL = {
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
}
# OpenTelemetry's semantic conventions for generative AI metrics, buckets as advised there.
CONVENTION: dict[str, tuple[list[float], set[str]]] = {
    "gen_ai_client_token_usage": (
        [4**power for power in range(14)],
        MODEL | {"gen_ai_token_type"},
    ),
    "gen_ai_client_operation_duration_seconds": (SECONDS, MODEL | {"error_type"}),
    "gen_ai_server_request_duration_seconds": (SECONDS, MODEL | {"error_type"}),
    "gen_ai_server_time_to_first_token_seconds": (
        [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
        MODEL,
    ),
    "gen_ai_server_time_per_output_token_seconds": (
        [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
        MODEL,
    ),
}
FAULTS: list[Json] = [
    {},
    {"status": 500},
    {"error": "rate_limit"},
    {"error": "invalid_request"},
    {"error": "content_filter"},
    {"reset": "before"},
    {"reset": "after_headers"},
    {"reset": 2},
    {"stop_early": 2},
    {"error_at": 2},
    {"first_event_error": True},
    {"garbage": "binary"},
    {"garbage": "html"},
    {"garbage": "empty"},
    {"garbage": "truncated_json"},
    {"slow_bytes": 40, "slow_delay": 0.001},
    {"comment_first": True},
]


def everything(gateway: Running) -> None:
    """A request of every kind: served, refused, walked, broken, left."""

    def ask(target: str, stream: bool, script: Json) -> None:
        # A stream whose provider was reset ends truncated.
        with suppress(httpx.RemoteProtocolError):
            gateway.chat(target, script=script, stream=stream)

    with ThreadPoolExecutor(8) as pool:
        for target in TARGETS:
            for stream in (False, True):
                for script in FAULTS:
                    pool.submit(ask, target, stream, script)
                pool.submit(ask, target, stream, {"silence": "before_head"})
                pool.submit(ask, target, stream, {"silence": 2})
        failing = {"by": {"claude-sonnet-4-5": {"status": 500}, "*": {}}}
        pool.submit(gateway.chat, script=failing)
        pool.submit(gateway.chat, script=failing, stream=True)
        for after in (0, 1, 5):
            pool.submit(leave, gateway, after)
    assert gateway.raw(b"{").status_code == 400
    assert gateway.raw(b" " * (33 << 20)).status_code == 413
    assert gateway.chat("nobody", headers={"x-test-route": "narrow"}).status_code == 404
    assert gateway.http.get(f"{gateway.url}/models").status_code == 200
    assert gateway.http.get(f"{gateway.url}/nowhere").status_code == 404


def leave(gateway: Running, after: int) -> None:
    """Ask for a stream and go away after so many of its events."""
    body = {"model": "patient", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    script = json.dumps({"events": 500, "rate": 50, "latency": 0.1})
    sent = request(CHAT, json.dumps(body).encode(), f"x-sim-script: {script}")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(sent)
        seen = b""
        while seen.count(b"data: ") < after:
            seen += connection.recv(65536)


@pytest.fixture(scope="module")
def busy(shared: Running) -> Running:
    """The shared gateway after everything has happened to it."""
    everything(shared)
    poll(lambda: figures(shared).sum("tollgate_requests_in_flight") == 0, what="an idle gateway")
    return shared


# --- metrics ------------------------------------------------------------------------------


def test_metrics_are_prometheus(busy: Running) -> None:
    answer = busy.http.get(f"http://127.0.0.1:{busy.admin}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    for family in families.values():
        assert family.documentation or family.name == "target_info"
        assert family.type in {"counter", "gauge", "histogram"}
        series = [(one.name, tuple(sorted(one.labels.items()))) for one in family.samples]
        assert len(series) == len(set(series))
        assert all(math.isfinite(one.value) and one.value >= 0 for one in family.samples)


@pytest.mark.parametrize("name", CONVENTION)
def test_metric_of_the_convention(name: str, busy: Running) -> None:
    buckets, labels = CONVENTION[name]
    (family,) = [one for one in text_string_to_metric_families(busy.metrics()) if one.name == name]
    assert family.type == "histogram"
    by_series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    counts: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        rest = {key: value for key, value in sample.labels.items() if key != "le"}
        assert rest.keys() <= labels
        key = tuple(sorted(rest.items()))
        if sample.name == f"{name}_bucket":
            by_series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name == f"{name}_count":
            counts[key] = sample.value
    assert by_series
    for key, found in by_series.items():
        bounds = [bound for bound, _ in found]
        assert bounds == pytest.approx([*buckets, math.inf])
        values = [value for _, value in found]
        assert values == sorted(values)
        assert values[-1] == counts[key]
        attributes = dict(key)
        assert attributes["gen_ai_operation_name"] == "chat"
        assert attributes["gen_ai_provider_name"] in {
            "anthropic",
            "openai",
            "gcp.gemini",
            "local",
        }


def test_what_happened_is_told_by_reason(busy: Running) -> None:
    found = figures(busy)
    for target in TARGETS:
        for reason in ("unavailable", "capacity", "timeout", "bad_answer"):
            name = "tollgate_refusals_total"
            assert found.sum(name, target=target, reason=reason) >= 1, (target, reason)
        assert found.sum("tollgate_attempts_total", target=target, outcome="served") >= 2
    assert found.sum("tollgate_chains_walked_total", route="everything") >= 2
    assert found.sum("tollgate_requests_aborted_total", target="patient") >= 2
    assert found.sum("tollgate_notes_lost_total") == 0
    assert found.sum("tollgate_telemetry_dropped_total") == 0


def test_requests_in_flight(gateway: Running) -> None:
    with ThreadPoolExecutor(3) as pool:
        held = [
            pool.submit(gateway.chat, "patient", stream=True, script={"events": 3, "rate": 4})
            for _ in range(3)
        ]
        poll(lambda: figures(gateway).sum("tollgate_requests_in_flight") == 3, what="3 in flight")
        assert [one.result().status_code for one in held] == [200] * 3
    poll(lambda: figures(gateway).sum("tollgate_requests_in_flight") == 0, what="none in flight")


def test_the_event_loop_was_never_late_for_long(busy: Running) -> None:
    """Nothing in the mix blocks; a generous bound for a machine that does other things too."""
    assert figures(busy).sum("tollgate_event_loop_lag_seconds") < 2


MANY = """
providers:
  own: {dialect: openai, url: "http://127.0.0.1:1"}
targets:
  llama: {provider: own, model: llama-3.1-8b-instruct}
chains:
  all: [llama]
routes:
  - {name: strict, match: {headers: {x-test-route: strict}}, chain: all, models: {known: llama}}
  - {name: everything, chain: all, models: {"*": all}}
identity: open
"""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose clients call everything by another name each time."""
    folder = tmp_path_factory.mktemp("crowded")
    config = folder / "gateway.yaml"
    config.write_text(MANY)
    with running(folder / "run", config) as found:
        yield found


def test_labels_are_bounded(crowded: Running) -> None:
    """Names of every kind in great number: no label grows without end, nothing is uncounted."""

    def served(number: int) -> int:
        headers = {
            "x-tollgate-feature": f"feature-{number}",
            "x-tollgate-user": f"canary-user-{number}",
            "x-tollgate-session": f"canary-session-{number}",
            "x-tollgate-label-zone": f"canary-zone-{number}",
        }
        return crowded.chat(f"model-{number}", headers=headers).status_code

    def refused(number: int) -> int:
        headers = {"x-test-route": "strict", "x-tollgate-feature": f"wrong-{number}"}
        return crowded.chat(f"wrong-{number}", headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(refused, range(700))) == {404}
        assert set(pool.map(served, range(400))) == {200}
    found = figures(crowded)
    assert found.sum("tollgate_requests_total", status="200", target="llama") == 400
    assert found.sum("tollgate_requests_total", status="404") == 700
    values = by_label(found)
    for label, seen in values.items():
        if label != "le":
            assert len(seen) <= 1001, label
    assert "_OTHER" in values["gen_ai_request_model"]
    assert 100 <= len(values["gen_ai_request_model"]) <= 201
    assert len([one for one in values["feature"] if one.startswith("wrong-")]) <= 500
    assert "feature-0" in values["feature"]
    assert not [one for seen in values.values() for one in seen if "canary" in one]
    usage = "gen_ai_client_token_usage_count"
    assert found.sum(usage, gen_ai_token_type="input") == 400
    assert len(crowded.metrics()) < 5_000_000


def by_label(found: Figures) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for sample in found.samples:
        for label, value in sample.labels.items():
            values.setdefault(label, set()).add(value)
    return values


# --- health -------------------------------------------------------------------------------


def test_health_and_readiness(gateway: Running) -> None:
    root = f"http://127.0.0.1:{gateway.admin}"
    healthy = gateway.http.get(f"{root}/healthz")
    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    ready = gateway.http.get(f"{root}/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert all(ready.json()["parts"].values())
    assert gateway.http.get(f"{root}/").status_code == 404
    assert gateway.http.post(f"{root}/metrics").status_code == 405


def test_the_admin_ports_are_not_on_the_gateway(gateway: Running) -> None:
    for path in ("/metrics", "/healthz", "/readyz", "/stats", "/config_dump", "/quitquitquit"):
        assert gateway.http.get(f"{gateway.root}{path}").status_code == 404


# --- Envoy --------------------------------------------------------------------------------

WRONG = [
    *("spurious_msgs_received", "rejected_header_mutations", "failure_mode_allowed"),
    *("message_timeouts", "streams_failed", "http_not_ok_resp_received"),
    *("clear_route_cache_ignored", "clear_route_cache_disabled"),
    *("override_message_timeout_ignored",),
]


def stats(gateway: Running, pattern: str) -> dict[str, int]:
    answer = gateway.http.get(
        f"http://127.0.0.1:{gateway.envoy_admin}/stats", params={"filter": pattern}
    )
    found = (line.rpartition(": ") for line in answer.text.splitlines())
    return {name: int(value) for name, _, value in found if value.isdigit()}


def test_envoy_was_never_told_anything_odd(busy: Running) -> None:
    found = stats(busy, r"ext_proc\.")
    assert found["http.gateway.ext_proc.streams_started"] > 100
    kinds = {name.rpartition(".")[2] for name in found}
    assert kinds.issuperset(WRONG), "Envoy calls it otherwise now"
    odd = {name: count for name, count in found.items() if count and name.endswith(tuple(WRONG))}
    assert odd == {}


def test_every_stream_to_the_service_is_closed(busy: Running) -> None:
    def open_streams() -> int:
        found = stats(busy, r"ext_proc\.streams_(started|closed)")
        return sum(count if name.endswith("started") else -count for name, count in found.items())

    poll(lambda: open_streams() == 0, what="all streams closed")
    active = stats(busy, r"(downstream|upstream)_rq_active$")
    # The admin interface answers this very request.
    assert {name for name, count in active.items() if count} <= {"http.admin.downstream_rq_active"}


def test_envoy_logged_nothing_worse_than_a_warning(busy: Running) -> None:
    said = Path(busy.folder / "envoy.log").read_text()
    assert re.findall(r"\[(?:error|critical)\].*|assert failure.*|envoy bug.*", said) == []


def test_the_service_logged_no_error(busy: Running) -> None:
    lines = [json.loads(line) for line in (busy.folder / "service.log").read_text().splitlines()]
    assert [line for line in lines if line["level"] not in {"debug", "info"}] == []
