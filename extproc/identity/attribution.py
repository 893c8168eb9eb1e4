"""Whose request it is: what its caller is known by, and what it may say of itself.

A caller's own user, team and labels stand on all its requests. What a request says in headers and
body counts only as far as its caller may say it (`Caller.may_set`); the rest is ignored.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from extproc import headers as names
from extproc.identity.values import MOST_LABELS, MOST_NAME, clean
from extproc.records import ANONYMOUS, NOBODY, Attribution, Caller

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
_PRIORITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STRANGE: Final = re.compile(r"[^a-z0-9_.-]+")


def attribution(
    headers: Mapping[str, str],
    body_user: str | None = None,
    body_metadata: Mapping[str, str] | None = None,
    caller: Caller = NOBODY,
) -> tuple[Attribution, tuple[str, ...]]:
    """Whose request it is, and what it said that its caller may not say: kinds out of
    `ALL_FIELDS`, sorted. `headers` by lower-case name.

    For each field the first source that names it wins: `x-tollgate-*` headers, OpenAI's `user`
    and `metadata` in the body, `x-portkey-metadata`, Helicone's headers. What a request may say
    goes before the caller's own user and team; the caller's labels go before the request's. Labels
    of all sources are put together the same way, sorted by name, `MOST_LABELS` at most. Never
    raises: what is malformed is left out.
    """
    mine = [name for name in headers if name.startswith(_PREFIXES)]
    if not mine and body_user is None and not body_metadata:
        return _own(caller), ()
    found = _Found(caller)
    for name in mine:
        found.ours(name, headers[name])
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
    return found.whole(), tuple(sorted(found.ignored))


def user_hash(user: str, key: bytes) -> str:
    """16 hex digits that stand for a user in logs. Without the key nobody who thinks of a user can
    tell by them whether it is the one."""
    return hmac.new(key, user.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:16]


def _own(caller: Caller) -> Attribution:
    if caller.user is None and caller.team is None and not caller.labels:
        return ANONYMOUS
    return Attribution(caller.user, None, caller.team, None, caller.labels)


class _Found:
    """What has been found so far; the first to name something wins."""

    __slots__ = ("_all_labels", "_caller", "_fixed", "_may", "fields", "ignored", "labels")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._may = caller.may_set
        self._all_labels = "labels" in caller.may_set
        self._fixed = dict(caller.labels)
        self.fields: dict[str, str] = {}
        self.labels: dict[str, str] = dict(self._fixed)
        self.ignored: set[str] = set()

    def ours(self, name: str, value: str) -> None:
        """One of the headers `x-tollgate-*`, if it says anything of the request."""
        if field := _OURS.get(name):
            self.take(field, value)
        elif name.startswith(names.LABEL_PREFIX):
            self.label(name.removeprefix(names.LABEL_PREFIX), value)
        elif name == names.PRIORITY:
            self._urgency(value)

    def take(self, name: str, value: object) -> None:
        """A field if the name is one, else a label."""
        if name not in _FIELDS:
            self.label(name, value)
        elif name not in self.fields and (text := clean(value)):
            self._set(name, text)

    def _set(self, field: str, text: str) -> None:
        if field in self._may:
            self.fields[field] = text
        else:
            self.ignored.add(field)

    def _urgency(self, value: str) -> None:
        text = value[:MOST_NAME].strip().lower()
        if "priority" not in self._may:
            if text:
                self.ignored.add("priority")
        elif _PRIORITY.fullmatch(text):
            self.fields["priority"] = text

    def label(self, name: str, value: object) -> None:
        name = _STRANGE.sub("_", name[: 4 * MOST_NAME].strip().lower())[:MOST_NAME]
        if not name.strip("_") or not (text := clean(value)):
            return
        if name in self._fixed or not (self._all_labels or f"label-{name}" in self._may):
            self.ignored.add("labels")
        elif len(self.labels) < MOST_LABELS and name not in self.labels:
            self.labels[name] = text

    def take_all(self, mapping: object) -> None:
        if isinstance(mapping, Mapping):
            for name, value in mapping.items():
                if isinstance(name, str):
                    self.take(name, value)

    def whole(self) -> Attribution:
        fields, caller = self.fields, self._caller
        if not fields and not self.labels:
            return _own(caller)
        return Attribution(
            fields.get("user", caller.user),
            fields.get("feature"),
            fields.get("team", caller.team),
            fields.get("session"),
            tuple(sorted(self.labels.items())),
            fields.get("priority"),
        )


def _portkey(text: str) -> dict[str, Any] | None:
    """Portkey's metadata: a JSON object of text, with the user under `_user`."""
    try:
        found = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name.removeprefix("_") if name == "_user" else name: found[name] for name in found}
