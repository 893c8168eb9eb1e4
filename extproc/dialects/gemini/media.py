"""Images, sounds, films and documents as Gemini takes them: inline in base64, or by URI.

Which URIs: `gs:` at both of Google's endpoints; uploaded files
(`https://generativelanguage…/files/…`) and, for models from 2.5 on, any `https:` URL at the
Developer API; any at Vertex AI; YouTube's too. A type is told from the URL's or the file's name:
Vertex AI wants one, and the Developer API looks it up by itself where none is given.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from extproc.dialects.chat import messages as m
from extproc.dialects.gemini.body import Blob, FileData, Media
from extproc.dialects.gemini.models import Model, model_of

FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
"""In front of the name of an uploaded file (`files/abc`) this makes its URI."""

_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "bmp": "image/bmp",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "xml": "text/xml",
    "css": "text/css",
    "json": "application/json",
    "rtf": "text/rtf",
    "js": "text/javascript",
    "py": "text/x-python",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/m4a",
    "opus": "audio/opus",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "mov": "video/mov",
    "avi": "video/avi",
    "flv": "video/x-flv",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_SOUNDS: Final = {"pcm16": "audio/l16;rate=24000", "pcm": "audio/l16;rate=24000"}
_YOUTUBE: Final = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})
_UPLOADED: Final = re.compile(r"files/[a-z0-9-]{1,64}")
_FETCHED: Final = frozenset({"https", "http"})


class LacksError(ValueError):
    """Something that cannot be carried. Its text is a refusal's detail."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What can be carried where: `title` is the endpoint's name in messages."""

    title: str
    model: Model
    vertex: bool = False

    def image(self, url: str) -> Media:
        """An image by its URL. Raises LacksError."""
        return self._by_url(url, "vision", None, "image/jpeg")

    def sound(self, audio: m.InputAudio) -> Media:
        """Speech."""
        kind = audio.format.lower()
        found = _SOUNDS.get(kind) or _TYPES.get(kind) or f"audio/{kind}"
        return Media(Blob(found, audio.data))

    def file(self, file: m.FileRef) -> Media:
        """A document, or a film. Raises LacksError."""
        named = _type_of(file.filename or "")
        if url := file.file_url:
            return self._by_url(url, "files", named, None)
        if data := file.file_data:
            if ":" in data[:8]:
                return self._by_url(data, "files", named, None)
            return Media(Blob(named or "application/pdf", data))
        if file.file_id:
            return self._by_id(file.file_id, named)
        raise LacksError("files: a file part without file_data, file_id or file_url")

    def part(self, part: m.UserPart) -> Media:
        """A part that is no text. Raises LacksError."""
        if isinstance(part, m.ImagePart):
            return self.image(part.image_url.url)
        if isinstance(part, m.AudioPart):
            return self.sound(part.input_audio)
        if isinstance(part, m.FilePart):
            return self.file(part.file)
        raise TypeError(type(part))

    def made(self, image: dict[str, Any]) -> Media | None:
        """An image that a model made in an earlier turn; None if it cannot be told what it is."""
        found = image.get("image_url")
        url = found.get("url") if isinstance(found, dict) else None
        if not isinstance(url, str):
            return None
        try:
            return self.image(url)
        except LacksError:
            return None

    def _by_id(self, id_: str, named: str | None) -> Media:
        if not self.vertex and _UPLOADED.fullmatch(id_):
            return Media(file_data=FileData(FILES + id_, named))
        if id_.startswith(("gs://", "https://")):
            return self._by_url(id_, "files", named, None)
        raise LacksError(f"files: {id_[:64]!a} is no file of {self.title}'s")

    def _by_url(self, url: str, feature: str, named: str | None, otherwise: str | None) -> Media:
        scheme = url[:8].partition(":")[0].lower()
        if scheme == "data":
            return _inline(url, feature, named)
        if scheme != "gs" and scheme not in _FETCHED:
            raise LacksError(f"{feature}: {self.title} takes data:, https: and gs: URLs only")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise LacksError(f"{feature}: a URL that cannot be read") from None
        if parts.hostname in _YOUTUBE:
            return Media(file_data=FileData(url, "video/mp4"))
        kind = _type_of(unquote(parts.path)) or named
        if self.vertex:
            kind = kind or otherwise
            if kind is None:
                raise LacksError(f"{feature}: Vertex AI needs a type, which the URL does not tell")
        elif scheme != "gs" and not url.startswith(FILES) and not self.model.external_urls:
            raise LacksError(f"{feature}: {self.model.name} takes no files by URL")
        return Media(file_data=FileData(url, kind))


@lru_cache(maxsize=256)
def carrier_of(title: str, model: str, *, vertex: bool) -> Carrier:
    """See `Carrier`."""
    return Carrier(title, model_of(model), vertex)


def _inline(url: str, feature: str, named: str | None) -> Media:
    """A `data:` URL (RFC 2397)."""
    comma = url.find(",", 0, 512)
    if comma < 0:
        raise LacksError(f"{feature}: a data: URL without data")
    kind, *parameters = url[5:comma].split(";")
    data = url[comma + 1 :]
    if not parameters or parameters[-1].strip().lower() != "base64":
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    if not data:
        raise LacksError(f"{feature}: a data: URL without data")
    if not kind or kind == "application/octet-stream":
        kind = named or kind or "text/plain"
    return Media(Blob(kind, data))


def _type_of(name: str) -> str | None:
    return _TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None


def problem(messages: Sequence[m.Message], carrier: Carrier) -> str | None:
    """The first part of the messages that cannot be carried, as a refusal's detail."""
    try:
        for message in messages:
            if not isinstance(message, m.UserMessage | m.ToolMessage):
                continue
            if isinstance(message.content, str):
                continue
            for part in message.content:
                if not isinstance(part, m.TextPart):
                    carrier.part(part)
    except LacksError as error:
        return str(error)
    return None
