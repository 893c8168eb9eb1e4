"""The gateway's HttpConnectionManager: what comes in, and what Envoy itself answers."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import Configuration, Manager
from extproc.config.findings import Finding, Severity
from extproc.config.parts import is_loopback
from extproc.headers import INTERNAL

_STRIPPED = (INTERNAL, "x-envoy-")
_IDLE = 300.0
"""Envoy's default of stream_idle_timeout, in seconds."""


def strips_headers(config: Configuration) -> Iterator[Finding]:
    """What only the gateway may say must not come from a client."""
    for manager in config.of_role("gateway"):
        found = manager.node.get("early_header_mutation_extensions")
        removed: set[str] = set()
        for one in found:
            for mutation in one.get("typed_config", "mutations"):
                removed.add(mutation.get("remove").text)
                removed.add(mutation.get("remove_on_match", "key_matcher", "prefix").text)
        for prefix in _STRIPPED:
            if prefix not in removed:
                message = (
                    f"clients can send {prefix}*; add a header mutation with "
                    f"remove_on_match: {{key_matcher: {{prefix: {prefix}}}}}"
                )
                yield found.say(message, "edge-strip")
        if "x-request-id" not in removed:
            message = (
                "a client's x-request-id is kept; add a header mutation with remove: x-request-id"
            )
            yield found.say(message, "edge-strip")


def underscores(config: Configuration) -> Iterator[Finding]:
    """`x_tollgate_i_id` is the same header to many servers."""
    for manager in config.of_role("gateway"):
        action = manager.node.get("common_http_protocol_options", "headers_with_underscores_action")
        if action.text == "REJECT_REQUEST":
            message = "resets the connection without an answer; say DROP_HEADER"
            yield action.say(message, "edge-underscores")
        elif action.text != "DROP_HEADER":
            message = "headers with underscores pass for those with hyphens; say DROP_HEADER"
            yield action.say(message, "edge-underscores")


def paths(config: Configuration) -> Iterator[Finding]:
    """The path that is matched is the path that is served."""
    for manager in config.of_role("gateway"):
        normalize = manager.node.get("normalize_path")
        if normalize.node is not True:
            yield normalize.say("'/v1/../x' is matched as it stands; say true", "edge-path")
        escaped = manager.node.get("path_with_escaped_slashes_action")
        if escaped.text != "REJECT_REQUEST":
            message = "'%2F' is a slash to some servers and none to others; say REJECT_REQUEST"
            yield escaped.say(message, "edge-path")


def remote_address(config: Configuration) -> Iterator[Finding]:
    """Without it Envoy believes what clients say of themselves."""
    for manager in config.of_role("gateway"):
        found = manager.node.get("use_remote_address")
        if found.node is not True:
            message = "clients' x-forwarded-for is believed, and with it who they are; say true"
            yield found.say(message, "edge-address")


def local_replies(config: Configuration) -> Iterator[Finding]:
    """An SDK cannot read Envoy's plain text."""
    for manager in config.of_role("gateway"):
        found = manager.node.get("local_reply_config")
        if not list(found.get("mappers")):
            message = "Envoy's own errors are plain text; map them to OpenAI's error object"
            yield found.say(message, "local-replies", Severity.WARNING)


def idle_timeouts(config: Configuration) -> Iterator[Finding]:
    """A silent stream is cut, also one that waits for its next level or for a model that thinks."""
    levels = [policy.timeout for _, policy in config.targets]
    stalls = [policy.stall for _, policy in config.targets]
    if not levels:
        return
    for manager in config.of_role("gateway"):
        walk = max(sum(levels), *stalls)
        yield from _idle(manager, walk, f"a walk over all levels may take {walk:g} s")
    for manager, policy in config.targets:
        wait = max(policy.timeout, policy.stall)
        yield from _idle(manager, wait, f"target '{policy.target}' may be silent for {wait:g} s")


def _idle(manager: Manager, need: float, why: str) -> Iterator[Finding]:
    found = manager.node.get("stream_idle_timeout")
    if not found:
        message = f"is not set, so 300 s; {why}: say so"
        yield found.say(
            message, "idle-timeout", Severity.ERROR if need >= _IDLE else Severity.WARNING
        )
        return
    limit = found.seconds
    if limit is not None and 0 < limit <= need:
        yield found.say(f"cuts streams after {limit:g} s, but {why}; say more", "idle-timeout")


def inline_tables(config: Configuration) -> Iterator[Finding]:
    """A change of a listener drains it and cuts its streams; a change by RDS cuts nothing."""
    inline = [one for one in config.managers if one.role and one.inline]
    if inline:
        count = f"{len(inline)} route tables stand" if len(inline) > 1 else "the route table stands"
        message = f"{count} in the listener: a change cuts streams; deliver them by rds"
        yield inline[0].table.say(message, "inline-routes", Severity.WARNING)


def public_admin(config: Configuration) -> Iterator[Finding]:
    """Envoy's admin interface can stop it."""
    address = config.bootstrap.get("admin", "address", "socket_address", "address")
    if address.text and not is_loopback(address.text):
        message = f"anyone who reaches {address.text} can stop Envoy; say 127.0.0.1"
        yield address.say(message, "public-admin", Severity.WARNING)


RULES = (
    strips_headers,
    underscores,
    paths,
    remote_address,
    local_replies,
    idle_timeouts,
    inline_tables,
    public_admin,
)
