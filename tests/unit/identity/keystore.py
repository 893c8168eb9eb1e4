"""Keys in memory, and the parts around them that tests need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from extproc.identity import Keyring, KeySecret
from extproc.state import ExistsError, StateError, StoredKey

SECRET = KeySecret(b"a secret of 32 bytes for testing")
NOW = 1_800_000_000.0


class MemoryKeys:
    """A `KeyStore` that counts look-ups, can be held up and can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}
        self.settings: dict[str, str] = {}
        self.changes = 0
        self.looked: list[str] = []
        self.asked = asyncio.Event()
        self.away = False
        self.gate: asyncio.Event | None = None

    def _here(self) -> None:
        if self.away:
            raise StateError("the store is away")

    async def add(self, keys: Sequence[StoredKey]) -> None:
        self._here()
        digests = {digest for one in self.keys.values() for digest in one.digests}
        for key in keys:
            if key.id in self.keys:
                raise ExistsError(f"key {key.id}")
            if digests.intersection(key.digests):
                raise ExistsError("a digest")
            digests.update(key.digests)
        self.keys.update({one.id: one for one in keys})
        self.changes += 1

    async def replace(self, key: StoredKey, old: bytes) -> bool:
        self._here()
        await asyncio.sleep(0)
        if self.keys[key.id].record != old:
            return False
        self.keys[key.id] = key
        self.changes += 1
        return True

    async def find(self, digest: str) -> StoredKey | None:
        self.looked.append(digest)
        self.asked.set()
        self._here()
        found = next((one for one in self.keys.values() if digest in one.digests), None)
        if self.gate is not None:
            await self.gate.wait()
        return found

    async def get(self, key_id: str) -> StoredKey | None:
        self._here()
        await asyncio.sleep(0)
        return self.keys.get(key_id)

    async def list(self) -> list[StoredKey]:
        self._here()
        return [self.keys[one] for one in sorted(self.keys)]

    async def revision(self) -> str:
        self._here()
        return str(self.changes)

    async def settle(self, name: str, value: str) -> str:
        self._here()
        return self.settings.setdefault(name, value)

    async def ping(self) -> None:
        self._here()

    async def close(self) -> None:
        pass


class Clock:
    """Time that passes when a test says so; sleeping makes it pass."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def keyring(store: MemoryKeys, clock: Clock, **more: Any) -> Keyring:
    return Keyring(store, SECRET, clock=clock, monotonic=clock, **more)
