"""Usage as an answer tells it, in each client format, read without trusting it.

A figure is a whole number from 0 to `MOST`. Anything else (missing, null, negative, a fraction,
text, beyond `MOST`) is unknown: for the totals of input and output that makes the whole usage
unknown, for a detail it counts as 0. Details that exceed what they are part of are cut to it, so
that a sum over parts never bills more than the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from extproc.catalogue import estimate
from extproc.records import Usage

MOST: Final = 1_000_000_000
"""Tokens of one request that are believed; a thousand times the largest context window, and
small enough that no sum of money leaves 64 bits."""

Tree = dict[str, Any]
NOTHING: Final = Usage()


def usage_of(usage: object, format_: str = "chat") -> Usage | None:
    """A decoded `usage` object of a client format, by name; None when it is none, or its totals
    are no figures. Of `count_tokens` the whole answer. Raises KeyError for a format that there
    is not."""
    read = _READERS[format_]
    return read(usage) if type(usage) is dict else None


def estimated(input_tokens: int, ascii_bytes: int, wide_chars: int) -> Usage:
    """Usage of an answer whose provider gave no figures: input as estimated before, output from
    the text produced."""
    return Usage(max(0, input_tokens), estimate(ascii_bytes, wide_chars), estimated=True)


def _completion(usage: Tree) -> Usage | None:
    """OpenAI's `usage` of chat completions and completions, with what others have added.

    `prompt_cache_hit_tokens` is DeepSeek's cached input. `cache_write_1h_tokens` is of our own
    making: what Anthropic tells in `cache_creation`.
    """
    into = _figure(usage.get("prompt_tokens"))
    out = _figure(usage.get("completion_tokens"))
    if into is None or out is None:
        return None
    details = _tree(usage.get("prompt_tokens_details"))
    cached = details.get("cached_tokens")
    if cached is None:
        cached = usage.get("prompt_cache_hit_tokens")
    return _usage(into, out, cached, details, _tree(usage.get("completion_tokens_details")))


def _response(usage: Tree) -> Usage | None:
    """OpenAI's `usage` of the Responses API."""
    into, out = _figure(usage.get("input_tokens")), _figure(usage.get("output_tokens"))
    if into is None or out is None:
        return None
    details = _tree(usage.get("input_tokens_details"))
    return _usage(
        into, out, details.get("cached_tokens"), details, _tree(usage.get("output_tokens_details"))
    )


def _message(usage: Tree) -> Usage | None:
    """Anthropic's `usage`. Its `input_tokens` are those neither read from nor written to a cache.

    The tokens of a compaction, which are billed, stand in `iterations` alone.
    """
    found = _turn(usage)
    iterations = usage.get("iterations")
    if type(iterations) is list:
        for one in iterations:
            if type(one) is dict and one.get("type") == "compaction":
                found = _sum(found, _turn(one))
    return found


def _turn(usage: Tree) -> Usage | None:
    fresh, out = _figure(usage.get("input_tokens")), _figure(usage.get("output_tokens"))
    if fresh is None or out is None:
        return None
    cached = _figure(usage.get("cache_read_input_tokens")) or 0
    lives = _tree(usage.get("cache_creation"))
    hour = _figure(lives.get("ephemeral_1h_input_tokens")) or 0
    written = _figure(usage.get("cache_creation_input_tokens"))
    if written is None:
        written = hour + (_figure(lives.get("ephemeral_5m_input_tokens")) or 0)
    into = fresh + cached + written
    if into > MOST:
        return None
    thinking = _figure(_tree(usage.get("output_tokens_details")).get("thinking_tokens")) or 0
    return Usage(into, out, cached, written, min(thinking, out), cache_write_1h=min(hour, written))


def _embeddings(usage: Tree) -> Usage | None:
    into = _figure(usage.get("prompt_tokens"))
    if into is None:
        into = _figure(usage.get("total_tokens"))
    return None if into is None else Usage(into)


def _count(answer: Tree) -> Usage | None:
    """Counting is free: an answer that counts used nothing."""
    return None if _figure(answer.get("input_tokens")) is None else NOTHING


_READERS: Final[dict[str, Callable[[Tree], Usage | None]]] = {
    "chat": _completion,
    "completions": _completion,
    "embeddings": _embeddings,
    "responses": _response,
    "messages": _message,
    "count_tokens": _count,
}


def _usage(into: int, out: int, cached: object, details: Tree, out_details: Tree) -> Usage:
    """The parts as OpenAI names them, each cut to its whole."""
    read = min(_figure(cached) or 0, into)
    if not details and not out_details:
        return Usage(into, out, read)
    written = min(_figure(details.get("cache_write_tokens")) or 0, into - read)
    return Usage(
        into,
        out,
        read,
        written,
        min(_figure(out_details.get("reasoning_tokens")) or 0, out),
        cache_write_1h=min(_figure(details.get("cache_write_1h_tokens")) or 0, written),
        audio_input=min(_figure(details.get("audio_tokens")) or 0, into),
        audio_output=min(_figure(out_details.get("audio_tokens")) or 0, out),
    )


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return one
    if one.input + other.input > MOST or one.output + other.output > MOST:
        return None
    return Usage(
        one.input + other.input,
        one.output + other.output,
        one.cached_input + other.cached_input,
        one.cache_write + other.cache_write,
        one.reasoning + other.reasoning,
        cache_write_1h=one.cache_write_1h + other.cache_write_1h,
    )


def _figure(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None


def _tree(value: object) -> Tree:
    return value if type(value) is dict else {}
