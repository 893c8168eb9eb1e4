"""Clusters: the service's, the levels' and the providers'."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import Configuration, level_listener
from extproc.config.findings import Finding, Severity, suggest
from extproc.config.tree import At
from extproc.headers import HEALTH_GATEWAY, HEALTH_TARGET

_HEALTH = {"gateway": HEALTH_GATEWAY, "target": HEALTH_TARGET}
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_THRESHOLDS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_FEW = 1000
"""Below this many at a time a limit is met by ordinary traffic."""
_FAST = 1.0
"""Seconds after which a dead worker must be known."""
_KEPT = 60.0
"""Seconds after which load balancers in front of providers close what is idle."""
_CLIENT_ERRORS = 500
_INTERNAL = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"


def services_exist(config: Configuration) -> Iterator[Finding]:
    """The cluster that a filter names."""
    if config.remote:
        return
    for manager in config.ours():
        found = manager.filter.get("grpc_service", "envoy_grpc", "cluster_name")
        if found.text and config.cluster(found.text) is None:
            message = f"no cluster '{found.text}'{suggest(found.text, config.cluster_names)}"
            yield found.say(message, "missing-cluster")


def breakers(config: Configuration) -> Iterator[Finding]:
    """By default a cluster allows three concurrent retries: the next client gets the refusal."""
    for cluster in [*config.services(), *config.levels(), *config.providers()]:
        thresholds = cluster.get("circuit_breakers", "thresholds")
        default = next(
            (one for one in thresholds if one.get("priority").text in ("", "DEFAULT")),
            thresholds.get(0),
        )
        for key in _THRESHOLDS:
            found = default.get(key)
            if (found.number or 0) < _FEW:
                kind = f"is {found.number:g}" if found.number is not None else "is Envoy's default"
                message = f"{kind}, which concurrent requests meet; say 100000"
                yield found.say(message, "circuit-breakers")


def panic(config: Configuration) -> Iterator[Finding]:
    """An unhealthy host is still asked when too few are left, unless this is zero."""
    for cluster in [*config.services(), *config.providers()]:
        found = cluster.get("common_lb_config", "healthy_panic_threshold", "value")
        # Zero written out, or `{}`: both are a percentage of zero.
        if (
            cluster.get("common_lb_config", "healthy_panic_threshold").node != {}
            and found.number != 0
        ):
            message = "an unhealthy host is still asked when no other is left; say {value: 0}"
            yield found.say(message, "panic-threshold")


def service_health(config: Configuration) -> Iterator[Finding]:
    """A dead worker is out in half a second, a draining one gets no new requests."""
    for manager in config.ours():
        name = manager.filter.get("grpc_service", "envoy_grpc", "cluster_name").text
        cluster = config.cluster(name)
        if cluster is None:
            continue
        options = cluster.get("typed_extension_protocol_options", _HTTP, "explicit_http_config")
        if not options.get("http2_protocol_options") and not cluster.get("http2_protocol_options"):
            message = "gRPC needs HTTP/2; say explicit_http_config: {http2_protocol_options: {}}"
            yield options.say(message, "service-http2")
        checks = [one for one in cluster.get("health_checks") if one.get("grpc_health_check")]
        if not checks:
            message = "a worker that died is still asked; add a grpc_health_check"
            yield cluster.get("health_checks").say(message, "service-health")
            continue
        wanted = _HEALTH[manager.role]
        service = checks[0].get("grpc_health_check", "service_name")
        if service.text != wanted:
            message = f"a draining worker is not told from a dead one; say {wanted}"
            yield service.say(message, "service-health")
        interval = checks[0].get("interval")
        if (interval.seconds or 0) > _FAST:
            message = f"a worker that died is asked for {interval.text} more; say 0.5s"
            yield interval.say(message, "service-health")


def outliers(config: Configuration) -> Iterator[Finding]:
    """A provider has one host: less than all of it is none."""
    for cluster in config.providers():
        found = cluster.get("outlier_detection")
        if not found:
            message = "a provider that fails every request is still asked; add outlier_detection"
            yield found.say(message, "outlier-detection", Severity.WARNING)
            continue
        share = found.get("max_ejection_percent")
        if (share.number or 0) < 100:  # noqa: PLR2004 - per cent
            message = "the only host is never ejected; say 100"
            yield share.say(message, "max-ejection")


def provider_health(config: Configuration) -> Iterator[Finding]:
    """Active checks, for which a wrong key is not an outage."""
    for cluster in config.providers():
        checks = [one for one in cluster.get("health_checks") if one.get("http_health_check")]
        if not checks:
            message = "an outage is noticed by requests only; add an http_health_check"
            yield cluster.get("health_checks").say(message, "provider-health", Severity.WARNING)
        for check in checks:
            statuses = check.get("http_health_check", "expected_statuses")
            if not any((one.get("end").number or 0) >= _CLIENT_ERRORS for one in statuses):
                message = "a wrong key, or a 429, counts as an outage; say [{start: 200, end: 500}]"
                yield statuses.say(message, "expected-statuses")


def keep_alive(config: Configuration) -> Iterator[Finding]:
    """A request that meets a connection which the provider closes fails."""
    for cluster in config.providers():
        options = cluster.get(
            "typed_extension_protocol_options", _HTTP, "common_http_protocol_options"
        )
        found = options.get("idle_timeout")
        if found.seconds is None or not 0 < found.seconds < _KEPT:
            message = "idle connections are kept until the provider closes them; say 50s"
            yield found.say(message, "keep-alive", Severity.WARNING)


def internal_listeners(config: Configuration) -> Iterator[Finding]:
    """A level is a listener inside this Envoy."""
    names = [one.get("name").text for one in config.listeners]
    levels = config.levels()
    for cluster in levels:
        listener = level_listener(cluster)
        if listener is None:
            message = (
                "is a level, but leads to no internal listener: its refusals are not walked on from"
            )
            yield cluster.say(message, "internal-listener")
        elif listener not in names and not config.remote:
            message = f"no listener '{listener}'{suggest(listener, names)}"
            yield cluster.get("load_assignment").say(message, "internal-listener")
    extensions = config.bootstrap.get("bootstrap_extensions")
    if levels and not any(_is_internal(one) for one in extensions):
        message = "internal listeners need envoy.bootstrap.internal_listener"
        yield extensions.say(message, "internal-listener")


def _is_internal(extension: At) -> bool:
    return extension.get("typed_config", "@type").text.endswith(_INTERNAL)


def unique(config: Configuration) -> Iterator[Finding]:
    """Of two things with one name Envoy takes one, or none."""
    seen: dict[tuple[str, str], At] = {}
    places = [("listener", one) for one in config.listeners]
    places += [("cluster", one) for one in config.clusters]
    for manager in config.of_role("gateway"):
        places += [("route", route) for _, route in manager.routes]
    for kind, one in places:
        name = one.get("name")
        first = seen.setdefault((kind, name.text), one)
        if name.text and first is not one:
            message = f"another {kind} has the name '{name.text}'; names must differ"
            yield name.say(message, "duplicate-name")


RULES = (
    services_exist,
    breakers,
    panic,
    service_health,
    outliers,
    provider_health,
    keep_alive,
    internal_listeners,
    unique,
)
