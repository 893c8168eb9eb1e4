"""Items of a responses request: messages, calls, results, thinking, and what only hosts know."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from extproc.dialects.chat.messages import InputAudio


class Breakpoint(Struct, frozen=True, gc=False):
    """Cache the prompt up to here. `ttl` is the least time that it lives: `30m` or `12h`."""

    mode: str = "explicit"
    ttl: str | None = None


class InputText(Struct, frozen=True, gc=False, tag_field="type", tag="input_text"):
    """What somebody says to the model."""

    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class OutputText(Struct, frozen=True, gc=False, tag_field="type", tag="output_text"):
    """What the model said."""

    text: str


class Refusal(Struct, frozen=True, gc=False, tag_field="type", tag="refusal"):
    """What the model refused with."""

    refusal: str


class InputImage(Struct, frozen=True, gc=False, tag_field="type", tag="input_image"):
    """An image by URL, which may be a `data:` one, or by the id of a file."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class InputFile(Struct, frozen=True, gc=False, tag_field="type", tag="input_file"):
    """A document by URL, inline as a `data:` URL, or by id."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class InputSpeech(Struct, frozen=True, gc=False, tag_field="type", tag="input_audio"):
    """Speech."""

    input_audio: InputAudio


class SummaryText(Struct, frozen=True, gc=False, tag_field="type", tag="summary_text"):
    """A summary of thinking."""

    text: str


class ReasoningText(Struct, frozen=True, gc=False, tag_field="type", tag="reasoning_text"):
    """Thinking as it was."""

    text: str


class Screenshot(Struct, frozen=True, gc=False, tag_field="type", tag="computer_screenshot"):
    """What a computer shows."""

    image_url: str | None = None
    file_id: str | None = None


Part = (
    InputText
    | OutputText
    | Refusal
    | InputImage
    | InputFile
    | InputSpeech
    | SummaryText
    | ReasoningText
    | Screenshot
)


class Item(Struct, frozen=True, gc=False):
    """An item of any type: one shape with the fields of those that can be translated. Which of
    them an item must have is checked where its type is known. Absent and `null` are the same."""

    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: Any = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    result: Any = None
    output_format: str | None = None

    def kind(self) -> str | None:
        """Its type, which messages and references may leave out. None: it has none."""
        if self.type is not None:
            return self.type
        if self.role is not None:
            return "message"
        return "item_reference" if self.id is not None else None
