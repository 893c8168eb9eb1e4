"""Chat completions of a provider, whole and streamed, read for a client of another format."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from extproc.dialects import BadAnswerError, Failure, errors, text
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    Count,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
    Usage,
    Writer,
)
from extproc.dialects.chat.failures import of_error
from extproc.dialects.reader import EventReader
from extproc.dialects.sse import Event

_DONE: Final = b"[DONE]"


class _Cached(Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    audio_tokens: Count | None = None


class _Details(Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class _Usage(Struct):
    """`prompt_cache_hit_tokens` is DeepSeek's."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count | None = None


class _Function(Struct):
    name: str | None = None
    arguments: Raw = text.NONE


class _Custom(Struct):
    name: str | None = None
    input: Raw = text.NONE


class _Call(Struct):
    """A tool call, or what a chunk adds to one."""

    index: Count | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None
    extra_content: dict[str, Any] | None = None

    def called(self) -> _Function:
        """Name and arguments, or the free text that a custom tool is given."""
        if self.custom is not None:
            return _Function(self.custom.name, self.custom.input)
        return self.function or _Function()

    @property
    def kind(self) -> str:
        """`type` of the call."""
        return "function" if self.custom is None else "custom"


class _Delta(Struct):
    """A message, or what a chunk adds to it. `content` is text, or with Mistral's reasoning models
    a list of parts; `reasoning` is what OpenRouter, Groq, Cerebras and vLLM call the thinking."""

    content: Raw = text.NONE
    refusal: Raw = text.NONE
    reasoning_content: Raw = text.NONE
    reasoning: Raw = text.NONE
    reasoning_details: list[ReasoningDetail] | None = None
    annotations: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: Count = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Raw = text.NONE


class _Groq(Struct):
    usage: _Usage | None = None


class _Chunk(Struct):
    """A completion, or a chunk of one."""

    id: str | None = None
    created: float | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    x_groq: _Groq | None = None
    service_tier: str | None = None
    error: Any = None


class _Thought(Struct):
    text: Raw = text.NONE


class _Part(Struct):
    """A part of Mistral's content: `text`, or `thinking` with parts of its own."""

    type: str = ""
    text: Raw = text.NONE
    thinking: list[_Thought] | None = None


def said(delta: _Delta) -> tuple[list[bytes], list[bytes]]:
    """(thinking, text) of a message or delta, as JSON string literals. Raises
    msgspec.MsgspecError."""
    thinking = text.literal(delta.reasoning_content) or text.literal(delta.reasoning)
    thoughts = [thinking] if thinking else []
    if bytes(delta.content)[:1] != b"[":
        content = text.literal(delta.content)
        return thoughts, [content] if content else []
    texts: list[bytes] = []
    for part in _PARTS.decode(delta.content):
        if part.type == "thinking":
            thoughts += filter(None, (text.literal(one.text) for one in part.thinking or ()))
        elif found := text.literal(part.text):
            texts.append(found)
    return thoughts, texts


def _usage(reported: _Usage | None) -> Usage | None:
    if reported is None:
        return None
    prompt = reported.prompt_tokens_details or _Cached()
    completion = reported.completion_tokens_details or _Details()
    return Usage(
        prompt=reported.prompt_tokens or 0,
        completion=reported.completion_tokens or 0,
        cached=prompt.cached_tokens or reported.prompt_cache_hit_tokens or 0,
        cache_write=prompt.cache_write_tokens or 0,
        cache_write_1h=prompt.cache_write_1h_tokens or 0,
        reasoning=completion.reasoning_tokens or 0,
        audio_prompt=prompt.audio_tokens or 0,
        audio_completion=completion.audio_tokens or 0,
    )


def _string(literals: list[bytes]) -> str:
    return "".join(msgspec.json.decode(one, type=str) for one in literals)


def _tool_call(call: _Call) -> ToolCall:
    function = call.called()
    arguments = _string([found] if (found := text.literal(function.arguments)) else [])
    return ToolCall(
        id=call.id or "",
        type=call.kind,
        function=CalledFunction(function.name or "", arguments),
        extra_content=call.extra_content or UNSET,
    )


def _choice(read: _Choice) -> Choice:
    message = read.message or _Delta()
    thoughts, texts = said(message)
    calls = [_tool_call(call) for call in message.tool_calls or ()]
    refusal = text.literal(message.refusal)
    finish = read.finish_reason or ("tool_calls" if calls else "stop")
    logprobs = bytes(read.logprobs)
    return Choice(
        index=read.index,
        message=ReplyMessage(
            content=_string(texts) or (None if calls or refusal else ""),
            refusal=_string([refusal]) if refusal else None,
            tool_calls=calls or UNSET,
            reasoning_content=_string(thoughts) or UNSET,
            reasoning_details=message.reasoning_details or UNSET,
            annotations=message.annotations or UNSET,
            images=message.images or UNSET,
        ),
        logprobs=msgspec.json.decode(logprobs) if logprobs not in (b"", b"null") else None,
        finish_reason=finish,
    )


def translate(body: bytes, created: int, model: str = "") -> Completion:
    """A whole completion. Raises BadAnswerError, or what msgspec raises."""
    read = _CHUNK.decode(body)
    if read.error:
        raise BadAnswerError(of_error(200, {"error": read.error}).message)
    if read.choices is None:
        raise BadAnswerError("not a chat completion: no choices")
    choices = [_choice(one) for one in read.choices]
    refused = bool(choices) and all(
        one.finish_reason == "content_filter"
        and not (one.message.content or one.message.refusal or one.message.tool_calls)
        for one in choices
    )
    return Completion(
        id=read.id or "chatcmpl-",
        created=int(read.created or created),
        model=read.model or model,
        choices=choices,
        usage=_usage(read.usage) or Usage(),
        refused=refused,
        service_tier=read.service_tier,
    )


_LITERAL: Final = re.compile(text.PLAIN)
_PADDED: Final = rb'(?:,"obfuscation":"[a-zA-Z0-9]*+")?\}'
"""How a chunk ends: OpenAI pads chunks to hide how long a token is."""
_END: Final = re.compile(_PADDED + rb"\n\n")
_LAST: Final = re.compile(_PADDED + rb"\Z")


class _Mould:
    """A chunk with a piece of text and nothing else, but for that text. All chunks of a stream
    that are the same up to their text mean the same but for their text: a string stands where a
    string stood."""

    __slots__ = ("head", "index", "tail")

    def __init__(self, head: bytes, tail: bytes, index: int) -> None:
        self.head = head
        self.tail = tail
        self.index = index


def _mould(data: bytes, literal: bytes, index: int) -> _Mould | None:
    """What is around the text in a chunk that was read and says nothing else; None if the text
    stands at another place than it is looked for."""
    at = data.find(b'"content":') + len(b'"content":')
    at += data[at : at + 1] == b" "
    if b"\n" in data or not data.startswith(literal, at):
        return None
    head, tail = data[:at], data[at + len(literal) :]
    other = b'"0"' if literal != b'"0"' else b'"1"'
    try:
        read = _CHUNK.decode(head + other + tail)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    delta = read.choices[0].delta if read.choices else None
    end = _LAST.search(tail)
    if end is None or delta is None or bytes(delta.content) != other:
        return None
    return _Mould(b"data: " + head, tail[: end.start()], index)


def _only_text(read: _Chunk) -> bytes | None:
    """The text of a chunk that says nothing else."""
    if not read.choices or len(read.choices) > 1:
        return None
    choice = read.choices[0]
    delta = choice.delta
    if delta is None or choice.finish_reason or bytes(choice.logprobs) not in (b"", b"null"):
        return None
    more = text.literal(delta.refusal) or said(delta)[0] or delta.reasoning_details
    if more or delta.annotations or delta.images or delta.tool_calls:
        return None
    literal = bytes(delta.content)
    return None if literal[:1] != b'"' or literal == text.EMPTY else literal


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`."""

    skims = True

    def __init__(self, writer: Writer, created: int) -> None:
        super().__init__(writer)
        self._created = created
        self._started = False
        self._choices: set[int] = set()
        self._calls: dict[tuple[int, int], int] = {}
        """Number of a call by choice and by its index in the provider's stream."""
        self._usage: Usage | None = None
        self._tier: str | None = None
        self._text = False
        self._ended = False
        self._last_one: _Mould | None = None
        """The last event, if it was a chunk of text and nothing else."""

    def skim(self, data: bytes, at: int, out: list[bytes]) -> int:
        """See `EventReader`: chunks that are as the one before but for their text."""
        mould = self._last_one
        if mould is None:
            return at
        write, head, tail, index = self.writer.text, mould.head, mould.tail, mould.index
        begun, ended = len(head), len(tail)
        while data.startswith(head, at):
            found = _LITERAL.match(data, at + begun)
            if found is None or not data.startswith(tail, found.end()):
                break
            end = _END.match(data, found.end() + ended)
            literal = found[0]
            if end is None or literal == text.EMPTY:
                break
            if not (literal.isascii() or text.is_utf8(literal)):
                break
            if written := write(literal, index):
                self.content = self._text = True
            out.append(written)
            at = end.end()
        return at

    def event(self, event: Event) -> bytes:
        """One chunk of the stream. Raises msgspec.MsgspecError when it is none."""
        if event.data == _DONE:
            self.finished = True
            return b""
        self._last_one = None
        read = _CHUNK.decode(event.data)
        if read.error or event.type == b"error":
            tree = errors.mapping(errors.parsed(event.data))
            self.fail(of_error(200, tree, {}, event.data))
            return b""
        out = b""
        if not self._started:
            self._started = True
            created = int(read.created or self._created)
            out = self.writer.start(read.id or "chatcmpl-", created, read.model or "")
        self._tier = read.service_tier or self._tier
        reported = read.usage or (read.x_groq.usage if read.x_groq else None)
        self._usage = _usage(reported) or self._usage
        for choice in read.choices or ():
            out += self._choice(choice)
        if reported is None and not event.type and (only := _only_text(read)):
            self._last_one = _mould(event.data, only, read.choices[0].index)  # type: ignore[index]
        return out

    def close(self) -> bytes:
        """Usage and the end: a chunk with usage may come after the last choice."""
        return self._known() + self.writer.done() if self._started else b""

    def cut(self) -> bytes:
        """The stream ended without `[DONE]`: some servers send none, but a finish reason."""
        if self._ended and self.failure is None:
            self.finished = True
            return self.close()
        return self._known()

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _known(self) -> bytes:
        if self._usage is None:
            return b""
        return self.writer.usage(self._usage, self._tier)

    def _choice(self, choice: _Choice) -> bytes:
        index = choice.index
        out = b""
        if index not in self._choices:
            self._choices.add(index)
            out = self.writer.choice(index)
        if choice.delta is not None:
            out += self._delta(choice.delta, index, bytes(choice.logprobs))
        if choice.finish_reason:
            self.refused = choice.finish_reason == "content_filter" and not self._text
            self.content = self._ended = True
            out += self.writer.finish(choice.finish_reason, index)
        return out

    def _delta(self, delta: _Delta, index: int, logprobs: bytes) -> bytes:
        writer = self.writer
        thoughts, texts = said(delta)
        out = b"".join([writer.reasoning(one, index) for one in thoughts])
        for detail in delta.reasoning_details or ():
            if detail.signature or detail.data:
                out += writer.detail(detail, index)
        for one in texts:
            out += writer.text(one, index, logprobs if logprobs not in (b"", b"null") else None)
        if refusal := text.literal(delta.refusal):
            out += writer.refusal(refusal, index)
        if delta.annotations:
            out += writer.annotations(delta.annotations, index)
        for image in delta.images or ():
            url = errors.text(errors.mapping(image.get("image_url")).get("url"))
            out += writer.image(url, index) if url else b""
        for call in delta.tool_calls or ():
            out += self._call(call, index)
        if out:
            self.content = True
            self._text = self._text or bool(texts or delta.tool_calls or refusal)
        return out

    def _call(self, call: _Call, index: int) -> bytes:
        function = call.called()
        key = (index, call.index if call.index is not None else len(self._calls))
        number = self._calls.get(key)
        out = b""
        if number is None:
            number = self._calls[key] = sum(choice == index for choice, _ in self._calls)
            begun = ToolCall(
                id=call.id or f"call_{index}_{number}",
                type=call.kind,
                function=CalledFunction(function.name or "", ""),
                extra_content=call.extra_content or UNSET,
            )
            out = self.writer.call(number, begun, index)
        if piece := text.literal(function.arguments):
            out += self.writer.arguments(number, piece, index)
        return out


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_PARTS: Final = msgspec.json.Decoder(list[_Part])
