"""An index is filled from what the store holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from msgspec import Struct

from extproc.cache.index.filling import Filled, fill, packed, unpacked
from extproc.cache.index.memory import MemoryIndex
from tests.unit.cache.index.vectors import DIM, around_topics


class Held(Struct):
    id: int
    vector: bytes
    family: bytes = b"p"
    embedder: str = "static-1-32"


async def _batches(*batches: Sequence[Held]) -> AsyncIterator[Sequence[Held]]:
    for batch in batches:
        yield batch


async def test_all_of_the_embedder_is_taken_and_nothing_else() -> None:
    rows = around_topics(10)
    index = MemoryIndex("static-1-32", DIM)
    seen: list[Filled] = []
    filled = await fill(
        index,
        _batches(
            [Held(at, packed(rows[at])) for at in range(4)],
            [
                Held(4, rows[4].astype("<f4").tobytes(), family=b"q"),
                Held(5, packed(rows[5]), embedder="minilm-384"),
                Held(6, packed(rows[6])[:-1]),
                Held(7, bytes(2 * DIM)),
                Held(8, b""),
                Held(9, np.full(DIM, np.nan, "<f2").tobytes()),
            ],
        ),
        seen.append,
    )
    assert seen == [Filled(4), filled]
    assert filled == Filled(added=5, foreign=1, unreadable=4)
    assert {one.entry for one in await index.search(b"p", rows[0], 9)} == {0, 1, 2, 3}
    assert [one.entry for one in await index.search(b"q", rows[4], 9)] == [4]
    await index.close()


def test_a_vector_comes_back_as_it_was_kept() -> None:
    row = around_topics(1)[0]
    again = unpacked(packed(row), DIM)
    assert again is not None
    assert again == pytest.approx(row, abs=1e-3)
    assert float(again @ again) == pytest.approx(1.0, abs=1e-5)
