"""Answers that were given before, through Envoy: in every format, whole and streamed, and what is
told of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import FORMATS, ONLY, SAVED, USAGE, Clients, Read, kept, scripted
from tests.e2e.cache_gateways import CACHE, Cached, cached_gateway, fresh, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import admin, at_rest, dollars, record, rows, told
from tests.e2e.limits_gateways import code

pytestmark = pytest.mark.e2e

TEXT = 'naïve 東京 🚦\n"quoted", then some more words\r\n'


@pytest.fixture(scope="module", params=["embedded", "redis"])
def cached_one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cached]:
    with cached_gateway(tmp_path_factory.mktemp(request.param), store=request.param) as found:
        yield found


@pytest.fixture(scope="module")
def clients(cached_one: Cached) -> Iterator[Clients]:
    with Clients.of(cached_one) as found:
        yield found


@pytest.fixture
def cached(cached_one: Cached) -> Cached:
    """The gateway, with the simulator's record empty."""
    cached_one.gateway.forget()
    return cached_one


# --- every format, whole and streamed -----------------------------------------------------


@pytest.mark.parametrize("first", [False, True], ids=["whole-first", "streamed-first"])
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_whole_and_streamed(
    format_: str, model: str, first: bool, cached: Cached, clients: Clients
) -> None:
    """Whichever way it came, it is served both ways, and read to be the same."""
    text = fresh()
    head = scripted(text=TEXT.strip(), usage=USAGE)
    came = clients.say(format_, model, text, streams=first, headers=head)
    assert came.text == TEXT.strip()
    assert came.usage == (100, 20)

    def again(streams: bool) -> Read:
        return kept(lambda only: clients.say(format_, model, text, streams=streams, headers=only))

    assert again(not first) == came
    assert again(first) == came
    assert cached.asked() == 1


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}])
def test_a_usage_chunk_only_for_who_asks(
    options: Json | None, cached: Cached, clients: Clients
) -> None:
    """Also of an answer that came as a stream which hid it."""
    for format_, model in FORMATS[:4]:
        asked: dict[str, Any] = {"model": model, "stream": True}
        create: Any = clients.openai.completions.create
        if format_ == "chat":
            create = clients.openai.chat.completions.create
            asked["messages"] = [{"role": "user", "content": fresh()}]
        else:
            asked |= {"prompt": fresh(), "max_tokens": 99}
        ask = partial(create, **asked)
        list(ask(extra_headers=scripted(text="Well then.", usage=USAGE)))
        if options is not None:
            ask = partial(ask, stream_options=options)
        chunks = kept(partial(_listed, ask))
        usage = [one for one in chunks if one.usage is not None]
        if options and options["include_usage"]:
            assert usage == [chunks[-1]]
            assert chunks[-1].choices == []
            assert chunks[-1].usage.total_tokens == 120
        else:
            assert usage == []
            assert all(one.choices for one in chunks)
    assert cached.asked() == 4


def _listed(ask: Any, headers: Mapping[str, str]) -> list[Any]:
    return list(ask(extra_headers=headers))


def test_a_conversation(cached: Cached, clients: Clients) -> None:
    """The whole conversation counts, and who said what."""
    text = fresh()
    turns: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": text},
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "The second."},
    ]
    ask = clients.openai.chat.completions.create
    came = ask(model="gpt", messages=turns, extra_headers=scripted(text="Yes."))
    again = kept(lambda only: ask(model="gpt", messages=turns, extra_headers=only))
    assert again.id == came.id
    swapped = [turns[0], turns[3], turns[2], turns[1]]
    for other in (turns[1:], swapped, [*turns[:3], {"role": "user", "content": "The second?"}]):
        body = {"model": "gpt", "messages": other}
        answer = cached.gateway.http.post(
            f"{cached.gateway.url}/chat/completions", json=body, headers={**cached.head(), **ONLY}
        )
        assert code(answer) == (504, "not_cached")
    assert cached.asked() == 1


def test_what_asks_the_same_is_the_same(cached: Cached) -> None:
    """White space and the order of fields of the JSON do not matter, nor who is told to stream."""
    text = fresh("Naïve")
    cached.warm(text, said="Yes.", temperature=1, top_p=0.5)
    cached.gateway.forget()
    head = {**cached.head(), **ONLY}
    spaced = (
        f'{{ "top_p" : 5e-1,\n "messages":[ {{"content": "{text.replace("ï", chr(92) + "u00ef")}", '
        '"role":"user"}],\t"temperature": 1.0, "model":"gpt" , "stream": false}'
    )
    poll(lambda: cached.gateway.raw(spaced.encode(), **head).status_code == 200, what="a hit")
    for more in ({"top_p": 0.6}, {"temperature": 0.9}, {"seed": 1}, {"max_tokens": 9},
                 {"stop": ["x"]}, {"response_format": {"type": "json_object"}}, {"model": "claude"},
                 {"logprobs": True}, {"presence_penalty": 0.1}, {"n": 1, "user": "x", "top_p": 1},
                 {"tools": [{"type": "function", "function": {"name": "clock"}}]}):  # fmt: skip
        asked: Json = {"temperature": 1, "top_p": 0.5, **more}
        other = cached.chat(text, headers=ONLY, **asked)
        assert code(other) == (504, "not_cached"), more
    assert code(cached.chat(text + " ", headers=ONLY, temperature=1, top_p=0.5))[0] == 504
    assert cached.asked() == 0


# --- embeddings ---------------------------------------------------------------------------


def _inputs(cached: Cached) -> list[Any]:
    return [one["body"]["input"] for one in cached.gateway.asked()]


def test_embeddings_by_each_input(cached: Cached, clients: Clients) -> None:
    first, second, third = fresh("a cat"), fresh("a dog"), fresh("a bird")
    create = clients.openai.embeddings.create

    def ask(texts: Any, headers: Any = None, **more: Any) -> list[list[float]]:
        found = create(model="vectors", input=texts, extra_headers=headers, **more)
        assert [one.index for one in found.data] == list(range(len(found.data)))
        return [one.embedding for one in found.data]

    came = ask([first, second])
    assert kept(lambda only: ask([first, second], only)) == came
    # The other way round, and one alone.
    turned = kept(lambda only: ask([second, first, second], only))
    assert turned == [came[1], came[0], came[1]]
    assert kept(lambda only: ask(first, only)) == came[:1]
    assert cached.asked() == 1
    # What is new is asked for, and nothing else.
    raw = clients.openai.embeddings.with_raw_response.create(
        model="vectors", input=[first, third, second]
    )
    assert raw.headers[CACHE] == "miss"
    mixed = [one.embedding for one in raw.parse().data]
    assert [mixed[0], mixed[2]] == came
    assert mixed[1] not in came
    assert _inputs(cached)[1:] == [[third]]
    assert kept(lambda only: ask([third], only)) == [mixed[1]]
    found = record(cached.gateway, raw.headers["x-tollgate-request-id"])
    assert found["cache"] == "miss"
    assert found["saved"] > 0
    raw_create = clients.openai.embeddings.with_raw_response.create
    whole = kept(lambda only: raw_create(model="vectors", input=[third, first], extra_headers=only))
    assert whole.headers[CACHE].startswith("hit")
    assert whole.headers["x-tollgate-cost"] == "0"
    assert cached.asked() == 2


def test_embeddings_of_another_kind_are_others(cached: Cached) -> None:
    text = fresh("a cat")
    url = f"{cached.gateway.url}/embeddings"

    def ask(headers: Json | None = None, **body: Any) -> httpx.Response:
        head = {**cached.head(), **(headers or {})}
        asked = {"model": "vectors", "input": text, **body}
        return cached.gateway.http.post(url, json=asked, headers=head)

    assert ask().status_code == 200
    poll(lambda: ask(ONLY).status_code == 200, what="a vector that is kept")
    assert code(ask(ONLY, dimensions=512)) == (504, "not_cached")
    assert code(ask(ONLY, encoding_format="base64")) == (504, "not_cached")
    assert code(ask(ONLY, input=[text + "!"])) == (504, "not_cached")
    assert ask(input=[1, 2, 3]).status_code == 200
    tokens = poll(
        lambda: next((one for one in [ask(ONLY, input=[[1, 2, 3]])] if one.status_code == 200), 0),
        what="a vector of tokens",
    )
    assert where(tokens) == "hit"


# --- what is told -------------------------------------------------------------------------


def test_what_is_told_of_a_hit(cached: Cached) -> None:
    """Header, ledger, access log and figures say the same: nothing was paid, and what was saved."""
    one = cached.other(tenant=f"tenant-{fresh('x')[2:-1]}")
    gateway, text = cached.gateway, fresh()
    before = figures(gateway)
    script = {"text": "Yes.", "usage": USAGE}
    miss = one.chat(text, script=script)
    assert miss.headers[CACHE] == "miss"
    assert dollars(miss.headers["x-tollgate-cost"]) == SAVED
    hit = one.warm(text)
    assert hit.json() == miss.json()
    assert cached.asked() == 1
    head = hit.headers
    assert head["x-tollgate-cost"] == "0"
    assert (head["x-tollgate-target"], head["x-tollgate-model"]) == ("gpt", "gpt-4o-mini")
    assert head["x-tollgate-attempts"] == "0"
    assert int(parts(hit)["age"]) <= 2
    known = record(gateway, head["x-tollgate-request-id"])
    assert (known["cache"], known["cost"]["total"], known["saved"]) == ("hit", 0, SAVED)
    assert (known["usage"]["input"], known["usage"]["output"]) == (0, 0)
    assert (known["target"], known["provider"]) == (None, None)
    assert (known["cache_kind"], known["cache_entry"]) == ("default", parts(hit)["id"])
    paid = record(gateway, miss.headers["x-tollgate-request-id"])
    assert (paid["cache"], paid["cost"]["total"], paid["saved"]) == ("miss", SAVED, 0)
    line = gateway.access_log(head["x-tollgate-request-id"])
    assert (line["cache"], line["cost_nanousd"], line["attempts"]) == ("hit", 0, 0)
    at_rest(gateway)
    who = ("--where", f"tenant={known['tenant']}", "--by", "cache")
    told_of = {row["cache"]: row for row in rows(gateway, *who)}
    assert told_of["hit"]["cache_hits"] == told_of["hit"]["requests"] >= 1
    assert dollars(told_of["hit"]["saved_usd"]) == SAVED * told_of["hit"]["requests"]
    assert dollars(told_of["hit"]["cost_usd"]) == 0
    assert dollars(told_of["miss"]["cost_usd"]) == SAVED
    after = figures(gateway)

    def more(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    requests = "tollgate_cache_requests_total"
    assert more(requests, outcome="miss") >= 1
    assert more(requests, outcome="hit") == told_of["hit"]["requests"]
    saved = more("tollgate_cache_saved_usd_total")
    assert saved == pytest.approx(told_of["hit"]["requests"] * SAVED / 1e9)
    assert more("tollgate_cache_stored_total", kind="default") == 1
    assert more("tollgate_cost_nanodollars_total") == SAVED * more("tollgate_cache_stored_total")


def test_an_entry_is_shown(cached: Cached) -> None:
    """By the id that the client was told; what was asked is in none of it."""
    text = fresh("Canary")
    hit = cached.warm(text, "tagged", script={"text": "A lighthouse.", "usage": USAGE})
    name = parts(hit)["id"]
    shown = told(cached.gateway, "cache", "show", name, "--answer")
    assert "A lighthouse." in shown
    assert "handbook" in shown
    assert "Canary" not in shown
    found = admin(cached.gateway, f"/cache/entries/{name}").json()
    assert (found["route"], found["model"], found["target"]) == ("tagged", "gpt", "gpt")
    assert (found["kind"], found["tags"]) == ("default", ["handbook"])
    assert found["cost_usd"] == SAVED / 1e9
    assert found["expires"] - found["created"] == pytest.approx(6 * 3600)
    poll(
        lambda: admin(cached.gateway, f"/cache/entries/{name}").json()["hits"] >= 1,
        what="the hit to be counted",
    )
    listed = admin(cached.gateway, "/cache/entries", tag="handbook").json()["entries"]
    assert name in {one["id"] for one in listed}
    assert admin(cached.gateway, "/cache/stats").json()["entries"] >= 1


def test_an_entry_grows_old(cached: Cached) -> None:
    text = fresh()
    first = parts(cached.warm(text))

    def older() -> dict[str, str] | None:
        found = parts(cached.chat(text))
        return found if int(found["age"]) >= 1 else None

    found = poll(older, what="an age of a second")
    assert found["id"] == first["id"]


def test_without_a_cache(cached: Cached) -> None:
    text = fresh()
    assert [cached.told(text, "off") for _ in range(2)] == ["bypass"] * 2
    assert cached.asked() == 2


@pytest.mark.parametrize("route", ["observe", "observed-route"])
def test_where_it_only_looks(route: str, cached: Cached) -> None:
    """It says what it would have done, and the provider is asked."""
    text = fresh()
    script = {"text": "Yes.", "usage": USAGE}

    def seen() -> Json | None:
        answer = cached.chat(text, route, script=script)
        assert answer.headers[CACHE] == "miss"
        found = record(cached.gateway, answer.headers["x-tollgate-request-id"])
        would = [one for one in found["observed"] if one["capability"] == "cache"]
        assert found["cost"]["total"] == SAVED
        return would[0] if would else None

    would = poll(seen, what="what the cache would have served")
    assert would["outcome"] == "served_from_cache"
    assert cached.asked() >= 2
    at_rest(cached.gateway)
    report = told(cached.gateway, "report")
    assert "served_from_cache" in report or "served from cache" in report


def test_a_level_further_down(cached: Cached) -> None:
    """What a fallback has said is served as long as it is what would be asked."""
    text, failing = fresh(), {"by": {"openai": {"status": 500}, "anthropic": {"text": "Second."}}}
    hit = cached.warm(text, model="walk", script=failing)
    assert hit.headers["x-tollgate-target"] == "claude"
    assert hit.json()["choices"][0]["message"]["content"] == "Second."
    # The first level is back, as every worker sees.
    well = {"text": "First."}

    def first() -> bool:
        answer = cached.chat(text, model="walk", script=well, headers={CACHE: "no-store"})
        return where(answer) == "miss" and answer.headers["x-tollgate-target"] == "gpt"

    for _ in range(8):
        cached.chat(fresh(), model="walk", script=well, headers={CACHE: "no-store"})
    assert first()
    again = cached.warm(text, model="walk", script=well)
    assert again.json()["choices"][0]["message"]["content"] == "First."
