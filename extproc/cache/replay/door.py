"""The client formats behind one door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc.cache.replay import chat, completions, messages, responses
from extproc.cache.replay.pieces import StreamError

ECHOED: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat": {"metadata": None},
    "responses": {
        "metadata": {},
        "prompt_cache_diagnostics": None,
        "prompt_cache_key": None,
        "prompt_cache_options": None,
        "prompt_cache_retention": None,
        "safety_identifier": None,
        "user": None,
    },
}
"""What an answer repeats of the request by which its asker may be known, and what stands there for
one who says nothing."""


class Asker(Struct, frozen=True):
    """What a request says that its answer repeats, or that says how it is sent."""

    usage: bool = False
    """Chat and completions: the chunk with usage is wanted (`stream_options.include_usage`)."""
    echoed: Mapping[str, Any] = {}
    """Fields out of `ECHOED` that the request gives."""

    @classmethod
    def of(cls, format_: str, given: Mapping[str, Any]) -> Asker:
        """By the fields of a request's body."""
        names = ECHOED.get(format_, {})
        options = given.get("stream_options")
        usage = isinstance(options, Mapping) and options.get("include_usage") is True
        return cls(usage, {name: given[name] for name in names if given.get(name) is not None})


def kept(answer: Mapping[str, Any], format_: str) -> bytes:
    """An answer as it may be kept: JSON, without what it repeats of its asker."""
    blank = ECHOED.get(format_, {})
    return _encode({name: blank.get(name, one) for name, one in answer.items()})


def whole(entry: bytes, format_: str, asker: Asker) -> bytes:
    """A kept answer as JSON for this asker. Raises StreamError for what cannot be read, if it has
    to be."""
    if not asker.echoed:
        return entry
    return _encode(_for(entry, format_, asker))


def events(entry: bytes, format_: str, asker: Asker) -> bytes:
    """A kept answer as the events of a stream, all of them. Raises KeyError for a format that has
    no streams, and StreamError for what is no answer of its format."""
    write = _WRITERS[format_]
    try:
        return write(_for(entry, format_, asker), usage=asker.usage)
    except (AttributeError, KeyError, TypeError) as error:
        raise StreamError(f"not an answer of {format_}") from error


def fold(stream: bytes, format_: str) -> dict[str, Any] | None:
    """The answer that a stream in a client format is, read. None: it did not end properly, failed,
    or cannot be read."""
    read = _READERS[format_]
    try:
        return read(stream)
    except (StreamError, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError,
            RecursionError):  # fmt: skip
        return None


def _for(entry: bytes, format_: str, asker: Asker) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = _decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"not an answer of {format_}") from error
    for name, one in asker.echoed.items():
        if name in answer or format_ == "responses":
            answer[name] = one
    return answer


_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_WRITERS: Final[Mapping[str, Callable[..., bytes]]] = {
    "chat": chat.write,
    "completions": completions.write,
    "messages": messages.write,
    "responses": responses.write,
}
_READERS: Final[Mapping[str, Callable[[bytes], dict[str, Any] | None]]] = {
    "chat": chat.read,
    "completions": completions.read,
    "messages": messages.read,
    "responses": responses.read,
}
