"""What a request's headers want of the cache, and what an answer's say of how long it is true.

Our own header and `Cache-Control` speak as RFC 9111, section 5.2.1, has it: `no-cache` asks the
provider and keeps the answer, `no-store` keeps nothing and may be answered from what is kept. The
switches of Portkey, Helicone and Cloudflare do what they do there, as far as they cannot make an
answer known to more callers than the policy lets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from msgspec import Struct

from extproc import headers as names
from extproc.cache.rules import LONGEST_TTL, MOST_TAGS, SCOPES, TAG, TAG_FORM, Rules
from extproc.errors import ClientError, bad_request
from extproc.policy import CacheScope

LONGEST_NAME: Final = 256
"""Characters of a namespace, a seed or a key of the client's own."""

_DURATION: Final = re.compile(r"(\d{1,10})(s|m|h|d)?", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DELTA: Final = re.compile(r"\d{1,19}", re.ASCII)
_PRINTED: Final = re.compile(r"[\x20-\x7e]+")
_OURS: Final = (
    names.CACHE,
    names.CACHE_CONTROL,
    names.TAGS,
    names.CACHE_TTL,
    names.CACHE_KIND,
    names.CACHE_SCOPE,
    names.PORTKEY_REFRESH,
    names.PORTKEY_NAMESPACE,
    names.HELICONE_CACHE,
    names.HELICONE_SEED,
    names.CLOUDFLARE_SKIP,
    names.CLOUDFLARE_TTL,
    names.CLOUDFLARE_KEY,
)
READS: Final = frozenset(_OURS)
"""The headers that are read here, in lower case."""


class Control(Struct, frozen=True, kw_only=True):
    """What a request wants of the cache."""

    read: bool = True
    """It may be answered from what is kept."""
    write: bool = True
    """Its answer may be kept."""
    refresh: bool = False
    """What is kept, whatever would have been served, gives way to the new answer."""
    only: bool = False
    """The provider is not to be asked: 504 where nothing is kept."""
    max_age: float | None = None
    """Seconds that what is kept may be old."""
    ttl: float | None = None
    """Seconds that the answer is to be kept; `Rules.ttl` bounds it."""
    kind: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    seed: str | None = None
    key: str | None = None
    """A key of the client's own; whether it takes the place of the request the policy says."""
    scope: CacheScope | None = None
    """Who shares the answer. None: as the policy says."""


NOTHING: Final = Control()
"""No header says anything."""


def control(headers: Mapping[str, str], rules: Rules) -> Control:
    """What these headers (by lower-case name) want of a route's cache. Raises ClientError: 400 that
    names the header, and 403 for a scope that is wider than the route allows."""
    if READS.isdisjoint(headers):
        return NOTHING
    wishes = _Wishes()
    for name, read in _DIRECTIVES.items():
        if name in headers:
            read(wishes, name, headers[name])
    if wishes.only and not wishes.read:
        _refuse(wishes.only, "'only-if-cached' cannot go with what asks the provider")
    if wishes.refresh and not wishes.write:
        _refuse(wishes.refresh, "'refresh' cannot go with 'no-store'")
    ttl = wishes.ttl
    if ttl is None and wishes.helicone and names.CACHE_CONTROL in headers:
        ttl = wishes.max_age  # Helicone: how long an answer is kept
    return Control(
        read=wishes.read,
        write=wishes.write,
        refresh=bool(wishes.refresh),
        only=bool(wishes.only),
        max_age=wishes.max_age,
        ttl=ttl,
        kind=_kind(headers, rules),
        tags=_tags(headers.get(names.TAGS)),
        namespace=_name(headers, names.PORTKEY_NAMESPACE),
        seed=_name(headers, names.HELICONE_SEED),
        key=_name(headers, names.CLOUDFLARE_KEY),
        scope=_scope(headers.get(names.CACHE_SCOPE), rules),
    )


def of_answer(headers: Mapping[str, str], kinds: frozenset[str]) -> tuple[float | None, str | None]:
    """(TTL in seconds, kind) as an answer's headers (by lower-case name) say. What is malformed is
    as good as absent: nobody could be blamed."""
    ttl = None
    if (text := headers.get(names.CACHE_TTL)) is not None:
        ttl = _seconds(text.strip())
    kind = headers.get(names.CACHE_KIND, "").strip()
    return ttl, kind if kind in kinds else None


class _Wishes:
    """What has been said so far; of two ages or times the shorter counts."""

    __slots__ = ("helicone", "max_age", "only", "read", "refresh", "ttl", "write")

    def __init__(self) -> None:
        self.read = True
        self.write = True
        self.refresh = ""
        """The header that said so."""
        self.only = ""
        self.max_age: float | None = None
        self.ttl: float | None = None
        self.helicone = False

    def older(self, seconds: float) -> None:
        """Nothing that is older."""
        self.max_age = seconds if self.max_age is None else min(self.max_age, seconds)

    def keep(self, seconds: float) -> None:
        """No longer than that."""
        self.ttl = seconds if self.ttl is None else min(self.ttl, seconds)


# --- headers ------------------------------------------------------------------------------


def _own(wishes: _Wishes, name: str, text: str) -> None:
    given = [one.strip() for one in text.split(",")]
    if not any(given):
        _refuse(name, "is empty")
    for one in given:
        if one and not _directive(wishes, name, one):
            message = "use no-cache, no-store, refresh, max-age=SECONDS, only-if-cached"
            _refuse(name, f"{one[:40]!a} is not known; {message}")


def _standard(wishes: _Wishes, name: str, text: str) -> None:
    """`Cache-Control`, whose other directives are for others (RFC 9111, 5.2.3)."""
    for one in text.split(","):
        _directive(wishes, name, one.strip(), standard=True)


def _directive(wishes: _Wishes, name: str, given: str, *, standard: bool = False) -> bool:
    word, equals, value = given.partition("=")
    word = word.strip().lower()
    if word == "max-age":
        value = value.strip().strip('"')
        if _DELTA.fullmatch(value) is None:
            _refuse(name, "max-age takes a whole number of seconds")
        wishes.older(float(value))
        return True
    if equals and not standard:
        return False
    if word == "no-cache":
        wishes.read = False
    elif word == "no-store":
        wishes.write = False
    elif word == "only-if-cached":
        wishes.only = name
    elif word == "refresh" and not standard:
        wishes.read, wishes.refresh = False, name
    else:
        return False
    return True


def _ttl(wishes: _Wishes, name: str, text: str) -> None:
    seconds = _seconds(text.strip())
    if seconds is None:
        _refuse(name, "use a time from 1 s to a year: 90, 90s, 15m, 6h, 30d")
    wishes.keep(seconds)


def _helicone(wishes: _Wishes, name: str, text: str) -> None:
    wishes.helicone = _truth(name, text)
    if not wishes.helicone:
        wishes.read = wishes.write = False


def _portkey(wishes: _Wishes, name: str, text: str) -> None:
    if _truth(name, text):
        wishes.read, wishes.refresh = False, name


def _cloudflare(wishes: _Wishes, name: str, text: str) -> None:
    if _truth(name, text):
        wishes.read = wishes.write = False


_DIRECTIVES: Final[Mapping[str, Callable[[_Wishes, str, str], None]]] = {
    names.CACHE: _own,
    names.CACHE_CONTROL: _standard,
    names.CACHE_TTL: _ttl,
    names.HELICONE_CACHE: _helicone,
    names.PORTKEY_REFRESH: _portkey,
    names.CLOUDFLARE_SKIP: _cloudflare,
    names.CLOUDFLARE_TTL: _ttl,
}


def _kind(headers: Mapping[str, str], rules: Rules) -> str | None:
    kind = headers.get(names.CACHE_KIND)
    if kind is None:
        return None
    kind = kind.strip()
    if kind not in rules.by_kind:
        _refuse(names.CACHE_KIND, f"no kind {kind[:40]!a}; there is {', '.join(rules.by_kind)}")
    return kind


def _tags(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    found = dict.fromkeys(one for part in text.split(",") if (one := part.strip()))
    for tag in found:
        if TAG.fullmatch(tag) is None:
            _refuse(names.TAGS, f"{tag[:40]!a} is not a tag; use {TAG_FORM}")
    if len(found) > MOST_TAGS:
        _refuse(names.TAGS, f"{len(found)} tags; {MOST_TAGS} are the most")
    return tuple(found)


def _name(headers: Mapping[str, str], name: str) -> str | None:
    text = headers.get(name)
    if text is None:
        return None
    text = text.strip()
    if len(text) > LONGEST_NAME or _PRINTED.fullmatch(text) is None:
        _refuse(name, f"use 1 to {LONGEST_NAME} characters of printable ASCII")
    return text


def _scope(text: str | None, rules: Rules) -> CacheScope | None:
    if text is None:
        return None
    wanted = text.strip().lower()
    scope = next((one for one in SCOPES if one == wanted), None)
    if scope is None:
        _refuse(names.CACHE_SCOPE, f"{wanted[:40]!a} is no scope; use {', '.join(SCOPES)}")
    if SCOPES.index(scope) > SCOPES.index(rules.allow_scope):
        message = (
            f"'{names.CACHE_SCOPE}: {scope}' is wider than this route allows "
            f"('{rules.allow_scope}')."
        )
        code = "cache_scope_not_allowed"
        raise ClientError(403, "permission_error", code, message, names.CACHE_SCOPE)
    return scope


def _truth(name: str, text: str) -> bool:
    said = text.strip().lower()
    if said in ("true", "1"):
        return True
    if said not in ("false", "0"):
        _refuse(name, "use true or false")
    return False


def _seconds(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    seconds = float(int(found[1]) * _UNITS[found[2] or "s"])
    return seconds if 1 <= seconds <= LONGEST_TTL else None


def _refuse(name: str, what: str) -> NoReturn:
    raise bad_request(f"Header '{name}': {what}.", name, "invalid_header")
