"""Judges a gateway.yaml or any Envoy configuration."""

from __future__ import annotations

from pathlib import Path

from extproc.config import cache, discover, guard, source
from extproc.config.findings import ConfigError, Finding, Severity
from extproc.config.gateway import Gateway
from extproc.config.identity import identities
from extproc.config.loading import load_document
from extproc.config.options import RenderOptions, Settings
from extproc.config.parts import is_loopback
from extproc.config.rendering import Rendered
from extproc.config.routes import target_policy
from extproc.config.rules import ALL
from extproc.config.rules.embeddings import mixed
from extproc.config.rules.identity import is_public, public_identity
from extproc.config.rules.policies import no_price
from extproc.config.source import Document
from extproc.config.tree import At
from extproc.config.validate import validate

_BOOTSTRAPS = ("envoy.yaml", "envoy.yml", "envoy.json", "bootstrap.yaml", "bootstrap.json")
_SHORT = {"providers", "targets", "chains", "routes"}
_LONG = {"static_resources", "dynamic_resources", "staticResources", "dynamicResources"}


def check(path: Path) -> list[Finding]:
    """What is wrong with `path`: a gateway.yaml, an Envoy bootstrap, or a folder with one in
    it. Errors come first, then warnings, each in the order of the text."""
    try:
        found = _check(path)
    except ConfigError as error:
        found = error.findings
    return sorted(dict.fromkeys(found), key=lambda one: (one.severity, one.file, one.line or 0))


def _check(path: Path) -> list[Finding]:
    if path.is_dir():
        inside = [path / name for name in _BOOTSTRAPS if (path / name).is_file()]
        if not inside:
            message = f"holds no bootstrap; there should be {', '.join(_BOOTSTRAPS[:3])}"
            return [Finding(str(path), None, "", message, "no-bootstrap")]
        path = inside[0]
    document = source.read_file(path)
    keys = set(document.data) if isinstance(document.data, dict) else set()
    if keys & _LONG:
        return _check_envoy(document)
    if keys & _SHORT:
        return _check_gateway(document)
    message = (
        "is neither a gateway.yaml (providers, targets, chains, routes) nor an Envoy bootstrap "
        "(static_resources, dynamic_resources)"
    )
    return [document.finding((), message, "unknown-kind")]


def _check_envoy(document: Document) -> list[Finding]:
    config = discover.discover(document)
    findings = list(config.findings)
    if any(one.severity is Severity.ERROR for one in findings):
        # What does not fit Envoy's types cannot be asked for its meaning.
        return findings
    for rule in ALL:
        findings += rule(config)
    if reason := validate(config):
        findings.append(Finding(document.name, None, "", f"Envoy says: {reason}", "envoy"))
    return findings


def _check_gateway(document: Document) -> list[Finding]:
    gateway = load_document(document)
    top = At(document, (), document.data)
    findings = [
        *document.findings,
        *_prices(gateway, top),
        *_embeddings(gateway, top),
        *_reachable(gateway, top),
        *_unused(gateway, top),
        *_weak(gateway, top),
    ]
    settings = Settings.of(gateway, RenderOptions())
    host, _ = settings.gateway
    if not is_loopback(host) and any(is_public(one) for one in identities(gateway)):
        findings.append(public_identity(top.get("envoy", "gateway"), host))
    if any(one.severity is Severity.ERROR for one in findings):
        return findings
    rendered = Rendered(gateway, settings).single(Path())
    config = discover.discover(source.read_text(rendered, document.name))
    if reason := validate(config):
        findings.append(Finding(document.name, None, "", f"Envoy says: {reason}", "envoy"))
    return findings


def _prices(gateway: Gateway, top: At) -> list[Finding]:
    return [
        finding
        for name in gateway.targets
        for finding in no_price(top.get("targets", name), target_policy(gateway, name))
    ]


def _embeddings(gateway: Gateway, top: At) -> list[Finding]:
    targets = {name: target_policy(gateway, name) for name in gateway.targets}
    return list(mixed(top.get("chains"), gateway.chains, targets))


def _weak(gateway: Gateway, top: At) -> list[Finding]:
    """What can be, and does other than it seems."""
    found = (*guard.weak(gateway), *cache.weak(gateway))
    return [top.get(*one.path).say(one.message, one.rule, Severity.WARNING) for one in found]


def _reachable(gateway: Gateway, top: At) -> list[Finding]:
    """A route after one that takes everything."""
    findings = []
    first: str | None = None
    for index, route in enumerate(gateway.routes):
        if first is not None:
            message = f"is never reached: '{first}' before it takes every request; put it first"
            findings.append(
                top.get("routes", index).say(message, "unreachable-route", Severity.WARNING)
            )
        elif not route.match.headers:
            first = route.name
    return findings


def _unused(gateway: Gateway, top: At) -> list[Finding]:
    """A provider that no target names is not rendered."""
    used = {one.provider for one in gateway.targets.values()}
    return [
        top.get("providers", name).say("no target uses it", "unused-provider", Severity.WARNING)
        for name in gateway.providers
        if name not in used
    ]
