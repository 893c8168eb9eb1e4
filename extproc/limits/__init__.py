"""What a caller may use, when it has to wait, and which provider has room left.

The door: `Limits`. The gateway filter asks `admit` before a request goes up, waits in `turn` if it
has to, and says with `settle` what was used. The target filter asks `attempt` at a level that was
not leased beforehand, and hands on with `heard` what the provider says of its own ceilings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from extproc.catalogue import Price
from extproc.policy import TargetPolicy
from extproc.records import Attribution, Caller, Cost, Observation, Usage
from extproc.state.counters import Ask, Outcome


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may serve a request."""

    target: TargetPolicy
    price: Price | None
    output_cap: int | None = None
    """Tokens that its model produces at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is known of a request when it asks for admission."""

    id: str
    caller: Caller
    attribution: Attribution
    route: str
    model: str
    """What the client asked for, after aliases: the chain's or target's name."""
    levels: Sequence[Sequence[tuple[Candidate, int]]]
    """The chain: for each level its candidates with their weights. Never empty."""
    input: int
    """Tokens, estimated."""
    bound: int | None
    """Tokens that the input cannot pass; None: nobody can tell."""
    output: int | None
    """Tokens that the request allows for one answer; None: it does not say."""
    answers: int = 1
    """Answers asked for (`n`)."""
    generates: bool = True
    """It has an output at all (embeddings have none)."""
    observe: bool = False
    """The route only observes: nothing is refused, waited for or left out."""
    deadline: str | None = None
    """`x-tollgate-deadline` as it came."""
    own_key: bool = False
    """The caller pays the provider himself: no ceilings of ours, and money is counted nowhere."""
    skip: frozenset[str] = frozenset()
    """Names of budgets that have sent the request down to another chain already: they count, and
    refuse no more."""


@dataclass(slots=True)
class Grant:
    """An admitted request, or one that waits. The filter keeps it until the end."""

    asking: Asking
    ask: Ask | None
    """None: nothing is limited."""
    outcome: Outcome | None = None
    wait: float | None = None
    """Seconds that it may wait: call `turn` before it goes on. None: it need not."""
    downgrade: str | None = None
    """The chain that an exhausted budget sends it to: plan anew and ask again, with `skip`."""
    downgraded_by: str = ""
    level: int = 0
    """The first level that it may go to; those before it had no room."""
    target: str | None = None
    """The candidate leased at that level; None: whichever."""
    passed: tuple[str, ...] = ()
    """Targets passed over for want of room."""
    cap: int | None = None
    """What has to go up as the most tokens of an answer, so that no more is used than is reserved;
    None: as the client has it."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    """For the answer: x-ratelimit-*, budget, queue."""
    observed: list[Observation] = field(default_factory=list)
    waited: float | None = None
    """Seconds it spent in the queue; None: it did not wait."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Share [0, 1] of each budget that is used, by its name."""


class Limits(Protocol):
    """See the module. Methods that are not awaited only note what is to be done."""

    async def admit(self, asking: Asking, rules: object) -> Grant:
        """Reserve, or find the request's place in the queue. `rules`: `compiled` of its route.
        Raises ClientError 400, 402, 429 or 503."""
        ...

    async def turn(self, grant: Grant) -> None:
        """Wait for the request's turn; fills the grant in. Raises ClientError 503 when its time is
        over or a higher class took its place."""
        ...

    async def waits(self, grant: Grant) -> Sequence[tuple[str, float | None]]:
        """For each target that was passed over the seconds until it has room for this request, as
        it is now; None: nobody knows."""
        ...

    def settle(
        self, grant: Grant, usage: Usage | None, cost: Cost | None, served: str | None,
        attempted: Sequence[str],
    ) -> None:  # fmt: skip
        """What it used in the end; of one that never had its turn, that it is over. Once for each
        grant. `served`: the target that answered; `attempted`: every target that was asked, that
        one included. `usage` None: nothing that counts."""
        ...

    def lease(self, grant: Grant) -> str | None:
        """What the target filters have to know (`x-tollgate-i-lease`); None if no level has a
        ceiling."""
        ...

    async def attempt(
        self, request_id: str, lease: str | None, target: TargetPolicy
    ) -> tuple[bool, float | None]:
        """Whether a level has room: the one that is leased has, and one without ceilings. Any
        other is reserved under the request's id; if that cannot be, the seconds until it can."""
        ...

    def heard(
        self,
        target: TargetPolicy,
        status: int,
        headers: Mapping[str, str],
        wait: float | None = None,
    ) -> None:
        """What a provider's answer says of its ceilings. `wait`: seconds, as its error's body says
        or its headers."""
        ...
