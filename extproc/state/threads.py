"""A thread of one's own for calls that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from extproc.state import StateError

Answer = TypeVar("Answer")


class Desk:
    """Runs one call after the other, in the order they came, off the event loop.

    The thread starts with the first call. A caller that is cancelled goes at once; its call is
    still run to its end, or not at all.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """The call's answer. Raises what it raises, and StateError after `close`."""
        try:
            waiting = asyncio.get_running_loop().run_in_executor(self._pool, call)
        except RuntimeError as error:
            raise StateError("the store is closed") from error
        return await waiting

    async def close(self, last: Callable[[], None]) -> None:
        """Run `last` after all that waits, then end. A second time it does nothing."""
        try:
            await self.run(last)
        except StateError:
            return
        finally:
            self._pool.shutdown(wait=False)
