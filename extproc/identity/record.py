"""What the gateway knows of a key, and what may be said of one that is made."""

from __future__ import annotations

import difflib
import hmac
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs

from extproc.identity.keys import is_id
from extproc.identity.values import LABEL, MOST_CHARACTERS, MOST_LABELS, MOST_NAME, is_clean, shown
from extproc.records import ALL_FIELDS, Caller
from extproc.state import StateError, StoredKey

LABEL_RIGHT: Final = "label-"
MAY_SET: Final = ("feature", "labels", "session")
"""What the requests of a key may say of themselves unless it is said otherwise. Whose they are and
how urgent, the key says."""
MOST_LISTED: Final = 64
"""Models, routes and rights of one key."""
MOST_LIMITS: Final = 4096
"""Bytes of a key's own limits as JSON."""
MOST_DEPTH: Final = 8
"""Objects and arrays within each other in a key's limits."""
MOST_DIGESTS: Final = 4
"""Secrets of one key that are good at once: the newest, and those that rotations left."""
LAST_TIME: Final = 253_402_300_800.0
"""UTC epoch seconds of the year 10000: what is beyond are milliseconds."""


CheckLimits = Callable[[Mapping[str, Any]], None]
"""Raises FieldError for limits of a key that cannot be. What they mean is not known here."""


class FieldError(ValueError):
    """A field of a key that cannot be; the text begins with its name."""


class Digest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One secret of a key."""

    digest: str
    """HMAC-SHA-256 with the gateway's secret, 64 hex digits."""
    until: float | None = None
    """UTC epoch seconds: when an older secret stops being good. None: the newest."""

    def __repr__(self) -> str:
        return f"Digest(until={self.until})"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key. Times are UTC epoch seconds."""

    id: str
    name: str = ""
    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    tier: str | None = None
    models: tuple[str, ...] = ()
    """Names its requests may ask for. Empty: whatever the route allows."""
    routes: tuple[str, ...] = ()
    """Routes they may take. Empty: every route."""
    created: float
    expires: float | None = None
    revoked: float | None = None
    limits: dict[str, Any] | None = None
    labels: dict[str, str] = {}
    """On every request."""
    may_set: tuple[str, ...] = ()
    """What its requests may say of themselves: of `ALL_FIELDS`, and `label-NAME`."""
    digests: tuple[Digest, ...] = ()

    def status(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def opens(self, digest: str, now: float) -> bool:
        """Whether a secret with this digest is good for the key."""
        good = self.status(now) == "active"
        found = False
        for one in self.digests:
            same = hmac.compare_digest(one.digest, digest)
            found |= same and (one.until is None or now < one.until)
        return good and found

    def shown(self, now: float) -> dict[str, Any]:
        """The key for people to read: without digests, with its `status`, and with `old_until`
        where a rotation has left an older secret good."""
        found: dict[str, Any] = structs.asdict(self)
        digests = found.pop("digests")
        untils = [one.until for one in digests if one.until is not None and one.until > now]
        found["status"] = self.status(now)
        found["old_until"] = max(untils, default=None)
        return found

    def caller(self) -> Caller:
        """Who asks with this key."""
        return Caller(
            source="key",
            key=self.id,
            tenant=self.tenant,
            team=self.team,
            user=self.user,
            tier=self.tier,
            models=self.models,
            routes=self.routes,
            may_set=frozenset(self.may_set),
            labels=tuple(sorted(self.labels.items())),
            limits=msgspec.json.encode(self.limits).decode() if self.limits else None,
        )


class Fields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What may be said of a new key."""

    name: str | None = None
    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    tier: str | None = None
    models: list[str] | None = None
    routes: list[str] | None = None
    expires_in: float | None = None
    """Seconds from now."""
    expires_at: float | str | None = None
    """UTC epoch seconds, or a time as ISO 8601 writes it; without a zone it is UTC."""
    limits: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    may_set: list[str] | None = None


def fields_of(tree: Mapping[str, Any]) -> Fields:
    """What an object of JSON says of a new key. Raises FieldError."""
    return converted(tree, Fields)


F = TypeVar("F", bound=Fields)


def converted(tree: Mapping[str, Any], kind: type[F]) -> F:
    """An object of JSON as `kind`. Raises FieldError."""
    for name in tree:
        if name not in kind.__struct_fields__:
            near = difflib.get_close_matches(str(name), kind.__struct_fields__, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise FieldError(f"{shown(name)[1:-1]}: a key has no such field{hint}")
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        field = re.split(r"[^a-z_]", path, maxsplit=1)[0]
        what = what[0].lower() + what[1:]
        raise FieldError(f"{field}: {what}" if field else what) from None


def made(
    fields: Fields,
    key_id: str,
    now: float,
    tiers: Collection[str],
    check_limits: CheckLimits | None = None,
) -> KeyRecord:
    """A record without digests. `tiers`: those that exist; empty: any may be named. Raises
    FieldError."""
    return KeyRecord(
        id=key_id,
        name=_text("name", fields.name) or "",
        tenant=_text("tenant", fields.tenant),
        team=_text("team", fields.team),
        user=_text("user", fields.user),
        tier=_tier(fields.tier, tiers),
        models=_listed("models", fields.models),
        routes=_listed("routes", fields.routes),
        created=now,
        expires=_expiry(fields, now),
        limits=_limits(fields.limits, check_limits),
        labels=_labels(fields.labels or {}),
        may_set=MAY_SET if fields.may_set is None else rights("may_set", fields.may_set),
    )


def rights(field: str, named: Iterable[str]) -> tuple[str, ...]:
    """Rights to say something of a request, sorted, each once. Raises FieldError."""
    found = sorted(set(named))
    for one in found:
        label = one.removeprefix(LABEL_RIGHT) if one.startswith(LABEL_RIGHT) else None
        if one not in ALL_FIELDS and (label is None or LABEL.fullmatch(label) is None):
            known = ", ".join(sorted(ALL_FIELDS))
            raise FieldError(f"{field}: {shown(one)} is none of {known} and no label-NAME")
    if len(found) > MOST_LISTED:
        raise FieldError(f"{field}: {len(found)} entries; {MOST_LISTED} are the most")
    return tuple(found)


def stored(record: KeyRecord) -> StoredKey:
    """The record as the store keeps it."""
    digests = tuple(one.digest for one in record.digests)
    return StoredKey(record.id, msgspec.json.encode(record), digests)


def read(found: StoredKey) -> KeyRecord:
    """A record from the store. Raises StateError for one that cannot be read."""
    try:
        record = _RECORD.decode(found.record)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StateError(f"the record of key {shown(found.id)} cannot be read: {error}") from None
    if record.id != found.id:
        raise StateError(f"the record of key {shown(found.id)} is another key's")
    return record


_RECORD: Final = msgspec.json.Decoder(KeyRecord)


def time_of(field: str, value: float | None) -> float | None:
    """A time in UTC epoch seconds. Raises FieldError for what is none."""
    if value is not None and not 0 < value < LAST_TIME:
        raise FieldError(f"{field}: {value} is no time in seconds since 1970")
    return value


def id_of(value: str) -> str:
    """A key's id. Raises FieldError for what is none."""
    if not is_id(value):
        raise FieldError(f"id: {shown(value)} is not 12 letters and digits")
    return value


# --- fields -------------------------------------------------------------------------------


def _text(field: str, value: str | None, most: int = MOST_CHARACTERS) -> str | None:
    if value is None or value == "":
        return None
    if len(value) > most:
        raise FieldError(f"{field}: {len(value)} characters; {most} are the most")
    if not is_clean(value, most):
        raise FieldError(f"{field}: {shown(value)} has control characters or space around it")
    return value


def _tier(value: str | None, tiers: Collection[str]) -> str | None:
    tier = _text("tier", value, MOST_NAME)
    if tier is not None and tiers and tier not in tiers:
        raise FieldError(f"tier: there is no {shown(tier)}; there are {', '.join(sorted(tiers))}")
    return tier


def _listed(field: str, values: list[str] | None) -> tuple[str, ...]:
    if values is None:
        return ()
    found = tuple(dict.fromkeys(_text(field, one) for one in values))
    if len(found) > MOST_LISTED:
        raise FieldError(f"{field}: {len(found)} entries; {MOST_LISTED} are the most")
    if None in found:
        raise FieldError(f"{field}: an entry is empty")
    return tuple(one for one in found if one is not None)


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > MOST_LABELS:
        raise FieldError(f"labels: {len(labels)} labels; {MOST_LABELS} are the most")
    for name, value in labels.items():
        if LABEL.fullmatch(name) is None:
            raise FieldError(
                f"labels: a name has up to {MOST_NAME} of a-z, 0-9, '_', '.', '-', and does not "
                f"begin with '_', unlike {shown(name)}"
            )
        if _text(f"labels.{name}", value) is None:
            raise FieldError(f"labels.{name}: empty")
    return dict(sorted(labels.items()))


def _limits(
    limits: dict[str, Any] | None, check_limits: CheckLimits | None
) -> dict[str, Any] | None:
    if not limits:
        return None
    if _deeper(limits, MOST_DEPTH):
        raise FieldError(f"limits: nested deeper than {MOST_DEPTH}")
    try:
        size = len(msgspec.json.encode(limits))
    except (TypeError, ValueError):
        raise FieldError("limits: not JSON") from None
    if size > MOST_LIMITS:
        raise FieldError(f"limits: {size} bytes; {MOST_LIMITS} are the most")
    if check_limits is not None:
        check_limits(limits)
    return limits


def _deeper(tree: Any, depth: int) -> bool:
    if not isinstance(tree, dict | list):
        return False
    inner = tree.values() if isinstance(tree, dict) else tree
    return depth == 0 or any(_deeper(one, depth - 1) for one in inner)


def _expiry(fields: Fields, now: float) -> float | None:
    expires_in, expires_at = fields.expires_in, fields.expires_at
    if expires_in is not None and expires_at is not None:
        raise FieldError("expires_at: expires_in is there too; one of them is enough")
    if expires_in is not None:
        if not math.isfinite(expires_in) or expires_in <= 0:
            raise FieldError(f"expires_in: {expires_in} is not a number of seconds from now")
        return time_of("expires_in", now + expires_in)
    if isinstance(expires_at, str):
        expires_at = _moment(expires_at)
    if expires_at is not None and time_of("expires_at", expires_at) and expires_at <= now:
        raise FieldError("expires_at: is past")
    return expires_at


def _moment(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise FieldError(f"expires_at: {shown(text)} is no time of ISO 8601") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    try:
        return found.timestamp()
    except (OverflowError, ValueError):
        raise FieldError(f"expires_at: {shown(text)} is out of range") from None
