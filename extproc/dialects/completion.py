"""OpenAI chat completions as Tollgate writes them, whole and as chunks of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

DONE: Final = b"data: [DONE]\n\n"
_TEXT_END: Final = b'},"logprobs":null,"finish_reason":null}]}\n\n'

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
"""Tokens or an index as a provider gives them: what every reader of JSON has as an integer."""

_encode: Final = msgspec.json.encode


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens. `prompt` counts cached and cache-writing ones, `completion` counts reasoning."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    def shape(self) -> dict[str, Any]:
        """OpenAI's `usage` object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {
                "cached_tokens": self.cached,
                "cache_write_tokens": self.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class CalledFunction(Struct, frozen=True):
    """`arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call of a tool. `extra_content` is for the provider that made it, to be sent back."""

    id: str
    type: str = "function"
    function: CalledFunction
    extra_content: dict[str, Any] | UnsetType = UNSET


class ReplyMessage(Struct, frozen=True, kw_only=True):
    """What the model said. `reasoning_content` is its thinking, where the provider shows it."""

    role: str = "assistant"
    content: str | None
    refusal: str | None = None
    tool_calls: list[ToolCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class Choice(Struct, frozen=True, kw_only=True):
    """One of `n` answers."""

    index: int
    message: ReplyMessage
    logprobs: None = None
    finish_reason: str


def whole(id_: str, created: int, model: str, choices: list[Choice], usage: Usage) -> bytes:
    """A chat completion. `created` in seconds since the epoch."""
    return _encode(
        {
            "id": id_,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": choices,
            "usage": usage.shape(),
        }
    )


class Chunks:
    """Writes the chunks of one stream. What is the same in all of them is encoded once."""

    __slots__ = ("_head", "_text")

    def __init__(self, id_: str, created: int, model: str) -> None:
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            _encode(id_),
            created,
            _encode(model),
        )
        self._text = self._head + b'"choices":[{"index":0,"delta":{"content":'

    def _choice(self, index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        return (
            b'%b"choices":[{"index":%d,"delta":{%b},"logprobs":null,"finish_reason":%b}]}\n\n'
            % (
                self._head,
                index,
                delta,
                finish,
            )
        )

    def role(self, index: int = 0) -> bytes:
        """The chunk that every stream begins with."""
        return self._choice(index, b'"role":"assistant","content":"","refusal":null')

    def text(self, text: str, index: int = 0) -> bytes:
        """More of the answer."""
        if index:
            return self._choice(index, b'"content":' + _encode(text))
        return self._text + _encode(text) + _TEXT_END

    def reasoning(self, text: str, index: int = 0) -> bytes:
        """More of the thinking."""
        return self._choice(index, b'"reasoning_content":' + _encode(text))

    def refusal(self, text: str, index: int = 0) -> bytes:
        """Why the provider refused."""
        return self._choice(index, b'"refusal":' + _encode(text))

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """The beginning of a tool call, or all of it. `number` counts the calls of a choice."""
        return self._choice(index, b'"tool_calls":[{"index":%d,%b]' % (number, _encode(call)[1:]))

    def arguments(self, number: int, piece: str, index: int = 0) -> bytes:
        """More of a tool call's arguments."""
        delta = b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (
            number,
            _encode(piece),
        )
        return self._choice(index, delta)

    def finish(self, reason: str, index: int = 0) -> bytes:
        """Why a choice ended."""
        return self._choice(index, b"", _encode(reason))

    def usage(self, usage: Usage) -> bytes:
        """The chunk without choices that carries the usage."""
        return b'%b"choices":[],"usage":%b}\n\n' % (self._head, _encode(usage.shape()))
