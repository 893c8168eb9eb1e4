"""Texts and other things that stand in strings in some encoding: `data:` URLs and base64."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, unquote

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_TOKEN: Final = _ALPHABET + b"=.:~"
_SHORTEST_LINE: Final = 60
"""Characters of a line of base64: encoders break at 64 (PEM) or 76 (MIME)."""
_LONGEST_HEAD: Final = 256
"""Characters of a `data:` URL before its comma: media types have no more than 127 on each side of
their slash (RFC 6838)."""
_HEAD: Final = re.compile(r"[A-Za-z0-9/.+_-]*(;charset=[A-Za-z0-9_-]+)?(;base64)?", re.IGNORECASE)
"""What a `data:` URL usually says of its data."""
_TEXTUAL: Final = re.compile(
    r"text/.*|.*\+(json|xml|yaml)|message/rfc822|"
    r"application/(x-)?(json|jsonl|ndjson|xml|yaml|toml|csv|rtf|sql|javascript|ecmascript|"
    r"typescript|graphql|sh|httpd-php)"
)
_TEXTUAL_NAME: Final = re.compile(
    r".*\.(txt|md|rst|tex|rtf|log|csv|tsv|json|jsonl|ndjson|xml|html?|ya?ml|toml|ini|cfg|conf|env|"
    r"eml|ics|vcf|py|js|ts|java|c|h|cpp|cs|go|rs|rb|php|sh|sql)",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a string holds that may be a picture or a document."""

    text: str = ""
    encode: Callable[[str], str] | None = None
    """Makes the string of another text. None: the text is the string."""
    binary: bool = False
    """There is no text."""
    document: bool = False
    """The text is all that there is: it is a document to look through, not a picture or a link."""


def read(value: str, beside: Mapping[str, Any], *, document: bool) -> Content:
    """What a string holds: a link, a `data:` URL or base64, whose type and name stand `beside`
    it."""
    media_type = _told(beside, "media_type") or _told(beside, "mime_type")
    named = document and _TEXTUAL_NAME.fullmatch(_told(beside, "filename")) is not None
    comma = value.find(",", 0, _LONGEST_HEAD) if value[:5].lower() == "data:" else -1
    if comma < 0:
        return _content(value, textual=named or _is_textual(media_type), encoded=True)
    head = value[5:comma]
    found = _content(
        value[comma + 1 :],
        textual=named or _is_textual(head),
        encoded=head.lower().rstrip().endswith(";base64"),
    )
    if found.encode is None and not found.binary:
        return Content(value)
    return _behind(value[:5], head, value[comma + 1 :], found)


def _content(data: str, *, textual: bool, encoded: bool) -> Content:
    if not encoded:
        return _from_percents(data) or Content(data)
    if not is_base64(data):
        return Content(data)
    return (_from_base64(data) if textual else None) or Content(binary=True)


def _behind(scheme: str, head: str, data: str, found: Content) -> Content:
    """A `data:` URL with its head. If that says more than a type (a file's name), it is a line of
    its own before the text."""
    usual = _HEAD.fullmatch(head) is not None
    inner = found.encode
    if inner is None:
        if usual:
            return found
        return Content(head, lambda value: f"{scheme}{value},{data}")
    if usual:
        return replace(found, encode=lambda value: f"{scheme}{head},{inner(value)}")

    def encode(value: str) -> str:
        first, _, rest = value.partition("\n")
        return f"{scheme}{first},{inner(rest)}"

    return replace(found, text=f"{head}\n{found.text}", encode=encode)


def _told(beside: Mapping[str, Any], name: str) -> str:
    value = beside.get(name)
    return value if type(value) is str else ""


def _is_textual(media_type: str) -> bool:
    return _TEXTUAL.fullmatch(media_type.partition(";")[0].strip().lower()) is not None


def is_base64(text: str) -> bool:
    """It can hardly be anything else than base64, of either alphabet, in one line or in lines as
    MIME has them (RFC 2045). Linear: a millisecond takes a million characters."""
    first = text.find("\n")
    if 0 <= first < _SHORTEST_LINE:
        return False
    data = text.rstrip("\r\n").removesuffix("=").removesuffix("=")
    return _made_of(data, _ALPHABET + b"\r\n" if first >= 0 else _ALPHABET)


def is_token(text: str) -> bool:
    """It can be what a provider encrypted or signed: no words, and no mere number."""
    return _made_of(text, _TOKEN)


def _made_of(text: str, alphabet: bytes) -> bool:
    return text.isascii() and not text.isdigit() and not text.encode().translate(None, alphabet)


def _from_base64(data: str) -> Content | None:
    """The text that stands in base64; None: it is none after all."""
    urlsafe = "-" in data or "_" in data
    try:
        raw = base64.b64decode(data.translate(_STANDARD) + "==")
    except binascii.Error:
        return None
    charset = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = raw.decode(charset)
    except UnicodeDecodeError:
        # Any bytes are Latin-1, and come back as they were.
        charset, text = "latin-1", raw.decode("latin-1")

    def encode(value: str) -> str:
        encoder = base64.urlsafe_b64encode if urlsafe else base64.b64encode
        errors = "replace" if charset == "latin-1" else "surrogatepass"
        return encoder(value.encode(charset, errors)).decode()

    return Content(text, encode, document=charset != "latin-1")


_STANDARD: Final = str.maketrans("-_", "+/", "=\r\n")


def _from_percents(data: str) -> Content | None:
    """The text that stands in a `data:` URL without base64; None: it is no UTF-8."""
    try:
        text = unquote(data, errors="strict")
    except UnicodeDecodeError:
        return None

    def encode(value: str) -> str:
        return quote(value, safe="", errors="surrogatepass")

    return Content(text, encode, document=True)
