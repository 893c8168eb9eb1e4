"""Arguments of earlier tool calls: JSON text to OpenAI, an object to everyone else."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.chat.messages import AssistantMessage, FunctionCall, Message

_EMPTY: Final = Raw(b"{}")


class _Object(Struct):
    """Some object: what stands in it is looked at no further than to see that it is JSON."""


_OBJECT: Final = msgspec.json.Decoder(_Object)


def arguments_object(text: str) -> Raw:
    """The arguments as they stand, if they are an object. No text at all is a call without
    arguments. Raises ValueError."""
    if not text or text.isspace():
        return _EMPTY
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("arguments are not a JSON object") from error
    return Raw(text.encode())


def arguments_problem(messages: list[Message]) -> str | None:
    """Why the arguments of a call cannot be sent as an object, naming the field, or None."""
    for index, message in enumerate(messages):
        if type(message) is AssistantMessage and message.tool_calls:
            for number, call in enumerate(message.tool_calls):
                if type(call) is FunctionCall and not _is_object(call.function.arguments):
                    path = f"messages[{index}].tool_calls[{number}].function.arguments"
                    return f"tools: {path} is not a JSON object"
    return None


def _is_object(text: str) -> bool:
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return not text or text.isspace()
    return True


def as_text(arguments: Raw) -> str:
    """An object as the JSON text that OpenAI's clients expect, without white space and with its
    digits as they were. Anything else is a call without arguments."""
    data = bytes(arguments)
    if data[:1] != b"{":
        return "{}"
    return msgspec.json.format(data, indent=-1).decode()
