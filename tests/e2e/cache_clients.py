"""Answers as the SDKs of every format read them, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anthropic
import httpx2 as httpx
import openai
from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.cache_gateways import CACHE, Cached
from tests.e2e.conftest import Json, poll
from tests.e2e.limits_gateways import code

FORMATS: Final = [
    ("chat", "gpt"),
    ("chat", "claude"),
    ("completions", "instruct"),
    ("completions", "claude"),
    ("responses", "gpt-five"),
    ("responses", "claude"),
    ("messages", "claude"),
    ("messages", "gpt"),
]
"""Each of the clients' formats, at a provider that speaks it and at another."""
T = TypeVar("T")
ONLY: Final = {CACHE: "only-if-cached"}
USAGE: Final[Json] = {"input": 100, "output": 20}
SAVED: Final = 140_000
"""Nano-dollars of it, at `cache_gateways.PRICE`."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer."""

    id: str
    model: str
    text: str
    end: str | None
    """Why it ended, in its format's words."""
    usage: tuple[int, int] | None
    """Input and output tokens."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Somebody who asks on one route with all SDKs."""

    cached: Cached
    openai: OpenAI
    anthropic: Anthropic

    @classmethod
    @contextmanager
    def of(cls, cached: Cached, route: str = "exact", **said: str) -> Iterator[Clients]:
        """Closed at the end."""
        with cached.openai(route, **said) as sdk, cached.anthropic(route, **said) as claude:
            yield cls(cached, sdk, claude)

    def say(
        self,
        format_: str,
        model: str,
        text: str,
        *,
        streams: bool,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Read:
        """What the model says to a text."""
        asked = {"model": model, "extra_headers": dict(headers or {}), **more}
        turn: Any = [{"role": "user", "content": text}]
        if format_ == "messages":
            return self._message({"max_tokens": 500, "messages": turn, **asked}, streams=streams)
        if format_ == "responses":
            return self._response({"input": text, **asked}, streams=streams)
        if streams:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        if format_ == "completions":
            return _completion(self.openai.completions.create(prompt=text, max_tokens=500, **asked))
        return _chat(self.openai.chat.completions.create(messages=turn, **asked))

    def _message(self, asked: dict[str, Any], *, streams: bool) -> Read:
        if streams:
            with self.anthropic.messages.stream(**asked) as events:
                pieces = "".join(events.text_stream)
                found = events.get_final_message()
        else:
            found = self.anthropic.messages.create(**asked)
        text = "".join(one.text for one in found.content if one.type == "text")
        assert not streams or pieces == text
        usage = (found.usage.input_tokens, found.usage.output_tokens)
        return Read(found.id, found.model, text, found.stop_reason, usage)

    def _response(self, asked: dict[str, Any], *, streams: bool) -> Read:
        if streams:
            with self.openai.responses.stream(**asked) as events:
                pieces = "".join(
                    one.delta for one in events if one.type == "response.output_text.delta"
                )
                found: Any = events.get_final_response()
            assert pieces == found.output_text
        else:
            found = self.openai.responses.create(**asked)
        usage = (found.usage.input_tokens, found.usage.output_tokens)
        return Read(found.id, found.model, found.output_text, found.status, usage)


def _chat(answer: Any) -> Read:
    chunks = [answer] if hasattr(answer, "usage") else list(answer)
    choices = [one.choices[0] for one in chunks if one.choices]
    said = [getattr(one, "delta", None) or one.message for one in choices]
    return _of_chunks(chunks, "".join(one.content or "" for one in said), choices)


def _completion(answer: Any) -> Read:
    chunks = [answer] if hasattr(answer, "usage") else list(answer)
    choices = [one.choices[0] for one in chunks if one.choices]
    return _of_chunks(chunks, "".join(one.text for one in choices), choices)


def _of_chunks(chunks: list[Any], text: str, choices: list[Any]) -> Read:
    (name,) = {one.id for one in chunks}
    (model,) = {one.model for one in chunks}
    (end,) = {one.finish_reason for one in choices if one.finish_reason}
    usage = [one.usage for one in chunks if one.usage]
    tokens = (usage[0].prompt_tokens, usage[0].completion_tokens) if usage else None
    assert len(usage) <= 1
    return Read(name, model, text, end, tokens)


def kept(ask: Callable[[Mapping[str, str]], T]) -> T:
    """What is asked for, with headers that ask nobody but the cache, as soon as it is there."""

    def found() -> T | None:
        try:
            return ask(ONLY)
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            if error.status_code != 504:
                raise
            return None

    got: T = poll(found, what="an answer that is kept")
    return got


def scripted(**script: Any) -> dict[str, str]:
    """The header that tells the simulator how to answer."""
    return {"x-sim-script": json.dumps(script)}


def said(answer: httpx.Response) -> str:
    """What a chat completion says."""
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def is_kept(cached: Cached, text: str, route: str = "exact", **more: Any) -> bool:
    """Whether there is an answer."""
    answer = cached.chat(text, route, headers=ONLY, **more)
    assert answer.status_code == 200 or code(answer) == (504, "not_cached"), answer.text
    return answer.status_code == 200
