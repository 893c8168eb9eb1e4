"""Who asks, as the provider sees it: on the real Envoy, behind what a filter changed."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ruamel.yaml import YAML

from extproc.config import Gateway, load
from tests.unit.config.envoy import WAIT, Envoy

KEYS = Credentials("AKIDEXAMPLE", "wJalr/K7MDENG+bPxRfi", "session-token")
PROFILE = Credentials("AKIDPROFILE", "hXk0/profile+secret")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEYS.access_key,
    "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
    "AWS_SESSION_TOKEN": KEYS.token,
    "AWS_EC2_METADATA_DISABLED": "true",
    "LOCAL_KEY": "local-key",
}
GATEWAY = """\
providers:
  aws: {{dialect: bedrock, url: "{url}", region: eu-central-1}}
  other: {{dialect: bedrock, url: "{url}", region: us-east-1, profile: ai}}
  google: {{dialect: vertex, url: "{url}", project: my-project, location: global, key_file: {key}}}
  local: {{dialect: openai, url: "{url}", key_env: LOCAL_KEY}}
targets:
  claude: {{provider: aws, model: "anthropic.claude-sonnet-4-5-20250929-v1:0"}}
  nova: {{provider: other, model: "amazon.nova-lite-v1:0"}}
  pro: {{provider: google, model: gemini-2.5-pro}}
  llama: {{provider: local, model: llama-3.1-8b-instruct}}
chains:
  signed: [claude]
  profiled: [nova]
  keyed: [pro, llama]
routes:
  - {{name: profiled, match: {{headers: {{x-chain: profiled}}}}, chain: profiled}}
  - {{name: keyed, match: {{headers: {{x-chain: keyed}}}}, chain: keyed}}
  - {{name: signed, chain: signed}}
"""
CHANGE = """\
function envoy_on_request(handle)
  local body = handle:body(true)
  local size = body:setBytes('{"changed": ' .. body:getBytes(0, body:length()) .. '}')
  local headers = handle:headers()
  headers:replace('content-length', tostring(size))
  headers:replace(':path', headers:get('x-path') or '/v1/chat/completions')
  headers:remove('x-path')
end
"""
"""What the level's filter does, without the service: another path, another body."""
STREAM = "/model/amazon.nova-lite-v1%3A0/converse-stream"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/"
    r"aws4_request, ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Provider:
    """Keeps what it was asked and answers 200."""

    seen: list[Request] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Set by who has read the first piece of a stream."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """By path; `{}` for any other."""

    def serve(self) -> ThreadingHTTPServer:
        seen, go_on, answers = self.seen, self.go_on, self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.append(Request(self.path, headers, body))
                if self.path == STREAM:
                    self.stream()
                else:
                    self.do_GET()

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/vnd.amazon.eventstream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"5\r\nfirst\r\n")
                assert go_on.wait(WAIT)
                self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

            def do_GET(self) -> None:
                body = answers.get(self.path, b"{}")
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@dataclass
class Running:
    envoy: Envoy
    provider: Provider
    authority: str
    key: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.envoy.port}/v1/chat/completions"

    def ask(self, headers: dict[str, str], body: bytes = b"{}") -> int:
        """The status of a request."""
        sent = {"content-type": "application/json", **headers}
        return httpx.post(self.url, content=body, headers=sent, timeout=WAIT).status_code

    @property
    def last(self) -> Request:
        return self.provider.seen[-1]


def without_service(folder: Path) -> None:
    """The filters of the service out; a change in their place at each level."""
    yaml = YAML(typ="safe", pure=True)
    place = folder / "lds.yaml"
    data = yaml.load(place.read_text())
    for listener in data["resources"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = [
            change if one["name"] == "tollgate.target" else one
            for one in manager["http_filters"]
            if one["name"] != "tollgate.gateway"
        ]
    place.write_text(json.dumps(data))
    for table in folder.glob("rds-*.yaml"):
        data = yaml.load(table.read_text())
        for host in data["resources"][0]["virtual_hosts"]:
            host.pop("typed_per_filter_config", None)
            host["routes"] = [one for one in host["routes"] if not one["name"].endswith("-ready")]
        table.write_text(json.dumps(data))


change = {
    "name": "change",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "clear_route_cache": False,
        "default_source_code": {"inline_string": CHANGE},
    },
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("envoy")
    key = tmp_path_factory.mktemp("keys") / "google"
    provider = Provider()
    server = provider.serve()
    authority = f"127.0.0.1:{server.server_address[1]}"
    gateway: Gateway = load(GATEWAY.format(url=f"http://{authority}", key=key))
    profiles = key.with_name("aws")
    profiles.write_text(
        f"[default]\naws_access_key_id = AKIDNOBODY\naws_secret_access_key = none\n"
        f"[ai]\naws_access_key_id = {PROFILE.access_key}\n"
        f"aws_secret_access_key = {PROFILE.secret_key}\n"
    )
    env = {**ENVIRONMENT, "AWS_SHARED_CREDENTIALS_FILE": str(profiles)}
    envoy = Envoy(folder, gateway, edit=without_service, env=env)
    try:
        envoy.wait_for_workers()
        yield Running(envoy, provider, authority, key)
    finally:
        envoy.stop()
        server.shutdown()
        server.server_close()


def verified(request: Request, authority: str, keys: Credentials = KEYS) -> re.Match[str]:
    """The parts of the signature, after AWS's own SDK made the same of what arrived."""
    found = _SIGNED.fullmatch(request.headers["authorization"])
    assert found is not None, request.headers
    assert found["key"] == keys.access_key
    signer = SigV4Auth(keys, found["service"], found["region"])
    names = found["headers"].split(";")
    arrived = AWSRequest(
        "POST",
        f"https://{authority}{request.path}",
        data=request.body,
        headers={name: request.headers[name] for name in names},
    )
    arrived.context["timestamp"] = request.headers["x-amz-date"]
    canonical = signer.canonical_request(arrived)
    assert (
        signer.signature(signer.string_to_sign(arrived, canonical), arrived) == found["signature"]
    )
    return found


MODELS = [
    "anthropic.claude-sonnet-4-5-20250929-v1%3A0",
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.nova-lite-v1%3A0",
    "eu.meta.llama3-2-1b-instruct-v1%3A0",
]


@pytest.mark.e2e
@pytest.mark.parametrize("model", MODELS)
def test_the_signature_is_that_of_what_arrives(running: Running, model: str) -> None:
    path = f"/model/{model}/converse"
    assert running.ask({"x-path": path}, b'{"messages": []}') == 200
    got = running.last
    assert (got.path, got.body) == (path, b'{"changed": {"messages": []}}')
    assert got.headers["host"] == running.authority
    found = verified(got, running.authority)
    assert (found["service"], found["region"]) == ("bedrock", "eu-central-1")
    assert found["headers"].split(";") == [
        *("content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")
    ]


@pytest.mark.e2e
def test_a_body_of_thirty_megabytes_is_signed(running: Running) -> None:
    body = b'"' + b"x" * (30 << 20) + b'"'
    assert running.ask({"x-path": "/model/nova/converse"}, body) == 200
    assert len(running.last.body) == len(body) + len('{"changed": }')
    verified(running.last, running.authority)


@pytest.mark.e2e
def test_a_stream_of_a_signed_request_is_not_held_back(running: Running) -> None:
    headers = {"x-path": STREAM}
    with httpx.stream("POST", running.url, content=b"{}", headers=headers, timeout=WAIT) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        running.provider.go_on.set()
        assert b"".join(pieces) == b"second"
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"


@pytest.mark.e2e
def test_what_a_client_says_of_itself_is_not_what_is_signed(running: Running) -> None:
    headers = {
        "x-path": "/model/nova/converse",
        "authorization": "Bearer tg-client",
        "x-amz-date": "20200101T000000Z",
        "x-amz-content-sha256": "0" * 64,
        "x-amz-security-token": "theirs",
        "x-amz-target": "Other.Service",
        "x-tollgate-user": "ada",
    }
    assert running.ask(headers) == 200
    got = running.last
    verified(got, running.authority)
    assert not any(one.startswith("x-tollgate") for one in got.headers)
    assert "x-amz-target" not in got.headers
    assert got.headers["x-amz-security-token"] == KEYS.token


@pytest.mark.e2e
def test_a_profile_goes_before_the_environment(running: Running) -> None:
    path = "/model/amazon.nova-lite-v1%3A0/converse"
    assert running.ask({"x-chain": "profiled", "x-path": path}) == 200
    assert verified(running.last, running.authority, PROFILE)["region"] == "us-east-1"
    assert "x-amz-security-token" not in running.last.headers


@pytest.mark.e2e
def test_a_key_is_read_again_when_it_is_moved_into_place(running: Running) -> None:
    """Before there is one the next level serves; a line's end is no part of it."""
    running.key.unlink(missing_ok=True)
    assert running.ask({"x-chain": "keyed"}) == 200
    assert running.last.headers["authorization"] == "Bearer local-key"
    for token in ("ya29.first", "ya29.second", "ya29.third"):
        fresh = running.key.with_suffix(".new")
        fresh.write_text(f"{token}\n")
        fresh.replace(running.key)

        def there(expected: str = f"Bearer {token}") -> bool:
            assert running.ask({"x-chain": "keyed", "authorization": "Bearer tg-client"}) == 200
            return running.last.headers["authorization"] == expected

        running.envoy.wait(there)
