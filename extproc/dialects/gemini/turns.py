"""Messages as Gemini's contents.

What a model thought is handed back by its signatures: on a function call in the call's
`extra_content`, elsewhere in the message's `reasoning_details` (`format` "google-gemini-v1"),
whose `id` says what they belong to:

- a call's id: the call;
- `text:12:40`: the characters from 12 up to 40 of the message's text;
- `image:0:12`: the first image, which comes after 12 characters of the text;
- `part:12`: a whole part, which `data` holds as JSON, after 12 characters of the text;
- `thought`: the thinking itself;
- anything else, as other gateways have it: the end of the text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from extproc.dialects.chat import messages as m
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.gemini.body import (
    Called,
    CallPart,
    Content,
    Media,
    Part,
    Responded,
    ResponsePart,
    Text,
)
from extproc.dialects.gemini.media import Carrier
from extproc.dialects.tool_arguments import arguments_object

FORMAT: Final = "google-gemini-v1"
"""Whose the reasoning details are: OpenRouter's name."""

FILLER: Final = "."
"""Said by the user where the model would otherwise speak first, which Gemini refuses."""

SKIP_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google's guide to thought signatures gives for calls that another model made: from
Gemini 3 on the first call of a turn without a signature is answered with 400."""

_ROLES: Final[dict[type, str]] = {
    m.UserMessage: "user",
    m.AssistantMessage: "model",
    m.ToolMessage: "user",
    m.FunctionMessage: "user",
}
"""Of messages that are turns; the others are instructions."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])


def unasked_result(messages: Sequence[m.Message]) -> str | None:
    """A result is sent under its function's name, which stands in the call."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        if type(message) is m.AssistantMessage:
            if message.tool_calls:
                for call in message.tool_calls:
                    called.add(call.id)
        elif type(message) is m.ToolMessage and message.tool_call_id not in called:
            return f"tools: messages[{index}].tool_call_id answers no earlier tool call"
    return None


def contents(
    messages: Sequence[m.Message], carrier: Carrier, notes: set[str]
) -> tuple[list[Part], list[Content]]:
    """Instructions, and turns of alternating roles of which the first is the user's; `notes` gets
    the names of what there is no place for. Raises ValueError."""
    system: list[Part] = []
    turns: list[Content] = []
    names: dict[str, str] = {}
    after: list[Media] = []
    last: str | None = None
    for message in messages:
        kind = type(message)
        role = _ROLES.get(kind)
        if role is None:
            system.extend(_spoken(message, notes, carrier))
            continue
        if after and kind is not m.ToolMessage:
            turns[-1].parts.extend(after)
            after = []
        if kind is m.UserMessage:
            parts = _spoken(message, notes, carrier)
        elif kind is m.AssistantMessage:
            parts = _said(message, names, notes, carrier)  # type: ignore[arg-type]  # it is one
        else:
            parts = [_given(message, names, after, carrier)]
        if not parts:
            continue
        if last == role:
            turns[-1].parts.extend(parts)
        else:
            turns.append(Content(parts, role))
            last = role
    if after:
        turns[-1].parts.extend(after)
    return _begun(system, turns)


def _begun(system: list[Part], turns: list[Content]) -> tuple[list[Part], list[Content]]:
    """A conversation that the user begins."""
    if not turns and system:
        # Instructions alone are a prompt to OpenAI; here they have to be said by somebody.
        return [], [Content(system, "user")]
    if not turns or turns[0].role != "user":
        turns.insert(0, Content([Text(FILLER)], "user"))
    return system, turns


def _spoken(message: Any, notes: set[str], carrier: Carrier) -> list[Part]:
    """The parts of a user's message or an instruction."""
    if message.name:
        notes.add("messages.name")
    content = message.content
    if type(content) is str:
        return [Text(content)] if content else []
    for part in content:
        if type(part) is m.TextPart:
            continue
        if isinstance(part, m.ImagePart) and part.image_url.detail not in (None, "auto"):
            notes.add("image_url.detail")
        elif isinstance(part, m.FilePart) and part.citations:
            notes.add("file.citations")
    return _texts(content, carrier)


def _texts(content: str | Sequence[m.Part] | None, carrier: Carrier) -> list[Part]:
    """Parts; Gemini refuses empty texts. Raises LacksError."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    found: list[Part] = []
    for part in content or ():
        if type(part) is m.TextPart:
            if part.text:
                found.append(Text(part.text))
        elif type(part) is m.RefusalPart:
            if part.refusal:
                found.append(Text(part.refusal))
        else:
            found.append(carrier.part(part))  # type: ignore[arg-type]  # it is neither
    return found


# --- what the model said ------------------------------------------------------------------


def _said(
    message: m.AssistantMessage, names: dict[str, str], notes: set[str], carrier: Carrier
) -> list[Part]:
    if message.name:
        notes.add("messages.name")
    content = message.content
    if (
        type(content) is str
        and content
        and not (
            message.tool_calls
            or message.function_call
            or message.reasoning_details
            or message.images
        )
    ):
        return [Text(content)]
    details = _details(message) if message.reasoning_details else []
    signatures: Mapping[str, str] = _UNSIGNED
    if details or message.images:
        parts, signatures = _signed(message, details, carrier)
    else:
        said = message.content or message.refusal
        parts = _texts(said, carrier) if said else []
    if message.tool_calls:
        parts += _calls(message.tool_calls, names, signatures, carrier)
    elif message.function_call is not None:
        called = message.function_call
        skip = SKIP_SIGNATURE if carrier.model.signs else None
        parts.append(CallPart(Called(called.name, arguments_object(called.arguments)), skip))
    return parts


_UNSIGNED: Final[Mapping[str, str]] = {}


def _details(message: m.AssistantMessage) -> list[ReasoningDetail]:
    """Those of Google's."""
    every = message.reasoning_details
    return [one for one in every if one.format == FORMAT and one.data] if every else []


def _calls(
    calls: Sequence[m.FunctionCall | m.CustomCall],
    names: dict[str, str],
    signatures: Mapping[str, str],
    carrier: Carrier,
) -> list[Part]:
    found: list[Part] = []
    signs = carrier.model.signs
    for call in calls:
        if type(call) is not m.FunctionCall:
            raise ValueError("a call that Gemini lacks")
        called = call.function
        names[call.id] = called.name
        extra = call.extra_content
        signature = (_signature(extra) if extra else None) or signatures.get(call.id)
        if signature is None and not found and signs:
            signature = SKIP_SIGNATURE
        arguments = arguments_object(called.arguments)
        found.append(CallPart(Called(called.name, arguments, call.id), signature))
    return found


def _signature(extra: dict[str, Any]) -> str | None:
    google = extra.get("google")
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) else None


def _signed(
    message: m.AssistantMessage, details: Sequence[ReasoningDetail], carrier: Carrier
) -> tuple[list[Part], dict[str, str]]:
    """The parts of a message other than its calls, with the signatures that they came with, and
    the signatures of its calls."""
    text = m.text_of(message.content or message.refusal)
    images = [one for one in map(carrier.made, message.images or ()) if one is not None]
    marks: list[tuple[int, int, Part]] = []
    calls: dict[str, str] = {}
    parts: list[Part] = []
    ids = {call.id for call in message.tool_calls or ()}
    placed: set[int] = set()
    for detail in details:
        data = detail.data or ""
        if detail.id in ids and detail.id is not None:
            calls[detail.id] = data
            continue
        kind, *numbers = _place(detail.id)
        if kind == "text":
            start, end = (min(one, len(text)) for one in numbers)
            marks.append((start, end, Text(text[start:end], thought_signature=data)))
        elif kind == "image" and numbers[0] < len(images) and numbers[0] not in placed:
            number, at = numbers
            placed.add(number)
            image = msgspec.structs.replace(images[number], thought_signature=data)
            marks.append((min(at, len(text)), min(at, len(text)), image))
        elif kind == "part" and _is_object(data):
            at = min(numbers[0], len(text))
            marks.append((at, at, Raw(data.encode())))
        elif kind == "thought":
            if thinking := message.reasoning_content or message.reasoning:
                parts.append(Text(thinking, thought=True, thought_signature=data))
        else:
            marks.append((len(text), len(text), Text("", thought_signature=data)))
    parts += _laid(text, marks)
    parts += [image for number, image in enumerate(images) if number not in placed]
    return parts, calls


def _laid(text: str, marks: list[tuple[int, int, Part]]) -> list[Part]:
    """The text, cut where something else stands in it or is signed."""
    parts: list[Part] = []
    at = 0
    for start, end, part in sorted(marks, key=lambda mark: mark[:2]):
        if start > at:
            parts.append(Text(text[at:start]))
        if start < at and end > start:
            # What two claim goes to the first.
            continue
        parts.append(part)
        at = max(at, end)
    if at < len(text):
        parts.append(Text(text[at:]))
    return parts


def _place(id_: str | None) -> tuple[Any, ...]:
    """What a detail's id says: `("text", 12, 40)`."""
    kind, *numbers = (id_ or "").split(":")
    wanted = _NUMBERS.get(kind)
    if wanted != len(numbers) or not all(_is_number(one) for one in numbers):
        return ("",)
    return (kind, *(int(one) for one in numbers))


_NUMBERS: Final = {"text": 2, "image": 2, "part": 1, "thought": 0}
_MAX_DIGITS: Final = 9


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _is_object(text: str) -> bool:
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


# --- what calls gave ----------------------------------------------------------------------


def _given(message: m.Message, names: dict[str, str], after: list[Media], carrier: Carrier) -> Part:
    if type(message) is m.ToolMessage:
        return _response(message, names, after, carrier)
    if isinstance(message, m.FunctionMessage):
        return ResponsePart(Responded(message.name, _result(message.content or "")))
    raise TypeError(type(message))


def _response(
    message: m.ToolMessage, names: dict[str, str], after: list[Media], carrier: Carrier
) -> Part:
    name = names.get(message.tool_call_id)
    if name is None:
        raise ValueError("a result of no call")
    media: list[Media] | None = None
    if isinstance(message.content, str):
        text = message.content
    else:
        text = m.text_of(message.content)
        media = [carrier.part(one) for one in message.content if not isinstance(one, m.TextPart)]
        if not carrier.model.media_in_results:
            after += media
            media = None
    response = {"error": text} if message.is_error else _result(text)
    return ResponsePart(Responded(name, response, message.tool_call_id, media or None))


def _result(text: str) -> Raw | dict[str, str]:
    """A result: an object stays one, anything else goes under `output`, the key that the API's
    reference names for it."""
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            return arguments_object(text)
    return {"output": text}
