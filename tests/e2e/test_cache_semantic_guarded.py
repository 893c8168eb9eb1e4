"""Other words, and who may not get what was said to them: behind the guard, in scopes, and where a
judge decides what is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.e2e.cache_clients import said
from tests.e2e.cache_gateways import CACHE, Cached, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_books import at_rest, records
from tests.e2e.semantic_gateways import (
    Comparing,
    by_endpoint,
    comparing,
    endpoint,
    looked,
    meets,
    only,
    semantic_gateway,
    word,
)

pytestmark = pytest.mark.e2e

ADA, EVE = "ada.quill@posteo-mail.example", "eve.marlow@posteo-mail.example"
LABELS, FAILURES = "tollgate_cache_labels_total", "tollgate_cache_failures_total"


@pytest.fixture(scope="module")
def all_of_it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparing]:
    with comparing(tmp_path_factory.mktemp("guarded")) as found:
        opened(found.cached)
        yield found


@pytest.fixture
def compared(all_of_it: Comparing) -> Comparing:
    """The gateway, with the simulator's record and the endpoint's empty."""
    all_of_it.cached.gateway.forget()
    all_of_it.endpoint.texts.clear()
    return all_of_it


def opened(cached: Cached) -> None:
    poll(
        lambda: only(cached, f"Is there a {word()}?") is None and looked(cached, reason="empty"),
        what="an index that is empty",
    )


# --- the guard ------------------------------------------------------------------------------


def letter(cached: Cached, text: str, user: str, **headers: str) -> httpx.Response:
    """`user` asks; what the provider says has the address in it."""
    head = {"x-tollgate-user": user, **headers}
    return cached.chat(text, "guarded", said="Write to <EMAIL_ADDRESS_1> then.", headers=head)


def test_nobody_gets_anothers_values(compared: Comparing) -> None:
    """In other words the same user is told his values of now, and another asks for himself. Nobody
    shows an address to the endpoint."""
    cached, what, ann, bob = compared.cached, word(), word(), word()
    first = letter(cached, f"How do I send {ADA} the {what}?", ann)
    assert said(first) == f"Write to {ADA} then."
    other = f"Tell me how to send {EVE} my {what}"
    met = poll(
        lambda: next(
            (
                one
                for one in [letter(cached, other, ann, **{CACHE: "only-if-cached"})]
                if one.status_code == 200
            ),
            None,
        ),
        what="the like of what was asked before",
    )
    assert where(met) == "semantic"
    assert said(met) == f"Write to {EVE} then."
    for who in (bob, ""):
        for text, own in ((other, EVE), (f"How do I send {EVE} the {what}?", EVE)):
            answer = letter(cached, text, who) if who else cached.chat(
                text, "guarded", said="Write to <EMAIL_ADDRESS_1> then."
            )  # fmt: skip
            assert answer.status_code == 200
            assert ADA not in answer.text
            if where(answer) in ("hit", "semantic"):  # of this very user's first question
                assert who
                assert said(answer) == f"Write to {own} then."
    # Without values of one's own there is nothing to be put in.
    plain = only(cached, f"Tell me how to send them my {what}", "guarded")
    assert plain is None
    seen = "\n".join(compared.endpoint.texts)
    assert what in seen
    assert "@" not in seen


@pytest.mark.parametrize("name", ["user", "tenant"])
def test_scopes(name: str, compared: Comparing) -> None:
    """What is another's is not found in other words either."""
    cached, what, ann = compared.cached, word(), word()
    route = "by-user" if name == "user" else "semantic"
    ours = cached if name == "user" else cached.other(tenant=ann)
    mine = {"x-tollgate-user": ann}
    text, other = f"How do I clean a {what}?", f"Tell me how to clean my {what}"
    ours.chat(text, route, said="Ours.", headers=mine)
    assert said(meets(ours, other, route, headers=mine)) == "Ours."
    theirs = cached if name == "user" else cached.other(tenant=word())
    bobs = {"x-tollgate-user": word() if name == "user" else ann}
    for asked in (text, other):
        assert only(theirs, asked, route, headers=bobs) is None
        guessed = {**bobs, "x-tollgate-cache-scope": "tenant", "cf-aig-cache-key": what}
        if name == "tenant":
            assert only(theirs, asked, route, headers=guessed) is None
    assert said(theirs.chat(other, route, said="Theirs.", headers=bobs)) == "Theirs."
    assert said(meets(ours, f"Explain how to clean the {what}", route, headers=mine)) == "Ours."


# --- a judge --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    """The judge asks with a key of its own, which the gateway has made the day before."""
    folder: Path = tmp_path_factory.mktemp("judge")
    with endpoint() as vectors:
        flags = by_endpoint(vectors)
        with semantic_gateway(folder, *flags) as before:
            key = before.key
        with semantic_gateway(folder, *flags, env={"TOLLGATE_JUDGE_KEY": key}) as found:
            opened(found)
            yield replace(found, key=key)


@pytest.fixture
def judged(with_judge: Cached) -> Cached:
    """The gateway; what was asked before is far from what is asked now."""
    with_judge.gateway.forget()
    with_judge.gateway.behave({})
    return with_judge


def asked_twice(cached: Cached, verdict: Json) -> tuple[str, str]:
    """Two wordings, of whose answers words cannot tell whether they say the same; and the verdict
    on them. Returns the second wording and its answer."""
    what = word()
    cached.gateway.behave({"gemini": verdict})

    def entries() -> float:
        return figures(cached.gateway).sum("tollgate_cache_index_entries")

    known = entries()
    cached.chat(f"How do I clean a {what}?", "judged", said=f"With wax, {what}.")
    poll(lambda: entries() > known, what="the first answer")
    other, answer = f"Tell me how to clean my {what}", f"With wax, {what}, says Anna."

    def found() -> bool:
        before = looked(cached, reason="audit")
        assert cached.told(other, "judged", said=answer) in ("miss", "hit")
        return looked(cached, reason="audit") > before

    poll(found, what="an audit")
    return other, answer


def judgements(cached: Cached) -> list[Json]:
    return [one for one in cached.gateway.asked() if "gemini" in str(one["path"])]


@pytest.mark.parametrize("same", [True, False])
def test_a_judge_decides(same: bool, judged: Cached) -> None:
    """It is asked as anybody is, and what it takes for the same is stored as one answer."""
    before = figures(judged.gateway)
    verdict = {"text": '{"same": true}' if same else '{"same": false}'}
    other, answer = asked_twice(judged, verdict)
    labels = {"audit": "true", "equal": "true" if same else "false"}
    poll(
        lambda: figures(judged.gateway).sum(LABELS, **labels) == before.sum(LABELS, **labels) + 1,
        what="a label",
    )
    # About the one that would have been served, and about none of what else was said before.
    assert len(judgements(judged)) == 1
    wanted = answer if not same else answer.replace(", says Anna", "")

    def kept() -> bool:
        hit = only(judged, other, "judged")
        return hit is not None and said(hit) == wanted

    poll(kept, what=f"{wanted!r} for {other!r}")
    at_rest(judged.gateway)
    of_judges = [
        one for one in records(judged.gateway)
        if (one.get("attribution") or {}).get("feature") == "cache-judge"
    ]  # fmt: skip
    assert of_judges
    assert all(one["cost"]["total"] > 0 and one["cache"] == "bypass" for one in of_judges)


@pytest.mark.parametrize("verdict", [{"status": 500}, {"text": "They are the same."}])
def test_a_judge_that_says_nothing(verdict: Json, judged: Cached) -> None:
    """Then they differ, and people can see why."""
    before = figures(judged.gateway)
    other, answer = asked_twice(judged, verdict)
    labels = {"audit": "true", "equal": "false"}
    poll(
        lambda: figures(judged.gateway).sum(LABELS, **labels) == before.sum(LABELS, **labels) + 1,
        what="a label",
    )
    failed = figures(judged.gateway).sum(FAILURES, part="judge") - before.sum(
        FAILURES, part="judge"
    )
    assert failed == 1
    hit = only(judged, other, "judged")
    assert hit is not None
    assert said(hit) == answer
