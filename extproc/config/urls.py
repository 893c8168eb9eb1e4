"""Where a provider is, from its URL, and what OpenTelemetry calls it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from extproc.config.gateway import Provider

_PORTS = {"http": 80, "https": 443}
_SYSTEMS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.cohere.com": "cohere",
}
"""Well-known values of `gen_ai.provider.name` (OpenTelemetry GenAI conventions) by host."""
_DIALECTS = {"anthropic": "anthropic", "gemini": "gcp.gemini"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a provider, and the path in front of its endpoints."""

    tls: bool
    host: str
    """Without brackets for IPv6."""
    port: int
    base_path: str | None

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read a URL. Raises ValueError that says what is wrong with it."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"'{url}' is not a URL: {error}") from None
        if parts.scheme not in _PORTS:
            raise ValueError(f"'{url}' does not begin with http:// or https://")
        if not parts.hostname or any(one in parts.hostname for one in " /\\_"):
            raise ValueError(f"'{url}' names no host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("has a user name in it; a key goes into the variable of key_env")
        if parts.query or parts.fragment:
            raise ValueError(f"'{url}' has more than a path after the host")
        if port == 0:
            raise ValueError(f"'{url}' has port 0")
        return cls(
            tls=parts.scheme == "https",
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            base_path=parts.path.rstrip("/") or None,
        )

    @property
    def is_address(self) -> bool:
        """The host is an IP address, not a name."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def authority(self) -> str:
        """What stands in `host`: brackets for IPv6, no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"
        )


def system_of(name: str, provider: Provider) -> str:
    """`gen_ai.provider.name` of a provider: said, or told from its host, dialect or name."""
    if provider.system is not None:
        return provider.system
    host = Origin.parse(provider.url).host
    for suffix, system in _SYSTEMS.items():
        if host == suffix or host.endswith((f".{suffix}", f"-{suffix}")):
            return system
    return _DIALECTS.get(provider.dialect, name)
