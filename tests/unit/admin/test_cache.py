"""The cache over the admin port, on stores as a gateway has them."""

from __future__ import annotations

import json
import time

import pytest

from extproc.admin.capabilities import Admin
from extproc.admin.http import application
from extproc.cache.whose import tenant_mark
from extproc.state.answers import shown
from tests.unit.admin.caching import got, ids, kept, refused
from tests.unit.admin.conftest import Asked, Open
from tests.unit.admin.entries import KEY, entry
from tests.unit.admin.serving import Stores, app, expose, parts

__all__ = ["kept"]


# --- looking ------------------------------------------------------------------------------


async def test_stats(asked: Asked, kept: Stores) -> None:
    first = entry(1, value=b"x" * 100)
    await kept.answers.put(first)
    kept.answers.touch(first.head.id, 2_500_000_000)
    await kept.answers.flush()
    found = await got(asked, "/cache/stats")
    assert (found["entries"], found["hits"], found["saved_usd"]) == (1, 1, 2.5)
    assert found["bytes"] > 100
    assert set(found) >= {"evicted", "expired", "forgotten", "corrupt"}


async def test_an_entry_is_shown_without_its_answer(asked: Asked, kept: Stores) -> None:
    said = {"choices": [{"message": {"role": "assistant", "content": "Paris"}}]}
    one = entry(1, value=json.dumps(said).encode(), tags=("a", "b"))
    await kept.answers.put(one)
    path = f"/cache/entries/{shown(one.head.id)}"
    found = await got(asked, path)
    assert found["id"] == found["answer_id"] == shown(one.head.id)
    assert (found["route"], found["tags"], found["cost_usd"]) == ("chat", ["a", "b"], 0.0015)
    assert (found["hits"], found["tenant"], found["embedder"]) == (0, None, None)
    assert "Paris" not in json.dumps(found)
    whole = await got(asked, path, answer="1")
    assert (whole["answer"], whole["body"]) == ("Paris", said)


async def test_no_such_entry(asked: Asked) -> None:
    for name in ("0123456789abcdef", "x", "0" * 16, "1" * 400):
        for method in ("GET", "DELETE"):
            status, error = await refused(asked, method, f"/cache/entries/{name}")
            assert (status, error["message"]) == (404, "there is no entry with this id")


async def test_lists_are_narrowed_by_all_that_is_said(asked: Asked, kept: Stores) -> None:
    now = time.time()
    made = {
        "a": entry("a", tags=("x",), route="one"),
        "b": entry("b", tags=("x", "y"), route="two", tenant=tenant_mark(KEY, "acme")),
        "c": entry("c", model="other", created=now - 7200),
    }
    for one in made.values():
        await kept.answers.put(one)
    name = {shown(one.head.id): title for title, one in made.items()}

    async def found(**query: str) -> str:
        return "".join(sorted(name[one] for one in await ids(asked, **query)))

    assert await found() == "abc"
    assert await found(tag="x") == "ab"
    assert await found(tag="x", route="two") == "b"
    assert await found(tenant="acme") == "b"
    assert await found(tenant="nobody") == ""
    assert await found(model="other") == "c"
    assert await found(older_than="1h") == "c"
    assert await found(older_than="1h", tag="x") == ""
    assert await found(answer=shown(made["a"].head.id)) == "a"
    assert (await got(asked, "/cache/count", tag="x"))["entries"] == 2
    assert (await got(asked, "/cache/count"))["entries"] == 3


async def test_pages(asked: Asked, kept: Stores) -> None:
    for number in range(25):
        await kept.answers.put(entry(number, tags=("odd",) if number % 2 else ()))
    seen: list[str] = []
    after = ""
    while True:
        more = {"after": after} if after else {}
        page = await got(asked, "/cache/entries", limit="4", tag="odd", **more)
        seen += [one["id"] for one in page["entries"]]
        after = page["after"]
        if not after:
            break
        assert len(page["entries"]) >= 4
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=%00", "after"),
        ("after=-1", "after"),
        ("tag=", "tag"),
        ("answer=x", "answer"),
        ("older_than=30", "older_than"),
        ("older_than=1y", "older_than"),
        ("frm=x", "frm"),
    ],
)
async def test_what_means_nothing_is_refused(query: str, param: str, asked: Asked) -> None:
    async with asked.get(f"/cache/entries?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


# --- forgetting ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ({"tag": "x"}, "cd"),
        ({"route": "two"}, "acd"),
        ({"tenant": "acme"}, "abd"),
        ({"model": "other"}, "abc"),
        ({"older_than": "1h"}, "abc"),
        ({"all": "1"}, ""),
    ],
)
async def test_entries_are_forgotten(
    query: dict[str, str], left: str, asked: Asked, kept: Stores
) -> None:
    made = {
        "a": entry("a", tags=("x",)),
        "b": entry("b", tags=("x", "y"), route="two"),
        "c": entry("c", tenant=tenant_mark(KEY, "acme")),
        "d": entry("d", model="other", created=time.time() - 7200),
    }
    for one in made.values():
        await kept.answers.put(one)
    async with asked.delete("/cache/entries", params=query) as response:
        assert response.status == 200
        assert await response.json() == {"invalidated": 4 - len(left)}
    for name, one in made.items():
        assert (await kept.answers.get(one.head.exact) is not None) is (name in left)
    again = entry("a", tags=("x",))
    assert await kept.answers.put(again), "what is asked for later is kept"


async def test_an_answer_is_forgotten_in_all_its_wordings(asked: Asked, kept: Stores) -> None:
    first = entry("a")
    alias = entry("b", answer=first.head.id)
    other = entry("c")
    for one in (first, alias, other):
        await kept.answers.put(one)
    async with asked.delete(f"/cache/entries/{shown(alias.head.id)}") as response:
        assert await response.json() == {"invalidated": 2}
    assert await ids(asked) == {shown(other.head.id)}


async def test_wordings_of_an_answer_that_is_gone_itself(asked: Asked, kept: Stores) -> None:
    first = entry("a")
    alias = entry("b", answer=first.head.id)
    await kept.answers.put(first)
    await kept.answers.put(alias)
    await kept.answers.drop([first.head.id])
    async with asked.delete(f"/cache/entries/{shown(first.head.id)}") as response:
        assert await response.json() == {"invalidated": 1}
    assert await kept.answers.get(alias.head.exact) is None


@pytest.mark.parametrize(
    "query",
    ["", "tag=x&route=y", "tag=x&tag=y", "all=1&tag=x", "all=0", "all=yes", "tga=x", "tag="],
)
async def test_nothing_is_forgotten_by_mistake(query: str, asked: Asked, kept: Stores) -> None:
    await kept.answers.put(entry("a", tags=("x",), route="y"))
    async with asked.delete(f"/cache/entries?{query}") as response:
        assert response.status == 400
    assert len(await ids(asked)) == 1


# --- who asks, and of what ----------------------------------------------------------------


async def test_a_service_without_a_cache(opened: Open) -> None:
    asked = await opened(application(expose, parts, Admin()))
    for method, path in (
        ("GET", "/cache/stats"),
        ("GET", "/cache/entries"),
        ("GET", "/cache/entries/0123456789abcdef"),
        ("DELETE", "/cache/entries?all=1"),
        ("POST", "/cache/entries"),
        ("GET", "/cache/export"),
    ):
        status, error = await refused(asked, method, path)
        assert (status, error["message"]) == (404, "this service keeps no answers")


async def test_only_who_may(kept: Stores, opened: Open) -> None:
    await kept.answers.put(entry("a"))
    guarded = await opened(app(kept, "right"))
    for headers in ({}, {"authorization": "Bearer wrong"}):
        async with guarded.delete("/cache/entries?all=1", headers=headers) as response:
            assert response.status == 401
    far = await opened(app(kept, peer=lambda _: "192.0.2.1"))
    status, _ = await refused(far, "GET", "/cache/entries")
    assert status == 403
    assert (await kept.answers.stats()).entries == 1
    async with guarded.delete(
        "/cache/entries?all=1", headers={"authorization": "Bearer right"}
    ) as response:
        assert response.status == 200
