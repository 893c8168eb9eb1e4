"""The HTTP reader: strict, and the same however the bytes are cut."""

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.simulator import Simulator
from extproc.simulator.http import BODY_LIMIT, HEAD_LIMIT, Connection, Request


class Wire:
    """Stands for a transport; only what a connection uses."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


def read(pieces: list[bytes]) -> tuple[list[tuple[str, str, bytes]], bytes, bool]:
    """Feed the pieces: the requests served, what was answered, whether it closed."""
    served: list[tuple[str, str, bytes]] = []

    def serve(connection: Connection, request: Request) -> None:
        served.append((request.method, request.path, request.body))
        connection.exchange = None
        connection._busy = False

    wire = Wire()
    connection = Connection(serve, set(), "x")
    connection.connection_made(cast("asyncio.BaseTransport", wire))
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    return served, wire.sent, wire.closed


PLAIN = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
EMPTY = b"GET /d HTTP/1.1\r\n\r\n"


@given(st.lists(st.sampled_from([PLAIN, CHUNKED, EMPTY]), min_size=1, max_size=4), st.data())
def test_any_cutting_gives_the_same_requests(messages: list[bytes], data: Any) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    served, sent, closed = read(pieces)
    assert served == read([stream])[0]
    assert [body for _, _, body in served] == [
        {PLAIN: b"hello", CHUNKED: b"hello world", EMPTY: b""}[one] for one in messages
    ]
    assert (sent, closed) == (b"", False)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /x\r\n\r\n", 400),
        (b"POST /x HTTP/2.0\r\n\r\n", 400),
        (b"PO ST /x HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nBad Name: x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), 413),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n", 413),
        (b"POST /x HTTP/1.1\r\nA: " + b"x" * HEAD_LIMIT, 431),
    ],
)
def test_malformed_requests_are_answered_and_closed(data: bytes, status: int) -> None:
    served, sent, closed = read([data])
    assert served == []
    assert sent.startswith(b"HTTP/1.1 %d " % status)
    assert closed


def test_continue_is_said_before_the_body() -> None:
    head, _, body = PLAIN.partition(b"\r\n\r\n")
    _, sent, _ = read([head + b"\r\nExpect: 100-continue\r\n\r\n"])
    assert sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert body == b"hello"


async def test_pipelined_requests_and_connection_close(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.ports["local"])
    one = b"GET /v1/models HTTP/1.1\r\n\r\n"
    writer.write(one * 3 + b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")
    answered = await asyncio.wait_for(reader.read(-1), 5)
    assert answered.count(b"HTTP/1.1 200 OK") == 4
    writer.close()


async def test_old_clients_get_a_close(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.ports["local"])
    writer.write(b"GET /_sim/healthz HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(-1), 5)).endswith(b"{}")
    writer.close()
