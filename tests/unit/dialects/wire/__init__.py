"""Each provider's answers, written: what the dialects read, the tests made."""

from __future__ import annotations

import re
from types import ModuleType

from tests.unit.dialects.wire import anthropic, bedrock, cohere, gemini, openai
from tests.unit.dialects.wire.said import Said, only

WRITERS: dict[str, ModuleType] = {
    "openai": openai,
    "azure": openai,
    "anthropic": anthropic,
    "gemini": gemini,
    "vertex": gemini,
    "bedrock": bedrock,
    "cohere": cohere,
}
"""A module with `whole(said)`, `stream(said, size)`, `error(status, kind, message)`, and what
can be said: `SAYS` and `COUNTS`."""


def sayable(name: str, said: Said) -> Said:
    """What the provider can say of it."""
    writer = WRITERS[name]
    return only(said, writer.SAYS, writer.COUNTS)


def frames(name: str, stream: bytes) -> list[bytes]:
    """A stream's events, whole."""
    if name == "bedrock":
        return bedrock.messages(stream)
    return re.findall(rb".+?(?:\r?\n){2}", stream, re.DOTALL)
