"""Who is let in, end to end: forged, revoked, rotated; tokens, certificates, headers, own keys.

What goes up is read off the simulator: no key of a client is in it.
"""

from __future__ import annotations

import json
import ssl
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jwt
import pytest
import trustme
from anthropic import Anthropic, AuthenticationError, PermissionDeniedError
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.conftest import Json, Running, poll, running

ISSUER = "https://issuer.example"
CONFIG = """
providers:
  openai: {{dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY, outlier: {{consecutive_5xx: 1000000}}}}
  anthropic: {{dialect: anthropic, url: https://api.anthropic.com, key_env: ANTHROPIC_API_KEY, outlier: {{consecutive_5xx: 1000000}}}}
targets:
  gpt: {{provider: openai, model: gpt-4o-mini, timeout: 3s}}
  claude: {{provider: anthropic, model: claude-haiku-4-5, timeout: 3s}}
chains:
  main: [gpt, claude]
routes:
  - name: token
    match: {{headers: {{x-test-route: token}}}}
    models: {{"*": main}}
    identity:
      jwt:
        - issuer: {issuer}
          audiences: [tollgate]
          jwks_file: {jwks}
          claims: {{user: sub, tenant: org.id, tier: plan}}
          may_set: [feature]
  - name: front
    match: {{headers: {{x-test-route: front}}}}
    models: {{"*": main}}
    identity: {{header: {{headers: {{user: x-auth-user, tenant: x-auth-tenant}}}}}}
  - name: far
    match: {{headers: {{x-test-route: far}}}}
    models: {{"*": main}}
    identity: {{header: {{headers: {{user: x-auth-user}}, sources: [10.9.9.0/24]}}}}
  - name: own
    match: {{headers: {{x-test-route: own}}}}
    models: {{"*": main}}
    credentials: caller
  - name: everything
    models: {{"*": main}}
identity: keys
tiers:
  free: {{tokens: 10000/d}}
  pro: {{tokens: 500000/d}}
"""  # noqa: E501 - a provider a line


@pytest.fixture(scope="module")
def issuer() -> rsa.RSAPrivateKey:
    """Who signs tokens."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, issuer: rsa.RSAPrivateKey
) -> Iterator[Running]:
    """A gateway that wants to know who asks."""
    folder = tmp_path_factory.mktemp("identity")
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(issuer.public_key()))
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "RS256"}]}))
    config = folder / "gateway.yaml"
    config.write_text(CONFIG.format(issuer=ISSUER, jwks=jwks))
    with running(folder / "run", config) as found:
        yield found


@pytest.fixture
def gateway(guarded: Running) -> Running:
    guarded.forget()
    return guarded


def make(gateway: Running, **fields: Any) -> Json:
    """A new key."""
    answer = gateway.http.post(f"http://127.0.0.1:{gateway.admin}/keys", json=fields)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def change(gateway: Running, key: Json, what: str, **fields: Any) -> Json:
    url = f"http://127.0.0.1:{gateway.admin}/keys/{key['id']}/{what}"
    answer = gateway.http.post(url, json=fields)
    answer.raise_for_status()
    found: Json = answer.json()
    return found


def ask(gateway: Running, key: str | None, **more: Any) -> httpx.Response:
    headers = {**more.pop("headers", {})}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return gateway.chat("main", headers=headers, **more)


def record(gateway: Running, answer: httpx.Response) -> Json:
    """What the ledger has of a request."""
    url = (
        f"http://127.0.0.1:{gateway.admin}/usage/requests/{answer.headers['x-tollgate-request-id']}"
    )

    def found() -> Json | None:
        told = gateway.http.get(url)
        return told.json() if told.status_code == 200 else None

    return dict(poll(found, what="the record"))


def sent(one: Json) -> dict[str, str]:
    """The headers that the simulator got."""
    return {name.lower(): value for name, value in one["headers"]}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def nothing_went_up(gateway: Running) -> bool:
    return not gateway.asked()


# --- keys ---------------------------------------------------------------------------------


def test_a_key_lets_in_and_never_reaches_a_provider(gateway: Running) -> None:
    key = make(gateway, tenant="acme", team="search", tier="pro")["key"]
    for header in ("authorization", "x-api-key", "api-key", "x-goog-api-key", "x-tollgate-key"):
        value = f"Bearer {key}" if header == "authorization" else key
        answer = gateway.chat("main", headers={header: value})
        assert answer.status_code == 200, (header, answer.text)
    for one in gateway.asked():
        assert key not in json.dumps(one)
        assert sent(one)["authorization"] == "Bearer simulated"
    for log in gateway.folder.glob("*.log"):
        assert key not in log.read_text(errors="replace"), log
    assert key.encode() not in b"".join(
        one.read_bytes() for one in (gateway.folder / "data").rglob("*") if one.is_file()
    )


def test_what_is_no_key_is_refused_before_anything_goes_up(gateway: Running) -> None:
    good = make(gateway)
    other = make(gateway, tenant="other")
    stranger = other["key"][: len("tg-") + 12] + good["key"][len("tg-") + 12 :]
    swapped = good["key"][:-1] + ("a" if good["key"][-1] != "a" else "b")
    tried = ["tg-", "tg-" + "0" * 50, stranger, swapped, good["key"].upper(), "sk-abc", good["id"]]
    for key in tried:
        status, said = code(ask(gateway, key))
        assert (status, said) in ((401, "invalid_api_key"), (401, "missing_key")), key
    assert code(ask(gateway, None)) == (401, "missing_key")
    assert nothing_went_up(gateway)


def test_internal_headers_of_a_client_are_nothing(gateway: Running) -> None:
    key = make(gateway)["key"]
    forged = {
        "x-tollgate-i-credential": "sk-forged",
        "x-tollgate-i-target": "gpt",
        "x-tollgate-i-ready": "gpt",
        "x-tollgate-i-id": "0" * 32,
    }
    assert code(ask(gateway, None, headers=forged)) == (401, "missing_key")
    answer = ask(gateway, key, headers=forged)
    assert answer.status_code == 200
    assert answer.headers["x-tollgate-request-id"] != "0" * 32
    assert "forged" not in json.dumps(gateway.asked())


def test_a_revoked_key_is_dead_within_a_second(gateway: Running) -> None:
    key = make(gateway)
    assert ask(gateway, key["key"]).status_code == 200
    change(gateway, key, "revoke")
    began = time.monotonic()
    poll(lambda: ask(gateway, key["key"]).status_code == 401, within=1.0, what="revocation")
    assert time.monotonic() - began < 1.0
    assert code(ask(gateway, key["key"])) == (401, "invalid_api_key")


def test_a_rotated_key_overlaps_as_long_as_was_said(gateway: Running) -> None:
    key = make(gateway)
    both = change(gateway, key, "rotate", overlap=3600)["key"]
    assert {ask(gateway, one).status_code for one in (key["key"], both)} == {200}
    last = change(gateway, key, "rotate", overlap=0)["key"]
    assert ask(gateway, last).status_code == 200
    poll(lambda: ask(gateway, both).status_code == 401, within=1.0, what="end of the overlap")


def test_a_key_expires(gateway: Running) -> None:
    key = make(gateway, expires_in=1)
    assert ask(gateway, key["key"]).status_code == 200
    poll(lambda: ask(gateway, key["key"]).status_code == 401, within=2.5, what="expiry")


def test_a_key_is_good_for_its_models_and_routes(gateway: Running) -> None:
    key = make(gateway, models=["claude"], routes=["everything"])["key"]
    bearer = {"authorization": f"Bearer {key}"}
    assert code(ask(gateway, key)) == (403, "model_not_allowed")
    assert gateway.chat("claude", headers=bearer).status_code == 200
    listed = gateway.http.get(f"{gateway.url}/models", headers=bearer).json()["data"]
    assert [one["id"] for one in listed] == ["claude"]
    elsewhere = {"x-test-route": "own", "x-tollgate-key": key, "authorization": "Bearer sk-x"}
    assert code(gateway.chat("claude", headers=elsewhere)) == (403, "route_not_allowed")


def test_a_tier_that_does_not_exist_gets_no_key(gateway: Running) -> None:
    url = f"http://127.0.0.1:{gateway.admin}/keys"
    answer = gateway.http.post(url, json={"tier": "gold"})
    assert answer.status_code == 400
    assert "gold" in answer.json()["error"]["message"]


def test_refusals_take_the_same_time(gateway: Running) -> None:
    """Whatever is wrong: the medians of the kinds lie close together."""
    revoked = make(gateway)
    change(gateway, revoked, "revoke")
    narrow = make(gateway, models=["claude"])["key"]
    kinds: dict[str, str | None] = {
        "missing": None,
        "malformed": "tg-x",
        "wrong": "tg-" + "0" * 50,
        "revoked": revoked["key"],
        "model": narrow,
    }
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    poll(lambda: ask(gateway, revoked["key"]).status_code == 401, within=1.5)
    for _ in range(25):
        for kind, key in kinds.items():
            began = time.perf_counter()
            assert ask(gateway, key).status_code in (401, 403)
            took[kind].append(time.perf_counter() - began)
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    assert max(medians.values()) < 1.6 * min(medians.values()), medians


def test_refusals_are_errors_of_the_sdks(gateway: Running) -> None:
    narrow = make(gateway, models=["claude"])["key"]
    for key, kind in (("tg-wrong", AuthenticationError), (narrow, PermissionDeniedError)):
        with (
            Anthropic(base_url=gateway.root, api_key=key, max_retries=0) as sdk,
            pytest.raises(kind),
        ):
            sdk.messages.create(
                model="gpt", max_tokens=10, messages=[{"role": "user", "content": "x"}]
            )


def test_what_a_caller_says_of_itself_holds_as_far_as_it_may(gateway: Running) -> None:
    said = {
        "x-tollgate-user": "ceo",
        "x-tollgate-team": "finance",
        "x-tollgate-feature": "answering",
        "x-tollgate-label-env": "prod",
        "x-portkey-metadata": json.dumps({"_user": "ceo"}),
        "helicone-user-id": "ceo",
    }
    bound = make(gateway, user="bob", team="search", tenant="acme", labels={"app": "web"})["key"]
    answer = ask(gateway, bound, headers=said, user="ceo", metadata={"team": "finance"})
    story = json.dumps(record(gateway, answer))
    assert "ceo" not in story
    assert "finance" not in story
    for held in ("bob", "search", "acme", "answering", "prod", "web"):
        assert held in story
    trusted = make(gateway, may_set=["user", "team"])["key"]
    story = json.dumps(record(gateway, ask(gateway, trusted, headers=said)))
    assert "ceo" in story
    assert "finance" in story
    assert "answering" not in story
    assert 'tollgate_attribution_ignored_total{field="user"}' in gateway.metrics()


# --- tokens -------------------------------------------------------------------------------


def token(issuer: rsa.RSAPrivateKey, **claims: Any) -> str:
    body = {
        "iss": ISSUER,
        "aud": "tollgate",
        "sub": "ann",
        "org": {"id": "acme"},
        "plan": "pro",
        "exp": int(time.time()) + 600,
        **claims,
    }
    return jwt.encode(body, issuer, algorithm="RS256", headers={"kid": "one"})


def by_token(gateway: Running, sent: str, **headers: str) -> httpx.Response:
    return gateway.chat(
        "main",
        headers={"x-test-route": "token", "authorization": f"Bearer {sent}", **headers},
    )


def test_a_verified_token_says_who_asks(gateway: Running, issuer: rsa.RSAPrivateKey) -> None:
    answer = by_token(
        gateway, token(issuer), **{"x-tollgate-feature": "chat", "x-tollgate-user": "ceo"}
    )
    assert answer.status_code == 200, answer.text
    story = json.dumps(record(gateway, answer))
    for held in ("ann", "acme", "pro", "chat"):
        assert f'"{held}"' in story
    assert "ceo" not in story
    assert "eyJ" not in json.dumps(gateway.asked())


def test_a_forged_token_is_nothing(gateway: Running, issuer: rsa.RSAPrivateKey) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = token(issuer)
    head, body, signature = good.split(".")
    none = jwt.encode({"iss": ISSUER, "aud": "tollgate", "sub": "ann"}, "", algorithm="none")
    forged = [
        token(stranger),
        token(issuer, iss="https://other.example"),
        token(issuer, aud="another"),
        token(issuer, exp=int(time.time()) - 3600),
        f"{head}.{body[:-2]}xx.{signature}",
        none,
        "eyJ",
    ]
    for one in forged:
        answer = by_token(gateway, one)
        assert answer.status_code == 401, answer.text
        assert answer.json()["error"]["code"] in ("missing_key", "invalid_api_key")
    assert nothing_went_up(gateway)
    tier = by_token(gateway, token(issuer, plan="gold"))
    assert code(tier) == (403, "tier_not_allowed")


def test_a_token_is_nothing_on_a_route_that_takes_keys(
    gateway: Running, issuer: rsa.RSAPrivateKey
) -> None:
    assert ask(gateway, token(issuer)).status_code == 401


# --- a gateway in front -------------------------------------------------------------------


def test_headers_of_a_gateway_in_front(gateway: Running) -> None:
    said = {"x-test-route": "front", "x-auth-user": "ann", "x-auth-tenant": "acme"}
    answer = gateway.chat("main", headers=said)
    assert answer.status_code == 200, answer.text
    story = json.dumps(record(gateway, answer))
    assert '"ann"' in story
    assert '"acme"' in story
    assert "x-auth-user" not in sent(gateway.asked()[0])


@pytest.mark.parametrize("forwarded", [{}, {"x-forwarded-for": "10.9.9.1"}])
def test_headers_from_elsewhere_say_nothing(gateway: Running, forwarded: dict[str, str]) -> None:
    sent = {"x-test-route": "far", "x-auth-user": "ann", **forwarded}
    assert gateway.chat("main", headers=sent).status_code == 401
    key = make(gateway)["key"]
    answer = ask(gateway, key, headers={"x-auth-user": "ann", "x-auth-tenant": "acme"})
    assert "acme" not in json.dumps(record(gateway, answer))
    assert nothing_went_up(gateway) is False


# --- the caller's own provider key --------------------------------------------------------


def own(key: str, **headers: str) -> dict[str, str]:
    return {"x-test-route": "own", "x-tollgate-key": key, **headers}


def test_the_callers_provider_key_is_passed_where_the_route_says_so(gateway: Running) -> None:
    key = make(gateway)["key"]
    mine = own(key, authorization="Bearer sk-callers-own")
    answer = gateway.chat("gpt", headers=mine)
    assert answer.status_code == 200, answer.text
    got = sent(gateway.asked()[0])
    assert got["authorization"] == "Bearer sk-callers-own"
    assert key not in json.dumps(gateway.asked())
    assert not [name for name in got if name.startswith("x-tollgate")]
    assert gateway.chat("claude", headers=mine).status_code == 200
    got = sent(gateway.asked()[-1])
    assert got["x-api-key"] == "sk-callers-own"
    assert "authorization" not in got
    for log in gateway.folder.glob("*.log"):
        assert "sk-callers-own" not in log.read_text(errors="replace"), log


def test_without_a_provider_key_nothing_goes_up(gateway: Running) -> None:
    key = make(gateway)["key"]
    assert code(gateway.chat("gpt", headers=own(key))) == (401, "missing_provider_key")
    answer = gateway.chat("gpt", headers={"x-test-route": "own", "authorization": "Bearer sk-own"})
    assert code(answer) == (401, "missing_key")
    assert nothing_went_up(gateway)


def test_a_wrong_key_of_the_callers_is_the_callers_to_mend(gateway: Running) -> None:
    key = make(gateway)["key"]
    sent = own(key, authorization="Bearer sk-wrong")
    answer = gateway.chat("main", headers=sent, script={"status": 401})
    assert answer.status_code == 401, answer.text
    assert len(gateway.asked()) == 1, "the next level was asked"


def test_a_callers_key_does_not_walk_to_another_provider(gateway: Running) -> None:
    key = make(gateway)["key"]
    mine = own(key, authorization="Bearer sk-callers-own")
    answer = gateway.chat("main", headers=mine, script={"status": 503})
    assert code(answer) == (503, "no_provider_available")
    asked = gateway.asked()
    assert len(asked) == 1
    assert "x-api-key" not in sent(asked[0])


def test_the_gateways_key_is_never_sent_on_as_a_providers(gateway: Running) -> None:
    key = make(gateway)["key"]
    answer = gateway.chat("main", headers=own(key, authorization=f"Bearer {key}"))
    assert code(answer) == (401, "missing_provider_key")
    assert nothing_went_up(gateway)


def test_each_process_has_only_its_own_secrets(tmp_path: Path) -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-the-providers",
        "TOLLGATE_KEY_SECRET": "a-key-secret-of-some-length",
        "TOLLGATE_ADMIN_TOKEN": "the-admins-token",
        "TOLLGATE_SINK_TOKEN": "the-sinks-token",
    }
    config = tmp_path / "gateway.yaml"
    # The provider is never asked.
    config.write_text(
        "providers: {openai: {dialect: openai, url: 'http://127.0.0.1:9', "
        "key_env: OPENAI_API_KEY}}\n"
        "targets: {gpt: {provider: openai, model: gpt-4o-mini}}\nchains: {main: [gpt]}\n"
        "routes: [{name: r, chain: main}]\n"
    )
    with running(tmp_path / "run", config, env=secrets) as found:
        has = {
            name: set(secrets) & set(found.part(name).environ()) for name in ("service", "envoy")
        }
    assert has["envoy"] == {"OPENAI_API_KEY"}
    assert has["service"] == set(secrets) - {"OPENAI_API_KEY"}


# --- certificates -------------------------------------------------------------------------

MTLS = """
providers:
  openai: {{dialect: openai, url: https://api.openai.com, key_env: OPENAI_API_KEY}}
targets:
  gpt: {{provider: openai, model: gpt-4o-mini, timeout: 3s}}
chains:
  main: [gpt]
routes:
  - name: everything
    models: {{"*": main}}
identity:
  mtls:
    san: ["spiffe://acme.example/ns/{{team}}/sa/{{user}}", "{{user}}.svc.acme.example"]
    fixed: {{tenant: acme}}
envoy:
  tls: {{cert: {cert}, key: {key}, client_ca: {ca}}}
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Running]:
    """A gateway to which clients connect with certificates."""
    folder = tmp_path_factory.mktemp("mtls")
    own_cert = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own_cert.private_key_pem.write_to_path(folder / "key.pem")
    for blob in own_cert.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    config = folder / "gateway.yaml"
    config.write_text(
        MTLS.format(cert=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem")
    )
    with running(folder / "run", config) as found:
        yield found


def through_tls(
    sealed: Running, authority: trustme.CA, cert: trustme.LeafCert | None
) -> httpx.Response:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if cert is not None:
        cert.configure_cert(context)
    body = {"model": "main", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(verify=context) as http:
        return http.post(f"https://127.0.0.1:{sealed.port}/v1/chat/completions", json=body)


def test_a_certificate_says_who_asks(sealed: Running, authority: trustme.CA) -> None:
    cert = authority.issue_cert("billing.svc.acme.example")
    answer = through_tls(sealed, authority, cert)
    assert answer.status_code == 200, answer.text
    story = json.dumps(record(sealed, answer))
    assert '"billing"' in story
    assert '"acme"' in story


@pytest.mark.parametrize(
    "name", ["billing.svc.acme.example.evil.example", "a.b.svc.acme.example", "svc.acme.example"]
)
def test_a_certificate_that_is_almost_right_is_nothing(
    sealed: Running, authority: trustme.CA, name: str
) -> None:
    answer = through_tls(sealed, authority, authority.issue_cert(name))
    assert answer.status_code == 401


def test_without_a_certificate_nobody_is_known(sealed: Running, authority: trustme.CA) -> None:
    assert through_tls(sealed, authority, None).status_code == 401


def test_a_certificate_of_another_authority_gets_no_connection(
    sealed: Running, authority: trustme.CA
) -> None:
    stranger = trustme.CA().issue_cert("billing.svc.acme.example")
    with pytest.raises(httpx.HTTPError):
        through_tls(sealed, authority, stranger)
