"""Limits, the queue and ceilings in Tollgate's metadata, and Envoy's patience with who waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from extproc.config.configuration import Configuration, Manager, policy_at
from extproc.config.findings import Finding
from extproc.config.limits import ceiling_mistakes, host_mistakes, route_mistakes, waits
from extproc.config.providers import Mistake
from extproc.config.tree import At
from extproc.policy import TargetPolicy

_DEFAULT = 0.2
"""Envoy's default of message_timeout, in seconds."""


def limits(config: Configuration) -> Iterator[Finding]:
    """They can be read, and name what there is."""
    shared = {host.path: policy for host, policy in config.hosts}
    for host, policy in config.hosts:
        yield from _said(policy_at(host), host_mistakes(policy))
        for name, target in policy.targets.items():
            yield from _ceilings(policy_at(host).get("targets", name), target)
    for host, route, rule in config.rules:
        if host.path in shared:
            yield from _said(policy_at(route), route_mistakes(shared[host.path], rule))
    for manager, target in config.targets:
        route = next((route for _, route in manager.routes), manager.table)
        yield from _ceilings(policy_at(route), target)


def _ceilings(at: At, policy: TargetPolicy) -> Iterator[Finding]:
    yield from _said(at.get("ceilings"), ceiling_mistakes(policy.ceilings))
    yield from _said(at.get("provider_ceilings"), ceiling_mistakes(policy.provider_ceilings))


def _said(at: At, found: Iterable[Mistake]) -> Iterator[Finding]:
    for one in found:
        yield at.get(*one.path).say(one.message, one.rule)


def patience(config: Configuration) -> Iterator[Finding]:
    """A request that waits for its turn is silent, and so is the service: Envoy must let both be
    for the longest time to live, and something more. What a level's own listener sees begins when
    the wait is over."""
    for manager in config.of_role("gateway"):
        need, why = _longest(config, manager)
        if need:
            yield from _held(manager, need, why)


def _longest(config: Configuration, manager: Manager) -> tuple[float, str]:
    here = {host.path for host, _ in manager.routes}
    found = [
        waits(policy, [rule for at, _, rule in config.rules if at.path == host.path])
        for host, policy in config.hosts
        if host.path in here
    ]
    return max(found, default=(0.0, ""))


def _held(manager: Manager, need: float, why: str) -> Iterator[Finding]:
    first, longest = (
        manager.filter.get("message_timeout"),
        manager.filter.get("max_message_timeout"),
    )
    held = max(first.seconds or _DEFAULT, longest.seconds or 0.0)
    if held < need:
        message = f"holds them for {held:g} s at most, but {why}; say {need:g}s or more"
        yield longest.say(message, "max-message-timeout")
    idle = manager.node.get("stream_idle_timeout")
    if idle and idle.seconds is not None and 0 < idle.seconds < need:
        message = f"cuts streams after {idle.seconds:g} s, but {why}; say {need:g}s or more"
        yield idle.say(message, "idle-timeout")


RULES = (limits, patience)
