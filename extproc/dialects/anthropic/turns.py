"""A conversation as turns of Anthropic's Messages API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc import strict_json
from extproc.dialects.anthropic import sources
from extproc.dialects.anthropic.blocks import (
    Block,
    CacheControl,
    DocumentBlock,
    ImageBlock,
    RedactedThinking,
    TextBlock,
    ThinkingBlock,
    ToolResult,
    ToolUse,
    Turn,
)
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.tool_arguments import arguments_object
from extproc.errors import ClientError

ANTHROPIC: Final = sources.Media()

FORMAT: Final = "anthropic-claude-v1"
"""The `format` of reasoning details that are Claude's own."""

FILLER: Final = "."
"""A turn that must exist and has nothing to say: the first turn must be the user's, and no turn
may be empty or white space."""

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
"""Of what a tool use id consists, and what it may not contain."""

SERVER_BLOCKS: Final = frozenset({"server_tool_use", "web_search_tool_result"})
"""Blocks of tools that Anthropic runs, which it wants back with the turn they came in."""


class Conversation(Struct):
    """What stands in `system`, and the turns: at least one, the first the user's, the two sides
    in alternation, none empty."""

    system: list[TextBlock] = []
    turns: list[Turn] = []
    files: bool = False
    """Something that was uploaded to the Files API is in it."""
    thinking: bool = False
    """Earlier thinking is in it."""
    cites: bool = False
    """A document is to be cited from."""
    detail: bool = False
    """An image was to be seen in some detail other than `auto`."""
    called: set[str] = set()
    """Names of tools that the model called."""
    images: bool = False
    """There were images that a model made; Claude makes none, and takes none back."""
    media: sources.Media = ANTHROPIC
    """How its images and files are written."""


def conversation(
    messages: Sequence[m.Message],
    *,
    thinking: bool,
    search: bool,
    media: sources.Media = ANTHROPIC,
) -> Conversation:
    """`thinking`: earlier thinking goes along; `search`: earlier web searches do. Raises
    ValueError for what the dialect lacks."""
    made = Conversation(media=media)
    turns = made.turns
    ids = _Ids()
    last = ""
    for message in messages:
        kind = type(message)
        role = _ROLES.get(kind)
        if role is None:
            made.system.extend(_texts(message.content, message.cache_control))  # type: ignore[union-attr]
            continue
        if role != last:
            last = role
            if (text := _text_alone(message)) is not None:
                turns.append(Turn(role, text))
                continue
            blocks: list[Block] = []
            turns.append(Turn(role, blocks))
        else:
            blocks = turns[-1].blocks()
        if kind is m.UserMessage:
            _add_user(blocks, message, made)  # type: ignore[arg-type]  # it is one
        elif kind is m.AssistantMessage:
            _add_assistant(blocks, message, made, ids, thinking=thinking, search=search)  # type: ignore[arg-type]  # it is one
        else:
            _add_result(blocks, message, made, ids)
        if not blocks:
            # Nothing was said: the neighbours are one turn.
            turns.pop()
            last = turns[-1].role if turns else ""
    if not turns and made.system:
        # Instructions alone are a prompt to OpenAI; here they have to be said by somebody.
        turns.append(Turn("user", list(made.system)))
        made.system = []
    if not turns or turns[0].role != "user":
        turns.insert(0, Turn("user", FILLER))
    _strip_end(turns[-1])
    return made


_ROLES: Final[dict[type, str]] = {
    m.UserMessage: "user",
    m.AssistantMessage: "assistant",
    m.ToolMessage: "user",
    m.FunctionMessage: "user",
}
"""Of messages that are turns; the others are instructions."""


def _text_alone(message: m.Message) -> str | None:
    """What is said, if nothing else is: the content is all of the message, and one text."""
    content = message.content
    if type(content) is not str or not content or content.isspace():
        return None
    if type(message) is m.UserMessage:
        return content if message.cache_control is None else None
    if type(message) is not m.AssistantMessage or (
        message.tool_calls
        or message.reasoning_details
        or message.function_call
        or message.images
        or message.cache_control
    ):
        return None
    return content


def in_loop_without_thinking(messages: Sequence[m.Message]) -> bool:
    """The conversation ends with results of tools, and the turn that called them did not begin
    with thinking: the API refuses to begin thinking there (extended-thinking, "Toggling thinking
    modes in conversations")."""
    first: m.AssistantMessage | None = None
    results = False
    for message in reversed(messages):
        if type(message) is m.AssistantMessage:
            if not results:
                break
            first, results = message, False
        elif type(message) in (m.ToolMessage, m.FunctionMessage):
            results = True
    return first is not None and not _is_thought(first)


def _is_thought(message: m.AssistantMessage) -> bool:
    return any(
        one.format == FORMAT and (one.signature or one.data)
        for one in message.reasoning_details or ()
    )


def drop_thinking(said: Conversation) -> None:
    """Earlier thinking means nothing to a model that does not think now."""
    for turn in said.turns:
        if not isinstance(turn.content, str):
            turn.content = [one for one in turn.content if not isinstance(one, _THOUGHT)]
    said.thinking = False


def _strip_end(turn: Turn) -> None:
    """The API: "final assistant content cannot end with trailing whitespace"."""
    if turn.role != "assistant":
        return
    if isinstance(turn.content, str):
        turn.content = turn.content.rstrip()
    elif isinstance(last := turn.content[-1], TextBlock):
        turn.content[-1] = TextBlock(last.text.rstrip(), last.cache_control)


# --- the sides ----------------------------------------------------------------------------


def _add_user(blocks: list[Block], message: m.UserMessage, made: Conversation) -> None:
    content = message.content
    if isinstance(content, str):
        blocks.extend(_texts(content, message.cache_control))
        return
    found = _parts(content, made)
    _mark(found, message.cache_control)
    blocks.extend(found)


def _add_assistant(
    blocks: list[Block],
    message: m.AssistantMessage,
    made: Conversation,
    ids: _Ids,
    *,
    thinking: bool,
    search: bool,
) -> None:
    said = message.content or message.refusal
    found: list[Block] = [*_texts(said, None)] if said else []
    if message.images:
        made.images = True
    for call in message.tool_calls or ():
        if type(call) is not m.FunctionCall:
            raise ValueError("a call that Anthropic lacks")
        called = call.function
        made.called.add(called.name)
        found.append(
            ToolUse(
                ids.of_call(call.id),
                called.name,
                arguments_object(called.arguments),
                call.cache_control,
            )
        )
    if message.function_call is not None:
        name = message.function_call.name
        made.called.add(name)
        arguments = arguments_object(message.function_call.arguments)
        found.append(ToolUse(ids.of_call("function_" + name), name, arguments))
    if message.cache_control is not None:
        _mark(found, message.cache_control)
    if message.reasoning_details:
        thoughts = _thoughts(message, thinking=thinking, search=search)
        if found or not all(isinstance(one, _THOUGHT) for one in thoughts):
            # A turn of thinking alone is refused.
            made.thinking |= any(isinstance(one, _THOUGHT) for one in thoughts)
            blocks.extend(thoughts)
    blocks.extend(found)


_THOUGHT: Final = (ThinkingBlock, RedactedThinking)


def _add_result(blocks: list[Block], message: Any, made: Conversation, ids: _Ids) -> None:
    """A tool's or a function's. Results stand first in the turn that answers the calls."""
    if type(message) is m.ToolMessage:
        given: Any = message.content
        if type(given) is not str:
            given = _parts(given, made)
        elif given.isspace():
            given = ""
        answered = ids.of_result(message.tool_call_id)
        result = ToolResult(answered, given, message.is_error or None, message.cache_control)
    else:
        result = ToolResult(ids.of_result("function_" + message.name), message.content or "")
    place = len(blocks)
    while place and type(blocks[place - 1]) is not ToolResult:
        place -= 1
    blocks.insert(place, result)


def _parts(content: Sequence[Any], made: Conversation) -> list[Any]:
    """Text that is empty or white space is refused by the API and left out."""
    found: list[TextBlock | ImageBlock | DocumentBlock] = []
    for part in content:
        kind = type(part)
        if kind is m.TextPart:
            if part.text and not part.text.isspace():
                found.append(TextBlock(part.text, part.cache_control))
        elif kind is m.ImagePart:
            made.detail |= part.image_url.detail not in (None, "auto")
            found.append(made.media.image(part))
        elif kind is m.FilePart:
            block = made.media.file(part)
            made.files |= block.source.type == "file"
            made.cites |= isinstance(block, DocumentBlock) and bool(
                (block.citations or {}).get("enabled")
            )
            found.append(block)
        else:
            found.append(made.media.audio(part))
    return found


def _texts(content: str | list[Any] | None, cache: CacheControl | None) -> list[TextBlock]:
    """Text blocks; those that are empty or white space are refused by the API and left out."""
    if isinstance(content, str):
        return [TextBlock(content, cache)] if content and not content.isspace() else []
    found: list[TextBlock] = []
    for part in content or ():
        if type(part) is m.RefusalPart:
            block = TextBlock(part.refusal)
        else:
            block = TextBlock(part.text, part.cache_control)
        if block.text and not block.text.isspace():
            found.append(block)
    _mark(found, cache)
    return found


def _mark(blocks: list[Any], cache: CacheControl | None) -> None:
    """A message's own mark is its last block's."""
    if cache is not None and blocks and blocks[-1].cache_control is None:
        blocks[-1] = msgspec.structs.replace(blocks[-1], cache_control=cache)


# --- what the model thought ---------------------------------------------------------------


def _thoughts(message: m.AssistantMessage, *, thinking: bool, search: bool) -> list[Block]:
    """The blocks that Claude gave; those of others, and those without a seal, are left out."""
    found: list[Block] = []
    own = [one for one in message.reasoning_details or () if one.format == FORMAT]
    searches = _searches(own) if search else {}
    for number, detail in enumerate(own):
        if detail.type == "reasoning.encrypted" and detail.data:
            if (block := searches.get(number)) is not None:
                found.append(block)
            elif thinking and not detail.data.startswith("{"):
                found.append(RedactedThinking(detail.data))
        elif detail.signature and thinking:
            text = detail.text
            if text is None:
                whole = message.reasoning_content or message.reasoning
                text = _rest(whole, own[:number], own[number + 1 :])
            found.append(ThinkingBlock(text, detail.signature))
    return found


def _rest(
    whole: str | None, before: Sequence[ReasoningDetail], after: Sequence[ReasoningDetail]
) -> str:
    """The text of the one block that came as a stream and therefore without it: what the others
    leave of the whole."""
    if whole is None:
        return ""
    for detail in before:
        whole = whole.removeprefix(detail.text or "")
    for detail in reversed(after):
        whole = whole.removesuffix(detail.text or "")
    return whole


def _searches(details: Sequence[ReasoningDetail]) -> dict[int, Raw]:
    """Blocks of a server's tools as `answer` kept them, by their place. A call without its result,
    as a turn that was paused ends with, is left out: the provider would make it again."""
    blocks: dict[int, dict[str, Any]] = {}
    for number, detail in enumerate(details):
        if detail.data is not None and detail.data.startswith("{"):
            try:
                block = strict_json.load(detail.data.encode())
            except ClientError:
                continue
            if block.get("type") in SERVER_BLOCKS:
                blocks[number] = block
    calls = {str(one.get("id")) for one in blocks.values()}
    results = {str(one.get("tool_use_id")) for one in blocks.values()}
    return {
        number: Raw(msgspec.json.encode(block))
        for number, block in blocks.items()
        if str(block.get("id", block.get("tool_use_id"))) in calls & results
    }


class _Ids:
    """Tool use ids as Anthropic takes them: of few characters, and unique in a conversation,
    which those that other providers gave need not be. A result belongs to the last call of its
    id."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._last: dict[str, str] = {}
        """Of calls whose ids could not stay as they were."""
        self._again: dict[str, int] = {}
        """The last number that an id of this form was given."""

    def of_call(self, one: str) -> str:
        # What is a name to Python fits, and is told sooner than by the pattern.
        made = one if one.isidentifier() and one.isascii() else _fitting(one)
        given = self._given
        if made in given:
            base, number = made, self._again.get(made, 1) + 1
            while (made := f"{base}_{number}") in given:
                number += 1
            self._again[base] = number
        given.add(made)
        if made is not one:
            self._last[one] = made
        return made

    def of_result(self, one: str) -> str:
        if self._last and one in self._last:
            return self._last[one]
        return one if one in self._given else _fitting(one)


def _fitting(one: str) -> str:
    if _ID.fullmatch(one):
        return one
    digest = hashlib.blake2b(one.encode(), digest_size=6).hexdigest()
    return f"{_NOT_ID.sub('_', one)[:40]}_{digest}"
