"""Where texts stand in a client's body, of each format, and how they are written back.

Every string of a body is a text but for those that its format says are structure, and what really
is base64 or encrypted. So is a number of six digits and more in what tools are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from extproc.guard import Medium, Text
from extproc.guard.bodies import chat, messages, responses
from extproc.guard.bodies.reading import Reader
from extproc.guard.bodies.shapes import TOOL, Rule, Shape
from extproc.guard.bodies.splicing import Document, UnreadableError

__all__ = ["Body", "UnreadableError", "read_answer", "read_request"]


class Body(Protocol):
    """A body that has been looked into."""

    @property
    def texts(self) -> Sequence[Text]:
        """In the order of the body. None is empty."""
        ...

    @property
    def media(self) -> Sequence[Medium]:
        """Pictures, sound, video and files that are not text."""
        ...

    def written(self, values: Sequence[str]) -> bytes:
        """The body with these values instead of its texts', in their order and number (ValueError
        otherwise). What has not changed keeps its bytes; the very same object if nothing has."""
        ...


def read_request(body: bytes, format_: str) -> Body:
    """A client's request, which its format has accepted. Raises UnreadableError: it is no JSON, has
    a key twice, or more texts than anybody says (`reading.MOST_TEXTS`). KeyError: no such format.
    """
    return _read(body, _REQUESTS[format_])


def read_answer(body: bytes, format_: str) -> Body:
    """A whole answer in a client's format. Raises as `read_request` does."""
    return _read(body, _ANSWERS[format_])


_REQUESTS: Final[Mapping[str, Shape]] = {
    "chat": chat.CHAT,
    "completions": chat.COMPLETIONS,
    "embeddings": chat.EMBEDDINGS,
    "responses": responses.RESPONSES,
    "messages": messages.MESSAGES,
    "count_tokens": messages.MESSAGES,
}
_ANSWERS: Final[Mapping[str, Shape]] = {
    "chat": chat.CHAT_ANSWER,
    "completions": chat.COMPLETIONS_ANSWER,
    "embeddings": chat.EMBEDDINGS_ANSWER,
    "responses": responses.RESPONSES_ANSWER,
    "messages": messages.MESSAGES_ANSWER,
    "count_tokens": messages.COUNT,
}
_INSIDE: Final[Mapping[Rule, Shape]] = {
    Rule.SAID: TOOL,
    Rule.CALL: TOOL,
    Rule.OPAQUE: chat.SEALED,
    Rule.THOUGHT: messages.BLOCKS,
}


class _Read:
    """See `Body`."""

    __slots__ = ("_document", "media", "texts")

    def __init__(self, document: Document, texts: Sequence[Text], media: Sequence[Medium]) -> None:
        self._document = document
        self.texts = texts
        self.media = media

    def __repr__(self) -> str:
        return f"Body({len(self.texts)} texts, {len(self.media)} media)"

    def written(self, values: Sequence[str]) -> bytes:
        """See `Body`."""
        if len(values) != len(self.texts):
            raise ValueError(f"{len(values)} values for {len(self.texts)} texts")
        changed = [
            index
            for index, (text, value) in enumerate(zip(self.texts, values, strict=True))
            if text.value != value
        ]
        return self._document.written(values, changed) if changed else self._document.data


def _read(body: bytes, shape: Shape) -> _Read:
    reader = Reader(_INSIDE)
    document = reader.read(body, shape)
    return _Read(document, reader.texts, reader.media)
