"""The guard of a worker: requests and answers, sessions, and what happens when a part is away."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard import BlockedError, Finding, GuardError, Scan, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.guarded import Guarded, Watch
from extproc.guard.local import LocalScanner, RememberingScan, Threads
from extproc.guard.placeholders import MOST_RESTORED
from extproc.guard.remembered import Remembered
from extproc.guard.room import Guard
from extproc.guard.rules import rules
from extproc.guard.sessions import Sessions
from extproc.guard.together import Both
from extproc.policy import GuardPolicy
from extproc.state import StateError
from extproc.state.memory import MemoryMappings
from tests.unit.guard.inline import Inline

T = TypeVar("T")
KEY = b"a key of sixteen bytes or more"
NAME = re.compile(r"Z[a-z]{3,}")
"""What the tests' detector takes for a person: words with a capital Z."""


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
        sessions = Sessions(self.store, KEY, Inline())
        self.guard = Guard(self.names, sessions, KEY, Inline(), self.told)
        wanted = rules(GuardPolicy(**policy), None)
        assert wanted is not None
        self.watch = self.guard.watch(wanted)

    async def ask(self, *texts: str, session: str | None = None, owner: str = "o") -> Guarded:
        guarded = Guarded(self.watch, body(*texts))
        await self.guard.request(guarded, "chat", (owner, session) if session else None)
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
            assert sent(await room.ask("I am Zara", session="s")) == ["I am <PERSON_1>"]
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


@pytest.mark.parametrize("odd", [b"{oops", b'{"a": "Zeno", "a": "Zeno"}', b"[" * 99 + b"]" * 99])
async def test_an_answer_that_cannot_be_read_passes_only_where_nobody_looks(odd: bytes) -> None:
    room = Fixture()
    guarded = await room.ask("I am Zara")
    assert await room.guard.answer(guarded, odd, "chat") == odd
    for policy in ({"direction": "both"}, {"direction": "response", "actions": {"PERSON": "flag"}}):
        room = Fixture(**policy)
        guarded = await room.ask("I am Zara")
        with pytest.raises(GuardError):
            await room.guard.answer(guarded, odd, "chat")
    room = Fixture(direction="both", on_failure="open")
    guarded = await room.ask("I am Zara")
    assert await room.guard.answer(guarded, odd, "chat") == odd
    assert guarded.unguarded


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


async def test_numbers_do_not_move_when_a_conversation_grows() -> None:
    room = Fixture()

    async def turn(*texts: str) -> dict[str, Any]:
        asked = {
            "messages": [{"role": "user", "content": text} for text in texts],
            "metadata": {"user_id": "Zuri"},
            "system": "Be kind to Zelda",
        }
        guarded = Guarded(room.watch, msgspec.json.encode(asked))
        await room.guard.request(guarded, "messages")
        found: dict[str, Any] = json.loads(guarded.body)
        return found

    first, second = await turn("I am Zara"), await turn("I am Zara", "And Zeno?")
    assert first["system"] == second["system"] == "Be kind to <PERSON_1>"
    assert first["messages"][0] == second["messages"][0]
    assert second["messages"][1]["content"] == "And <PERSON_3>?"


async def test_many_requests_of_a_session_at_once_all_get_through() -> None:
    room = Fixture()
    names = [f"Z{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}ra" for n in range(100)]
    done = await asyncio.gather(*(room.ask(f"I am {name}", session="s") for name in names))
    assert {sent(one)[0] for one in done} == {f"I am <PERSON_{n}>" for n in range(1, 101)}
    assert not room.told.parts


async def test_what_one_detector_found_counts_when_the_other_is_away() -> None:
    async def ours(texts: Sequence[Text]) -> list[list[Finding]]:
        return await Names().find(texts)

    async def away(_: Sequence[Text]) -> list[list[Finding]]:
        raise GuardError("away")

    for policy in ({"on_failure": "open"}, {}):
        room = Fixture(**policy)
        threads = Threads()
        both = Both(ours, away, DetectorPolicy(), threads)
        room.watch = Watch(room.watch.rules, RememberingScan(both, Remembered(KEY), threads))
        for _ in range(2):  # nothing of it is remembered
            if policy:
                guarded = await room.ask("I am Zara")
                assert sent(guarded) == ["I am <PERSON_1>"]
                assert guarded.unguarded
            else:
                with pytest.raises(GuardError):
                    await room.ask("I am Zara")
        threads.close()


async def test_signed_thinking_stays_to_the_letter_and_is_told_of() -> None:
    room = Fixture()
    block = {"type": "thinking", "thinking": "Is Zara <PERSON_1>?", "signature": "c2lnbmF0dXJl"}
    said = {"type": "text", "text": "Hello Zara"}
    asked = {"messages": [{"role": "assistant", "content": [block, said]}]}
    guarded = Guarded(room.watch, msgspec.json.encode(asked))
    await room.guard.request(guarded, "messages")
    content = json.loads(guarded.body)["messages"][0]["content"]
    assert content[0] == block
    assert content[1]["text"] == "Hello <PERSON_1>"
    assert guarded.counts["PERSON", "flag", "request"] == 1
    room = Fixture(actions={"PERSON": "block"})
    with pytest.raises(BlockedError):
        await room.guard.request(Guarded(room.watch, msgspec.json.encode(asked)), "messages")


async def test_a_participants_name_has_no_brackets() -> None:
    room = Fixture()
    asked = {"messages": [{"role": "user", "name": "Zara", "content": "I am Zara"}]}
    guarded = Guarded(room.watch, msgspec.json.encode(asked))
    await room.guard.request(guarded, "chat")
    message = json.loads(guarded.body)["messages"][0]
    assert (message["name"], message["content"]) == ("PERSON_1", "I am <PERSON_1>")


async def test_what_the_provider_fetches_keeps_its_secrets() -> None:
    watch = LocalScanner()
    room = Fixture()
    link = (
        "https://b.s3.amazonaws.com/a.png?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={'AKIA'}{'IOSFODNN7EXAMPLE'}%2F20261123&X-Amz-Signature={'a1b2' * 16}"
    )
    wanted = room.watch.rules
    room.watch = Watch(wanted, watch.scan(wanted.detector))
    part = {"type": "image_url", "image_url": {"url": link}}
    guarded = Guarded(room.watch, msgspec.json.encode({"messages": [{"content": [part]}]}))
    await room.guard.request(guarded, "chat")
    assert json.loads(guarded.body)["messages"][0]["content"][0] == part
    personal = {
        "type": "image_url",
        "image_url": {"url": link.replace("?", "?for=mary@corp.example&")},
    }
    guarded = Guarded(room.watch, msgspec.json.encode({"messages": [{"content": [personal]}]}))
    await room.guard.request(guarded, "chat")
    assert b"mary@corp.example" not in guarded.body
    await watch.close()


async def test_what_stands_in_json_in_json_is_found() -> None:
    room = Fixture()
    inner = json.dumps({"name": "\u00dcber Zara\u00e4h"})
    asked = {"messages": [{"role": "tool", "content": json.dumps({"content": [{"text": inner}]})}]}
    names = re.compile(r"Z\w+")

    class Wide(Names):
        async def find(self, texts: Sequence[Text]) -> list[list[Finding]]:
            return [
                [Finding(*one.span(), "PERSON", 0.9) for one in names.finditer(text.value)]
                for text in texts
            ]

    room.watch = Watch(room.watch.rules, Wide())
    guarded = Guarded(room.watch, msgspec.json.encode(asked))
    await room.guard.request(guarded, "chat")
    content = json.loads(json.loads(guarded.body)["messages"][0]["content"])
    assert json.loads(content["content"][0]["text"]) == {"name": "\u00dcber <PERSON_1>"}


async def test_an_answer_of_a_few_words_cannot_become_gigabytes() -> None:
    room = Fixture(patterns={"long": "Q+"}, words={})
    scanner = LocalScanner()
    wanted = room.watch.rules
    room.watch = Watch(wanted, scanner.scan(wanted.detector))
    guarded = await room.ask("Q" * 3_000_000)
    said = await room.answer(guarded, "<CUSTOM_LONG_1> " * 1_000)
    assert len(said) < MOST_RESTORED + 20_000
    assert said.count("<CUSTOM_LONG_1>") > 900
    assert said.startswith("Q")
    await scanner.close()


async def test_pictures_are_barred_where_only_answers_are_looked_through() -> None:
    room = Fixture(direction="response", images="block")
    part = {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}
    asked = msgspec.json.encode({"messages": [{"content": [part]}]})
    with pytest.raises(BlockedError):
        await room.guard.request(Guarded(room.watch, asked), "chat")
    guarded = await room.ask("I am Zara")
    assert sent(guarded) == ["I am Zara"]
    assert not guarded.counts
