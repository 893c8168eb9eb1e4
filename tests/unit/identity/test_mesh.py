import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.identity import Caller, Networks, Pattern, PatternError
from extproc.identity.mesh import (
    DNS_SAN,
    JWT,
    URI_SAN,
    Compiled,
    UnprovenError,
    address_of,
    of_header,
    of_jwt,
    of_mtls,
)
from extproc.policy import HeaderIdentity, JwtIdentity, MtlsIdentity, Whose

ISSUER = "https://issuer.example/"
POLICY = JwtIdentity(
    issuer=ISSUER,
    claims=Whose(tenant="org.id", team="https://acme.example/team", user="sub", tier="plan"),
    fixed=Whose(tier="free", team="none"),
    may_set=("feature",),
)


def token(**claims: Any) -> dict[str, Any]:
    return {JWT: {"tollgate": {"iss": ISSUER, **claims}}, "envoy.other": {}}


def test_claims_become_the_caller() -> None:
    claims = {"org": {"id": "acme"}, "https://acme.example/team": "web", "sub": "u1", "plan": "pro"}
    assert of_jwt([POLICY], token(**claims)) == Caller(
        source="jwt",
        tenant="acme",
        team="web",
        user="u1",
        tier="pro",
        may_set=frozenset({"feature"}),
    )


def test_what_no_claim_says_is_fixed_or_nothing() -> None:
    found = of_jwt([POLICY], token(sub=None, plan=""))
    assert found == Caller(source="jwt", team="none", tier="free", may_set=frozenset({"feature"}))


@pytest.mark.parametrize("org", ["acme", None, ["acme"], {"id": None}, {"other": "a"}])
def test_a_path_that_ends_early_is_no_claim(org: Any) -> None:
    found = of_jwt([POLICY], token(org=org))
    assert found is not None
    assert found.tenant is None


@pytest.mark.parametrize("metadata", [{}, {JWT: {}}, {JWT: {"other": {"iss": ISSUER}}}, {JWT: "x"}])
def test_without_a_token_nobody_has_said_anything(metadata: dict[str, Any]) -> None:
    assert of_jwt([POLICY], metadata) is None
    assert of_jwt([POLICY], {JWT: {"tollgate": "x"}}) is None


@pytest.mark.parametrize(
    "issuer", ["https://issuer.example", "", None, ISSUER.upper(), [ISSUER], 1]
)
def test_another_issuer_proves_nothing(issuer: Any) -> None:
    with pytest.raises(UnprovenError, match="issuer"):
        of_jwt([POLICY], {JWT: {"tollgate": {"iss": issuer, "sub": "root"}}})


@pytest.mark.parametrize("code", [2.0, 3.0, 7.0, 24.0, 26.0, "1", None])
def test_a_token_that_envoy_could_not_verify_proves_nothing(code: Any) -> None:
    failed = {JWT: {"tollgate": {"code": code, "message": "Jwt is expired"}}}
    with pytest.raises(UnprovenError):
        of_jwt([POLICY], failed)


@pytest.mark.parametrize("code", [1.0, 4.0, 5.0, 6.0])
def test_what_is_no_token_has_not_failed(code: float) -> None:
    assert (
        of_jwt([POLICY], {JWT: {"tollgate": {"code": code, "message": "Jwt is missing"}}}) is None
    )
    with pytest.raises(UnprovenError):
        of_jwt([POLICY], {JWT: {"tollgate": {"code": code, "iss": "evil"}}})


def test_several_issuers() -> None:
    other = JwtIdentity(issuer="b", fixed=Whose(tenant="b"))
    third = JwtIdentity(issuer="c", payload="third", fixed=Whose(tenant="c"))
    policies = [POLICY, other, third]
    found = of_jwt(policies, {JWT: {"tollgate": {"iss": "b", "sub": "x"}}})
    assert found == Caller(source="jwt", tenant="b", user="x")
    # An issuer speaks under its own provider's name only.
    with pytest.raises(UnprovenError):
        of_jwt(policies, {JWT: {"tollgate": {"iss": "c"}}})
    found = of_jwt(policies, {JWT: {"tollgate": {"iss": "d"}, "third": {"iss": "c"}}})
    assert found is not None
    assert found.tenant == "c"


@pytest.mark.parametrize(
    "value",
    [True, 1.5, 2.0**53, -(2.0**60), ["a"], {"a": "b"}, "a" * 257, "a\x00", "a\n", " a", "\udc80"],
)
def test_a_claim_is_taken_as_it_stands_or_not_at_all(value: Any) -> None:
    with pytest.raises(UnprovenError, match=r"^jwt: claim sub is "):
        of_jwt([POLICY], token(sub=value))


def test_a_number_is_an_id() -> None:
    found = of_jwt([POLICY], token(sub=4711.0))
    assert found is not None
    assert found.user == "4711"


# --- certificates -------------------------------------------------------------------------

SPIFFE = "spiffe://acme.example/ns/{team}/sa/{user}"


def certificate(uri: Any = "", dns: Any = "", *, san: tuple[str, ...] = (SPIFFE,)) -> Caller | None:
    policy = MtlsIdentity(san=san, fixed=Whose(tenant="acme", user="?"), may_set=("user",))
    return of_mtls(policy, Compiled().patterns(san), {URI_SAN: uri, DNS_SAN: dns})


def test_a_name_becomes_the_caller() -> None:
    assert certificate("spiffe://acme.example/ns/web/sa/ci") == Caller(
        source="mtls", tenant="acme", team="web", user="ci", may_set=frozenset({"user"})
    )


def test_without_a_certificate_nobody_has_said_anything() -> None:
    assert certificate() is None
    policy = MtlsIdentity(san=(SPIFFE,))
    assert of_mtls(policy, Compiled().patterns(policy.san), {}) is None


@pytest.mark.parametrize(
    "san",
    [
        "spiffe://acme.example/ns/web/sa/",
        "spiffe://acme.example/ns/web/sa/ci/",
        "spiffe://acme.example/ns/web/sa/ci/x",
        "spiffe://acme.example/ns/web/x/sa/ci",
        "spiffe://acme.example/ns//sa/ci",
        "spiffe://acme.example.evil/ns/web/sa/ci",
        "spiffe://acme-example/ns/web/sa/ci",
        "spiffe://evil/acme.example/ns/web/sa/ci",
        "xspiffe://acme.example/ns/web/sa/ci",
        "SPIFFE://acme.example/ns/web/sa/ci",
        "spiffe://acme.example/ns/web/sa/ci\n",
        "spiffe://acme.example/ns/web/sa/ci?x",
        "spiffe://acme.example/ns/web/sa/ci#x",
        "spiffe://acme.example/ns/web%2Fsa/sa/ci",
        "spiffe://acme.example/ns/../sa/ci",
        "spiffe://acme.example/ns/web/sa/" + "a" * 257,
        "spiffe://acme.example/ns/web/sa/c\x07i",
        "spiffe://acme.example/ns/web/sa/ci,spiffe://acme.example/ns/web/sa/ci",
        1.0,
    ],
)
def test_a_name_that_almost_fits_proves_nothing(san: Any) -> None:
    with pytest.raises(UnprovenError, match="mtls"):
        certificate(san)


def test_dns_names() -> None:
    san = ("{team}.{tenant}.svc.example", "gateway.example", "batch-{user}.example")
    found = certificate(dns="Web.ACME.svc.example", san=san)
    assert found is not None
    assert (found.tenant, found.team, found.user) == ("acme", "web", "?")
    found = certificate(dns="gateway.example", san=san)
    assert found is not None
    assert (found.tenant, found.team) == ("acme", None)
    found = certificate(dns="batch-7.example", san=san)
    assert found is not None
    assert found.user == "7"
    for wrong in [
        "a.web.acme.svc.example",
        "acme.svc.example",
        "web.acme.svcxexample",
        "web.acme.svc.example.",
        "*.acme.svc.example",
        "batch-.example",
        "gateway.example.evil",
    ]:
        with pytest.raises(UnprovenError):
            certificate(dns=wrong, san=san)


def test_a_uri_is_no_dns_name() -> None:
    with pytest.raises(UnprovenError):
        certificate(uri="gateway.example", san=("gateway.example",))
    with pytest.raises(UnprovenError):
        certificate(dns="spiffe://a/b", san=("spiffe://a/{user}",))
    assert certificate(uri="spiffe://x", dns="gateway.example", san=("gateway.example",))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("spiffe://a/{who}", "'who' is none of tenant, team, user, tier"),
        ("spiffe://a/{}", "'' is none of"),
        ("spiffe://a/{user}/{user}", "'user' is there twice"),
        ("spiffe://a/{team}-{user}", "can be read two ways"),
        ("{team}{user}.example", "can be read two ways"),
        ("spiffe://a/{user", "is no place and no name"),
        ("spiffe://a/user}", "is no place and no name"),
        ("*.example", "is no place and no name"),
    ],
)
def test_a_pattern_that_cannot_be_is_said(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)):
        Pattern(pattern)


names = st.text(
    st.characters(exclude_characters="/?#%{}*", exclude_categories=["C", "Z"]), min_size=1
)


@given(names, names)
def test_a_pattern_gives_back_what_was_put_in(team: str, user: str) -> None:
    found = Pattern(SPIFFE).match(f"spiffe://acme.example/ns/{team}/sa/{user}")
    assert found == {"team": team, "user": user}


@given(st.text(st.sampled_from("a.*+()[]\\|^$?-"), min_size=1, max_size=8))
def test_what_is_no_place_stands_for_itself(text: str) -> None:
    if "*" in text:
        return
    pattern = Pattern(text)
    assert pattern.match(text) == {}
    assert pattern.match("x" + text) is None


@given(st.text(), st.text())
def test_any_pattern_and_any_name(pattern: str, san: str) -> None:
    try:
        found = Pattern(pattern)
    except PatternError:
        return
    found.match(san)


def test_patterns_are_compiled_once_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.identity.mesh.MOST_KEPT", 10)
    compiled = Compiled()
    assert compiled.patterns((SPIFFE,)) is compiled.patterns((SPIFFE,))
    for number in range(100):
        compiled.networks((f"10.0.0.{number}",))
    assert len(compiled._networks) <= 10


# --- headers ------------------------------------------------------------------------------

FRONT = HeaderIdentity(
    headers=Whose(tenant="X-Org", user="x-user"),
    sources=("10.1.0.0/16", "fd00::/8"),
    fixed=Whose(team="front", user="?"),
)


def front(address: str, **headers: str) -> Caller | None:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return of_header(FRONT, Networks(FRONT.sources), sent, address_of(address))


@pytest.mark.parametrize("address", ["10.1.2.3:4", "[fd00::1]:4", "[::ffff:10.1.2.3]:4"])
def test_headers_of_the_gateway_in_front(address: str) -> None:
    found = front(address, x_org="acme", x_user="u1")
    assert found == Caller(source="header", tenant="acme", team="front", user="u1")
    assert front(address, x_other="acme") is None
    found = front(address, x_org="acme", x_user="")
    assert found is not None
    assert found.user == "?"


@pytest.mark.parametrize(
    "address",
    [
        "10.2.0.1:4",
        "110.1.2.3:4",
        "[fe80::1]:4",
        "127.0.0.1:4",
        "10.1.2.3",
        "10.1.2.3:",
        "10.1.2.3:x",
        "[10.1.2.3]:4",
        "fd00::1:4",
        "[fd00::1:4",
        "10.1.2.3.evil:4",
        "10.1.2.3, 10.1.2.3:4",
        "010.1.2.3:4",
        "/run/envoy.sock",
        "",
    ],
)
def test_headers_from_elsewhere_say_nothing(address: str) -> None:
    assert front(address, x_org="acme", x_user="root") is None


@pytest.mark.parametrize("value", ["a, b", "a\tb", "a" * 257, " a", "\x7f"])
def test_a_header_is_taken_as_it_stands_or_not_at_all(value: str) -> None:
    with pytest.raises(UnprovenError, match="header: tenant"):
        front("10.1.0.1:5", x_org=value)


@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "acme.example", "::1/x", "*"])
def test_a_network_that_cannot_be_is_said(network: str) -> None:
    with pytest.raises(PatternError):
        Networks([network])


def test_networks_of_either_family() -> None:
    mapped = Networks(["::ffff:10.0.0.0/104"])
    assert address_of("10.9.9.9:1") in mapped
    assert address_of("11.9.9.9:1") not in mapped
    assert address_of("[2001:db8::1]:1") not in Networks(["0.0.0.0/0"])
    assert address_of("[fe80::1%eth0]:1") in Networks(["fe80::/10"])
    assert None not in Networks(["0.0.0.0/0", "::/0"])


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_as_envoy_writes_it(address: Any, port: int) -> None:
    text = f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
    assert address_of(text) == (getattr(address, "ipv4_mapped", None) or address)


@given(st.text() | st.none() | st.integers())
def test_anything_else_is_no_address(text: Any) -> None:
    address_of(text)
