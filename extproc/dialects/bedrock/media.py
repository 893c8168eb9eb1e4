"""Images, documents, sound and film as Converse takes them: inline, or at an address in S3.

They become blocks of Anthropic's kind on the way, whose `media_type` is the member of Converse's
content block and its format ("document/pdf"), and whose source's type is `bytes` or `s3`.
"""

from __future__ import annotations

import base64
import re
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from extproc.dialects.anthropic.blocks import DocumentBlock, ImageBlock, Source
from extproc.dialects.anthropic.sources import Media
from extproc.dialects.chat import messages as m

_BY_TYPE: Final = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
    "application/pdf": "document/pdf",
    "text/csv": "document/csv",
    "application/csv": "document/csv",
    "application/msword": "document/doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "document/docx",
    "application/vnd.ms-excel": "document/xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "document/xlsx",
    "text/html": "document/html",
    "application/xhtml+xml": "document/html",
    "text/markdown": "document/md",
    "text/x-markdown": "document/md",
    "application/json": "document/txt",
    "application/ld+json": "document/txt",
    "application/x-ndjson": "document/txt",
    "application/xml": "document/txt",
    "application/yaml": "document/txt",
    "application/x-yaml": "document/txt",
    "application/toml": "document/txt",
    "application/javascript": "document/txt",
    "audio/mpeg": "audio/mp3",
    "audio/mp3": "audio/mp3",
    "audio/wav": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/flac": "audio/flac",
    "audio/ogg": "audio/ogg",
    "audio/opus": "audio/opus",
    "audio/aac": "audio/aac",
    "audio/mp4": "audio/mp4",
    "audio/x-m4a": "audio/m4a",
    "audio/webm": "audio/webm",
    "video/mp4": "video/mp4",
    "video/quicktime": "video/mov",
    "video/x-matroska": "video/mkv",
    "video/webm": "video/webm",
    "video/x-flv": "video/flv",
    "video/mpeg": "video/mpeg",
    "video/x-ms-wmv": "video/wmv",
    "video/3gpp": "video/three_gp",
}
"""Media types; every other `text/…` is `document/txt`."""

_BY_NAME: Final = {
    **{name: f"document/{name}" for name in ("pdf", "csv", "doc", "docx", "xls", "xlsx")},
    "html": "document/html",
    "htm": "document/html",
    "txt": "document/txt",
    "md": "document/md",
    "json": "document/txt",
    **{name: f"image/{name}" for name in ("png", "jpeg", "gif", "webp")},
    "jpg": "image/jpeg",
    **{name: f"audio/{name}" for name in ("mp3", "wav", "flac", "ogg", "opus", "aac", "m4a")},
    **{name: f"video/{name}" for name in ("mp4", "mov", "mkv", "webm", "flv", "mpeg", "wmv")},
    "mpg": "video/mpg",
    "3gp": "video/three_gp",
}
"""Ends of names, for what comes without a type."""

_SOUNDS: Final = frozenset(
    (
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg",
        "mpga", "pcm", "webm",
    )
)  # fmt: skip
"""`AudioFormat` of the service's model."""

LACKS_URL: Final = "{}: Bedrock takes what is inline or in S3, not by URL"
LACKS_ID: Final = "files: Bedrock keeps no files"
LACKS_IMAGE: Final = "vision: Bedrock takes images as JPEG, PNG, GIF or WebP, not {}"
LACKS_FILE: Final = (
    "files: Bedrock takes PDF, Word, Excel, CSV, HTML, Markdown, text, images, sound and film, "
    "not {}"
)
LACKS_AUDIO: Final = "audio: Bedrock takes no sound of the format {}"
BROKEN: Final = "files: {} cannot be read"
_SHOWN: Final = 60
_S3: Final = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](?:/.*)?", re.DOTALL)
_S3_LENGTH: Final = 1024

_UNFIT: Final = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_MAX_NAME: Final = 180
"""Of 200 characters, with room for a number."""


def image(part: m.ImagePart) -> ImageBlock:
    """An image. Raises ValueError with a refusal's detail."""
    url = part.image_url.url
    if url.startswith("data:"):
        media_type, data = _inline(url)
        kind = _BY_TYPE.get(media_type, "")
        source = Source("bytes", kind, data)
    else:
        source = _s3(url, "vision")
        kind, media_type = source.media_type or "", url
    if not kind.startswith("image/"):
        raise ValueError(LACKS_IMAGE.format(_shown(media_type)))
    return ImageBlock(source, part.cache_control)


def file(part: m.FilePart) -> DocumentBlock | ImageBlock:
    """A file. Raises ValueError with a refusal's detail."""
    given = part.file
    if given.file_id is not None:
        raise ValueError(LACKS_ID)
    where = given.file_url or given.file_data or ""
    named = _BY_NAME.get(_suffix(given.filename or ""))
    if where.startswith("data:"):
        media_type, data = _inline(where)
        kind = _BY_TYPE.get(media_type) or named
        if kind is None and media_type.startswith("text/"):
            kind = "document/txt"
        if kind is None:
            raise ValueError(LACKS_FILE.format(_shown(media_type)))
        source = Source("bytes", kind, data)
    elif "://" in where[:9]:
        source = _s3(where, "files", named)
    elif named is not None and where:
        source = Source("bytes", named, where)
    else:
        raise ValueError(BROKEN.format("file_data that is no data: URL"))
    if (source.media_type or "").startswith("image/"):
        return ImageBlock(source, part.cache_control)
    return DocumentBlock(source, given.filename, part.citations, part.cache_control)


def audio(part: m.AudioPart) -> DocumentBlock:
    """Speech. Raises ValueError with a refusal's detail."""
    given = part.input_audio
    format_ = "pcm" if given.format == "pcm16" else given.format
    if format_ not in _SOUNDS:
        raise ValueError(LACKS_AUDIO.format(_shown(format_)))
    return DocumentBlock(
        Source("bytes", f"audio/{format_}", given.data), cache_control=part.cache_control
    )


MEDIA: Final = Media(image, file, audio)


class Names:
    """Names of documents: of few characters, and no two of a request may be the same."""

    def __init__(self) -> None:
        self._number = 0

    def of(self, title: str | None) -> str:
        """The next document's."""
        self._number += 1
        name = _UNFIT.sub(" ", title or "").strip()[:_MAX_NAME].rstrip()
        return f"{name or 'document'} {self._number}"


def block(found: ImageBlock | DocumentBlock, names: Names) -> dict[str, Any]:
    """A content block of Converse."""
    member, _, format_ = (found.source.media_type or "").partition("/")
    source = {"bytes": found.source.data}
    made: dict[str, Any] = {"format": format_, "source": source}
    if found.source.type == "s3":
        made["source"] = {"s3Location": {"uri": found.source.url}}
    if member == "document" and isinstance(found, DocumentBlock):
        made["name"] = names.of(found.title)
        if found.citations is not None:
            made["citations"] = {"enabled": bool(found.citations.get("enabled"))}
    return {member: made}


def _s3(url: str, feature: str, kind: str | None = None) -> Source:
    if not url.startswith("s3://"):
        raise ValueError(LACKS_URL.format(feature))
    found = _BY_NAME.get(_suffix(url)) or kind
    if found is None or len(url) > _S3_LENGTH or not _S3.fullmatch(url):
        raise ValueError(f"{feature}: the address in S3 does not end in a known file type")
    return Source("s3", found, url=url)


def _suffix(name: str) -> str:
    return PurePosixPath(name.lower()[-64:]).suffix[1:]


def _inline(url: str) -> tuple[str, str]:
    """The media type, in small letters, and the base64 of a `data:` URL (RFC 2397)."""
    head, comma, data = url[5:].partition(",")
    if not comma or not data:
        raise ValueError(BROKEN.format("a data: URL without data"))
    media_type, *parameters = head.lower().split(";")
    if "base64" not in parameters:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return media_type.strip() or "text/plain", data


def _shown(text: str) -> str:
    return text[:_SHOWN].encode("ascii", "replace").decode()
