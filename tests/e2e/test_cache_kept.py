"""What is not kept of requests and answers, and what hits do not count against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import ONLY, USAGE, Clients, is_kept, kept, said, scripted
from tests.e2e.cache_gateways import CACHE, Cached, cached_gateway, fresh, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import at_rest, record
from tests.e2e.limits_gateways import code

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cached_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    with cached_gateway(tmp_path_factory.mktemp("kept")) as found:
        yield found


@pytest.fixture
def cached(cached_one: Cached) -> Cached:
    """The gateway, with the simulator's record empty."""
    cached_one.gateway.forget()
    return cached_one


CLOCK: Json = {"type": "function", "function": {"name": "clock"}}
CALL: Json = {"tools": [{"name": "clock", "arguments": {}}], "usage": USAGE}


@pytest.mark.parametrize(
    ("route", "asked", "reason"),
    [
        ("cold", {"temperature": 0.31}, "temperature"),
        ("cold", {}, "temperature"),
        ("exact", {"temperature": 1.5}, "temperature"),
        ("exact", {"n": 2}, "several"),
        ("user", {}, "scope"),
    ],
)
def test_a_request_that_has_no_part(route: str, asked: Json, reason: str, cached: Cached) -> None:
    text, before = fresh(), figures(cached.gateway)
    assert [cached.told(text, route, **asked) for _ in range(2)] == ["bypass"] * 2
    assert cached.asked() == 2
    only = cached.chat(text, route, headers=ONLY, **asked)
    assert code(only) == (504, "not_cached")
    name = "tollgate_cache_requests_total"
    poll(
        lambda: figures(cached.gateway).sum(name, outcome="bypass", reason=reason)
        - before.sum(name, outcome="bypass", reason=reason) == 3,
        what="figures of what had no part",
    )  # fmt: skip


def test_a_cold_request(cached: Cached) -> None:
    assert where(cached.warm(fresh(), "cold", temperature=0.3)) == "hit"


@pytest.mark.parametrize(
    ("route", "script", "reason", "asked"),
    [
        ("exact", {"text": "Well and", "finish": "length"}, "truncated", {}),
        ("exact", {"text": "Well", "finish": "content_filter"}, "refused", {}),
        ("exact", CALL, "tool_calls", {"tools": [CLOCK]}),
        ("small", {"text": "word " * 600}, "too_large", {}),
        ("exact", {"text": ""}, "empty", {}),
    ],
)
def test_an_answer_that_is_not_kept(
    route: str, script: Json, reason: str, asked: Json, cached: Cached
) -> None:
    texts, before = [fresh(), fresh()], figures(cached.gateway)
    for text, streams in zip(texts, (False, True), strict=True):
        answer = cached.chat(text, route, script=script, stream=streams, **asked)
        assert answer.status_code == 200, answer.text
    name = "tollgate_cache_not_stored_total"
    wanted = before.sum(name, reason=reason) + 2
    poll(
        lambda: figures(cached.gateway).sum(name, reason=reason) == wanted,
        what=f"an answer not kept: {reason}",
    )
    assert not any(is_kept(cached, text, route, **asked) for text in texts)


THINKING: Json = {"thinking": "Let me see.", "text": "Yes.", "usage": USAGE}
SCHEMA: Json = {"type": "object", "properties": {"place": {"type": "string"}}}
TWO: Json = {
    "tools": [
        {"name": "clock", "arguments": {"place": "Łódź"}}, {"name": "clock", "arguments": {}},
    ],
    "usage": USAGE,
}  # fmt: skip


def _message(clients: Clients, text: str, headers: Any, *, streams: bool, tools: bool) -> Any:
    asked: Any = {
        "model": "claude", "max_tokens": 4000, "extra_headers": headers,
        "messages": [{"role": "user", "content": text}],
    }  # fmt: skip
    if tools:
        asked["tools"] = [{"name": "clock", "input_schema": SCHEMA}]
    else:
        asked["thinking"] = {"type": "enabled", "budget_tokens": 2000}
    if not streams:
        return clients.anthropic.messages.create(**asked)
    with clients.anthropic.messages.stream(**asked) as events:
        return events.get_final_message()


def _response(clients: Clients, text: str, headers: Any, *, streams: bool, tools: bool) -> Any:
    asked: Any = {"model": "gpt-five", "input": text, "extra_headers": headers}
    if tools:
        asked["tools"] = [{"type": "function", "name": "clock", "parameters": SCHEMA}]
    else:
        asked["reasoning"] = {"effort": "low", "summary": "auto"}
    if not streams:
        return clients.openai.responses.create(**asked)
    with clients.openai.responses.stream(**asked) as events:
        return events.get_final_response()


def _chat(clients: Clients, text: str, headers: Any, *, streams: bool, tools: bool) -> Any:
    asked: Any = {
        "model": "claude", "messages": [{"role": "user", "content": text}],
        "extra_headers": headers,
    }  # fmt: skip
    if tools:
        asked["tools"] = [{**CLOCK, "function": {"name": "clock", "parameters": SCHEMA}}]
    else:
        asked["reasoning_effort"] = "low"
    if not streams:
        return clients.openai.chat.completions.create(**asked)
    options: Any = {"include_usage": True}
    with clients.openai.chat.completions.stream(**asked, stream_options=options) as events:
        return events.get_final_completion()


def _plain(answer: Any) -> Any:
    """All that was said, without what only one of an SDK's two ways of reading adds."""
    found = answer.model_dump(exclude_none=True)
    for one in found.get("output", ()):
        one.pop("parsed_arguments", None)
        for part in one.get("content", ()):
            part.pop("parsed", None)
    for choice in found.get("choices", ()):
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        choice["message"].pop("parsed", None)
    found["usage"].pop("cost", None)  # stands in a stream that was paid for
    keys = ("id", "model", "content", "stop_reason", "choices", "output", "status", "usage")
    return {key: found[key] for key in keys if key in found}


@pytest.mark.parametrize("first", [False, True], ids=["whole-first", "streamed-first"])
@pytest.mark.parametrize("tools", [False, True], ids=["thinking", "tools"])
@pytest.mark.parametrize("ask", [_message, _response, _chat])
def test_thinking_and_calls(ask: Any, tools: bool, first: bool, cached: Cached) -> None:
    """They are read the same, whichever way they came; calls only where the route keeps them."""
    text = fresh()
    with Clients.of(cached, "tools") as clients:
        say = partial(ask, clients, text, tools=tools)
        came = _plain(say(scripted(**(TWO if tools else THINKING)), streams=first))
        for streams in (not first, first):
            again = partial(say, streams=streams)
            assert _plain(kept(again)) == came
    assert ("clock" in str(came)) == tools
    assert cached.asked() == 1


def test_counting_is_no_answer(cached: Cached) -> None:
    text = fresh()
    with Clients.of(cached) as clients:
        for _ in range(2):
            counted = clients.anthropic.messages.with_raw_response.count_tokens(
                model="claude", messages=[{"role": "user", "content": text}]
            )
            assert counted.headers[CACHE] == "bypass"
    assert cached.asked() == 2


WRONG: list[Json] = [
    {"status": 500},
    {"status": 400, "message": "No."},
    {"text": "a b c d", "stop_early": 2},
    {"text": "a b c d", "error_at": 2},
    {"text": "a b c d", "reset": 2},
    {"first_event_error": True},
    {"garbage": "truncated_json"},
]


def test_answers_that_went_wrong(cached: Cached) -> None:
    """Whole or as a stream; whoever asks next asks the provider."""
    texts: dict[str, Json] = {}
    for script in WRONG:
        for streams in (True, False):
            texts[text := fresh()] = script
            with suppress(httpx.RemoteProtocolError):  # cut, as the provider's was
                cached.chat(text, script=script, stream=streams)
    at_rest(cached.gateway)
    asked = cached.asked()
    for text, script in texts.items():
        assert not is_kept(cached, text), script
        assert said(cached.chat(text, said="Well.")) == "Well."
    assert cached.asked() == asked + len(texts)


def test_a_client_that_leaves(cached: Cached) -> None:
    """What it has not read to the end is not kept."""
    text = fresh()
    script = {"text": "word " * 50, "rate": 20, "usage": USAGE}
    body = {
        "model": "gpt", "messages": [{"role": "user", "content": text}], "stream": True,
    }  # fmt: skip
    head = {**cached.head(), **scripted(**script)}
    url = f"{cached.gateway.url}/chat/completions"
    with cached.gateway.http.stream("POST", url, json=body, headers=head) as answer:
        next(answer.iter_lines())
        name = answer.headers["x-tollgate-request-id"]
    found = record(cached.gateway, name)
    assert found["aborted"]
    assert not is_kept(cached, text)


def test_hits_count_against_no_limit(cached: Cached) -> None:
    """Two requests an hour, and a thousand tokens a day."""
    one, script = cached.other(), {"text": "Yes.", "usage": {"input": 400, "output": 50}}
    text = fresh()
    assert one.told(text, "limited", script=script) == "miss"
    poll(lambda: is_kept(one, text, "limited"), what="the answer to be kept")
    assert [one.told(text, "limited") for _ in range(5)] == ["hit"] * 5
    assert one.told(fresh(), "limited", script=script) == "miss"
    at_rest(cached.gateway)
    refused = one.chat(fresh(), "limited")
    assert code(refused) == (429, "rate_limit_exceeded")
    assert [one.told(text, "limited") for _ in range(3)] == ["hit"] * 3
    assert cached.asked() == 2
