"""Levels whose requests a filter signs or gives their key: it comes last, and nothing undoes it."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.configuration import GENERIC_KEY, Configuration, Manager
from extproc.config.credentials import CREDENTIALS
from extproc.config.discover import beside
from extproc.config.findings import Finding
from extproc.config.tree import At

_SIGNING = "envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning"
_INJECTOR = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def signed(config: Configuration) -> Iterator[Finding]:
    """Amazon refuses what is not signed as it arrives."""
    for manager, policy in config.targets:
        found = _filter(manager, _SIGNING)
        if policy.dialect != "bedrock":
            continue
        if found is None:
            if not _has_key(manager) and _filter(manager, _INJECTOR) is None:
                message = (
                    "Bedrock refuses what is not signed; add envoy.filters.http.aws_request_signing"
                )
                yield manager.node.get("http_filters").say(message, "signing")
            continue
        yield from _settings(found)
        yield from _unchanged(manager, found)


def injected(config: Configuration) -> Iterator[Finding]:
    """A key that a filter adds: nothing removes it, and the file that tells of it is there."""
    for manager in config.of_role("target"):
        found = _filter(manager, _INJECTOR)
        if found is None:
            continue
        yield from _unchanged(manager, found)
        credential = found.get("credential", "typed_config")
        if not credential.get("@type").text.endswith(GENERIC_KEY):
            continue
        path = credential.get("credential", "sds_config", "path_config_source", "path")
        if path.text and not beside(path).is_file():
            yield path.say(f"no file '{path.text}'", "missing-file")


def _filter(manager: Manager, kind: str) -> At | None:
    for one in manager.node.get("http_filters"):
        config = one.get("typed_config")
        if config.get("@type").text.endswith(kind):
            return config
    return None


def _has_key(manager: Manager) -> bool:
    places = [place for pair in manager.routes for place in pair]
    added = {
        header.get("header", "key").text.lower()
        for place in places
        for header in place.get("request_headers_to_add")
    }
    return "authorization" in added


def _settings(found: At) -> Iterator[Finding]:
    unsigned = found.get("use_unsigned_payload")
    if unsigned.node is True:
        yield unsigned.say("Bedrock wants the body signed; say false", "signing")
    if not list(found.get("match_included_headers")):
        at = found.get("match_included_headers")
        message = (
            "headers that the next proxy may change are signed as well; say [{exact: content-type}]"
        )
        yield at.say(message, "signing")


def _unchanged(manager: Manager, found: At) -> Iterator[Finding]:
    """Filters behind it, headers that the route removes, a host that the route rewrites."""
    filters = list(manager.node.get("http_filters"))
    place = next(i for i, one in enumerate(filters) if one.get("typed_config").path == found.path)
    for one in filters[place + 1 :]:
        if not one.get("typed_config", "@type").text.endswith(_ROUTER):
            message = "changes requests after who asks was said; put it in front of that"
            yield one.say(message, "signing")
    header = found.get("credential", "typed_config", "header").text.lower() or "authorization"
    for host, route in manager.routes:
        for at in (manager.table, host, route):
            for one in at.get("request_headers_to_remove"):
                if one.text.lower() == header and header in CREDENTIALS:
                    message = f"takes the {header} away that a filter has added; remove it before"
                    yield one.say(message, "signing")
        literal = route.get("route", "host_rewrite_literal")
        said = found.get("host_rewrite")
        if said and literal and literal.text != said.text:
            message = f"the host that is signed is '{said.text}'; say the same"
            yield literal.say(message, "signing")


RULES = (signed, injected)
