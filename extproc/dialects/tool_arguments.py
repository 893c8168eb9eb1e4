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
_WRONG: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def arguments_object(text: str) -> Raw:
    """The arguments as they stand, if they are an object. No text at all is a call without
    arguments. Raises ValueError."""
    try:
        _OBJECT.decode(text)
    except _WRONG as error:
        if not text or text.isspace():
            return _EMPTY
        raise ValueError("arguments are not a JSON object") from error
    return Raw(text)


def arguments_problem(messages: list[Message]) -> str | None:
    """Why the arguments of a call cannot be sent as an object, naming the field, or None."""
    decode = _OBJECT.decode
    for index, message in enumerate(messages):
        if type(message) is AssistantMessage and message.tool_calls:
            for number, call in enumerate(message.tool_calls):
                if type(call) is FunctionCall:
                    text = call.function.arguments
                    try:
                        decode(text)
                    except _WRONG:
                        if text and not text.isspace():
                            path = f"messages[{index}].tool_calls[{number}].function.arguments"
                            return f"tools: {path} is not a JSON object"
    return None


def as_text(arguments: Raw) -> str:
    """An object as the JSON text that OpenAI's clients expect, without white space and with its
    digits as they were. Anything else is a call without arguments."""
    data = bytes(arguments)
    if data[:1] != b"{":
        return "{}"
    return compact(data)


def compact(data: bytes) -> str:
    """JSON without the white space that means nothing."""
    if data.split(None, 1) != [data]:
        data = msgspec.json.format(data, indent=-1)
    return data.decode()
