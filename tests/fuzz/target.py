"""What is fuzzed, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Door:
    """A way into what is fuzzed. `check` takes any bytes; what it raises is a finding."""

    check: Callable[[bytes], None]
    shape: str
    """How to change its inputs; see `mutate`."""
    prefix: int
    """Bytes at an input's start that are choices, not data."""
    bodies: tuple[bytes, ...]
    """What to start from, without the prefix."""

    @property
    def samples(self) -> list[bytes]:
        """Inputs to start from."""
        return [bytes(self.prefix) + one for one in self.bodies]


@dataclass(frozen=True, slots=True)
class Target:
    """A parser. If it has several doors, an input's first byte says which it is for."""

    name: str
    doors: tuple[Door, ...]

    def split(self, data: bytes) -> tuple[bytes, int, bytes]:
        """The byte that chooses a door (empty if there is one only), the door, its input."""
        if len(self.doors) == 1:
            return b"", 0, data
        head = data[:1] or b"\0"
        return head, head[0] % len(self.doors), data[1:]

    def check(self, data: bytes) -> None:
        """Raise what the door's check raises."""
        _, at, rest = self.split(data)
        self.doors[at].check(rest)

    @property
    def samples(self) -> list[bytes]:
        """Inputs to start from, of every door."""
        if len(self.doors) == 1:
            return self.doors[0].samples
        return [bytes([at]) + one for at, door in enumerate(self.doors) for one in door.samples]
