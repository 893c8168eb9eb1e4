"""What passes the edge: nothing internal comes in or goes out, and no key but the provider's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Running, poll, running
from tests.e2e.sockets import CHAT, GOOD, chunked, exchange, request

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
TARGETS = ["claude-sonnet", "gpt-4-turbo", "gemini-pro", "llama"]

SPOOFED = {
    "x-tollgate-i-id": "0" * 32,
    "x-tollgate-i-stream": "1",
    "x-tollgate-i-walk": "content",
    "x-tollgate-i-refusal": "capacity",
    "x-tollgate-i-target": "llama",
    "x-tollgate-i-mirror": "target-llama",
    "x-tollgate-i-zzz-canary": "canary",
    "x-tollgate-filter": "shadow",
    "x-tollgate-request-id": "canary-1",
    "x-tollgate-target": "canary-2",
    "x-envoy-max-retries": "0",
    "x-envoy-retry-on": "5xx,retriable-4xx,gateway-error",
    "x-envoy-retriable-status-codes": "200,400",
    "x-envoy-retriable-header-names": "content-type",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-upstream-alt-stat-name": "canary",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-attempt-count": "9",
    "x-envoy-original-path": "/canary",
    "x-envoy-original-host": "canary",
    "x-envoy-internal": "true",
    "x-envoy-decorator-operation": "canary",
    "x-envoy-force-trace": "true",
    "x-envoy-external-address": "203.0.113.9",
    "x-request-id": "canary-of-somebody-else",
}
SECRETS = {
    "authorization": "Bearer sk-client-canary",
    "proxy-authorization": "Basic canary",
    "x-api-key": "sk-client-canary",
    "api-key": "sk-client-canary",
    "x-goog-api-key": "sk-client-canary",
    "cookie": "session=canary",
    "openai-organization": "org-canary",
    "openai-project": "proj-canary",
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-host": "canary",
    "x-forwarded-client-cert": "canary",
    "forwarded": "for=203.0.113.7",
    "x-tollgate-user": "canary",
    "x-tollgate-feature": "canary",
    "x-tollgate-label-canary": "canary",
    "x-portkey-metadata": '{"_user": "canary"}',
    "helicone-user-id": "canary",
    "helicone-property-canary": "canary",
}
KEYS = {
    "claude-sonnet": ("x-api-key", "simulated"),
    "gpt-4-turbo": ("authorization", "Bearer simulated"),
    "gemini-pro": ("x-goog-api-key", "simulated"),
    "llama": None,
}
EXPECTED = {
    *("host", "accept", "accept-encoding", "content-type", "content-length", "user-agent"),
    *("connection", "transfer-encoding", "anthropic-version"),
}
"""What a provider gets beside its key."""


def got(one: Json) -> dict[str, str]:
    """The headers of one request as the provider got it."""
    headers = {name.lower(): value for name, value in one["headers"]}
    assert len(headers) == len(one["headers"]), "a header came twice"
    return headers


def without_internal(headers: httpx.Headers) -> None:
    internal = [one for one in headers if one.startswith(("x-tollgate-i-", "x-envoy-"))]
    assert internal == []


# --- towards providers --------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_the_client_reaches_a_provider(
    target: str, stream: bool, gateway: Running
) -> None:
    answer = gateway.chat(target, stream=stream, headers={**SPOOFED, **SECRETS})
    assert answer.status_code == 200
    (sent,) = gateway.asked()
    headers = got(sent)
    key = KEYS[target]
    if key is not None:
        assert headers.pop(key[0]) == key[1]
    assert headers.keys() <= EXPECTED
    assert "canary" not in json.dumps([sent["headers"], sent["path"]])
    assert headers["host"].startswith("127.0.0.1:")
    without_internal(answer.headers)
    assert "canary" not in str(answer.headers)


@pytest.mark.parametrize(
    "line",
    [
        *("X-Tollgate-I-Stream: 1", "X-TOLLGATE-I-ZZZ: canary", "x_tollgate_i_stream: 1"),
        *("x_tollgate-i_id: canary", "x_envoy_max_retries: 0", "X-Envoy-Zzz: canary"),
        *("X_Request_Id: canary", "x-tollgate-i-: canary", "x-tollgate-i-stream:1"),
    ],
)
def test_no_spelling_gets_through(line: str, gateway: Running) -> None:
    answer = exchange(gateway.port, request(CHAT, GOOD, line))
    assert answer is not None
    assert answer.status == 200
    (sent,) = gateway.asked()
    assert got(sent).keys() <= EXPECTED | {"authorization"}


def test_nothing_comes_in_by_trailers(gateway: Running) -> None:
    trailers = b"x-tollgate-i-stream: 1\r\nx-envoy-max-retries: 9\r\nauthorization: canary\r\n"
    body = chunked(GOOD, trailers=trailers)
    line = "transfer-encoding: chunked"
    answer = exchange(gateway.port, request(CHAT, body, line, length=False))
    assert answer is not None
    assert answer.status == 200
    (sent,) = gateway.asked()
    assert got(sent).keys() <= EXPECTED | {"authorization"}
    assert "canary" not in json.dumps(sent)


def test_http_2_has_the_same_edge(gateway: Running) -> None:
    with httpx.Client(http1=False, http2=True, timeout=20) as http:
        answer = http.post(
            f"{gateway.url}/chat/completions", content=GOOD, headers={**SPOOFED, **SECRETS}
        )
    assert answer.http_version == "HTTP/2"
    assert answer.status_code == 200
    (sent,) = gateway.asked()
    headers = got(sent)
    assert headers.pop("authorization") == "Bearer simulated"
    assert headers.keys() <= EXPECTED
    without_internal(answer.headers)


# --- spoofing changes nothing -------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_spoofed_stream_flag(target: str, gateway: Running) -> None:
    whole = gateway.chat(target, headers={"x-tollgate-i-stream": "1"})
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["object"] == "chat.completion"
    stream = gateway.chat(target, stream=True, headers={"x-tollgate-i-stream": "0"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.endswith("data: [DONE]\n\n")


def test_spoofed_walk_on_content(gateway: Running) -> None:
    script = {"error": "content_filter"}
    answer = gateway.chat(script=script, headers={"x-tollgate-i-walk": "content"})
    assert answer.status_code == 400
    assert len(gateway.asked()) == 1


def test_spoofed_number_of_retries(gateway: Running) -> None:
    failing = {"by": {"claude-sonnet-4-5": {"status": 500}, "*": {}}}
    answer = gateway.chat(script=failing, headers={"x-envoy-max-retries": "0"})
    assert answer.headers["x-tollgate-target"] == "gpt-4-turbo"
    gateway.forget()
    headers = {"x-envoy-max-retries": "9", "x-envoy-retry-on": "5xx"}
    answer = gateway.chat("gpt-4-turbo", script={"status": 500}, headers=headers)
    assert answer.status_code == 503
    assert len(gateway.asked()) == 1


@pytest.mark.parametrize("target", ["gpt-4-turbo", "claude-sonnet"])
def test_spoofed_reasons_to_retry(target: str, gateway: Running) -> None:
    """A 400 blames the request: nobody may make us ask twice for it."""
    headers = {
        "x-envoy-retry-on": "retriable-4xx,retriable-status-codes,retriable-headers",
        "x-envoy-retriable-status-codes": "400,200",
        "x-envoy-retriable-header-names": "content-type",
        "x-envoy-max-retries": "5",
    }
    for script, status in (({"error": "invalid_request"}, 400), ({}, 200)):
        gateway.forget()
        assert gateway.chat(target, script=script, headers=headers).status_code == status
        assert len(gateway.asked()) == 1


def test_spoofed_timeouts(gateway: Running) -> None:
    headers = {name: "20" for name in SPOOFED if name.endswith("-timeout-ms")}
    answer = gateway.chat("patient", script={"latency": 0.3}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-tollgate-attempts"] == "1"


def test_spoofed_attempts_and_identity(gateway: Running) -> None:
    """The id is ours, and what the first level left under it is found again."""
    answer = gateway.chat(
        script={"by": {"claude-sonnet-4-5": {"error": "rate_limit"}, "*": {}}}, headers=SPOOFED
    )
    assert answer.headers["x-tollgate-attempts"] == "2"
    identity = answer.headers["x-tollgate-request-id"]
    assert identity not in SPOOFED.values()
    line = gateway.access_log(identity)
    assert line["refusals"] == "claude-sonnet:capacity"
    assert "canary" not in json.dumps(line)


def test_spoofed_filter(gateway: Running) -> None:
    for name in ("target", "shadow", "nobody"):
        answer = gateway.chat("llama", headers={"x-tollgate-filter": name})
        assert answer.headers["x-tollgate-target"] == "llama"


# --- towards clients ----------------------------------------------------------------------

OF_THE_PROVIDER = {
    "x-tollgate-i-refusal": "capacity",
    "x-tollgate-i-target": "llama",
    "x-tollgate-i-zzz": "canary",
    "x-tollgate-target": "canary",
    "x-tollgate-model": "canary",
    "x-tollgate-cost": "99",
    "x-tollgate-attempts": "99",
    "x-tollgate-cache": "hit",
    "x-tollgate-request-id": "canary",
    "x-tollgate-zzz": "canary",
    "x-envoy-upstream-service-time": "77",
    "x-envoy-attempt-count": "99",
    "x-envoy-ratelimited": "true",
    "x-envoy-overloaded": "true",
    "set-cookie": "session=canary",
    "openai-organization": "canary",
    "openai-project": "canary",
    "anthropic-organization-id": "canary",
}
BY_DEFAULT = {
    *("x-tollgate-request-id", "x-tollgate-target", "x-tollgate-model", "x-tollgate-attempts"),
    "x-tollgate-cache",
}


def ours(headers: httpx.Headers) -> set[str]:
    return {name for name in headers if name.startswith("x-tollgate-")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_a_provider_says_what_we_say(
    target: str, stream: bool, gateway: Running
) -> None:
    answer = gateway.chat(target, stream=stream, script={"headers": OF_THE_PROVIDER})
    assert answer.status_code == 200
    assert len(gateway.asked()) == 1
    assert answer.headers["x-tollgate-target"] == target
    assert answer.headers["x-tollgate-attempts"] == "1"
    assert "canary" not in str(answer.headers)
    assert not OF_THE_PROVIDER.keys() - BY_DEFAULT - {"x-tollgate-cost"} & answer.headers.keys()
    without_internal(answer.headers)
    assert ours(answer.headers) == (BY_DEFAULT if stream else BY_DEFAULT | {"x-tollgate-cost"})


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_a_providers_error_says_what_we_say(
    target: str, status: int, gateway: Running
) -> None:
    script = {"status": status, "headers": OF_THE_PROVIDER}
    answer = gateway.chat(target, script=script)
    assert answer.status_code == {400: 400, 429: 429, 500: 503}[status]
    assert "canary" not in str(answer.headers)
    without_internal(answer.headers)
    assert "x-tollgate-cost" not in answer.headers
    assert len(gateway.asked()) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_an_answer_says_who_served_and_what_it_cost(target: str, gateway: Running) -> None:
    answer = gateway.chat(target)
    headers = answer.headers
    assert len(headers["x-tollgate-request-id"]) == 32
    int(headers["x-tollgate-request-id"], 16)
    assert headers["x-tollgate-target"] == target
    assert headers["x-tollgate-model"] == answer.json()["model"]
    assert headers["x-tollgate-attempts"] == "1"
    assert headers["x-tollgate-cache"] == "bypass"
    assert float(headers["x-tollgate-cost"]) >= 0
    assert headers["content-type"] == "application/json"
    stream = gateway.chat(target, stream=True)
    assert stream.headers["x-tollgate-target"] == target
    assert stream.headers["x-tollgate-attempts"] == "1"
    assert stream.headers["x-tollgate-cache"] == "bypass"
    assert "x-tollgate-cost" not in stream.headers
    assert stream.headers["x-tollgate-request-id"] != headers["x-tollgate-request-id"]


def test_a_fields_name_is_no_header(gateway: Running) -> None:
    """What is left out is named in a header, and its name is the client's own text."""
    names = [
        "a\r\nset-cookie: canary",
        "ü\x00b",
        "n" * 5000,
        *(f"f{number}" for number in range(99)),
    ]
    body = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hello"}]}
    answer = gateway.raw(json.dumps({**body, **dict.fromkeys(names, 1)}).encode())
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    warning = answer.headers["x-tollgate-warning"]
    assert warning.startswith("a??set-cookie??canary; ??b; nnn")
    assert len(warning) < 1000


def test_ids_are_sortable_and_unique(gateway: Running) -> None:
    ids = [gateway.chat("llama").headers["x-tollgate-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20
    times = [one[:12] for one in ids]
    assert times == sorted(times)


# --- real providers -----------------------------------------------------------------------

REAL = """
providers:
  claude: {{dialect: anthropic, url: "http://127.0.0.1:{claude}", key_env: E2E_CLAUDE_KEY}}
  gpt:    {{dialect: openai, url: "http://127.0.0.1:{gpt}/v1", key_env: E2E_GPT_KEY}}
  gemini: {{dialect: gemini, url: "http://127.0.0.1:{gemini}", key_env: E2E_GEMINI_KEY}}
targets:
  claude-sonnet: {{provider: claude, model: claude-sonnet-4-5, timeout: 5s}}
  gpt-4-turbo:   {{provider: gpt, model: gpt-4-turbo, timeout: 5s}}
  gemini-pro:    {{provider: gemini, model: gemini-2.5-pro, timeout: 5s}}
chains:
  both: [claude-sonnet, gpt-4-turbo, gemini-pro]
routes:
  - name: known
    match: {{headers: {{x-test-route: known}}}}
    chain: both
identity: open
"""
REAL_KEYS = {
    "claude-sonnet": ("x-api-key", "sk-ant-e2e-canary"),
    "gpt-4-turbo": ("authorization", "Bearer sk-e2e-canary"),
    "gemini-pro": ("x-goog-api-key", "AIza-e2e-canary"),
}
KNOWN = {"x-test-route": "known"}


@pytest.fixture(scope="module")
def real(shared: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway to whom the shared gateway's simulator is no simulator: keys are given, and its
    only route takes requests with a certain header."""
    folder = tmp_path_factory.mktemp("real")
    ports = {
        "claude": shared.simulator + shared.providers.index("anthropic"),
        "gpt": shared.simulator + shared.providers.index("openai"),
        "gemini": shared.simulator + shared.providers.index("gemini"),
    }
    config = folder / "gateway.yaml"
    config.write_text(REAL.format(**ports))
    env = {
        "E2E_CLAUDE_KEY": "sk-ant-e2e-canary",
        "E2E_GPT_KEY": "sk-e2e-canary",
        "E2E_GEMINI_KEY": "AIza-e2e-canary",
    }
    with running(folder / "run", config, env=env) as found:
        yield found


@pytest.mark.parametrize("target", REAL_KEYS)
def test_the_key_of_the_provider_is_the_only_one(
    target: str, gateway: Running, real: Running
) -> None:
    script = {"status": 500}
    answer = real.chat(target, script=script, headers={**SPOOFED, **SECRETS, **KNOWN})
    # A script is for simulators: this provider knows nothing of it.
    assert answer.status_code == 200, answer.text
    (sent,) = gateway.asked()
    headers = got(sent)
    name, value = REAL_KEYS[target]
    assert headers.pop(name) == value
    assert headers.keys() <= EXPECTED | {"x-test-route"}
    assert "x-sim-script" not in headers


def test_the_service_never_sees_a_key(real: Running) -> None:
    """Keys are in Envoy's environment only: not in what was rendered, and not in a log."""
    for file in real.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert b"e2e-canary" not in file.read_bytes(), file


def test_no_route(gateway: Running, real: Running) -> None:
    for answer in (real.chat(), real.http.get(f"{real.url}/models")):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["code"] == "not_found"
        assert "route" in error["message"]
        without_internal(answer.headers)
    assert gateway.asked() == []


def test_envoys_own_timeout(gateway: Running, real: Running) -> None:
    """Somebody's own configuration may cut a request at the edge: the answer has one shape."""
    table = real.folder / "envoy" / "rds-gateway.yaml"
    before = table.read_text()
    assert before.count("timeout: 0s") == 1
    try:
        replace(table, before.replace("timeout: 0s", "timeout: 0.15s"))
        poll(lambda: cut(gateway, real), within=10, what="a request cut by the route's timeout")
    finally:
        replace(table, before)
    poll(lambda: not cut(gateway, real), within=10, what="requests that are served again")


def cut(gateway: Running, real: Running) -> bool:
    """Ask a provider that takes 0.4 s; True if Envoy did not wait so long."""
    gateway.behave({"gpt-4-turbo": {"latency": 0.4}})
    try:
        answer = real.chat("gpt-4-turbo", headers=KNOWN)
    finally:
        gateway.behave({})
    if answer.status_code == 200:
        return False
    assert answer.status_code in {503, 504}
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "server_error"
    without_internal(answer.headers)
    return True


def replace(file: Path, text: str) -> None:
    """Move a new version into place: Envoy looks for moves."""
    new = file.with_suffix(".new")
    new.write_text(text)
    shutil.move(new, file)
