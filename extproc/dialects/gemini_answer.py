"""Gemini's answers, whole and streamed, as chat completions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects import Answer, BadAnswerError, Failure, Fault
from extproc.dialects.completion import (
    DONE,
    CalledFunction,
    Choice,
    Chunks,
    Count,
    ReplyMessage,
    ToolCall,
    Usage,
    whole,
)
from extproc.dialects.gemini_errors import of_error
from extproc.dialects.reader import EventReader
from extproc.dialects.sse import Event
from extproc.dialects.tool_arguments import as_text

_CONTENT: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)
"""Finish reasons that are a policy's doing."""

_BROKEN: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
"""Finish reasons of a model that failed: without any text the answer is none, and another
target may do better."""


class _Call(Struct):
    name: str = ""
    args: Raw = Raw(b"{}")
    id: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: _Call | None = None
    thought_signature: str | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: Count = 0


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Usage(Struct, rename="camel"):
    prompt_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None


class _Answer(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


def _parts(candidate: _Candidate) -> list[_Part]:
    return (candidate.content.parts if candidate.content else None) or []


def _call(part: _Part, identity: str, index: int, number: int) -> ToolCall:
    """A call with an id: Gemini's own, else one made of the answer's id and the call's place, so
    that ids differ between the turns of a conversation."""
    call = part.function_call or _Call()
    name = f"{identity}:{index}:{number}:{call.name}".encode()
    signature: dict[str, Any] | UnsetType = UNSET
    if part.thought_signature:
        signature = {"google": {"thought_signature": part.thought_signature}}
    return ToolCall(
        id=call.id or "call_" + hashlib.blake2b(name, digest_size=12).hexdigest(),
        function=CalledFunction(call.name, as_text(call.args)),
        extra_content=signature,
    )


def _finish(reason: str | None, *, called: bool) -> str:
    if reason in _CONTENT:
        return "content_filter"
    if reason == "MAX_TOKENS":
        return "length"
    return "tool_calls" if called else "stop"


def _choice(candidate: _Candidate, identity: str) -> Choice:
    text: list[str] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    for part in _parts(candidate):
        if part.function_call is not None:
            calls.append(_call(part, identity, candidate.index, len(calls)))
        elif part.text:
            (thinking if part.thought else text).append(part.text)
    finish = _finish(candidate.finish_reason, called=bool(calls))
    filtered = finish == "content_filter"
    return Choice(
        index=candidate.index,
        message=ReplyMessage(
            content="".join(text) or (None if calls or filtered else ""),
            refusal=candidate.finish_message if filtered else None,
            tool_calls=calls or UNSET,
            reasoning_content="".join(thinking) or UNSET,
        ),
        finish_reason=finish,
    )


def _has_content(choice: Choice) -> bool:
    return bool(choice.message.content or choice.message.tool_calls)


def _blocked(feedback: _Feedback) -> Choice:
    """The prompt was refused: there is no candidate at all."""
    return Choice(
        index=0,
        message=ReplyMessage(content=None, refusal=feedback.block_reason_message),
        finish_reason="content_filter",
    )


def _tally(reported: _Usage | None, known: Usage) -> Usage:
    """Usage in OpenAI's terms. `promptTokenCount` counts cached tokens already. Every chunk of a
    stream has the sums so far, and may leave out what it had before."""
    if reported is None:
        return known
    prompt = known.prompt
    if reported.prompt_token_count is not None:
        prompt = reported.prompt_token_count + (reported.tool_use_prompt_token_count or 0)
    reasoning = reported.thoughts_token_count
    reasoning = known.reasoning if reasoning is None else reasoning
    said = reported.candidates_token_count
    said = known.completion - known.reasoning if said is None else said
    cached = reported.cached_content_token_count
    return Usage(
        prompt=prompt,
        completion=said + reasoning,
        cached=known.cached if cached is None else cached,
        reasoning=reasoning,
    )


def translate(body: bytes, created: int, mint: Callable[[], str]) -> Answer:
    """A whole answer as a chat completion. Raises BadAnswerError, or what msgspec raises."""
    read = _ANSWER.decode(body)
    if read.error:
        raise BadAnswerError(of_error(200, {"error": read.error}, {}).message)
    identity = read.response_id or mint()
    choices = [_choice(one, identity) for one in read.candidates or ()]
    empty = not any(_has_content(one) for one in choices)
    reasons = {one.finish_reason for one in read.candidates or ()}
    refused = empty and bool(reasons) and reasons <= _CONTENT
    if not choices:
        if read.prompt_feedback is None or read.prompt_feedback.block_reason is None:
            raise BadAnswerError("an answer without candidates")
        choices = [_blocked(read.prompt_feedback)]
        refused = True
    elif empty and reasons & _BROKEN:
        raise BadAnswerError(f"the model ended with {min(filter(None, reasons))}")
    usage = _tally(read.usage_metadata, Usage())
    made = whole(f"chatcmpl-{identity}", created, read.model_version or "", choices, usage)
    return Answer(made, refused)


class _Progress:
    """One candidate of a stream."""

    __slots__ = ("calls", "finish", "refusal", "text")

    def __init__(self) -> None:
        self.calls = 0
        self.text = False
        self.finish: str | None = None
        self.refusal: str | None = None


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`. A stream has no terminal event beyond the chunk with a
    finish reason, and more may follow that one: finish reasons and usage are written at the end.
    """

    def __init__(self, created: int, mint: Callable[[], str]) -> None:
        super().__init__()
        self._created = created
        self._mint = mint
        self._identity = ""
        self._chunks: Chunks | None = None
        self._usage = Usage()
        self._reported = False
        self._candidates: dict[int, _Progress] = {}

    def event(self, event: Event) -> bytes:
        """One answer of the stream. Raises msgspec.MsgspecError when it is none."""
        read = _ANSWER.decode(event.data)
        if read.error:
            self.fail(of_error(200, {"error": read.error}, {}))
            return b""
        if self._chunks is None:
            self._identity = read.response_id or self._mint()
            model = read.model_version or ""
            self._chunks = Chunks(f"chatcmpl-{self._identity}", self._created, model)
        if read.usage_metadata is not None:
            self._usage = _tally(read.usage_metadata, self._usage)
            self._reported = True
        candidates = read.candidates
        if candidates:
            if len(candidates) == 1:
                return self._candidate(candidates[0], self._chunks)
            return b"".join([self._candidate(one, self._chunks) for one in candidates])
        if not self._candidates and read.prompt_feedback and read.prompt_feedback.block_reason:
            return self._blocked(read.prompt_feedback, self._chunks)
        return b""

    def _blocked(self, feedback: _Feedback, chunks: Chunks) -> bytes:
        progress = self._candidates[0] = _Progress()
        progress.finish = "content_filter"
        progress.refusal = feedback.block_reason_message
        self.content = self.refused = self.finished = True
        return chunks.role()

    def close(self) -> bytes:
        """Finish reasons, usage and the end."""
        if self._chunks is None:
            return b""
        written = []
        for index, progress in sorted(self._candidates.items()):
            if progress.refusal:
                written.append(self._chunks.refusal(progress.refusal, index))
            written.append(self._chunks.finish(progress.finish or "stop", index))
        written.append(self._chunks.usage(self._usage))
        return b"".join(written) + DONE

    def cut(self) -> bytes:
        """The stream ended before any finish reason: what is known of the usage still goes out."""
        if self._reported and self._chunks is not None:
            return self._chunks.usage(self._usage)
        return b""

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _candidate(self, candidate: _Candidate, chunks: Chunks) -> bytes:
        index = candidate.index
        written = b""
        progress = self._candidates.get(index)
        if progress is None:
            progress = self._candidates[index] = _Progress()
            self.finished = False
            written = chunks.role(index)
        for part in _parts(candidate):
            if part.function_call is not None:
                call = _call(part, self._identity, index, progress.calls)
                written += chunks.call(progress.calls, call, index)
                progress.calls += 1
                self.content = True
            elif part.text:
                if part.thought:
                    written += chunks.reasoning(part.text, index)
                else:
                    written += chunks.text(part.text, index)
                    progress.text = True
                self.content = True
        if candidate.finish_reason is not None:
            self._ended(candidate.finish_reason, candidate, progress)
        return written

    def _ended(self, reason: str, candidate: _Candidate, progress: _Progress) -> None:
        if reason in _BROKEN and not self.content:
            self.fail(Failure(Fault.BAD_ANSWER, 502, f"the model ended with {reason}"))
            return
        progress.finish = _finish(reason, called=progress.calls > 0)
        if progress.finish == "content_filter":
            progress.refusal = candidate.finish_message
            self.refused = not any(one.text or one.calls for one in self._candidates.values())
        self.content = True
        self.finished = all(one.finish is not None for one in self._candidates.values())


_ANSWER: Final = msgspec.json.Decoder(_Answer)
