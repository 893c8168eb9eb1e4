from __future__ import annotations

import pytest

from extproc.limits.lease_header import Lease


@pytest.mark.parametrize(
    "lease",
    [Lease("w1", (100, 50), "a"), Lease("w1", (0, 0)), Lease("w;1"[:1], (2**53, 1), "x;y")],
)
def test_what_is_written_is_read(lease: Lease) -> None:
    assert Lease.read(str(lease)) == lease


def test_a_lease_covers_its_own_target_only() -> None:
    assert Lease("w", (1, 1), "a").covers("a")
    assert not Lease("w", (1, 1), "a").covers("b")
    assert not Lease("w", (1, 1)).covers("")


def test_where_a_route_only_observes_every_level_has_room() -> None:
    read = Lease.read(str(Lease("w", (1, 1), "a", all=True)))
    assert read is not None
    assert read.covers("b")


@pytest.mark.parametrize("text", [None, "", "w;1;2", ";1;2;a", "w;x;2;a", "w;1;-2;a", "w;²;2;a"])
def test_what_is_no_lease_says_nothing(text: str | None) -> None:
    assert Lease.read(text) is None
