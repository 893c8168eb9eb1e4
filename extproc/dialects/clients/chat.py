"""OpenAI chat completions as a client's format."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from extproc import strict_json
from extproc.dialects import (
    BadAnswerError,
    ClientRequest,
    Counted,
    Failure,
    StreamReader,
    Vectors,
    bodies,
    errors,
    sse,
    text,
)
from extproc.dialects.again import unknown
from extproc.dialects.chat import FIELDS, ChatRequest, decode, parse
from extproc.dialects.chat.completion import Chunks, Completion, ToolCall, Writer
from extproc.dialects.chat.failures import of_error
from extproc.dialects.clients.watch import Watch
from extproc.errors import ClientError

_DONE: Final = b"[DONE]"


class Chat:
    """See `extproc.dialects.ClientFormat`."""

    name = "chat"
    operation = "chat"

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        chat = parse(body)
        uses = tuple(chat.uses())
        return ClientRequest(
            format=self.name,
            model=chat.model,
            models=chat.models,
            stream=bool(chat.stream),
            hide_usage=bool(chat.stream) and not chat.include_usage,
            user=chat.user,
            metadata=chat.metadata,
            max_output=bodies.allowed(chat.max_output),
            answers=chat.n or 1,
            text=chat.text_bytes(),
            messages=len(chat.messages),
            uses=uses,
            needs=chat.needs(uses),
            chat=chat,
        )

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        chat = decode(body)
        return ClientRequest(
            format=self.name,
            model=chat.model,
            stream=bool(chat.stream),
            uses=tuple(chat.uses()),
            chat=chat,
            unknown=unknown(chat, body, FIELDS),
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body with usage asked for, and without what was for the gateway."""
        chat = request.chat
        assert chat is not None  # noqa: S101 - `parse` sets it
        changes: dict[str, object] = {}
        if model is not None and model != chat.model:
            changes["model"] = model
        if request.hide_usage:
            changes["stream_options"] = usage_included(body, given=chat.stream_options is not None)
        remove = ["models"] if chat.models is not None else []
        if chat.metadata is not None and not chat.store:
            # Attribution, which has been read. OpenAI refuses it on what is not stored.
            remove.append("metadata")
        if not changes and not remove:
            return None
        return strict_json.splice(body, changes, remove=remove)

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:
        """The body with no more than `cap` tokens allowed for an answer."""
        chat = request.chat
        # Of the two names the older one is known to every server, and where a model minds it the
        # dialect has the other.
        newer = chat is not None and chat.max_completion_tokens is not None
        name = "max_completion_tokens" if newer else "max_tokens"
        return bodies.capped(body, name, request.max_output, cap)

    def look(self, body: bytes) -> bool:
        """Judge a whole completion."""
        return judged(body, "a chat completion")

    def watch(self) -> StreamReader:
        """A reader that passes every byte on."""
        return ChatWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:
        """A chat completion."""
        assert isinstance(answer, Completion)  # noqa: S101 - a chat request asks for no other
        if request.chat is not None and request.chat.functions:
            return as_functions(answer)
        return answer.encode()

    def writer(self, request: ClientRequest) -> Writer:
        """Chunks; of functions, if the client knows no tools."""
        if request.chat is not None and request.chat.functions:
            return FunctionChunks()
        return Chunks()

    def error(self, error: ClientError) -> bytes:
        """OpenAI's error object."""
        return error.openai()

    def error_event(self, error: ClientError, position: int) -> bytes:  # noqa: ARG002 - chunks have no numbers
        """OpenAI's error object as an event."""
        return error.sse()


def usage_included(body: bytes, *, given: bool) -> msgspec.Raw:
    """The body's `stream_options` with `include_usage`."""
    if not given:
        return msgspec.Raw(b'{"include_usage":true}')
    options = msgspec.json.decode(body, type=_Options).stream_options
    if bytes(options) == b"null":
        return msgspec.Raw(b'{"include_usage":true}')
    return msgspec.Raw(strict_json.splice(bytes(options), {"include_usage": True}))


class _Options(Struct):
    stream_options: msgspec.Raw = msgspec.Raw(b"null")


# --- functions, before there were tools ---------------------------------------------------


def as_functions(answer: Completion) -> bytes:
    """The completion with `function_call` in place of `tool_calls`, for a client that gave
    `functions`. It knows one call: the first."""
    tree = msgspec.to_builtins(answer.choices)
    for choice in tree:
        calls = choice["message"].pop("tool_calls", None)
        if calls:
            choice["message"]["function_call"] = calls[0]["function"]
            choice["finish_reason"] = "function_call"
    whole: dict[str, Any] = msgspec.json.decode(structs.replace(answer, choices=[]).encode())
    return msgspec.json.encode({**whole, "choices": tree})


class FunctionChunks(Chunks):
    """Chunks with `function_call`. Only the first call of an answer is written."""

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:
        """See `Writer`."""
        if number:
            return b""
        return self._choice(index, b'"function_call":' + msgspec.json.encode(call.function))

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:
        """See `Writer`."""
        if number:
            return b""
        return self._choice(index, b'"function_call":{"arguments":%b}' % piece)

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:
        """See `Writer`."""
        reason = "function_call" if reason == "tool_calls" else reason
        return super().finish(reason, index, stop_sequence)


# --- what passes --------------------------------------------------------------------------


class _Text(Struct):
    """A message, or what a chunk adds to it. `reasoning` is OpenRouter's name of it."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None

    def any(self) -> bool:
        return bool(
            self.content
            or self.tool_calls
            or self.refusal
            or self.reasoning_content
            or self.reasoning
            or self.function_call
            or self.audio
            or self.images
        )


class _Choice(Struct):
    """Of a chat, whole or streamed, or, with `text`, of a legacy completion."""

    delta: _Text | None = None
    message: _Text | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: int = 0

    def any(self) -> bool:
        said = self.message or self.delta
        return bool(self.text) or (said is not None and said.any())


class _Completion(Struct):
    choices: list[_Choice] | None = None
    error: Any = None


def judged(body: bytes, what: str) -> bool:
    """Whether a whole completion was refused. Raises BadAnswerError: it is none of `what`."""
    # What is not looked at has to be text as well: msgspec passes over it.
    completion = _read(body) if text.is_utf8(body) else None
    if completion is None:
        raise BadAnswerError(f"not {what}: " + errors.plain(200, body))
    if completion.error:
        raise BadAnswerError(of_error(200, {"error": completion.error}).message)
    if completion.choices is None:
        raise BadAnswerError(f"not {what}: no choices")
    return bool(completion.choices) and all(
        one.finish_reason == "content_filter" and not one.any() for one in completion.choices
    )


class ChatWatch(Watch):
    """Looks for content, errors and the end, of chats and of legacy completions."""

    def event(self, event: sse.Event) -> bool:
        """See `Watch`."""
        if event.data == _DONE:
            self.finished = True
        elif not self.content or b'"error"' in event.data or event.type == b"error":
            return self._look(event)
        return True

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """See `Watch`."""
        return of_error(200, tree, {}, body)

    def _look(self, event: sse.Event) -> bool:
        chunk = _read(event.data)
        if chunk is None:
            return False
        if chunk.error or event.type == b"error":
            tree = errors.mapping(errors.parsed(event.data))
            self.fail(of_error(200, tree, {}, event.data))
            return True
        for choice in chunk.choices or ():
            if choice.any():
                self.content = True
            elif choice.finish_reason:
                self.refused = choice.finish_reason == "content_filter" and not self.content
                self.content = True
        return True


def _read(body: bytes) -> _Completion | None:
    try:
        return _COMPLETION.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)

__all__ = [
    "Chat",
    "ChatRequest",
    "ChatWatch",
    "FunctionChunks",
    "as_functions",
    "judged",
    "usage_included",
]
