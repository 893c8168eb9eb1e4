"""Bodies that take too long to be worked on between two other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

LARGE: Final = 256 * 1024
"""Bytes from which a body is worked on off the event loop: about two milliseconds of reading. One
of 30 MB takes a few hundred, in which Envoy would find the service dead."""


async def work(size: int, call: Callable[[], T]) -> T:
    """What `call` returns or raises. It is called in another thread if it works on `size` bytes
    that are many. The service has one such thread: of several, each would take its turn of the
    interpreter before the event loop gets one."""
    return call() if size < LARGE else await asyncio.to_thread(call)
