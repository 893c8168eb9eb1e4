"""Replies in the order that Envoy wants them, whatever the handler holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.filters.exchange import (
    HOLD,
    LEAVE,
    UNCHANGED,
    Action,
    Actions,
    Answer,
    BodyMode,
    Chunk,
    Emit,
    Event,
    Pass,
    RequestHead,
    UnexpectedEventError,
    Wait,
)
from extproc.pb import ext_proc_pb2 as pb
from extproc.pb import priority_group_pb2 as groups
from extproc.stream import DUPLEX_LIMIT, Stream, pass_reply


class Wire:
    """Envoy's end: messages to read, replies as they come."""

    def __init__(self, *messages: pb.ProcessingRequest) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.replies: list[pb.ProcessingResponse] = []
        self._came: asyncio.Queue[None] = asyncio.Queue()
        for message in messages:
            self.queue.put_nowait(message)

    async def read(self) -> object:
        return await self.queue.get()

    async def write(self, message: bytes) -> None:
        self.replies.append(pb.ProcessingResponse.FromString(message))
        self._came.put_nowait(None)

    async def replied(self, count: int) -> None:
        for _ in range(count):
            await self._came.get()

    def end(self) -> None:
        self.queue.put_nowait(grpc.aio.EOF)  # type: ignore[attr-defined]  # not in the stubs

    def kinds(self) -> list[str | None]:
        return [reply.WhichOneof("response") for reply in self.replies]


class Scripted:
    """Answers each event with the next actions of a list."""

    def __init__(self, *steps: Actions, on_ring: Sequence[Action] = ()) -> None:
        self.alarm: float | None = None
        self.events: list[Event] = []
        self.settled = 0
        self._steps = list(steps)
        self._on_ring = on_ring

    async def on(self, event: Event) -> Actions:
        self.events.append(event)
        return self._steps.pop(0)

    async def ring(self) -> Actions:
        self.alarm = None
        return self._on_ring

    async def gone(self) -> None:
        self.settled += 1


def head(**headers: str) -> pb.ProcessingRequest:
    message = pb.ProcessingRequest()
    for name, value in headers.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode("latin-1"))
    message.request_headers.SetInParent()
    return message


def body(data: bytes = b"{}") -> pb.ProcessingRequest:
    return pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=True))


def answer_head(status: str = "200") -> pb.ProcessingRequest:
    message = pb.ProcessingRequest()
    message.response_headers.headers.headers.add(key=":status", raw_value=status.encode())
    return message


def chunk(data: bytes, *, end: bool = False) -> pb.ProcessingRequest:
    return pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end))


GO = (UNCHANGED,)


async def serve(wire: Wire, handler: Scripted) -> None:
    async with asyncio.timeout(5):
        await Stream(wire, handler).run()


async def test_held_messages_are_answered_in_their_order() -> None:
    wire = Wire(head(), body(), answer_head(), chunk(b"a"), chunk(b"b"))
    release = (Pass(set=[("x", "1")]), Pass(body=b""), Pass(body=b"ab"), LEAVE)
    await serve(wire, Scripted(GO, GO, HOLD, HOLD, release))
    assert wire.kinds() == [
        *("request_headers", "request_body"),
        *("response_headers", "response_body", "response_body"),
    ]
    assert wire.replies[3].response_body.response.body_mutation.clear_body
    assert wire.replies[4].response_body.response.body_mutation.body == b"ab"


async def test_an_answer_ends_the_stream() -> None:
    wire = Wire(head())
    handler = Scripted((Answer(429, [("retry-after", "1")], b"{}", "tg_x"),))
    await serve(wire, handler)
    reply = wire.replies[0].immediate_response
    assert (reply.status.code, reply.body, reply.details) == (429, b"{}", "tg_x")
    assert handler.settled == 1


async def test_an_alarm_rings_while_nothing_comes() -> None:
    wire = Wire(head())
    handler = Scripted(GO, on_ring=(Answer(504, [], b"", "tg_late"),))
    handler.alarm = asyncio.get_running_loop().time() + 0.02
    running = asyncio.create_task(serve(wire, handler))
    async with asyncio.timeout(5):
        while len(wire.replies) < 2:  # noqa: ASYNC110 - the wire is the thing watched
            await asyncio.sleep(0.005)
    wire.end()
    await running
    assert wire.kinds() == ["request_headers", "immediate_response"]


async def test_an_alarm_that_moved_rings_at_its_new_time() -> None:
    loop = asyncio.get_running_loop()
    wire = Wire(head(), body())
    handler = Scripted(GO, GO, on_ring=(Answer(504, [], b"", "tg_late"),))
    handler.alarm = loop.time() + 0.01
    running = asyncio.create_task(serve(wire, handler))
    await asyncio.sleep(0)
    handler.alarm = moved = loop.time() + 0.1
    async with asyncio.timeout(5):
        while len(wire.replies) < 3:  # noqa: ASYNC110 - the wire is the thing watched
            await asyncio.sleep(0.005)
    assert loop.time() >= moved
    wire.end()
    await running


async def test_a_cancelled_stream_is_settled_once() -> None:
    handler = Scripted(GO)
    running = asyncio.create_task(serve(Wire(head()), handler))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handler.settled == 1


async def test_a_message_out_of_place_ends_the_stream_and_settles() -> None:
    handler = Scripted()
    with pytest.raises(UnexpectedEventError):
        await serve(Wire(chunk(b"x")), handler)
    assert handler.settled == 1


async def test_full_duplex_pieces_are_small_enough_and_whole() -> None:
    data = bytes(range(256)) * 1000
    wire = Wire(head(), body(), answer_head(), chunk(b"x", end=True))
    mode = (Pass(mode=BodyMode.DUPLEX),)
    handler = Scripted(GO, GO, mode, (Emit(data, end=True, facts={"cost": 3}),))
    running = asyncio.create_task(serve(wire, handler))
    await asyncio.sleep(0.01)
    wire.end()
    await running
    pieces = [
        reply.response_body.response.body_mutation.streamed_response for reply in wire.replies[3:]
    ]
    assert b"".join(piece.body for piece in pieces) == data
    assert max(len(piece.body) for piece in pieces) <= DUPLEX_LIMIT
    assert [piece.end_of_stream for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    mode_override = wire.replies[2].mode_override
    assert mode_override.response_body_mode == pb.ProcessingMode.FULL_DUPLEX_STREAMED
    assert mode_override.response_trailer_mode == pb.ProcessingMode.SEND
    facts = wire.replies[-1].dynamic_metadata.fields["tollgate"].struct_value.fields
    assert facts["cost"].number_value == 3


async def test_trailers_are_answered_after_a_last_piece() -> None:
    trailers = pb.ProcessingRequest(response_trailers=pb.HttpTrailers())
    wire = Wire(head(), body(), answer_head(), chunk(b"x"), trailers)
    steps = (GO, GO, (Pass(mode=BodyMode.DUPLEX),), HOLD, (Emit(b"x", end=False), UNCHANGED))
    running = asyncio.create_task(serve(wire, Scripted(*steps)))
    await asyncio.sleep(0.01)
    wire.end()
    await running
    assert wire.kinds()[-2:] == ["response_body", "response_trailers"]


async def test_a_chain_travels_as_typed_metadata_and_clears_the_route() -> None:
    wire = Wire(head(), body())
    chain = ((("target-a", 3), ("target-b", 1)), (("target-c", 1),))
    running = asyncio.create_task(
        serve(wire, Scripted(GO, (Pass(set=[("x-tollgate-i-id", "1")], levels=chain),)))
    )
    await asyncio.sleep(0.01)
    wire.end()
    await running
    reply = wire.replies[1]
    assert reply.request_body.response.clear_route_cache
    packed = reply.typed_dynamic_metadata["tollgate.chain"]
    assert packed.type_url.endswith("priority_group.v3.PriorityGroupsOverride")
    override = groups.PriorityGroupsOverride.FromString(packed.value)
    assert [
        [(one.cluster_name, one.weight.value) for one in group.clusters]
        for group in override.priority_groups
    ] == [[("target-a", 3), ("target-b", 1)], [("target-c", 1)]]


async def test_headers_that_come_twice_are_joined() -> None:
    message = head()
    for value in (b"a", b"b"):
        message.request_headers.headers.headers.add(key="x", raw_value=value)
    handler = Scripted(GO)
    wire = Wire(message)
    running = asyncio.create_task(serve(wire, handler))
    await asyncio.sleep(0.01)
    wire.end()
    await running
    (event,) = handler.events
    assert isinstance(event, RequestHead)
    assert event.headers["x"] == "a, b"


async def test_chunks_are_events() -> None:
    handler = Scripted(GO, GO, GO, GO)
    wire = Wire(head(), body(), answer_head(), chunk(b"x", end=True))
    running = asyncio.create_task(serve(wire, handler))
    await asyncio.sleep(0.01)
    wire.end()
    await running
    assert handler.events[-1] == Chunk(b"x", end=True)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z:][a-z0-9-]{0,200}", fullmatch=True),
            st.text(st.characters(codec="utf-8"), max_size=400),
        ),
        max_size=5,
    )
)
def test_headers_are_written_as_protobuf_would(pairs: list[tuple[str, str]]) -> None:
    expected = pb.HeaderMutation()
    for name, value in pairs:
        option = expected.set_headers.add(append_action=2)
        option.header.key = name
        option.header.raw_value = value.encode()
    reply = pb.ProcessingResponse.FromString(pass_reply("request_body", Pass(set=pairs)))
    assert reply.request_body.response.header_mutation == expected


async def test_a_waiting_message_asks_for_time_once_and_is_answered_in_its_turn() -> None:
    async def turn() -> Sequence[Pass]:
        await asyncio.sleep(0)
        return (Pass(set=[("x", "1")]),)

    wire = Wire(head(), body())
    serving = asyncio.create_task(serve(wire, Scripted(GO, (Wait(12.5, turn),), GO)))
    await wire.replied(3)
    wire.queue.put_nowait(answer_head())
    wire.end()
    await serving
    kinds = ["request_headers", None, "request_body", "response_headers"]
    assert wire.kinds() == kinds
    assert wire.replies[1].override_message_timeout.ToMilliseconds() == 12_500


@pytest.mark.parametrize("said", ["end", "answer"])
async def test_who_is_waited_for_by_nobody_stops_waiting(said: str) -> None:
    """The client leaves, or Envoy answers in our place."""
    left = asyncio.Event()

    async def turn() -> Sequence[Pass]:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return ()

    wire = Wire(head(), body())
    handler = Scripted(GO, (Wait(600.0, turn),), GO)
    serving = asyncio.create_task(serve(wire, handler))
    await wire.replied(2)
    if said == "answer":
        wire.queue.put_nowait(answer_head("504"))
    wire.end()
    await serving
    assert left.is_set()
    assert handler.settled == 1
    assert wire.kinds()[2:] == (["response_headers"] if said == "answer" else [])


async def test_who_waits_is_settled_when_the_call_is_cancelled() -> None:
    left = asyncio.Event()

    async def turn() -> Sequence[Pass]:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return ()

    wire = Wire(head(), body())
    handler = Scripted(GO, (Wait(600.0, turn),))
    serving = asyncio.create_task(serve(wire, handler))
    await wire.replied(2)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert left.is_set()
    assert handler.settled == 1
