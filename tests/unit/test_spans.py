from __future__ import annotations

import pytest

from extproc.spans import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("0d", 0)],
)
def test_lengths(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "7 d", "7D", "1.5h", "7d7d", "\u0667d", "1" * 10 + "d"]
)
def test_what_is_none(text: str) -> None:
    assert seconds_of(text) is None
