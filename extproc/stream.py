"""One ext_proc stream: Envoy's messages in, a filter's actions out.

The only module that touches ProcessingRequest and ProcessingResponse. Replies that carry nothing
are serialised once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict

from extproc.filters.exchange import (
    UNCHANGED,
    Action,
    Actions,
    Answer,
    BodyMode,
    Chunk,
    Emit,
    Event,
    Handler,
    Leave,
    Levels,
    Pass,
    Phase,
    RequestBody,
    RequestHead,
    ResponseHead,
    Trailers,
    UnexpectedEventError,
    Wait,
    advance,
)
from extproc.headers import NAMESPACE, OVERRIDE_NAMESPACE, OVERRIDE_TYPE
from extproc.pb import ext_proc_pb2 as pb
from extproc.pb import priority_group_pb2 as groups

log = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
ATTRIBUTES: Final = "envoy.filters.http.ext_proc"
BODY_MODES: Final = {
    BodyMode.NONE: pb.ProcessingMode.NONE,
    BodyMode.STREAMED: pb.ProcessingMode.STREAMED,
    BodyMode.BUFFERED: pb.ProcessingMode.BUFFERED,
    BodyMode.DUPLEX: pb.ProcessingMode.FULL_DUPLEX_STREAMED,
}
DUPLEX_LIMIT: Final = 60_000
"""Bytes of one full-duplex reply: Envoy refuses more than 64 kB."""


class Context(Protocol):
    """What is used of grpc.aio.ServicerContext."""

    async def read(self) -> object:
        """The next message, or EOF."""
        ...

    async def write(self, message: bytes) -> None:
        """Send a serialised reply."""
        ...


@lru_cache(maxsize=4096)
def chain_bytes(chain: Levels) -> bytes:
    """A request's chain as Envoy takes it. There are few, and each is made once."""
    override = groups.PriorityGroupsOverride()
    for number, level in enumerate(chain, 1):
        group = override.priority_groups.add(name=f"level-{number}")
        for cluster, weight in level:
            group.clusters.add(cluster_name=cluster).weight.value = weight
    return AnyMessage(
        type_url=OVERRIDE_TYPE, value=override.SerializeToString()
    ).SerializeToString()


# --- Envoy's messages as events -----------------------------------------------------------


def _headers(fields: pb.HeaderMap) -> dict[str, str]:
    # Envoy puts values into raw_value; repeated names are joined as HTTP allows.
    found: dict[str, str] = {}
    for header in fields.headers:
        key = header.key
        try:
            value = header.raw_value.decode() or header.value
        except UnicodeDecodeError:
            # HTTP leaves the encoding open; applications send UTF-8, anything else stays readable.
            value = header.raw_value.decode("latin-1")
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _attributes(message: pb.ProcessingRequest) -> dict[str, str | float]:
    if ATTRIBUTES not in message.attributes:
        return {}
    fields = message.attributes[ATTRIBUTES].fields
    return {name: value.string_value or value.number_value for name, value in fields.items()}


def _metadata(message: pb.ProcessingRequest) -> dict[str, Any]:
    """What filters in front said, where Envoy is told to hand it over."""
    if not message.HasField("metadata_context"):
        return {}
    found = message.metadata_context.filter_metadata
    return {name: MessageToDict(struct) for name, struct in found.items()}


def event_of(message: pb.ProcessingRequest) -> tuple[str, Event]:
    """The kind of a message and the event it stands for. Raises UnexpectedEventError."""
    kind = message.WhichOneof("request")
    if kind == "response_body":
        body = message.response_body
        return kind, Chunk(body.body, body.end_of_stream)
    if kind == "request_headers":
        head = message.request_headers
        return kind, RequestHead(
            _headers(head.headers), _attributes(message), head.end_of_stream, _metadata(message)
        )
    if kind == "request_body":
        return kind, RequestBody(message.request_body.body)
    if kind == "response_headers":
        head = message.response_headers
        headers = _headers(head.headers)
        status = int(headers.get(":status", "0"))
        return kind, ResponseHead(status, headers, _attributes(message), head.end_of_stream)
    if kind == "response_trailers":
        return kind, Trailers(_headers(message.response_trailers.trailers))
    raise UnexpectedEventError(str(kind))


# --- actions as replies -------------------------------------------------------------------


def _set(mutation: pb.HeaderMutation, pairs: Sequence[tuple[str, str]]) -> None:
    if pairs:
        mutation.MergeFromString(b"".join([_option(name, value) for name, value in pairs]))


def _option(name: str, value: str) -> bytes:
    """`HeaderMutation.set_headers` with one header that overwrites, as it stands on the wire: a
    third of the time of building it. `HeaderValue.key` is field 1, `raw_value` 3;
    `HeaderValueOption.header` 1, `append_action` 3; `HeaderMutation.set_headers` 1."""
    raw = value.encode()
    header = _key(name) + b"\x1a" + _length(len(raw)) + raw
    option = b"\x0a" + _length(len(header)) + header + _OVERWRITES
    return b"\x0a" + _length(len(option)) + option


_OVERWRITES: Final = b"\x18" + bytes([pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD])
_SHORT: Final = tuple(bytes([number]) for number in range(128))


def _length(number: int) -> bytes:
    """A protobuf varint."""
    if number < 128:  # noqa: PLR2004 - seven bits
        return _SHORT[number]
    return bytes([number & 127 | 128]) + _length(number >> 7)


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    raw = name.encode()
    return b"\x0a" + _length(len(raw)) + raw


def _facts(reply: pb.ProcessingResponse, facts: Mapping[str, str | int | float] | None) -> None:
    if not facts:
        return
    fields = reply.dynamic_metadata.fields[NAMESPACE].struct_value.fields
    for name, fact in facts.items():
        if isinstance(fact, str):
            fields[name].string_value = fact
        else:
            fields[name].number_value = fact


def _bare(kind: str) -> bytes:
    reply = pb.ProcessingResponse()
    getattr(reply, kind).SetInParent()
    return reply.SerializeToString()


_KINDS: Final = (
    "request_headers",
    "request_body",
    "response_headers",
    "response_body",
    "response_trailers",
)
BARE: Final[Mapping[str, bytes]] = {kind: _bare(kind) for kind in _KINDS}


def pass_reply(kind: str, action: Pass) -> bytes:
    """The reply that lets a message of `kind` go on."""
    reply = pb.ProcessingResponse()
    if kind == "response_trailers":
        mutation = reply.response_trailers.header_mutation
        mutation.SetInParent()
        _set(mutation, action.set)
        mutation.remove_headers.extend(action.remove)
        _facts(reply, action.facts)
        return reply.SerializeToString()
    common = getattr(reply, kind).response
    common.SetInParent()
    if action.set:
        _set(common.header_mutation, action.set)
    if action.remove:
        common.header_mutation.remove_headers.extend(action.remove)
    if action.body is not None:
        if action.body:
            common.body_mutation.body = action.body
        else:
            common.body_mutation.clear_body = True
    if action.levels is not None:
        reply.typed_dynamic_metadata[OVERRIDE_NAMESPACE].MergeFromString(chain_bytes(action.levels))
        common.clear_route_cache = True
    if action.mode is not None:
        reply.mode_override.response_body_mode = BODY_MODES[action.mode]
        if action.mode is BodyMode.DUPLEX:
            reply.mode_override.response_trailer_mode = pb.ProcessingMode.SEND
    _facts(reply, action.facts)
    return reply.SerializeToString()


def answer_reply(action: Answer) -> bytes:
    """The reply that answers in the provider's place."""
    reply = pb.ProcessingResponse()
    answer = reply.immediate_response
    answer.status.code = action.status
    answer.body = action.body
    answer.details = action.details
    _set(answer.headers, action.headers)
    _facts(reply, action.facts)
    return reply.SerializeToString()


def wait_reply(action: Wait) -> bytes:
    """The reply that only asks for time: Envoy takes one a message, up to its own maximum."""
    reply = pb.ProcessingResponse()
    reply.override_message_timeout.FromNanoseconds(int(action.seconds * 1e9))
    return reply.SerializeToString()


def emit_replies(action: Emit) -> list[bytes]:
    """The full-duplex replies that carry `data`, in pieces that Envoy takes."""
    pieces = [
        action.data[at : at + DUPLEX_LIMIT] for at in range(0, len(action.data), DUPLEX_LIMIT)
    ] or ([b""] if action.end else [])
    replies = []
    for number, piece in enumerate(pieces, 1):
        reply = pb.ProcessingResponse()
        streamed = reply.response_body.response.body_mutation.streamed_response
        streamed.body = piece
        if number == len(pieces):
            streamed.end_of_stream = action.end
            _facts(reply, action.facts)
        replies.append(reply.SerializeToString())
    return replies


# --- the stream ---------------------------------------------------------------------------


async def _read(context: Context) -> object:
    return await context.read()


class Stream:
    """Carries one handler's exchange over one gRPC stream."""

    __slots__ = (
        "_busy",
        "_context",
        "_duplex",
        "_handler",
        "_loop",
        "_over",
        "_rang",
        "_reading",
        "_ringing",
        "_timer",
        "_waiting",
    )  # fmt: skip

    def __init__(self, context: Context, handler: Handler) -> None:
        self._context = context
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ringing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[object] | None = None
        self._busy = False
        self._duplex = False
        self._rang = False
        self._over = False

    async def run(self) -> None:
        """Serve until Envoy ends the stream or the handler leaves."""
        try:
            await self._serve()
        except UnexpectedEventError as error:
            log.error("unexpected message from Envoy", extra={"event": str(error)})  # noqa: TRY400 - a configuration mistake needs no stack
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._ringing is not None and not self._ringing.done():
                self._ringing.cancel()
            if self._reading is not None:
                self._reading.cancel()
            await self._handler.gone()

    async def _serve(self) -> None:
        read, handler, waiting = self._context.read, self._handler, self._waiting
        phase = Phase.START
        while True:
            message = await read() if self._reading is None else await self._reading
            self._reading = None
            if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # not in the stubs
                return
            if self._ringing is not None:
                await self._ringing
                if self._over:
                    return
            kind, event = event_of(message)  # type: ignore[arg-type]
            phase = advance(phase, event)
            waiting.append(kind)
            self._busy = True
            await self._send(await handler.on(event))
            self._busy = False
            if self._over or (phase is Phase.DONE and not waiting and not self._duplex):
                return  # answered to the end: Envoy has not to end the stream itself
            if self._rang:
                self._rang = False
                await self._ring()
            elif handler.alarm is not None and self._timer is None:
                self._timer = self._loop.call_at(handler.alarm, self._wake)

    async def _send(self, actions: Actions) -> None:
        for action in actions:
            await self._act(action)
            if self._over:
                return

    async def _act(self, action: Action) -> None:
        write = self._context.write
        if isinstance(action, Pass):
            kind = self._waiting.popleft()
            await write(BARE[kind] if action is UNCHANGED else pass_reply(kind, action))
        elif isinstance(action, Emit):
            self._duplex = True
            # Full-duplex pieces are not answered one by one; trailers are.
            while self._waiting and self._waiting[0] == "response_body":
                self._waiting.popleft()
            for reply in emit_replies(action):
                await write(reply)
        elif isinstance(action, Answer):
            await write(answer_reply(action))
            self._over = True
        elif isinstance(action, Leave):
            self._over = True
        else:
            await self._wait(action)

    async def _wait(self, action: Wait) -> None:
        """Hold the message. What Envoy says meanwhile means that nobody waits for it any more: the
        client has left, or Envoy has answered itself."""
        await self._context.write(wait_reply(action))
        turn = asyncio.ensure_future(action.then())
        self._reading = self._loop.create_task(_read(self._context))
        try:
            await asyncio.wait({turn, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not turn.done():
                turn.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await turn
        if turn.cancelled():
            self._waiting.clear()
        else:
            await self._send(turn.result())

    # The alarm moves with every chunk; the timer is re-armed only when it fires too early.

    def _wake(self) -> None:
        self._timer = None
        alarm = self._handler.alarm
        if alarm is None or self._over:
            return
        if alarm > self._loop.time():
            self._timer = self._loop.call_at(alarm, self._wake)
        elif self._busy:
            self._rang = True
        else:
            self._ringing = self._loop.create_task(self._ring())

    async def _ring(self) -> None:
        self._busy = True
        try:
            await self._send(await self._handler.ring())
        except Exception:
            # Nobody awaits an alarm's task: without this a mistake in it would be silent.
            log.exception("an alarm failed")
        finally:
            self._busy = False
            self._ringing = None
