"""Entries on their way into the file: those that come while others are written go together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from extproc.state import StateError
from extproc.state.sqlite.answer_rows import Put

TOGETHER: Final = 64
"""Entries of one transaction."""
MOST: Final = 2000
MOST_BYTES: Final = 64 << 20
"""What may wait. More than that come when the disk is too slow for them all; they are not kept."""

_Waiting = tuple[Put, asyncio.Future[bool]]


class Puts:
    """Calls `write` with several at a time, one call after the other."""

    def __init__(self, write: Callable[[Sequence[Put]], Awaitable[list[bool]]]) -> None:
        self._write = write
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def add(self, put: Put) -> bool:
        """What is answered to it. Raises StateError."""
        if len(self._waiting) >= MOST or (self._waiting and self._bytes + put.size > MOST_BYTES):
            raise StateError("too many answers wait to be written")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((put, future))
        self._bytes += put.size
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._drain())
        return await future

    async def close(self) -> None:
        """Wait for what waits."""
        if self._task is not None:
            await self._task

    async def _drain(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
            self._bytes -= sum(put.size for put, _ in some)
            try:
                answers = await self._write([put for put, _ in some])
            except Exception as error:  # noqa: BLE001 - whoever waits hears of it
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(some, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
