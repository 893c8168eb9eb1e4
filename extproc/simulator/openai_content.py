"""What OpenAI refuses in images, sound and files."""

from __future__ import annotations

import base64
import binascii
import re

from msgspec import UNSET

from extproc.simulator import openai_request as wire
from extproc.simulator.openai_errors import Wrong

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w=-]+)*;base64,(?P<data>.*)", re.DOTALL)
_WEB_URL = re.compile(r"https?://[^\s/]+\S*")
IMAGES = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp")


def broken_content(chat: wire.Body) -> Wrong | None:
    """The first part of a message that OpenAI cannot read."""
    for m, message in enumerate(chat.messages):
        if not isinstance(message, wire.User) or isinstance(message.content, str):
            continue
        if not message.content:
            return Wrong(
                f"Invalid 'messages[{m}].content': empty array. Expected an array with minimum "
                "length 1, but got an empty array instead.",
                f"messages[{m}].content",
                "empty_array",
            )
        for n, part in enumerate(message.content):
            wrong = _part(part, f"messages[{m}].content[{n}]")
            if wrong is not None:
                return wrong
    return None


def _part(
    part: wire.TextPart | wire.ImagePart | wire.AudioPart | wire.FilePart, where: str
) -> Wrong | None:
    match part:
        case wire.ImagePart():
            return broken_image(part.image_url.url, f"{where}.image_url.url")
        case wire.AudioPart():
            name = f"{where}.input_audio.data"
            if not part.input_audio.data or not is_base64(part.input_audio.data):
                return Wrong(
                    f"Invalid '{name}'. Expected base64-encoded audio.", name, "invalid_value"
                )
            return None
        case wire.FilePart():
            return _file(part.file, f"{where}.file")
    return None


def broken_image(url: str, name: str) -> Wrong | None:
    """An image's address: a web address, or a data URL of one of four kinds of image."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        if _WEB_URL.fullmatch(url):
            return None
        return Wrong(
            f"Invalid '{name}'. Expected a valid URL, but got a value with an invalid format.",
            name,
            "invalid_value",
        )
    if found["type"] not in IMAGES:
        return Wrong(
            f"Invalid MIME type: {found['type']!r}. Only image types are supported: "
            "'image/png', 'image/jpeg', 'image/gif' and 'image/webp'.",
            name,
            "invalid_image_format",
        )
    if not found["data"] or not is_base64(found["data"]):
        return Wrong("Invalid base64 image_url.", name, "invalid_base64")
    return None


def _file(file: wire.FileRef, where: str) -> Wrong | None:
    if file.file_id is not UNSET:
        if file.file_data is UNSET:
            return None
        return Wrong(
            f"Mutually exclusive parameters: '{where}.file_id' and '{where}.file_data'. Ensure you "
            "are only providing one of: 'file_id' or 'file_data'.",
            where,
            "mutually_exclusive_parameters",
        )
    if file.file_data is UNSET or file.filename is UNSET:
        return Wrong(
            f"Missing required parameter: '{where}.file_id'.",
            f"{where}.file_id",
            "missing_required_parameter",
        )
    return broken_file(file.file_data, f"{where}.file_data")


def broken_file(data: str, name: str) -> Wrong | None:
    """A file's content: a data URL with a type, in base64."""
    found = _DATA_URL.fullmatch(data)
    if found is None or not found["type"]:
        return Wrong(
            f"Invalid '{name}'. Expected a base64-encoded data URL with an application/pdf MIME "
            "type (e.g. 'data:application/pdf;base64,aW1nIGJ5dGVzIGhlcmU='), but got a value "
            "without the 'data:' prefix.",
            name,
            "invalid_value",
        )
    if not found["data"] or not is_base64(found["data"]):
        return Wrong(f"Invalid '{name}'. Expected base64-encoded data.", name, "invalid_value")
    return None


def is_base64(text: str) -> bool:
    """Whether it is whole base64 of the usual alphabet."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
