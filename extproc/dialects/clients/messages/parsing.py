"""A client's body, read strictly: what its types cannot say is told in Anthropic's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from extproc.dialects import bodies
from extproc.dialects.clients.messages import problems
from extproc.dialects.clients.messages.request import (
    FIELDS,
    Block,
    Message,
    MessagesRequest,
    cited,
    content_of,
    decode,
    link_of,
    source_of,
)

T = TypeVar("T")


def parse(body: bytes, *, counts: bool = False) -> MessagesRequest:
    """Read a client's body; `counts`: its tokens are to be counted, no more. Raises ClientError
    (400) naming the field that is wrong."""
    tree = bodies.load(body, FIELDS)
    try:
        said = decode(body)
    except msgspec.ValidationError as error:
        raise problems.typed(error, tree) from None
    _check(said, tree, counts=counts)
    return said


_EMPTY: Final = (
    "all messages must have non-empty content except for the optional final assistant message"
)
_INPUT: Final = msgspec.json.Decoder(dict[str, Raw])
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "search_result": ("content", "source", "title"),
    "thinking": ("signature", "thinking"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "input", "name"),
    "tool_result": ("tool_use_id",),
}
_SOURCE_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "base64": ("data", "media_type"),
    "text": ("data",),
    "url": ("url",),
    "file": ("file_id",),
    "content": ("content",),
}
_INSIDE: Final = frozenset({"tool_result", "search_result"})


def _check(said: MessagesRequest, tree: dict[str, Any], *, counts: bool) -> None:
    if said.max_tokens is None and not counts:
        raise problems.missing(("max_tokens",), tree)
    user = said.user
    if user is not None and not isinstance(user, str):
        raise problems.wrong(("metadata", "user_id"), tree, problems.NAMES["str"])
    thinking = said.thinking
    if thinking is not None and thinking.type == "enabled" and thinking.budget_tokens is None:
        raise problems.missing(("thinking", "budget_tokens"), tree)
    _check_prompt(said, tree)
    _check_tools(said, tree)
    _check_choice(said, tree)


def _check_prompt(said: MessagesRequest, tree: dict[str, Any]) -> None:
    if isinstance(said.system, list):
        for index, block in enumerate(said.system):
            if block.type != "text":
                raise problems.wrong(("system", index, "type"), tree, "Input should be 'text'")
            _check_block(block, ("system", index), tree)
    last = len(said.messages) - 1
    for number, message in enumerate(said.messages):
        _check_message(message, ("messages", number), tree, last=number == last)


def _check_message(
    message: Message, place: problems.Path, tree: dict[str, Any], *, last: bool
) -> None:
    content = message.content
    if content is None:
        if message.role != "system" or not message.output_config:
            raise problems.missing((*place, "content"), tree)
    elif not content:
        if message.role != "assistant" or not last:
            raise problems.wrong(place, tree, _EMPTY)
    elif isinstance(content, list):
        for index, block in enumerate(content):
            _check_block(block, (*place, "content", index), tree)


def _check_block(block: Block, place: problems.Path, tree: dict[str, Any]) -> None:
    kind = block.type
    for name in _NEEDS.get(kind, ()):
        value = getattr(block, name)
        if value is None or (isinstance(value, Raw) and not value):
            raise problems.missing((*place, name), tree)
    if kind in ("image", "document"):
        _check_source(block, place, tree)
    elif kind in _INSIDE:
        if kind == "search_result":
            _within(lambda: (link_of(block), cited(block)), (*place, "source"), tree)
        inner = _within(lambda: content_of(block), (*place, "content"), tree)
        for index, one in enumerate(inner if isinstance(inner, list) else ()):
            _check_block(one, (*place, "content", index), tree)
    elif kind == "tool_use":
        _within(lambda: _INPUT.decode(block.input), (*place, "input"), tree)


def _check_source(block: Block, place: problems.Path, tree: dict[str, Any]) -> None:
    _within(lambda: cited(block), (*place, "citations"), tree)
    place = (*place, "source")
    source = _within(lambda: source_of(block), place, tree)
    for name in _SOURCE_NEEDS.get(source.type, ()):
        if not getattr(source, name):
            raise problems.missing((*place, name), tree)
    if source.type == "content":
        inner = _within(lambda: content_of(source), (*place, "content"), tree)
        for index, one in enumerate(inner if isinstance(inner, list) else ()):
            _check_block(one, (*place, "content", index), tree)


def _within(read: Callable[[], T], place: problems.Path, tree: dict[str, Any]) -> T:
    try:
        return read()
    except msgspec.ValidationError as error:
        raise problems.typed(error, tree, place) from None


def _check_tools(said: MessagesRequest, tree: dict[str, Any]) -> None:
    for index, tool in enumerate(said.tools or ()):
        if tool.custom:
            for name in ("name", "input_schema"):
                if getattr(tool, name) is None:
                    raise problems.missing(("tools", index, name), tree)


def _check_choice(said: MessagesRequest, tree: dict[str, Any]) -> None:
    choice, tools = said.tool_choice, said.tools or ()
    if choice is None:
        return
    if choice.type == "tool" and choice.name is None:
        raise problems.missing(("tool_choice", "name"), tree)
    if choice.type not in ("any", "tool") or said.mcp_servers or _brings_tools(said):
        return
    if not tools:
        raise problems.wrong(
            ("tool_choice",), tree, "tool_choice may only be specified while providing tools"
        )
    if choice.type == "tool" and all(tool.custom or tool.search for tool in tools):
        names = {tool.name for tool in tools}
        if choice.name not in names:
            message = f"Tool '{problems.shown(choice.name)}' not found in provided tools"
            raise problems.wrong(("tool_choice",), tree, message)


def _brings_tools(said: MessagesRequest) -> bool:
    """Tools stand among the messages."""
    return said.thread is not None or any(
        message.role == "system" and isinstance(message.content, list) for message in said.messages
    )
