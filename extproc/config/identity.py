"""What Envoy does so that the service learns who asks: tokens verified, certificates asked for,
facts of the connection and the headers of a gateway in front sent along."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from extproc.config.gateway import Gateway, Identified, Identity, Jwt, Tls
from extproc.config.parts import Node, extension
from extproc.config.urls import Origin
from extproc.headers import CREDENTIALS
from extproc.policy import IdentityField, IdentityPolicy, JwtIdentity, identity_policy

JWT_AUTHN: Final = "envoy.filters.http.jwt_authn"
"""The filter's name, and the metadata namespace it writes to whatever it is called."""
SOURCE: Final = "source.address"
CERTIFICATE: Final = (
    "connection.uri_san_peer_certificate",
    "connection.dns_san_peer_certificate",
)
_CACHED: Final = "600s"
"""How long an issuer's keys are taken for its keys."""
_FETCH: Final = "5s"


# --- gateway.yaml to policies -------------------------------------------------------------


def spelled_out(field: Identified) -> Identity:
    """An identity written in short, in full."""
    if isinstance(field, Identity):
        return field
    return Identity(open=field == "open", keys=field == "keys")


def identities(gateway: Gateway) -> Iterator[Identity]:
    """Every identity there is: the gateway's own, and those of routes."""
    yield spelled_out(gateway.identity)
    for route in gateway.routes:
        if route.identity is not None:
            yield spelled_out(route.identity)


def issuers(gateway: Gateway) -> dict[str, Jwt]:
    """Issuers whose tokens some route takes, by the name that their payload gets. Routes that say
    the same of one share it."""
    found: dict[str, Jwt] = {}
    for identity in identities(gateway):
        for jwt in identity.jwt:
            if not any(_verified_alike(one, jwt) for one in found.values()):
                found[_free_name(jwt.issuer, found)] = jwt
    return found


def _verified_alike(one: Jwt, other: Jwt) -> bool:
    return _verification(one) == _verification(other)


def _verification(jwt: Jwt) -> tuple[object, ...]:
    return (jwt.issuer, jwt.audiences, jwt.jwks_url, jwt.jwks_file, jwt.ca_file, jwt.header)


def _free_name(issuer: str, taken: Iterable[str]) -> str:
    host = urlsplit(issuer).hostname or issuer
    name = re.sub(r"[^a-z0-9.]+", "-", host.lower()).strip("-.") or "issuer"
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def policy_of(gateway: Gateway, field: Identified) -> IdentityField:
    """An identity as the service reads it."""
    if not isinstance(field, Identity):
        return field
    named = issuers(gateway)

    def payload(jwt: Jwt) -> str:
        return next(name for name, one in named.items() if _verified_alike(one, jwt))

    return IdentityPolicy(
        keys=field.keys,
        jwt=tuple(
            JwtIdentity(
                issuer=one.issuer,
                payload=payload(one),
                claims=one.claims,
                fixed=one.fixed,
                may_set=one.may_set,
            )
            for one in field.jwt
        ),
        mtls=field.mtls,
        header=field.header,
        open=field.open,
        beyond_loopback=field.beyond_loopback,
    )


# --- what the gateway's filter is sent ----------------------------------------------------


def needed_attributes(policies: Iterable[Identity | IdentityPolicy]) -> list[str]:
    """Facts of the connection by which the service decides."""
    known = list(policies)
    found = []
    if any(one.header is not None or (one.open and not one.beyond_loopback) for one in known):
        found.append(SOURCE)
    if any(one.mtls is not None for one in known):
        found += CERTIFICATE
    return found


def trusted_headers(policies: Iterable[Identity | IdentityPolicy]) -> list[str]:
    """Headers of a gateway in front, in lower case: the service reads them, providers never."""
    found: dict[str, None] = {}
    for one in policies:
        if one.header is not None:
            whose = one.header.headers
            for name in (whose.tenant, whose.team, whose.user, whose.tier):
                if name is not None:
                    found[name.lower()] = None
    return list(found)


def token_headers(gateway: Gateway) -> list[str]:
    """Headers that carry nothing but a token. Envoy takes one away when it has verified it; one
    that it could not verify must not reach a provider either."""
    found = {one.header.lower(): None for one in issuers(gateway).values() if one.header}
    return [one for one in found if one not in CREDENTIALS]


def policies_of(fields: Iterable[IdentityField | None]) -> list[IdentityPolicy]:
    """Policies in full."""
    return [identity_policy(one) for one in fields if one is not None]


# --- what Envoy verifies ------------------------------------------------------------------


def jwt_filter(gateway: Gateway) -> Node | None:
    """Verifies tokens and leaves their payloads in metadata. It refuses nobody: who has no token
    may have a key, and the service answers in the client's format. None: no route takes tokens."""
    known = issuers(gateway)
    if not known:
        return None
    node = {
        "providers": {name: _issuer(name, one) for name, one in known.items()},
        "rules": [{"match": {"prefix": "/"}, "requires": {"allow_missing_or_failed": {}}}],
    }
    return extension(JWT_AUTHN, "extensions.filters.http.jwt_authn.v3.JwtAuthentication", node)


def _issuer(name: str, jwt: Jwt) -> Node:
    keys: Node = {"local_jwks": {"filename": jwt.jwks_file}}
    if jwt.jwks_url is not None:
        keys = {
            "remote_jwks": {
                "http_uri": {
                    "uri": jwt.jwks_url,
                    "cluster": jwks_cluster(name),
                    "timeout": _FETCH,
                },
                "cache_duration": _CACHED,
                # Before the first request, not by it.
                "async_fetch": {},
                "retry_policy": {"num_retries": 2},
            }
        }
    return {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        **keys,
        "from_headers": _places(jwt),
        # A token that holds is not sent on: on a route for callers' own keys it would be taken
        # for one.
        "forward": False,
        "require_expiration": True,
        "payload_in_metadata": name,
        # Why a token does not hold, in the same place: one that is bad is not none.
        "failed_status_in_metadata": name,
    }


def _places(jwt: Jwt) -> list[Node]:
    names = CREDENTIALS if jwt.header is None else (jwt.header.lower(),)
    return [
        {"name": one, "value_prefix": "Bearer "} if one == "authorization" else {"name": one}
        for one in names
    ]


def jwks_cluster(name: str) -> str:
    """The cluster of an issuer's keys."""
    return f"jwks-{name}"


def jwks_origins(gateway: Gateway) -> dict[str, tuple[Origin, Jwt]]:
    """Where issuers' keys are asked for, by the name of the cluster."""
    return {
        jwks_cluster(name): (origin_of(one.jwks_url), one)
        for name, one in issuers(gateway).items()
        if one.jwks_url is not None
    }


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL, which may have a query. Raises ValueError."""
    return Origin.parse(url.partition("?")[0])


def tls(said: Tls) -> Node:
    """The listener's transport socket."""
    common: Node = {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": said.cert},
                "private_key": {"filename": said.key},
            }
        ],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    context: Node = {"common_tls_context": common}
    if said.client_ca is not None:
        # A certificate that does not hold ends the handshake, required or not.
        common["validation_context"] = {"trusted_ca": {"filename": said.client_ca}}
        context["require_client_certificate"] = said.require_client_cert
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        context,
    )
