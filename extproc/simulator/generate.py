"""Makes up replies: text, tool calls and usage.

Usage is drawn from a seeded generator and never from the length of anything, so that a gateway
that counts text cannot agree with it by accident. The only tie is that a reply never bills more
output than the `max_tokens` asked for.
"""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import msgspec

from extproc.simulator.chat import Ask, Call, Reply, Tool, Usage
from extproc.simulator.schema_json import example
from extproc.simulator.script import Figures, Script

_WORDS = [
    "the",
    "gateway",
    "takes",
    "each",
    "request",
    "in",
    "turn",
    "and",
    "says",
    "what",
    "it",
    "cost",
    "while",
    "the",
    "provider",
    "answers",
    "in",
    "its",
    "own",
    "time",
    "with",
    "words",
    "like",
    "naïve",
    "café",
    "東京",
    "and",
    "🚦",
    "between",
    "quiet",
    "lines",
    "of",
    "plain",
    "text",
    "that",
    "mean",
    "nothing",
    "at",
    "all",
    "but",
    "cross",
    "every",
    "wire",
    "as",
    "a",
    "real",
    "answer",
    "would",
]

_BIDDEN = re.compile(r"\b(use|call) (a|the) tool")

DEFAULT_EVENTS = 8
_MAX_INPUT = 4000
_MAX_OUTPUT = 400
_MAX_REASONING = 600


class Model:
    """The model that is not there. One per simulator; the draws follow the order of requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def reply(self, ask: Ask, script: Script) -> Reply:
        """Make up a reply as the script says, and where it is silent as the request invites."""
        pieces, calls = ((), ()) if ask.silent else self._content(ask, script)
        thinking = () if ask.silent else self._thinking(ask, script)
        finish = script.finish or ("tool_calls" if calls else "stop")
        if ask.max_tokens is not None and script.text is None and script.events is None:
            kept = pieces[: ask.max_tokens]
            if len(kept) < len(pieces) and not script.finish:
                finish = "length"
            pieces = kept
        pieces, stopped = _stopped(pieces, ask.stops)
        if stopped is not None:
            calls, finish = (), script.finish or "stop"
        return Reply(
            id=f"{self._random.getrandbits(96):024x}",
            created=int(time.time()),
            model=script.model or ask.model,
            pieces=pieces,
            thinking=thinking,
            calls=calls,
            finish=finish,
            usage=self._usage(ask, script, finish),
            stopped=stopped,
        )

    def identifier(self, digits: int) -> str:
        """Random hexadecimal digits."""
        return f"{self._random.getrandbits(digits * 4):0{digits}x}"

    # content

    def _content(self, ask: Ask, script: Script) -> tuple[tuple[str, ...], tuple[Call, ...]]:
        if script.tools is not None:
            custom = {tool.name for tool in ask.tools if tool.custom}
            made = tuple(
                Call(
                    one.id or self.identifier(24),
                    one.name,
                    one.arguments
                    if isinstance(one.arguments, str)
                    else msgspec.json.encode(one.arguments).decode(),
                    one.name in custom,
                )
                for one in script.tools
            )
            wanted = script.text is not None or script.events
            return (self._text(ask, script) if wanted else ()), made
        if script.text is None and script.events is None:
            wanted_tools = self._invited(ask)
            if wanted_tools:
                return (), tuple(self._call(tool) for tool in wanted_tools)
        return self._text(ask, script), ()

    def _text(self, ask: Ask, script: Script) -> tuple[str, ...]:
        if script.text is not None:
            if script.events is not None:
                return split(script.text, script.events)
            return tuple(re.findall(r"\s*\S+|\s+$", script.text))
        if (ask.json_mode or ask.json_schema is not None) and script.events is None:
            value = example(ask.json_schema) if ask.json_schema else {"answer": "yes"}
            text = msgspec.json.encode(value).decode()
            return split(text, min(DEFAULT_EVENTS, len(text)))
        count = DEFAULT_EVENTS if script.events is None else script.events
        start = self._random.randrange(len(_WORDS))
        words = [_WORDS[(start + n) % len(_WORDS)] for n in range(count)]
        return tuple(word if n == 0 else f" {word}" for n, word in enumerate(words))

    def _thinking(self, ask: Ask, script: Script) -> tuple[str, ...]:
        if script.thinking is not None:
            return tuple(re.findall(r"\s*\S+|\s+$", script.thinking))
        return ("Let me", " think", " about it.") if ask.thinks else ()

    # tools

    def _invited(self, ask: Ask) -> tuple[Tool, ...]:
        """The tools that a model would call: those forced, else those the prompt names."""
        if not ask.tools or ask.tools_off:
            return ()
        if ask.forced is not None:
            return tuple(tool for tool in ask.tools if tool.name == ask.forced)
        prompt = ask.prompt.lower()
        named = tuple(tool for tool in ask.tools if _names(prompt, tool.name.lower()))
        if not named and (ask.required or _BIDDEN.search(prompt)):
            named = ask.tools[:1]
        return named if ask.parallel else named[:1]

    def _call(self, tool: Tool) -> Call:
        if tool.custom:
            return Call(self.identifier(24), tool.name, 'print("naïve")', custom=True)
        value = example(tool.schema, tool.name) if isinstance(tool.schema, dict) else {}
        if not isinstance(value, dict):
            value = {}
        return Call(self.identifier(24), tool.name, msgspec.json.encode(value).decode())

    # usage

    def _usage(self, ask: Ask, script: Script, finish: str) -> Usage | None:
        if script.usage == "none":
            return None
        if isinstance(script.usage, Figures):
            one = script.usage
            return Usage(
                one.input,
                one.output,
                one.cached,
                one.cache_write,
                one.reasoning,
                one.cache_write_1h,
                one.audio_input,
                one.audio_output,
            )
        draw = self._random.randrange
        entered = draw(5, _MAX_INPUT)
        cached = draw(entered) if draw(2) else 0
        written = draw(entered - cached) if ask.writes_cache and draw(2) else 0
        hour = 0
        if ask.prompt_cache is not None:
            cached, hour = ask.prompt_cache.read, ask.prompt_cache.write_1h
            written = ask.prompt_cache.write + hour
            entered += cached + written
        if ask.silent:
            return Usage(entered, 0)
        output = draw(1, _MAX_OUTPUT)
        reasoning = draw(1, _MAX_REASONING) if ask.reasons or ask.thinks else 0
        if ask.max_tokens is not None:
            if finish == "length":
                return Usage(entered, ask.max_tokens, cached, written, 0, hour)
            output = min(output, ask.max_tokens)
            reasoning = min(reasoning, ask.max_tokens - output)
        return Usage(entered, output + reasoning, cached, written, reasoning, hour)


def split(text: str, count: int) -> tuple[str, ...]:
    """The text in `count` pieces of about equal length; repeated if it is too short for that."""
    if count == 0:
        return ()
    if not text:
        return ("x",) * count
    while len(text) < count:
        text += text
    edges = [len(text) * n // count for n in range(count + 1)]
    return tuple(text[a:b] for a, b in pairwise(edges))


def _stopped(pieces: tuple[str, ...], stops: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The pieces up to the first stop sequence, and that sequence."""
    text = "".join(pieces)
    found = [(text.index(one), one) for one in stops if one and one in text]
    if not found:
        return pieces, None
    left, stop = min(found)
    kept = []
    for piece in pieces:
        if left > 0:
            kept.append(piece[:left])
        left -= len(piece)
    return tuple(kept), stop


def _names(prompt: str, tool: str) -> bool:
    return tool in prompt or tool.replace("_", " ") in prompt
