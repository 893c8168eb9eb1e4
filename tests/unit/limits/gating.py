"""A gate over a store in memory, with clocks that a test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from extproc.alerts import Alert
from extproc.catalogue import compile_price
from extproc.errors import ClientError
from extproc.limits import Asking, Candidate, Grant
from extproc.limits.gate import Gate
from extproc.limits.rules import Compiled
from extproc.policy import Ceilings, HostPolicy, Price, QueuePolicy, RoutePolicy, TargetPolicy
from extproc.records import Attribution, Caller, Cost, Usage
from extproc.state.embedded.limits import MemoryLimits

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
ONE = Ceilings(concurrent=1)
CALLER = Caller(source="key", key="k1", tenant="acme")
WHOSE = Attribution(user="alice", feature="chat")


@dataclass
class Clock:
    """Both clocks at once."""

    at: float = NOON

    def __call__(self) -> float:
        return self.at


@dataclass
class Heard:
    """What metrics and alerts were told."""

    decisions: list[tuple[str, str]] = field(default_factory=list)
    queue: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, float]] = field(default_factory=list)
    room: dict[str, float] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)

    def decided(self, rule: str, outcome: str) -> None:
        self.decisions.append((rule, outcome))

    def waited(self, class_: str, seconds: float) -> None:
        self.queue.append((class_, f"waited {seconds:g}"))

    def dropped(self, class_: str, reason: str) -> None:
        self.queue.append((class_, reason))

    def away(self, decision: str) -> None:
        self.decisions.append(("away", decision))

    def crossed(self, rule: str, share: float) -> None:
        self.events.append((rule, share))

    def headroom(self, target: str, share: float) -> None:
        self.room[target] = share


def target(name: str, provider: str = "p", **fields: Any) -> TargetPolicy:
    return TargetPolicy(
        target=name, provider=provider, system="openai", dialect="openai", model=name, **fields
    )


def candidate(
    name: str = "a",
    price: tuple[str, str] | None = ("2", "10"),
    cap: int | None = None,
    ceilings: Ceilings | None = None,
    **fields: Any,
) -> Candidate:
    """`price`: dollars per million tokens, in and out: 2,000 and 10,000 nano-dollars a token."""
    return Candidate(
        target(name, ceilings=ceilings, **fields),
        None if price is None else compile_price(Price(input=price[0], output=price[1])),
        cap,
    )


def asking(request_id: str = "r1", levels: Sequence[Any] = (), **fields: Any) -> Asking:
    """`levels`: candidates, or lists of candidates with their weights."""
    chain = [one if isinstance(one, list) else [(one, 1)] for one in (levels or (candidate(),))]
    given: dict[str, Any] = {
        "caller": CALLER, "attribution": WHOSE, "route": "main", "model": "best",
        "input": 100, "bound": None, "output": 50,
    }  # fmt: skip
    return Asking(id=request_id, levels=chain, **(given | fields))


def compiled(
    limits: dict[str, Any] | None = None,
    *,
    tiers: dict[str, Any] | None = None,
    queue: QueuePolicy | None = None,
    **route: Any,
) -> Compiled:
    host = HostPolicy(
        limits=limits or {},
        tiers=tiers or {},
        queue=queue or QueuePolicy(),
        targets={"a": target("a", ceilings=Ceilings(rpm=1))},
        chains={"best": [{"a": 1}], "cheap": [{"a": 1}]},
    )
    return Compiled(host, RoutePolicy(route="main", chain="best", **route))


@dataclass
class Gating:
    """A gate and what is around it."""

    clock: Clock = field(default_factory=Clock)
    heard: Heard = field(default_factory=Heard)
    draws: list[float] = field(default_factory=list)
    """Random numbers to come; 0.5 when there are none."""

    def __post_init__(self) -> None:
        self.store = MemoryLimits(steady=self.clock, wall=self.clock, owner="w1")
        self.gate = Gate(
            self.store, self.heard, self.heard.alerts.append,
            now=self.clock, clock=self.clock, draw=self._draw,
        )  # fmt: skip

    def _draw(self) -> float:
        return self.draws.pop(0) if self.draws else 0.5

    async def granted(self, rules: Compiled, request_id: str = "r1", **fields: Any) -> Grant:
        grant = await self.gate.admit(asking(request_id, **fields), rules)
        assert grant.wait is None
        assert grant.downgrade is None
        return grant

    def served(
        self,
        grant: Grant,
        tokens: tuple[int, int] = (100, 50),
        *,
        nano: int | None = 0,
        by: str = "a",
        walked: Sequence[str] = (),
    ) -> None:
        cost = None if nano is None else Cost(nano)
        self.gate.settle(grant, Usage(*tokens), cost, by, [*walked, by])

    async def used(self, grant: Grant, index: int = 0) -> float:
        """Of the counter of a grant's take."""
        assert grant.ask is not None
        return (await self.store.peek([grant.ask.takes[index].counter]))[0].used

    async def used_at(self, grant: Grant, index: int = 0) -> list[float]:
        """Of the counters of an option."""
        assert grant.ask is not None
        counters = [take.counter for take in grant.ask.options[index].takes]
        return [one.used for one in await self.store.peek(counters)]

    async def refused(self, rules: Compiled, request_id: str, **fields: Any) -> ClientError:
        with pytest.raises(ClientError) as caught:
            await self.gate.admit(asking(request_id, **fields), rules)
        return caught.value

    async def waiting(self, request_id: str, **fields: Any) -> Grant:
        fields.setdefault("levels", [candidate(ceilings=ONE)])
        rules = fields.pop("rules", None) or compiled()
        grant = await self.gate.admit(asking(request_id, **fields), rules)
        assert grant.wait is not None
        return grant
