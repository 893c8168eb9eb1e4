"""Items as chat messages. What the model said between two turns of others is one message."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import structs

from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.chat.messages import (
    AssistantMessage,
    AudioPart,
    CallFunction,
    CustomCall,
    CustomInput,
    DeveloperMessage,
    FilePart,
    FileRef,
    FunctionCall,
    ImagePart,
    ImageURL,
    Message,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    UserPart,
)
from extproc.dialects.clients.responses import sealed
from extproc.dialects.clients.responses.items import (
    Breakpoint,
    InputFile,
    InputImage,
    InputSpeech,
    InputText,
    Item,
    OutputText,
    Part,
    ReasoningText,
    Refusal,
    SummaryText,
)

OPENAI: Final = "openai-responses-v1"
"""The `format` of OpenAI's own sealed thinking."""
HOSTED: Final = "only a target that speaks the Responses API"


class Turns:
    """Takes all items. `native` says why only a native target can serve them, if so;
    `dropped` is what went without, `sealed` whether there was sealed thinking."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.native: str | None = None
        self.dropped: list[str] = []
        self.sealed = False
        self._content: list[TextPart | RefusalPart] = []
        self._thought: list[str] = []
        self._details: list[ReasoningDetail] = []
        self._calls: list[FunctionCall | CustomCall] = []
        self._images: list[dict[str, Any]] = []
        self._extra: dict[str, dict[str, Any]] = {}
        self._pending = False
        """A message is being put together."""
        self._ours = False
        """It is an answer that was written here."""

    def instructions(self, text: str) -> None:
        """What holds for the whole conversation."""
        self.messages.append(SystemMessage(content=text))

    def user(self, text: str) -> None:
        """An input that is a string."""
        self.messages.append(UserMessage(content=text))

    def items(self, items: Sequence[Item]) -> None:
        """A whole input. Raises ClientError (400) for sealed content that was changed."""
        for index, item in enumerate(items):
            kind = item.type
            if kind is None:
                kind = "message" if item.role is not None else item.kind()
            read = _READ.get(kind or "")
            if read is not None:
                read(self, item, index)
            else:
                self._other(kind)
        self._flush()

    # --- by type --------------------------------------------------------------------------

    def _other(self, kind: str | None) -> None:
        if kind in _SAID_ANYWAY:
            self._drop(f"input ({kind} items)")
        elif kind == "item_reference":
            self._only("item_reference: only a target that keeps items can look one up")
        else:
            self._only(f"hosted_items: {HOSTED} knows what a {printable(kind)} is")

    def _message(self, item: Item, index: int) -> None:  # noqa: ARG002 - the shape of `_READ`
        content = item.content or ""
        role = item.role
        if role == "assistant":
            self._said(content)
            return
        if self._pending:
            self._flush()
        if role == "user":
            said = content if isinstance(content, str) else self._user_content(content)
            self.messages.append(UserMessage(said))
            return
        kind = SystemMessage if role == "system" else DeveloperMessage
        self.messages.append(kind(content=self._instruction(content)))

    def _said(self, content: str | list[Part]) -> None:
        if self._content and not self._calls and not self._ours:
            self._flush()
        self._pending = True
        if isinstance(content, str):
            self._add_text(content)
            return
        for part in content:
            if type(part) is OutputText:
                self._add_text(part.text)
            elif type(part) is Refusal:
                self._content.append(RefusalPart(part.refusal))
            elif type(part) in _TEXTS:
                self._add_text(part.text)  # type: ignore[union-attr]  # those have one
            else:
                self._only(f"hosted_items: {HOSTED} takes what is no text from the model")

    def _add_text(self, text: str) -> None:
        """More text. That of an answer whose thinking was sealed is one again, as it was when its
        provider told places in it."""
        if self._ours and self._content and type(last := self._content[-1]) is TextPart:
            self._content[-1] = TextPart(last.text + text)
        else:
            self._content.append(TextPart(text))

    def _reasoning(self, item: Item, index: int) -> None:
        summary = _texts(item.summary or ())
        content = item.encrypted_content
        if content is not None and sealed.is_sealed(content):
            # Written here: all of it is one answer, whatever stands between.
            found = sealed.unseal(content, f"input[{index}].encrypted_content")
            self._details += found.details
            self._extra.update(found.calls)
            self._thought = ["".join((*self._thought, *summary))]
            self._ours = self.sealed = self._pending = True
            return
        if (self._content or self._images) and not self._calls:
            self._flush()
        self._pending = True
        texts = _texts(item.content if isinstance(item.content, list) else ())
        self._thought += texts or summary
        own = partial(ReasoningDetail, id=item.id, format=OPENAI)
        for text in summary:
            self._details.append(own(type="reasoning.summary", summary=text))
        for text in texts:
            self._details.append(own(type="reasoning.text", text=text))
        if content:
            self._details.append(own(type="reasoning.encrypted", data=content))

    def _function_call(self, item: Item, index: int) -> None:  # noqa: ARG002 - as `_message`
        if item.namespace:
            self._only(f"hosted_items: {HOSTED} has tools in namespaces")
        id_, name = item.call_id or "", item.name or ""
        function = CallFunction(name, item.arguments)
        extra = self._extra.pop(id_, None) if self._extra else None
        self._pending = True
        self._calls.append(FunctionCall(id_, function, extra))

    def _custom_call(self, item: Item, index: int) -> None:  # noqa: ARG002 - as `_message`
        self._pending = True
        self._calls.append(CustomCall(item.call_id or "", CustomInput(item.name or "", item.input)))

    def _output(self, item: Item, index: int) -> None:  # noqa: ARG002 - as `_message`
        if self._pending:
            self._flush()
        if item.call_id is None:
            self._only(f"hosted_items: {HOSTED} takes a result without a call's id")
        content: str | list[TextPart | ImagePart | FilePart]
        if isinstance(item.output, str):
            content = item.output
        else:
            content = []
            for part in self._parts(msgspec.convert(item.output, list[Part])):
                if isinstance(part, AudioPart):
                    self._only(f"audio: {HOSTED} takes speech as a tool's result")
                else:
                    content.append(part)
        self.messages.append(ToolMessage(content, item.call_id or ""))

    def _image(self, item: Item, index: int) -> None:  # noqa: ARG002 - as `_message`
        if isinstance(item.result, str):
            url = f"data:image/{item.output_format or 'png'};base64,{item.result}"
            self._pending = True
            self._images.append({"type": "image_url", "image_url": {"url": url}})

    # --- parts ----------------------------------------------------------------------------

    def _user_content(self, content: list[Part]) -> str | list[UserPart]:
        if len(content) == 1:
            only = content[0]
            if type(only) is InputText and only.prompt_cache_breakpoint is None:
                return only.text
        parts = self._parts(content)
        if len(parts) == 1 and type(parts[0]) is TextPart and parts[0].cache_control is None:
            return parts[0].text
        return parts

    def _instruction(self, content: str | list[Part]) -> str | list[TextPart]:
        if isinstance(content, str):
            return content
        parts = [part for part in self._parts(content) if type(part) is TextPart]
        if len(parts) < len(content):
            self._only(f"system: {HOSTED} takes what is no text as instructions")
        if len(parts) == 1 and parts[0].cache_control is None:
            return parts[0].text
        return parts

    def _parts(self, content: Sequence[Part]) -> list[UserPart]:
        found: list[UserPart] = []
        for part in content:
            made = self._part(part)
            if made is not None:
                found.append(made)
        return found

    def _part(self, part: Part) -> UserPart | None:
        if type(part) is InputText:
            return TextPart(part.text, _cache(part.prompt_cache_breakpoint))
        if type(part) in _TEXTS:
            return TextPart(part.text)  # type: ignore[union-attr]  # those have one
        made: UserPart | None = None
        if isinstance(part, Refusal):
            made = TextPart(part.refusal)
        elif isinstance(part, InputFile):
            file = FileRef(part.file_data, part.file_id, part.filename, part.file_url)
            made = FilePart(file, _cache(part.prompt_cache_breakpoint))
        elif isinstance(part, InputSpeech):
            made = AudioPart(part.input_audio)
        elif isinstance(part, InputImage) and part.image_url is not None:
            url = ImageURL(part.image_url, part.detail)
            made = ImagePart(url, _cache(part.prompt_cache_breakpoint))
        elif isinstance(part, InputImage):
            self._only("vision: only a target that keeps files has an image by its id")
        else:
            self._only(f"hosted_items: {HOSTED} takes screenshots of a computer")
        return made

    # --- what the model said ---------------------------------------------------------------

    def _flush(self) -> None:
        """End the message that is being put together, if there is anything in it."""
        self._ours = False
        content, calls = self._content, self._calls
        thought = "\n\n".join(self._thought) if self._thought else ""
        details, images = self._details, self._images
        if not (content or calls or thought or details or images):
            return
        first = content[0] if len(content) == 1 else None
        made = AssistantMessage(
            first.text if type(first) is TextPart else content or None, tool_calls=calls or None
        )
        if thought or details or images:
            made = structs.replace(
                made,
                reasoning_content=thought or None,
                reasoning_details=details or None,
                images=images or None,
            )
        self.messages.append(made)
        self._content, self._calls, self._pending = [], [], False
        if self._thought or details or images or self._extra:
            self._thought, self._details, self._images, self._extra = [], [], [], {}

    def _only(self, why: str) -> None:
        if self.native is None:
            self.native = why

    def _drop(self, what: str) -> None:
        if what not in self.dropped:
            self.dropped.append(what)


_TEXTS: Final = frozenset({InputText, OutputText, SummaryText, ReasoningText})


def _texts(parts: Sequence[Part]) -> list[str]:
    """Of those parts that are text."""
    return [part.text for part in parts if type(part) in _TEXTS]  # type: ignore[union-attr]


_SAID_ANYWAY: Final = frozenset({"web_search_call"})
"""Steps of the model whose outcome stands in the message behind them."""

_READ: Final[dict[str, Callable[[Turns, Item, int], None]]] = {
    "message": Turns._message,  # noqa: SLF001 - its own table
    "reasoning": Turns._reasoning,  # noqa: SLF001
    "function_call": Turns._function_call,  # noqa: SLF001
    "function_call_output": Turns._output,  # noqa: SLF001
    "custom_tool_call": Turns._custom_call,  # noqa: SLF001
    "custom_tool_call_output": Turns._output,  # noqa: SLF001
    "image_generation_call": Turns._image,  # noqa: SLF001
}


def _cache(mark: Breakpoint | None) -> dict[str, Any] | None:
    """The mark as Anthropic says it. A lifetime that was asked for is the longer of its two."""
    if mark is None:
        return None
    return {"type": "ephemeral"} if mark.ttl is None else {"type": "ephemeral", "ttl": "1h"}


_UNPRINTABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_SHOWN: Final = 40


def printable(name: str | None) -> str:
    """The client's own word as it may stand in a message or header."""
    return _UNPRINTABLE.sub("?", (name or "")[:_MAX_SHOWN])
