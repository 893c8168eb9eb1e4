"""Pairs of questions and answers into the cache and out of it, over the admin port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import openai.types.chat
import openai.types.responses
import pytest

from extproc.admin.cache import CacheAdmin
from extproc.admin.capabilities import Admin
from extproc.admin.http import application
from extproc.cache import CacheAway, Vectors
from extproc.cache.embedders import EmbedderError
from extproc.cache.embedders.static import StaticEmbedder
from extproc.cache.index import Index
from extproc.cache.index.filling import unpacked
from extproc.cache.index.memory import MemoryIndex
from extproc.cache.replay import Asker, events
from extproc.cache.words import Words
from extproc.policy import CachePolicy
from extproc.state.answers import shown
from extproc.state.memory_answers import MemoryAnswers
from tests.unit.admin.caching import got, kept, refused, sent
from tests.unit.admin.conftest import Asked, Open
from tests.unit.admin.entries import KEY, WORDS, chat, entry, exact_key
from tests.unit.admin.serving import Stores, app, expose, parts, stores

__all__ = ["kept"]


# --- pairs --------------------------------------------------------------------------------


async def test_a_pair_is_found_by_the_request_that_asks_it(asked: Asked, kept: Stores) -> None:
    line = {"question": "What is the capital of France?", "answer": "Paris."}
    found = await sent(asked, [line], defaults={"route": "chat", "model": "gpt", "tags": ["geo"]})
    assert found == {"imported": 1, "over": 0, "wrong": []}
    body = chat("What is the capital of France?", stream=True, n=1)
    one = await kept.answers.get(exact_key(body))
    assert one is not None
    completion = openai.types.chat.ChatCompletion.model_validate_json(one.value)
    assert completion.choices[0].message.content == "Paris."
    assert completion.choices[0].finish_reason == "stop"
    head = one.head
    assert (head.route, head.model, head.tags, head.kind) == ("chat", "gpt", ("geo",), "factual")
    assert head.expires - head.created == 30 * 86_400
    assert (head.target, head.provider_model, head.tenant, head.cost) == ("", "", "", 0)


async def test_an_imported_entry_meets_other_wordings(asked: Asked, kept: Stores) -> None:
    await sent(asked, [{"question": "Who are you?", "answer": "Me", "route": "r", "model": "gpt"}])
    (placed,) = [one async for batch in kept.answers.vectors() for one in batch]
    embedder = StaticEmbedder()
    assert placed.embedder == embedder.id
    row = unpacked(placed.vector, embedder.dim)
    assert row is not None
    (there,) = await embedder.embed(["Who are you?"])
    assert float(row.dot(there)) > 0.999
    one = await kept.answers.find(placed.id)
    assert one is not None
    assert WORDS.opened(one) == "Who are you?"
    assert one.head.text == WORDS.mark("Who are you?")
    assert b"Who are you" not in one.head.meta


@pytest.mark.parametrize(
    ("line", "body", "where"),
    [
        ({"system": "Be brief."}, {"messages": [{"role": "system", "content": "Be brief."},
                                                {"role": "user", "content": "Q?"}]}, {}),
        ({"fields": {"temperature": 0.2, "seed": 7}}, {"temperature": 0.2, "seed": 7}, {}),
        ({"tenant": "acme"}, {}, {"tenant": "acme"}),
        ({"route": "other"}, {}, {"route": "other"}),
        ({"model": "big"}, {"model": "big"}, {}),
        ({"headers": {"X-Portkey-Cache-Namespace": "n"}}, {},
         {"headers": {"x-portkey-cache-namespace": "n"}}),
        ({"question": None, "request": chat("Q?", top_p=0.5, stream=True)}, {"top_p": 0.5}, {}),
    ],
)  # fmt: skip
async def test_what_shapes_the_answer_is_part_of_the_pair(
    line: dict[str, Any], body: dict[str, Any], where: dict[str, Any], asked: Asked, kept: Stores
) -> None:
    said = {"question": "Q?", "answer": "A", "route": "chat", "model": "gpt", **line}
    assert (await sent(asked, [said]))["imported"] == 1
    assert await kept.answers.get(exact_key({**chat("Q?"), **body}, **where)) is not None
    assert await kept.answers.get(exact_key(chat("Q?"))) is None


async def test_each_format(asked: Asked, kept: Stores) -> None:
    one: dict[str, Any] = {
        "question": "Q?", "answer": "A", "route": "chat", "model": "m", "system": "S"
    }  # fmt: skip
    lines: list[dict[str, Any]] = [
        {**one, "format": "messages", "fields": {"max_tokens": 100}},
        {**one, "format": "responses"},
        {**one, "format": "completions", "system": None},
    ]
    assert await sent(asked, lines) == {"imported": 3, "over": 0, "wrong": []}
    user = [{"role": "user", "content": [{"type": "text", "text": "Q?"}]}]
    bodies: dict[str, dict[str, Any]] = {
        "messages": {"model": "m", "max_tokens": 100, "system": "S", "messages": user},
        "responses": {"model": "m", "instructions": "S", "input": "Q?"},
        "completions": {"model": "m", "prompt": "Q?"},
    }
    found = {}
    for name, body in bodies.items():
        kept_one = await kept.answers.get(exact_key(body, format_=name))
        assert kept_one is not None, name
        found[name] = kept_one.value
        assert b"A" in events(kept_one.value, name, Asker())
        shown_one = await got(asked, f"/cache/entries/{shown(kept_one.head.id)}", answer="1")
        assert shown_one["answer"] == "A"
    message = anthropic.types.Message.model_validate_json(found["messages"])
    assert (message.content[0].type, message.stop_reason) == ("text", "end_turn")
    response = openai.types.responses.Response.model_validate_json(found["responses"])
    assert response.output_text == "A"
    completion = openai.types.Completion.model_validate_json(found["completions"])
    assert completion.choices[0].text == "A"


async def test_policies_decide_of_what_is_kept_and_for_whom(asked: Asked, kept: Stores) -> None:
    one: dict[str, Any] = {"question": "What does it cost?", "answer": "A", "model": "gpt"}
    lines = [
        {**one, "route": "users", "user": "anna"},
        {**one, "route": "users"},
        {**one, "route": "everybody"},
        {**one, "route": "tags", "tags": ["own"]},
        {**one, "route": "off"},
        {**one, "route": "unknown"},
        {**one, "route": "tags", "fields": {"temperature": 1.5}},
        {**one, "route": "tags", "answer": "x" * 400, "question": "Long?"},
    ]
    policies = {
        "users": {"mode": "exact", "scope": "user"},
        "everybody": {"mode": "exact", "scope": "shared"},
        "tags": {"mode": "exact", "tags": ["all"], "ttl": {"dynamic": 60}, "max_entry_bytes": 500},
        "off": None,
    }
    found = await sent(asked, lines, policies=policies, others=None, first=11)
    assert found["imported"] == 2
    assert found["wrong"] == [
        {"line": 11, "message": "object contains unknown field `user`"},
        {"line": 12, "message": "the scope is 'user': nobody's own answers can be imported"},
        {"line": 15, "message": "nothing is kept on its route"},
        {"line": 16, "message": "its route is not known"},
        {"line": 17,
         "message": "is not kept on its route: its temperature is above temperature_max"},
        {"line": 18,
         "message": "is not kept on its route: the answer is longer than max_entry_bytes"},
    ]  # fmt: skip
    body = chat("What does it cost?")
    policy = CachePolicy(mode="exact", scope="shared")
    assert await kept.answers.get(exact_key(body, route="everybody", policy=policy))
    tagged = await kept.answers.get(exact_key(body, route="tags"))
    assert tagged is not None
    assert (tagged.head.tags, tagged.head.kind) == (("all", "own"), "dynamic")
    assert tagged.head.expires - tagged.head.created == 60
    assert tagged.head.embedder == "", "nothing is compared on a route that is exact"


async def test_a_line_over_what_holds_for_all(asked: Asked, kept: Stores) -> None:
    defaults = {"route": "r", "model": "gpt", "ttl": 120, "tags": ["all"], "kind": "dynamic",
                "fields": {"seed": 1, "top_p": 0.5}, "target": "t", "cost": "0.25"}  # fmt: skip
    line = {"question": "Q?", "answer": "A", "ttl": "30d", "tags": ["own"], "kind": "factual",
            "fields": {"seed": 2}, "model": "big"}  # fmt: skip
    assert (await sent(asked, [line], defaults=defaults))["imported"] == 1
    body = chat("Q?", seed=2, top_p=0.5) | {"model": "big"}
    one = await kept.answers.get(exact_key(body, route="r"))
    assert one is not None
    assert (one.head.tags, one.head.kind) == (("all", "own"), "factual")
    assert one.head.expires - one.head.created == pytest.approx(30 * 86_400)
    assert (one.head.target, one.head.cost) == ("t", 250_000_000)


async def test_a_whole_answer_is_kept_as_it_is(asked: Asked, kept: Stores) -> None:
    answer = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        "metadata": {"who": "anna"},
    }  # fmt: skip
    line = {"request": chat("Hello"), "answer": answer, "route": "chat"}
    assert (await sent(asked, [line]))["imported"] == 1
    one = await kept.answers.get(exact_key(chat("Hello")))
    assert one is not None
    assert json.loads(one.value) == {**answer, "metadata": None}


GOOD = {"question": "Q?", "answer": "A", "route": "chat", "model": "gpt"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no json", "is no JSON"),
        (b'{"question": "Q?"', "is no JSON"),
        (b"[1]", "expected `object`"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"a":' * 100_000, "no JSON|nested"),
        ({"qestion": "Q?"}, "unknown field `qestion`"),
        (GOOD | {"question": None}, "has no question"),
        (GOOD | {"question": "  "}, "has no question"),
        (GOOD | {"answer": None}, "has no answer"),
        (GOOD | {"answer": ""}, "has no answer"),
        (GOOD | {"answer": 5}, "answer"),
        (GOOD | {"route": None}, "has no route"),
        (GOOD | {"route": "a\nb"}, "route: up to"),
        (GOOD | {"route": "r" * 300}, "route: up to"),
        (GOOD | {"model": None}, "has no model"),
        (GOOD | {"tags": ["a b"]}, "tags: 'a b' is not a tag"),
        (GOOD | {"tags": [f"t{n}" for n in range(17)]}, "tags: 17 of them"),
        (GOOD | {"ttl": 0.5}, "ttl: "),
        (GOOD | {"ttl": "2 years"}, "ttl: "),
        (GOOD | {"ttl": "366d"}, "ttl: "),
        (GOOD | {"cost": -1}, "cost: "),
        (GOOD | {"cost": "free"}, "cost: "),
        (GOOD | {"kind": "gossip"}, "kind: no 'gossip'"),
        (GOOD | {"format": "embeddings"}, "format: "),
        (GOOD | {"format": "fax"}, "format: "),
        (GOOD | {"format": "messages"}, "has no max_tokens"),
        (GOOD | {"format": "completions", "system": "S"}, "system: "),
        (GOOD | {"headers": {"x-other": "1"}}, "headers: 'x-other' says nothing"),
        (GOOD | {"headers": {"x-tollgate-cache": "no-store"}}, "headers: "),
        (GOOD | {"headers": {"x-tollgate-cache-scope": "shared"}}, "wider than this route"),
        (GOOD | {"request": chat("Q?")}, "a question and a request"),
        (GOOD | {"question": None, "request": {"model": "gpt"}}, "is no request"),
        (GOOD | {"question": None, "request": {"model": "gpt", "messages": 5}}, "is no request"),
        (GOOD | {"question": None, "request": []}, "is no request"),
        (GOOD | {"question": None, "request": chat("Q?", n=2)}, "more than one answer"),
        (GOOD | {"fields": {"temperature": "hot"}}, "is no request"),
        (GOOD | {"answer": {}}, "answer is none of its format"),
        (GOOD | {"answer": {"choices": [{"message": {"content": "x"}}]}}, "did not come to its"),
        (GOOD | {"answer": {"choices": [{"finish_reason": "length", "message": {
            "content": "x"}}]}}, "the answer was cut"),
        (GOOD | {"answer": {"error": {"message": "x"}}}, "the answer is an error"),
        ({"head": {}, "value": ""}, "is no entry: no 'id'"),
        ({"head": {"id": 1}, "value": ""}, "is no entry"),
        ({"head": {"oops": 1}, "value": ""}, "is no entry: unknown field 'oops'"),
        ({"head": {}}, "missing required field `value`"),
    ],
)  # fmt: skip
async def test_a_wrong_line_is_named_and_leaves_nothing(
    line: dict[str, Any] | bytes, why: str, asked: Asked, kept: Stores
) -> None:
    first = GOOD | {"question": "First?"}
    last = GOOD | {"question": "Last?"}
    found = await sent(asked, [first, b"", line, last])
    assert found["imported"] == 2
    (wrong,) = found["wrong"]
    assert wrong["line"] == 3
    assert any(one in wrong["message"] for one in why.split("|")), wrong
    assert (await kept.answers.stats()).entries == 2


async def test_importing_again_replaces(asked: Asked, kept: Stores) -> None:
    await sent(asked, [GOOD, GOOD])
    assert (await kept.answers.stats()).entries == 1
    first = await kept.answers.get(exact_key(chat("Q?")))
    assert first is not None
    alias = entry("alias", answer=first.head.answer, value=first.value)
    await kept.answers.put(alias)
    await sent(asked, [GOOD])
    assert await kept.answers.find(alias.head.id) is not None, "it still says the same"
    again = await kept.answers.get(exact_key(chat("Q?")))
    assert again is not None
    other = entry("other wording", answer=again.head.answer, value=again.value)
    await kept.answers.put(other)
    await sent(asked, [GOOD | {"answer": "Another"}])
    assert await kept.answers.find(other.head.id) is None, "the old answer is served to nobody"
    new = await kept.answers.get(exact_key(chat("Q?")))
    assert new is not None
    assert b"Another" in new.value


# --- batches ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"frist": 1}, "import"),
        ({"policies": {"r": {"mode": "sometimes"}}}, "import"),
        ({"defaults": {"ttl": []}}, "import"),
        ({"policies": {"chat": {"mode": "exact", "audit": 2}}}, "policies"),
    ],
)
async def test_settings_that_cannot_be(
    settings: dict[str, Any], param: str, asked: Asked, kept: Stores
) -> None:
    found = await sent(asked, [GOOD], 400, **settings)
    assert found["error"]["param"] == param
    assert (await kept.answers.stats()).entries == 0


async def test_bodies_that_are_no_batch(asked: Asked) -> None:
    async with asked.post("/cache/entries", data=b"x", headers={"content-type": "text/plain"}) as r:
        assert r.status == 415
    found = await sent(asked, [b"{}"] * 1002, 413)
    assert "1000 lines" in found["error"]["message"]
    assert await sent(asked, []) == {"imported": 0, "over": 0, "wrong": []}


class Slow(StaticEmbedder):
    """Away for the first times that it is asked."""

    def __init__(self, away: int) -> None:
        super().__init__()
        self.away = away

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self.away:
            self.away -= 1
            raise CacheAway("not now")
        return await super().embed(texts)


async def port(opened: Open, cache: CacheAdmin) -> Asked:
    return await opened(application(expose, parts, Admin(cache=cache)))


async def test_an_embedder_that_is_away_for_a_moment(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.admin.cache.importing.PAUSES", (0.0, 0.0))
    store = MemoryAnswers()
    asked = await port(opened, CacheAdmin(store, KEY, WORDS, lambda: Slow(2)))
    assert (await sent(asked, [GOOD]))["imported"] == 1
    asked = await port(opened, CacheAdmin(MemoryAnswers(), KEY, WORDS, lambda: Slow(3)))
    assert "import again" in (await sent(asked, [GOOD], 503))["error"]["message"]
    assert (await sent(asked, [GOOD]))["imported"] == 1


async def test_an_embedder_that_cannot_be_had(opened: Open) -> None:
    def make() -> StaticEmbedder:
        raise EmbedderError("run 'tollgate models build minilm'")

    asked = await port(opened, CacheAdmin(MemoryAnswers(), KEY, WORDS, make))
    assert "models build" in (await sent(asked, [GOOD], 503))["error"]["message"]
    exact = {"chat": {"mode": "exact"}}
    assert (await sent(asked, [GOOD], policies=exact))["imported"] == 1


async def test_an_index_that_workers_share_is_told(opened: Open) -> None:
    indexes: list[Index] = []

    def make(name: str, dim: int) -> Index:
        indexes.append(MemoryIndex(name, dim))
        return indexes[0]

    store = MemoryAnswers()
    cache = CacheAdmin(store, KEY, WORDS, StaticEmbedder, make)
    asked = await port(opened, cache)
    await sent(asked, [GOOD, GOOD | {"question": "Other?"}])
    assert len(indexes) == 1
    one = await store.get(exact_key(chat("Q?")))
    assert one is not None
    (vector,) = await StaticEmbedder().embed(["Q?"])
    (near,) = await indexes[0].search(one.head.family, vector, 1, within=5.0)
    assert near.entry == one.head.id
    await cache.close()


# --- export -------------------------------------------------------------------------------


async def exported(asked: Asked, **query: str) -> list[bytes]:
    async with asked.get("/cache/export", params=query) as response:
        assert response.status == 200
        assert response.content_type == "application/x-ndjson"
        return (await response.read()).splitlines()


async def test_an_export_is_put_back_as_it_was(
    asked: Asked, kept: Stores, opened: Open, tmp_path: Path
) -> None:
    lines = [GOOD | {"question": f"Question {n}?", "tags": ["even"] * (n % 2 == 0)}
             for n in range(70)]  # fmt: skip
    assert (await sent(asked, lines))["imported"] == 70
    odd = entry("no json", value=b"\xff\x00", tags=("raw",), meta=b"\x01\x02", text=b"\x03")
    await kept.answers.put(odd)
    title, *rest = await exported(asked)
    assert json.loads(title)["export"]
    assert len(rest) == 71
    assert b"Question 7?" not in b"".join(rest), "what was asked stands nowhere"
    (tmp_path / "other").mkdir()
    async with stores(tmp_path / "other") as other:
        there = await opened(app(other))
        assert (await sent(there, [title, *rest]))["imported"] == 71
        assert (await sent(there, [title, *rest]))["imported"] == 71
        assert (await other.answers.stats()).entries == 71
        ours = {one.id: one async for batch in kept.answers.vectors() for one in batch}
        theirs = {one.id: one async for batch in other.answers.vectors() for one in batch}
        assert ours == theirs
        assert len(theirs) == 70
        for one in (*ours, odd.head.id):
            assert await other.answers.find(one) == await kept.answers.find(one)
    some = await exported(asked, tag="even")
    assert len(some) == 36
    assert len(await exported(asked, tag="raw")) == 2


async def test_another_secrets_entries_are_of_no_use(
    asked: Asked, kept: Stores, opened: Open
) -> None:
    await sent(asked, [GOOD])
    lines = await exported(asked)
    other = b"another secret of 32 bytes, too."
    store = MemoryAnswers()
    there = await port(opened, CacheAdmin(store, other, Words(other), StaticEmbedder))
    found = await sent(there, lines, 409, first=5)
    assert found["error"]["line"] == 5
    assert "another key secret" in found["error"]["message"]
    found = await sent(there, lines[1:], 409, first=200, title=json.loads(lines[0]))
    assert "another key secret" in found["error"]["message"]
    changed = json.loads(lines[0]) | {"export": "tollgate-cache-0"}
    assert "other keys" in (await sent(asked, [changed], 409))["error"]["message"]
    assert (await store.stats()).entries == 0
    assert (await kept.answers.stats()).entries == 1


async def test_entries_whose_time_is_over(asked: Asked, kept: Stores) -> None:
    await sent(asked, [GOOD])
    _, line = await exported(asked)
    over = json.loads(line)
    over["head"]["expires"] = time.time() - 1
    assert await sent(asked, [over]) == {"imported": 0, "over": 1, "wrong": []}
    for name, value in (("expires", time.time() + 400 * 86_400), ("created", time.time() + 1e6),
                        ("exact", "00"), ("tags", ["a b"]), ("cost", -1), ("id", "x")):  # fmt: skip
        changed = json.loads(line)
        changed["head"][name] = value
        found = await sent(asked, [changed])
        assert (found["imported"], len(found["wrong"])) == (0, 1), name
    assert (await kept.answers.stats()).entries == 1


async def test_two_exports_at_a_time(asked: Asked, kept: Stores) -> None:
    going, both = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def vectors() -> AsyncIterator[Sequence[Any]]:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await going.wait()
        nothing: list[Sequence[Any]] = []
        for one in nothing:
            yield one

    kept.answers.vectors = vectors  # type: ignore[method-assign]
    running = [asyncio.create_task(exported(asked)) for _ in range(2)]
    async with asyncio.timeout(10):
        await both.wait()
    status, _ = await refused(asked, "GET", "/cache/export")
    assert status == 429
    going.set()
    assert [len(one) for one in await asyncio.gather(*running)] == [1, 1]
    assert len(await exported(asked)) == 1
