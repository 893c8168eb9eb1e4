"""Events of a stream: cut out of its bytes, read as JSON, written again."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from extproc.framing import Framing

Tree = dict[str, Any]
_BOM: Final = b"\xef\xbb\xbf"
_LINES: Final = re.compile(rb"\r\n|\n|\r")
_FEED: Final = 2
"""Ends of line of an event as they are nearly always sent: of its data, and the blank one."""


class Part(NamedTuple):
    """A piece of a stream: an event with its data, or, with no data, bytes that pass unread."""

    event: bytes
    data: bytes = b""
    name: bytes = b""


class Cutter(Framing):
    """Gives the events of a stream instead of bytes."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Part] = []

    @property
    def between(self) -> bool:
        """Nothing of an event is held: what comes next begins one."""
        return self._plain

    def take(self, data: bytes) -> list[Part]:
        """What is whole with `data`."""
        self.feed(data)
        return self._given()

    def rest(self) -> list[Part]:
        """The stream has ended: what of its last event can still be read."""
        self.end()
        return self._given()

    def _given(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts

    def _payload(self, data: bytes, event: bytes, name: bytes) -> bytes:
        self._parts.append(Part(event, data, name))
        return event

    def _passed(self, piece: bytes) -> bytes:
        self._parts.append(Part(piece))
        return piece


class LongCutter(Cutter):
    """For a format whose last event repeats the whole answer, images in base64 included."""

    __slots__ = ()

    cap: ClassVar[int] = 32 << 20


def _kept(text: str) -> msgspec.Raw:
    """A number that is no integer keeps its spelling."""
    return msgspec.Raw(text.encode())


_decode: Final = msgspec.json.Decoder(float_hook=_kept).decode


def read(data: bytes) -> Tree | None:
    """The object that an event's data is; None for anything else."""
    try:
        tree = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Half of a surrogate pair is no text, but a server that cuts by UTF-16 sends them.
        try:
            tree = json.loads(data)
        except (ValueError, RecursionError):
            return None
    return tree if type(tree) is dict else None


def written(tree: Tree) -> bytes:
    """The data of an event that holds `tree`."""
    try:
        return msgspec.json.encode(tree)
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(tree, separators=(",", ":"), default=_spelled).encode()


def _spelled(number: msgspec.Raw) -> float:
    return float(bytes(number))


def event(tree: Tree, name: bytes = b"") -> bytes:
    """An event of our own."""
    head = b"event: %b\n" % name if name else b""
    return head + b"data: " + written(tree) + b"\n\n"


def again(part: Part, tree: Tree) -> bytes:
    """An event with other data: its name, id and comments stay."""
    data = written(tree)
    if part.event.startswith(b"data: ") and part.event.count(b"\n") == _FEED:
        return b"data: " + data + b"\n\n"
    lines: list[bytes] = []
    told = False
    bom = _BOM if part.event.startswith(_BOM) else b""
    for line in _LINES.split(part.event.removeprefix(_BOM)):
        if line.partition(b":")[0] != b"data":
            if line:
                lines.append(line)
        elif not told:
            told = True
            lines.append(b"data: " + data)
    return bom + b"\n".join(lines) + b"\n\n"
