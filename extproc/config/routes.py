"""Route tables: the chains in front, and one table behind each level."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.config import cache
from extproc.config.clusters import level_cluster, provider_cluster
from extproc.config.credentials import (
    CREDENTIALS,
    KEY_FILTERS,
    callers_header,
    key_headers,
    late,
)
from extproc.config.gateway import Gateway, Route, Target
from extproc.config.guard import guard_policy, plain
from extproc.config.identity import identities, policy_of, token_headers, trusted_headers
from extproc.config.limits import queue_policy
from extproc.config.loading import provider_of
from extproc.config.options import Settings
from extproc.config.parts import Node, Noted, duration, extension, typed
from extproc.config.urls import Origin
from extproc.guard.rules import is_on
from extproc.headers import (
    I_CREDENTIAL,
    I_READY,
    I_REFUSAL,
    NAMESPACE,
    NO_KEY,
    OVERRIDE_NAMESPACE,
)
from extproc.policy import Ceilings, HostPolicy, QueuePolicy, RoutePolicy, TargetPolicy

GATEWAY_TABLE = "gateway"
PRIORITY_GROUP = "envoy.router.cluster_specifier_plugin.priority_group"
_PRIORITY_GROUP_TYPE = (
    "extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"
)
TARGET_MODE: Node = {
    "request_header_mode": "SEND",
    "request_body_mode": "BUFFERED",
    "response_header_mode": "SEND",
    "response_body_mode": "STREAMED",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SEND",
}
"""What a level's filter sees."""
_PER_ROUTE = "extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
_MODES = {
    "request_header_mode": "SEND",
    "request_body_mode": "BUFFERED",
    "response_header_mode": "SEND",
    "response_body_mode": "NONE",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}
_RETRY_ON = "5xx,reset,connect-failure,refused-stream,retriable-status-codes,retriable-headers"
_RETRY_SAME = "reset,connect-failure,refused-stream"
_READY = ("openai", "azure", "anthropic")
"""Dialects that a client may speak as well: a request of theirs may need a new model only."""
_RETRY_GRACE = 1.0
"""Seconds by which a level's own timer comes before Envoy's when Envoy would try again."""
_AS_WRITTEN = ("tiers", "limits")
_UTC = HostPolicy().timezone
_BRIEF = (QueuePolicy, Ceilings)
"""Policies of which only what was said is rendered."""
OUTER_EXTRA = 4 << 10
"""Bytes by which the gateway filter may lengthen a body that has just the size allowed: the name of
a model, the wish for usage. Envoy holds what the filter made of it against the same limit."""
GUARD_EXTRA = 1 << 20
"""The same where there is a guard: placeholders may be longer than what they stand for. A body of
32 MiB then has room for some fifty thousand of them."""
INNER_EXTRA = 8 << 20
"""Bytes by which a level takes more than the edge: a translated body may be longer, and the
limit holds for answers too."""


def target_table(target: str) -> str:
    """The name of the table behind a level."""
    return level_cluster(target)


def all_tables(gateway: Gateway, settings: Settings) -> dict[str, Node]:
    """Every route table by name; the outer one first."""
    tables = {GATEWAY_TABLE: _gateway_table(gateway, settings)}
    for name in gateway.targets:
        tables[target_table(name)] = _target_table(gateway, name, settings)
    return tables


def _metadata(policy: Any) -> Node:
    said = _said(policy)
    if said.get("timezone") == _UTC:
        del said["timezone"]
    for name in _AS_WRITTEN:
        # In limits nothing may be left out: `strict: false` undoes what the group says.
        if written := getattr(policy, name, None):
            said[name] = written
    if (guard := getattr(policy, "guard", None)) is not None:
        said["guard"] = plain(guard)
    if (cached := getattr(policy, "cache", None)) is not None:
        said["cache"] = cache.plain(cached)
    return {"filter_metadata": {NAMESPACE: said}}


def _said(value: Any) -> Any:
    """A policy as plain data, without what nobody said."""
    if isinstance(value, msgspec.Struct):
        value = _changed(value) if isinstance(value, _BRIEF) else msgspec.structs.asdict(value)
    if isinstance(value, dict):
        said = {key: _said(one) for key, one in value.items()}
        return {key: one for key, one in said.items() if not _is_open(one)}
    if isinstance(value, (list, tuple)):
        return [_said(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _changed(policy: msgspec.Struct) -> dict[str, Any]:
    """The fields that have another value than their default."""
    fields = msgspec.structs.fields(policy)
    return {
        one.name: value for one in fields if (value := getattr(policy, one.name)) != one.default
    }


def _is_open(value: Any) -> bool:
    return value is None or value is False or value in ("", {}, [])


def target_policy(gateway: Gateway, name: str, *, scale: float = 1.0) -> TargetPolicy:
    """What the service is told of a target. Time-outs are in seconds, times `scale`."""
    target = gateway.targets[name]
    provider = provider_of(gateway, name)
    return TargetPolicy(
        provider=target.provider,
        system=provider.system or target.provider,
        dialect=provider.dialect,
        server=provider.server,
        model=target.model,
        deployment=target.deployment,
        api_version=provider.api_version,
        project=provider.project,
        location=provider.location,
        base_path=Origin.parse(provider.url).base_path,
        timeout=target.timeout * scale,
        stall=target.stall * scale,
        context_window=target.context_window,
        output_cap=target.output_cap,
        features=target.features,
        price=target.price,
        simulator=target.simulator,
        key_header=callers_header(provider),
        ceilings=target.limits,
        provider_ceilings=provider.limits,
    )


def host_policy(gateway: Gateway, settings: Settings) -> HostPolicy:
    """What all routes share."""
    return HostPolicy(
        identity=policy_of(gateway, gateway.identity),
        tiers=gateway.tiers,
        limits=gateway.limits,
        timezone=gateway.timezone,
        queue=queue_policy(gateway),
        guard=guard_policy(gateway.guard),
        cache=cache.cache_field(gateway.cache),
        chains=gateway.chains,
        targets={
            name: msgspec.structs.replace(
                target_policy(gateway, name, scale=settings.time_scale),
                cluster=level_cluster(name),
            )
            for name in gateway.targets
        },
    )


def _gateway_table(gateway: Gateway, settings: Settings) -> Node:
    routes = [_route(gateway, one, settings) for one in gateway.routes]
    if all(one.match.headers for one in gateway.routes):
        routes.append(_nowhere())
    said = [*trusted_headers(identities(gateway)), *token_headers(gateway)]
    hidden = {"request_headers_to_remove": said} if said else {}
    return {
        "name": GATEWAY_TABLE,
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                "include_request_attempt_count": True,
                # The service has read them: this comes after its filter.
                **hidden,
                "metadata": Noted(
                    "What all routes share: chains, and what the service must know of targets\n"
                    "before it forwards.",
                    _metadata(host_policy(gateway, settings)),
                ),
                "typed_per_filter_config": {
                    "tollgate.gateway": Noted(
                        "Answers to requests go through the service as well.",
                        typed(_PER_ROUTE, {"overrides": {"processing_mode": _MODES}}),
                    )
                },
                "routes": routes,
            }
        ],
    }


def _route(gateway: Gateway, route: Route, settings: Settings) -> Node:
    chain = route.chain or route.models["*"]
    policy = RoutePolicy(
        route=route.name,
        chain=chain,
        models=route.models,
        walk_on=route.walk_on,
        accounting=route.accounting,
        strict=route.strict,
        identity=None if route.identity is None else policy_of(gateway, route.identity),
        mode=route.mode,
        credentials=route.credentials,
        record=route.record,
        ledger=route.ledger,
        limits=route.limits,
        priority=route.priority,
        ttl=route.ttl,
        guard=guard_policy(route.guard),
        cache=cache.cache_field(route.cache),
    )
    # A route for everybody also takes paths that do not exist: the service answers those.
    match: Node = {"prefix": "/v1/" if route.match.headers else "/"}
    if route.match.headers:
        match["headers"] = [
            {"name": name.lower(), "string_match": {"exact": value}}
            for name, value in route.match.headers.items()
        ]
    own: Node = {}
    if route.credentials == "caller":
        # Whatever the service does: a level that sees this header sends no key of ours.
        own["request_headers_to_add"] = [
            {
                "header": {"key": I_CREDENTIAL, "value": NO_KEY},
                "append_action": "ADD_IF_ABSENT",
            }
        ]
    return {
        "name": route.name,
        "match": match,
        "route": _walk(gateway, chain),
        **own,
        "request_body_buffer_limit": settings.max_body + _extra(gateway, policy),
        "metadata": _metadata(policy),
    }


def _extra(gateway: Gateway, policy: RoutePolicy) -> int:
    guarded = is_on(guard_policy(gateway.guard), policy.guard)
    return OUTER_EXTRA + (GUARD_EXTRA if guarded else 0)


def _walk(gateway: Gateway, chain: str) -> Node:
    levels = gateway.chains[chain]
    groups = []
    for number, level in enumerate(levels, 1):
        clusters = []
        for target, weight in level.items():
            clusters.append({"cluster_name": level_cluster(target), "weight": weight})
        groups.append({"name": f"{chain}-{number}", "clusters": clusters})
    specifier = {"override_metadata_namespace": OVERRIDE_NAMESPACE, "priority_groups": groups}
    return {
        "inline_cluster_specifier_plugin": Noted(
            "Attempt N takes level N. The service may name other levels for one request.",
            {"extension": extension(PRIORITY_GROUP, _PRIORITY_GROUP_TYPE, specifier)},
        ),
        # The time-outs are the levels' own: this one would cover the whole stream.
        "timeout": "0s",
        "retry_policy": {
            "retry_on": _RETRY_ON,
            "retriable_status_codes": [429],
            "retriable_headers": [{"name": I_REFUSAL, "present_match": True}],
            "num_retries": len(levels) - 1,
            "refresh_cluster_on_retry": True,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        },
    }


def _nowhere() -> Node:
    """What no route takes."""
    return {
        "name": "nowhere",
        "match": {"prefix": "/"},
        "direct_response": {
            "status": 404,
            "body": {"inline_string": "no route of this gateway takes the request"},
        },
        "typed_per_filter_config": {"tollgate.gateway": typed(_PER_ROUTE, {"disabled": True})},
    }


def _target_table(gateway: Gateway, name: str, settings: Settings) -> Node:
    target = gateway.targets[name]
    provider = provider_of(gateway, name)
    policy = msgspec.structs.replace(
        target_policy(gateway, name, scale=settings.time_scale), target=name
    )
    keys = key_headers(provider)
    route: Node = {
        "name": name,
        "match": {"prefix": "/"},
        "route": {
            "cluster": provider_cluster(target.provider),
            "host_rewrite_literal": Origin.parse(provider.url).authority,
            "timeout": "0s",
            "retry_policy": _level_retry(target, policy.timeout),
        },
        "request_body_buffer_limit": settings.max_body + INNER_EXTRA,
        "metadata": _metadata(policy),
    }
    if not late(provider):
        route["request_headers_to_remove"] = list(CREDENTIALS)
    if keys:
        route["request_headers_to_add"] = keys
    routes = [_ready(route, name), route] if policy.dialect in _READY else [route]
    if passes_keys(gateway) and policy.key_header is not None:
        filters = KEY_FILTERS if late(provider) else ()
        routes.insert(0, _passing(route, policy.key_header, filters))
    return {
        "name": target_table(name),
        "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
    }


def _ready(route: Node, name: str) -> Node:
    """The same for a body that the gateway filter has made: the level's filter does not get it."""
    override = {"processing_mode": {**TARGET_MODE, "request_body_mode": "NONE"}}
    return {
        **route,
        "name": f"{name}-ready",
        "match": {
            "prefix": "/",
            "headers": [{"name": I_READY, "string_match": {"exact": name}}],
        },
        "typed_per_filter_config": {"tollgate.target": typed(_PER_ROUTE, {"overrides": override})},
    }


def passes_keys(gateway: Gateway) -> bool:
    """Some route hands callers' own keys to providers."""
    return any(one.credentials == "caller" for one in gateway.routes)


def _passing(route: Node, header: str, filters: tuple[str, ...]) -> Node:
    """The same for a request that brings its caller's own key, or none: ours is not added, be it by
    the route or by `filters`, and the header in which the level's filter puts it is left alone."""
    rest = {key: one for key, one in route.items() if key != "request_headers_to_add"}
    if filters:
        disabled = typed("config.route.v3.FilterConfig", {"disabled": True})
        rest["typed_per_filter_config"] = dict.fromkeys(filters, disabled)
    return {
        **rest,
        "name": f"{route['name']}-caller",
        "match": {
            "prefix": "/",
            "headers": [{"name": I_CREDENTIAL, "present_match": True}],
        },
        "request_headers_to_remove": [one for one in CREDENTIALS if one != header],
    }


def _level_retry(target: Target, timeout: float) -> Node:
    """The level's time, and one more try where the target wants it.

    A second try begins a new per-try time: the service's own timer bounds the whole level and
    has to come first, else the retry would be asked, and billed, for nothing.
    """
    if target.retry == "never":
        return {"num_retries": 0, "per_try_timeout": duration(timeout)}
    return {
        "retry_on": _RETRY_SAME,
        "num_retries": 1,
        "per_try_timeout": duration(timeout + _RETRY_GRACE),
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
    }
