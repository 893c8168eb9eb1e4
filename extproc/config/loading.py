"""gateway.yaml from text to a `Gateway` whose names all exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path as File
from typing import Any

import msgspec

from extproc.catalogue import FEATURES
from extproc.config import cache, source, typed
from extproc.config.callers import unfit
from extproc.config.findings import ConfigError, Path, Severity, suggest
from extproc.config.gateway import NAME, Gateway, Identified, Identity, Provider, Target
from extproc.config.guard import empty
from extproc.config.guard import mistakes as guard_mistakes
from extproc.config.limits import mistakes as limit_mistakes
from extproc.config.proofs import gateway_mistakes, tier_mistakes, tls_mistakes
from extproc.config.providers import Mistake, completed, mistakes, target_mistakes
from extproc.config.source import Document
from extproc.config.urls import Origin

_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRIPPED = ("x-tollgate-i-", "x-envoy-")
_RESERVED = "auto"


def load(given: File | str, name: str = "gateway.yaml") -> Gateway:
    """Read gateway.yaml. `given` is a path, or the text itself when it has a line break.

    Raises ConfigError with every mistake found.
    """
    if isinstance(given, str) and "\n" in given:
        document = source.read_text(given, name)
    else:
        document = source.read_file(File(given))
    return load_document(document)


def load_document(document: Document) -> Gateway:
    """The same from a parsed document."""
    _Short(document).prepare()
    gateway: Gateway | None = typed.read(
        Gateway,
        document.data,
        (),
        lambda path, message, rule: document.findings.append(document.finding(path, message, rule)),
    )
    if gateway is not None and not document.findings:
        _Names(document, gateway).check()
    errors = [one for one in document.findings if one.severity is Severity.ERROR]
    if gateway is None or errors:
        raise ConfigError(document.findings)
    return msgspec.structs.replace(
        gateway,
        providers={name: completed(name, one) for name, one in gateway.providers.items()},
    )


class _Short:
    """Spells out what may be written shorter: a level that is one target, a price in digits, one
    time for every kind of content."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def prepare(self) -> None:
        if self._document.data is None:
            self._document.data = {}
        for levels in self._values("chains"):
            if isinstance(levels, list):
                levels[:] = [{one: 1} if isinstance(one, str) else one for one in levels]
        targets = self._section("targets")
        for name, target in targets.items():
            if isinstance(target, dict):
                self._as_text(("targets", name, "price"), target.get("price"))

        routes = self._document.data.get("routes") if isinstance(self._document.data, dict) else ()
        for one in (self._document.data, *(routes if isinstance(routes, list) else ())):
            cache = one.get("cache") if isinstance(one, dict) else None
            if isinstance(cache, dict) and isinstance(cache.get("ttl"), str | int | float):
                cache["ttl"] = dict.fromkeys(("default", "factual", "dynamic"), cache["ttl"])

    def _as_text(self, path: Path, node: Any) -> None:
        """Numbers of a mapping as they were written."""
        if not isinstance(node, dict):
            return
        for key, value in node.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                node[key] = self._document.numbers.get((*path, key), str(value))

    def _section(self, name: str) -> dict[str, Any]:
        data = self._document.data
        found = data.get(name) if isinstance(data, dict) else None
        return found if isinstance(found, dict) else {}

    def _values(self, name: str) -> Iterable[Any]:
        return self._section(name).values()


class _Names:
    """Holds what refers to something against what there is."""

    def __init__(self, document: Document, gateway: Gateway) -> None:
        self._document = document
        self._gateway = gateway

    def check(self) -> None:
        self._spelling()
        self._providers()
        self._targets()
        self._chains()
        self._routes()
        self._identity()
        self._mistakes((), limit_mistakes(self._gateway))
        self._mistakes((), empty(self._document.data))
        self._mistakes((), guard_mistakes(self._gateway))
        self._mistakes((), cache.empty(self._document.data))
        self._mistakes((), cache.mistakes(self._gateway))
        self._envoy()

    def _error(self, path: Path, message: str, rule: str) -> None:
        self._document.findings.append(self._document.finding(path, message, rule))

    def _spelling(self) -> None:
        gateway = self._gateway
        for section in ("providers", "targets", "chains"):
            names = getattr(gateway, section)
            if not names:
                self._error((section,), "is empty; there must be at least one", "empty")
            for name in names:
                if not NAME.fullmatch(name):
                    message = f"'{name}' is not a name; use letters, digits, '.', '_' and '-'"
                    self._error((section, name), message, "bad-name")
        for name in sorted({*gateway.targets} & {*gateway.chains}):
            message = f"'{name}' is also a target; a request could not say which it means"
            self._error(("chains", name), message, "duplicate-name")
        for section in ("targets", "chains"):
            if _RESERVED in getattr(gateway, section):
                message = "'auto' leaves the choice to the route; give it another name"
                self._error((section, _RESERVED), message, "reserved-name")

    def _providers(self) -> None:
        passed = all(one.credentials == "caller" for one in self._gateway.routes)
        for name, provider in self._gateway.providers.items():
            path = ("providers", name)
            try:
                Origin.parse(provider.url)
            except ValueError as error:
                self._error((*path, "url"), str(error), "bad-url")
            if provider.key_env is not None and not _ENVIRONMENT.fullmatch(provider.key_env):
                # The value is not repeated: it may be the key.
                message = "is not the name of an environment variable; the key belongs into one"
                self._error((*path, "key_env"), message, "bad-key-env")
            if provider.key_file is not None and not File(provider.key_file).is_absolute():
                message = "must be an absolute path: Envoy is started elsewhere"
                self._error((*path, "key_file"), message, "bad-path")
            self._mistakes(path, mistakes(provider, passed=passed))
            if provider.health.path is not None and not provider.health.path.startswith("/"):
                message = f"'{provider.health.path}' does not begin with '/'"
                self._error((*path, "health", "path"), message, "bad-path")
            if provider.outlier.consecutive_5xx < 1:
                message = "must be at least 1"
                self._error((*path, "outlier", "consecutive_5xx"), message, "out-of-range")

    def _targets(self) -> None:
        providers = self._gateway.providers
        for name, target in self._gateway.targets.items():
            path = ("targets", name)
            if target.provider not in providers:
                message = f"no provider '{target.provider}'{suggest(target.provider, providers)}"
                self._error((*path, "provider"), message, "missing-provider")
            else:
                self._mistakes(path, target_mistakes(target, providers[target.provider]))
            self._limits(path, target)
            for index, feature in enumerate(target.features or ()):
                if feature not in FEATURES:
                    message = f"no feature '{feature}'{suggest(feature, FEATURES)}"
                    self._error((*path, "features", index), message, "unknown-feature")
            if target.price is not None:
                for key, text in msgspec.structs.asdict(target.price).items():
                    if text is not None and not _is_money(text):
                        message = f"'{text}' is not US dollars per million tokens, e.g. 2.50"
                        self._error((*path, "price", key), message, "bad-price")

    def _limits(self, path: Path, target: Target) -> None:
        for key in ("context_window", "output_cap"):
            value = getattr(target, key)
            if value is not None and value < 1:
                self._error((*path, key), "must be at least 1 token", "out-of-range")

    def _chains(self) -> None:
        targets = self._gateway.targets
        for name, levels in self._gateway.chains.items():
            if not levels:
                self._error(("chains", name), "has no level; name a target", "empty")
            for index, level in enumerate(levels):
                path = ("chains", name, index)
                if not level:
                    self._error(path, "has no target", "empty")
                for target, weight in level.items():
                    if target not in targets:
                        message = f"no target '{target}'{suggest(target, targets)}"
                        self._error(path, message, "missing-target")
                    if weight < 1:
                        message = f"the weight of '{target}' must be 1 or more"
                        self._error((*path, target), message, "out-of-range")

    def _routes(self) -> None:
        gateway = self._gateway
        if not gateway.routes:
            self._error(("routes",), "is empty; there must be at least one", "empty")
        seen: dict[str, int] = {}
        for index, route in enumerate(gateway.routes):
            path = ("routes", index)
            if not NAME.fullmatch(route.name):
                message = f"'{route.name}' is not a name; use letters, digits, '.', '_' and '-'"
                self._error((*path, "name"), message, "bad-name")
            if route.name in seen:
                message = f"'{route.name}' is also the name of routes[{seen[route.name]}]"
                self._error((*path, "name"), message, "duplicate-name")
            seen.setdefault(route.name, index)
            self._chain_of(index)
            known = [*gateway.chains, *gateway.targets]
            for alias, choice in route.models.items():
                if choice not in known:
                    message = f"no chain or target '{choice}'{suggest(choice, known)}"
                    self._error((*path, "models", alias), message, "missing-chain")
            self._mistakes((), unfit(gateway, index))
            for header in route.match.headers:
                self._header((*path, "match", "headers", header), header)

    def _identity(self) -> None:
        gateway = self._gateway
        said: list[tuple[Path, Identified]] = [(("identity",), gateway.identity)]
        for index, route in enumerate(gateway.routes):
            if route.identity is not None:
                said.append((("routes", index, "identity"), route.identity))
        for path, field in said:
            if isinstance(field, Identity):
                found = gateway_mistakes(field, gateway.tiers, gateway.envoy.tls)
                self._mistakes(path, found)
        self._mistakes(("tiers",), tier_mistakes(gateway.tiers))
        if gateway.envoy.tls is not None:
            self._mistakes(("envoy", "tls"), tls_mistakes(gateway.envoy.tls))

    def _mistakes(self, path: Path, found: Iterable[Mistake]) -> None:
        for one in found:
            self._error((*path, *one.path), one.message, one.rule)

    def _chain_of(self, index: int) -> None:
        route = self._gateway.routes[index]
        path: Path = ("routes", index)
        chains = self._gateway.chains
        if route.chain is None:
            if "*" not in route.models:
                message = 'has no chain; say chain: NAME, or models: {"*": NAME}'
                self._error(path, message, "missing-chain")
            elif route.models["*"] in self._gateway.targets:
                message = "is a target; a route needs a chain, say chain: NAME as well"
                self._error((*path, "models", "*"), message, "missing-chain")
        elif route.chain not in chains:
            message = f"no chain '{route.chain}'{suggest(route.chain, chains)}"
            self._error((*path, "chain"), message, "missing-chain")

    def _header(self, path: Path, header: str) -> None:
        if header.lower().startswith(_STRIPPED):
            message = "never matches: it is removed from what clients send"
            self._error(path, message, "stripped-header")
        elif "_" in header:
            message = "never matches: headers with an underscore are dropped"
            self._error(path, message, "stripped-header")

    def _envoy(self) -> None:
        # The addresses are parsed where they are used; here only their form is of interest.
        from extproc.config.options import parse_endpoint, parse_listen  # noqa: PLC0415

        listen = self._gateway.envoy
        for key in ("gateway", "admin"):
            value = getattr(listen, key)
            if value is None:
                continue
            try:
                parse_listen(value)
            except ValueError as error:
                self._error(("envoy", key), str(error), "bad-address")
        for index, endpoint in enumerate(listen.extproc or ()):
            try:
                parse_endpoint(endpoint)
            except ValueError as error:
                self._error(("envoy", "extproc", index), str(error), "bad-address")


def _is_money(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and Decimal(text) >= 0
    except InvalidOperation:
        return False


def provider_of(gateway: Gateway, target: str) -> Provider:
    """The provider that serves `target`."""
    return gateway.providers[gateway.targets[target].provider]
