from collections.abc import Mapping
from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.identity import (
    DENIED_AFTER,
    NOBODY,
    Caller,
    Identify,
    Keyring,
    check_models,
    may_use,
)
from extproc.identity.identify import sent_key
from extproc.identity.keys import mint
from extproc.policy import HeaderIdentity, IdentityPolicy, JwtIdentity, MtlsIdentity, Whose
from tests.unit.identity.keystore import SECRET, Clock, MemoryKeys, keyring

JWT = "envoy.filters.http.jwt_authn"
KEYS = IdentityPolicy(keys=True)
HERE = {"source.address": "127.0.0.1:55555"}
ALL = IdentityPolicy(
    keys=True,
    jwt=(JwtIdentity(issuer="issuer", claims=Whose(user="sub", tenant="org")),),
    mtls=MtlsIdentity(san=("spiffe://acme/{user}",)),
    header=HeaderIdentity(headers=Whose(user="x-user")),
    open=True,
)
TOKEN = {JWT: {"tollgate": {"iss": "issuer", "sub": "jwt-user", "org": "acme"}}}
CERTIFICATE = {"connection.uri_san_peer_certificate": "spiffe://acme/mtls-user"}
FRONT = {"x-user": "header-user"}


class Room:
    """An `Identify` over a store, on one clock."""

    def __init__(self, **more: Any) -> None:
        self.store = MemoryKeys()
        self.clock = Clock()
        self.ring: Keyring = keyring(self.store, self.clock, **more)
        self.identify = Identify(self.ring, clock=self.clock, sleep=self.clock.sleep)

    async def who(
        self,
        headers: Mapping[str, str] | None = None,
        policy: IdentityPolicy = KEYS,
        *,
        attributes: Mapping[str, Any] = HERE,
        metadata: Mapping[str, Any] | None = None,
        route: str = "r",
        tiers: tuple[str, ...] = (),
        only: bool = False,
    ) -> Caller:
        return await self.identify.who(
            headers or {},
            attributes,
            metadata or {},
            policy=policy,
            route=route,
            tiers=tiers,
            arrived=self.clock.now,
            key_header_only=only,
        )

    async def refused(self, *args: Any, **more: Any) -> tuple[int, str | None, str]:
        """What the client is told. Held to the moment."""
        arrived = self.clock.now
        with pytest.raises(ClientError) as raised:
            await self.who(*args, **more)
        assert self.clock.now == pytest.approx(arrived + DENIED_AFTER, abs=1e-6)
        return raised.value.status, raised.value.code, raised.value.message


@pytest.fixture
def room() -> Room:
    return Room()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


INVALID = (401, "invalid_api_key", "Incorrect API key or token provided.")


# --- keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        ("x-tollgate-key", "{}"),
        ("authorization", "Bearer {}"),
        ("authorization", "bearer   {} "),
        ("authorization", "{}"),
        ("x-api-key", "{}"),
        ("api-key", "{}"),
        ("x-goog-api-key", "{}"),
    ],
)
async def test_where_a_key_may_stand(room: Room, where: tuple[str, str]) -> None:
    key, record = await room.ring.create({"tenant": "acme"})
    caller = await room.who({where[0]: where[1].format(key)})
    assert caller == record.caller()


async def test_our_own_header_goes_first(room: Room) -> None:
    key, record = await room.ring.create({})
    other, _ = await room.ring.create({})
    assert (await room.who({**bearer(other), "x-tollgate-key": key})).key == record.id
    refused = await room.refused({**bearer(key), "x-tollgate-key": "sk-wrong"})
    assert refused == INVALID


async def test_where_the_caller_pays_the_other_headers_are_the_providers(room: Room) -> None:
    key, record = await room.ring.create({})
    assert await room.refused(bearer(key), only=True) == await room.refused({})
    sent = {"x-tollgate-key": key, "authorization": "Bearer sk-provider"}
    assert (await room.who(sent, only=True)).key == record.id


async def test_nothing_sent_is_told_apart_from_something_wrong(room: Room) -> None:
    status, code, message = await room.refused({})
    assert (status, code) == (401, "missing_key")
    assert "tg-" in message
    assert await room.refused(bearer("sk-of-openai")) == INVALID


async def test_a_token_that_envoy_does_not_vouch_for(room: Room) -> None:
    policy = IdentityPolicy(jwt=ALL.jwt)
    assert await room.refused(bearer("eyJhbGciOi.e30.x"), policy) == INVALID
    expired = {JWT: {"tollgate": {"code": 3.0, "message": "Jwt is expired"}}}
    for some in (policy, ALL):
        assert await room.refused(FRONT, some, metadata=expired) == INVALID
    status, code, message = await room.refused({}, policy)
    assert (status, code) == (401, "missing_key")
    assert "tg-" not in message


async def test_all_that_is_wrong_with_a_key_looks_the_same(room: Room) -> None:
    good, record = await room.ring.create({"tenant": "acme"})
    revoked, gone = await room.ring.create({})
    await room.ring.revoke(gone.id)
    rotated, turned = await room.ring.create({})
    await room.ring.rotate(turned.id)
    expired, _ = await room.ring.create({"expires_in": 1})
    room.clock.now += 1
    forged = [
        revoked,
        rotated,
        expired,
        mint().text,
        mint(record.id).text,  # another's id with a secret of one's own
        good[:-6] + "000000",  # the checksum is wrong
        good[:-1],
        good + "0",
        good.swapcase().replace("TG-", "tg-"),
        "tg-",
        "tg-" + "x" * 5000,
        "tg-\udc80",
        f"{good}, {good}",  # two headers of one name
        SECRET.digest(good),
    ]
    assert {await room.refused({"x-tollgate-key": key}) for key in forged} == {INVALID}
    assert (await room.who(bearer(good))).key == record.id


async def test_an_overlap_ends_to_the_moment(room: Room) -> None:
    old, record = await room.ring.create({})
    new, _ = await room.ring.rotate(record.id, 60)
    assert (await room.who(bearer(old))).key == (await room.who(bearer(new))).key == record.id
    room.clock.now += 60
    assert await room.refused(bearer(old)) == INVALID
    assert (await room.who(bearer(new))).key == record.id


async def test_a_revocation_holds_within_a_second(room: Room) -> None:
    key, record = await room.ring.create({})
    elsewhere = keyring(room.store, room.clock)
    await room.who(bearer(key))
    await elsewhere.revoke(record.id)
    room.clock.now += 0.999
    assert await room.refused(bearer(key)) == INVALID


async def test_each_refusal_does_the_same_work(room: Room) -> None:
    key, record = await room.ring.create({})
    await room.ring.revoke(record.id)
    for sent in [bearer(key), bearer("tg-no-key"), bearer("sk-x"), {}]:
        room.clock.now += 10
        before = len(room.store.looked)
        await room.refused(sent)
        assert len(room.store.looked) == before + 1


async def test_a_late_refusal_is_not_held(room: Room) -> None:
    with pytest.raises(ClientError):
        await room.identify.who(
            {}, HERE, {}, policy=KEYS, route="r", tiers=(), arrived=room.clock.now - 1
        )
    assert room.clock.now == Clock().now


async def test_a_good_key_is_not_held(room: Room) -> None:
    key, _ = await room.ring.create({})
    before = room.clock.now
    await room.who(bearer(key))
    assert room.clock.now == before


async def test_a_store_that_is_away_lets_nobody_in(room: Room) -> None:
    key, _ = await room.ring.create({})
    room.store.away = True
    for sent in (bearer(key), bearer("tg-x"), {}):
        with pytest.raises(ClientError) as raised:
            await room.who(sent, IdentityPolicy(keys=True, jwt=ALL.jwt))
        assert (raised.value.status, raised.value.code) == (503, "identity_unavailable")
        assert raised.value.retry_after == 1
    assert await room.who({}, ALL) == NOBODY


# --- what a key may use -------------------------------------------------------------------


async def test_a_key_for_some_routes(room: Room) -> None:
    key, _ = await room.ring.create({"routes": ["support", "search"]})
    assert await room.who(bearer(key), route="search")
    status, code, message = await room.refused(bearer(key), route="admin")
    assert (status, code) == (403, "route_not_allowed")
    assert '"admin"' in message


async def test_tiers(room: Room) -> None:
    pro, _ = await room.ring.create({"tier": "pro"})
    none, _ = await room.ring.create({})
    assert (await room.who(bearer(pro), tiers=("free", "pro"))).tier == "pro"
    assert (await room.who(bearer(none))).tier is None
    assert (await room.refused(bearer(pro), tiers=("free",)))[:2] == (403, "tier_not_allowed")
    assert (await room.who(bearer(none), tiers=("free",))).tier is None
    assert await room.who({}, ALL, tiers=("free",)) == NOBODY


def test_a_key_for_some_models() -> None:
    some = Caller(source="key", models=("flagship", "cheap"))
    check_models(some, ("flagship", "cheap"))
    check_models(some, ("", "cheap"))
    check_models(NOBODY, ("",))
    assert may_use(some, "cheap")
    assert may_use(NOBODY, "anything")
    assert not may_use(some, "auto")
    for asked in [("flagship", "gpt-4o"), ("auto",), ("",), (), ("Flagship",), ("x" * 9999,)]:
        with pytest.raises(ClientError) as raised:
            check_models(some, asked)
        assert (raised.value.status, raised.value.code) == (403, "model_not_allowed")
        assert raised.value.type == "permission_error"
        assert len(raised.value.message) < 120


async def test_a_filter_can_hold_its_own_refusal(room: Room) -> None:
    arrived = room.clock.now
    room.clock.now += 0.005
    await room.identify.hold(arrived)
    assert room.clock.now == pytest.approx(arrived + DENIED_AFTER)


# --- order --------------------------------------------------------------------------------


async def test_the_strongest_proof_counts(room: Room) -> None:
    key, _ = await room.ring.create({"user": "key-user"})
    attributes = {**HERE, **CERTIFICATE}
    who = room.who
    found = await who({**bearer(key), **FRONT}, ALL, attributes=attributes, metadata=TOKEN)
    assert (found.source, found.user) == ("key", "key-user")
    found = await who(FRONT, ALL, attributes=attributes, metadata=TOKEN)
    assert (found.source, found.user, found.tenant) == ("jwt", "jwt-user", "acme")
    found = await who(FRONT, ALL, attributes=attributes)
    assert (found.source, found.user) == ("mtls", "mtls-user")
    found = await who(FRONT, ALL)
    assert (found.source, found.user) == ("header", "header-user")
    assert await who({}, ALL) is NOBODY


async def test_a_bad_proof_is_not_made_good_by_a_weaker_one(room: Room) -> None:
    attributes = {**HERE, **CERTIFICATE}
    wrong = mint().text
    refused = await room.refused(
        {**bearer(wrong), **FRONT}, ALL, attributes=attributes, metadata=TOKEN
    )
    assert refused == INVALID
    foreign = {JWT: {"tollgate": {"iss": "evil", "sub": "jwt-user"}}}
    assert await room.refused(FRONT, ALL, attributes=attributes, metadata=foreign) == INVALID
    almost = {**HERE, "connection.uri_san_peer_certificate": "spiffe://acme/x/mtls-user"}
    assert await room.refused(FRONT, ALL, attributes=almost) == INVALID
    assert await room.refused({"x-user": "a, b"}, ALL) == INVALID


@pytest.mark.parametrize("policy", [KEYS, IdentityPolicy(), IdentityPolicy(open=True)])
async def test_a_proof_that_the_route_does_not_take_is_none(
    room: Room, policy: IdentityPolicy
) -> None:
    attributes = {**HERE, **CERTIFICATE}
    if policy.open:
        assert await room.who(FRONT, policy, attributes=attributes, metadata=TOKEN) is NOBODY
        assert await room.who(bearer(mint().text), policy) is NOBODY
        return
    status, code, _ = await room.refused(FRONT, policy, attributes=attributes, metadata=TOKEN)
    assert (status, code) == (401, "missing_key")


async def test_headers_from_a_foreign_network_say_nothing(room: Room) -> None:
    policy = IdentityPolicy(header=ALL.header)
    attributes = {"source.address": "192.0.2.1:999"}
    assert (await room.refused(FRONT, policy, attributes=attributes))[:2] == (401, "missing_key")
    assert (await room.refused(FRONT, policy, attributes={}))[:2] == (401, "missing_key")


async def test_no_header_that_a_client_sends_makes_him_somebody(room: Room) -> None:
    forged = {
        "x-tollgate-user": "root",
        "x-tollgate-team": "admin",
        "x-tollgate-i-id": "0" * 32,
        "x-tollgate-i-credential": "Bearer x",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-client-cert": "URI=spiffe://acme/root",
        "x-envoy-external-address": "127.0.0.1",
        "x-jwt-payload": "eyJpc3MiOiJpc3N1ZXIifQ",
        "source.address": "127.0.0.1:1",
        "connection.uri_san_peer_certificate": "spiffe://acme/root",
        "cookie": "tg-key=1",
        "helicone-user-id": "root",
        "x-portkey-metadata": '{"_user": "root"}',
        "x-user": "root",
    }
    policy = IdentityPolicy(keys=True, jwt=ALL.jwt, mtls=ALL.mtls, header=ALL.header, open=True)
    attributes = {"source.address": "192.0.2.1:999"}
    refused = await room.refused(forged, policy, attributes=attributes)
    assert refused[:2] == (403, "open_on_loopback_only")


@pytest.mark.parametrize(
    ("address", "let_in"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("192.0.2.1:1", False),
        ("[::ffff:192.0.2.1]:1", False),
        ("127.0.0.1.evil.example:1", False),
        ("0.0.0.0:1", False),
        ("", False),
        (0.0, False),
    ],
)
async def test_open_is_for_this_machine_unless_said_twice(
    room: Room, address: Any, *, let_in: bool
) -> None:
    attributes = {"source.address": address}
    once = IdentityPolicy(open=True)
    if let_in:
        assert await room.who({}, once, attributes=attributes) is NOBODY
    else:
        refused = await room.refused({}, once, attributes=attributes)
        assert refused[:2] == (403, "open_on_loopback_only")
    twice = IdentityPolicy(open=True, beyond_loopback=True)
    assert await room.who({}, twice, attributes=attributes) is NOBODY


async def test_a_policy_that_cannot_be_lets_nobody_in(room: Room) -> None:
    for policy in (
        IdentityPolicy(mtls=MtlsIdentity(san=("{a}{b}",)), open=True),
        IdentityPolicy(header=HeaderIdentity(headers=Whose(), sources=("x",)), open=True),
    ):
        with pytest.raises(ClientError) as raised:
            await room.who({}, policy)
        assert (raised.value.status, raised.value.code) == (500, "misconfigured")


async def test_no_log_names_a_key(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    key, _ = await room.ring.create({})
    wrong = mint().text
    await room.who(bearer(key))
    await room.refused(bearer(wrong))
    await room.refused({}, ALL, metadata={JWT: {"tollgate": {"iss": "evil-issuer"}}})
    room.store.away = True
    room.clock.now += 1
    with pytest.raises(ClientError):
        await room.who(bearer(key))
    assert "the store is away" in caplog.text
    for secret in (key, wrong, SECRET.digest(key), SECRET.digest(wrong), "evil-issuer"):
        assert secret not in caplog.text


def test_a_placeholder_is_no_key() -> None:
    for value in ("Bearer sk-x", "Bearer ", "", "Basic dGctOng=", "Bearer eyJhbGciOi"):
        assert sent_key({"authorization": value}, only_ours=False) is None
    assert sent_key({"x-tollgate-key": " "}, only_ours=True) is None
