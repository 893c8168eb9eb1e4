"""The most input tokens that a client's body can come to, whichever model reads it.

Tokenizers of language models cut text into pieces of one byte of UTF-8 or more (byte-level BPE, or
SentencePiece that falls back on bytes), some after bringing it into Unicode's form NFC or NFKC. A
body in JSON is no shorter than all the text in it, so its length is a bound; what providers put
around messages and tools, and how they write schemas, is allowed for beside it. There is none where
the text is elsewhere (a link, a file's id, a conversation that the provider keeps), where the
provider adds some (a search, a tool that it runs), or where nothing is known of the field.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from extproc.dialects import chat
from extproc.dialects.clients import completions, embeddings
from extproc.dialects.clients.messages import request as messages
from extproc.dialects.clients.responses import request as responses

REQUEST: Final = 1024
"""Tokens of what a chat template says before the first message: some 100 for gpt-oss and Llama, and
about 500 for Cohere's Command A, whose reference answers 496 to a prompt of 5."""
MESSAGE: Final = 32
"""Tokens of roles and separators, for a message or a part of one, with what the gateway itself puts
around a document."""
DOCUMENT: Final = 128
"""Tokens around a document or a search result: tags, written out, of which each byte might be
one."""
TOOLS: Final = 2048
"""Tokens with which a provider explains that there are tools. Anthropic's table goes to 804;
Cohere's explanation is the longest."""
SPELLED: Final = 4
"""A byte of a schema comes to at most so many tokens: templates indent it (a bracket becomes a
line), escape it as ASCII (`中`, 6 for 3), or say it a second time."""
IMAGE: Final = 50_000
"""Tokens of an image, which providers scale down. The dearest is gpt-4o-mini's: 2,833 and 5,667 for
each of 8 tiles, 48,169; Anthropic's, Google's and Qwen's are below 17,000."""

_IMAGE: Final = re.compile(r"data:image/(?:png|jpe?g|gif|webp)[;,]", re.IGNORECASE)
_TEXT: Final = re.compile(r"data:text/[a-z.+-]+[;,]", re.IGNORECASE)
_ESCAPED: Final = b"\\u"


class _NoBoundError(Exception):
    """Somewhere is something that cannot be bounded."""


def bound(format_: str, body: bytes) -> int | None:
    """Tokens that a body, which its format's `parse` has accepted, cannot pass; None if there is no
    telling. Takes some milliseconds for a megabyte."""
    tree = msgspec.json.decode(body)
    try:
        found = _READERS[format_](tree)
    except _NoBoundError:
        return None
    return _length(body, tree) + found


def _length(body: bytes, tree: Any) -> int:
    """Bytes of the body in the longest form that a tokenizer may give it."""
    if body.isascii():
        if _ESCAPED not in body:
            return len(body)
        written = msgspec.json.encode(tree)
        if written.isascii():
            return len(body)
    else:
        written = body if _ESCAPED not in body else msgspec.json.encode(tree)
    text = written.decode()
    forms = (unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text))
    return max(len(body), *(len(one.encode()) for one in forms))


def _known(tree: Mapping[str, Any], known: Collection[str], never: Iterable[str]) -> None:
    """Nothing is there that could bring more in: of fields that the format does not have only
    numbers are taken, which sampling parameters are."""
    for name in never:
        if tree.get(name) not in (None, False, [], {}):
            raise _NoBoundError
    for name, value in tree.items():
        if name not in known and value is not None and type(value) not in (int, float):
            raise _NoBoundError


def _spelled(*definitions: Any) -> int:
    """What schemas come to beyond their length, which the body's has."""
    given = [one for one in definitions if one]
    return sum((SPELLED - 1) * len(msgspec.json.encode(one)) for one in given)


def _told(tools: Any) -> int:
    return TOOLS + MESSAGE * len(tools) + _spelled(tools) if tools else 0


def _image(url: Any, more: str = "") -> int:
    """An image inline, in place of its base64, which is no text. `more`: what belongs to the URL
    and stands beside it. Raises _NoBoundError: it is somewhere else."""
    if not isinstance(url, str) or not _IMAGE.match(url[:32]):
        raise _NoBoundError
    return IMAGE - len(more or url)


def _file(file: Any, *links: str) -> int:
    """A file inline that is text, whose base64 is longer than it."""
    if not isinstance(file, dict) or any(file.get(one) for one in links):
        raise _NoBoundError
    data = file.get("file_data")
    if not isinstance(data, str) or not _TEXT.match(data[:64]):
        raise _NoBoundError
    return DOCUMENT


def _each(content: Any, part: Callable[[dict[str, Any]], int]) -> int:
    return sum(part(one) for one in content) if isinstance(content, list) else 0


# --- chat completions, and what is older ------------------------------------------------------


def _chat(tree: dict[str, Any]) -> int:
    _known(tree, chat.FIELDS, ("web_search_options", "prediction"))
    tools = (tree.get("tools") or []) + (tree.get("functions") or [])
    if any(":" in one.get("type", "") for one in tools):
        raise _NoBoundError  # one that its vendor runs
    found = REQUEST + _told(tools) + _spelled(tree.get("response_format"))
    for message in tree["messages"]:
        found += MESSAGE + _each(message.get("content"), _chat_part)
        if message["role"] == "assistant":
            if message.get("audio"):
                raise _NoBoundError
            found += MESSAGE * len(message.get("tool_calls") or ())
            found += _each(message.get("images"), _picture)
    return found


def _chat_part(part: dict[str, Any]) -> int:
    kind = part["type"]
    if kind in ("text", "refusal"):
        return MESSAGE
    if kind == "image_url":
        return MESSAGE + _picture(part)
    if kind == "file":
        return MESSAGE + _file(part["file"], "file_id", "file_url")
    raise _NoBoundError


def _picture(part: dict[str, Any]) -> int:
    given = part.get("image_url")
    return _image(given.get("url") if isinstance(given, dict) else given)


def _completions(tree: dict[str, Any]) -> int:
    _known(tree, completions.FIELDS, ())
    return _inputs(tree.get("prompt"))


def _embeddings(tree: dict[str, Any]) -> int:
    _known(tree, embeddings.FIELDS, ())
    return _inputs(tree.get("input"))


def _inputs(given: Any) -> int:
    """Texts, or tokens, of which each takes a digit and a comma."""
    return REQUEST + MESSAGE * (len(given) if isinstance(given, list) else 1)


# --- Anthropic's messages ---------------------------------------------------------------------


def _messages(tree: dict[str, Any]) -> int:
    _known(tree, messages.FIELDS, ("compaction", "container", "fallbacks", "mcp_servers", "thread"))
    tools = tree.get("tools") or []
    if any(one.get("type") not in (None, "custom") for one in tools):
        raise _NoBoundError  # Anthropic runs it, or describes it
    managed = tree.get("context_management")
    if isinstance(managed, dict) and managed.get("edits"):
        raise _NoBoundError  # one of its edits is another reading of the prompt
    config = tree.get("output_config")
    found = REQUEST + _told(tools) + _spelled(config, tree.get("output_format"))
    found += _each(tree.get("system"), _block)
    for message in tree["messages"]:
        found += MESSAGE + _each(message.get("content"), _block)
    return found


_PLAIN: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""Thinking that is sealed is longer than what it seals."""


def _block(block: dict[str, Any]) -> int:
    kind = block["type"]
    if kind in _PLAIN:
        return MESSAGE
    if kind == "tool_result":
        return MESSAGE + _each(block.get("content"), _block)
    if kind == "search_result":
        return DOCUMENT + _each(block.get("content"), _block)
    source = block.get("source")
    if not isinstance(source, dict):
        raise _NoBoundError
    if kind == "image" and source.get("type") == "base64":
        return MESSAGE + _image(f"data:{source.get('media_type')};base64,", source["data"])
    if kind == "document" and source.get("type") in ("text", "content"):
        return DOCUMENT + _each(source.get("content"), _block)
    raise _NoBoundError


# --- responses --------------------------------------------------------------------------------


_ELSEWHERE: Final = (
    "context_management",
    "conversation",
    "image",
    "previous_response_id",
    "prompt",
)


def _responses(tree: dict[str, Any]) -> int:
    _known(tree, responses.FIELDS, _ELSEWHERE)
    tools = tree.get("tools") or []
    if any(one.get("type") not in ("function", "custom") for one in tools):
        raise _NoBoundError  # OpenAI runs it
    found = REQUEST + _told(tools) + _spelled(tree.get("text"))
    return found + MESSAGE + _each(tree.get("input"), _item)


_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def _item(item: dict[str, Any]) -> int:
    kind = item.get("type") or ("message" if item.get("role") is not None else "")
    if kind in _CALLS:
        return MESSAGE
    if kind in _RESULTS:
        return MESSAGE + _each(item.get("output"), _item_part)
    if kind in ("message", "reasoning"):
        parts = (item.get("content"), item.get("summary"))
        return MESSAGE + sum(_each(one, _item_part) for one in parts)
    raise _NoBoundError


_SAID: Final = frozenset({"input_text", "output_text", "refusal", "summary_text", "reasoning_text"})


def _item_part(part: dict[str, Any]) -> int:
    kind = part["type"]
    if kind in _SAID:
        return MESSAGE
    if kind == "input_image" and part.get("file_id") is None:
        return MESSAGE + _image(part.get("image_url"))
    if kind == "input_file":
        return MESSAGE + _file(part, "file_id", "file_url")
    raise _NoBoundError


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], int]]] = {
    "chat": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "messages": _messages,
    "count_tokens": _messages,
    "responses": _responses,
}
"""By the format's name: tokens beyond the bytes of the body."""
