"""Images and files as Anthropic takes them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from extproc.dialects.anthropic.blocks import DocumentBlock, ImageBlock, Source
from extproc.dialects.chat import messages as m

IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF: Final = "application/pdf"
FILES_BETA: Final = "files-api-2025-04-14"
"""Takes what was uploaded to the Files API."""

_IMAGE_NAMES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp")
_TEXTS: Final = frozenset(
    {
        "application/json",
        "application/ld+json",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "application/javascript",
        "application/x-ndjson",
        "application/toml",
    }
)
"""Types that are text although their names do not begin with it."""

LACKS_IMAGE: Final = "vision: Anthropic takes images as JPEG, PNG, GIF or WebP, not {}"
LACKS_FILE: Final = "files: Anthropic takes PDF, text and images, not {}"
BROKEN: Final = "files: {} cannot be read"
LACKS_AUDIO: Final = "audio: Anthropic does not hear"
_SHOWN: Final = 60


class SourceError(ValueError):
    """What Anthropic does not take. The text is a refusal's detail."""


def image(part: m.ImagePart) -> ImageBlock:
    """An image by URL or inline. Raises SourceError."""
    url = part.image_url.url
    if not url.startswith("data:"):
        return ImageBlock(Source("url", url=url), part.cache_control)
    media_type, data = _inline(url)
    if media_type not in IMAGES:
        raise SourceError(LACKS_IMAGE.format(_shown(media_type)))
    return ImageBlock(Source("base64", media_type, _as_base64(data)), part.cache_control)


def file(part: m.FilePart) -> DocumentBlock | ImageBlock:
    """A file by id, by URL or inline. Raises SourceError."""
    given = part.file
    if given.file_id is not None:
        return _block(part, Source("file", file_id=given.file_id))
    where = given.file_url or given.file_data or ""
    if where.startswith(("https://", "http://")):
        return _block(part, Source("url", url=where))
    if where.startswith("data:"):
        media_type, data = _inline(where)
    elif (given.filename or "").lower().endswith(".pdf"):
        media_type, data = PDF, (where, True)
    else:
        raise SourceError(BROKEN.format("file_data that is no data: URL"))
    if media_type in IMAGES:
        source = Source("base64", media_type, _as_base64(data))
        return ImageBlock(source, part.cache_control)
    if media_type == PDF:
        return _document(part, Source("base64", PDF, _as_base64(data)))
    if media_type.startswith("text/") or media_type in _TEXTS:
        return _document(part, Source("text", "text/plain", _text(data)))
    raise SourceError(LACKS_FILE.format(_shown(media_type)))


def audio(part: m.AudioPart) -> DocumentBlock:  # noqa: ARG001 - the shape of `Media`
    """Raises SourceError: Anthropic has no audio."""
    raise SourceError(LACKS_AUDIO)


class Media(NamedTuple):
    """How the parts of a message that are no text become blocks. Each raises ValueError for what
    the provider lacks."""

    image: Callable[[m.ImagePart], ImageBlock] = image
    file: Callable[[m.FilePart], DocumentBlock | ImageBlock] = file
    audio: Callable[[m.AudioPart], DocumentBlock] = audio


def _block(part: m.FilePart, source: Source) -> DocumentBlock | ImageBlock:
    """An id or a URL does not say what is behind it: its name may."""
    name = (part.file.filename or source.url or "").lower().partition("?")[0]
    if name.endswith(_IMAGE_NAMES):
        return ImageBlock(source, part.cache_control)
    return _document(part, source)


def _document(part: m.FilePart, source: Source) -> DocumentBlock:
    return DocumentBlock(source, part.file.filename, part.citations, part.cache_control)


_Data = tuple[str, bool]
"""What stands behind the comma, and whether it is base64."""


def _inline(url: str) -> tuple[str, _Data]:
    """The media type, in small letters, and the data of a `data:` URL (RFC 2397)."""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise SourceError(BROKEN.format("a data: URL without data"))
    media_type, *parameters = head.lower().split(";")
    return media_type.strip() or "text/plain", (data, "base64" in parameters)


def _as_base64(data: _Data) -> str:
    text, encoded = data
    return text if encoded else base64.b64encode(unquote_to_bytes(text)).decode()


def _text(data: _Data) -> str:
    text, encoded = data
    try:
        plain = base64.b64decode(text) if encoded else unquote_to_bytes(text)
        return plain.decode()
    except (binascii.Error, ValueError):
        raise SourceError(BROKEN.format("a text file that is not base64 of UTF-8")) from None


def _shown(media_type: str) -> str:
    return media_type[:_SHOWN].encode("ascii", "replace").decode()
