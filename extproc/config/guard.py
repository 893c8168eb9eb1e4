"""The guard: what of it is rendered, and what is wrong with it or weak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from extproc.config.findings import Path
from extproc.config.gateway import Gateway, Guard
from extproc.config.providers import Mistake
from extproc.config.unsaid import unsaid
from extproc.guard.rules import host_errors, host_warnings, route_errors, route_warnings
from extproc.policy import GuardPolicy, HostPolicy, RoutePolicy
from extproc.rule_error import RuleError

_NOT_SAID: Final[tuple[Any, ...]] = (None, {}, ())


def guard_policy(guard: Guard | None) -> GuardPolicy | None:
    """A guard, as the service is told of it."""
    if guard is None:
        return None
    said = msgspec.structs.asdict(guard)
    keep = None if guard.keep is None else float(guard.keep)
    return GuardPolicy(**{**said, "keep": keep})


def plain(policy: GuardPolicy) -> dict[str, Any]:
    """A guard as metadata. Only what nobody said is left out: false undoes what the virtual host
    says, and a guard of which nothing is said is one that is on."""
    said = msgspec.structs.asdict(policy)
    return {name: _plain(value) for name, value in said.items() if value not in _NOT_SAID}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # Envoy reads whole numbers as numbers, and fractions as text.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def empty(data: Any) -> Iterator[Mistake]:
    """`guard:` with nothing behind it looks like a guard, and is none."""
    message = "says nothing; say guard: {} for one with its defaults, or leave it out"
    return unsaid(data, "guard", message, "bad-guard")


def mistakes(gateway: Gateway) -> Iterator[Mistake]:
    """What is wrong in a gateway.yaml, by its own places."""
    host, routes = _policies(gateway)
    yield from _as(host_errors(host, routes), "bad-guard")
    for index, route in enumerate(routes):
        yield from _as(route_errors(host, route), "bad-guard", ("routes", index))


def weak(gateway: Gateway) -> Iterator[Mistake]:
    """What does less than it seems, by its places."""
    host, routes = _policies(gateway)
    yield from _as(host_warnings(host), "weak-guard")
    for index, route in enumerate(routes):
        yield from _as(route_warnings(host, route), "weak-guard", ("routes", index))


def host_mistakes(host: HostPolicy, routes: Sequence[RoutePolicy] | None) -> Iterator[Mistake]:
    """What is wrong with what all routes share, by the places in its policy. None: not all of them
    are known."""
    guards = None if routes is None else [one.guard for one in routes]
    return _as(host_errors(host.guard, guards), "bad-guard")


def route_mistakes(host: HostPolicy, route: RoutePolicy) -> Iterator[Mistake]:
    """What is wrong with a route, by the places in its policy."""
    return _as(route_errors(host.guard, route.guard), "bad-guard")


def host_weak(host: HostPolicy) -> Iterator[Mistake]:
    """What does less than it seems on all routes, by the places in their shared policy."""
    return _as(host_warnings(host.guard), "weak-guard")


def route_weak(host: HostPolicy, route: RoutePolicy) -> Iterator[Mistake]:
    """What does less than it seems on a route, by the places in its policy."""
    return _as(route_warnings(host.guard, route.guard), "weak-guard")


def _policies(gateway: Gateway) -> tuple[GuardPolicy | None, list[GuardPolicy | None]]:
    return guard_policy(gateway.guard), [guard_policy(one.guard) for one in gateway.routes]


def _as(errors: Iterable[RuleError], rule: str, path: Path = ()) -> Iterator[Mistake]:
    return (Mistake((*path, *one.path), one.message, rule) for one in errors)
