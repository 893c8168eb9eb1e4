"""Bodies that take too long to be worked on between two other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

LARGE: Final = 256 * 1024
"""Bytes from which a body is worked on off the event loop: about two milliseconds of reading. One
of 30 MB takes a few hundred, in which Envoy would find the service dead."""


class Large:
    """One thread for large bodies: of several, each would take its turn of the interpreter before
    the event loop gets one. It waits for no disk and starts with the first such body."""

    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "large-body")

    async def work(self, size: int, call: Callable[[], T]) -> T:
        """What `call` returns or raises, called in the thread if it works on `size` bytes that are
        many."""
        if size < LARGE:
            return call()
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)
