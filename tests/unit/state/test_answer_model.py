"""Whatever is done in whatever order, every store does what memory does."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.state.answers import CacheStore, Entry, Match, Room, shown
from tests.unit.state.answer_stores import NOW, Follower, Subject, entry, key, opened
from tests.unit.state.test_answers import all_of

NAMES = range(6)
TAGS = ("x", "y")
ROUTES = ("chat", "support")
ROOM = Room(entries=5, bytes=9000)

puts: st.SearchStrategy[tuple[Any, ...]] = st.tuples(
    st.just("put"),
    st.sampled_from(NAMES),
    st.builds(
        dict,
        size=st.sampled_from((0, 211, 1709, 5003, 9000)),
        vector=st.booleans(),
        tags=st.sets(st.sampled_from(TAGS)).map(lambda one: tuple(sorted(one))),
        route=st.sampled_from(ROUTES),
        age=st.sampled_from((0.0, 7.0)),
        life=st.sampled_from((3.0, 1e6)),
        cost=st.sampled_from((0, 1_009, 1_000_003)),
        since=st.sampled_from(("", "now", "before")),
        of=st.sampled_from((None, *NAMES)),
    ),
)
forgets = st.tuples(
    st.just("forget"),
    st.one_of(
        st.builds(Match, st.just("tag"), st.sampled_from(TAGS)),
        st.builds(Match, st.just("route"), st.sampled_from(ROUTES)),
        st.just(Match("older", repr(NOW - 3))),
        st.just(Match("all")),
        st.sampled_from(NAMES),
    ),
)
others = st.one_of(
    st.tuples(st.just("touch"), st.sampled_from(NAMES), st.sampled_from((0, 5, 1_000_003))),
    st.tuples(st.just("drop"), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.sampled_from((1.0, 2.5))),
    st.tuples(st.just("tidy")),
    st.tuples(st.just("mark")),
    st.tuples(st.just("follow")),
)
steps = st.lists(st.one_of(puts, puts, forgets, others), max_size=40)


class Pair:
    """A store and memory, to which the same is done."""

    def __init__(self, subject: Subject, model: Subject) -> None:
        self._both = (subject, model)
        self._before = ["", ""]
        self._followers = [Follower(one.other) for one in self._both]
        self._last: dict[int, Entry] = {}
        """What was put last under each name, kept or not."""

    async def do(self, step: tuple[Any, ...]) -> None:
        what, *given = step
        answers = await self._done(what, given)
        assert answers[0] == answers[1], step

    async def _done(self, what: str, given: list[Any]) -> list[Any]:
        if what == "put":
            return await self._put(*given)
        answers: list[Any] = []
        for at, subject in enumerate(self._both):
            if what == "wait":
                subject.now += given[0]
                answers.append(None)
            elif what == "tidy":
                answers.append(await subject.tidy())  # type: ignore[func-returns-value]
            elif what == "mark":
                self._before[at] = await subject.other.cursor()
            elif what == "follow":
                answers.append(await self._followers[at].follow())  # type: ignore[func-returns-value]
            else:
                answers.append(await self._entries(subject.other, what, given))
        return answers or [None, None]

    async def _entries(self, store: CacheStore, what: str, given: list[Any]) -> int:
        name, *more = given
        last = self._last.get(name) if isinstance(name, int) else None
        if what == "forget":
            answer = Match("answer", shown(last.head.answer if last else 1))
            return await store.forget(answer if isinstance(name, int) else name)
        if what == "drop":
            return await store.drop([last.head.id] if last else [])
        if last is not None:
            store.touch(last.head.id, *more)
            await store.flush()
        return 0

    async def _put(self, name: int, said: dict[str, Any]) -> list[bool]:
        now = self._both[0].now
        original = self._last.get(said["of"])
        other = {"answer": original.head.answer} if original else {}
        made = entry(
            name,
            b"%d" % len(self._last) * said["size"],
            b"vector" if said["vector"] else b"",
            tags=said["tags"],
            route=said["route"],
            created=now - said["age"],
            expires=now + said["life"],
            cost=said["cost"],
            **other,
        )
        answers = []
        for at, subject in enumerate(self._both):
            since = {"": "", "now": await subject.other.cursor(), "before": self._before[at]}
            of = original.head.id if original else 0
            answers.append(await subject.one.put(made, since=since[said["since"]], of=of))
        self._last[name] = made
        return answers

    async def check(self) -> None:
        subject, model = self._both
        for name in NAMES:
            assert await subject.other.get(key(name)) == await model.one.get(key(name))
        for one in self._last.values():
            assert await subject.one.find(one.head.id) == await model.one.find(one.head.id)
            shown_as = await subject.one.show(one.head.id)
            assert shown_as == await model.one.show(one.head.id)
        found, wanted = [{one.head.id: one for one in await all_of(both)} for both in self._both]
        assert found == wanted
        assert await subject.other.stats() == await model.one.stats()

    async def check_followers(self) -> None:
        for follower in self._followers:
            await follower.follow()
        found, wanted = (
            {one: made for one, made in each.placed.items() if made.expires > self._both[0].now}
            for each in self._followers
        )
        assert found == wanted
        if self._followers[0].reloads == self._followers[1].reloads == 1:
            assert self._followers[0].forgotten == self._followers[1].forgotten


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@settings(max_examples=60)
@given(steps=steps)
def test_every_store_does_what_memory_does(
    request: pytest.FixtureRequest, kind: str, steps: list[tuple[Any, ...]]
) -> None:
    url = str(request.getfixturevalue("redis_url")) if kind == "redis" else ""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            async with (
                opened(kind, path, url, ROOM, 1000) as subject,
                opened("memory", path, "", ROOM, 1000) as model,
            ):
                pair = Pair(subject, model)
                await pair.do(("follow",))
                for step in steps:
                    await pair.do(step)
                    await pair.check()
                await pair.check_followers()

    asyncio.run(run())
