import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.identity import FileError, Imported, Keyring
from extproc.identity.files import Reading, Taken, read
from extproc.identity.keys import mint
from extproc.identity.record import FieldError, stored
from extproc.state import ExistsError, StoredKey
from tests.unit.identity.keystore import NOW, SECRET, Clock, MemoryKeys, keyring

KEY = mint("0123456789Ab")
OTHER = mint()


def no_more_than_five(limits: Mapping[str, Any]) -> None:
    if limits.get("requests", 0) > 5:
        raise FieldError("limits.requests: 5 are the most")


@pytest.fixture
def store() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def ring(store: MemoryKeys) -> Keyring:
    return keyring(store, Clock(), tiers=("free", "pro"), check_limits=no_more_than_five)


def lines(*said: Any) -> bytes:
    found = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in said]
    return b"\n".join(found) + b"\n"


EXPORTED = {"id": "A" * 12, "digests": [{"digest": "a" * 64}]}


async def test_a_key_is_taken_over_or_made(ring: Keyring) -> None:
    taken = await ring.import_(
        b"\xef\xbb\xbf"
        + lines({"key": KEY.text, "tenant": "a", "tier": "pro"}, b"", b"  \r", {"tenant": "b"})
    )
    assert taken[0] == Imported(KEY.id, None)
    assert taken[1].key is not None
    for token, tenant in [(KEY.text, "a"), (taken[1].key, "b")]:
        found = await ring.find(token)
        assert found is not None
        assert found.tenant == tenant


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "there is no key in it"),
        (b"\n \n", "there is no key in it"),
        (lines({}, b"{"), "line 2: the line is not valid JSON: "),
        (lines({}, b"[]"), "line 2: the line is not valid JSON: expected an object"),
        (lines({}, b'{"user": "\xff"}'), "line 2: the line is not valid JSON: invalid UTF-8"),
        (lines(b'{"user": "a", "user": "b"}'), 'line 1: .* duplicate key "user"'),
        (lines(b'{"expires_in": NaN}'), "line 1: .* NaN is not JSON"),
        (lines(b'{"limits": ' + b"[" * 200 + b"]" * 200 + b"}"), "line 1: .* nested deeper"),
        (lines({}, {"limits": {"requests": 6}}), "line 2: limits.requests: 5 are the most"),
        (lines({**EXPORTED, "limits": {"requests": 6}}), "line 1: limits.requests: 5 are the most"),
        (lines({"key": KEY.text, "limits": {"requests": 6}}), "line 1: limits.requests: 5 are"),
        (lines({}, {}, {"tiers": "pro"}), "line 3: tiers: a key has no such .* 'tier'"),
        (lines({}, b"", {"tier": "gold"}), 'line 3: tier: there is no "gold"; there are free, pro'),
        (lines({"user": "a\nb"}), r'line 1: user: "a\\nb" has control characters'),
        (lines({"expires_at": 5}), "line 1: expires_at: is past"),
        (lines({"expires": NOW + 5}), "line 1: expires: stands only in .* say expires_at"),
        (lines({"revoked": NOW}), "line 1: revoked: stands only in an exported key"),
        (lines({"key": KEY.text, "created": NOW}), "line 1: created: stands only in"),
        (lines({"key": "sk-abc"}), "line 1: key: not a key of the form tg-"),
        (lines({"key": KEY.text[:-1] + "!"}), "line 1: key: not a key"),
        (lines({"key": KEY.text, "id": OTHER.id}), f"line 1: id: .* not the key's.*{KEY.id}"),
        (lines({"id": KEY.id}), "line 1: id: an id without a key or digests opens nothing"),
        (lines({"key": KEY.text}, {}, {"key": KEY.text}), "line 3: the same key as in line 1"),
        (lines({"key": KEY.text}, {"key": mint(KEY.id).text}), "line 2: the same key as in line 1"),
        (lines(EXPORTED, {**EXPORTED, "id": "B" * 12}), "line 2: the same key as in line 1"),
        (lines({"digests": [{"digest": "a" * 64}]}), "line 1: id: missing beside digests"),
        (lines({**EXPORTED, "id": "short"}), 'line 1: id: "short" is not 12 letters and digits'),
        (lines({**EXPORTED, "key": KEY.text}), "line 1: digests: key is there too"),
        (lines({**EXPORTED, "digests": []}), "line 1: digests: 0 entries; there are 1 to 4"),
        (lines({**EXPORTED, "digests": EXPORTED["digests"] * 5}), "line 1: digests: 5 entries"),  # type: ignore[operator]
        (lines({**EXPORTED, "digests": EXPORTED["digests"] * 2}), "line 1: digests: one .* twice"),  # type: ignore[operator]
        (lines({**EXPORTED, "digests": [{"digest": "A" * 64}]}), "line 1: digests: .* 64 hex"),
        (lines({**EXPORTED, "digests": ["a" * 64]}), "line 1: digests: expected `object`"),
        (lines({**EXPORTED, "fingerprint": "ab"}), "line 1: fingerprint: .* another gateway's"),
        (lines({**EXPORTED, "expires_in": 5}), "line 1: expires: an exported key has this"),
        (lines({**EXPORTED, "expires": -1}), "line 1: expires: -1.* is no time"),
        (lines({**EXPORTED, "created": 1e300}), "line 1: created: .* is no time"),
        (lines({"name": "x" * 70_000}), "line 1: 70012 bytes; 65536 are the most of a line"),
        (b"{}\n" * 10_001, "line 10001: more than 10000 keys; split the file"),
    ],
)
async def test_a_mistake_is_named_with_its_line_and_nothing_is_taken(
    ring: Keyring, store: MemoryKeys, file: bytes, message: str
) -> None:
    with pytest.raises(FileError, match=r"^" + message) as raised:
        await ring.import_(file)
    assert store.keys == {}
    assert str(raised.value).isprintable()
    assert KEY.text not in str(raised.value)


def test_a_file_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.identity.files.MOST_BYTES", 10)
    with pytest.raises(FileError, match=r"^11 bytes; 10 are the most"):
        read(b" " * 11, Reading(SECRET, (), NOW))


async def test_what_is_there_already_is_named_with_its_line(
    ring: Keyring, store: MemoryKeys
) -> None:
    await ring.import_(lines({"key": KEY.text}))
    before = dict(store.keys)
    with pytest.raises(FileError, match=rf"^line 2: key {KEY.id} exists already"):
        await ring.import_(lines({}, {"key": mint(KEY.id).text}))
    same = {"id": "C" * 12, "digests": [{"digest": SECRET.digest(KEY.text)}]}
    with pytest.raises(FileError, match=r"^line 3: a secret of it exists already"):
        await ring.import_(lines({}, {}, same))
    assert store.keys == before


class Racing(MemoryKeys):
    """Somebody else adds a key between the look and the adding."""

    raced = False

    async def add(self, keys: Any) -> None:
        if not self.raced:
            self.raced = True
            await super().add([keys[-1]])
            raise ExistsError(keys[-1].id)
        await super().add(keys)


async def test_what_comes_meanwhile_is_named_too() -> None:
    ring = keyring(Racing(), Clock())
    with pytest.raises(FileError, match=rf"^line 2: key {KEY.id} exists already"):
        await ring.import_(lines({}, {"key": KEY.text}))


async def test_import_forgets_what_was_known(ring: Keyring) -> None:
    assert await ring.find(KEY.text) is None
    await ring.import_(lines({"key": KEY.text}))
    assert await ring.find(KEY.text) is not None


def test_what_is_taken_does_not_show_keys() -> None:
    taken = read(lines({}), Reading(SECRET, (), NOW))[0]
    assert taken.key is not None
    shown = repr(taken) + repr(Imported(taken.record.id, taken.key)) + repr(taken.record)
    assert taken.key not in shown
    assert taken.record.digests[0].digest not in shown


def attempt(file: bytes) -> list[Taken] | str:
    try:
        return read(file, Reading(SECRET, ("free",), NOW))
    except FileError as error:
        return str(error)


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [b"{}", b'{"tenant":"a"}', b'{"tier":"x"}', b"\n", b"{", json.dumps(EXPORTED).encode()]
        )
    ).map(b"\n".join)
)
def test_any_file_is_taken_whole_or_refused(file: bytes) -> None:
    taken = attempt(file)
    if isinstance(taken, str):
        assert taken.isprintable()
        return
    keys: list[StoredKey] = [stored(one.record) for one in taken]
    assert (
        len({one.id for one in keys})
        == len(keys)
        == len([x for x in file.split(b"\n") if x.strip()])
    )
