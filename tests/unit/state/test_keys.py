"""Both key stores give the same answers."""

from __future__ import annotations

import asyncio

import pytest

from extproc.state import ExistsError, KeyStore, StateError, StoredKey

ONE = StoredKey("one", b'{"n": 1}', ("d1", "d2"))
TWO = StoredKey("two", b"\x00\xff", ("d3",))


async def test_a_key_is_found_by_id_and_by_each_digest(keys: KeyStore) -> None:
    bare = StoredKey("bare", b"", ())
    await keys.add([TWO, ONE, bare])
    for key in (ONE, TWO, bare):
        assert await keys.get(key.id) == key
        for digest in key.digests:
            assert await keys.find(digest) == key
    assert await keys.get("nobody") is None
    assert await keys.find("nothing") is None
    assert await keys.list() == [bare, ONE, TWO]


async def test_no_keys(keys: KeyStore) -> None:
    await keys.ping()
    await keys.add([])
    assert await keys.list() == []


@pytest.mark.parametrize(
    "bad",
    [
        StoredKey("one", b"", ("d9",)),
        StoredKey("new", b"", ("d9", "d2")),
        StoredKey("fresh", b"", ("d8",)),
        StoredKey("other", b"", ("d7",)),
        StoredKey("double", b"", ("d9", "d9")),
    ],
)
async def test_all_keys_are_added_or_none(keys: KeyStore, bad: StoredKey) -> None:
    await keys.add([ONE])
    with pytest.raises(ExistsError, match=bad.id):
        await keys.add([TWO, StoredKey("fresh", b"", ("d7",)), bad])
    assert await keys.list() == [ONE]
    assert await keys.find("d3") is None
    assert await keys.find("d9") is None
    await keys.add([TWO])
    assert await keys.list() == [ONE, TWO]


async def test_a_replaced_key_loses_the_digests_it_no_longer_has(keys: KeyStore) -> None:
    await keys.add([ONE, TWO])
    new = StoredKey("one", b"new", ("d2", "d4"))
    assert await keys.replace(new, ONE.record)
    assert await keys.find("d1") is None
    assert await keys.find("d2") == new
    assert await keys.find("d4") == new
    assert await keys.get("two") == TWO
    # The digest that was given up is free.
    await keys.add([StoredKey("three", b"", ("d1",))])


async def test_who_comes_late_replaces_nothing(keys: KeyStore) -> None:
    await keys.add([ONE])
    assert not await keys.replace(StoredKey("one", b"new", ("d5",)), b"what it was before")
    assert not await keys.replace(StoredKey("nobody", b"new", ("d6",)), b"")
    assert await keys.list() == [ONE]
    assert await keys.find("d5") is None


async def test_another_keys_digest_cannot_be_taken(keys: KeyStore) -> None:
    await keys.add([ONE, TWO])
    with pytest.raises(ExistsError, match="one"):
        await keys.replace(StoredKey("one", b"new", ("d3",)), ONE.record)
    assert await keys.list() == [ONE, TWO]
    assert await keys.find("d3") == TWO
    assert await keys.find("d1") == ONE


async def test_of_many_who_replace_at_once_one_does(keys: KeyStore) -> None:
    await keys.add([ONE])
    news = [StoredKey("one", b"%d" % number, (f"n{number}",)) for number in range(20)]
    done = await asyncio.gather(*(keys.replace(new, ONE.record) for new in news))
    assert sum(done) == 1
    winner = news[done.index(True)]
    assert await keys.list() == [winner]
    found = [await keys.find(new.digests[0]) for new in news]
    assert [key for key in found if key is not None] == [winner]


async def test_of_many_who_add_the_same_key_one_does(keys: KeyStore) -> None:
    done = await asyncio.gather(*(keys.add([ONE, TWO]) for _ in range(8)), return_exceptions=True)
    assert done.count(None) == 1
    assert sum(isinstance(each, ExistsError) for each in done) == 7


async def test_each_change_is_a_revision_of_its_own(keys: KeyStore) -> None:
    seen = [await keys.revision()]
    await keys.add([ONE])
    seen.append(await keys.revision())
    with pytest.raises(ExistsError):
        await keys.add([ONE])
    assert await keys.revision() == seen[-1]
    assert not await keys.replace(StoredKey("one", b"new", ("d1",)), b"another")
    assert await keys.revision() == seen[-1]
    assert await keys.replace(StoredKey("one", b"new", ("d1",)), ONE.record)
    seen.append(await keys.revision())
    assert len(set(seen)) == len(seen)


async def test_all_agree_on_the_first_setting(keys: KeyStore) -> None:
    values = [f"value {number}" for number in range(10)]
    agreed = await asyncio.gather(*(keys.settle("secret", value) for value in values))
    assert len(set(agreed)) == 1
    assert agreed[0] in values
    assert await keys.settle("secret", "late") == agreed[0]
    assert await keys.settle("other", "ü") == "ü"


async def test_many_keys_are_added_and_listed(keys: KeyStore) -> None:
    many = [StoredKey(f"{n:05}", b"x" * 200, (f"digest {n}",)) for n in range(3000)]
    await keys.add(many)
    assert await keys.list() == many


async def test_a_closed_store_is_a_state_error(keys: KeyStore) -> None:
    await keys.add([ONE])
    await keys.close()
    with pytest.raises(StateError):
        await keys.add([TWO])
