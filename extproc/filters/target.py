"""The filter of a level: refuse, or translate there and back.

A refusal is an answer with the refusal header, which Envoy takes as the word to go on to the next
level, and a note for the gateway filter. Every reason to refuse is one function in `refusals`.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec import structs

from extproc import headers as h
from extproc.dialects import (
    BadAnswerError,
    ClientFormat,
    ClientRequest,
    Counted,
    Dialect,
    Passed,
    Reply,
    StreamReader,
    Wire,
)
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.errors import client_error
from extproc.errors import ClientError, Reason, Refusal
from extproc.filters.exchange import (
    GO,
    HOLD,
    LEAVE,
    UNCHANGED,
    Actions,
    Answer,
    Chunk,
    Event,
    Pass,
    RequestBody,
    RequestHead,
    ResponseHead,
)
from extproc.filters.large import Large
from extproc.filters.provider_headers import (
    callers_key,
    foreign,
    private,
    unwanted,
    upward,
    vendor_of,
    warning_header,
)
from extproc.filters.refusals import (
    left_out,
    local_refusal,
    own_key_error,
    provider_refusal,
    stream_failure,
)
from extproc.filters.verdict import encode, note_of
from extproc.limits import Limits
from extproc.policy import Parsed, TargetPolicy
from extproc.state import Notes, StateError
from extproc.telemetry import Telemetry

OK: Final = range(200, 300)
SSE: Final = "text/event-stream"
NO_KEY_OF_CALLERS: Final = Refusal(
    Reason.FEATURE, 400, detail="this target takes no key of a caller's"
)
NO_ROOM: Final = "the gateway's share of the provider's rate limit is used up"
TIMER_MARGIN: Final = 0.05
"""Seconds that Envoy's own per-try timeout gets before ours: its answer names the cause."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the filter uses."""

    dialects: Mapping[str, Dialect]
    formats: Mapping[str, ClientFormat]
    notes: Notes
    telemetry: Telemetry
    large: Large
    limits: Limits


class TargetFilter:
    """Opens an exchange for each stream."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._parsed = Parsed()

    def open(self) -> TargetExchange:
        """A handler for one stream."""
        return TargetExchange(self._rooms, self._parsed)


class TargetExchange:
    """One attempt at one target."""

    __slots__ = ("_asked", "_body", "_broken", "_callers", "_capped", "_chunks", "_dialect",
                 "_format", "_head", "_id", "_native", "_out", "_outcome", "_parsed", "_private",
                 "_reader", "_reply", "_rooms", "_sent", "_stream", "_strict", "_walk_on_content",
                 "_warnings", "_writer", "alarm", "target")  # fmt: skip

    def __init__(self, rooms: Rooms, parsed: Parsed) -> None:
        self._rooms = rooms
        self._parsed = parsed
        self.alarm: float | None = None
        self.target: TargetPolicy
        self._dialect: Dialect
        self._format: ClientFormat
        self._native = False  # the provider speaks the client's format: its answers pass
        self._callers: str | None = None  # the caller's own key, on a route that passes it on
        self._asked: ClientRequest | None = None
        self._reply = Reply()
        self._writer: Writer | None = None
        self._id = ""
        self._stream = False
        self._strict = False
        self._capped = False
        self._sent: frozenset[str] = frozenset()
        self._walk_on_content = False
        self._private: list[str] = []
        self._warnings: tuple[str, ...] = ()
        self._head: ResponseHead | None = None
        self._reader: StreamReader | None = None
        self._chunks = 0
        self._body: list[bytes] = []
        self._out: list[bytes] = []
        self._broken = False
        self._outcome: str | None = None

    async def on(self, event: Event) -> Actions:
        """See `Handler`."""
        if isinstance(event, Chunk):
            return await self._on_chunk(event)
        if isinstance(event, RequestHead):
            return await self._on_request(event)
        if isinstance(event, RequestBody):
            return await self._on_body(event)
        if isinstance(event, ResponseHead):
            return await self._on_answer(event)
        return await self._on_trailers()

    # --- there ----------------------------------------------------------------------------

    async def _on_request(self, event: RequestHead) -> Actions:
        sent = event.headers
        target = self._parsed.of(TargetPolicy, event.attributes.get("xds.route_metadata"))
        self.target = target
        self._dialect = self._rooms.dialects[target.dialect]
        self._format = self._rooms.formats[sent.get(h.I_FORMAT, "chat")]
        self._native = self._dialect.native(self._format.name, target)
        self._id = sent.get(h.I_ID, "")
        self._stream = sent.get(h.I_STREAM) == "1"
        self._strict = sent.get(h.I_STRICT) == "1"
        self._capped = h.I_CAP in sent
        self._walk_on_content = sent.get(h.I_WALK) == "content"
        keep = h.SIM_SCRIPT if target.simulator else ""
        own = vendor_of(self._format.name) if self._native else ""
        self._private = [
            name for name in sent if (private(name) and name != keep) or foreign(name, own)
        ]
        self._sent = frozenset(sent).difference(self._private)
        self.alarm = asyncio.get_running_loop().time() + target.timeout + TIMER_MARGIN
        self._callers = sent.get(h.I_CREDENTIAL)
        if target.ceilings is not None or target.provider_ceilings is not None:
            room, wait = await self._rooms.limits.attempt(self._id, sent.get(h.I_LEASE), target)
            if not room:
                return await self._refuse(Refusal(Reason.CAPACITY, 429, wait, NO_ROOM))
        if self._callers is not None:
            # Never ready: the key goes where this provider wants it.
            return GO if target.key_header else await self._refuse(NO_KEY_OF_CALLERS)
        if sent.get(h.I_READY) != target.target:
            return GO
        # The body is what the provider takes: it goes by without us.
        path = self._dialect.endpoint(self._format.name, target)
        return (Pass(set=upward(path), remove=self._private),)

    async def _on_body(self, event: RequestBody) -> Actions:
        try:
            wire = await self._rooms.large.work(len(event.data), partial(self._write, event.data))
        except ClientError as error:
            return await self._refuse(
                Refusal(Reason.FEATURE, 400, detail=error.message, param=error.param)
            )
        if isinstance(wire, Counted):
            return self._counted(wire)
        if self._strict and (missing := left_out(wire.warnings)):
            return await self._refuse(Refusal(Reason.FEATURE, 400, detail=missing))
        remove, self._private = self._private, []
        self._warnings = wire.warnings
        self._reply = wire.reply
        defaults = [one for one in wire.defaults if one[0] not in self._sent]
        length = ("content-length", str(len(wire.body)))
        key = callers_key(self._callers, self.target.key_header)
        fields = [*upward(wire.path), length, *defaults, *wire.headers, *key]
        return (Pass(set=fields, remove=remove, body=wire.body),)

    def _write(self, body: bytes) -> Wire | Counted:
        """The client's body as the provider takes it. Raises ClientError."""
        asked = self._format.decode(body)
        if self._capped:
            asked = structs.replace(asked, bounded=True)
        if not self._native:
            self._asked = asked
        return self._dialect.write(asked, body, self.target)

    def _counted(self, counted: Counted) -> Actions:
        """Nobody need be asked."""
        self._served()
        if counted.estimated:
            self._warnings = ("input_tokens (estimated: the provider does not count)",)
        body = self._format.whole(counted, self._known())
        fields = [("content-type", "application/json"), *self._marks()]
        return (Answer(200, fields, body, "tg_counted"),)

    def _known(self) -> ClientRequest:
        assert self._asked is not None  # noqa: S101 - what is translated was read
        return self._asked

    # --- back: the head -------------------------------------------------------------------

    async def _on_answer(self, event: ResponseHead) -> Actions:
        details = str(event.attributes.get("response.code_details", "via_upstream"))
        if details != "via_upstream":
            return await self._refuse(local_refusal(event.status, details))
        self._head = event
        if event.status not in OK:
            return await self._collect(event)
        self._heard(event.status, event.headers)
        content_type = event.headers.get("content-type", "")
        if self._stream:
            media = SSE if self._native else self._dialect.stream_type
            if not content_type.startswith(media):
                return await self._collect(event)
            self._reader = self._open()
            return await self._empty_stream() if event.end else HOLD
        plain = self._native and not self._walk_on_content
        if plain and content_type.startswith("application/json") and _is_ready(event):
            self._served()
            return (Pass(set=self._marks(), remove=self._provider_marks(event)), LEAVE)
        return await self._collect(event)

    def _open(self) -> StreamReader:
        if self._native:
            return self._format.watch()
        self._writer = self._format.writer(self._known())
        return self._dialect.stream(self._writer, self._reply)

    async def _collect(self, event: ResponseHead) -> Actions:
        return await self._whole() if event.end else HOLD

    # --- back: the body -------------------------------------------------------------------

    async def _on_trailers(self) -> Actions:
        """The body is over. Trailers carry no body: what is left of it goes with the last chunk,
        or, when that has gone, in a trailer that the gateway filter turns into body."""
        if self._outcome is not None:
            rest = self._reader.end() if self._reader is not None else b""
            return (Pass(set=[(h.I_REST, b64encode(rest).decode())]),) if rest else GO
        self._chunks -= 1
        actions = await self._on_chunk(Chunk(b"", end=True))
        return (*actions, UNCHANGED) if isinstance(actions[-1], Pass) else actions

    async def _on_chunk(self, event: Chunk) -> Actions:
        reader = self._reader
        if self._outcome == "served":
            if reader is None:
                return GO
            return (Pass(body=self._translated(reader, event)),)
        self._chunks += 1
        if reader is not None:
            return await self._first_events(reader, event)
        self._body.append(event.data)
        return await self._whole() if event.end else HOLD

    async def _first_events(self, reader: StreamReader, event: Chunk) -> Actions:
        self._body.append(event.data)
        self._out.append(self._translated(reader, event))
        if self._callers is not None and reader.failure is not None and not reader.content:
            error = own_key_error(reader.failure)
            if error is not None:
                return self._error(error)
        refusal = self._stream_refusal(reader, ended=event.end)
        if refusal is not None:
            self._heard(refusal.status, {}, refusal.retry_after)
            return await self._refuse(refusal)
        if not reader.content:
            return HOLD
        return self._release()

    def _translated(self, reader: StreamReader, event: Chunk) -> bytes:
        """What goes to the client of a chunk; once the provider has failed, that it did."""
        if self._broken:
            return b""
        data = reader.feed(event.data) if event.data else b""
        if event.end:
            data += reader.end()
        if reader.failure is not None and self._writer is not None:
            self._broken = True
            if reader.content:
                data += self._writer.error(client_error(reader.failure))
        return data

    def _stream_refusal(self, reader: StreamReader, *, ended: bool) -> Refusal | None:
        if reader.failure is not None and not reader.content:
            return stream_failure(reader.failure)
        if reader.refused and self._walk_on_content:
            return Refusal(Reason.CONTENT, 503, detail="the provider refused the content")
        if ended and not reader.content:
            return Refusal(Reason.BAD_ANSWER, 503, detail="the stream ended without content")
        return None

    async def _empty_stream(self) -> Actions:
        return await self._refuse(Refusal(Reason.BAD_ANSWER, 503, detail="an empty stream"))

    def _release(self) -> Actions:
        """Content has come: let the held head go, and what came with it."""
        self._served()
        head = self._head
        assert head is not None  # noqa: S101 - a chunk comes after its head
        marks = self._marks()
        if self._native:
            go = Pass(set=marks, remove=self._provider_marks(head))
            return (go, *([UNCHANGED] * self._chunks), LEAVE)
        marks.append(("content-type", SSE))
        go = Pass(set=marks, remove=self._provider_marks(head))
        swallowed = [Pass(body=b"")] * (self._chunks - 1)
        return (go, *swallowed, Pass(body=b"".join(self._out)))

    async def _whole(self) -> Actions:
        """Everything of an answer that is read whole has come."""
        head = self._head
        assert head is not None  # noqa: S101 - a body comes after its head
        body = b"".join(self._body)
        if head.status not in OK:
            failure = self._dialect.failure(head.status, head.headers, body)
            self._heard(head.status, head.headers, failure.retry_after)
            if self._callers is not None and (error := own_key_error(failure)):
                return self._error(error)
            refusal = provider_refusal(failure, walk_on_content=self._walk_on_content)
            if refusal is not None:
                return await self._refuse(refusal)
            return self._error(client_error(failure))
        try:
            answer = self._answer(body)
        except BadAnswerError as error:
            return await self._refuse(Refusal(Reason.BAD_ANSWER, 503, detail=str(error)))
        if answer.refused and self._walk_on_content:
            detail = "the provider refused the content"
            return await self._refuse(Refusal(Reason.CONTENT, 503, detail=detail))
        self._served()
        marks = [*self._marks(), ("content-type", "application/json")]
        go = Pass(set=marks, remove=self._provider_marks(head))
        swallowed = [Pass(body=b"")] * (self._chunks - 1)
        return (go, *swallowed, Pass(body=answer.body))

    def _answer(self, body: bytes) -> Passed:
        """A whole 2xx answer in the client's format. Raises BadAnswerError."""
        if self._stream:
            raise BadAnswerError("an answer that is no stream")
        if self._native:
            return Passed(body, self._format.look(body))
        read = self._dialect.read(body, self._reply)
        if isinstance(read, Passed):
            return read
        refused = isinstance(read, Completion) and read.refused
        return Passed(self._format.whole(read, self._known()), refused)

    # --- the end of an attempt ------------------------------------------------------------

    def _error(self, error: ClientError) -> Actions:
        """The provider blames the request: the client is told, nobody else is asked."""
        self._served("error")
        fields = [*error.headers(), *self._marks()]
        return (
            Answer(error.status, fields, self._format.error(error), f"tg_provider_{error.status}"),
        )

    async def _refuse(self, refusal: Refusal) -> Actions:
        reason = refusal.reason.value
        self.alarm = None
        self._outcome = reason
        self._rooms.telemetry.refusal(self.target.target, reason)
        self._rooms.telemetry.attempt(self.target.target, reason)
        try:
            await self._rooms.notes.leave(self._id, encode(note_of(self.target.target, refusal)))
        except StateError:
            self._rooms.telemetry.note_lost()
        error = ClientError(
            refusal.status, "server_error", reason, refusal.detail, None, refusal.retry_after
        )
        fields = [*error.headers(), *self._marks(), (h.I_REFUSAL, reason)]
        return (Answer(refusal.status, fields, error.openai(), f"tg_refused_{reason}"),)

    async def ring(self) -> Actions:
        """The level's time is over and nothing that counts as content has come."""
        if self._outcome is not None:
            return HOLD
        detail = f"no content within {self.target.timeout:g} s"
        return await self._refuse(Refusal(Reason.TIMEOUT, 504, detail=detail))

    async def gone(self) -> None:
        """See `Handler`."""
        self.alarm = None
        if self._outcome is None and self._id:
            self._outcome = "cancelled"
            self._rooms.telemetry.attempt(self.target.target, "cancelled")

    def _heard(self, status: int, headers: Mapping[str, str], wait: float | None = None) -> None:
        target = self.target
        if (target.ceilings or target.provider_ceilings) and self._callers is None:
            self._rooms.limits.heard(target, status, headers, wait)

    def _served(self, outcome: str = "served") -> None:
        self.alarm = None
        self._outcome = outcome
        self._rooms.telemetry.attempt(self.target.target, outcome)

    def _marks(self) -> list[tuple[str, str]]:
        marks = [(h.I_TARGET, self.target.target)]
        if self._head is not None:
            marks += self._dialect.limits(self._head.headers)
        if self._warnings:
            marks.append((h.WARNING, warning_header(self._warnings)))
        return marks

    @staticmethod
    def _provider_marks(head: ResponseHead) -> list[str]:
        return ["content-length", *(name for name in head.headers if unwanted(name))]


def _is_ready(head: ResponseHead) -> bool:
    """The body is there: who tells its length has it. Without one the provider may send blanks
    for as long as its model thinks, and the level's time runs until the body is whole."""
    return not head.end and "content-length" in head.headers
