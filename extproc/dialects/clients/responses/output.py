"""Items of an answer, as OpenAI writes them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.chat.completion import ToolCall

_encode: Final = msgspec.json.encode
_NUMBERS: Final = ("start_index", "end_index")


class Top(Struct, frozen=True):
    """A token that was likely, too."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class Token(Struct, frozen=True):
    """A token of the answer."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[Top] | None = None


class Logprobs(Struct, frozen=True):
    """Chat completions' object."""

    content: list[Token] | None = None


_LOGPROBS: Final = msgspec.json.Decoder(Logprobs)


def logprobs(given: bytes | dict[str, Any] | None) -> bytes:
    """Tokens of chat completions' object as a list, JSON, each with its bytes, without the
    brackets. What is none is left out: the text counts, not what a server says of it."""
    if given is None:
        return b""
    try:
        found = (
            _LOGPROBS.decode(given)
            if isinstance(given, bytes)
            else msgspec.convert(given, Logprobs)
        )
    except msgspec.ValidationError:
        return b""
    return _encode([_token(token) for token in found.content or ()])[1:-1]


def _token(token: Token) -> Token:
    tops = [Top(top.token, top.logprob, _bytes(top)) for top in token.top_logprobs or ()]
    return Token(token.token, token.logprob, _bytes(token), tops)


def _bytes(token: Token | Top) -> list[int]:
    return list(token.token.encode()) if token.bytes is None else token.bytes


def annotation(found: dict[str, Any]) -> dict[str, Any]:
    """A citation, whose fields stand one level higher than in chat completions."""
    kind = found.get("type")
    inner = found.get(kind) if isinstance(kind, str) else None
    flat = dict(inner if isinstance(inner, dict) else found)
    flat.pop("type", None)
    if kind == "file_citation" and isinstance(flat.get("file_id"), str):
        flat.setdefault("filename", "")
        flat.setdefault("index", 0)
        return {"type": kind, **flat}
    for name in _NUMBERS:
        if not isinstance(flat.get(name), int):
            flat[name] = 0
    for name in ("url", "title"):
        if not isinstance(flat.get(name), str):
            flat[name] = ""
    return {"type": "url_citation", **flat}


def text_part(text: bytes, annotations: bytes = b"", tokens: bytes = b"") -> bytes:
    """Text, given as a JSON string literal; lists without their brackets."""
    return b'{"type":"output_text","annotations":[%b],"logprobs":[%b],"text":%b}' % (
        annotations,
        tokens,
        text,
    )


def refusal_part(text: bytes) -> bytes:
    """A refusal, given as a JSON string literal."""
    return b'{"type":"refusal","refusal":' + text + b"}"


def summary_part(text: bytes) -> bytes:
    """Thinking, given as a JSON string literal."""
    return b'{"type":"summary_text","text":' + text + b"}"


def message(id_: bytes, status: bytes, content: bytes = b"") -> bytes:
    """What the model said. `content` is its parts, with commas between."""
    return b'{"id":%b,"type":"message","status":%b,"content":[%b],"role":"assistant"}' % (
        id_,
        status,
        content,
    )


def reasoning(id_: bytes, summary: bytes = b"", sealed: bytes = b"null") -> bytes:
    """What the model thought."""
    return b'{"id":%b,"type":"reasoning","encrypted_content":%b,"summary":[%b]}' % (
        id_,
        sealed,
        summary,
    )


def call(id_: bytes, call_: ToolCall, status: bytes, arguments: bytes, *, custom: bool) -> bytes:
    """A call of a tool. `arguments` is a JSON string literal."""
    call_id, name = _encode(call_.id), _encode(call_.function.name)
    if custom:
        return (
            b'{"id":%b,"type":"custom_tool_call","status":%b,"call_id":%b,"input":%b,"name":%b}'
            % (id_, status, call_id, arguments, name)
        )
    return b'{"id":%b,"type":"function_call","status":%b,"arguments":%b,"call_id":%b,"name":%b}' % (
        id_,
        status,
        arguments,
        call_id,
        name,
    )


def image(id_: bytes, url: str) -> bytes:
    """An image that the model made, from a `data:` URL."""
    head, mark, data = url.partition(";base64,")
    kind = head.removeprefix("data:image/") if mark else None
    return _encode(
        {
            "id": Raw(id_),
            "type": "image_generation_call",
            "status": "completed",
            "output_format": kind if kind in _FORMATS else None,
            "result": data if mark else url,
        }
    )


_FORMATS: Final = frozenset({"png", "webp", "jpeg", "gif", "svg"})
