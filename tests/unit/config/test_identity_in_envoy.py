"""Who asks, as the service learns it from the real Envoy, and what the provider sees of that."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import httpx2 as httpx
import jwt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf.json_format import MessageToDict

from extproc.config import load
from extproc.headers import FILTER, I_CREDENTIAL
from extproc.identity.mesh import JWT, UnprovenError, of_jwt
from extproc.pb import ext_proc_pb2 as pb
from extproc.policy import JwtIdentity
from extproc.stream import ATTRIBUTES, SERVICE
from tests.unit.config.envoy import WAIT, Envoy
from tests.unit.config.test_credentials import Provider, Request

GATEWAY = """\
providers:
  anthropic: {{dialect: anthropic, url: "{url}", key_env: LOCAL_KEY}}
  cohere: {{dialect: cohere, url: "{url}", key_file: {folder}/key}}
targets:
  claude: {{provider: anthropic, model: claude-sonnet-4-5}}
  command: {{provider: cohere, model: command-a}}
chains:
  one: [claude]
  two: [command]
routes:
  - name: own
    match: {{headers: {{x-route: own}}}}
    models: {{"*": one}}
    credentials: caller
  - name: own-file
    match: {{headers: {{x-route: own-file}}}}
    models: {{"*": two}}
    credentials: caller
  - name: file
    match: {{headers: {{x-route: file}}}}
    chain: two
  - name: everything
    chain: one
identity:
  jwt:
    - {{issuer: "https://a.example", audiences: [tollgate], jwks_file: {folder}/a.json}}
    - issuer: https://b.example
      audiences: [tollgate]
      jwks_url: {url}/b.json
      header: x-ci-token
  mtls: {{san: ["spiffe://acme.example/sa/{{user}}"]}}
  header: {{headers: {{user: x-auth-user}}}}
envoy: {{tls: {{cert: {folder}/server.pem, key: {folder}/server.key, client_ca: {folder}/ca.pem}}}}
"""
NOW = int(time.time())
KEYS = {one: rsa.generate_private_key(public_exponent=65537, key_size=2048) for one in "ab"}


def jwks(name: str) -> str:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key()))
    return json.dumps({"keys": [{**key, "kid": name, "alg": "RS256", "use": "sig"}]})


def token(key: str = "a", **claims: Any) -> str:
    said = {"sub": "ada", "iss": "https://a.example", "aud": "tollgate", "exp": NOW + 3600}
    said = {name: one for name, one in (said | claims).items() if one is not None}
    return jwt.encode(said, KEYS[key], "RS256", {"kid": key})


@dataclass
class Service:
    """Keeps what the gateway's filter was sent, and passes everything on. What a client says in
    `x-say-credential` is what the gateway's filter makes of its key."""

    path: Path
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def process(
        self, messages: AsyncIterator[pb.ProcessingRequest], context: Any
    ) -> AsyncIterator[bytes]:
        role = dict(context.invocation_metadata())[FILTER]
        async for message in messages:
            kind = message.WhichOneof("request")
            reply = pb.ProcessingResponse()
            getattr(reply, kind).SetInParent()
            if kind == "request_headers":
                sent = message.request_headers.headers.headers
                headers = {one.key: one.raw_value.decode() for one in sent}
                change = reply.request_headers.response.header_mutation.set_headers
                if role == "gateway":
                    self.keep(message, headers)
                    if key := headers.get("x-tollgate-say-credential"):
                        self.set(change, I_CREDENTIAL, key)
                elif headers.get(I_CREDENTIAL, "-") != "-":
                    for name in ("authorization", "x-api-key"):
                        self.set(change, name, headers[I_CREDENTIAL])
            yield reply.SerializeToString()

    def keep(self, message: pb.ProcessingRequest, headers: dict[str, str]) -> None:
        found = message.metadata_context.filter_metadata
        self.seen.append(
            {
                "headers": headers,
                "attributes": MessageToDict(message.attributes[ATTRIBUTES]),
                "tokens": MessageToDict(found[JWT]) if JWT in found else {},
            }
        )

    @staticmethod
    def set(change: Any, name: str, value: str) -> None:
        change.add(header={"key": name, "raw_value": value.encode()}, append_action=2)

    async def serve(self, started: threading.Event, over: asyncio.Event) -> None:
        server = grpc.aio.server()
        process = grpc.stream_stream_rpc_method_handler(
            self.process, request_deserializer=pb.ProcessingRequest.FromString
        )

        async def healthy(_: bytes, __: Any) -> bytes:
            return b"\x08\x01"

        health = {"Check": grpc.unary_unary_rpc_method_handler(healthy)}
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, {"Process": process}),
                grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
            )
        )
        server.add_insecure_port(f"unix:{self.path}")
        await server.start()
        started.set()
        await over.wait()
        await server.stop(0)


@dataclass
class Running:
    envoy: Envoy
    service: Service
    provider: Provider
    folder: Path

    def ask(self, headers: dict[str, str], certificate: str | None = None) -> Request:
        """What the provider was sent."""
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if certificate is not None:
            trust.load_cert_chain(self.folder / certificate)
        url = f"https://127.0.0.1:{self.envoy.port}/v1/chat/completions"
        with httpx.Client(verify=trust, timeout=WAIT) as client:
            answer = client.post(url, content=b"{}", headers=headers)
        assert answer.status_code == 200, answer.text
        return self.provider.seen[-1]

    @property
    def told(self) -> dict[str, Any]:
        """What the service was told of the last request."""
        return self.service.seen[-1]


def certificates(folder: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    other.issue_cert("x.example").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "other.pem")
    )
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    uris = ("spiffe://acme.example/sa/ada", "spiffe://acme.example/sa/second")
    names = x509.SubjectAlternativeName(
        [*(x509.UniformResourceIdentifier(one) for one in uris), x509.DNSName("ada.example")]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(names, critical=True)
        .sign(signer, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "ada.pem").write_bytes(secret + pem)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("identity")
    certificates(folder)
    (folder / "a.json").write_text(jwks("a"))
    (folder / "key").write_text("file-key")
    provider = Provider(answers={"/b.json": jwks("b").encode()})
    server = provider.serve()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    service = Service(folder / "0.sock")
    loop = asyncio.new_event_loop()
    started, over = threading.Event(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(service.serve(started, over)), daemon=True
    )
    thread.start()
    assert started.wait(WAIT)
    gateway = load(GATEWAY.format(url=url, folder=folder))
    envoy = Envoy(folder, gateway, env={"LOCAL_KEY": "ours"})
    try:
        envoy.wait_for_workers()
        envoy.wait(lambda: envoy.healthy("extproc-gateway") and envoy.healthy("extproc-target"))
        yield Running(envoy, service, provider, folder)
    finally:
        envoy.stop()
        server.shutdown()
        server.server_close()
        loop.call_soon_threadsafe(over.set)
        thread.join(WAIT)
        loop.close()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "header", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-ci-token"]
)
def test_what_a_token_says_arrives_wherever_it_stands(running: Running, header: str) -> None:
    """And the token goes no further, not even to the service."""
    issuer = "b" if header == "x-ci-token" else "a"
    said = token(issuer, iss=f"https://{issuer}.example", org={"id": "acme"})
    got = running.ask({header: f"Bearer {said}" if header == "authorization" else said})
    payload = running.told["tokens"].pop(f"{issuer}.example")
    assert (payload["iss"], payload["sub"]) == (f"https://{issuer}.example", "ada")
    assert payload["org"] == {"id": "acme"}
    assert running.told["tokens"] == {}
    assert said not in json.dumps(running.told)
    assert said not in json.dumps(got.headers)
    assert got.headers["x-api-key"] == "ours"


WRONG = {
    "expired": token(exp=NOW - 3600),
    "for ever": token(exp=None),
    "of another issuer": token("b"),
    "for another service": token(aud="other"),
}
NONE = {
    "unsigned": ".".join([*token().split(".")[:2], ""]),
    "of nobody": token(iss="https://c.example"),
    "a key": "tg-" + "a" * 50,
    "somebody else's key": "sk-proj-x.y.z",
}
"""What is none of any issuer's tokens."""


@pytest.mark.e2e
@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_that_does_not_hold_proves_nothing(running: Running, wrong: str) -> None:
    """The service is told that it does not, and asked all the same; the provider sees nothing."""
    got = running.ask({"authorization": f"Bearer {WRONG[wrong]}"})
    told = running.told["tokens"]
    assert [*told] == ["a.example"]
    assert of_jwt([], {JWT: told}) is None
    with pytest.raises(UnprovenError):
        of_jwt([JwtIdentity(issuer="https://a.example", payload="a.example")], {JWT: told})
    assert WRONG[wrong] not in json.dumps(got.headers)


@pytest.mark.e2e
@pytest.mark.parametrize("none", NONE)
def test_what_is_no_token_leaves_the_choice_to_other_proofs(running: Running, none: str) -> None:
    got = running.ask({"authorization": f"Bearer {NONE[none]}", "x-ci-token": NONE[none]})
    policies = [
        JwtIdentity(issuer=f"https://{one}.example", payload=f"{one}.example") for one in "ab"
    ]
    assert of_jwt(policies, {JWT: running.told["tokens"]}) is None
    assert running.told["headers"]["authorization"] == f"Bearer {NONE[none]}"
    assert NONE[none] not in json.dumps(got.headers)


@pytest.mark.e2e
def test_a_header_of_a_gateway_in_front_comes_with_its_address(running: Running) -> None:
    forged = {"x-forwarded-for": "10.1.2.3", "x-envoy-external-address": "10.1.2.3"}
    got = running.ask({"x-auth-user": "ada", **forged})
    assert running.told["headers"]["x-auth-user"] == "ada"
    assert running.told["attributes"]["source.address"].startswith("127.0.0.1:")
    assert "x-auth-user" not in got.headers


@pytest.mark.e2e
def test_a_certificate_is_known_by_the_first_of_its_names(running: Running) -> None:
    running.ask({}, "ada.pem")
    told = running.told["attributes"]
    assert told["connection.uri_san_peer_certificate"] == "spiffe://acme.example/sa/ada"
    assert told["connection.dns_san_peer_certificate"] == "ada.example"
    running.ask({})
    assert not any(name.startswith("connection.") for name in running.told["attributes"])


@pytest.mark.e2e
def test_a_certificate_of_anybody_else_gets_no_connection(running: Running) -> None:
    with pytest.raises(httpx.TransportError):
        running.ask({}, "other.pem")


CALLERS = {"x-tollgate-say-credential": "theirs"}
"""Says that the service found a key of the caller's."""


@pytest.mark.e2e
@pytest.mark.parametrize(("route", "header"), [("own", "x-api-key"), ("own-file", "authorization")])
def test_a_callers_own_key_goes_up_and_none_of_ours(
    running: Running, route: str, header: str
) -> None:
    got = running.ask({"x-route": route, **CALLERS})
    keys = {"authorization", "x-api-key", "api-key", "x-goog-api-key"} & got.headers.keys()
    assert keys == {header}, "and in no other header than the provider's own"
    assert got.headers[header] == "theirs"
    assert not any(name.startswith("x-tollgate") for name in got.headers)


@pytest.mark.e2e
@pytest.mark.parametrize("route", ["own", "own-file"])
def test_where_callers_bring_keys_ours_is_never_used(running: Running, route: str) -> None:
    """Also when the service, for whatever reason, names none."""
    got = running.ask({"x-route": route})
    assert not {"x-api-key", "authorization"} & got.headers.keys()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("route", "header", "key"),
    [("none", "x-api-key", "ours"), ("file", "authorization", "Bearer file-key")],
)
def test_a_client_cannot_bring_a_key_to_other_routes(
    running: Running, route: str, header: str, key: str
) -> None:
    got = running.ask({"x-route": route, I_CREDENTIAL: "theirs"})
    assert got.headers[header] == key
    assert "theirs" not in json.dumps(got.headers)
