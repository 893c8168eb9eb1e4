"""What of a cache's policy can be, and does other than it seems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from extproc.cache.kinds import BUILT_IN
from extproc.cache.rules import TEMPERATURE, is_off, merged, placed, wrong
from extproc.policy import CacheField, CachePolicy, cache_policy
from extproc.rule_error import RuleError


def host_warnings(
    host: CacheField | None,
    routes: Sequence[CacheField | None] | None = None,
    *,
    tenants: bool = True,
) -> list[RuleError]:
    """What can be, and does other than it seems, in the cache that all routes share.

    routes: what each of them says; None: they are not known. tenants: callers may be of several.
    """
    policy = cache_policy(host)
    if policy is None:
        return []
    below = [policy] if routes is None else [merged(host, one) or policy for one in routes]
    return placed(host, _warnings(policy, policy, below, tenants=tenants))


def route_warnings(
    host: CacheField | None, route: CacheField | None, *, tenants: bool = True
) -> list[RuleError]:
    """The same of a route, by what the route itself says."""
    own, said = cache_policy(route), merged(host, route)
    if own is None or said is None:
        return []
    return placed(route, _warnings(own, said, [said], tenants=tenants))


def _warnings(
    own: CachePolicy, said: CachePolicy, below: Iterable[CachePolicy], *, tenants: bool
) -> Iterator[RuleError]:
    """below: the caches for which `own` is said."""
    on = [one for one in below if not is_off(one)]
    if not on:
        return
    if tenants:
        yield from _shared_warnings(own)
    if own.custom_keys:
        yield wrong("a client's key gets the answer to whatever was asked with it", "custom_keys")
    if own.temperature_max is not None and own.temperature_max < TEMPERATURE:
        message = "a request that says no temperature has its API's default, 1, and is not cached"
        yield wrong(message, "temperature_max")
    if any(one.mode in ("semantic", "observe") for one in on):
        yield from _semantic_warnings(own, said)
    else:
        yield from _exact_warnings(own)
    yield from _kind_warnings(own, said)


def _shared_warnings(own: CachePolicy) -> Iterator[RuleError]:
    if own.scope == "shared":
        yield wrong("an answer to one tenant is served to all others", "scope")
    elif own.allow_scope == "shared":
        message = "a header may have an answer to one tenant served to all others"
        yield wrong(message, "allow_scope")


def _semantic_warnings(own: CachePolicy, said: CachePolicy) -> Iterator[RuleError]:
    if said.temperature_max is not None and said.temperature_max > TEMPERATURE:
        message = (
            "a request above 1 is to be answered differently each time, and gets an answer that "
            "was given to another"
        )
        if own.temperature_max is not None:
            yield wrong(message, "temperature_max")
        elif own.mode is not None:
            yield wrong(f"temperature_max is {said.temperature_max:g}: {message}", "mode")
    if own.audit == 0:
        message = "without audits nothing tells that answers have become wrong"
        yield wrong(message, "audit")
    elif own.audit == 1:
        message = "everything is an audit, so nothing is served but for the same request"
        yield wrong(f"{message}; to try it out say mode: observe", "audit")
    if own.verifier == "threshold":
        message = "the score alone decides: the share of wrong answers is not held at max_error"
        yield wrong(message, "verifier")


def _exact_warnings(own: CachePolicy) -> Iterator[RuleError]:
    unused = "has no effect: mode is exact, and only the same request meets"
    for name in (
        *("max_error", "audit", "verifier", "threshold", "min_score", "strict"),
        *("embed", "judge"),
    ):
        if getattr(own, name) is not None:
            yield wrong(unused, name)
    for name, kind in own.kinds.items():
        for field in ("threshold", "min_score", "max_error"):
            if getattr(kind, field) is not None:
                yield wrong(unused, "kinds", name, field)


def _kind_warnings(own: CachePolicy, said: CachePolicy) -> Iterator[RuleError]:
    unsaid = "has no words: only a header can say it"
    for name, kind in own.kinds.items():
        if not kind.words and name not in BUILT_IN and not said.kinds[name].words:
            yield wrong(unsaid, "kinds", name)
    for name in own.ttl.kinds:
        if name not in said.kinds:
            near = get_close_matches(name, said.kinds, 1, 0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            yield wrong(f"{unsaid}{hint}", "ttl", "kinds", name)
