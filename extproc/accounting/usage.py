"""Usage as providers report it in OpenAI's format, read without trusting it.

A figure is a whole number from 0 to `MOST`. Anything else (missing, null, negative, a fraction,
text, beyond `MOST`) is unknown: for `prompt_tokens` and `completion_tokens` that makes the whole
usage unknown, for a detail it counts as 0. Details that exceed what they are part of are cut to
it, so that a sum over parts never bills more than the whole.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from extproc.catalogue import estimate
from extproc.records import Usage

MOST: Final = 1_000_000_000
"""Tokens of one request that are believed; a thousand times the largest context window, and
small enough that no sum of money leaves 64 bits."""


class _Answer(msgspec.Struct):
    usage: Any = None
    model: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def usage_of(usage: object) -> Usage | None:
    """A decoded `usage` object; None when it is none, or its totals are no figures."""
    if type(usage) is not dict:
        return None
    into = _figure(usage.get("prompt_tokens"))
    out = _figure(usage.get("completion_tokens"))
    if into is None or out is None:
        return None
    cached = written = reasoning = 0
    details = usage.get("prompt_tokens_details")
    if type(details) is dict:
        cached = min(_figure(details.get("cached_tokens")) or 0, into)
        written = min(_figure(details.get("cache_write_tokens")) or 0, into - cached)
    details = usage.get("completion_tokens_details")
    if type(details) is dict:
        reasoning = min(_figure(details.get("reasoning_tokens")) or 0, out)
    return Usage(into, out, cached, written, reasoning)


def read_answer(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and model of a whole chat completion. Never raises: what cannot be read is None."""
    try:
        answer = _decode_answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    model = answer.model
    return usage_of(answer.usage), model if type(model) is str else None


read_chunk = read_answer
"""The same of one chunk's data: a chunk holds both in the same places."""


def estimated(input_tokens: int, ascii_bytes: int, wide_chars: int) -> Usage:
    """Usage of an answer whose provider gave no figures: input as estimated before, output from
    the text produced."""
    return Usage(max(0, input_tokens), estimate(ascii_bytes, wide_chars), estimated=True)


def _figure(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
