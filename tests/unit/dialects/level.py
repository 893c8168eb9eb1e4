"""One level of a chain as its filter uses it: a client's format over a provider's dialect."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from extproc.dialects import (
    ClientFormat,
    Counted,
    Dialect,
    Failure,
    Passed,
    Reply,
    StreamReader,
    Wire,
    formats,
)
from extproc.dialects.chat.completion import Completion
from extproc.errors import ClientError
from extproc.policy import TargetPolicy

FORMATS = formats()


def policy(dialect: str = "openai", **fields: Any) -> TargetPolicy:
    found = {"provider": "p", "system": dialect, "dialect": dialect, "model": "m", **fields}
    return msgspec.convert(found, TargetPolicy)


PLAIN = {
    "chat": b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    "completions": b'{"model":"m","prompt":"hi"}',
    "embeddings": b'{"model":"m","input":"hi"}',
    "responses": b'{"model":"m","input":"hi"}',
    "messages": b'{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"hi"}]}',
    "count_tokens": b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
}
"""A plain request in each format."""


class Level:
    """`body` is what the client sends: answers are those to the last request, else to a plain
    one."""

    def __init__(
        self, dialect: Dialect, format_: str = "chat", body: bytes = b"", **target: Any
    ) -> None:
        self.dialect = dialect
        self.format: ClientFormat = FORMATS[format_]
        self.target = policy(dialect.name, **target)
        self.native = dialect.native(format_, self.target)
        self._body = body or PLAIN[format_]
        self._reply = Reply()
        with contextlib.suppress(ClientError):
            # What the dialect refuses altogether it has no answers to either.
            made = dialect.write(self.format.decode(self._body), self._body, self.target)
            self._reply = made.reply if isinstance(made, Wire) else Reply()

    def lacks(self, body: bytes) -> str | None:
        return self.dialect.lacks(self.format.parse(body), self.target)

    def request(self, body: bytes, **target: Any) -> Wire:
        """Raises ClientError."""
        made = self.asked(body, **target)
        assert isinstance(made, Wire)
        return made

    def asked(self, body: bytes, **target: Any) -> Wire | Counted:
        where = msgspec.structs.replace(self.target, **target)
        made = self.dialect.write(self.format.decode(body), body, where)
        self._body = body
        if isinstance(made, Wire):
            self._reply = made.reply
        return made

    def answer(self, body: bytes) -> Passed:
        """Raises BadAnswerError."""
        if self.native:
            return Passed(body, self.format.look(body))
        read = self.dialect.read(body, self._reply)
        if isinstance(read, Passed):
            return read
        refused = isinstance(read, Completion) and read.refused
        return Passed(self.format.whole(read, self.format.decode(self._body)), refused)

    def stream(self) -> StreamReader:
        if self.native:
            return self.format.watch()
        writer = self.format.writer(self.format.decode(self._body))
        return self.dialect.stream(writer, self._reply)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return self.dialect.failure(status, headers, body)
