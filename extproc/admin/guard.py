"""Who may use the admin port.

With a token, whoever sends it. Without one, programs on this machine and nobody else: the peer
must be on loopback, and neither a proxy nor a web page may stand between. A page that a person
has open reaches loopback too: across sites (its `Origin` tells), or under a name of its own that
resolves to 127.0.0.1 (DNS rebinding; the `Host` tells).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from extproc.admin.answers import Refused

VARIABLE: Final = "TOLLGATE_ADMIN_TOKEN"
"""Where the service finds its token."""
OPEN: Final = frozenset({"/metrics", "/healthz", "/readyz"})
"""For anyone who reaches the port: what a scraper and a kubelet ask, who have no token."""
LOCAL: Final = "unix"
"""The peer on a Unix socket: who may open its file is on this machine."""
FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""A proxy on this machine makes everyone's requests come from loopback."""
CROSS: Final = frozenset({"cross-site", "same-site"})
"""`sec-fetch-site` of a request that another site's page makes."""

Peer = Callable[[web.Request], str]


@dataclass(frozen=True, slots=True)
class Guard:
    """The door. `token` None: only this machine."""

    token: str | None

    def admit(self, path: str, peer: str, headers: Mapping[str, str]) -> None:
        """Raises Refused (401 or 403). `headers` has names in any case (a CIMultiDict)."""
        if path in OPEN:
            return
        _refuse_pages(headers)
        if self.token is not None:
            self._token(headers.get("authorization", ""), self.token)
            return
        if not is_loopback(peer):
            raise Refused(403, f"only from this machine: no {VARIABLE} is set for the service")
        if any(name in headers for name in FORWARDED):
            raise Refused(403, f"came through a proxy: set {VARIABLE} for the service")
        if peer != LOCAL and not _local_host(headers.get("host", "")):
            raise Refused(403, "the Host header names no loopback address")

    def _token(self, sent: str, token: str) -> None:
        scheme, _, value = sent.partition(" ")
        # Digests are of one length, so the time tells nothing of the token's.
        good = hmac.compare_digest(_digest(value.strip()), _digest(token))
        if scheme.lower() != "bearer" or not good:
            said = "the admin token is wrong" if sent else "no admin token (authorization: Bearer)"
            raise Refused(401, said)


def token_of(environment: Mapping[str, str]) -> str | None:
    """The token of the environment; None if there is none. Raises ValueError for one that no header
    could carry."""
    token = environment.get(VARIABLE, "").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{VARIABLE} holds characters that a header cannot carry")
    return token


def peer_of(request: web.Request) -> str:
    """The address at the other end of the connection; `LOCAL` on a Unix socket."""
    transport = request.transport
    if transport is None:
        return ""
    own = transport.get_extra_info("socket")
    if own is not None and own.family == socket.AF_UNIX:
        return LOCAL
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def is_loopback(peer: str) -> bool:
    """Whether an address, or the peer of a Unix socket, is on this machine."""
    if peer == LOCAL:
        return True
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _refuse_pages(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin")
    if origin is not None and _place(origin) != headers.get("host", "").lower():
        raise Refused(403, "a page of another origin may not ask")
    if headers.get("sec-fetch-site", "").lower() in CROSS:
        raise Refused(403, "a page of another site may not ask")


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _local_host(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or (name != LOCAL and is_loopback(name))
