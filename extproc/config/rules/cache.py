"""The cache in Tollgate's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from extproc.config.cache import host_mistakes, host_weak, route_mistakes, route_weak
from extproc.config.configuration import Configuration, policy_at
from extproc.config.findings import Finding, Severity
from extproc.config.providers import Mistake
from extproc.config.tree import At


def caches(config: Configuration) -> Iterator[Finding]:
    """They can be, and do what they seem to do."""
    shared = {host.path: policy for host, policy in config.hosts}
    for host, policy in config.hosts:
        at = policy_at(host)
        routes = [rule for above, _, rule in config.rules if above.path == host.path]
        yield from _said(at, host_mistakes(policy))
        yield from _said(at, host_weak(policy, routes), Severity.WARNING)
    for host, route, rule in config.rules:
        if host.path in shared:
            at, above = policy_at(route), shared[host.path]
            yield from _said(at, route_mistakes(above, rule))
            yield from _said(at, route_weak(above, rule), Severity.WARNING)


def _said(
    at: At, found: Iterable[Mistake], severity: Severity = Severity.ERROR
) -> Iterator[Finding]:
    for one in found:
        yield at.get(*one.path).say(one.message, one.rule, severity)


RULES = (caches,)
