import asyncio
import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from extproc.identity import FieldError, Keyring, KeyStateError, UnknownKeyError
from extproc.identity.keyring import ASK, FRESH, LONGEST
from extproc.identity.keys import mint, parse
from extproc.identity.record import MOST_DIGESTS
from extproc.state import StateError, StoredKey
from tests.unit.identity.keystore import SECRET, Clock, MemoryKeys, keyring


@pytest.fixture
def store() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(store: MemoryKeys, clock: Clock) -> Keyring:
    return keyring(store, clock)


async def test_a_key_opens_what_it_was_made_for(ring: Keyring) -> None:
    key, record = await ring.create({"tenant": "acme", "tier": "pro"})
    found = parse(key)
    assert found is not None
    assert found.id == record.id
    assert await ring.find(key) == record
    caller = await ring.caller(key)
    assert caller is not None
    assert (caller.key, caller.tenant, caller.tier) == (record.id, "acme", "pro")


async def test_the_store_never_sees_a_key(ring: Keyring, store: MemoryKeys) -> None:
    key, record = await ring.create({})
    await ring.find(key)
    seen = repr(store.keys) + repr(store.looked)
    assert key not in seen
    assert key[15:47] not in seen
    assert SECRET.digest(key) in seen
    exported = (await ring.export()).decode()
    assert key[15:47] not in exported
    assert record.id in exported


async def test_other_text_opens_nothing(ring: Keyring) -> None:
    key, record = await ring.create({})
    wrong = [
        "",
        "tg-",
        key[:-1],
        key + "x",
        key.swapcase(),
        key[:-6] + "000000",
        mint(record.id).text,  # the id with a secret of one's own
        SECRET.digest(key),
        "x" * 60_000,
        "\udc80",
    ]
    for token in wrong:
        assert await ring.find(token) is None
        assert await ring.caller(token) is None


async def test_another_gateways_secret_opens_nothing(store: MemoryKeys, clock: Clock) -> None:
    ring = keyring(store, clock)
    key, _ = await ring.create({})
    other = Keyring(store, type(SECRET)(b"another secret of 32 bytes......"), clock=clock)
    assert await other.find(key) is None


async def test_a_key_expires_to_the_moment(ring: Keyring, clock: Clock) -> None:
    key, _ = await ring.create({"expires_in": 10})
    clock.now += 9.99
    assert await ring.find(key) is not None
    clock.now += 0.01
    assert await ring.find(key) is None


async def test_a_revocation_holds_at_once_here_and_within_a_second_elsewhere(
    store: MemoryKeys, clock: Clock
) -> None:
    here, elsewhere = keyring(store, clock), keyring(store, clock)
    key, record = await here.create({})
    assert await here.find(key) is not None
    assert await elsewhere.find(key) is not None
    await here.revoke(record.id)
    assert await here.find(key) is None
    clock.now += FRESH + 0.001
    assert FRESH < 1
    assert await elsewhere.find(key) is None
    again = await here.revoke(record.id)
    assert again.revoked == clock.now - FRESH - 0.001


async def test_a_busy_key_is_not_kept_beyond_its_time(store: MemoryKeys, clock: Clock) -> None:
    here, elsewhere = keyring(store, clock), keyring(store, clock)
    key, record = await here.create({})
    revoked: float | None = None
    for step in range(40):
        found = await elsewhere.find(key)
        if revoked is not None and clock.now - revoked > FRESH:
            assert found is None
        if step == 10:
            await here.revoke(record.id)
            revoked = clock.now
        clock.now += 0.1


async def test_while_no_key_changes_none_is_looked_up_again(
    store: MemoryKeys, clock: Clock
) -> None:
    here, elsewhere = keyring(store, clock), keyring(store, clock)
    keys = [(await here.create({}))[0] for _ in range(3)]
    wrong = mint().text
    for _ in range(2):  # what is looked up before the first check is looked up once more
        clock.now += FRESH + 0.001
        for key in keys:
            assert await elsewhere.find(key) is not None
        assert await elsewhere.find(wrong) is None
    store.looked.clear()
    for _ in range(20):
        clock.now += FRESH + 0.001
        for key in (*keys, wrong):
            await elsewhere.find(key)
    assert not store.looked
    await here.create({})
    clock.now += FRESH + 0.001
    await asyncio.gather(*(elsewhere.find(keys[0]) for _ in range(5)))
    assert store.looked == [SECRET.digest(keys[0])]
    clock.now += LONGEST + 0.001
    await elsewhere.find(keys[1])
    assert store.looked[1:] == [SECRET.digest(keys[1])]


async def test_an_answer_from_before_a_change_is_not_kept(ring: Keyring, store: MemoryKeys) -> None:
    key, record = await ring.create({})
    store.gate = asyncio.Event()
    waiting = asyncio.create_task(ring.find(key))
    await store.asked.wait()
    await ring.revoke(record.id)
    store.gate.set()
    await waiting
    assert await ring.find(key) is None
    assert len(store.looked) == 2


async def test_a_store_that_hangs_is_away(
    ring: Keyring, store: MemoryKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ASK < 1
    monkeypatch.setattr("extproc.identity.keyring.ASK", 0.001)
    store.gate = asyncio.Event()
    with pytest.raises(StateError, match="did not answer"):
        await ring.find(mint().text)


async def test_a_rotation_without_overlap(ring: Keyring) -> None:
    old, record = await ring.create({"tenant": "acme"})
    assert await ring.find(old) is not None
    new, rotated = await ring.rotate(record.id)
    assert rotated.id == record.id
    assert rotated.tenant == "acme"
    assert await ring.find(old) is None
    assert await ring.find(new) == rotated


async def test_a_rotation_with_overlap(ring: Keyring, clock: Clock) -> None:
    old, record = await ring.create({})
    new, rotated = await ring.rotate(record.id, 60)
    assert rotated.shown(clock.now)["old_until"] == clock.now + 60
    clock.now += 59.9
    assert await ring.find(old) == await ring.find(new) == rotated
    clock.now += 0.1
    assert await ring.find(old) is None
    assert await ring.find(new) is not None


async def test_rotations_within_an_overlap(ring: Keyring, store: MemoryKeys, clock: Clock) -> None:
    first, record = await ring.create({})
    keys = [first]
    for _ in range(5):
        key, _ = await ring.rotate(record.id, 60)
        keys.append(key)
        clock.now += 1
    good = [await ring.find(key) is not None for key in keys]
    assert good == [False, False, True, True, True, True]
    last, rotated = await ring.rotate(record.id)
    assert [await ring.find(key) is not None for key in keys] == [False] * 6
    assert await ring.find(last) is not None
    assert len(rotated.digests) == len(store.keys[record.id].digests) == 1


async def test_a_longer_overlap_does_not_revive(ring: Keyring, clock: Clock) -> None:
    old, record = await ring.create({})
    await ring.rotate(record.id, 10)
    await ring.rotate(record.id, 1000)
    clock.now += 11
    assert await ring.find(old) is None


@pytest.mark.parametrize("overlap", [-1, float("nan"), float("inf"), 90 * 86_400 + 1])
async def test_an_overlap_has_bounds(ring: Keyring, overlap: float) -> None:
    _, record = await ring.create({})
    with pytest.raises(FieldError, match=r"^overlap: "):
        await ring.rotate(record.id, overlap)


async def test_what_is_over_stays_over(ring: Keyring, clock: Clock) -> None:
    key, record = await ring.create({"expires_in": 5})
    clock.now += 5
    with pytest.raises(KeyStateError, match="is expired; create another"):
        await ring.rotate(record.id)
    await ring.revoke(record.id)
    with pytest.raises(KeyStateError, match="is revoked"):
        await ring.rotate(record.id, 60)
    assert await ring.find(key) is None


@pytest.mark.parametrize("key_id", ["", "0123456789Ab", "x" * 10_000, "a\nb", "{…}", "*"])
async def test_no_such_key(ring: Keyring, key_id: str) -> None:
    calls: list[Any] = [ring.show(key_id), ring.revoke(key_id), ring.rotate(key_id)]
    for call in calls:
        with pytest.raises(UnknownKeyError):
            await call


async def test_changes_at_the_same_time_are_all_kept(store: MemoryKeys, clock: Clock) -> None:
    rings = [keyring(store, clock) for _ in range(3)]
    _, record = await rings[0].create({})
    keys = await asyncio.gather(*(one.rotate(record.id, 60) for one in rings))
    for ring in rings:
        for key, _ in keys:
            assert await ring.find(key) is not None
    # A rotation never undoes a revocation that came between.
    done = await asyncio.gather(
        rings[0].rotate(record.id, 60), rings[1].revoke(record.id), return_exceptions=True
    )
    assert not isinstance(done[1], BaseException)
    clock.now += 1
    assert (await rings[2].show(record.id)).revoked is not None
    for key, _ in keys:
        assert await rings[2].find(key) is None


class Contended(MemoryKeys):
    """Somebody else is always faster."""

    async def replace(self, key: StoredKey, old: bytes) -> bool:
        return await super().replace(key, old + b" ")


async def test_a_change_does_not_fight_for_ever(clock: Clock) -> None:
    ring = keyring(Contended(), clock)
    _, record = await ring.create({})
    with pytest.raises(KeyStateError, match="being changed by others"):
        await ring.revoke(record.id)


async def test_many_requests_with_one_key_ask_the_store_once(
    ring: Keyring, store: MemoryKeys, clock: Clock
) -> None:
    key, record = await ring.create({})
    found = await asyncio.gather(*(ring.find(key) for _ in range(100)))
    assert all(one == record for one in found)
    wrong = mint().text
    found = await asyncio.gather(*(ring.find(wrong) for _ in range(100)))
    assert found == [None] * 100
    clock.now += FRESH
    await ring.find(key)
    await ring.find(wrong)
    assert store.looked == [SECRET.digest(key), SECRET.digest(wrong)]


async def test_one_who_leaves_takes_nothing_from_the_others(
    ring: Keyring, store: MemoryKeys
) -> None:
    key, record = await ring.create({})
    store.gate = asyncio.Event()
    waiting = [asyncio.create_task(ring.find(key)) for _ in range(3)]
    await store.asked.wait()
    waiting[0].cancel()
    store.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [record, record]
    assert len(store.looked) == 1


async def test_when_all_who_asked_have_left_nothing_is_left_over(
    ring: Keyring, store: MemoryKeys
) -> None:
    store.gate = asyncio.Event()
    waiting = asyncio.create_task(ring.find("x"))
    await store.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    store.away = True
    store.gate.set()
    await asyncio.gather(*ring._asking.values(), return_exceptions=True)
    await asyncio.sleep(0)
    assert not ring._asking


async def test_wrong_keys_cost_no_memory(store: MemoryKeys, clock: Clock) -> None:
    ring = keyring(store, clock, most=50)
    for number in range(500):
        await ring.find(f"tg-{number}")
    assert len(ring._known) == 50
    assert not ring._asking


async def test_without_a_store_what_was_just_seen_holds_a_moment(
    ring: Keyring, store: MemoryKeys, clock: Clock
) -> None:
    key, _ = await ring.create({})
    await ring.find(key)
    store.away = True
    assert await ring.find(key) is not None
    clock.now += FRESH + 0.001
    with pytest.raises(StateError):
        await ring.find(key)
    with pytest.raises(StateError):
        await ring.find("tg-wrong")
    store.away = False
    assert await ring.find(key) is not None


async def test_keys_are_listed_by_whose_they_are(ring: Keyring) -> None:
    for tenant, team, user in [("a", "x", "u"), ("a", "y", "u"), ("b", "x", "v")]:
        await ring.create({"tenant": tenant, "team": team, "user": user})
    assert len(await ring.list()) == 3
    assert [one.team for one in await ring.list(tenant="a", team="y")] == ["y"]
    assert {one.tenant for one in await ring.list(user="u")} == {"a"}
    assert await ring.list(tenant="") == []


async def test_what_is_exported_can_be_imported_elsewhere(
    ring: Keyring, store: MemoryKeys, clock: Clock
) -> None:
    old, one = await ring.create({"tenant": "acme", "labels": {"a": "b"}, "may_set": []})
    new, one = await ring.rotate(one.id, 60)
    gone, two = await ring.create({"expires_in": 1, "limits": {"x": 1}})
    dead, three = await ring.create({})
    await ring.revoke(three.id)
    clock.now += 2
    file = await ring.export()
    assert len(file.splitlines()) == 3
    other = MemoryKeys()
    there = keyring(other, clock)
    taken = await there.import_(file)
    assert {one.id for one in taken} == {one.id, two.id, three.id}
    assert all(one.key is None for one in taken)
    assert other.keys == store.keys
    assert await there.find(old) == await there.find(new) == await ring.show(one.id)
    assert await there.find(gone) is None
    assert await there.find(dead) is None
    assert await there.export() == file


async def test_a_thousand_keys(ring: Keyring) -> None:
    made = await ring.import_(b'{"tenant": "acme"}\n' * 1000)
    assert len({one.key for one in made}) == 1000
    last = made[-1].key
    assert last is not None
    found = await ring.find(last)
    assert found is not None
    assert found.id == made[-1].id
    assert len(await ring.list(tenant="acme")) == 1000
    assert json.loads((await ring.export()).splitlines()[0])["fingerprint"] == SECRET.fingerprint


async def test_the_secret_is_agreed_on_at_the_start(ring: Keyring, store: MemoryKeys) -> None:
    await ring.start()
    assert store.settings == {"key-secret": SECRET.fingerprint}


class Life(RuleBasedStateMachine):
    """Any life of some keys, seen by two processes, one of which hears of changes late."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryKeys()
        self.clock = Clock()
        self.here = keyring(self.store, self.clock)
        self.there = keyring(self.store, self.clock)
        self.good: dict[str, float] = {}
        """Secrets by when they stop being good."""
        self.changed: dict[str, float] = {}
        self.secrets: dict[str, list[str]] = {}

    keys = Bundle("keys")

    @rule(target=keys, life=st.none() | st.sampled_from([0.3, 5.0]))
    def create(self, life: float | None) -> str:
        key, record = asyncio.run(self.here.create({"expires_in": life} if life else {}))
        self.good[key] = self.clock.now + (life or 1e9)
        self.changed[key] = self.clock.now
        self.secrets[record.id] = [key]
        return record.id

    @rule(key_id=keys, overlap=st.sampled_from([0.0, 0.4, 2.0]))
    def rotate(self, key_id: str, overlap: float) -> None:
        newest = self.secrets[key_id][-1]
        over = self.good[newest] <= self.clock.now
        try:
            key, _ = asyncio.run(self.here.rotate(key_id, overlap))
        except KeyStateError:
            assert over
            return
        assert not over
        self.good[key], self.changed[key] = self.good[newest], self.clock.now
        for at, old in enumerate(reversed(self.secrets[key_id])):
            last = self.clock.now + overlap if at < MOST_DIGESTS - 1 else 0.0
            self.good[old] = min(self.good[old], last)
            self.changed[old] = self.clock.now
        self.secrets[key_id].append(key)

    @rule(key_id=keys)
    def revoke(self, key_id: str) -> None:
        asyncio.run(self.here.revoke(key_id))
        for key in self.secrets[key_id]:
            self.good[key] = 0.0
            self.changed[key] = self.clock.now

    @rule(seconds=st.sampled_from([0.1, 0.25, 0.6, 3.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def what_is_good_opens(self) -> None:
        for key, until in self.good.items():
            opens = self.clock.now < until
            assert (asyncio.run(self.here.find(key)) is not None) == opens
            elsewhere = asyncio.run(self.there.find(key)) is not None
            if self.clock.now - self.changed[key] > FRESH:
                assert elsewhere == opens


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
