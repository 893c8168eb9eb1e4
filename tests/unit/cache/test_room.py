"""The cache of a worker with its real parts, without a gateway around it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extproc import catalogue
from extproc.cache.control import Control
from extproc.cache.fingerprint import Place, asked, fields, scope_key
from extproc.cache.index import Near
from extproc.cache.question import Question
from extproc.cache.replay import Asker
from extproc.cache.room import Cache, Came
from extproc.cache.rules import rules
from extproc.cache.settings import Caching
from extproc.cache.storable import Unfit
from extproc.caching import OpenCache
from extproc.policy import CachePolicy
from extproc.state import StateError
from extproc.state.answers import Match
from extproc.stores import Keeping, open_stores
from extproc.telemetry import Telemetry

TARGETS = {"gpt": "gpt-4o"}
SCOPE = scope_key(b"secret", "tenant", tenant=None) or b""


def question(text: str, *, control: Control = Control(), **policy: Any) -> Question:  # noqa: B008 - it is frozen
    found = rules(CachePolicy(**{"mode": "semantic", "audit": 0, **policy}), None)
    assert found is not None
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    given = fields(json.dumps(body).encode())
    place = Place(format="chat", route="r", scope=SCOPE)
    return Question(
        rules=found,
        control=control,
        asked=asked(given, place),
        asker=Asker.of("chat", given),
        format="chat",
        route="r",
        model="m",
        tenant="",
        scope=SCOPE,
        kind="default",
        targets=TARGETS,
        started=time.time(),
    )


def answer(text: str, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}


async def keep(cache: Cache, asked: Question, text: str, *, target: str = "gpt") -> None:
    async def came() -> Came | Unfit:
        return Came(tree=answer(text), target=target, model=TARGETS.get(target, ""), cost=1000)

    cache.keep(asked, came)
    await cache.settled()


async def put(cache: Cache, text: str, said: str, **more: Any) -> Question:
    """Ask, be answered by the provider, and have that kept."""
    asked = question(text, **more)
    assert await cache.look(asked) is None
    await keep(cache, asked, said)
    return asked


async def ready(cache: Cache) -> None:
    """Wait until the semantic half has all that is in the store."""
    async with asyncio.timeout(20):
        while (found := cache.semantics()) is None or not found.following.ready:  # noqa: ASYNC110 - the room tells nobody
            await asyncio.sleep(0.01)


async def alike(cache: Cache, text: str, **more: Any) -> str | None:
    """What is served to a question; looked for until the index has what was put."""
    async with asyncio.timeout(5):
        while True:
            asked = question(text, **more)
            served = await cache.look(asked)
            if asked.follows:
                served = await cache.waited(asked) or await cache.alike(asked)
            asked.leave()
            if served is not None:
                said: str = json.loads(served.entry.value)["choices"][0]["message"]["content"]
                return said
            if asked.reason not in ("empty", "filling", "gone"):
                return None
            await asyncio.sleep(0.02)


def opened(folder: Path, **wanted: Any) -> OpenCache:
    stores = open_stores(Keeping(data=str(folder), ledger=False))
    return OpenCache(stores, Caching(**wanted), Telemetry().cache, catalogue.load())


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[OpenCache]:
    found = opened(tmp_path)
    await found.start()
    yield found
    await found.stop()


async def test_other_words_find_it_and_another_name_does_not(room: OpenCache) -> None:
    cache = room.cache
    await ready(cache)
    await put(cache, "What is the capital of France?", "Paris", verifier="threshold")
    near = {"verifier": "threshold", "threshold": 0.8}
    assert await alike(cache, "What's the capital city of France?", **near) == "Paris"
    assert await alike(cache, "What is the capital of Spain?", **near) is None


async def test_what_is_forgotten_is_served_no_more(room: OpenCache) -> None:
    cache = room.cache
    await ready(cache)
    first = await put(cache, "What is the capital of France?", "Paris", verifier="threshold")
    assert await alike(cache, "What is the capital of France?") == "Paris"
    await cache.store.forget(Match("route", "r"))
    assert await cache.look(question("What is the capital of France?")) is None
    asked = question("What's the capital city of France?", verifier="threshold", threshold=0.5)
    assert await cache.look(asked) is None
    assert first.asked.family == asked.asked.family


async def test_an_entry_whose_words_are_known_is_not_served_once_it_is_gone(
    room: OpenCache,
) -> None:
    cache = room.cache
    near: dict[str, Any] = {"verifier": "threshold", "threshold": 0.8}
    await ready(cache)
    await put(cache, "What is the capital of France?", "Paris", **near)
    assert await alike(cache, "What's the capital city of France?", **near) == "Paris"
    semantics = cache.open_semantics
    assert semantics is not None
    await semantics.following.stop()  # the index and what is known of questions stay as they are
    assert len(semantics.known) == 1
    await cache.store.forget(Match("route", "r"))
    for words in ("What's the capital of France?", "What's the capital city of France?"):
        asked = question(words, **near)
        assert await cache.look(asked) is None
        assert asked.reason == "gone"
        asked.leave()
    assert len(semantics.known) == 0


async def test_the_store_away_takes_nothing_out_of_the_index(
    room: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = room.cache
    near: dict[str, Any] = {"verifier": "threshold", "threshold": 0.8}
    await ready(cache)
    await put(cache, "What is the capital of France?", "Paris", **near)
    assert await alike(cache, "What's the capital city of France?", **near) == "Paris"
    semantics = cache.open_semantics
    assert semantics is not None

    async def away(_: int) -> None:
        raise StateError("away")

    for known in (True, False):
        if not known:
            semantics.known.drop([one.entry for one in await _near(cache, "capital of France?")])
        with monkeypatch.context() as patch:
            patch.setattr(cache.store, "find", away)
            asked = question("What's the capital of France, please?", **near)
            assert await cache.look(asked) is None
            asked.leave()
        await asyncio.sleep(0)
        assert await alike(cache, "What's the capital city of France?", **near) == "Paris"


async def _near(cache: Cache, text: str) -> list[Near]:
    semantics = cache.open_semantics
    assert semantics is not None
    asked = question(text)
    (vector,) = (await semantics.embedder.embedded([text])).vectors
    return await semantics.index.search(asked.asked.family, vector, 8)


async def test_what_comes_after_its_like_was_forgotten_is_not_kept(room: OpenCache) -> None:
    asked = question("Old?", mode="exact")
    await room.cache.look(asked)
    await room.cache.store.forget(Match("all"))
    await keep(room.cache, asked, "old")
    assert await room.cache.look(question("Old?", mode="exact")) is None


async def test_refresh_replaces_what_other_words_would_have_found(room: OpenCache) -> None:
    cache, near = room.cache, {"verifier": "threshold", "threshold": 0.8}
    await ready(cache)
    await put(cache, "What is the capital of France?", "Paris", **near)
    assert await alike(cache, "What's the capital city of France?", **near) == "Paris"
    anew = Control(read=False, refresh=True)
    again = question("What's the capital city of France?", control=anew, **near)
    assert await cache.look(again) is None
    await keep(cache, again, "Lyon")
    assert await alike(cache, "What's the capital city of France?", **near) == "Lyon"
    assert await alike(cache, "What is the capital of France?", **near) == "Lyon"


async def test_it_is_there_after_a_restart_and_vectors_are_never_mixed(tmp_path: Path) -> None:
    near = {"verifier": "threshold", "threshold": 0.8}
    one = opened(tmp_path)
    await one.start()
    await ready(one.cache)
    await put(one.cache, "What is the capital of France?", "Paris", **near)
    await one.stop()
    two = opened(tmp_path)
    await two.start()
    await ready(two.cache)
    assert await alike(two.cache, "What's the capital city of France?", **near) == "Paris"
    semantics = two.cache.open_semantics
    assert semantics is not None
    await two.stop()


async def test_an_answer_of_another_target_is_not_served(room: OpenCache) -> None:
    asked = question("Which?", mode="exact")
    await room.cache.look(asked)
    await keep(room.cache, asked, "a fallback's", target="llama")
    again = question("Which?", mode="exact")
    assert await room.cache.look(again) is None
    again.leave()
    again = question("Which?", mode="exact")
    again.targets = {"llama": "llama-3"}
    assert await room.cache.look(again) is not None


async def test_an_answer_of_a_model_that_was_there_before_is_not_served(room: OpenCache) -> None:
    await put(room.cache, "Which model?", "the old one's", mode="exact")
    again = question("Which model?", mode="exact")
    again.targets = {"gpt": "gpt-5"}
    assert await room.cache.look(again) is None
    again.leave()
    assert await room.cache.look(question("Which model?", mode="exact")) is not None


async def test_who_follows_gets_what_came(room: OpenCache) -> None:
    first, second = (question("At once?", mode="exact") for _ in range(2))
    assert await room.cache.look(first) is None
    assert not first.follows
    assert await room.cache.look(second) is None
    assert second.follows
    waiting = asyncio.ensure_future(room.cache.waited(second))
    await keep(room.cache, first, "once")
    served = await asyncio.wait_for(waiting, 1)
    assert served is not None
    assert served.outcome == "hit"


async def test_what_cannot_be_kept_frees_who_follows(room: OpenCache) -> None:
    async def unfit() -> Came | Unfit:
        return Unfit.TRUNCATED

    async def broken() -> Came | Unfit:
        raise RuntimeError("a mistake")

    for number, came in enumerate((unfit, broken)):
        first, second = (question(f"At once {number}?", mode="exact") for _ in range(2))
        await room.cache.look(first)
        await room.cache.look(second)
        waiting = asyncio.ensure_future(room.cache.waited(second))
        room.cache.keep(first, came)
        assert await asyncio.wait_for(waiting, 1) is None


async def test_a_store_that_is_away_is_a_miss(
    room: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StateError("away")

    for name in ("get", "find", "put", "cursor"):
        monkeypatch.setattr(room.cache.store, name, away)
    asked = question("Away?", mode="exact")
    assert await room.cache.look(asked) is None
    await keep(room.cache, asked, "lost")
    monkeypatch.undo()
    again = question("Away?", mode="exact")
    assert await room.cache.look(again) is None
    await keep(room.cache, again, "found")
    assert await room.cache.look(question("Away?", mode="exact")) is not None


async def test_stopping_waits_for_nobody_who_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.cache.room.CLOSING", 0.05)

    async def never() -> Came | Unfit:
        await asyncio.Event().wait()
        raise AssertionError

    room = opened(tmp_path)
    await room.start()
    first, second = (question("At once?", mode="exact") for _ in range(2))
    await room.cache.look(first)
    await room.cache.look(second)
    waiting = asyncio.ensure_future(room.cache.waited(second))
    room.cache.keep(first, never)
    await asyncio.wait_for(room.stop(), 2)
    assert await waiting is None


async def test_what_is_held_until_it_is_kept_is_bounded(room: OpenCache) -> None:
    go = asyncio.Event()

    async def slow() -> Came | Unfit:
        await go.wait()
        return Came(tree=answer("kept"), target="gpt", cost=1)

    large, late = (question(text, mode="exact") for text in ("Large?", "Late?"))
    for one in (large, late):
        await room.cache.look(one)
        room.cache.keep(one, slow, size=300 << 20)
    go.set()
    await room.cache.settled()
    assert await room.cache.look(question("Large?", mode="exact")) is not None
    assert await room.cache.look(question("Late?", mode="exact")) is None


async def test_an_index_that_names_anothers_entry_leads_nowhere(
    room: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Postgres that others can write to."""
    cache = room.cache
    near: dict[str, Any] = {"verifier": "threshold", "threshold": 0.8}
    await ready(cache)
    theirs = await put(cache, "What is the capital of France?", "Paris", **near)
    entry = await cache.store.get(theirs.asked.exact)
    semantics = cache.open_semantics
    assert entry is not None
    assert semantics is not None

    async def lies(*_: Any) -> list[Near]:
        return [Near(entry.head.id, 1.0)]

    monkeypatch.setattr(semantics.index, "search", lies)
    asked = question("What's the capital city of France?", **near)
    assert await cache.look(asked) is not None
    asked = question("What's the capital city of France?", **near)
    asked.asked = replace(asked.asked, family=bytes(32), exact=bytes(32))
    assert await cache.look(asked) is None


async def test_a_mistake_is_logged_without_what_was_asked(
    room: OpenCache, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> Came | Unfit:
        raise ValueError("could not read 'my secret question'")

    asked = question("A mistake?", mode="exact")
    await room.cache.look(asked)
    room.cache.keep(asked, broken)
    await room.cache.settled()
    assert "an answer could not be kept" in caplog.text
    assert "secret" not in caplog.text


async def test_nobody_waits_for_a_store_that_hangs(
    room: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(room.cache.store, "cursor", hangs)
    asked = question("Hangs?", mode="exact")
    assert await asyncio.wait_for(room.cache.look(asked), 1) is None
    await keep(room.cache, asked, "not kept")
    assert (await room.cache.store.stats()).entries == 0
