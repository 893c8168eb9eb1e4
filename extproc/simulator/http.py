"""HTTP/1.1 as a server reads it: strict, incremental, one request at a time.

A web framework would not do: this server must misbehave as providers do (reset before or within
an answer, dribble, fall silent), see heads byte for byte, and notice at once that a client left.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, cast

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
"""Twice what any of the providers takes, so that their own 413 can be given."""
PIPELINE_LIMIT = 1024 * 1024

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) HTTP/1\.([01])")
_NOT_TOKEN = bytes(set(range(256)) - set(b"!#$%&'*+-.^_`|~") - set(range(48, 58))
                   - set(range(65, 91)) - set(range(97, 123)))  # fmt: skip
_REASONS = {int(one): one.phrase for one in HTTPStatus} | {529: "Overloaded"}
_LINGER_RESET = struct.pack("ii", 1, 0)


class BadRequestError(Exception):
    """The bytes are no acceptable HTTP request. `status` is what to answer before closing."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Request:
    """One request. `head` is the head as received, without the blank line."""

    __slots__ = ("body", "head", "headers", "keep_alive", "method", "path", "query")

    def __init__(self, head: bytes) -> None:
        """Parse a head. Raises BadRequestError."""
        self.head = head
        self.body = b""
        lines = head.split(b"\r\n")
        found = _REQUEST_LINE.fullmatch(lines[0])
        if found is None:
            raise BadRequestError(400, "malformed request line")
        method, target, minor = found.groups()
        self.method = method.decode()
        path, _, query = target.decode("latin-1").partition("?")
        self.path = path
        self.query = query
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or len(name.translate(None, _NOT_TOKEN)) != len(name):
                raise BadRequestError(400, "malformed header line")
            key = name.decode("ascii").lower()
            text = value.strip(b" \t").decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self.headers = headers
        connection = headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection if minor == b"1" else "keep-alive" in connection

    @property
    def length(self) -> int | None:
        """Length of the body in bytes; None when it is chunked. Raises BadRequestError."""
        coding = self.headers.get("transfer-encoding")
        length = self.headers.get("content-length")
        if coding is not None:
            if length is not None:
                raise BadRequestError(400, "both content-length and transfer-encoding")
            if coding.lower() != "chunked":
                raise BadRequestError(501, "unknown transfer-encoding")
            return None
        if length is None:
            return 0
        if not (length.isascii() and length.isdigit()):
            raise BadRequestError(400, "malformed content-length")
        size = int(length)
        if size > BODY_LIMIT:
            raise BadRequestError(413, "body over the limit")
        return size


class Chunks:
    """Decodes a chunked body, cut anywhere."""

    __slots__ = ("_left", "_trailer", "body")

    def __init__(self) -> None:
        self.body = bytearray()
        self._left: int | None = None
        self._trailer = False

    def feed(self, data: bytearray) -> bool:
        """Take what can be taken from the front of `data`. True when the body is whole.
        Raises BadRequestError."""
        while True:
            if self._left is not None:
                if not self._take(data):
                    return False
                continue
            end = data.find(b"\r\n")
            if end < 0:
                if len(data) > HEAD_LIMIT:
                    raise BadRequestError(400, "chunk line too long")
                return False
            line = bytes(data[:end])
            del data[: end + 2]
            if self._trailer:
                if not line:
                    return True
                continue
            self._size(line)

    def _size(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip(b" \t")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
            raise BadRequestError(400, "malformed chunk size")
        size = int(digits, 16)
        if len(self.body) + size > BODY_LIMIT:
            raise BadRequestError(413, "body over the limit")
        if size:
            self._left = size
        else:
            self._trailer = True

    def _take(self, data: bytearray) -> bool:
        assert self._left is not None  # noqa: S101 - the caller looked
        taken = min(self._left, len(data))
        self.body += data[:taken]
        del data[:taken]
        self._left -= taken
        if self._left or len(data) < 2:  # noqa: PLR2004 - CR LF
            return False
        if data[:2] != b"\r\n":
            raise BadRequestError(400, "malformed chunk end")
        del data[:2]
        self._left = None
        return True


class Exchange(Protocol):
    """What goes on while a request is being answered."""

    def gone(self) -> None:
        """The client has left."""
        ...

    def drained(self) -> None:
        """The client takes bytes again."""
        ...


def head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """A response head."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Connection(asyncio.Protocol):
    """One TCP connection from a client.

    `serve(connection, request)` is called for each whole request; it, or an `Exchange` that it
    sets, writes the answer and ends with `done`, `close` or `reset`. Reading never pauses, so a
    client that leaves is noticed at once.
    """

    def __init__(
        self,
        serve: Callable[[Connection, Request], None],
        live: set[Connection],
        port: str,
    ) -> None:
        self._serve = serve
        self._live = live
        self.port = port
        self._buffer = bytearray()
        self._request: Request | None = None
        self._length: int | None = 0
        self._chunks: Chunks | None = None
        self._busy = False
        self._closed = False
        self.exchange: Exchange | None = None
        self.paused = False
        self._transport: asyncio.Transport | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client left, or we closed."""
        self._closed = True
        self._live.discard(self)
        self._buffer.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.gone()

    def pause_writing(self) -> None:
        """The client is slower than we."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self.paused = False
        if self.exchange is not None:
            self.exchange.drained()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._buffer += data
        if self._busy:
            if len(self._buffer) > PIPELINE_LIMIT:
                self.reset()
            return
        self._advance()

    # reading

    def _advance(self) -> None:
        try:
            while not self._busy and not self._closed:
                if not self._step():
                    return
        except BadRequestError as error:
            body = error.text.encode() + b"\n"
            self.write(
                head(
                    error.status,
                    [
                        ("content-type", "text/plain"),
                        ("content-length", str(len(body))),
                        ("connection", "close"),
                    ],
                )
                + body
            )
            self.close()

    def _step(self) -> bool:
        """Take a head or a body from the buffer. False when more bytes are needed."""
        buffer = self._buffer
        if self._request is None:
            while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: ignore empty lines before a request
                del buffer[:2]
            end = buffer.find(b"\r\n\r\n")
            if end < 0 or end > HEAD_LIMIT:
                if len(buffer) > HEAD_LIMIT:
                    raise BadRequestError(431, "head over the limit")
                return False
            self._request = request = Request(bytes(buffer[:end]))
            del buffer[: end + 4]
            self._length = request.length
            self._chunks = Chunks() if self._length is None else None
            if "100-continue" in request.headers.get("expect", "").lower():
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = self._request
        if self._chunks is not None:
            if not self._chunks.feed(buffer):
                return False
            request.body = bytes(self._chunks.body)
        elif self._length:
            if len(buffer) < self._length:
                return False
            request.body = bytes(buffer[: self._length])
            del buffer[: self._length]
        self._request = self._chunks = None
        self._busy = True
        self._serve(self, request)
        return True

    # answering

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._closed and self._transport is not None:
            self._transport.write(data)

    def done(self, *, keep_alive: bool = True) -> None:
        """The answer is whole."""
        self.exchange = None
        self._busy = False
        if not keep_alive:
            self.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def drop(self) -> None:
        """Reset, whatever is going on."""
        if self.exchange is not None:
            self.exchange.gone()
        self.reset()

    def close(self) -> None:
        """Close once everything is sent."""
        self.exchange = None
        if not self._closed and self._transport is not None:
            self._closed = True
            self._transport.close()

    def reset(self) -> None:
        """Reset the connection: the client sees ECONNRESET. Bytes not yet sent are lost."""
        self.exchange = None
        if self._closed or self._transport is None:
            return
        self._closed = True
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._transport.abort()
