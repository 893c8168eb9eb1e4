"""The cells of docs/dialects.md. Each says something that a test holds to be so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DIALECTS: Final = ("openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "cohere")


class Sent:
    """The provider's body has these values at these paths (`a.0.b`; None: nothing is there), and
    `warns` is what the client is told."""

    def __init__(self, *paths: Any, warns: tuple[str, ...] = ()) -> None:
        self.at: Mapping[str, Any] = dict(zip(paths[::2], paths[1::2], strict=True))
        self.warns = warns


@dataclass(frozen=True)
class AsIs:
    """Every byte but the model's name passes."""


@dataclass(frozen=True)
class Refused:
    """`lacks` says this, and the next level of the chain is tried."""

    text: str


@dataclass(frozen=True, init=False)
class Dropped:
    """Left out; these names are in `x-tollgate-warning`."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True)
class LeftOut:
    """Left out without a word, and why that is nothing lost."""

    why: str


@dataclass(frozen=True)
class Shown:
    """A test, or, where streams have one of their own, two: as pytest ids within this folder."""

    whole: str
    streamed: str | None = None


@dataclass(frozen=True)
class Never:
    """The provider has nothing of the kind to tell."""

    why: str = "the provider does not say"


@dataclass(frozen=True)
class Native:
    """The provider takes the format itself: bytes pass."""


@dataclass(frozen=True)
class Translated:
    """By way of chat completions, there and back. `warns`: what is emulated or lost of the
    plainest request."""

    warns: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Estimated:
    """The gateway itself answers, and says that it is an estimate."""


Cell = Sent | AsIs | Refused | Dropped | LeftOut | Shown | Never | Native | Translated | Estimated
Row = dict[str, Cell]
AS_IS: Final = AsIs()
