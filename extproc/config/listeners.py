"""Listeners: the gateway's own, and an internal one behind each level."""

from __future__ import annotations

from pathlib import Path

from extproc.config import credentials
from extproc.config.access_log import access_log, local_replies
from extproc.config.clusters import GATEWAY_SERVICE, TARGET_SERVICE, level_cluster
from extproc.config.gateway import Gateway, Provider
from extproc.config.identity import (
    JWT_AUTHN,
    identities,
    jwt_filter,
    needed_attributes,
    tls,
    trusted_headers,
)
from extproc.config.loading import provider_of
from extproc.config.options import Settings
from extproc.config.parts import Node, Noted, duration, extension, socket_address
from extproc.config.routes import GATEWAY_TABLE, TARGET_MODE, target_policy, target_table
from extproc.headers import (
    CACHE_OF_ANSWER,
    FILTER,
    GATEWAY_READS,
    INTERNAL,
    NAMESPACE,
    OVERRIDE_NAMESPACE,
    TARGET_READS,
)
from extproc.policy import TargetPolicy

_GATEWAY_TIMEOUT = 60.0
"""Seconds that the gateway filter may hold one message."""
_GATEWAY_MAX_TIMEOUT = 600.0
"""Seconds it may ask for, where a request waits for its turn."""
_MARGIN = 10.0
"""Seconds by which Envoy's patience with the service exceeds the level's own deadline."""
_IDLE = 300.0
"""Envoy's default for a silent stream, in seconds; never less than this."""
_MAX_HEADERS = 200

Source = dict[str, Node]
"""Route tables by name, as they stand in `HttpConnectionManager`: `rds` or `route_config`."""


def all_listeners(
    gateway: Gateway, settings: Settings, tables: Source, folder: Path | None = None
) -> list[Node]:
    """The gateway's listener, then one for each target. `folder` is where the files stand that tell
    Envoy of keys; None: there are none."""
    found: list[Node] = [
        Noted(
            "The gateway: what clients connect to.",
            _gateway(gateway, settings, tables[GATEWAY_TABLE]),
        )
    ]
    for name in gateway.targets:
        policy = target_policy(gateway, name, scale=settings.time_scale)
        note = f"Level {name}: {policy.model} at {policy.provider}."
        provider = provider_of(gateway, name)
        who = credentials.filters(policy.provider, provider, folder)
        level = _target(name, policy, settings, tables[target_table(name)], (provider, who))
        found.append(Noted(note, level))
    return found


def longest_walk(gateway: Gateway, scale: float) -> float:
    """Seconds that a request may be silent at the edge: its turn awaited and then every target
    tried, none of them answering; or one stream's longest pause."""
    walk = sum(one.timeout for one in gateway.targets.values()) * scale
    stall = max(one.stall for one in gateway.targets.values()) * scale
    return max(_IDLE, max(longest_wait(gateway) + walk, stall) + 6 * _MARGIN)


def longest_wait(gateway: Gateway) -> float:
    """Seconds that a request may wait for its turn."""
    return max(gateway.queue.ttl if one.ttl is None else one.ttl for one in gateway.routes)


def _gateway(gateway: Gateway, settings: Settings, table: Node) -> Node:
    idle = duration(longest_walk(gateway, settings.time_scale))
    manager = {
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "normalize_path": True,
        # `//v1/x` stays a path that does not exist, and the service says so.
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"},
        "http_protocol_options": {"allow_absolute_url": False},
        # Above the longest wait for an answer and the longest pause in a stream.
        "stream_idle_timeout": idle,
        "request_headers_timeout": "30s",
        "drain_timeout": duration(settings.drain_timeout),
        "early_header_mutation_extensions": [
            Noted(
                "Nothing that only the gateway may say is taken from a client.",
                extension(
                    "strip",
                    "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    {
                        "mutations": [
                            {"remove_on_match": {"key_matcher": {"prefix": INTERNAL}}},
                            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                            {"remove": "x-request-id"},
                        ]
                    },
                ),
            )
        ],
        **table,
        "http_filters": [
            Noted(
                "First in the list is last on the way back: after this nothing is added.",
                extension(
                    "tollgate.strip",
                    "extensions.filters.http.header_mutation.v3.HeaderMutation",
                    {
                        "mutations": {
                            "response_mutations": [
                                {"remove_on_match": {"key_matcher": {"prefix": INTERNAL}}},
                                {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                                *({"remove": name} for name in CACHE_OF_ANSWER),
                            ]
                        }
                    },
                ),
            ),
            *_tokens(gateway),
            Noted(
                "Who asks, may they, and which levels may serve them. Answers come through here\n"
                "as well, but that the virtual host turns on: what is no request has none, and\n"
                "Envoy's 400 to it would wait for the service while its connection is closed.",
                _gateway_filter(gateway),
            ),
            _router(),
        ],
        "local_reply_config": Noted(
            "Envoy's own answers in the shape of OpenAI's, or of Anthropic's for requests in its\n"
            "format; the service's own are left alone.",
            local_replies(settings.max_body),
        ),
        "access_log": access_log(settings.access_log),
    }
    chain: Node = {"filters": [_manager(manager)]}
    if gateway.envoy.tls is not None:
        chain["transport_socket"] = tls(gateway.envoy.tls)
    return {
        "name": "gateway",
        "address": socket_address(*settings.gateway),
        "filter_chains": [chain],
    }


def _tokens(gateway: Gateway) -> list[Node]:
    found = jwt_filter(gateway)
    if found is None:
        return []
    note = (
        "Tokens are verified here; whether one is needed, and what of one that does not hold, the\n"
        "service says."
    )
    return [Noted(note, found)]


def _target(
    name: str,
    policy: TargetPolicy,
    settings: Settings,
    table: Node,
    who: tuple[Provider, list[Node]],
) -> Node:
    wait = max(policy.timeout, policy.stall)
    provider, last = who
    manager = {
        "stat_prefix": level_cluster(name),
        "codec_type": "HTTP2",
        "generate_request_id": False,
        "common_http_protocol_options": {"max_headers_count": _MAX_HEADERS},
        "max_request_headers_kb": 96,
        "stream_idle_timeout": duration(max(_IDLE, wait + 6 * _MARGIN)),
        "drain_timeout": duration(settings.drain_timeout),
        **table,
        "http_filters": [
            Noted("Refuses, or translates there and back.", _target_filter(policy)),
            Noted(
                "Nothing of ours or of the client's network goes on.",
                _provider_strip(),
            ),
            *_noted(last),
            _router(),
        ],
    }
    if replies := credentials.local_reply(provider):
        manager["local_reply_config"] = Noted(
            "As long as there is no key the next level serves.", replies
        )
    return {
        "name": level_cluster(name),
        "internal_listener": {},
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [_manager(manager)]}],
    }


def _manager(manager: Node) -> Node:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    )


def _router() -> Node:
    return extension(
        "envoy.filters.http.router",
        "extensions.filters.http.router.v3.Router",
        {"suppress_envoy_headers": True},
    )


def _noted(last: list[Node]) -> list[Node]:
    """The filters that say who asks."""
    notes = (
        "Nor what the client says of itself.",
        "Who asks: after this nothing of the request changes.",
    )
    return [Noted(note, one) for note, one in zip(notes, last, strict=False)]


_CALLERS = ("forwarded", "baggage", "referer", "origin", "from")
"""What a client's libraries say of it, of those who use it, and of where they are. No provider asks
for it, and nothing looks into it for personal data."""


def _provider_strip() -> Node:
    """After the service, before the provider."""
    prefixes = ("x-tollgate-", "x-forwarded-", "x-envoy-")
    mutations: list[Node] = [
        {"remove_on_match": {"key_matcher": {"prefix": one}}} for one in prefixes
    ]
    return extension(
        "tollgate.strip",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        {
            "mutations": {
                "request_mutations": [
                    *mutations,
                    {"remove": "x-request-id"},
                    *({"remove": name} for name in _CALLERS),
                ]
            }
        },
    )


def _service(cluster: str, which: str) -> Node:
    """The gRPC stream to the service: a lost worker costs a retry on another one."""
    return {
        "envoy_grpc": {"cluster_name": cluster},
        # Here and not in envoy_grpc: the policy there is for Envoy's own subscriptions only.
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,unavailable,cancelled",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            "retry_host_predicate": [
                extension(
                    "envoy.retry_host_predicates.previous_hosts",
                    "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                )
            ],
            "host_selection_retry_max_attempts": 5,
        },
        "initial_metadata": [{"key": FILTER, "value": which}],
    }


def _gateway_filter(gateway: Gateway) -> Node:
    known = list(identities(gateway))
    attributes = ["xds.route_metadata", "xds.virtual_host_metadata", *needed_attributes(known)]
    metadata: Node = {
        "receiving_namespaces": {"untyped": [NAMESPACE], "typed": [OVERRIDE_NAMESPACE]}
    }
    if any(one.jwt for one in known):
        metadata["forwarding_namespaces"] = {"untyped": [JWT_AUTHN]}
    return extension(
        "tollgate.gateway",
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        {
            "grpc_service": _service(GATEWAY_SERVICE, "gateway"),
            "status_on_error": {"code": "ServiceUnavailable"},
            "message_timeout": duration(_GATEWAY_TIMEOUT),
            "max_message_timeout": duration(
                max(_GATEWAY_MAX_TIMEOUT, longest_wait(gateway) + 6 * _MARGIN)
            ),
            "allow_mode_override": True,
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "BUFFERED",
                "response_header_mode": "SKIP",
                "response_body_mode": "NONE",
                "request_trailer_mode": "SKIP",
                "response_trailer_mode": "SKIP",
            },
            "forward_rules": _forwarded((*GATEWAY_READS, *trusted_headers(known))),
            "mutation_rules": {"allow_envoy": True},
            "request_attributes": attributes,
            "response_attributes": ["response.code_details", "upstream.request_attempt_count"],
            "metadata_options": metadata,
        },
    )


def _forwarded(names: tuple[str, ...]) -> Node:
    """Headers that are sent to the service; the others cost both sides and are read by nobody."""
    patterns: list[Node] = [
        {"prefix": name.removesuffix("*")} if name.endswith("*") else {"exact": name}
        for name in names
    ]
    return {"allowed_headers": {"patterns": patterns}}


def _target_filter(policy: TargetPolicy) -> Node:
    return extension(
        "tollgate.target",
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        {
            "grpc_service": _service(TARGET_SERVICE, "target"),
            "status_on_error": {"code": "ServiceUnavailable"},
            # The answer's head is held until the first content event, so for the level's time.
            "message_timeout": duration(policy.timeout + policy.stall + _MARGIN),
            "processing_mode": TARGET_MODE,
            "send_body_without_waiting_for_header_response": True,
            "forward_rules": _forwarded(TARGET_READS),
            "mutation_rules": {"allow_envoy": True},
            "request_attributes": ["xds.route_metadata"],
            "response_attributes": ["response.code_details", "response.flags"],
        },
    )
