"""Whose request it is, from what the client says in headers and body.

Nothing here proves anything: a user's name is a claim until policy says who may make it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from extproc import headers as names
from extproc.records import ANONYMOUS, Attribution

MOST_CHARACTERS: Final = 256
"""Of a value; the rest is cut off. OpenAI allows 512 in its metadata, headers that reach
proxies rarely carry more than a name or an id."""
MOST_LABELS: Final = 16
"""As many as OpenAI's metadata holds."""
MOST_NAME: Final = 64
"""Characters of a label's name, as in OpenAI's metadata."""

_FIELDS: Final = ("user", "feature", "team", "session")
_OURS: Final = {
    names.USER: "user",
    names.FEATURE: "feature",
    names.TEAM: "team",
    names.SESSION: "session",
}
_PREFIXES: Final = (
    "x-tollgate-",
    names.PORTKEY_METADATA,
    "helicone-",
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_STRANGE: Final = re.compile(r"[^a-z0-9_.-]+")


def attribution(
    headers: Mapping[str, str],
    body_user: str | None = None,
    body_metadata: Mapping[str, str] | None = None,
) -> Attribution:
    """Whose request it is. `headers` by lower-case name.

    For each field the first source that names it wins: `x-tollgate-*` headers, OpenAI's `user`
    and `metadata` in the body, `x-portkey-metadata`, Helicone's headers. Labels of all sources
    are put together the same way, sorted by name, `MOST_LABELS` at most. Never raises: what is
    malformed is left out.
    """
    mine = [name for name in headers if name.startswith(_PREFIXES)]
    if not mine and body_user is None and not body_metadata:
        return ANONYMOUS
    found = _Found()
    for name in mine:
        if field := _OURS.get(name):
            found.take(field, headers[name])
        elif name.startswith(names.LABEL_PREFIX):
            found.label(name.removeprefix(names.LABEL_PREFIX), headers[name])
    if body_user is not None:
        found.take("user", body_user)
    found.take_all(body_metadata)
    if (text := headers.get(names.PORTKEY_METADATA)) is not None:
        found.take_all(_portkey(text))
    for name in mine:
        if name == names.HELICONE_USER:
            found.take("user", headers[name])
        elif name.startswith(names.HELICONE_PROPERTY_PREFIX):
            found.take(name.removeprefix(names.HELICONE_PROPERTY_PREFIX), headers[name])
    return found.whole()


def user_hash(user: str | None, key: bytes = b"") -> str | None:
    """16 hex digits that stand for a user in logs: HMAC-SHA-256 with a key, else SHA-256.

    Without a key anyone who can guess a user's name can check the guess.
    """
    if user is None:
        return None
    data = user.encode("utf-8", "surrogatepass")
    if key:
        return hmac.new(key, data, hashlib.sha256).hexdigest()[:16]
    return hashlib.sha256(data).hexdigest()[:16]


class _Found:
    """What has been found so far; the first to name something wins."""

    __slots__ = ("fields", "labels")

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.labels: dict[str, str] = {}

    def take(self, name: str, value: object) -> None:
        """A field if the name is one, else a label."""
        if name not in _FIELDS:
            self.label(name, value)
        elif name not in self.fields and (text := _clean(value)):
            self.fields[name] = text

    def label(self, name: str, value: object) -> None:
        name = _STRANGE.sub("_", name[: 4 * MOST_NAME].strip().lower())[:MOST_NAME]
        if len(self.labels) < MOST_LABELS and name.strip("_") and name not in self.labels:
            text = _clean(value)
            if text:
                self.labels[name] = text

    def take_all(self, mapping: object) -> None:
        if isinstance(mapping, Mapping):
            for name, value in mapping.items():
                if isinstance(name, str):
                    self.take(name, value)

    def whole(self) -> Attribution:
        fields = self.fields
        if not fields and not self.labels:
            return ANONYMOUS
        return Attribution(
            fields.get("user"),
            fields.get("feature"),
            fields.get("team"),
            fields.get("session"),
            tuple(sorted(self.labels.items())),
        )


def _clean(value: object) -> str:
    """The value as bounded text; empty if it is none. Numbers and truth values are written as
    JSON does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)[:MOST_CHARACTERS]
    if not isinstance(value, str):
        return ""
    text = value[: 4 * MOST_CHARACTERS]
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    return text.strip()[:MOST_CHARACTERS]


def _portkey(text: str) -> dict[str, Any] | None:
    """Portkey's metadata: a JSON object of text, with the user under `_user`."""
    try:
        found = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name.removeprefix("_") if name == "_user" else name: found[name] for name in found}
