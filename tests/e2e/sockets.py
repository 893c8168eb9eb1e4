"""HTTP/1.1 by hand: what a client library would not send, byte for byte."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

CHAT = "/v1/chat/completions"
GOOD = b'{"model":"gpt-4-turbo","messages":[{"role":"user","content":"Hello"}]}'


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def exchange(port: int, sent: bytes, *, method: str = "POST", within: float = 20.0) -> Reply | None:
    """Send bytes and read one answer; None when the connection is closed without one.

    Raises TimeoutError when neither comes.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=within) as connection:
        # An answer may come, and the connection go, before everything is sent.
        with suppress(ConnectionError):
            connection.sendall(sent)
        answer = http.client.HTTPResponse(connection, method=method)
        try:
            answer.begin()
            body = answer.read()
        except (http.client.BadStatusLine, ConnectionError):
            return None
        finally:
            answer.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, headers, body)


def request(
    path: str = CHAT,
    body: bytes = GOOD,
    *headers: str,
    method: str = "POST",
    version: str = "HTTP/1.1",
    length: bool = True,
) -> bytes:
    """A request as bytes. `headers` are whole lines, sent as they are."""
    lines = [f"{method} {path} {version}", "host: gateway", "content-type: application/json"]
    if length:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join(framed) + b"0\r\n" + trailers + b"\r\n"


def error_of(answer: httpx.Response | Reply) -> dict[str, Any]:
    """OpenAI's error object, which must be all there is."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error["message"], str)
    return error
