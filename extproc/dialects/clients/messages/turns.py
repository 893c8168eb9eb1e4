"""Turns as chat messages.

Consecutive messages of one side are one turn, as the API has it. In a turn of the user, results of
tools come first; one of the model is one message, whatever stood between its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from extproc.dialects.anthropic.turns import FORMAT, SERVER_BLOCKS
from extproc.dialects.chat import messages as chat
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.clients.messages import parts, problems, thoughts
from extproc.dialects.clients.messages.request import Block, Message, content_of
from extproc.dialects.tool_arguments import compact

_ONLY: Final = "only a target that speaks the Messages API"
_DROPPED_BLOCKS: Final = frozenset({"fallback"})
"""Blocks that say how an answer came about, and nothing to a model."""


class Turns:
    """Takes all messages. `native` says why only a native target can serve them, if so; `dropped`
    is what went without."""

    def __init__(self) -> None:
        self.messages: list[chat.Message] = []
        self.native: str | None = None
        self.dropped: list[str] = []

    def add(self, messages: Sequence[Message]) -> None:
        """A whole conversation. Raises ClientError (400) for sealed thinking that was changed."""
        count, number = len(messages), 0
        last_user: int | None = None
        while number < count:
            message = messages[number]
            role = message.role
            end = number + 1
            while end < count and messages[end].role == role:
                end += 1
            if role == "system":
                if last_user is None:
                    places = range(count - 1, -1, -1)
                    last_user = next((one for one in places if messages[one].role == "user"), -1)
                for said in messages[number:end]:
                    self._instruct(said, last=number > last_user)
            elif end == number + 1 and (made := self._single(message)) is not None:
                self.messages.append(made)
            elif role == "user":
                self._user(messages[number:end])
            else:
                self._assistant(messages[number:end], number)
            number = end

    def _single(self, message: Message) -> chat.Message | None:
        """A turn that is one unmarked text, one call or one result, as most are; None: it is
        more."""
        content = message.content
        kind = chat.UserMessage if message.role == "user" else chat.AssistantMessage
        if isinstance(content, str):
            return kind(content)
        if not content or len(content) > 1:
            return None
        block = content[0]
        if block.type == "text" and block.cache_control is None:
            return kind(block.text or "")
        if block.type == "tool_use" and kind is chat.AssistantMessage:
            return chat.AssistantMessage(None, tool_calls=[self._call(block, None)])
        if block.type == "tool_result" and kind is chat.UserMessage:
            return self._result(block)
        return None

    # --- instructions ---------------------------------------------------------------------

    def _instruct(self, message: Message, *, last: bool) -> None:
        """`last`: no message of the user follows."""
        if message.output_config:
            self._drop("messages.output_config")
        if message.clear_at == "next_user_message" and not last:
            return
        content = message.content
        if isinstance(content, list):
            for block in content:
                if block.type != "text":
                    self._unknown(block)
        if text := instructions(content or ""):
            self.messages.append(chat.SystemMessage(content=text))

    # --- the user's -----------------------------------------------------------------------

    def _user(self, turn: Sequence[Message]) -> None:
        made: list[chat.UserPart] = []
        for message in turn:
            content = message.content
            if isinstance(content, str):
                made.append(chat.TextPart(content))
                continue
            for block in content or ():
                if block.type == "tool_result":
                    self.messages.append(self._result(block))
                elif block.type == "text":
                    made.append(chat.TextPart(block.text or "", block.cache_control))
                else:
                    made += self._translated(block)
        if made:
            first = made[0]
            plain = len(made) == 1 and _is_plain(first)
            text: Any = first.text if plain else made  # type: ignore[union-attr]
            self.messages.append(chat.UserMessage(text))

    def _result(self, block: Block) -> chat.ToolMessage:
        inner = content_of(block)
        content: str | list[chat.TextPart | chat.ImagePart | chat.FilePart]
        if isinstance(inner, str):
            content = inner
        else:
            content = [part for one in inner for part in self._translated(one)]
            if len(content) == 1 and _is_plain(content[0]):
                content = content[0].text  # type: ignore[union-attr]  # `_is_plain` has seen to it
        if block.toolset_name is not None:
            self._toolset(block)
        return chat.ToolMessage(
            content, block.tool_use_id or "", block.is_error or None, block.cache_control
        )

    def _translated(self, block: Block) -> list[chat.TextPart | chat.ImagePart | chat.FilePart]:
        if block.type not in parts.KNOWN:
            self._unknown(block)
            return []
        try:
            made = parts.of(block)
        except parts.NativeError as error:
            self._only(str(error))
            return []
        if block.transformations:
            self._drop("image.transformations")
        return made

    # --- the model's ----------------------------------------------------------------------

    def _assistant(self, turn: Sequence[Message], number: int) -> None:
        """`number`: the place of the first message."""
        said: list[chat.TextPart] = []
        calls: list[chat.FunctionCall | chat.CustomCall] = []
        thought: _Thought | None = None
        for place, message in enumerate(turn, number):
            content = message.content
            if isinstance(content, str):
                said.append(chat.TextPart(content))
                continue
            for index, block in enumerate(content or ()):
                kind = block.type
                if kind == "text":
                    said.append(chat.TextPart(block.text or "", block.cache_control))
                elif kind == "tool_use":
                    calls.append(self._call(block, thought))
                elif kind in _THOUGHTS and not _runs_other(block):
                    thought = thought or _Thought()
                    thought.add(block, f"messages.{place}.content.{index}")
                else:
                    self._unknown(block)
        made = None
        if said or calls:
            made = chat.AssistantMessage(_joined(said), tool_calls=calls or None)
        if thought is not None and (made is not None or thought.details or thought.texts):
            # Thinking alone is a turn to some; others want content where there is no call.
            made = structs.replace(
                made or chat.AssistantMessage(""),
                reasoning_content="\n\n".join(thought.texts) or None,
                reasoning_details=thought.details or None,
            )
        if made is not None:
            self.messages.append(made)

    def _call(self, block: Block, thought: _Thought | None) -> chat.FunctionCall:
        if block.toolset_name is not None:
            self._toolset(block)
        arguments = compact(bytes(block.input))
        id_ = block.id or ""
        function = chat.CallFunction(block.name or "", arguments)
        extra = thought.extra.pop(id_, None) if thought is not None else None
        return chat.FunctionCall(id_, function, extra, block.cache_control)

    # --- what has no other form -----------------------------------------------------------

    def _toolset(self, block: Block) -> None:
        self._only(f"hosted_items: {_ONLY} has the toolset {problems.shown(block.toolset_name)}")

    def _unknown(self, block: Block) -> None:
        if block.type in _DROPPED_BLOCKS:
            self._drop(f"messages ({block.type} blocks)")
        elif block.type in SERVER_BLOCKS:
            self._only(f"hosted_items: {_ONLY} knows calls of {problems.shown(block.name)}")
        else:
            self._only(f"hosted_items: {_ONLY} knows what a {problems.shown(block.type)} is")

    def _only(self, why: str) -> None:
        if self.native is None:
            self.native = why

    def _drop(self, what: str) -> None:
        if what not in self.dropped:
            self.dropped.append(what)


class _Thought:
    """What the model thought in one turn."""

    __slots__ = ("details", "extra", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.details: list[ReasoningDetail] = []
        self.extra: dict[str, dict[str, Any]] = {}

    def add(self, block: Block, path: str) -> None:
        """One block of it. Raises ClientError (400) naming `path` if it was sealed and changed."""
        if block.type == "thinking":
            self._thinking(block, path)
        elif block.type == "redacted_thinking":
            data = block.data or ""
            if thoughts.is_sealed(data):
                self._unseal(data, path + ".data", None)
            else:
                self.details.append(
                    ReasoningDetail(type="reasoning.encrypted", data=data, format=FORMAT)
                )
        else:
            self._search(block)

    def _thinking(self, block: Block, path: str) -> None:
        text = block.thinking or ""
        if text:
            self.texts.append(text)
        signature = block.signature or ""
        if thoughts.is_sealed(signature):
            self._unseal(signature, path + ".signature", text)
        else:
            detail = ReasoningDetail(
                type="reasoning.text", text=text, signature=signature or None, format=FORMAT
            )
            self.details.append(detail)

    def _unseal(self, content: str, path: str, text: str | None) -> None:
        found = thoughts.unseal(content, path, text)
        self.details += found.details
        self.extra.update(found.calls)

    def _search(self, block: Block) -> None:
        """A step of a web search: sealed to all but Claude, and its outcome stands in the text."""
        shape = {
            "type": block.type,
            "id": block.id,
            "name": block.name,
            "tool_use_id": block.tool_use_id,
            "input": block.input or None,
            "content": block.content or None,
            "caller": block.caller or None,
        }
        data = msgspec.json.encode({name: one for name, one in shape.items() if one is not None})
        self.details.append(
            ReasoningDetail(
                type="reasoning.encrypted", data=data.decode(), id=block.id, format=FORMAT
            )
        )


_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking", *SERVER_BLOCKS})


def _runs_other(block: Block) -> bool:
    """A call of another tool of the provider's than its web search."""
    return block.type == "server_tool_use" and block.name != "web_search"


def instructions(content: str | list[Block]) -> str | list[chat.TextPart]:
    """Text of a system prompt, with its marks."""
    if isinstance(content, str):
        return content
    found = [chat.TextPart(one.text or "", one.cache_control) for one in content if one.text]
    return found[0].text if len(found) == 1 and _is_plain(found[0]) else found


def _is_plain(part: object) -> bool:
    return type(part) is chat.TextPart and part.cache_control is None


def _joined(said: Sequence[chat.TextPart]) -> str | list[chat.TextPart | chat.RefusalPart] | None:
    """The model's text is cut into blocks where it cites: it is one again, unless some of it is
    marked."""
    if not said:
        return None
    if any(part.cache_control is not None for part in said):
        return list(said)
    return said[0].text if len(said) == 1 else "".join(part.text for part in said)
