"""Who asks, as something in front of the service has proven: Envoy with a token or a certificate,
or a gateway with headers.

Whatever is proven is taken as it stands. Text that would have to be cut or cleaned is refused,
since what is left of it could be another's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeVar

from extproc.identity.values import is_clean
from extproc.policy import HeaderIdentity, JwtIdentity, MtlsIdentity, Whose
from extproc.records import Caller

JWT: Final = "envoy.filters.http.jwt_authn"
"""Namespace of the metadata that Envoy's filter writes payloads into, by name."""
NO_TOKEN: Final = frozenset({1.0, 4.0, 5.0, 6.0, 10.0, 11.0})
"""Where Envoy writes the status of failures beside payloads (`failed_status_in_metadata`, under the
same name): those of requests that bring no token, but nothing or something else where one could
stand. From jwt_verify_lib's `Status`: missed, no three parts, header or payload no base64 or no
JSON. All others are of tokens that do not hold."""
URI_SAN: Final = "connection.uri_san_peer_certificate"
DNS_SAN: Final = "connection.dns_san_peer_certificate"
SOURCE: Final = "source.address"
"""`IP:PORT`, an IPv6 address in brackets."""

PARTS: Final = ("tenant", "team", "user", "tier")
EXACT: Final = 2.0**53
"""Beyond it Envoy's metadata, which has numbers in double precision only, no longer tells one
integer from the next."""
MOST_KEPT: Final = 1024
"""Compiled patterns and networks kept; a mesh has some policies a gateway."""

Ip = IPv4Address | IPv6Address


class UnprovenError(Exception):
    """A proof that does not hold. The text is for the log and never holds what was sent."""


class PatternError(ValueError):
    """A pattern or a network in a policy that cannot be."""


# --- tokens -------------------------------------------------------------------------------


def of_jwt(policies: Iterable[JwtIdentity], metadata: Mapping[str, Any]) -> Caller | None:
    """Who a token is for that Envoy has verified; None if there is none. `metadata` is Envoy's, by
    namespace. Raises UnprovenError for a token that none of the policies takes, and for one that
    Envoy says has failed."""
    payloads = metadata.get(JWT)
    if not isinstance(payloads, Mapping):
        return None
    sent = False
    for policy in policies:
        claims = payloads.get(policy.payload)
        if not isinstance(claims, Mapping) or _is_no_token(claims):
            continue
        sent = True
        if claims.get("iss") == policy.issuer:
            said = {
                part: _claimed(name, _claim(claims, name))
                for part in PARTS
                if (name := getattr(policy.claims, part))
            }
            return _caller("jwt", said, policy.fixed, policy.may_set)
    if sent:
        raise UnprovenError("jwt: another issuer, or Envoy could not verify it")
    return None


def _is_no_token(claims: Mapping[str, Any]) -> bool:
    return "iss" not in claims and claims.get("code") in NO_TOKEN


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by name. Names that are addresses hold dots themselves, so the whole comes first."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _claimed(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not float(value).is_integer() or abs(value) >= EXACT:
            raise UnprovenError(f"jwt: claim {name} is a number that is no id")
        return str(int(value))
    if not isinstance(value, str) or not is_clean(value):
        raise UnprovenError(f"jwt: claim {name} is no text that can stand as it is")
    return value


# --- certificates -------------------------------------------------------------------------


class Pattern:
    """A subject alternative name with places for parts of an identity. Raises PatternError."""

    __slots__ = ("_regex", "uri")

    def __init__(self, text: str) -> None:
        self.uri = "://" in text
        """Of a URI; else of a DNS name, in which upper and lower case are the same."""
        separator = "/" if self.uri else "."
        segment = r"[^/?#%]+" if self.uri else r"[^.*]+"
        seen: set[str] = set()
        pieces = []
        for piece in text.split(separator):
            literals = _PLACE.split(piece)
            places = literals[1::2]
            if len(places) > 1:
                # "{team}-{user}" reads a-b-c in two ways, and who names a workload chooses one.
                raise PatternError(f"{text}: two places in '{piece}', which can be read two ways")
            for place in places:
                if place not in PARTS or place in seen:
                    why = "is there twice" if place in seen else "is none of " + ", ".join(PARTS)
                    raise PatternError(f"{text}: '{place}' {why}")
                seen.add(place)
            if any("{" in one or "}" in one or "*" in one for one in literals[::2]):
                raise PatternError(f"{text}: '{piece}' is no place and no name")
            pieces.append(
                "".join(
                    f"(?P<{one}>{segment})" if at % 2 else re.escape(one)
                    for at, one in enumerate(literals)
                )
            )
        self._regex = re.compile(
            re.escape(separator).join(pieces), 0 if self.uri else re.IGNORECASE
        )

    def match(self, san: str) -> dict[str, str] | None:
        """The parts in a name; None if it is another."""
        found = self._regex.fullmatch(san if self.uri else san.lower())
        return None if found is None else found.groupdict()


_PLACE: Final = re.compile(r"\{([^{}]*)\}")


def of_mtls(
    policy: MtlsIdentity, patterns: Iterable[Pattern], attributes: Mapping[str, Any]
) -> Caller | None:
    """Whose certificate the connection has; None if it has none. Raises UnprovenError for a
    certificate that no pattern takes."""
    uri, dns = attributes.get(URI_SAN), attributes.get(DNS_SAN)
    if not uri and not dns:
        return None
    for pattern in patterns:
        san = uri if pattern.uri else dns
        said = pattern.match(san) if isinstance(san, str) and san else None
        if said is not None:
            if not all(is_clean(value) and value not in (".", "..") for value in said.values()):
                raise UnprovenError("mtls: a part of the name cannot stand as it is")
            return _caller("mtls", said, policy.fixed, policy.may_set)
    raise UnprovenError("mtls: a certificate for another name")


# --- headers ------------------------------------------------------------------------------


class Networks:
    """Addresses that something may come from. Raises PatternError."""

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str]) -> None:
        try:
            self._networks = tuple(_network(text) for text in texts)
        except ValueError as error:
            raise PatternError(str(error)) from None

    def __contains__(self, address: Ip | None) -> bool:
        """Whether an address is in one of them. Nothing that is no address is."""
        return address is not None and any(address in one for one in self._networks)


def _network(text: str) -> Any:
    found = ip_network(text, strict=False)
    if isinstance(found, IPv6Network) and found.prefixlen >= _MAPPED:
        inner = found.network_address.ipv4_mapped
        if inner is not None:
            return ip_network(f"{inner}/{found.prefixlen - _MAPPED}")
    return found


_MAPPED: Final = 96
"""Bits before an IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2)."""


def address_of(text: object) -> Ip | None:
    """The IP address in Envoy's `IP:PORT` or `[IP]:PORT`; None for anything else, a socket's path
    too. An IPv4 address that is written as IPv6 is an IPv4 address."""
    if not isinstance(text, str):
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        return None
    return _ip(host)


@lru_cache(maxsize=4096)
def _ip(host: str) -> Ip | None:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        found = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return None if bracketed else found
    if not bracketed:
        return None
    return found.ipv4_mapped or found


def of_header(
    policy: HeaderIdentity, networks: Networks, headers: Mapping[str, str], address: Ip | None
) -> Caller | None:
    """Who the gateway in front says is asking; None if it says nothing or it is not that gateway.
    Raises UnprovenError for text that cannot stand as it is, and for a header that came twice."""
    if address not in networks:
        return None
    said: dict[str, str | None] = {}
    for part in PARTS:
        name = getattr(policy.headers, part)
        value = headers.get(name.lower()) if name else None
        if not value:
            continue
        # Headers of one name come joined by this: the gateway has added to what a client sent,
        # where it should have replaced it.
        if ", " in value or not is_clean(value):
            raise UnprovenError(f"header: {part} cannot stand as it is, or came twice")
        said[part] = value
    return _caller("header", said, policy.fixed, policy.may_set) if said else None


# --- all of them --------------------------------------------------------------------------


def _caller(
    source: Any, said: Mapping[str, str | None], fixed: Whose, may: Iterable[str]
) -> Caller:
    return Caller(
        source=source,
        tenant=said.get("tenant") or fixed.tenant,
        team=said.get("team") or fixed.team,
        user=said.get("user") or fixed.user,
        tier=said.get("tier") or fixed.tier,
        may_set=frozenset(may),
    )


T = TypeVar("T")


class Compiled:
    """Patterns and networks by the texts they came in, so that none is compiled for a request."""

    def __init__(self) -> None:
        self._patterns: dict[tuple[str, ...], tuple[Pattern, ...]] = {}
        self._networks: dict[tuple[str, ...], Networks] = {}

    def patterns(self, texts: tuple[str, ...]) -> tuple[Pattern, ...]:
        """Raises PatternError."""
        return _kept(self._patterns, texts, lambda: tuple(Pattern(one) for one in texts))

    def networks(self, texts: tuple[str, ...]) -> Networks:
        """Raises PatternError."""
        return _kept(self._networks, texts, lambda: Networks(texts))


def _kept(kept: dict[tuple[str, ...], T], texts: tuple[str, ...], make: Callable[[], T]) -> T:
    found = kept.get(texts)
    if found is None:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        found = kept[texts] = make()
    return found
