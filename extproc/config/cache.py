"""The cache: what of it is rendered, and what is wrong with it or weak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from extproc.cache.rules import host_errors, route_errors
from extproc.cache.weak import host_warnings, route_warnings
from extproc.config.findings import Path
from extproc.config.gateway import Cache, Cached, Gateway, Route
from extproc.config.identity import policy_of
from extproc.config.providers import Mistake
from extproc.config.unsaid import unsaid
from extproc.policy import (
    CacheField,
    CachePolicy,
    CacheTtl,
    HostPolicy,
    RoutePolicy,
    cache_policy,
    identity_policy,
)
from extproc.rule_error import RuleError


def cache_field(cache: Cached | None) -> CacheField | None:
    """A cache, as the service is told of it: in short where it was written so."""
    if not isinstance(cache, Cache):
        return cache
    said = msgspec.structs.asdict(cache)
    times = msgspec.structs.asdict(cache.ttl)
    kinds = {name: float(one) for name, one in times.pop("kinds").items()}
    ttl = CacheTtl(**{name: _number(one) for name, one in times.items()}, kinds=kinds)
    return CachePolicy(**{**said, "ttl": ttl, "wait": _number(cache.wait)})


def _number(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)


def plain(field: CacheField) -> dict[str, Any]:
    """A cache as metadata. Only what nobody said is left out: false and nought undo what the
    virtual host says, and a cache of which nothing is said is one that is on."""
    policy = cache_policy(field)
    return {} if policy is None else _said(policy)


def _said(policy: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(policy)
    said = {name: _plain(one) for name, one in fields.items() if one is not None}
    return {name: one for name, one in said.items() if one not in ({}, [])}


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _said(value)
    if isinstance(value, dict):
        # A kind of which nothing is said is one all the same.
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # Envoy reads whole numbers as numbers, and fractions as text.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def empty(data: Any) -> Iterator[Mistake]:
    """`cache:` with nothing behind it looks like a cache, and is none."""
    message = "says nothing; say cache: exact, semantic or off, or leave it out"
    return unsaid(data, "cache", message, "bad-cache")


def mistakes(gateway: Gateway) -> Iterator[Mistake]:
    """What is wrong in a gateway.yaml, by its own places."""
    host = cache_field(gateway.cache)
    yield from _wrong(host_errors(host, gateway.chains))
    for index, route in enumerate(gateway.routes):
        found = route_errors(host, cache_field(route.cache), gateway.chains)
        yield from _wrong(found, ("routes", index))


def weak(gateway: Gateway) -> Iterator[Mistake]:
    """What does other than it seems, by its places."""
    host = cache_field(gateway.cache)
    caches = [cache_field(one.cache) for one in gateway.routes]
    tenants = [_tenants(gateway, one) for one in gateway.routes]
    yield from _weak(host_warnings(host, caches, tenants=any(tenants)))
    for index, route in enumerate(caches):
        found = route_warnings(host, route, tenants=tenants[index])
        yield from _weak(found, ("routes", index))


def _tenants(gateway: Gateway, route: Route) -> bool:
    said = gateway.identity if route.identity is None else route.identity
    return identity_policy(policy_of(gateway, said)).tells_tenants


def host_mistakes(host: HostPolicy) -> Iterator[Mistake]:
    """What is wrong with what all routes share, by the places in its policy."""
    return _wrong(host_errors(host.cache, host.chains))


def route_mistakes(host: HostPolicy, route: RoutePolicy) -> Iterator[Mistake]:
    """What is wrong with a route, by the places in its policy."""
    return _wrong(route_errors(host.cache, route.cache, host.chains))


def host_weak(host: HostPolicy, routes: Sequence[RoutePolicy]) -> Iterator[Mistake]:
    """What does other than it seems on its routes, by the places in their shared policy."""
    tenants = any(_tells(host, one) for one in routes)
    return _weak(host_warnings(host.cache, [one.cache for one in routes], tenants=tenants))


def route_weak(host: HostPolicy, route: RoutePolicy) -> Iterator[Mistake]:
    """What does other than it seems on a route, by the places in its policy."""
    return _weak(route_warnings(host.cache, route.cache, tenants=_tells(host, route)))


def _tells(host: HostPolicy, route: RoutePolicy) -> bool:
    said = host.identity if route.identity is None else route.identity
    return identity_policy(said).tells_tenants


def _wrong(errors: Iterable[RuleError], path: Path = ()) -> Iterator[Mistake]:
    return (Mistake((*path, *one.path), one.message, "bad-cache") for one in errors)


def _weak(errors: Iterable[RuleError], path: Path = ()) -> Iterator[Mistake]:
    return (Mistake((*path, *one.path), one.message, "weak-cache") for one in errors)
