"""One target of every provider, and what the catalogue says a request there costs."""

from __future__ import annotations

import json
import math
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import httpx2 as httpx

from extproc import catalogue
from tests.e2e.conftest import Json, Running


@dataclass(frozen=True, slots=True)
class Level:
    """Where a target of gateway.yaml leads: the simulator's port, and the catalogue's entry."""

    port: str
    system: str
    model: str


LEVELS: Final = {
    "claude-sonnet": Level("anthropic", "anthropic", "claude-sonnet-4-5"),
    "gpt-4-turbo": Level("openai", "openai", "gpt-4-turbo"),
    "gemini-pro": Level("gemini", "gcp.gemini", "gemini-2.5-pro"),
    "azure-gpt": Level("azure", "azure.ai.openai", "gpt-5-mini"),
    "vertex-gemini": Level("vertex", "gcp.vertex_ai", "gemini-2.5-flash-lite"),
    "vertex-claude": Level("vertex", "gcp.vertex_ai", "claude-opus-4-5@20251101"),
    "nova": Level("bedrock", "aws.bedrock", "amazon.nova-lite-v1:0"),
    "bedrock-claude": Level(
        "bedrock", "aws.bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    ),
    "command": Level("cohere", "cohere", "command-a-03-2025"),
    "groq-oss": Level("groq", "groq", "openai/gpt-oss-120b"),
    "deepseek-flash": Level("deepseek", "deepseek", "deepseek-v4-flash"),
    "router-gpt": Level("openrouter", "openai", "gpt-5"),
}
NATIVE: Final = ("gpt-4-turbo", "azure-gpt", "deepseek-flash", "groq-oss", "router-gpt")
"""They speak OpenAI's chat completions themselves; the last two tell their thinking in another way,
which is patched."""
TRANSLATED: Final = tuple(name for name in LEVELS if name not in NATIVE)


def nanodollars(target: str, usage: Json) -> int:
    """What a request costs there, worked out anew from the simulator's figures."""
    level = LEVELS[target]
    model = catalogue.load().find(level.system, level.model)
    assert model is not None, level
    price = model.price
    assert price is not None, level
    if price.long is not None and usage["input"] > price.above:
        price = price.long
    hour = usage.get("cache_write_1h", 0)
    heard, spoken = usage.get("audio_input", 0), usage.get("audio_output", 0)
    plain = usage["input"] - usage["cached"] - usage["cache_write"] - heard
    exact: int = (
        plain * price.input
        + heard * price.audio_input
        + usage["cached"] * price.cached_input
        + (usage["cache_write"] - hour) * price.cache_write
        + hour * price.cache_write_1h
        + (usage["output"] - usage["reasoning"] - spoken) * price.output
        + usage["reasoning"] * price.reasoning
        + spoken * price.audio_output
    )
    return math.floor(Fraction(exact, 1_000_000) + Fraction(1, 2))


def dollars(answer: str | float) -> int:
    """Decimal dollars as nano-dollars; exact or not at all."""
    nano = Fraction(str(answer)) * 10**9
    assert nano.denominator == 1
    return int(nano)


def scripted(**script: Any) -> dict[str, str]:
    """Headers that tell the simulator how to answer."""
    return {"x-sim-script": json.dumps(script)}


def said(gateway: Running) -> str:
    """The body of the last request that a provider got, as text."""
    return gateway.sent_body(gateway.asked()[-1]).decode()


def headers(one: Json) -> dict[str, str]:
    """The headers of a request that a provider got."""
    return {name.lower(): value for name, value in one["headers"]}


def post(gateway: Running, path: str, body: Json, **script: Any) -> httpx.Response:
    """A request to the gateway without any SDK."""
    sent = scripted(**script) if script else {}
    return gateway.http.post(f"{gateway.root}{path}", json=body, headers=sent)


# --- what is shown to models ------------------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG: Final = b64encode(
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0\0\xff\0" * 2))
    + _chunk(b"IEND", b"")
).decode()
"""An image of two by two pixels."""
PDF: Final = b64encode(
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
).decode()
"""A document of one empty page."""

WEATHER: Final[Json] = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["place"],
}
CALLS: Final[list[Json]] = [
    {"name": "weather", "arguments": {"place": "Łódź", "days": 3}},
    {"name": "clock", "arguments": {}},
]
"""Two calls at once."""
