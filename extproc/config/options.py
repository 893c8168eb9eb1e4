"""What `render` is told beside gateway.yaml, and what holds when nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from extproc.config.gateway import Gateway

TRUSTED_CA = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
"""Where systems keep the certificates they trust. Envoy has no setting that means these."""

EXTPROC = "unix:.run/extproc-0.sock"
"""Where `tollgate serve` listens when it is told nothing; relative to where Envoy is started."""
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """What the person who renders says. None: what gateway.yaml says, else the default.

    extproc: one `unix:/path/x.sock` or `host:port` for each worker of the service.
    listen, admin: `address:port` of the gateway and of Envoy's admin interface.
    access_log: a file; /dev/stdout by default.
    max_body: bytes of a request body. drain_timeout: seconds between the two GOAWAYs of a
    draining connection. trusted_ca: certificates to trust for https; found when None.
    time_scale: target time-outs are multiplied by it (tests of a chain that takes a minute).
    """

    extproc: tuple[str, ...] | list[str] = ()
    listen: str | None = None
    admin: str | None = None
    access_log: str | None = None
    max_body: int | None = None
    drain_timeout: float | None = None
    trusted_ca: str | None = None
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The same with nothing left open."""

    extproc: tuple[str, ...]
    gateway: tuple[str, int]
    admin: tuple[str, int]
    access_log: str
    max_body: int
    drain_timeout: float
    trusted_ca: str
    time_scale: float

    @classmethod
    def of(cls, gateway: Gateway, options: RenderOptions) -> Settings:
        """Options over gateway.yaml over defaults. Raises ValueError for a bad address."""
        said = gateway.envoy
        return cls(
            extproc=tuple(options.extproc or said.extproc or (EXTPROC,)),
            gateway=parse_listen(options.listen or said.gateway or "127.0.0.1:10000"),
            admin=parse_listen(options.admin or said.admin or "127.0.0.1:9901"),
            access_log=options.access_log or said.access_log or "/dev/stdout",
            max_body=options.max_body or said.max_body or 32 << 20,
            drain_timeout=options.drain_timeout or said.drain_timeout or 5.0,
            trusted_ca=options.trusted_ca or find_trusted_ca(),
            time_scale=options.time_scale,
        )


def find_trusted_ca() -> str:
    """The system's file of trusted certificates; the first usual place when none is there."""
    return next((one for one in TRUSTED_CA if Path(one).is_file()), TRUSTED_CA[0])


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:10000` or `[::1]:10000` to address and port. Raises ValueError."""
    host, port = _split(text)
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(
            f"'{text}' is no address to listen on; write it as 127.0.0.1:10000"
        ) from None
    return host, port


def parse_endpoint(text: str) -> str | tuple[str, int]:
    """`unix:/path` to the path, `host:port` to both. Raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError(f"'{text}' names no socket; write it as unix:/run/tollgate/0.sock")
        return path
    return _split(text)


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"'{text}' is not host:port, e.g. 127.0.0.1:10000")
    if not 0 < int(port) <= _MAX_PORT:
        raise ValueError(f"'{text}' has no port between 1 and {_MAX_PORT}")
    return host, int(port)
