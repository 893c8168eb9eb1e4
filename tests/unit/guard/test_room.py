"""The guard of a worker: requests and answers, sessions, and what happens when a part is away."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard import BlockedError, Finding, GuardError, Scan, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.room import Guard, Guarded
from extproc.guard.rules import rules
from extproc.guard.sessions import Sessions
from extproc.policy import GuardPolicy
from extproc.state import StateError
from extproc.state.memory import MemoryMappings

T = TypeVar("T")
KEY = b"a key of sixteen bytes or more"
NAME = re.compile(r"Z[a-z]{3,}")
"""What the tests' detector takes for a person: words with a capital Z."""


class Inline:
    async def work(self, size: int, call: Callable[[], T]) -> T:  # noqa: ARG002 - the door's shape
        return call()


class Told:
    def __init__(self) -> None:
        self.parts: list[str] = []

    def failed(self, part: str) -> None:
        self.parts.append(part)


class Names:
    """Finds names, and lets others run meanwhile; or is away."""

    def __init__(self) -> None:
        self.away = False

    def scan(self, policy: DetectorPolicy) -> Scan:  # noqa: ARG002 - the door's shape
        return self

    async def find(self, texts: Sequence[Text]) -> list[list[Finding]]:
        if self.away:
            raise GuardError("away")
        await asyncio.sleep(0)
        return [
            [Finding(*one.span(), "PERSON", 0.9) for one in NAME.finditer(text.value)]
            for text in texts
        ]

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Fixture:
    def __init__(self, **policy: Any) -> None:
        self.names, self.told, self.store = Names(), Told(), MemoryMappings()
        self.guard = Guard(self.names, Sessions(self.store, KEY), KEY, Inline(), self.told)
        wanted = rules(GuardPolicy(**policy), None)
        assert wanted is not None
        self.watch = self.guard.watch(wanted)

    async def ask(self, *texts: str, session: str | None = None, owner: str = "o") -> Guarded:
        guarded = Guarded(self.watch, body(*texts))
        await self.guard.request(guarded, "chat", owner, session)
        return guarded

    async def answer(self, guarded: Guarded, text: str) -> str:
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        out = await self.guard.answer(guarded, msgspec.json.encode(answer), "chat")
        return str(json.loads(out)["choices"][0]["message"]["content"])


def body(*texts: str) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    return msgspec.json.encode({"model": "m", "messages": messages})


def sent(guarded: Guarded) -> list[str]:
    return [one["content"] for one in json.loads(guarded.body)["messages"]]


async def test_a_name_found_once_is_replaced_everywhere() -> None:
    room = Fixture()
    guarded = await room.ask("Zara's dog", "zara, ZARA and Zara", "nothing")
    assert sent(guarded) == ["<PERSON_1>'s dog", "zara, ZARA and <PERSON_1>", "nothing"]
    assert guarded.private
    assert "Zara" not in repr(guarded)


async def test_nothing_found_changes_no_byte() -> None:
    room = Fixture()
    guarded = await room.ask("hello <PERSON_1>")
    assert guarded.body == body("hello <PERSON_1>")
    assert not guarded.reads_answers
    assert await room.answer(guarded, "hi <PERSON_1>") == "hi <PERSON_1>"


async def test_what_looks_like_a_placeholder_is_not_one() -> None:
    room = Fixture()
    guarded = await room.ask("Zara said <PERSON_1> and <person_1>")
    assert sent(guarded) == ["<PERSON_1> said <PERSON_2> and <PERSON_2_2>"]
    assert (
        await room.answer(guarded, "<PERSON_2><PERSON_1><PERSON_9>") == "<PERSON_1>Zara<PERSON_9>"
    )


async def test_two_requests_of_a_session_at_once_share_numbers_and_lose_none() -> None:
    room = Fixture()
    names = ["Zara", "Zeno", "Zita", "Zora", "Zuri", "Zack"]
    done = await asyncio.gather(*(room.ask(f"I am {name}", session="s") for name in names))
    placeholders = {sent(one)[0] for one in done}
    assert placeholders == {f"I am <PERSON_{n}>" for n in range(1, len(names) + 1)}
    last = await room.ask("who are we?", session="s")
    said = await room.answer(last, " ".join(f"<PERSON_{n}>" for n in range(1, len(names) + 1)))
    assert sorted(said.split()) == sorted(names)


async def test_a_session_is_its_owners_alone() -> None:
    room = Fixture()
    await room.ask("I am Zara", session="s", owner="one")
    other = await room.ask("I am Zeno", session="s", owner="two")
    assert await room.answer(other, "<PERSON_1>") == "Zeno"


async def test_what_is_kept_shows_nothing() -> None:
    room = Fixture()
    await room.ask("I am Zara", session="my-session")
    kept = repr(vars(room.store))
    assert "Zara" not in kept
    assert "my-session" not in kept


async def test_without_restore_placeholders_stay() -> None:
    room = Fixture(restore=False)
    guarded = await room.ask("I am Zara")
    assert await room.answer(guarded, "<PERSON_1>") == "<PERSON_1>"


async def test_away_is_closed_unless_the_route_says_open() -> None:
    room = Fixture()
    room.names.away = True
    with pytest.raises(GuardError):
        await room.ask("I am Zara")
    assert room.told.parts == ["detector"]
    room = Fixture(on_failure="open")
    room.names.away = True
    guarded = await room.ask("I am Zara")
    assert guarded.unguarded
    assert sent(guarded) == ["I am Zara"]


async def test_a_store_that_is_away_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StateError("away")

    for policy in ({}, {"on_failure": "open"}):
        room = Fixture(**policy)
        monkeypatch.setattr(room.store, "get", away)
        if policy:
            assert (await room.ask("I am Zara", session="s")).unguarded
        else:
            with pytest.raises(GuardError):
                await room.ask("I am Zara", session="s")
        assert room.told.parts == ["store"]
        assert sent(await room.ask("I am Zara")) == ["I am <PERSON_1>"]


async def test_flag_and_ignore_change_nothing_and_only_one_is_counted() -> None:
    room = Fixture(actions={"PERSON": "flag"})
    guarded = await room.ask("I am Zara")
    assert sent(guarded) == ["I am Zara"]
    assert guarded.counts == {("PERSON", "flag", "request"): 1}
    room = Fixture(actions={"PERSON": "ignore"})
    assert not (await room.ask("I am Zara")).counts


async def test_hashed_and_masked_values_go_from_every_place_too() -> None:
    room = Fixture(actions={"PERSON": "hash"})
    guarded = await room.ask("Zara and Zara", "x")
    first, second = re.findall(r"PERSON#[0-9a-f]+", sent(guarded)[0])
    assert first == second
    assert not guarded.mapping


async def test_blocked_names_type_and_place() -> None:
    room = Fixture(actions={"PERSON": "block"})
    with pytest.raises(BlockedError) as caught:
        await room.ask("x", "I am Zara")
    assert (caught.value.type, caught.value.place) == ("PERSON", "messages[1].content")
    assert "Zara" not in str(caught.value)


async def test_answers_are_looked_through_before_values_come_back() -> None:
    room = Fixture(direction="both")
    guarded = await room.ask("I am Zara")
    assert await room.answer(guarded, "<PERSON_1> met Zeno") == "Zara met <PERSON>"
    assert guarded.counts["PERSON", "redact", "response"] == 1
    room = Fixture(direction="response", actions={"PERSON": "block"})
    guarded = await room.ask("I am Zara")
    assert sent(guarded) == ["I am Zara"]
    with pytest.raises(BlockedError):
        await room.answer(guarded, "this is Zeno")


async def test_answers_are_open_or_closed_as_requests_are() -> None:
    room = Fixture(direction="response", on_failure="open")
    guarded = await room.ask("hi")
    room.names.away = True
    assert await room.answer(guarded, "this is Zeno") == "this is Zeno"
    room = Fixture(direction="response")
    guarded = await room.ask("hi")
    room.names.away = True
    with pytest.raises(GuardError):
        await room.answer(guarded, "this is Zeno")


async def test_an_answer_that_is_no_json_is_its_callers_to_judge() -> None:
    room = Fixture()
    guarded = await room.ask("I am Zara")
    assert await room.guard.answer(guarded, b"{oops", "chat") == b"{oops"


WORDS = st.lists(
    st.sampled_from(["Zara", "Zeno", "<PERSON_1>", "&lt;PERSON_1&gt;", "<", "\\", '"', "é", "\n"])
    | st.text(max_size=4),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4))
def test_what_goes_up_comes_back(texts: list[str]) -> None:
    async def there_and_back() -> list[str]:
        room = Fixture()
        guarded = await room.ask(*texts)
        return [await room.answer(guarded, one) for one in sent(guarded)]

    assert run(there_and_back()) == texts


def run(what: Awaitable[T]) -> T:
    async def wrapped() -> T:
        return await what

    return asyncio.run(wrapped())
