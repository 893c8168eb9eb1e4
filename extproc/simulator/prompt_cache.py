"""A provider's prompt cache, for dialects whose requests mark what to cache."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from extproc.simulator.chat import PromptCache

KEPT = 10_000
"""Prefixes; the oldest one is forgotten first. Nothing expires by time."""


class Memory:
    """The prefixes that were written. A prefix costs what its digest says: the same in every
    run, and never what counting its text would give."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def look(self, scope: str, blocks: Iterable[tuple[bytes, str | None]]) -> PromptCache | None:
        """What the cache does for a prompt made of blocks, each with the time to live (`5m` or
        `1h`) that a mark on it asks for. The longest known prefix up to the last mark is read,
        and each mark behind it is written. None when nothing is marked."""
        digest = hashlib.sha256(scope.encode())
        steps: list[tuple[bytes, str | None]] = []
        for content, ttl in blocks:
            digest.update(len(content).to_bytes(8, "big") + content)
            steps.append((digest.digest(), ttl))
        while steps and steps[-1][1] is None:
            steps.pop()
        if not steps:
            return None
        read, start = 0, 0
        for n, (key, _) in enumerate(steps):
            if key in self._known:
                read, start = self._known[key], n + 1
                self._known.move_to_end(key)
        written = {"5m": 0, "1h": 0}
        total = read
        for key, ttl in steps[start:]:
            if ttl is None:
                continue
            size = 1024 + int.from_bytes(key[:4], "big") % 2000
            total += size
            written[ttl] += size
            self._known[key] = total
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return PromptCache(read, written["5m"], written["1h"])
