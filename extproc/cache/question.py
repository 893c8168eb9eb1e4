"""A request as the cache has it, from its look-up until its answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from extproc.cache.control import Control
from extproc.cache.fingerprint import Asked
from extproc.cache.flights import Flight
from extproc.cache.replay import Asker
from extproc.cache.rules import Rules
from extproc.cache.storable import Unfit
from extproc.cache.vectors import Vector
from extproc.catalogue import Price
from extproc.state.answers import Entry, shown

if TYPE_CHECKING:
    from extproc.cache import Vectors
    from extproc.cache.core import Decision
    from extproc.cache.guards import Signs

Outcome = Literal["hit", "semantic", "miss", "bypass"]


class Billing(Struct, frozen=True):
    """What an embedder that is paid for takes."""

    model: str
    provider: str | None = None
    """`gen_ai.provider.name`, and its price, where the catalogue knows the model."""
    price: Price | None = None


@dataclass(slots=True, eq=False)
class Served:
    """An entry that may be served."""

    entry: Entry
    outcome: Outcome
    score: float | None = None
    """Cosine between the two questions, of a semantic hit."""

    def told(self, now: float) -> str:
        """As a header says it. `now`: UTC epoch seconds."""
        head = self.entry.head
        score = "" if self.score is None else f"; score={self.score:.3f}"
        age = max(0, int(now - head.created))
        return f"{self.outcome}{score}; age={age}; id={shown(head.id)}"


@dataclass(slots=True, eq=False, kw_only=True)
class Question:
    """Filled in step by step."""

    rules: Rules
    control: Control
    asked: Asked
    asker: Asker
    format: str
    route: str
    model: str
    """That was asked for."""
    tenant: str
    """A mark, as `whose.tenant_mark` makes it; empty where nobody was named."""
    scope: bytes
    kind: str
    targets: Mapping[str, str]
    """Whose answers may be served, and the provider's model behind each now."""
    started: float
    """UTC epoch seconds."""
    given: object = field(default=None, repr=False)
    """The `input` of a request for embeddings."""
    vectors: list[Vector | None] = field(default_factory=list, repr=False)
    """For each of its inputs what is kept."""
    found: list[Entry] = field(default_factory=list, repr=False)
    """Where all of them are kept: the entries."""
    since: str = ""
    """Where the store's log of changes stood."""
    flight: Flight | None = None
    decision: Decision | None = None
    signs: Signs | None = field(default=None, repr=False)
    """Of its text, once that was compared."""
    vector: Vectors | None = field(default=None, repr=False)
    near: dict[int, int] = field(default_factory=dict)
    """Entries that were near: for each answer the nearest entry that has it."""
    tokens: int = 0
    """That an embedder will bill, and that nobody has booked."""
    billing: Billing | None = None
    """What for. None: nobody bills."""
    book: Callable[[int], None] | None = None
    """Takes tokens that are billed after the request was settled."""
    would: Served | None = None
    """What was found and not served, since the route only observes."""
    reason: str = ""
    """Why it was no hit."""
    ttl: float | None = None
    """Seconds, and kind, as the answer's headers say."""
    told_kind: str | None = None
    stream: bytearray | None = field(default_factory=bytearray, repr=False)
    """What came of a streamed answer; None: too much to be kept."""
    unfit: Unfit | None = None
    """Why its answer is not kept."""
    keeping: bool = False
    """Its answer is on its way to the store."""

    @property
    def follows(self) -> bool:
        """The same is being asked already: its answer is worth waiting for."""
        return self.flight is not None and not self.flight.leads

    def takes(self, entry: Entry) -> bool:
        """The entry may be served to this request: its target would be asked, for the model that
        it had then, and it is no older than wanted."""
        head = entry.head
        return self.takes_from(head.target, head.provider_model, head.created)

    def takes_from(self, target: str, provider_model: str, created: float) -> bool:
        """The same of what came from a target at a time."""
        most = self.control.max_age
        if most is not None and self.started - created > most:
            return False
        if not target:
            return True  # it was imported
        model = self.targets.get(target)
        return model is not None and provider_model in ("", model)

    def booked(self) -> None:
        """Book what came after the request was settled."""
        if self.tokens and self.book is not None:
            self.book(self.tokens)
            self.tokens = 0

    def leave(self) -> None:
        """Nothing will come of it: who waits goes on."""
        if self.flight is not None and self.flight.leads:
            self.flight.land(None)
