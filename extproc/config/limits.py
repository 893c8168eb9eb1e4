"""What is wrong with limits, tiers, the queue and providers' ceilings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from extproc.config.findings import Path
from extproc.config.gateway import Gateway
from extproc.config.providers import Mistake
from extproc.limits.expression import MOST
from extproc.limits.rules import MARGIN, host_errors, route_errors
from extproc.policy import Ceilings, HostPolicy, QueuePolicy, RoutePolicy
from extproc.rule_error import RuleError

_RATES: Final = ("rpm", "tpm", "itpm", "otpm", "concurrent")


def queue_policy(gateway: Gateway) -> QueuePolicy:
    """The queue, as the service is told of it."""
    queue = gateway.queue
    return QueuePolicy(
        classes=queue.classes,
        default=queue.default,
        between=queue.between,
        weights=queue.weights,
        ttl=float(queue.ttl),
        depth=queue.depth,
        class_depth=queue.class_depth,
        tenant_depth=queue.tenant_depth,
        feature_depth=queue.feature_depth,
    )


def mistakes(gateway: Gateway) -> Iterator[Mistake]:
    """What is wrong in a gateway.yaml, by its own places."""
    host = HostPolicy(
        chains=gateway.chains,
        tiers=gateway.tiers,
        limits=gateway.limits,
        timezone=gateway.timezone,
        queue=queue_policy(gateway),
    )
    yield from host_mistakes(host)
    for index, route in enumerate(gateway.routes):
        policy = RoutePolicy(
            route=route.name,
            chain=route.chain or "",
            limits=route.limits,
            priority=route.priority,
            ttl=route.ttl,
        )
        for one in route_mistakes(host, policy):
            yield one._replace(path=("routes", index, *one.path))
    yield from _below(("providers",), gateway.providers)
    yield from _below(("targets",), gateway.targets)


def host_mistakes(host: HostPolicy) -> Iterator[Mistake]:
    """What is wrong with what all routes share, by the places in its policy."""
    return _broken(host_errors(host))


def route_mistakes(host: HostPolicy, route: RoutePolicy) -> Iterator[Mistake]:
    """What is wrong with a route, by the places in its policy."""
    return _broken(route_errors(host, route))


def ceiling_mistakes(ceilings: Ceilings | None) -> Iterator[Mistake]:
    """What is wrong with the ceilings of a provider or target, by their fields."""
    if ceilings is None:
        return
    said = {name: getattr(ceilings, name) for name in _RATES}
    for name, most in said.items():
        if most is not None and not 1 <= most <= MOST:
            message = f"{most} is not a ceiling from 1 to {MOST}"
            yield Mistake((name,), message, "bad-ceiling")
    if not 0 < ceilings.high_water <= 1:
        message = f"{ceilings.high_water:g} is not a share above 0 and up to 1, e.g. 0.9"
        yield Mistake(("high_water",), message, "bad-ceiling")
    if all(most is None for most in said.values()):
        message = f"says no ceiling; there is {', '.join(_RATES)}"
        yield Mistake((), message, "bad-ceiling")


def waits(host: HostPolicy, routes: Iterable[RoutePolicy]) -> tuple[float, str]:
    """Seconds that Envoy has to let a request wait for its turn at most, and why; 0 where none
    waits."""
    longest, whose = 0.0, ""
    for route in routes:
        seconds = host.queue.ttl if route.ttl is None else route.ttl
        if seconds > longest:
            longest, whose = seconds, route.route
    if not longest:
        return 0.0, ""
    why = f"requests of route '{whose}' may wait in the queue for {longest:g} s"
    return longest + MARGIN, why


def _below(path: Path, named: Mapping[str, object]) -> Iterator[Mistake]:
    for name, one in named.items():
        ceilings = getattr(one, "limits", None)
        for found in ceiling_mistakes(ceilings):
            yield found._replace(path=(*path, name, "limits", *found.path))


def _broken(errors: Iterable[RuleError]) -> Iterator[Mistake]:
    for one in errors:
        rule = "bad-queue" if one.path[0] in {"queue", "priority", "ttl"} else "bad-limit"
        yield Mistake(one.path, one.message, rule)
