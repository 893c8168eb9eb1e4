"""What is fuzzed, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes any bytes; what it raises is a finding."""

    name: str
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
