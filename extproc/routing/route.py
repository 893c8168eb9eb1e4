"""One route as the gateway filter uses it: names, targets, and the chain of a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import structs

from extproc.catalogue import Catalogue, Model
from extproc.errors import Reason, Refusal
from extproc.policy import (
    KEPT,
    HostPolicy,
    IdentityPolicy,
    Level,
    Parsed,
    PolicyError,
    RoutePolicy,
    TargetPolicy,
    identity_policy,
)
from extproc.routing.fit import misfit
from extproc.routing.names import Names

Cluster = tuple[str, int]
Chain = tuple[tuple[Cluster, ...], ...]
LeftOut = tuple[str, Refusal]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks of a target."""

    needs: frozenset[str]
    """Features that the model must have."""
    lacking: str | None = None
    """What cannot be carried to it of the request."""
    param: str | None = None
    """The request's field that this is, if it is one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The levels a request may take. `levels` is empty when every level was left out."""

    levels: tuple[tuple[tuple[str, int], ...], ...]
    """For each level its targets with their weights."""
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """A target with what the catalogue knows of its model."""

    policy: TargetPolicy
    model: Model


class Route:
    """One route of one virtual host, compiled from its metadata."""

    def __init__(self, policy: RoutePolicy, host: HostPolicy, catalogue: Catalogue) -> None:
        self.policy = policy
        self.host = host
        self.compiled: object | None = None
        """What the limits room makes of the policies, once."""
        self.watch: object | None = None
        """What the guard makes of them; False: nothing."""
        self.cache: object | None = None
        """What the cache makes of them; False: nothing."""
        self.identity = identity_policy(policy.identity or host.identity)
        self.tiers = frozenset(host.tiers)
        self.private = _private(self.identity)
        self.names = Names(policy, host)
        self.targets = {
            name: Facts(structs.replace(target, target=name), catalogue.of(target))
            for name, target in host.targets.items()
        }

    def chain(self, levels: Sequence[Sequence[tuple[str, int]]]) -> Chain:
        """Levels of targets as the clusters that Envoy knows."""
        return tuple(
            tuple((self.targets[name].policy.cluster, weight) for name, weight in level)
            for level in levels
        )

    def at_one_provider(self, levels: Sequence[Level]) -> list[Level]:
        """Of these levels what is at the provider of the first; of several that share that one,
        the first by name. A caller's key for one provider is no other's to see."""
        at = {name: facts.policy.provider for name, facts in self.targets.items()}
        first = next((min(level, key=lambda name: at.get(name, "")) for level in levels), "")
        mine = {name for name, provider in at.items() if provider == at.get(first)}
        kept = ({name: level[name] for name in level if name in mine} for level in levels)
        return [level for level in kept if level]

    def plan(
        self,
        levels: Sequence[Level],
        tokens: int,
        max_output: int | None,
        demand: Callable[[TargetPolicy], Demand],
    ) -> Plan:
        """Leave out every target that the request alone rules out.

        `demand` says what the request asks of a target.
        """
        left_out: list[LeftOut] = []
        kept_levels: list[tuple[tuple[str, int], ...]] = []
        for level in levels:
            kept: list[tuple[str, int]] = []
            for name, weight in level.items():
                facts = self.targets.get(name)
                if facts is None:
                    continue
                asks = demand(facts.policy)
                refusal = misfit(facts.model, asks.needs, tokens, max_output)
                if refusal is None and asks.lacking:
                    refusal = Refusal(Reason.FEATURE, 400, detail=asks.lacking, param=asks.param)
                if refusal is None:
                    kept.append((name, weight))
                else:
                    left_out.append((name, refusal))
            if kept:
                kept_levels.append(tuple(kept))
        return Plan(tuple(kept_levels), tuple(left_out))


def _private(identity: IdentityPolicy) -> tuple[str, ...]:
    """Headers that say who asks, and that no provider may see."""
    if identity.header is None:
        return ()
    names = structs.asdict(identity.header.headers).values()
    return tuple(name.lower() for name in names if name)


class Routes:
    """Compiled routes, by the metadata texts they came in."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._parsed = Parsed()
        self._kept: OrderedDict[tuple[object, object], Route] = OrderedDict()

    def of(self, route_text: object, host_text: object) -> Route:
        """The route for the texts of its own and its virtual host's metadata, as Envoy sent
        them. Raises PolicyError."""
        key = (route_text, host_text)
        found = self._kept.get(key)
        if found is None:
            policy = self._parsed.of(RoutePolicy, route_text)
            host = self._parsed.of(HostPolicy, host_text)
            try:
                found = self._kept[key] = Route(policy, host, self._catalogue)
            except ValueError as error:
                raise PolicyError(f"targets: {error}") from error
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found
