"""The gateway filter and the cache: exact hits, who shares them, and what is never kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from extproc.filters.gateway import GatewayExchange
from extproc.records import Caller
from extproc.state.answers import Match, read_id
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import STREAMS, chat, openai_chunk, target
from tests.unit.filters.test_gateway import ANSWER, Gateway

CACHE = "x-tollgate-cache"
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-x",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Paris"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
}
PRICED = {"price": {"input": "1", "output": "2"}}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def _ask(
    gateway: Gateway, body: bytes | None = None, headers: dict[str, str] | None = None, **route: Any
) -> tuple[Envoy, GatewayExchange]:
    return await gateway.ask(body or chat(), headers, **{"cache": "exact", **route})


async def _answered(
    gateway: Gateway,
    envoy: Envoy,
    answer: Any = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The provider answers, whole; returns the client's headers."""
    head = {
        "x-tollgate-i-target": "t-openai", "content-type": "application/json", **(headers or {}),
    }  # fmt: skip
    await envoy.head(status, head)
    told = dict(envoy.headers)
    if envoy.answer is None:
        await envoy.chunk(json.dumps(answer or WHOLE).encode(), end=True)
    await envoy.handler.gone()
    await gateway.rooms.cache.settled()
    return told


async def _warm(gateway: Gateway, *args: Any, **route: Any) -> None:
    envoy, _ = await _ask(gateway, *args, **route)
    assert envoy.answer is None
    await _answered(gateway, envoy)


def _where(envoy: Envoy) -> str:
    assert envoy.answer is not None
    return dict(envoy.answer.headers)[CACHE].split(";")[0]


async def test_the_second_is_answered_for_nothing(gateway: Gateway) -> None:
    first, _ = await _ask(gateway)
    assert (await _answered(gateway, first))[CACHE] == "miss"
    envoy, _ = await _ask(gateway)
    answer = envoy.answer
    assert answer is not None
    assert answer.status == 200
    assert json.loads(answer.body) == WHOLE
    head = dict(answer.headers)
    kind, age, entry = head[CACHE].split("; ")
    assert (kind, age) == ("hit", "age=0")
    assert read_id(entry.removeprefix("id="))
    assert head["x-tollgate-cost"] == "0"
    assert head["x-tollgate-target"] == "t-openai"
    miss, hit = gateway.records.kept
    assert miss.cost is not None
    assert (miss.cache, miss.saved) == ("miss", 0)
    assert hit.cost is not None
    assert (hit.cache, hit.saved, hit.cost.total) == ("hit", miss.cost.total, 0)
    assert hit.saved > 0


async def test_without_a_cache_nothing_is_kept(gateway: Gateway) -> None:
    for _ in range(2):
        envoy, _ = await _ask(gateway, cache="off")
        assert envoy.answer is None
        assert (await _answered(gateway, envoy))[CACHE] == "bypass"


async def test_what_came_whole_is_streamed_to_who_wants_that(gateway: Gateway) -> None:
    await _warm(gateway)
    envoy, _ = await _ask(gateway, chat(stream=True))
    assert envoy.answer is not None
    assert dict(envoy.answer.headers)["content-type"] == "text/event-stream"
    events = envoy.answer.body.decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert any('"content":"Paris"' in one for one in events)
    assert "usage" not in envoy.answer.body.decode() or '"usage":null' in events[0]


async def test_what_was_streamed_is_sent_whole(gateway: Gateway) -> None:
    envoy, _ = await _ask(gateway, chat(stream=True))
    await envoy.head(200, {"x-tollgate-i-target": "t-openai", "content-type": "text/event-stream"})
    await envoy.chunks([STREAMS["openai"]])
    await envoy.handler.gone()
    await gateway.rooms.cache.settled()
    again, _ = await _ask(gateway)
    assert again.answer is not None
    found = json.loads(again.answer.body)
    assert found["object"] == "chat.completion"
    assert found["choices"][0]["message"]["content"]


@pytest.mark.parametrize("end", ["cut", "left", "error"])
async def test_a_stream_that_did_not_end_is_not_kept(gateway: Gateway, end: str) -> None:
    envoy, exchange = await _ask(gateway, chat(stream=True))
    await envoy.head(200, {"x-tollgate-i-target": "t-openai", "content-type": "text/event-stream"})
    await envoy.chunk(openai_chunk({"role": "assistant", "content": "Par"}))
    if end == "cut":
        await envoy.chunk(b"", end=True)
    elif end == "error":
        await envoy.chunk(b'data: {"error": {"message": "no", "type": "server_error"}}\n\n')
        await envoy.chunk(b"", end=True)
    await exchange.gone()
    await gateway.rooms.cache.settled()
    again, _ = await _ask(gateway)
    assert again.answer is None


@pytest.mark.parametrize("header", ["no-store", ""])
async def test_streams_are_held_as_far_as_there_is_room(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr("extproc.cache.room.MOST_COLLECTED", 3_000)
    cache, served = gateway.rooms.cache, {"x-tollgate-i-target": "t-openai"}
    head = {**served, "content-type": "text/event-stream"}
    asked = {CACHE: header} if header else {}
    each = [await _ask(gateway, chat(stream=True, seed=at), asked) for at in range(3)]
    for envoy, _ in each:
        await envoy.head(200, head)
        await envoy.chunk(openai_chunk({"role": "assistant", "content": "x" * 1_500}))
    assert (0 if header else 1_500) <= cache.collected <= (0 if header else 3_000)
    for envoy, exchange in each:
        await envoy.chunks([STREAMS["openai"]])
        await exchange.gone()
    await cache.settled()
    assert cache.collected == 0
    assert (await cache.store.stats()).entries == (0 if header else 1)


@pytest.mark.parametrize(
    "answer",
    [
        {**WHOLE, "choices": [{**WHOLE["choices"][0], "finish_reason": "length"}]},  # type: ignore[index]
        {**WHOLE, "choices": [{**WHOLE["choices"][0], "finish_reason": "content_filter"}]},  # type: ignore[index]
        ANSWER,
        {"choices": []},
    ],
    ids=["truncated", "refused", "without an end", "empty"],
)
async def test_an_answer_that_is_not_whole_is_not_kept(gateway: Gateway, answer: Any) -> None:
    envoy, _ = await _ask(gateway)
    await _answered(gateway, envoy, answer)
    again, _ = await _ask(gateway)
    assert again.answer is None


async def test_an_answer_over_the_routes_size_is_not_kept(gateway: Gateway) -> None:
    for most, kept in ((256, False), (2000, True)):
        cache = {"mode": "exact", "max_entry_bytes": most}
        first, _ = await _ask(gateway, cache=cache)
        told = json.loads(json.dumps(WHOLE))
        told["choices"][0]["message"]["content"] = "Paris " * 50
        await _answered(gateway, first, told)
        again, _ = await _ask(gateway, cache=cache)
        assert (again.answer is not None) is kept


async def test_an_error_is_not_kept(gateway: Gateway) -> None:
    envoy, _ = await _ask(gateway)
    await _answered(gateway, envoy, {"error": {"message": "no"}}, status=500)
    again, _ = await _ask(gateway)
    assert again.answer is None


# --- who shares ---------------------------------------------------------------------------


async def test_tenants_have_nothing_in_common(gateway: Gateway) -> None:
    for name in ("one", "two"):
        gateway.known.callers[f"tg-{name}"] = Caller(source="key", key=name, tenant=name)
    keys: dict[str, Any] = {"identity": "keys"}
    await _warm(gateway, None, {"authorization": "Bearer tg-one"}, **keys)
    other, _ = await _ask(gateway, None, {"authorization": "Bearer tg-two"}, **keys)
    assert other.answer is None
    same, _ = await _ask(gateway, None, {"authorization": "Bearer tg-one"}, **keys)
    assert _where(same) == "hit"


async def test_of_a_user_or_a_session_that_nobody_names_nothing_is_kept(gateway: Gateway) -> None:
    for scope in ("user", "session"):
        route: dict[str, Any] = {"cache": {"mode": "exact", "scope": scope}}
        await _warm(gateway, **route)
        again, _ = await _ask(gateway, **route)
        assert again.answer is None
        head = {f"x-tollgate-{scope}": "ada"}
        await _warm(gateway, None, head, **route)
        again, _ = await _ask(gateway, None, head, **route)
        assert _where(again) == "hit"
        other, _ = await _ask(gateway, None, {f"x-tollgate-{scope}": "bob"}, **route)
        assert other.answer is None


async def test_two_keys_of_a_tenant_have_no_session_in_common(gateway: Gateway) -> None:
    for name in ("one", "two"):
        gateway.known.callers[f"tg-{name}"] = Caller(
            source="key", key=name, tenant="acme", may_set=frozenset({"session"})
        )
    route: dict[str, Any] = {"identity": "keys", "cache": {"mode": "exact", "scope": "session"}}
    one, two = (
        {"authorization": f"Bearer tg-{name}", "x-tollgate-session": "1"} for name in ("one", "two")
    )
    await _warm(gateway, None, one, **route)
    assert _where((await _ask(gateway, None, one, **route))[0]) == "hit"
    other, _ = await _ask(gateway, None, two, **route)
    assert other.answer is None


async def test_a_wider_scope_than_allowed_is_refused(gateway: Gateway) -> None:
    envoy, _ = await _ask(gateway, None, {"x-tollgate-cache-scope": "shared"})
    assert envoy.answer is not None
    assert envoy.answer.status == 403
    assert json.loads(envoy.answer.body)["error"]["code"] == "cache_scope_not_allowed"


async def test_who_pays_with_a_key_of_his_own_is_served_what_it_bought(gateway: Gateway) -> None:
    route: dict[str, Any] = {"credentials": "caller"}
    one = {"authorization": "Bearer sk-one"}
    await _warm(gateway, None, one, **route)
    assert _where((await _ask(gateway, None, one, **route))[0]) == "hit"
    other, _ = await _ask(gateway, None, {"authorization": "Bearer sk-two"}, **route)
    assert other.answer is None


async def test_a_fallbacks_answer_holds_while_it_serves_this_chain(gateway: Gateway) -> None:
    """Lists of clients are chains of their own."""

    def naming(*names: str) -> bytes:
        return chat(model=names[0], models=list(names[1:]))

    mine, others = naming("t-openai", "t-anthropic"), naming("t-gemini", "t-openai")
    for body, target_ in ((mine, "t-anthropic"), (others, "t-openai")):
        envoy, _ = await _ask(gateway, body)
        await _answered(gateway, envoy, headers={"x-tollgate-i-target": target_})
    for body in (mine, others):
        assert _where((await _ask(gateway, body))[0]) == "hit"
    envoy, _ = await _ask(gateway, naming("t-openai", "t-anthropic", "t-gemini"))
    assert envoy.answer is None


# --- what a request may want --------------------------------------------------------------


async def test_only_if_cached_never_asks(gateway: Gateway) -> None:
    head = {CACHE: "only-if-cached"}
    envoy, _ = await _ask(gateway, None, head)
    assert envoy.answer is not None
    assert envoy.answer.status == 504
    assert json.loads(envoy.answer.body)["error"]["code"] == "not_cached"
    assert not gateway.ledger.reserved
    await _warm(gateway)
    again, _ = await _ask(gateway, None, head)
    assert _where(again) == "hit"


async def test_no_store_and_no_cache(gateway: Gateway) -> None:
    await _warm(gateway, None, {CACHE: "no-store"})
    envoy, _ = await _ask(gateway)
    assert envoy.answer is None
    await _answered(gateway, envoy)
    again, _ = await _ask(gateway, None, {CACHE: "no-cache"})
    assert again.answer is None
    assert (await _answered(gateway, again))[CACHE] == "bypass"


async def test_refresh_puts_the_new_answer_in_the_place_of_the_old(gateway: Gateway) -> None:
    await _warm(gateway)
    envoy, _ = await _ask(gateway, None, {CACHE: "refresh"})
    assert envoy.answer is None
    newer = json.loads(json.dumps(WHOLE).replace("Paris", "Lyon"))
    await _answered(gateway, envoy, newer)
    again, _ = await _ask(gateway)
    assert again.answer is not None
    assert json.loads(again.answer.body) == newer


async def test_what_is_forgotten_while_a_refresh_is_on_its_way_is_not_kept(
    gateway: Gateway,
) -> None:
    await _warm(gateway)
    envoy, _ = await _ask(gateway, None, {CACHE: "refresh", "x-tollgate-tags": "pricing"})
    await gateway.rooms.cache.store.forget(Match("tag", "pricing"))
    await _answered(gateway, envoy, json.loads(json.dumps(WHOLE).replace("Paris", "Lyon")))
    again, _ = await _ask(gateway)
    assert again.answer is None


async def test_a_malformed_wish_is_told_and_costs_nothing(gateway: Gateway) -> None:
    envoy, _ = await _ask(gateway, None, {CACHE: "max-age=soon"})
    assert envoy.answer is not None
    assert envoy.answer.status == 400
    assert CACHE in json.loads(envoy.answer.body)["error"]["message"]


async def test_a_provider_may_say_how_long(gateway: Gateway) -> None:
    envoy, _ = await _ask(gateway)
    told = await _answered(
        gateway,
        envoy,
        headers={"x-tollgate-cache-ttl": "1h", "x-tollgate-cache-kind": "dynamic"},
    )
    assert not [name for name in told if name.startswith("x-tollgate-cache-")]
    page = await gateway.rooms.cache.store.page()
    head = page.entries[0].head
    assert head.kind == "dynamic"
    assert head.expires - head.created == 3600


# --- one flight ---------------------------------------------------------------------------


async def test_fifty_at_once_are_one_request(gateway: Gateway) -> None:
    first, _ = await _ask(gateway)
    others = [asyncio.ensure_future(_ask(gateway)) for _ in range(49)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in others)
    await _answered(gateway, first)
    answers = [(await one)[0] for one in others]
    assert {_where(one) for one in answers} == {"hit"}
    assert all(one.waits for one in answers)
    assert len(gateway.ledger.reserved) == 1


@pytest.mark.parametrize("how", ["error", "left", "unfit"])
async def test_the_first_one_failing_frees_the_others(gateway: Gateway, how: str) -> None:
    first, exchange = await _ask(gateway)
    other = asyncio.ensure_future(_ask(gateway))
    await asyncio.sleep(0.02)
    assert not other.done()
    if how == "error":
        await _answered(gateway, first, {"error": {}}, status=500)
    elif how == "left":
        await exchange.gone()
    else:
        await _answered(gateway, first, ANSWER)
    envoy, _ = await asyncio.wait_for(other, 1)
    assert envoy.answer is None
    assert envoy.passed[-1].levels


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_waits_for_the_rest_of_an_error(gateway: Gateway, *, stream: bool) -> None:
    first, exchange = await _ask(gateway, chat(stream=stream))
    other = asyncio.ensure_future(_ask(gateway))
    await asyncio.sleep(0.02)
    media = "text/event-stream" if stream else "application/json"
    head = {"x-tollgate-i-target": "t-openai", "content-type": media}
    await first.head(200 if stream else 500, head)
    if stream:
        await first.chunk(b'data: {"error": {"message": "no", "type": "server_error"}}\n\n')
    envoy, _ = await asyncio.wait_for(other, 1)
    assert envoy.answer is None
    await exchange.gone()


async def test_who_asks_after_an_invalidation_gets_nothing_of_before(gateway: Gateway) -> None:
    first, _ = await _ask(gateway)
    await gateway.rooms.cache.store.forget(Match("all"))
    other = asyncio.ensure_future(_ask(gateway))
    await asyncio.sleep(0.02)
    assert not other.done()
    await _answered(gateway, first)
    envoy, _ = await asyncio.wait_for(other, 1)
    assert envoy.answer is None


async def test_nobody_waits_longer_than_the_route_says(gateway: Gateway) -> None:
    route: dict[str, Any] = {"cache": {"mode": "exact", "wait": 0.05}}
    first, exchange = await _ask(gateway, **route)
    envoy, _ = await asyncio.wait_for(_ask(gateway, **route), 1)
    assert envoy.answer is None
    await _answered(gateway, first)
    await exchange.gone()


# --- the ledger ---------------------------------------------------------------------------


async def test_what_cannot_be_recorded_is_not_served(gateway: Gateway) -> None:
    await _warm(gateway, ledger="required")
    gateway.ledger.full = True
    envoy, _ = await _ask(gateway, ledger="required")
    assert envoy.answer is not None
    assert envoy.answer.status == 503
    record = gateway.records.kept[-1]
    assert (record.cache, record.saved, record.cache_entry) == ("miss", 0, None)
    served, _ = await _ask(gateway)
    assert _where(served) == "hit"


async def test_what_is_served_is_on_record_as_it_is_kept(gateway: Gateway) -> None:
    await _warm(gateway, record="content")
    await _ask(gateway, record="content")
    _, content = gateway.ledger.settled[-1]
    assert content is not None
    assert "Hello" in content.request
    assert "Paris" in content.answer


# --- the guard ----------------------------------------------------------------------------


def _mail(address: str) -> bytes:
    return json.dumps(
        {"model": "main", "messages": [{"role": "user", "content": f"Write to {address} now."}]}
    ).encode()


async def test_with_values_that_come_back_the_user_is_alone(gateway: Gateway) -> None:
    """Both bodies are the same to the provider."""
    route: dict[str, Any] = {"guard": {}}
    answer = json.loads(json.dumps(WHOLE).replace("Paris", "To <EMAIL_ADDRESS_1>"))
    one, _ = await _ask(gateway, _mail("ada@posteo.example"), {"x-tollgate-user": "ada"}, **route)
    assert b"<EMAIL_ADDRESS_1>" in one.body
    await _answered(gateway, one, answer)
    bob, _ = await _ask(gateway, _mail("bob@posteo.example"), {"x-tollgate-user": "bob"}, **route)
    assert bob.answer is None
    again, _ = await _ask(gateway, _mail("ada@posteo.example"), {"x-tollgate-user": "ada"}, **route)
    assert again.answer is not None
    assert b"To ada@posteo.example" in again.answer.body
    page = await gateway.rooms.cache.store.page()
    entry = await gateway.rooms.cache.store.find(page.entries[0].head.id)
    assert entry is not None
    assert b"ada@" not in entry.value


@pytest.mark.parametrize("mode", [{"actions": {"default": "flag"}}, {"mode": "observe"}])
async def test_what_the_guard_leaves_in_place_keeps_a_request_out(
    gateway: Gateway, mode: dict[str, Any]
) -> None:
    head = {"x-tollgate-user": "ada"}
    for _ in range(2):
        envoy, _ = await _ask(gateway, _mail("ada@posteo.example"), head, guard=mode)
        assert envoy.answer is None
        assert (await _answered(gateway, envoy))[CACHE] == "bypass"


async def test_a_request_that_the_guard_does_not_look_at_is_kept_out(gateway: Gateway) -> None:
    for _ in range(2):
        envoy, _ = await _ask(gateway, _mail("ada@posteo.example"), guard={"direction": "response"})
        assert envoy.answer is None
        assert (await _answered(gateway, envoy))[CACHE] == "bypass"


async def test_an_answer_with_personal_data_is_not_kept(gateway: Gateway) -> None:
    """Though the route's guard looks at requests alone."""
    answer = json.loads(json.dumps(WHOLE).replace("Paris", "Ask eve@posteo.example"))
    envoy, _ = await _ask(gateway, guard={"direction": "request"})
    await _answered(gateway, envoy, answer)
    again, _ = await _ask(gateway, guard={"direction": "request"})
    assert again.answer is None


async def test_an_answer_is_kept_as_the_guard_let_it_pass(gateway: Gateway) -> None:
    answer = json.loads(json.dumps(WHOLE).replace("Paris", "Ask eve@posteo.example"))
    envoy, _ = await _ask(gateway, guard={"direction": "both"})
    await _answered(gateway, envoy, answer)
    again, _ = await _ask(gateway, guard={"direction": "both"})
    assert again.answer is not None
    assert b"eve@" not in again.answer.body
    assert b"<EMAIL_ADDRESS>" in again.answer.body


# --- observing ----------------------------------------------------------------------------


async def test_who_observes_serves_nothing_and_says_what_it_would(gateway: Gateway) -> None:
    route: dict[str, Any] = {"cache": {"mode": "observe"}}
    await _warm(gateway, **route)
    envoy, _ = await _ask(gateway, **route)
    assert envoy.answer is None
    await _answered(gateway, envoy)
    (seen,) = gateway.records.kept[-1].observed
    assert (seen.capability, seen.outcome) == ("cache", "served_from_cache")
    assert read_id(seen.detail)
    assert seen.saved > 0


# --- embeddings ---------------------------------------------------------------------------


def _inputs(*inputs: str) -> bytes:
    return json.dumps({"model": "t-vectors", "input": list(inputs)}).encode()


EMBEDS = {"t-vectors": target("openai", cluster="c", model="text-embedding-3-small")}
AT = {"x-tollgate-i-target": "t-vectors"}
HOST: dict[str, Any] = {"host": {"targets": EMBEDS, "chains": {"main": [{"t-vectors": 1}]}}}


def _vectors(*values: float) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": at, "embedding": [value]}
        for at, value in enumerate(values)
    ]
    tokens = 10 * len(values)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": "gpt-4o-x", "data": data, "usage": usage}


async def test_embeddings_are_known_input_by_input(gateway: Gateway) -> None:
    head = {":path": "/v1/embeddings"}
    first, _ = await _ask(gateway, _inputs("a", "b"), head, **HOST)
    await _answered(gateway, first, _vectors(1, 2), headers=AT)
    some, _ = await _ask(gateway, _inputs("b", "c", "a"), head, **HOST)
    assert json.loads(some.body)["input"] == ["c"]
    await _answered(gateway, some, _vectors(3), headers=AT)
    found = json.loads(some.body)
    assert [one["embedding"] for one in found["data"]] == [[2], [3], [1]]
    assert found["usage"]["prompt_tokens"] == 30
    every, _ = await _ask(gateway, _inputs("c", "a"), head, **HOST)
    assert _where(every) == "hit"
    assert every.answer is not None
    data = json.loads(every.answer.body)["data"]
    assert [one["embedding"] for one in data] == [[3], [1]]


@pytest.mark.parametrize("wish", ["no-cache", "refresh"])
async def test_vectors_that_are_asked_for_anew_are_kept(gateway: Gateway, wish: str) -> None:
    head = {":path": "/v1/embeddings"}
    for value in (1, 2):
        envoy, _ = await _ask(gateway, _inputs("a"), {**head, CACHE: wish}, **HOST)
        assert envoy.answer is None
        await _answered(gateway, envoy, _vectors(value), headers=AT)
    again, _ = await _ask(gateway, _inputs("a"), head, **HOST)
    assert again.answer is not None
    assert json.loads(again.answer.body)["data"][0]["embedding"] == [2]


async def test_nothing_is_saved_where_the_rest_does_not_come(gateway: Gateway) -> None:
    head = {":path": "/v1/embeddings"}
    first, _ = await _ask(gateway, _inputs("a"), head, **HOST)
    await _answered(gateway, first, _vectors(1), headers=AT)
    some, _ = await _ask(gateway, _inputs("a", "b"), head, **HOST)
    await _answered(gateway, some, {"error": {}}, status=500, headers=AT)
    assert [one.saved for one in gateway.records.kept] == [0, 0]


async def test_what_no_vectors_came_for_passes_as_it_is(gateway: Gateway) -> None:
    head = {":path": "/v1/embeddings"}
    envoy, _ = await _ask(gateway, _inputs("a", "b"), head, **HOST)
    await _answered(gateway, envoy, _vectors(1), headers=AT)
    assert json.loads(envoy.body) == _vectors(1)
    again, _ = await _ask(gateway, _inputs("a"), head, **HOST)
    assert again.answer is None
