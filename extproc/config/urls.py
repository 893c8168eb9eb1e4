"""Where a provider is, from its URL, and what can be told of it from its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from extproc.dialects.openai.servers import server_at

_PORTS = {"http": 80, "https": 443}
SYSTEMS: Final[Mapping[str, str]] = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "openrouter.ai": "openrouter",
    "api.cerebras.ai": "cerebras",
}
"""Values of `gen_ai.provider.name` by host: the well-known ones of the OpenTelemetry GenAI
conventions, and for others the provider's name as people write it."""
SYSTEM_OF_DIALECT: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
}
OLLAMA_PORT: Final = 11434
"""Ollama's own port, on whatever host. Those of vLLM (8000) and llama.cpp (8080) say nothing."""
_BEDROCK: Final = re.compile(r"\bbedrock(?:-[a-z]+)?(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
"""`bedrock-runtime.us-east-1.amazonaws.com`, also behind a VPC endpoint's name."""
_VERTEX: Final = re.compile(
    r"(?:(?P<region>[a-z]+-[a-z]+\d+)-)?aiplatform\.(?:(?P<multi>us|eu)\.rep\.)?googleapis\.com"
)
"""`us-central1-aiplatform.googleapis.com`, `aiplatform.eu.rep.googleapis.com`, or no place."""


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

    @property
    def system(self) -> str | None:
        """`gen_ai.provider.name`, where the host tells."""
        return "aws.bedrock" if self.region else _by_host(SYSTEMS, self.host)

    @property
    def server(self) -> str | None:
        """The server that speaks OpenAI's format there, where the address tells."""
        return "ollama" if self.port == OLLAMA_PORT else server_at(self.host)

    @property
    def region(self) -> str | None:
        """The AWS region of a Bedrock endpoint, where the host tells."""
        found = _BEDROCK.search(self.host)
        return found[1] if found else None

    @property
    def location(self) -> str | None:
        """The location of a Vertex AI endpoint, where the host tells."""
        found = _VERTEX.fullmatch(self.host)
        return (found["region"] or found["multi"] or "global") if found else None


def _by_host(table: Mapping[str, str], host: str) -> str | None:
    for suffix, value in table.items():
        if host == suffix or host.endswith((f".{suffix}", f"-{suffix}")):
            return value
    return None
