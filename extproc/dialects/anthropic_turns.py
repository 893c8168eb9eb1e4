"""An OpenAI conversation as turns of Anthropic's Messages API."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from msgspec import Raw, Struct

from extproc.dialects import messages as m
from extproc.dialects.tool_arguments import arguments_object

FILLER: Final = "."
"""A turn that must exist and has nothing to say: the first turn must be the user's, and no turn
may be empty or white space."""

_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
"""What a tool use id may not contain."""


class TextBlock(Struct, frozen=True, gc=False, tag_field="type", tag="text", omit_defaults=True):
    """Text."""

    text: str
    cache_control: dict[str, Any] | None = None


class ToolUse(Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call that the model made in an earlier turn."""

    id: str
    name: str
    input: Raw


class ToolResult(Struct, frozen=True, tag_field="type", tag="tool_result", omit_defaults=True):
    """What a call gave."""

    tool_use_id: str
    content: list[TextBlock] | str = ""


Block = TextBlock | ToolUse | ToolResult


class Turn(Struct, gc=False):
    """Consecutive messages of one side. A single text stands as it is."""

    role: str
    content: list[Block] | str

    def blocks(self) -> list[Block]:
        """The content as a list that can be added to."""
        if isinstance(self.content, str):
            self.content = [TextBlock(self.content)]
        return self.content


def turns_of(messages: list[m.Message]) -> tuple[list[TextBlock], list[Turn]]:
    """What stands in `system`, and the turns: at least one, the first the user's, the two sides
    in alternation, none empty. Raises ValueError for a part that the dialect lacks."""
    system: list[TextBlock] = []
    turns: list[Turn] = []
    ids = _Ids()
    for message in messages:
        role = _ROLES.get(type(message))
        if role is None:
            system.extend(_blocks(message.content))
            continue
        if not turns or turns[-1].role != role:
            if said := _only_text(message):
                turns.append(Turn(role, said))
                continue
            turns.append(Turn(role, []))
        blocks = turns[-1].blocks()
        _add(blocks, message, ids)
        if not blocks:
            # Nothing was said: the neighbours are one turn.
            turns.pop()
    if not turns and system:
        # Instructions alone are a prompt to OpenAI; here they have to be said by somebody.
        return [], [Turn("user", list(system))]
    if not turns or turns[0].role != "user":
        turns.insert(0, Turn("user", FILLER))
    _strip_end(turns[-1])
    return system, turns


_ROLES: Final[dict[type, str]] = {
    m.UserMessage: "user",
    m.AssistantMessage: "assistant",
    m.ToolMessage: "user",
    m.FunctionMessage: "user",
}
"""Of messages that are turns; the others are instructions."""


def _only_text(message: m.Message) -> str | None:
    """The text of a message that has nothing else and is worth a turn."""
    content = message.content
    if not isinstance(content, str) or not content or content.isspace():
        return None
    if type(message) is m.ToolMessage:
        return None
    if type(message) is m.AssistantMessage and message.tool_calls:
        return None
    return content


def _strip_end(turn: Turn) -> None:
    """The API: "final assistant content cannot end with trailing whitespace"."""
    if turn.role != "assistant":
        return
    if isinstance(turn.content, str):
        turn.content = turn.content.rstrip()
    elif isinstance(last := turn.content[-1], TextBlock):
        turn.content[-1] = TextBlock(last.text.rstrip(), last.cache_control)


def _add(blocks: list[Block], message: m.Message, ids: _Ids) -> None:
    if isinstance(message, m.ToolMessage):
        # Results stand first in the turn that answers the calls.
        place = sum(isinstance(one, ToolResult) for one in blocks)
        answered = ids.of_result(message.tool_call_id)
        blocks.insert(place, ToolResult(answered, _result(message.content)))
        return
    blocks.extend(_blocks(message.content))
    if isinstance(message, m.AssistantMessage):
        if message.refusal and not message.content:
            blocks.extend(_blocks(message.refusal))
        for call in message.tool_calls or ():
            if isinstance(call, m.FunctionCall):
                called = call.function
                arguments = arguments_object(called.arguments)
                blocks.append(ToolUse(ids.of_call(call.id), called.name, arguments))


def _blocks(content: str | list[Any] | None) -> list[TextBlock]:
    """Text blocks; those that are empty or white space are refused by the API and left out."""
    if isinstance(content, str):
        return [TextBlock(content)] if content and not content.isspace() else []
    found = []
    for part in content or ():
        if isinstance(part, m.TextPart):
            block = TextBlock(part.text, part.cache_control)
        elif isinstance(part, m.RefusalPart):
            block = TextBlock(part.refusal)
        else:
            raise ValueError("a part that Anthropic lacks")  # noqa: TRY004 - becomes a refusal
        if block.text and not block.text.isspace():
            found.append(block)
    return found


def _result(content: str | list[m.TextPart]) -> str | list[TextBlock]:
    if isinstance(content, str):
        return "" if content.isspace() else content
    return _blocks(content)


class _Ids:
    """Tool use ids as Anthropic takes them: of few characters, and unique in a conversation,
    which those that other providers gave need not be. A result belongs to the last call of its
    id."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._last: dict[str, str] = {}

    def of_call(self, one: str) -> str:
        made = base = _fitting(one)
        number = 1
        while made in self._given:
            number += 1
            made = f"{base}_{number}"
        self._given.add(made)
        self._last[one] = made
        return made

    def of_result(self, one: str) -> str:
        return self._last.get(one) or _fitting(one)


def _fitting(one: str) -> str:
    if one and not _ID.search(one):
        return one
    digest = hashlib.blake2b(one.encode(), digest_size=6).hexdigest()
    return f"{_ID.sub('_', one)[:40]}_{digest}"
