"""The guard's room: personal data and secrets are found in texts before they leave.

A detector is asked for what a text holds; what is done about it is for others to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from extproc.guard.default import DetectorPolicy

T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A place in a text that should not leave."""

    start: int
    """Its first character in the text as given."""
    end: int
    """Behind its last character; greater than `start`."""
    type: str
    """Upper case: `EMAIL_ADDRESS`, `CREDIT_CARD`, …; `CUSTOM:name` for own patterns and words."""
    confidence: float
    """From 0 to 1: how sure it is that this is what it seems."""


class Kind(Enum):
    """What a text is to the API whose body it stands in."""

    TEXT = auto()
    """What people, models and tools say."""
    JSON = auto()
    """JSON as text that cannot be read as such (arguments of a call that broke off): values put
    into it are escaped."""
    THINKING = auto()
    """Thinking that its provider has signed, and wrote itself: it must come back to the letter, so
    nothing in it is replaced or restored."""
    LINK = auto()
    """A link, or credentials, that the provider uses as they are to fetch or to call something: a
    secret in it is for the provider."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """A text of a body, and where it stands."""

    value: str
    place: str
    """As errors name it: `messages[2].content[0].text`. Never part of a value."""
    under: str = ""
    """The name of the field it stands in, where that tells what it is (`password` in a tool's
    arguments)."""
    kind: Kind = Kind.TEXT

    def __repr__(self) -> str:
        return f"Text({len(self.value)} characters in {self.place})"


@dataclass(frozen=True, slots=True)
class Medium:
    """Something in a body that holds no text to look through."""

    kind: str
    """`image` (pictures, sound, video) or `file`."""
    place: str


class GuardError(Exception):
    """The detector, or the store of placeholders, is away or does not understand us. The text holds
    no value."""


class PartialError(GuardError):
    """A detector is away; `found`: what the others have found, for each text."""

    def __init__(self, cause: GuardError, found: list[list[Finding]]) -> None:
        super().__init__(str(cause))
        self.found = found


class TooMuchError(GuardError):
    """A client sent more than the guard looks at or keeps: nothing is away, and nobody may go on
    unguarded because of it."""


class BlockedError(Exception):
    """Something is there that must not pass. The text is type and place, never the value."""

    def __init__(self, type_: str, place: str) -> None:
        super().__init__(f"{type_} in {place}")
        self.type = type_
        self.place = place


class StoppedError(Exception):
    """A stream must not go on. `sent`: what may still go out of it."""

    def __init__(self, cause: BlockedError | GuardError, sent: bytes) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent


class Work(Protocol):
    """Where what takes long is done."""

    async def work(self, size: int, call: Callable[[], T]) -> T:
        """What `call` returns or raises; off the event loop if `size` bytes are many."""
        ...


class Detector(Protocol):
    """Finds personal data and secrets in one text, in the thread that asks."""

    def find(self, text: str) -> list[Finding]:
        """What a text holds, by `start`, not overlapping.

        Takes time linear in the text's length and never raises.
        """
        ...


class Scan(Protocol):
    """Looks through the texts of a body as one route wants it."""

    async def find(self, texts: Sequence[Text]) -> list[list[Finding]]:
        """For each text its findings, as `Detector.find` gives them. Raises GuardError."""
        ...


class Scanner(Protocol):
    """What the service looks through texts with."""

    def scan(self, policy: DetectorPolicy) -> Scan:
        """Made once for each route's policy. Raises PatternError."""
        ...

    async def ping(self) -> None:
        """Raises GuardError when texts cannot be looked through."""
        ...

    async def close(self) -> None:
        """Give threads and connections back."""
        ...
