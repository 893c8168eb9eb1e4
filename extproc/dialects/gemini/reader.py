"""Gemini's streams, read: every event is an answer of its own, with what is new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects import Failure, Fault, Reply, sse
from extproc.dialects.chat.completion import Count, Usage, Writer
from extproc.dialects.gemini import answer as a
from extproc.dialects.gemini import received
from extproc.dialects.gemini.grounding import Sources, joined
from extproc.dialects.gemini.problems import of_error
from extproc.dialects.reader import EventReader
from extproc.dialects.text import NONE, encode, literal

MAX_EVENT: Final = 32 << 20
"""Bytes of one event: an image comes whole, and one of 4K has some 20 MB in base64."""


class _Progress:
    """One candidate of a stream."""

    __slots__ = ("calls", "finish", "images", "measured", "pieces", "refusal", "size", "sources")

    def __init__(self) -> None:
        self.calls = self.images = 0
        self.pieces: list[bytes] = []
        """The text as it went out, in JSON string literals."""
        self.measured = self.size = 0
        """Pieces whose characters are counted, and their count."""
        self.sources: Sources | None = None
        self.finish: str | None = None
        self.refusal: str | None = None

    def length(self) -> int:
        """Characters of the text so far."""
        self.size += len(joined(self.pieces[self.measured :]))
        self.measured = len(self.pieces)
        return self.size


class _PlainPart(Struct, forbid_unknown_fields=True, gc=False):
    text: Raw
    thought: bool | None = None


class _PlainContent(Struct, forbid_unknown_fields=True, gc=False):
    parts: tuple[_PlainPart]
    role: Raw = NONE


class _PlainCandidate(Struct, forbid_unknown_fields=True, gc=False):
    content: _PlainContent
    index: Count = 0


class _Plain(Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """By far the commonest event: a piece of text of one candidate that has begun, and nothing
    else. What `received.Answer` makes of it is the same, at three times the cost."""

    candidates: tuple[_PlainCandidate]
    usage_metadata: received.Reported | None = None
    model_version: str | None = None
    response_id: str | None = None
    create_time: Raw = NONE


_PLAIN: Final = msgspec.json.Decoder(_Plain)


class Reader(EventReader):
    """See `extproc.dialects.StreamReader`. A stream has no terminal event beyond the chunk with a
    finish reason, and more may follow that one: finish reasons, sources and usage are written at
    the end.
    """

    def __init__(self, writer: Writer, reply: Reply, created: int, mint: Callable[[], str]) -> None:
        super().__init__(writer)
        self._parser = sse.Parser(MAX_EVENT)
        self._between = True
        """No event has begun."""
        self._json_tool = reply.json_tool
        self._created = created
        self._mint = mint
        self._identity = ""
        self._started = False
        self._reported: received.Reported | None = None
        self._tokens = Usage()
        self._tier: str | None = None
        self._candidates: dict[int, _Progress] = {}

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came. Nearly always they are one event: a line and a blank one."""
        if self._between and data[:6] == b"data: " and len(data) <= MAX_EVENT:
            size = len(data)
            if data[-4:] == b"\r\n\r\n":
                if data.find(b"\n", 6) == size - 3 and data.find(b"\r", 6) == size - 4:
                    return self._whole(data[6:-4])
            elif data[-2:] == b"\n\n" and data.find(b"\n", 6) == size - 2 and b"\r" not in data:
                return self._whole(data[6:-2])
        self._between = data[-2:] == b"\n\n" or data[-4:] == b"\r\n\r\n"
        return super().feed(data)

    def _whole(self, data: bytes) -> bytes:
        if self._failed:
            return b""
        try:
            plain = _PLAIN.decode(data)
            candidate = plain.candidates[0]
            progress = self._candidates.get(candidate.index)
            part = candidate.content.parts[0]
            text = literal(part.text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            progress = None
        if progress is None or not text:
            return self._translate([sse.Event(data)])
        if plain.usage_metadata is not None:
            self._report(plain.usage_metadata)
        self.content = True
        if part.thought:
            return self.writer.reasoning(text, candidate.index)
        progress.pieces.append(text)
        return self.writer.text(text, candidate.index)

    def event(self, event: sse.Event) -> bytes:
        """One answer of the stream. Raises msgspec.MsgspecError when it is none."""
        read = received.ANSWER.decode(event.data)
        if read.error:
            self.fail(of_error(200, {"error": read.error}, {}))
            return b""
        begun = b"" if self._started else self._start(read)
        if read.usage_metadata is not None:
            self._report(read.usage_metadata)
        candidates = read.candidates
        if candidates:
            if len(candidates) == 1:
                return begun + self._candidate(candidates[0])
            return begun + b"".join([self._candidate(one) for one in candidates])
        if not self._candidates and read.prompt_feedback and read.prompt_feedback.block_reason:
            return begun + self._blocked(read.prompt_feedback)
        return begun

    def _start(self, read: received.Answer) -> bytes:
        self._started = True
        self._identity = read.response_id or self._mint()
        identity = f"chatcmpl-{self._identity}"
        return self.writer.start(identity, self._created, read.model_version or "")

    def _blocked(self, feedback: received.Feedback) -> bytes:
        progress = self._candidates[0] = _Progress()
        progress.finish = "content_filter"
        progress.refusal = feedback.block_reason_message
        self.content = self.refused = self.finished = True
        return self.writer.choice(0)

    def close(self) -> bytes:
        """Sources, finish reasons, usage and the end."""
        if not self._started:
            return b""
        written = []
        for index, progress in sorted(self._candidates.items()):
            if progress.sources is not None:
                text = joined(progress.pieces)
                if found := progress.sources.annotations(text, []):
                    written.append(self.writer.annotations(found, index))
            if progress.refusal:
                written.append(self.writer.refusal(encode(progress.refusal), index))
            written.append(self.writer.finish(progress.finish or "stop", index))
        written.append(self._usage())
        return b"".join(written) + self.writer.done()

    def _report(self, new: received.Reported) -> None:
        """Sums so far: what an earlier event had and a later one leaves out still counts."""
        last = self._reported
        if last is not None and not new.covers(last):
            self._add_up()
        self._reported = new

    def _add_up(self) -> None:
        self._tokens = a.tally(self._reported, self._tokens)
        self._tier = a.tier_of(self._reported) or self._tier

    def _usage(self) -> bytes:
        self._add_up()
        return self.writer.usage(self._tokens, self._tier)

    def cut(self) -> bytes:
        """The stream ended before any finish reason: what is known of the usage still goes out."""
        return self._usage() if self._reported is not None and self._started else b""

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """A body that is an error object and no stream."""
        return of_error(200, tree, {}, body)

    def _candidate(self, candidate: received.Candidate) -> bytes:
        index = candidate.index
        written = b""
        progress = self._candidates.get(index)
        if progress is None:
            progress = self._candidates[index] = _Progress()
            self.finished = False
            written = self.writer.choice(index)
        logprobs = candidate.logprobs_result
        if logprobs is not None:
            written += self._with_logprobs(candidate, logprobs, progress)
        else:
            content = candidate.content
            if content is not None and content.parts:
                for part in content.parts:
                    written += self._part(part, index, progress, None)
        if candidate.finish_reason is not None:
            self._ended(candidate.finish_reason, candidate, progress)
        if (
            candidate.grounding_metadata
            or candidate.citation_metadata
            or candidate.url_context_metadata
        ):
            progress.sources = progress.sources or Sources()
            progress.sources.add(
                candidate.grounding_metadata,
                candidate.citation_metadata,
                candidate.url_context_metadata,
            )
        return written

    def _with_logprobs(
        self, candidate: received.Candidate, found: received.LogProbs, progress: _Progress
    ) -> bytes:
        """The tokens of an event belong to its first text."""
        shape = a.logprobs_of(found)
        pending = None if shape is None else msgspec.json.encode(shape)
        written = b""
        for part in candidate.parts():
            spoken = not part.thought and bool(literal(part.text))
            written += self._part(part, candidate.index, progress, pending if spoken else None)
            pending = None if spoken else pending
        if pending is not None:
            written += self.writer.text(b'""', candidate.index, pending)
        return written

    def _part(
        self, part: received.Part, index: int, progress: _Progress, logprobs: bytes | None
    ) -> bytes:
        text = literal(part.text)
        if text and not part.thought and part.thought_signature is None:
            self.content = True
            progress.pieces.append(text)
            return self.writer.text(text, index, logprobs)
        return self._other(part, text, index, progress, logprobs)

    def _other(
        self,
        part: received.Part,
        text: bytes,
        index: int,
        progress: _Progress,
        logprobs: bytes | None,
    ) -> bytes:
        signature = part.thought_signature
        if part.function_call is not None:
            return self._call(part, index, progress)
        if part.inline_data is not None:
            return self._image(part.inline_data, signature, index, progress)
        if (whole := a.server_part(part)) is not None:
            return self.writer.detail(a.sealed(whole, f"part:{progress.length()}"), index)
        if part.thought:
            written = self.writer.reasoning(text, index) if text else b""
            self.content = self.content or bool(text)
            if signature:
                written += self.writer.detail(a.sealed(signature, "thought"), index)
            return written
        if not signature:
            return b""
        start = progress.length()
        if text:
            progress.pieces.append(text)
        # Before its text: it seals the thinking that led there.
        place = f"text:{start}:{progress.length()}"
        written = self.writer.detail(a.sealed(signature, place), index)
        if text:
            self.content = True
            written += self.writer.text(text, index, logprobs)
        return written

    def _call(self, part: received.Part, index: int, progress: _Progress) -> bytes:
        call = a.call_of(part, self._identity, index, progress.calls)
        self.content = True
        if self._json_tool is not None and call.function.name == self._json_tool:
            text = encode(call.function.arguments)
            progress.pieces.append(text)
            return self.writer.text(text, index)
        written = b""
        if part.thought_signature:
            written = self.writer.detail(a.sealed(part.thought_signature, call.id), index)
        written += self.writer.call(progress.calls, call, index)
        progress.calls += 1
        return written

    def _image(
        self, blob: received.Blob, signature: str | None, index: int, progress: _Progress
    ) -> bytes:
        url = a.image_of(blob)
        if url is None:
            return b""
        self.content = True
        written = b""
        if signature:
            place = f"image:{progress.images}:{progress.length()}"
            written = self.writer.detail(a.sealed(signature, place), index)
        progress.images += 1
        return written + self.writer.image(url, index)

    def _ended(self, reason: str, candidate: received.Candidate, progress: _Progress) -> None:
        if reason in a.BROKEN and not self.content:
            self.fail(Failure(Fault.BAD_ANSWER, 502, f"the model ended with {reason}"))
            return
        progress.finish = a.finish_of(reason, called=progress.calls > 0)
        if progress.finish == "content_filter":
            progress.refusal = candidate.finish_message
            self.refused = not any(
                one.pieces or one.calls or one.images for one in self._candidates.values()
            )
        self.content = True
        self.finished = all(one.finish is not None for one in self._candidates.values())
