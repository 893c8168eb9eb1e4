"""What is wrong with an identity: proofs that prove nothing, or that nobody can bring."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_network
from pathlib import Path as File
from typing import Final

from extproc.config.findings import suggest
from extproc.config.gateway import NAME, Identity, Jwt, Tls
from extproc.config.identity import origin_of
from extproc.config.providers import Mistake
from extproc.headers import INTERNAL
from extproc.identity.mesh import Pattern, PatternError
from extproc.policy import HeaderIdentity, IdentityPolicy, JwtIdentity, MtlsIdentity, Whose
from extproc.records import ALL_FIELDS

_PARTS: Final = ("tenant", "team", "user", "tier")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+", re.IGNORECASE)
_STRIPPED: Final = (INTERNAL, "x-envoy-", "x-forwarded-")
"""Removed, or written, by Envoy before anybody reads them."""
_MAPPED: Final = ip_network("::ffff:0:0/96")
"""All IPv4 addresses, written as IPv6."""
_LABEL: Final = re.compile(r"label-[a-z0-9-]+")


def mistakes(policy: Identity | IdentityPolicy, tiers: Collection[str]) -> Iterator[Mistake]:
    """What holds for both forms of a configuration. `tiers`: those there are; none: any."""
    if not (policy.keys or policy.jwt or policy.mtls or policy.header or policy.open):
        message = "lets nobody in; say keys: true, or what else proves who asks"
        yield Mistake((), message, "bad-identity")
    if policy.beyond_loopback and not policy.open:
        message = "is about open, which is not said; say open: true as well, or neither"
        yield Mistake(("beyond_loopback",), message, "bad-identity")
    tokens: tuple[Jwt | JwtIdentity, ...] = policy.jwt
    for index, jwt in enumerate(tokens):
        path = ("jwt", index)
        if not jwt.issuer:
            message = "is empty; say what stands in the tokens' iss"
            yield Mistake((*path, "issuer"), message, "bad-identity")
        yield from _below(path, _rest(jwt.fixed, jwt.may_set, tiers))
    if policy.mtls is not None:
        yield from _below(("mtls",), _certificate(policy.mtls))
        yield from _below(("mtls",), _rest(policy.mtls.fixed, policy.mtls.may_set, tiers))
    if policy.header is not None:
        yield from _below(("header",), _headers(policy.header))
        yield from _below(("header",), _rest(policy.header.fixed, policy.header.may_set, tiers))


def _below(path: tuple[str | int, ...], found: Iterator[Mistake]) -> Iterator[Mistake]:
    for one in found:
        yield Mistake((*path, *one.path), one.message, one.rule)


def _rest(fixed: Whose, may_set: tuple[str, ...], tiers: Collection[str]) -> Iterator[Mistake]:
    if fixed.tier is not None and tiers and fixed.tier not in tiers:
        message = f"no tier '{fixed.tier}'{suggest(fixed.tier, tiers)}"
        yield Mistake(("fixed", "tier"), message, "bad-tier")
    for index, name in enumerate(may_set):
        if name not in ALL_FIELDS and not _LABEL.fullmatch(name):
            message = f"'{name}' is nothing to say of a request{suggest(name, ALL_FIELDS)}"
            yield Mistake(("may_set", index), message, "may-set")


def _certificate(mtls: MtlsIdentity) -> Iterator[Mistake]:
    if not mtls.san:
        message = "has no pattern; say e.g. spiffe://acme.example/ns/{team}/sa/{user}"
        yield Mistake(("san",), message, "bad-identity")
    for index, text in enumerate(mtls.san):
        try:
            Pattern(text)
        except PatternError as error:
            yield Mistake(("san", index), f"is no pattern: {error}", "bad-identity")
        if not text:
            yield Mistake(("san", index), "is empty", "bad-identity")


def _headers(header: HeaderIdentity) -> Iterator[Mistake]:
    said = {one: getattr(header.headers, one) for one in _PARTS}
    if not any(said.values()):
        message = "names no header; say e.g. user: x-auth-user"
        yield Mistake(("headers",), message, "bad-identity")
    for part, name in said.items():
        if name is not None and (wrong := header_mistake(name)):
            yield Mistake(("headers", part), wrong, "identity-header")
    if not header.sources:
        message = "is empty, so nobody's headers are believed; name the gateway in front"
        yield Mistake(("sources",), message, "identity-sources")
    for index, text in enumerate(header.sources):
        try:
            network = ip_network(text)
        except ValueError as error:
            message = f"is no network: {error}; write it as 10.1.0.0/16"
            yield Mistake(("sources", index), message, "identity-sources")
            continue
        if network.prefixlen == 0 or network == _MAPPED:
            message = f"{text} is everybody: who asks could say who they are; name the gateway"
            yield Mistake(("sources", index), message, "identity-sources")


def header_mistake(name: str) -> str | None:
    """Why a header cannot prove who asks."""
    if not _HEADER.fullmatch(name):
        return f"'{name}' is not the name of a header" + (
            ": those with an underscore are dropped" if "_" in name else ""
        )
    if name.lower().startswith(_STRIPPED):
        return f"'{name}' never arrives as it was sent: Envoy removes or writes it"
    return None


# --- gateway.yaml only --------------------------------------------------------------------


def gateway_mistakes(
    identity: Identity, tiers: Collection[str], tls: Tls | None
) -> Iterator[Mistake]:
    """What is wrong with an identity of gateway.yaml. `tls`: that of the gateway's listener."""
    yield from mistakes(identity, tiers)
    for index, jwt in enumerate(identity.jwt):
        yield from _below(("jwt", index), _issuer(jwt))
    if identity.mtls is not None and (tls is None or tls.client_ca is None):
        message = (
            "clients are asked for no certificate; "
            "say envoy: {tls: {cert: PATH, key: PATH, client_ca: PATH}}"
        )
        yield Mistake(("mtls",), message, "client-ca")


def _issuer(jwt: Jwt) -> Iterator[Mistake]:
    if not jwt.audiences:
        message = "is empty: tokens that the issuer made for other services would be taken"
        yield Mistake(("audiences",), message, "jwt-audiences")
    if jwt.jwks_url is None and jwt.jwks_file is None:
        message = "has no keys to verify tokens by; say jwks_url: URL or jwks_file: PATH"
        yield Mistake((), message, "jwt-keys")
    elif jwt.jwks_url is not None and jwt.jwks_file is not None:
        message = "stands beside jwks_url; one of them has the keys"
        yield Mistake(("jwks_file",), message, "jwt-keys")
    if jwt.jwks_url is not None:
        try:
            origin_of(jwt.jwks_url)
        except ValueError as error:
            yield Mistake(("jwks_url",), str(error), "bad-url")
    for key in ("jwks_file", "ca_file"):
        yield from _absolute(key, getattr(jwt, key))
    if jwt.header is not None and (wrong := header_mistake(jwt.header)):
        yield Mistake(("header",), wrong, "identity-header")


def tls_mistakes(tls: Tls) -> Iterator[Mistake]:
    """What is wrong with the TLS of the gateway's listener."""
    for key in ("cert", "key", "client_ca"):
        yield from _absolute(key, getattr(tls, key))
    if tls.require_client_cert and tls.client_ca is None:
        message = "needs to know whose certificates are good; say client_ca: PATH"
        yield Mistake(("require_client_cert",), message, "client-ca")


def _absolute(key: str, path: str | None) -> Iterator[Mistake]:
    if path is not None and not File(path).is_absolute():
        yield Mistake((key,), "must be an absolute path: Envoy is started elsewhere", "bad-path")


def tier_mistakes(tiers: Collection[str]) -> Iterator[Mistake]:
    """What is wrong with the names of tiers."""
    for name in tiers:
        if not NAME.fullmatch(name):
            message = f"'{name}' is not a name; use letters, digits, '.', '_' and '-'"
            yield Mistake((name,), message, "bad-tier")
