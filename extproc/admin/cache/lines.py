"""A line of a file of answers: what is asked and answered, or an entry as it was exported.

A pair is written by people: a question and its answer in words, or a whole request and a whole
answer. An exported entry is for a store with the same secret, and tells no question.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.cache.fingerprint import VERSION
from extproc.cache.rules import LONGEST_TTL, MOST_TAGS, SHORTEST_TTL, TAG, TAG_FORM
from extproc.spans import seconds_of
from extproc.state.answers import KEY, Entry, Head, read_id, shown

DAY: Final = 86_400.0
LONGEST_NAME: Final = 256
"""Characters of a route, a model, a kind, a target."""
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class LineError(ValueError):
    """A line that is not taken; the text says why, and tells nothing of the line's words."""


class Pair(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question and its answer. What a line does not say, the defaults say."""

    question: str | None = None
    request: Raw | UnsetType = UNSET
    """A body, in place of a question."""
    answer: str | dict[str, Any] | None = None
    format: str | None = None
    """The client format; default: chat."""
    route: str | None = None
    model: str | None = None
    """As clients ask for it."""
    system: str | None = None
    fields: dict[str, Any] | None = None
    """What else stands in requests: temperature, tools."""
    tenant: str | None = None
    headers: dict[str, str] | None = None
    """That requests have, of those by which the cache is steered."""
    kind: str | None = None
    ttl: float | str | None = None
    """Seconds, or `30d`."""
    tags: tuple[str, ...] = ()
    target: str | None = None
    cost: float | str | None = None
    """Dollars that a hit saves."""


class Exported(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry."""

    head: dict[str, Any]
    value: str
    vector: str = ""


class Title(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first line of an export: which gateways its entries are good for."""

    export: str
    """How keys are made."""
    secret: str
    """Tells secrets apart and gives none away."""


Line = Pair | Exported | Title

_pair: Final = msgspec.json.Decoder(Pair).decode
_exported: Final = msgspec.json.Decoder(Exported).decode
_title: Final = msgspec.json.Decoder(Title).decode
_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_READS: Final[Mapping[str, Callable[[bytes], Line]]] = {"head": _exported, "export": _title}


def read(text: bytes) -> Line:
    """What a line says. Raises LineError."""
    try:
        names = _fields(text)
        decode = next((how for name, how in _READS.items() if name in names), _pair)
        return decode(text)
    except RecursionError:
        raise LineError("is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LineError(_why(str(error))) from None


def _why(said: str) -> str:
    """An error of the decoder's as people understand it."""
    if "malformed" in said or "truncated" in said or "UTF-8" in said or "decode" in said:
        return f"is no JSON: {said.removeprefix('JSON is malformed: ')}"
    return said[:1].lower() + said[1:]


def with_defaults(pair: Pair, defaults: Pair) -> Pair:
    """A line over what holds for all lines; tags are added, fields and headers one by one."""
    said = {
        name: one for name in pair.__struct_fields__ if (one := getattr(pair, name)) is not None
    }
    said["request"] = pair.request
    said["tags"] = tuple(dict.fromkeys((*defaults.tags, *pair.tags)))
    for name in ("fields", "headers"):
        said[name] = {**(getattr(defaults, name) or {}), **(getattr(pair, name) or {})}
    made: Pair = msgspec.structs.replace(defaults, **said)
    return made


def checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Raises LineError for what is no tag, or too many."""
    for tag in tags:
        if TAG.fullmatch(tag) is None:
            raise LineError(f"tags: {tag[:64]!a} is not a tag; use {TAG_FORM}")
    if len(tags) > MOST_TAGS:
        raise LineError(f"tags: {len(tags)} of them; {MOST_TAGS} are the most")
    return tags


def seconds(given: float | str) -> float:
    """A TTL in seconds. Raises LineError."""
    found = seconds_of(given.strip()) if isinstance(given, str) else given
    if found is None or not SHORTEST_TTL <= found <= LONGEST_TTL:
        raise LineError("ttl: use a time from 1s to 365d, or as many seconds")
    return float(found)


def nano(dollars: float | str) -> int:
    """Dollars as nano-dollars. Raises LineError."""
    text = dollars if isinstance(dollars, str) else format(dollars, "f")
    if _DECIMAL.fullmatch(text.strip()) is None:
        raise LineError("cost: dollars, such as 0.0042")
    return round(float(text) * 1e9)


# --- exported -----------------------------------------------------------------------------


def title(secret: str) -> bytes:
    """The first line of an export. `secret`: tells secrets apart."""
    return msgspec.json.encode(Title(export=VERSION.decode(), secret=secret)) + b"\n"


def line_of(entry: Entry) -> bytes:
    """An entry as a line."""
    head = {
        name: _OUT.get(name, _same)(getattr(entry.head, name))
        for name in entry.head.__struct_fields__
    }
    try:
        value = entry.value.decode()
    except UnicodeDecodeError:  # no answer, but not to be lost
        value = _BASE64 + base64.b64encode(entry.value).decode()
    vector = base64.b64encode(entry.vector).decode()
    said = Exported(head=head, value=value, vector=vector)
    return msgspec.json.encode(said) + b"\n"


def entry_of(line: Exported, now: float) -> Entry:
    """The entry of a line. Raises LineError."""
    try:
        head = _head(line.head)
        value = line.value.encode()
        if line.value.startswith(_BASE64):
            value = _unbased(line.value.removeprefix(_BASE64))
        entry = Entry(head, value, _unbased(line.vector))
    except (ValueError, binascii.Error, msgspec.ValidationError) as error:
        raise LineError(f"is no entry: {error}"[:200]) from None
    checked_tags(head.tags)
    times = (head.created, head.expires)
    if not all(map(math.isfinite, times)) or head.cost < 0 or head.created > now + DAY:
        raise LineError("is no entry: times or cost that cannot be")
    if head.expires > now + LONGEST_TTL:
        raise LineError("is no entry: it would be kept for more than a year")
    return entry


def _head(given: dict[str, Any]) -> Head:
    unknown = given.keys() - set(Head.__struct_fields__)
    if unknown:
        raise ValueError(f"unknown field {min(unknown)[:40]!a}")
    said = {name: _IN[name](one) if name in _IN else one for name, one in given.items()}
    # In the order of the fields, since a head is written as a list.
    missing = [name for name in Head.__struct_fields__ if name not in said]
    if missing:
        raise ValueError(f"no {missing[0]!a}")
    return msgspec.convert([said[name] for name in Head.__struct_fields__], Head)


def _same(value: Any) -> Any:
    return value


def _key(text: Any) -> bytes:
    found = bytes.fromhex(text) if isinstance(text, str) else b""
    if len(found) != KEY:
        raise ValueError(f"a key of {len(found)} bytes, not {KEY}")
    return found


def _id(text: Any) -> int:
    return read_id(text if isinstance(text, str) else "")


def _unbased(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no base64")  # noqa: TRY004 - what a line may be wrong in
    return base64.b64decode(text, validate=True)


def _hash(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no hash")  # noqa: TRY004 - as above
    return bytes.fromhex(text)


_BASE64: Final = "base64:"
_OUT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "id": shown,
    "answer": shown,
    **dict.fromkeys(("exact", "family", "scope", "text"), bytes.hex),
    "meta": lambda raw: base64.b64encode(raw).decode(),
}
_IN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "id": _id,
    "answer": _id,
    **dict.fromkeys(("exact", "family", "scope"), _key),
    "text": _hash,
    "meta": _unbased,
}
