"""Looks through texts in this process: short ones at once, others in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from extproc.guard import Detector, Finding, GuardError, Scan, Text
from extproc.guard.named import cost, findings
from extproc.guard.remembered import Look, Remembered, recalled

if TYPE_CHECKING:
    from extproc.guard.default import DetectorPolicy

INLINE: Final = 2_000
"""Characters that are looked through in the event loop's thread: a quarter of a millisecond of
prose, a good one where everything is somebody's data."""
LARGE: Final = 256 * 1024
"""Characters from which a body goes to the thread that large ones share, so that they hold up each
other and nobody else."""
THREADS: Final = 2
"""For bodies between: one that is long does not hold up the next, and more threads would only take
turns."""
HASHING: Final = 200
"""How much faster a text is hashed than looked through."""
_KEY: Final = 32

Result = TypeVar("Result")


class Threads:
    """Where work is done that takes longer than the event loop may be held up."""

    def __init__(self) -> None:
        self._middle = ThreadPoolExecutor(THREADS, "guard")
        self._large = ThreadPoolExecutor(1, "guard-large")

    async def work(self, size: int, call: Callable[[], Result]) -> Result:
        """What `call` returns, which takes as long as a look through `size` characters: at once if
        they are few. Raises GuardError once closed."""
        if size <= INLINE:
            return call()
        pool = self._large if size > LARGE else self._middle
        try:
            waiting = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError:
            raise GuardError("the detector is closed") from None
        return await waiting

    def close(self) -> None:
        """Nothing more is taken. What runs ends by itself, what waits is cancelled."""
        for pool in (self._middle, self._large):
            pool.shutdown(wait=False, cancel_futures=True)


class LocalScanner:
    """Looks with the default detector."""

    def __init__(self) -> None:
        self.threads = Threads()
        self._key = os.urandom(_KEY)

    def scan(self, policy: DetectorPolicy) -> Scan:
        """Made once for each route's policy. Raises PatternError."""
        return self.remembering(self.looking(policy))

    def looking(self, policy: DetectorPolicy) -> Look:
        """The default detector as one route wants it, remembering nothing. Raises PatternError."""
        # Who has no guard need not spend 10 MB on its libraries and tables.
        from extproc.guard.default import DefaultDetector  # noqa: PLC0415 - as said

        return LocalLook(DefaultDetector(policy), self.threads)

    def remembering(self, look: Look) -> RememberingScan:
        """A scan that does not look twice through the same text."""
        return RememberingScan(look, Remembered(self._key), self.threads)

    async def ping(self) -> None:
        """Nothing can be away."""

    async def close(self) -> None:
        """Give threads back."""
        self.threads.close()


class LocalLook:
    """Looks with one detector, at once or in threads."""

    def __init__(self, detector: Detector, threads: Threads) -> None:
        self._detector = detector
        self._threads = threads

    async def __call__(self, texts: Sequence[Text]) -> list[list[Finding]]:
        """For each text its findings."""
        return await self._threads.work(sum(map(cost, texts)), lambda: self._all(texts))

    def _all(self, texts: Sequence[Text]) -> list[list[Finding]]:
        return [findings(self._detector, one) for one in texts]


class RememberingScan:
    """Looks through what it has not seen of late."""

    def __init__(self, look: Look, memory: Remembered, threads: Threads) -> None:
        self._look = look
        self._threads = threads
        self.memory = memory

    async def find(self, texts: Sequence[Text]) -> list[list[Finding]]:
        """For each text its findings. Raises GuardError."""
        size = sum(len(one.value) for one in texts) // HASHING
        keys = await self._threads.work(size, lambda: self.memory.keys(texts))
        return await recalled(self.memory, texts, keys, self._look)
