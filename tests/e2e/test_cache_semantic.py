"""Questions that were asked before in other words, through Envoy. What they mean is said by an
endpoint that gives two wordings nearly one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import FORMATS, SAVED, USAGE, Clients, Read, kept, said, scripted
from tests.e2e.cache_gateways import CACHE, Cached, parts, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import at_rest, dollars, record, rows, told
from tests.e2e.semantic_gateways import (
    Comparing,
    comparing,
    is_kept_from,
    looked,
    meets,
    only,
    put,
    word,
)

pytestmark = pytest.mark.e2e

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
SCRIPT: Json = {"text": "With wax.", "usage": USAGE}


@pytest.fixture(scope="module")
def all_of_it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparing]:
    with comparing(tmp_path_factory.mktemp("semantic")) as found:
        # The first question opens this half of the cache, and is not compared itself.
        poll(
            lambda: (
                found.cached.chat(f"Is this a {word()}?", "semantic"),
                not looked(found.cached, reason="filling") or only(found.cached, "x") is None,
                looked(found.cached, reason="empty") or looked(found.cached, reason="far"),
            )[-1],
            what="an index",
        )
        yield found


@pytest.fixture
def compared(all_of_it: Comparing) -> Comparing:
    """The gateway, with the simulator's record empty and the endpoint as it was."""
    all_of_it.cached.gateway.forget()
    all_of_it.cached.gateway.behave({})
    all_of_it.endpoint.noise = 0.1
    return all_of_it


@pytest.fixture
def cached(compared: Comparing) -> Cached:
    return compared.cached


def wordings() -> tuple[str, str, str]:
    """Of one question that nobody has asked."""
    what = word()
    return (
        f"How do I clean a {what}?",
        f"Tell me how to clean my {what}",
        f"What is the best way of cleaning a {what}?",
    )


# --- what is said of it ---------------------------------------------------------------------


def test_what_is_told(cached: Cached) -> None:
    """To the client, in the record, in figures and on the bill."""
    one, other, third = wordings()
    before = figures(cached.gateway)
    came = cached.chat(one, "semantic", script=SCRIPT)
    assert where(came) == "miss"
    met = meets(cached, other)
    found = parts(met)
    assert float(found["score"]) == pytest.approx(0.99, abs=0.03)
    assert int(found["age"]) < 60
    assert met.json() == came.json()
    assert met.headers["x-tollgate-cost"] == "0"
    assert met.headers["x-tollgate-target"] == "gpt"
    exact = cached.chat(one, "semantic")
    assert where(exact) == "hit"
    assert parts(exact)["id"] == found["id"]
    assert "score" not in parts(exact)
    assert cached.asked() == 1

    plain = cached.chat(third, "semantic")
    assert where(plain) == "semantic"
    kept_of = record(cached.gateway, plain.headers["x-tollgate-request-id"])
    assert kept_of["cache"] == "semantic"
    assert kept_of["cache_entry"] == found["id"]
    assert kept_of["cache_score"] == pytest.approx(float(parts(plain)["score"]), abs=0.001)
    assert kept_of["saved"] == SAVED
    assert kept_of["cost"]["total"] == 0
    line = cached.gateway.access_log(plain.headers["x-tollgate-request-id"])
    assert line["cache"].startswith("semantic")
    now = figures(cached.gateway)
    name = "tollgate_cache_requests_total"
    assert now.sum(name, outcome="semantic") - before.sum(name, outcome="semantic") == 2
    at_rest(cached.gateway)
    by_cache = {row["cache"]: row for row in rows(cached.gateway, "--by", "cache")}
    assert dollars(by_cache["semantic"]["cost_usd"]) == 0
    assert by_cache["semantic"]["requests"] >= 2


@pytest.mark.parametrize("first", [False, True], ids=["whole-first", "streamed-first"])
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_whole_and_streamed(format_: str, model: str, first: bool, cached: Cached) -> None:
    """Whichever way it came, whoever asks in other words gets it both ways."""
    one, other, third = wordings()
    # Of its own: an answer that was given before stands for both questions.
    head = scripted(text=f"Naïve wax 🚦, then a cloth: {word()}.", usage=USAGE)
    more: Json = {"store": False} if format_ == "responses" else {}
    with Clients.of(cached, "semantic") as clients:
        say = partial(_said, clients, format_, model, more)
        came = say(one, first, head)
        for text, streams in ((other, not first), (third, first)):
            assert kept(partial(say, text, streams)) == came
    assert cached.asked() == 1


def _said(  # noqa: PLR0917 - to be filled in from the left
    clients: Clients, format_: str, model: str, more: Json, text: str, streams: bool,
    headers: Mapping[str, str],
) -> Read:  # fmt: skip
    return clients.say(format_, model, text, streams=streams, headers=headers, **more)


def test_a_response_that_the_provider_keeps(cached: Cached) -> None:
    """Whoever goes on from it would be shown in whose words it was asked for."""
    one, other, _ = wordings()
    with Clients.of(cached, "semantic") as clients:
        say = partial(clients.say, "responses", "gpt-five", streams=False)
        came = say(one, headers=scripted(**SCRIPT))
        assert kept(lambda only: say(one, headers=only)) == came
        say(other, headers=scripted(**SCRIPT))
    assert cached.asked() == 2


# --- what is compared -----------------------------------------------------------------------


def test_only_the_last_turn_in_words(cached: Cached) -> None:
    """What else shapes the answer is the same to the letter."""
    one, other, _ = wordings()
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
    ]

    def ask(text: str, *before: Json, headers: Json | None = None, **more: Any) -> httpx.Response:
        body = {"model": "gpt", "messages": [*before, {"role": "user", "content": text}], **more}
        head = {**cached.head("semantic"), **(headers or {})}
        url = f"{cached.gateway.url}/chat/completions"
        return cached.gateway.http.post(url, json=body, headers=head)

    only_if = {CACHE: "only-if-cached"}
    came = ask(one, *turns, headers=scripted(**SCRIPT))
    assert came.status_code == 200, came.text
    poll(
        lambda: ask(other, *turns, headers=only_if).status_code == 200,
        what="the answer in the same conversation",
    )
    others: list[tuple[list[Json], Json]] = [
        ([], {}),
        ([{"role": "system", "content": "Be brief!"}, *turns[1:]], {}),
        ([turns[0], {"role": "user", "content": "Hullo"}, turns[2]], {}),
        (turns, {"temperature": 0.5}),
        (turns, {"model": "claude"}),
        (turns, {"max_tokens": 50}),
        (turns, {"response_format": {"type": "json_object"}}),
    ]
    for before, more in others:
        answer = ask(other, *before, headers=only_if, **more)
        assert answer.status_code == 504, (before, more)
    assert cached.asked() == 1


def test_conversations(cached: Cached) -> None:
    """Where a route says so, all turns are compared."""
    one, other, _ = wordings()

    def ask(first: str, last: str, route: str, headers: Json) -> httpx.Response:
        turns = [
            {"role": "user", "content": first},
            {"role": "assistant", "content": "Which kind?"},
            {"role": "user", "content": last},
        ]
        body = {"model": "gpt", "messages": turns}
        url = f"{cached.gateway.url}/chat/completions"
        return cached.gateway.http.post(url, json=body, headers={**cached.head(route), **headers})

    only_if = {CACHE: "only-if-cached"}
    for route in ("conversation", "semantic"):
        ask("I have a question.", one, route, scripted(**SCRIPT))
    met = poll(
        lambda: next(
            (
                answer
                for answer in [ask("Here is my question.", other, "conversation", only_if)]
                if answer.status_code == 200
            ),
            None,
        ),
        what="the like of a conversation",
    )
    assert where(met) == "semantic"
    assert ask("I have a question.", other, "semantic", only_if).status_code == 200
    assert ask("Here is my question.", other, "semantic", only_if).status_code == 504


@pytest.mark.parametrize("what", ["image", "tool"])
def test_exact_only(what: str, cached: Cached) -> None:
    """A last turn that is not words alone is the same or is not."""
    one, other, third = wordings()

    def ask(text: str, **headers: str) -> httpx.Response:
        last: list[Json] = [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": text},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                ],
            }
        ]
        if what == "tool":
            call = {"id": "call_1", "type": "function"}
            last = [
                {"role": "user", "content": "Look it up."},
                {
                    "role": "assistant",
                    "tool_calls": [{**call, "function": {"name": "look", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": text},
            ]
        body = {"model": "gpt", "messages": last}
        if what == "tool":
            body["tools"] = [{"type": "function", "function": {"name": "look"}}]
        url = f"{cached.gateway.url}/chat/completions"
        head = {**cached.head("semantic"), **headers}
        return cached.gateway.http.post(url, json=body, headers=head)

    only_if = {CACHE: "only-if-cached"}
    assert ask(one, **scripted(**SCRIPT)).status_code == 200
    poll(lambda: ask(one, **only_if).status_code == 200, what="the same again")
    # Whatever was put after it can be had by now, and so could this.
    cached.chat(other, "semantic", script=SCRIPT)
    meets(cached, third)
    assert ask(other, **only_if).status_code == 504
    assert ask(third, **only_if).status_code == 504
    assert cached.asked() == 2


# --- what a route says ----------------------------------------------------------------------


def test_kinds_with_their_own_threshold(compared: Comparing) -> None:
    """At 0.97 two questions about parcels meet, and others do not."""
    cached, what = compared.cached, word()
    compared.endpoint.noise = 0.18
    for text in (f"Where is the parcel with the {what}?", f"Where is the box with the {what}x?"):
        assert cached.told(text, "kinds-apart", script=SCRIPT) == "miss"
    met = meets(cached, f"Please find the parcel with my {what}", "kinds-apart")
    assert float(parts(met)["score"]) < 0.99
    is_kept_from(cached, f"Please find the box with my {what}x", "unsure", "kinds-apart")


def test_strict(cached: Cached) -> None:
    """Nothing before the route has labels of its own."""
    one, other, third = wordings()
    assert cached.told(one, "strict", script=SCRIPT) == "miss"
    is_kept_from(cached, other, "strict", "strict")
    assert cached.told(third, "strict", script=SCRIPT) == "miss"
    assert where(cached.warm(one, "strict")) == "hit"


def test_where_it_only_looks(cached: Cached) -> None:
    """What would have been saved is in the report, and the provider is asked."""
    what = word()
    cached.chat(f"How do I clean a {what}?", "observe", script=SCRIPT)
    number = iter(range(100))

    def seen() -> Json | None:
        letters = "abcdefghij"
        nth = next(number)
        text = f"Say {letters[nth // 10]}{letters[nth % 10]}, how to clean my {what}"
        answer = cached.chat(text, "observe", script=SCRIPT)
        assert answer.headers[CACHE] == "miss"
        found = record(cached.gateway, answer.headers["x-tollgate-request-id"])
        assert found["cost"]["total"] == SAVED
        would = [one for one in found["observed"] if one["capability"] == "cache"]
        return would[0] if would else None

    would = poll(seen, what="what would have been served")
    assert would["outcome"] == "served_semantically"
    assert would["saved"] == SAVED
    at_rest(cached.gateway)
    report = told(cached.gateway, "report")
    assert "served_semantically" in report or "served semantically" in report


def _is(labels: Callable[[str], float], number: int) -> bool:
    return labels("true") == number


def test_all_are_audited(cached: Cached) -> None:
    """What would be served goes to the provider, all of it, and what it says is compared."""
    what = word()
    before = figures(cached.gateway)
    put(cached, f"How do I clean a {what}?", "audited", script=SCRIPT)
    texts = [f"{hello}, how does one clean my {what}" for hello in ("Hi", "Well", "So", "Pray")]
    name = "tollgate_cache_labels_total"

    def labels(equal: str) -> float:
        return figures(cached.gateway).sum(name, audit="true", equal=equal) - before.sum(
            name, audit="true", equal=equal
        )

    for number, text in enumerate(texts, 1):
        assert cached.told(text, "audited", script=SCRIPT) == "miss"
        poll(partial(_is, labels, number), what=f"label {number}")
    other = {"text": "Never do that; it ruins 3 of 4.", "usage": USAGE}
    assert cached.told(f"Please, how is one to clean my {what}", "audited", script=other) == "miss"
    poll(lambda: labels("false") == 1, what="a label that says no")
    assert cached.asked() == 2 + len(texts)


def test_an_answer_is_refreshed(cached: Cached) -> None:
    """Whoever asks anew in other words replaces what would have been served."""
    one, other, third = wordings()
    old = cached.chat(one, "semantic", said="Old.")
    assert parts(meets(cached, other))["id"]
    fresh = cached.chat(other, "semantic", said="New.", headers={CACHE: "refresh"})
    assert said(fresh) == "New."
    assert where(fresh) in ("bypass", "miss")
    assert only(cached, one) is None or said(meets(cached, one)) == "New."
    assert said(meets(cached, third)) == "New."
    assert said(old) == "Old."
    assert cached.asked() == 2


def test_what_a_request_may_say(cached: Cached) -> None:
    """`no-cache` is no look-up and `no-store` leaves nothing, in other words neither."""
    one, other, third = wordings()
    cached.chat(one, "semantic", said="Kept.")
    meets(cached, other)
    for control, outcome in (("no-cache", "bypass"), ("max-age=0", "miss")):
        answer = cached.chat(
            f"{third} {control.replace('=0', '')}", "semantic", headers={CACHE: control}
        )
        assert where(answer) == outcome, control
    one, other, third = wordings()
    cached.chat(one, "semantic", headers={CACHE: "no-store"})
    cached.chat(other, "semantic", said="Second.")
    assert said(meets(cached, third)) == "Second."
