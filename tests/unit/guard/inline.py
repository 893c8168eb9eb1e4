"""Work that is done at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Inline:
    """`extproc.guard.Work`."""

    async def work(self, size: int, call: Callable[[], T]) -> T:  # noqa: ARG002 - the door's shape
        return call()
