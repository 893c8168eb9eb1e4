"""The two ext_proc filters, and how they reach the service."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import Configuration, Manager
from extproc.config.findings import Finding, Severity
from extproc.config.tree import At
from extproc.headers import FILTER, NAMESPACE, OVERRIDE_NAMESPACE

_ROLES = ("gateway", "target")
_REQUEST = {
    "gateway": ("xds.route_metadata", "xds.virtual_host_metadata"),
    "target": ("xds.route_metadata",),
}
_RESPONSE = {
    "gateway": ("response.code_details", "upstream.request_attempt_count"),
    "target": ("response.code_details",),
}
_GRPC_RETRIES = {"connect-failure", "refused-stream", "reset", "unavailable"}
_PER_ROUTE = "tollgate.gateway"


def filters_exist(config: Configuration) -> Iterator[Finding]:
    """Without the filter nothing is Tollgate's."""
    if not config.of_role("gateway") and not config.remote:
        message = f"no ext_proc filter says initial_metadata {{key: {FILTER}, value: gateway}}"
        yield config.bootstrap.say(message, "no-filter")
    for manager in config.managers:
        if manager.role and manager.role not in _ROLES:
            message = f"'{manager.role}' is no filter of Tollgate; there is gateway, target"
            yield manager.filter.get("grpc_service", "initial_metadata").say(message, "no-filter")


def modes(config: Configuration) -> Iterator[Finding]:
    """What the service has to see to decide."""
    for manager in config.of_role("gateway"):
        yield from _request_modes(manager)
        yield from _answer_mode(manager)
        override = manager.filter.get("allow_mode_override")
        if override.node is not True:
            message = "the service cannot ask for the bodies it needs; say true"
            yield override.say(message, "mode-override")
    for manager in config.of_role("target"):
        yield from _request_modes(manager)
        mode = manager.filter.get("processing_mode")
        for key, value, why in (
            ("response_header_mode", "SEND", "a provider's answer cannot be reconsidered"),
            ("response_body_mode", "STREAMED", "answers cannot be translated"),
            ("response_trailer_mode", "SEND", "a stream that ends with trailers has no end"),
        ):
            if _mode(mode.get(key)) != value:
                yield mode.get(key).say(f"{why}; say {value}", "target-mode")
        early = manager.filter.get("send_body_without_waiting_for_header_response")
        if early.node is not True:
            message = "a 200 followed by silence cannot fail over to the next level; say true"
            yield early.say(message, "target-mode")


def _mode(at: At) -> str:
    default = "NONE" if at.key.endswith("body_mode") else "SEND"
    default = "SKIP" if at.key.endswith("trailer_mode") else default
    return default if at.text in ("", "DEFAULT") else at.text


def _request_modes(manager: Manager) -> Iterator[Finding]:
    mode = manager.filter.get("processing_mode")
    headers = mode.get("request_header_mode")
    if _mode(headers) != "SEND":
        message = "the upstream is connected before the service has seen the request; say SEND"
        yield headers.say(message, "request-mode")
    body = mode.get("request_body_mode")
    if _mode(body) != "BUFFERED":
        message = "the service decides by the whole body, and a retry needs it; say BUFFERED"
        yield body.say(message, "request-mode")


def _answer_mode(manager: Manager) -> Iterator[Finding]:
    """The filter may leave answers out where the virtual host or route asks for them: so that
    Envoy's 400 to what is no HTTP request, which has no route, does not wait for the service."""
    own = manager.filter.get("processing_mode", "response_header_mode")
    for host, route in manager.routes:
        if route.get("direct_response") or route.get("redirect"):
            continue
        mode = own
        for place in (host, route):
            config = place.get("typed_per_filter_config", _PER_ROUTE)
            if config.get("disabled").node is True:
                message = "requests of this route go up without a look; enable the filter"
                yield config.get("disabled").say(message, "filter-off")
            if said := config.get("overrides", "processing_mode"):
                mode = said.get("response_header_mode")
        if _mode(mode) != "SEND":
            message = "answers pass without being counted; say SEND here or on the virtual host"
            yield mode.say(message, "answer-mode")
            return


def message_timeouts(config: Configuration) -> Iterator[Finding]:
    """How long Envoy waits for the service, which waits for providers."""
    for manager in config.ours():
        found = manager.filter.get("message_timeout")
        if not found:
            message = "is not set, so 200 ms; say more than the service may need"
            yield found.say(message, "message-timeout")
            continue
        longest = manager.filter.get("max_message_timeout")
        if longest.seconds is not None and longest.seconds < (found.seconds or 0):
            message = f"is below message_timeout ({found.text}), so it is ignored; say more"
            yield longest.say(message, "max-message-timeout")
    for manager in config.of_role("gateway"):
        longest = manager.filter.get("max_message_timeout")
        if not longest:
            message = "is not set: the service cannot hold a request that waits for its turn"
            yield longest.say(message, "max-message-timeout", Severity.WARNING)
    for manager, policy in config.targets:
        found = manager.filter.get("message_timeout")
        if found.seconds is not None and found.seconds <= policy.timeout:
            message = (
                f"is {found.text}, but the head is held for up to {policy.timeout:g} s "
                f"(timeout of target '{policy.target}'); say more"
            )
            yield found.say(message, "message-timeout")


def failures(config: Configuration) -> Iterator[Finding]:
    """When the service is away nothing goes up."""
    for manager in config.ours():
        allow = manager.filter.get("failure_mode_allow")
        if allow.node is True:
            message = "requests pass unchecked while the service is away; say false"
            yield allow.say(message, "failure-mode")
        status = manager.filter.get("status_on_error", "code")
        if status.node not in ("ServiceUnavailable", 503):
            message = "the service's absence is a 500, which SDKs do not retry; say 503"
            yield status.say(message, "status-on-error")


def worker_failover(config: Configuration) -> Iterator[Finding]:
    """A worker that dies takes only the requests it held."""
    for manager in config.ours():
        service = manager.filter.get("grpc_service")
        if not service:
            continue
        # Not the one in envoy_grpc, which Envoy minds for its own subscriptions only.
        retry = service.get("retry_policy")
        missing = _GRPC_RETRIES - set(retry.get("retry_on").text.split(","))
        if missing:
            names = ",".join(sorted(missing))
            message = f"a stream to a worker that died is not tried on another; add {names}"
            yield retry.get("retry_on").say(message, "worker-retry")


def attributes(config: Configuration) -> Iterator[Finding]:
    """Policy travels with the route: it has to arrive."""
    for manager in config.ours():
        for key, wanted in (("request_attributes", _REQUEST), ("response_attributes", _RESPONSE)):
            found = manager.filter.get(key)
            names = [one.text for one in found]
            for name in wanted[manager.role]:
                if name not in names:
                    message = f"the service is not told {name}; add it"
                    yield found.say(message, "attributes")
            for one in found:
                if one.text == "xds.node":
                    yield one.say("adds 80 kB to every message; leave it out", "attributes")


def namespaces(config: Configuration) -> Iterator[Finding]:
    """What the service says beside its answer, and what it may set."""
    for manager in config.of_role("gateway"):
        receiving = manager.filter.get("metadata_options", "receiving_namespaces")
        for key, name, why in (
            ("untyped", NAMESPACE, "the access log stays empty"),
            ("typed", OVERRIDE_NAMESPACE, "every request takes the route's static chain"),
        ):
            if name not in [one.text for one in receiving.get(key)]:
                yield receiving.get(key).say(f"{why}; add {name}", "namespaces")
        allow = manager.filter.get("mutation_rules", "allow_envoy")
        if allow.node is not True:
            message = (
                "x-envoy-max-retries of a request's own chain is dropped and its last level asked "
                "again and again; say true"
            )
            yield allow.say(message, "allow-envoy")


RULES = (
    filters_exist,
    modes,
    message_timeouts,
    failures,
    worker_failover,
    attributes,
    namespaces,
)
