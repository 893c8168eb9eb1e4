"""The limits of a route, compiled: which of them a caller meets.

Four places say limits: the gateway, the route, the caller's tier, and the caller's key. All of them
apply at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from extproc.limits.expression import shown
from extproc.limits.options import zone_of
from extproc.limits.reading import Known, Place, Section, read
from extproc.limits.rule import NAME, NAME_FORM, WHOSE, Measure, Rule
from extproc.policy import HostPolicy, QueuePolicy, RoutePolicy
from extproc.records import Caller
from extproc.rule_error import Path, RuleError

__all__ = [
    "MARGIN",
    "Compiled",
    "Measure",
    "Rule",
    "RuleError",
    "Ruled",
    "check_own",
    "host_errors",
    "route_errors",
]

KEPT: Final = 1024
"""Combinations of a tier and a key's own limits that are kept; many keys share theirs."""
LONGEST_TTL: Final = 3600.0
"""Seconds; no client waits longer for an answer's first byte."""
MARGIN: Final = 10.0
"""Seconds by which Envoy has to be more patient than the longest time to live in the queue."""
MOST_DEPTH: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Ruled:
    """What a caller meets on a route."""

    rules: tuple[Rule, ...]
    priority: str | None
    """The class of its requests by its key, else by its tier. None: neither says."""

    @property
    def strict(self) -> bool:
        """Some rule is strict."""
        return any(one.strict for one in self.rules)


class Compiled:
    """The limits of one route. Raises RuleError when they cannot be; `path` then begins with a
    field of the route's policy or the virtual host's."""

    def __init__(self, host: HostPolicy, route: RoutePolicy) -> None:
        known = _known(host)
        _first(host_errors(host))
        _first(route_errors(host, route))
        self.queue: QueuePolicy = host.queue
        self.priority: str | None = route.priority
        """The class of requests that nobody says anything of."""
        self.ttl: float = host.queue.ttl if route.ttl is None else route.ttl
        """Seconds that its requests wait at most."""
        self._known = known
        self._shared = (
            *read(host.limits, _GATEWAY, known).rules,
            *read(route.limits, _route(route), known).rules,
        )
        self._tiers = {name: read(one, _tier(name), known) for name, one in host.tiers.items()}
        tiered = [rule for one in self._tiers.values() for rule in one.rules]
        ceilings = any(
            one.ceilings is not None or one.provider_ceilings is not None
            for one in host.targets.values()
        )
        self.strict: bool = any(one.strict for one in (*self._shared, *tiered))
        """Some rule is strict; a key's own limits are not among them."""
        self.empty: bool = not self._shared and not tiered and not ceilings
        """Nothing is limited and no target has ceilings, but for keys with limits of their own."""
        self._kept: OrderedDict[tuple[str | None, str | None], Ruled | RuleError] = OrderedDict()

    def free(self, caller: Caller) -> bool:
        """Nothing is limited for this caller, and no target has ceilings."""
        return self.empty and caller.limits is None

    def of(self, caller: Caller) -> Ruled:
        """What this caller meets. Raises RuleError where its key's own limits cannot be."""
        key = (caller.tier, caller.limits)
        found = self._kept.get(key)
        if found is None:
            try:
                found = self._ruled(caller)
            except RuleError as error:
                found = error
            self._kept[key] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        if isinstance(found, RuleError):
            raise RuleError(found.message, found.path)
        return found

    def _ruled(self, caller: Caller) -> Ruled:
        tier = self._tiers.get(caller.tier or "", Section())
        rules = (*self._shared, *tier.rules)
        if caller.limits is None:
            return Ruled(rules, tier.priority)
        own = read(_decoded(caller.limits), _KEY, self._known)
        _first(own.errors)
        taken = {one.name for one in rules}
        named = (
            replace(one, name=f"key-{one.name}") if one.name in taken else one for one in own.rules
        )
        return Ruled((*rules, *named), own.priority or tier.priority)


def check_own(limits: Mapping[str, Any]) -> None:
    """Check a key's own limits, as far as that can be done without knowing a gateway's chains and
    classes. Raises RuleError."""
    _first(read(limits, _KEY, Known()).errors)


def host_errors(host: HostPolicy) -> list[RuleError]:
    """Everything that is wrong with the limits that all routes share, by their places in it."""
    found: list[RuleError] = []
    try:
        zone_of(host.timezone)
    except RuleError as error:
        found.append(error.below(("timezone",)))
    found += _below(("queue",), queue_errors(host.queue))
    known = _known(host)
    shared = read(host.limits, _GATEWAY, known)
    found += _below(("limits",), shared.errors)
    for name, limits in host.tiers.items():
        tier = read(limits, _tier(name), known)
        found += _below(("tiers", name), [*tier.errors, *_taken(tier, shared)])
    return found


def route_errors(host: HostPolicy, route: RoutePolicy) -> list[RuleError]:
    """Everything that is wrong with the limits of a route, by their places in its policy."""
    known = _known(host)
    section = read(route.limits, _route(route), known)
    shared = read(host.limits, _GATEWAY, known)
    found = list(_below(("limits",), [*section.errors, *_taken(section, shared)]))
    for name, limits in host.tiers.items():
        tier = read(limits, _tier(name), known)
        found += _below(("limits",), _taken(section, tier))
    if route.priority is not None and route.priority not in host.queue.classes:
        found.append(_no_class(route.priority, host.queue, ("priority",)))
    if route.ttl is not None and not 0 <= route.ttl <= LONGEST_TTL:
        found.append(_no_ttl(route.ttl))
    return found


def queue_errors(queue: QueuePolicy) -> Iterator[RuleError]:
    """What is wrong with the queue, by its fields."""
    yield from _class_errors(queue)
    if not 0 <= queue.ttl <= LONGEST_TTL:
        yield _no_ttl(queue.ttl)
    depths: dict[Path, int] = {
        ("depth",): queue.depth,
        ("tenant_depth",): queue.tenant_depth,
        ("feature_depth",): queue.feature_depth,
    }
    if isinstance(queue.class_depth, int):
        depths["class_depth",] = queue.class_depth
    else:
        depths |= {("class_depth", name): depth for name, depth in queue.class_depth.items()}
    for path, depth in depths.items():
        if not 1 <= depth <= MOST_DEPTH:
            yield RuleError(f"{depth} is not from 1 to {MOST_DEPTH}", path)


def _class_errors(queue: QueuePolicy) -> Iterator[RuleError]:
    classes = queue.classes
    if not classes:
        yield RuleError("is empty; there must be at least one class", ("classes",))
        return
    for index, name in enumerate(classes):
        if NAME.fullmatch(name) is None:
            yield RuleError(f"{shown(name)} is not a name; {NAME_FORM}", ("classes", index))
        if name in classes[:index]:
            yield RuleError(f"'{name}' is there twice", ("classes", index))
    depths = queue.class_depth if isinstance(queue.class_depth, dict) else {}
    named: list[tuple[str, Path]] = [
        (queue.default, ("default",)),
        *((name, ("weights", name)) for name in queue.weights),
        *((name, ("class_depth", name)) for name in depths),
    ]
    yield from (_no_class(name, queue, path) for name, path in named if name not in classes)
    for name, weight in queue.weights.items():
        if not 1 <= weight <= MOST_DEPTH:
            yield RuleError(f"{weight} is not a weight from 1 to {MOST_DEPTH}", ("weights", name))
    if queue.weights and queue.between != "weighted":
        yield RuleError("is for between: weighted; here classes are strict", ("weights",))


_GATEWAY: Final = Place(label="gateway", scope="g")
_KEY: Final = Place(label="key", scope="k", direct=("key",), within=("key",), priority=True)


def _route(route: RoutePolicy) -> Place:
    return Place(label=f"route {route.route}", scope=f"r:{_escaped(route.route)}")


def _tier(name: str) -> Place:
    return Place(label=f"tier {name}", scope=f"t:{_escaped(name)}", direct=(WHOSE,), priority=True)


def _escaped(name: str) -> str:
    """A name as a part of a scope, whose parts `|` separates."""
    return name.replace("%", "%25").replace("|", "%7C")


def _known(host: HostPolicy) -> Known:
    return Known(chains=host.chains, classes=host.queue.classes, zone=host.timezone)


def _taken(section: Section, other: Section) -> Iterator[RuleError]:
    for name, path in section.named.items():
        if name in other.named:
            yield RuleError(f"'{name}' is another limit's name as well", path)


def _no_class(name: str, queue: QueuePolicy, path: Path) -> RuleError:
    return RuleError(f"no priority class '{name}'; there is {', '.join(queue.classes)}", path)


def _no_ttl(seconds: float) -> RuleError:
    return RuleError(f"{seconds:g} is not from 0 to {LONGEST_TTL:g} seconds", ("ttl",))


def _decoded(limits: str) -> Any:
    try:
        return msgspec.json.decode(limits)
    except (msgspec.DecodeError, RecursionError):
        raise RuleError("the key's own limits are not JSON") from None


def _below(path: Path, errors: Iterable[RuleError]) -> Iterator[RuleError]:
    return (one.below(path) for one in errors)


def _first(errors: Iterable[RuleError]) -> None:
    for error in errors:
        raise error
