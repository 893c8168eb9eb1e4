"""Inner routes: one level, one provider, its key and its time."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import Configuration, Manager
from extproc.config.findings import Finding, suggest
from extproc.config.tree import At

_KEYS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
_HIDDEN = ("x-tollgate-", "x-forwarded-", "x-request-id")
_HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def clusters_exist(config: Configuration) -> Iterator[Finding]:
    """The provider of a level."""
    if config.remote:
        return
    names = config.cluster_names
    for manager in config.of_role("target"):
        for _, route in manager.routes:
            found = route.get("route", "cluster")
            if found.text and found.text not in names:
                message = f"no cluster '{found.text}'{suggest(found.text, names)}"
                yield found.say(message, "missing-cluster")


def time(config: Configuration) -> Iterator[Finding]:
    """The level's deadline is Envoy's as well as the service's."""
    for manager, policy in config.targets:
        for _, route in manager.routes:
            retry = route.get("route", "retry_policy")
            found = retry.get("per_try_timeout")
            if not found:
                message = (
                    f"is not set: a silent provider holds the request; say {policy.timeout:g}s"
                )
                yield found.say(message, "level-timeout")
                continue
            tries = retry.get("num_retries").number
            seconds = found.seconds or 0
            if seconds < policy.timeout:
                has = f"{policy.timeout:g}"
                message = f"is {found.text}, but the level has {has} s; say {has}s"
                yield found.say(message, "level-timeout")
            elif (tries is None or tries > 0) and seconds <= policy.timeout:
                message = (
                    f"a second try doubles the level's {policy.timeout:g} s; say num_retries: 0, "
                    "or more time here, so that the service's own clock ends the level first"
                )
                yield found.say(message, "level-timeout")


def keys(config: Configuration) -> Iterator[Finding]:
    """One key, ours, in place of the client's."""
    for at in _key_headers(config):
        action = at.get("append_action")
        if action.text != _OVERWRITE:
            name = at.get("header", "key").text
            message = f"the client's {name} would be sent as well; say {_OVERWRITE}"
            yield action.say(message, "append-action")


def _key_headers(config: Configuration) -> Iterator[At]:
    places = [place for one in config.of_role("target") for pair in one.routes for place in pair]
    seen = set()
    for place in places:
        for header in place.get("request_headers_to_add"):
            if header.get("header", "key").text.lower() in _KEYS and header.path not in seen:
                seen.add(header.path)
                yield header


def names(config: Configuration) -> Iterator[Finding]:
    """A provider is called by its own name."""
    for manager in config.of_role("target"):
        for _, route in manager.routes:
            action = route.get("route")
            known = ("host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header")
            if action and not any(action.get(one) for one in known):
                found = action.get("host_rewrite_literal")
                yield found.say("the provider gets the gateway's name as its host", "host-rewrite")


def hidden(config: Configuration) -> Iterator[Finding]:
    """Providers learn nothing of the gateway and its clients."""
    for manager in config.of_role("target"):
        removed = _removed(manager)
        for name in _HIDDEN:
            if not any(
                one and (one in (name, f"{name}for") or name.startswith(one)) for one in removed
            ):
                what = f"{name}*" if name.endswith("-") else name
                message = f"the provider gets {what}; remove it after the filter"
                yield manager.node.get("http_filters").say(message, "provider-headers")
        for one in manager.node.get("http_filters"):
            config_ = one.get("typed_config")
            if config_.get("@type").text.endswith(_ROUTER):
                suppress = config_.get("suppress_envoy_headers")
                if suppress.node is not True:
                    yield suppress.say("the provider gets x-envoy-*; say true", "provider-headers")


def _removed(manager: Manager) -> set[str]:
    found: set[str] = set()
    for one in manager.node.get("http_filters"):
        config = one.get("typed_config")
        if config.get("@type").text.endswith(_HEADER_MUTATION):
            for mutation in config.get("mutations", "request_mutations"):
                found.add(mutation.get("remove").text)
                found.add(mutation.get("remove_on_match", "key_matcher", "prefix").text)
    for host, route in manager.routes:
        for place in (manager.table, host, route):
            found |= {one.text for one in place.get("request_headers_to_remove")}
    return found


RULES = (clusters_exist, time, keys, names, hidden)
