"""Two workers on Redis that compare questions: what one keeps, learns or forgets is so in the
other. And Postgres, which holds the vectors of both."""

from __future__ import annotations

import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from tests.e2e.cache_clients import said
from tests.e2e.cache_gateways import Cached, where
from tests.e2e.conftest import poll
from tests.e2e.figures import figures
from tests.e2e.limits_gateways import Hook, webhook
from tests.e2e.semantic_gateways import Comparing, comparing, looked, only, word

pytestmark = pytest.mark.e2e

BOTH = 20
"""Requests by which every worker is asked."""
SOON = 1.0
"""Seconds after which both workers are to know."""


@dataclass
class Postgres:
    """A server of the tests' own, with pgvector."""

    module: Any
    folder: str
    server: Any

    @property
    def url(self) -> str:
        found: str = self.server.get_uri()
        return found

    @property
    def processes(self) -> list[psutil.Process]:
        """The server and what it has forked."""
        file = Path(self.folder, "postmaster.pid")
        first = psutil.Process(int(file.read_text().split(maxsplit=1)[0]))
        return [first, *first.children(recursive=True)]

    def send(self, number: signal.Signals) -> None:
        """To all of its processes."""
        for process in self.processes:
            process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        every = self.processes
        for process in every:
            process.kill()
        psutil.wait_procs(every, 10)

    def start(self) -> None:
        """Again, on what it wrote before."""
        self.server.ensure_postgres_running()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        # It looks for a folder of the session's, which a container does not have.
        warnings.simplefilter("ignore")
        module = pytest.importorskip("pgserver")
        import_module("pgserver.postgres_server")
        # Not pytest's folder: a Unix socket's path has to be short.
        folder = tempfile.mkdtemp(prefix="pg")
        server = module.get_server(folder, cleanup_mode="delete")
        try:
            yield Postgres(module, folder, server)
        finally:
            server.cleanup()


@pytest.fixture(scope="module", params=["memory", "postgres"])
def everything(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Comparing, Hook, Postgres | None]]:
    vectors: Postgres | None = None
    flags: tuple[str, ...] = ()
    if request.param == "postgres":
        vectors = request.getfixturevalue("postgres")
        assert vectors is not None
        flags = ("--vectors", vectors.url)
    folder = tmp_path_factory.mktemp(request.param)
    with webhook() as hook:
        env = {"TOLLGATE_SERVE_ALERT_URL": hook.url}
        with comparing(folder, *flags, store="redis", env=env) as found:
            opened(found.cached)
            yield found, hook, vectors


@pytest.fixture
def cached(everything: tuple[Comparing, Hook, Postgres | None]) -> Cached:
    """Somebody whose questions are compared with no other test's."""
    found = everything[0].cached
    found.gateway.forget()
    return found.other(tenant=word())


def opened(cached: Cached) -> None:
    """With the half that compares open in both workers."""
    reasons = ("filling", "embedder", "index", "failed")

    def ready() -> bool:
        before = [looked(cached, reason=reason) for reason in reasons]
        for _ in range(BOTH):
            only(cached, f"Is there a {word()}?")
        return before == [looked(cached, reason=reason) for reason in reasons]

    poll(ready, within=30.0, what="two workers that compare")


def of_both(cached: Cached, text: str, route: str = "semantic") -> list[httpx.Response | None]:
    """What each worker has for a text."""
    return [only(cached, text, route) for _ in range(BOTH)]


def both_have(cached: Cached, text: str) -> bool:
    """Whichever is asked."""
    return all(of_both(cached, text))


def settles(cached: Cached, text: str, *, there: bool) -> float:
    """Seconds from now to the beginning of the last request for which it was otherwise; asked for
    half a second longer than it may take."""
    began, last = time.monotonic(), 0.0
    while (since := time.monotonic() - began) < SOON + 0.5:
        if (only(cached, text) is not None) is not there:
            last = since
    return last


def test_what_one_keeps_both_find(cached: Cached) -> None:
    for number in range(3):
        what = word()
        text = f"How do I clean a {what}?"
        assert cached.told(text, "semantic", said=f"With wax, {what}.") == "miss"
        assert settles(cached, f"Tell me how to clean my {what}", there=True) <= SOON
        for answer in of_both(cached, f"Explain how one is to clean a {what}"):
            assert answer is not None, number
            assert where(answer) == "semantic"
            assert said(answer) == f"With wax, {what}."
    assert cached.asked() == 3


def test_forgotten_by_both(cached: Cached) -> None:
    """Within a second nobody gets it, in these words or in others."""
    for _ in range(2):
        what, tag = word(), word()
        text, other = f"How do I clean a {what}?", f"Tell me how to clean my {what}"
        head = {"x-tollgate-tags": tag}
        assert cached.told(text, "semantic", said=f"So, {what}.", headers=head) == "miss"
        poll(partial(both_have, cached, other), what="an answer in both workers")
        url = f"http://127.0.0.1:{cached.gateway.admin}/cache/entries"
        gone = cached.gateway.http.delete(url, params={"tag": tag})
        assert gone.json()["invalidated"] >= 1
        assert settles(cached, other, there=False) <= SOON
        assert not any(of_both(cached, text))
        # What is said afterwards is found as before.
        assert cached.told(text, "semantic", said=f"Now, {what}.") == "miss"
        poll(partial(both_have, cached, other), what="the new answer")
        found = of_both(cached, other)
        assert {said(one) for one in found if one is not None} == {f"Now, {what}."}


def test_both_halt(cached: Cached, everything: tuple[Comparing, Hook, Postgres | None]) -> None:
    """What either has learned stops both."""
    _, hook, _ = everything
    events = "tollgate_cache_events_total"
    before = figures(cached.gateway).sum(events, event="halted")
    things = [word() for _ in range(40)]
    begun = ("How do I clean a", "Tell me how to clean my", "Explain how one cleans a",
             "What is the best way of cleaning a", "Show me how to clean this",
             "Please say how to wash a", "What helps to clean the")  # fmt: skip
    steps = {"of": 3}

    def ask(text: str) -> str:
        thing = text.rsplit(maxsplit=1)[-1].strip("?")
        number = sum(map(ord, thing)) % 50 + steps["of"]
        return cached.told(text, "halting", said=f"The {thing} takes {number} steps.")

    texts = [f"{first} {thing}?" for first in begun for thing in things]
    with ThreadPoolExecutor(4) as pool:
        served = list(pool.map(ask, texts))
        assert served[-80:].count("semantic") >= 20
        assert figures(cached.gateway).sum(events, event="halted") == before
        steps["of"] = 400
        number = 0
        while not figures(cached.gateway).sum(events, event="halted") > before:
            number += 1
            assert number <= 40
            list(pool.map(ask, [f"Once more {word()}: clean the {one}?" for one in things[:20]]))

        def both() -> bool:
            return figures(cached.gateway).sum(events, event="halted") == before + 2

        poll(both, within=5.0, what="the other worker")
        texts = [f"Again {word()}: how to clean the {one}?" for one in things]
        assert "semantic" not in set(pool.map(ask, texts))
    told = [one for one in hook.told if one["event"] == "cache_halted"]
    assert {one["route"] for one in told} == {"halting"}


def test_postgres_is_away(
    cached: Cached, everything: tuple[Comparing, Hook, Postgres | None]
) -> None:
    """Stopped or dead: misses within its deadline, exact hits go on, and it is back by itself."""
    _, _, vectors = everything
    if vectors is None:
        pytest.skip("there is none")
    what = word()
    text, other = f"How do I clean a {what}?", f"Tell me how to clean my {what}"
    assert cached.told(text, "semantic", said=f"So, {what}.") == "miss"
    poll(partial(both_have, cached, other), what="an answer in both workers")
    usual = max(_seconds(cached, f"Say {word()}, and clean the {what}") for _ in range(5))
    for how in ("stopped", "killed"):
        before = looked(cached, reason="index")
        if how == "stopped":
            vectors.send(signal.SIGSTOP)
        else:
            vectors.kill()
        try:
            took = [_seconds(cached, f"Why {word()}, and clean the {what}") for _ in range(10)]
            assert sorted(took)[5] < usual + 0.1, (how, took)
            assert looked(cached, reason="index") == before + 10
            assert cached.told(text, "semantic") == "hit"
        finally:
            if how == "stopped":
                vectors.send(signal.SIGCONT)
            else:
                vectors.start()
        poll(partial(both_have, cached, other), within=20.0, what=f"its being back: {how}")


def _seconds(cached: Cached, text: str) -> float:
    began = time.monotonic()
    cached.chat(text, "semantic")
    return time.monotonic() - began
