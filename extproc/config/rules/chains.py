"""Outer routes: the walk over the levels."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import Configuration, chain_of
from extproc.config.findings import Finding, suggest
from extproc.config.tree import At
from extproc.headers import I_REFUSAL, OVERRIDE_NAMESPACE

_RETRY_ON = (
    "5xx",
    "reset",
    "connect-failure",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
)
_SLOWEST = 0.010
"""Seconds of back-off that a walk may take a level; Envoy's default is 25 ms and doubles."""
_RECEIVED = 64 << 20
"""Bytes that the service takes in one message."""


def walks(config: Configuration) -> Iterator[Finding]:
    """At least one route has levels."""
    for manager in config.of_role("gateway"):
        if manager.table and not any(chain_of(route) for _, route in manager.routes):
            message = "no route has the priority_group cluster specifier: nothing falls back"
            yield manager.table.say(message, "no-chain")


def clusters_exist(config: Configuration) -> Iterator[Finding]:
    """A name that is no cluster is an empty 503."""
    if config.remote:
        return
    names = config.cluster_names
    for _, _, chain in config.chain_routes():
        for group in chain.get("priority_groups"):
            for cluster in group.get("clusters"):
                found = cluster.get("cluster_name")
                if found.text not in names:
                    message = f"no cluster '{found.text}'{suggest(found.text, names)}"
                    yield found.say(message, "missing-cluster")


def retries(config: Configuration) -> Iterator[Finding]:
    """Attempt N takes level N: there must be as many attempts as levels."""
    for _, route, chain in config.chain_routes():
        levels = len(list(chain.get("priority_groups")))
        policy = route.get("route", "retry_policy")
        count = policy.get("num_retries")
        number = count.number if count else (1 if policy else 0)
        if number != levels - 1:
            what = f"is {number:g}" if count else f"is not set, so {number:g}"
            message = f"{what}, but the chain has {levels} levels; say {levels - 1}"
            yield count.say(message, "num-retries")
        if levels > 1:
            yield from _walks(policy)


def _walks(policy: At) -> Iterator[Finding]:
    refresh = policy.get("refresh_cluster_on_retry")
    if refresh.node is not True:
        yield refresh.say("every attempt asks the first level; say true", "refresh-cluster")
    on = policy.get("retry_on")
    said = [one.strip() for one in on.text.split(",")]
    for condition in _RETRY_ON:
        if condition not in said:
            yield on.say(f"no walk on {condition}; add it", "retry-on")
    statuses = policy.get("retriable_status_codes")
    if 429 not in [one.number for one in statuses]:  # noqa: PLR2004 - HTTP
        yield statuses.say("no walk when a level's capacity is used up; add 429", "retry-on")
    headers = policy.get("retriable_headers")
    if I_REFUSAL not in [one.get("name").text for one in headers]:
        message = f"no walk when the service reconsiders an answer; add {I_REFUSAL}"
        yield headers.say(message, "retry-on")


def back_off(config: Configuration) -> Iterator[Finding]:
    """Waiting is for one server asked again; the next level is another one."""
    for _, route, _ in config.chain_routes():
        policy = route.get("route", "retry_policy")
        limited = policy.get("rate_limited_retry_back_off")
        if limited:
            message = "Envoy waits at each refusing level for its retry-after; leave it out"
            yield limited.say(message, "rate-limited-back-off")
        if not (policy.get("num_retries").number or 0):
            continue
        longest = policy.get("retry_back_off", "max_interval")
        if longest.seconds is None or longest.seconds > _SLOWEST:
            message = (
                "Envoy waits 25 ms and more before each level; "
                "say {base_interval: 0.001s, max_interval: 0.001s}"
            )
            yield policy.get("retry_back_off").say(message, "back-off")


def timeouts(config: Configuration) -> Iterator[Finding]:
    """The time-out of a route covers the whole stream; each level has its own."""
    places = [route for _, route, _ in config.chain_routes()]
    places += [route for one in config.of_role("target") for _, route in one.routes]
    for route in places:
        action = route.get("route")
        found = action.get("timeout")
        if action and found.seconds != 0:
            what = f"cuts every stream after {found.text or '15s'}"
            yield found.say(f"{what}; say 0s", "route-timeout")


def buffers(config: Configuration) -> Iterator[Finding]:
    """A body over the limit is refused, and one that could not be kept is not retried."""
    outer: list[float] = []
    for _, route, _ in config.chain_routes():
        found = route.get("request_body_buffer_limit")
        if not found:
            message = (
                "is not set: bodies over the listener's 1 MiB are refused or not retried; "
                "say 33554432"
            )
            yield found.say(message, "buffer-limit")
            continue
        outer.append(found.number or 0)
        if outer[-1] > _RECEIVED:
            message = f"is more than the service takes in one message ({_RECEIVED})"
            yield found.say(message, "buffer-limit")
    for manager in config.of_role("target"):
        for _, route in manager.routes:
            found = route.get("request_body_buffer_limit")
            if not found or (outer and (found.number or 0) <= max(outer)):
                need = f"more than {max(outer):.0f}" if outer else "what the gateway takes"
                message = f"a body that the gateway took, or a long answer, is refused; say {need}"
                yield found.say(message, "level-buffer-limit")


def override(config: Configuration) -> Iterator[Finding]:
    """A request's own chain comes by dynamic metadata."""
    for host, _, chain in config.chain_routes():
        found = chain.get("override_metadata_namespace")
        if found.text != OVERRIDE_NAMESPACE:
            message = f"a request's own chain is not looked up; say {OVERRIDE_NAMESPACE}"
            yield found.say(message, "override-namespace")
        counted = host.get("include_request_attempt_count")
        if counted.node is not True:
            message = "levels are not told which attempt they are; say true"
            yield counted.say(message, "attempt-count")


RULES = (walks, clusters_exist, retries, back_off, timeouts, buffers, override)
