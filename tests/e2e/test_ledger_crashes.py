"""kill -9 at random points: every request is in the ledger once, with what its client got."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.ledger_kills import Store, weather

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(("store", "kills"), [("sqlite", 2), ("redis", 4)])
def test_nothing_is_lost_and_nothing_doubled(store: Store, kills: int, tmp_path: Path) -> None:
    """A few kills of the service, of workers and of Redis, fifty requests at a time."""
    storm, found = weather(store, tmp_path, kills, seed=20261123, between=(20, 80))
    assert sum(storm.killed.values()) == kills
    assert found.good, found
    assert found.answered >= 20 * (kills + 1)
    assert found.lost > 0
    assert found.records >= found.received >= found.answered
