"""A cache that compares, after a restart: what it found, what it has learned, and other vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cache_clients import said
from tests.e2e.cache_gateways import Cached, where
from tests.e2e.conftest import Json, poll
from tests.e2e.figures import figures
from tests.e2e.ledger_processes import Service
from tests.e2e.semantic_gateways import (
    Endpoint,
    by_endpoint,
    endpoint,
    looked,
    meets,
    minilm,
    only,
    semantic_gateway,
    word,
)

pytestmark = pytest.mark.e2e

MANY = 60


@contextmanager
def again(folder: Path, *flags: str, key: str = "", **more: str) -> Iterator[Cached]:
    """A gateway on the data of the one before, asked by the same caller."""
    with semantic_gateway(folder, *flags, env=more or None) as found:
        yield replace(found, key=key) if key else found


def opened(cached: Cached) -> None:
    poll(
        lambda: only(cached, f"Is there a {word()}?") is None and not filling(cached),
        within=20.0,
        what="an index",
    )


def filling(cached: Cached) -> bool:
    before = looked(cached, reason="filling")
    only(cached, f"Is there a {word()}?")
    return looked(cached, reason="filling") > before


def log_of(cached: Cached) -> list[Json]:
    """What the service has said since it was started."""
    lines = (cached.gateway.folder / "service.log").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def filled(cached: Cached) -> Json:
    """What it says when the index is filled."""
    wanted = "the index of the cache is filled"
    found: Json = poll(
        lambda: next((one for one in log_of(cached) if one["message"] == wanted), None),
        what="an index that is filled",
    )
    return found


def ask_all(cached: Cached, texts: list[str], route: str = "semantic") -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(
            pool.map(lambda text: cached.told(text, route, said=f"So: {text.split()[-1]}"), texts)
        )


def test_everything_is_found_again(tmp_path: Path) -> None:
    """Killed: exact hits from the first request on, the others as soon as the index is filled."""
    things = [word() for _ in range(MANY)]
    with endpoint() as vectors:
        flags = by_endpoint(vectors)
        with again(tmp_path, *flags) as cached:
            opened(cached)
            ask_all(cached, [f"How do I clean a {one}" for one in things])
            for one in things[-3:]:
                meets(cached, f"Tell me how to clean my {one}")
            with Service.held(cached.gateway) as service:
                service.kill()
        with again(tmp_path, *flags, key=cached.key) as cached:
            # Whatever the endpoint does: exact hits need no vectors.
            first = only(cached, f"How do I clean a {things[0]}")
            assert first is not None
            assert where(first) == "hit"
            assert filled(cached)["entries"] >= MANY
            for one in things:
                assert said(meets(cached, f"Tell me how to clean my {one}")) == f"So: {one}"
            assert cached.asked() == 0


def test_what_was_learned_stays(tmp_path: Path) -> None:
    """A partition that has stopped is stopped after a restart, and one that draws its own line
    has it still."""
    things = [word() for _ in range(40)]
    events = "tollgate_cache_events_total"
    with endpoint() as vectors:
        flags = by_endpoint(vectors)
        with again(tmp_path, *flags) as cached:
            opened(cached)
            ask_all(cached, [f"How do I clean a {one}" for one in things], "halting")
            ask_all(cached, [f"Tell me how to clean my {one}" for one in things], "halting")
            rounds = 0
            while not figures(cached.gateway).sum(events, event="halted"):
                rounds += 1
                assert rounds <= 40
                texts = [f"Say {word()}, how to clean the {one}" for one in things]
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(
                        lambda text: cached.told(text, "halting", said=f"No: {word()} it."), texts
                    ))  # fmt: skip
        with again(tmp_path, *flags, key=cached.key) as cached:
            filled(cached)
            reasons = looked(cached, reason="halted")
            for one in things:
                assert only(cached, f"Well, how to clean the {one}", "halting") is None
            assert looked(cached, reason="halted") >= reasons + 20
            # It says nothing anew: nobody is to be told twice.
            assert not figures(cached.gateway).sum(events, event="halted")
            assert figures(cached.gateway).sum("tollgate_cache_halted") == 1


def test_other_vectors(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With another embedder what was asked before is found in the same words alone."""
    things = ["kettle", "violin", "carpet", "lantern"]
    with again(tmp_path) as cached:
        opened(cached)
        ask_all(cached, [f"How do I clean a {one}?" for one in things])
        met = [meets(cached, f"How do I clean my {one}?") for one in things]
    env = minilm(tmp_path_factory)
    with again(tmp_path, "--embedder", "minilm", key=cached.key, **env) as cached:
        told = poll(lambda: filled(cached), within=20.0)
        assert told["entries"] == 0
        assert told["foreign"] >= len(things)
        opened(cached)
        before = looked(cached, outcome="semantic")
        for one in things:
            assert only(cached, f"How do I clean my {one}?") is None
            exact = only(cached, f"How do I clean a {one}?")
            assert exact is not None
            assert where(exact) == "hit"
        assert looked(cached, outcome="semantic") == before
        # Those that are asked from now on are compared with each other.
        ask_all(cached, [f"How do I paint a {one}?" for one in things])
        for one in things:
            meets(cached, f"How do I paint my {one}?")
    with again(tmp_path, key=cached.key) as cached:
        assert filled(cached)["foreign"] >= len(things)
        for one, was in zip(things, met, strict=True):
            assert said(meets(cached, f"How do I clean my {one}?")) == said(was)
            assert only(cached, f"How do I paint my {one}?") is None


def test_another_model_of_the_same_width(tmp_path: Path) -> None:
    """The very vectors of the one before are not compared with what the other makes."""
    what = word()

    def flags(vectors: Endpoint, model: str) -> tuple[str, ...]:
        return (*by_endpoint(vectors)[:-1], model)

    with endpoint() as vectors:
        with again(tmp_path, *flags(vectors, "small")) as cached:
            opened(cached)
            ask_all(cached, [f"How do I clean a {what}"])
            meets(cached, f"Tell me how to clean my {what}")
        with again(tmp_path, *flags(vectors, "large"), key=cached.key) as cached:
            assert filled(cached)["foreign"] >= 1
            opened(cached)
            assert only(cached, f"Tell me how to clean my {what}") is None
            assert only(cached, f"How do I clean a {what}") is not None
