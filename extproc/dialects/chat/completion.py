"""An answer as the gateway knows it, whole (`Completion`) and as it comes (`Writer`), and the way
OpenAI chat completions are written."""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from extproc.errors import ClientError

DONE: Final = b"data: [DONE]\n\n"
_TEXT_END: Final = b'},"logprobs":null,"finish_reason":null}]}\n\n'

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
"""Tokens or an index as a provider gives them: what every reader of JSON has as an integer."""

_encode: Final = msgspec.json.encode


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens. `prompt` counts cached, cache-writing and audio ones, `completion` counts reasoning
    and audio."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Those of `cache_write` that the provider keeps for an hour."""
    reasoning: int = 0
    audio_prompt: int = 0
    audio_completion: int = 0

    def shape(self) -> dict[str, Any]:
        """OpenAI's `usage` object, with the cache's writes beside its reads."""
        prompt = {"cached_tokens": self.cached, "cache_write_tokens": self.cache_write}
        completion = {"reasoning_tokens": self.reasoning}
        if self.cache_write_1h:
            prompt["cache_write_1h_tokens"] = self.cache_write_1h
        if self.audio_prompt:
            prompt["audio_tokens"] = self.audio_prompt
        if self.audio_completion:
            completion["audio_tokens"] = self.audio_completion
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": prompt,
            "completion_tokens_details": completion,
        }


class ReasoningDetail(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of thinking that its provider wants back as it was, in OpenRouter's shape.

    `reasoning.text` has `text` and perhaps its `signature`; `reasoning.summary` has `summary`;
    `reasoning.encrypted` has `data` and nothing to read. `format` says whose it is
    (`anthropic-claude-v1`, `google-gemini-v1`, `openai-responses-v1`): nobody else can use it.
    """

    type: str
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


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
    """What the model said. `reasoning_content` is its thinking, where the provider shows it;
    `annotations` are OpenAI's `url_citation`s and, from documents, citations of the same shape;
    `images` are `{"type": "image_url", "image_url": {"url": "data:…"}}`."""

    role: str = "assistant"
    content: str | None
    refusal: str | None = None
    tool_calls: list[ToolCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    annotations: list[dict[str, Any]] | UnsetType = UNSET
    images: list[dict[str, Any]] | UnsetType = UNSET


class Choice(Struct, frozen=True, kw_only=True):
    """One of `n` answers. `logprobs` is OpenAI's object."""

    index: int
    message: ReplyMessage
    logprobs: dict[str, Any] | None = None
    finish_reason: str
    stop_sequence: str | UnsetType = UNSET
    """Which of the stop sequences ended it, where the provider tells."""


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer, read. `created` in seconds since the epoch."""

    id: str
    """`chatcmpl-…`."""
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    refused: bool = False
    """The provider refused the content and said nothing else."""
    service_tier: str | None = None

    def encode(self) -> bytes:
        """OpenAI's chat completion."""
        shape = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": self.choices,
            "usage": self.usage.shape(),
        }
        if self.service_tier is not None:
            shape["service_tier"] = self.service_tier
        return _encode(shape)


class Writer(Protocol):
    """Writes one stream in a client's format. Every method returns what goes out now, maybe
    nothing. `index` counts the answers of one request.

    What is text (`text`, `reasoning`, `refusal`, `piece`) is given as a JSON string literal, with
    its quotes, as the provider wrote it: nothing is decoded only to be encoded again. Whoever
    calls has made sure that it is one (`extproc.dialects.text.literal`).
    """

    def start(self, id_: str, created: int, model: str) -> bytes:
        """The stream begins. Comes first and once; `created` in seconds since the epoch."""
        ...

    def choice(self, index: int = 0) -> bytes:
        """One more answer begins. Comes before anything else of that index."""
        ...

    def text(self, text: bytes, index: int = 0, logprobs: bytes | None = None) -> bytes:
        """More of the answer; `logprobs` is OpenAI's object, encoded."""
        ...

    def reasoning(self, text: bytes, index: int = 0) -> bytes:
        """More of the thinking."""
        ...

    def detail(self, detail: ReasoningDetail, index: int = 0) -> bytes:
        """What the provider wants back of the thinking that went before: its signature
        (`reasoning.text` with `signature` and no text), or something sealed. It ends one block of
        thinking."""
        ...

    def refusal(self, text: bytes, index: int = 0) -> bytes:
        """Why the provider refused."""
        ...

    def annotations(self, found: list[dict[str, Any]], index: int = 0) -> bytes:
        """Where the text that went before is from."""
        ...

    def image(self, url: str, index: int = 0) -> bytes:
        """An image that the model made, as a `data:` URL."""
        ...

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """The beginning of a tool call, or all of it. `number` counts the calls of an answer."""
        ...

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:
        """More of a tool call's arguments."""
        ...

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:
        """Why an answer ended, in chat completions' words."""
        ...

    def usage(self, usage: Usage, service_tier: str | None = None) -> bytes:
        """What was used; at the end, or as far as it is known when the stream was cut."""
        ...

    def done(self) -> bytes:
        """The end, in order."""
        ...

    def error(self, error: ClientError) -> bytes:
        """The end, because of this."""
        ...


class Chunks:
    """OpenAI's chunks. What is the same in all of them is encoded once."""

    __slots__ = ("_details", "_head", "_text")

    def __init__(self) -> None:
        self._head = self._text = b""
        self._details: dict[int, int] = {}

    def start(self, id_: str, created: int, model: str) -> bytes:
        """See `Writer`."""
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            _encode(id_),
            created,
            _encode(model),
        )
        self._text = self._head + b'"choices":[{"index":0,"delta":{"content":'
        return b""

    def _choice(
        self, index: int, delta: bytes, finish: bytes = b"null", logprobs: bytes = b"null"
    ) -> bytes:
        return b'%b"choices":[{"index":%d,"delta":{%b},"logprobs":%b,"finish_reason":%b}]}\n\n' % (
            self._head,
            index,
            delta,
            logprobs,
            finish,
        )

    def choice(self, index: int = 0) -> bytes:
        """See `Writer`."""
        return self._choice(index, b'"role":"assistant","content":"","refusal":null')

    def text(self, text: bytes, index: int = 0, logprobs: bytes | None = None) -> bytes:
        """See `Writer`."""
        if index or logprobs:
            return self._choice(index, b'"content":' + text, b"null", logprobs or b"null")
        return self._text + text + _TEXT_END

    def reasoning(self, text: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        return self._choice(index, b'"reasoning_content":' + text)

    def detail(self, detail: ReasoningDetail, index: int = 0) -> bytes:
        """See `Writer`. Clients put a stream's details together by their `index`."""
        number = self._details.get(index, 0)
        if detail.index is None:
            detail = msgspec.structs.replace(detail, index=number)
        self._details[index] = max(number, detail.index or 0) + 1
        return self._choice(index, b'"reasoning_details":[%b]' % _encode(detail))

    def refusal(self, text: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        return self._choice(index, b'"refusal":' + text)

    def annotations(self, found: list[dict[str, Any]], index: int = 0) -> bytes:
        """See `Writer`."""
        return self._choice(index, b'"annotations":' + _encode(found))

    def image(self, url: str, index: int = 0) -> bytes:
        """See `Writer`."""
        image = {"type": "image_url", "image_url": {"url": url}}
        return self._choice(index, b'"images":' + _encode([image]))

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """See `Writer`."""
        return self._choice(index, b'"tool_calls":[{"index":%d,%b]' % (number, _encode(call)[1:]))

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        delta = b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (number, piece)
        return self._choice(index, delta)

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:
        """See `Writer`."""
        if stop_sequence is None:
            return self._choice(index, b"", _encode(reason))
        finish = _encode(reason) + b',"stop_sequence":' + _encode(stop_sequence)
        return self._choice(index, b"", finish)

    def usage(self, usage: Usage, service_tier: str | None = None) -> bytes:
        """See `Writer`."""
        tier = b"" if service_tier is None else b',"service_tier":' + _encode(service_tier)
        return b'%b"choices":[],"usage":%b%b}\n\n' % (self._head, _encode(usage.shape()), tier)

    def done(self) -> bytes:
        """See `Writer`."""
        return DONE

    def error(self, error: ClientError) -> bytes:
        """See `Writer`."""
        return error.sse()
