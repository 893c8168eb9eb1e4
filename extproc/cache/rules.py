"""What a route wants of the cache: its policy over the virtual host's, checked and put together.

What a route says stands field by field over what the virtual host says, in `kinds` and `ttl` entry
by entry; tags are added.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from extproc.cache.kinds import BUILT_IN, DEFAULT, Kinds
from extproc.policy import CacheField, CacheKind, CachePolicy, CacheScope, CacheTtl, cache_policy
from extproc.rule_error import Path, RuleError, quoted

MAX_ERROR: Final = 0.01
AUDIT: Final = 0.05
THRESHOLD: Final = 0.95
"""Operators of semantic caches choose 0.92 to 0.97."""
MIN_SCORE: Final = 0.5
"""Until a partition has drawn a line of its own, nothing below 0.75 is served all the same."""
TTL: Final = 21_600.0
FACTUAL_TTL: Final = 2_592_000.0
DYNAMIC_TTL: Final = 3_600.0
MAX_ENTRY: Final = 256 << 10
"""Bytes. A long answer of text has some 20 kB; what is larger holds pictures or vectors."""
TEMPERATURE: Final = 1.0
"""The default of every client format: a client that says nothing is served."""
WAIT: Final = 30.0

MOST_ERROR: Final = 0.5
SHORTEST_TTL: Final = 1.0
LONGEST_TTL: Final = 365 * 86_400.0
"""Seconds: a year, the most that Helicone's cache takes."""
SMALLEST_ENTRY: Final = 256
LARGEST_ENTRY: Final = 16 << 20
MOST_TEMPERATURE: Final = 2.0
LONGEST_WAIT: Final = 300.0
"""Seconds. Envoy waits ten minutes at most, in which a request may have to queue as well."""
MOST_KINDS: Final = 32
MOST_WORDS: Final = 500
"""Of all own kinds together: Envoy sends them along with every request."""
LONGEST_WORD: Final = 80
MOST_TAGS: Final = 16
TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}")
TAG_FORM: Final = "up to 64 letters, digits and . _ : / @ -, a letter or digit first"
SCOPES: Final[tuple[CacheScope, ...]] = ("session", "user", "tenant", "shared")
"""The narrowest first."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_CACHE: Final = "cache"
_LETTER: Final = re.compile(r"\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRules:
    """What holds for one kind of content."""

    ttl: float
    """Seconds."""
    threshold: float
    min_score: float
    max_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The cache of one route."""

    serve: bool
    """False: what would be served is recorded, and nothing is served."""
    semantic: bool
    """Requests that ask the same in other words meet."""
    calibrated: bool
    """A calibrated model decides; False: the score alone."""
    strict: bool
    """Nothing is served semantically before a partition has labels of its own."""
    audit: float
    """Share (0 to 1) of would-be semantic hits that go to the provider all the same."""
    scope: CacheScope
    """Who shares answers, where no header says it."""
    allow_scope: CacheScope
    """The widest scope that a header may ask for."""
    custom_keys: bool
    """A key of the client's takes the place of the request."""
    conversation: bool
    """The whole conversation is compared, not the last user turn."""
    tool_calls: bool
    """Answers with tool calls are kept."""
    max_entry_bytes: int
    temperature_max: float
    wait: float
    """Seconds that a request waits at most for the same one in flight; 0: none waits."""
    longest_ttl: float
    """Seconds; the most that a header may ask for."""
    tags: tuple[str, ...]
    judge: str | None
    kinds: Kinds
    """Tells the kind of a text."""
    by_kind: Mapping[str, KindRules]
    """Every kind that there is, `default` among them."""

    def of(self, kind: str) -> KindRules:
        """What holds for this kind; for one that is not known, what holds by default."""
        return self.by_kind.get(kind) or self.by_kind[DEFAULT]

    def ttl(self, kind: str, asked: float | None = None) -> float:
        """Seconds that an answer of this kind is kept, where a header asked for so many or none
        did."""
        return self.of(kind).ttl if asked is None else min(asked, self.longest_ttl)


def rules(
    host: CacheField | None, route: CacheField | None, *, observe: bool = False
) -> Rules | None:
    """The cache of a route with this policy, below this virtual host. None: there is none.

    observe: the route as a whole only observes. To be made once a route. Raises RuleError; its path
    then begins with `cache`.
    """
    said = merged(host, route)
    if said is None or is_off(said):
        return None
    _first(host_errors(host))
    _first(route_errors(host, route))
    by_kind = _by_kind(said)
    scope = said.scope or "tenant"
    longest = said.ttl.longest
    return Rules(
        serve=said.mode != "observe" and not observe,
        semantic=said.mode in ("semantic", "observe"),
        calibrated=said.verifier != "threshold",
        strict=said.strict is True,
        audit=_or(said.audit, AUDIT),
        scope=scope,
        allow_scope=max(said.allow_scope or scope, scope, key=SCOPES.index),
        custom_keys=said.custom_keys is True,
        conversation=said.embed == "conversation",
        tool_calls=said.tool_calls is True,
        max_entry_bytes=MAX_ENTRY if said.max_entry_bytes is None else said.max_entry_bytes,
        temperature_max=_or(said.temperature_max, TEMPERATURE),
        wait=_or(said.wait, WAIT),
        longest_ttl=_or(longest, max(one.ttl for one in by_kind.values())),
        tags=said.tags,
        judge=said.judge,
        kinds=Kinds({name: kind.words for name, kind in said.kinds.items()}),
        by_kind=by_kind,
    )


def is_on(host: CacheField | None, route: CacheField | None) -> bool:
    """There is a cache on a route with this policy, below this virtual host."""
    said = merged(host, route)
    return said is not None and not is_off(said)


def is_off(said: CachePolicy) -> bool:
    """Nothing is looked up and nothing is kept."""
    return said.mode is False or said.mode == "off"


def merged(host: CacheField | None, route: CacheField | None) -> CachePolicy | None:
    """What a route says over what the virtual host says. None: neither speaks of a cache."""
    above, own = cache_policy(host), cache_policy(route)
    if above is None or own is None:
        return above if own is None else own
    made: CachePolicy = _over(above, own)
    kinds = {**above.kinds, **own.kinds}
    for name in above.kinds.keys() & own.kinds.keys():
        words = own.kinds[name].words or above.kinds[name].words
        one = _over(above.kinds[name], own.kinds[name])
        kinds[name] = msgspec.structs.replace(one, words=words)
    times = {**above.ttl.kinds, **own.ttl.kinds}
    return msgspec.structs.replace(
        made,
        kinds=kinds,
        ttl=msgspec.structs.replace(_over(above.ttl, own.ttl), kinds=times),
        tags=tuple(dict.fromkeys((*above.tags, *own.tags))),
    )


def _over(above: Any, own: Any) -> Any:
    """The fields of `own`, and where it says nothing those of `above`."""
    said = {name: getattr(own, name) for name in own.__struct_fields__}
    return msgspec.structs.replace(
        above, **{name: one for name, one in said.items() if one is not None}
    )


def _or(said: float | None, otherwise: float) -> float:
    return otherwise if said is None else said


def _by_kind(said: CachePolicy) -> dict[str, KindRules]:
    ttl = said.ttl
    default = _or(ttl.default, TTL)
    times = {
        **dict.fromkeys(said.kinds, default),
        DEFAULT: default,
        "factual": _or(ttl.factual, FACTUAL_TTL),
        "dynamic": _or(ttl.dynamic, DYNAMIC_TTL),
        **ttl.kinds,
    }
    found = {}
    for name, seconds in times.items():
        own = said.kinds.get(name, CacheKind())
        found[name] = KindRules(
            ttl=seconds,
            threshold=_or(own.threshold, _or(said.threshold, THRESHOLD)),
            min_score=_or(own.min_score, _or(said.min_score, MIN_SCORE)),
            max_error=_or(own.max_error, _or(said.max_error, MAX_ERROR)),
        )
    return found


# --- what is wrong ------------------------------------------------------------------------


def host_errors(host: CacheField | None, chains: Collection[str] | None = None) -> list[RuleError]:
    """Everything that is wrong with the cache that all routes share, by its places in the virtual
    host's policy.

    chains: all that there are, for the judge. None: they are not known, and any may be named.
    """
    policy = cache_policy(host)
    return [] if policy is None else placed(host, _errors(policy, policy, chains))


def route_errors(
    host: CacheField | None, route: CacheField | None, chains: Collection[str] | None = None
) -> list[RuleError]:
    """Everything that is wrong with a route's cache, by its places in the route's policy."""
    own, said = cache_policy(route), merged(host, route)
    return [] if own is None or said is None else placed(route, _errors(own, said, chains))


def placed(field: CacheField | None, found: Iterable[RuleError]) -> list[RuleError]:
    """A mode that is written alone has no places within."""
    if isinstance(field, CachePolicy):
        return list(found)
    return [RuleError(one.message, one.path[:1]) for one in found]


def _errors(
    own: CachePolicy, said: CachePolicy, chains: Collection[str] | None
) -> Iterator[RuleError]:
    if own.mode is True:
        yield wrong("true is no mode; use exact, semantic, observe or off", "mode")
    yield from _shares(own)
    yield from _score_errors(own, said)
    yield from _ttl_errors(own.ttl)
    yield from _kind_errors(own)
    yield from _word_errors(own, said)
    yield from _ranges(own)
    if own.allow_scope is not None:
        scope = said.scope or "tenant"
        if SCOPES.index(own.allow_scope) < SCOPES.index(scope):
            yield wrong(f"'{own.allow_scope}' is narrower than the scope, '{scope}'",
                         "allow_scope")  # fmt: skip
    if said.custom_keys is True and "shared" in (said.scope, said.allow_scope):
        message = (
            "lets every tenant put an answer under a key that all others use; not with the scope "
            "'shared'"
        )
        yield wrong(message, "custom_keys" if own.custom_keys is True else "scope")
    for index, tag in enumerate(own.tags):
        if TAG.fullmatch(tag) is None:
            yield wrong(f"{quoted(tag)} is not a tag; use {TAG_FORM}", "tags", index)
    if len(said.tags) > MOST_TAGS:
        yield wrong(f"has {len(said.tags)} tags; {MOST_TAGS} are the most", "tags")
    if own.judge is not None and chains is not None and own.judge not in chains:
        yield wrong(f"no chain {quoted(own.judge)}{_hint(own.judge, chains)}", "judge")


def _shares(own: CachePolicy) -> Iterator[RuleError]:
    for place, policy in _thresholds(own):
        if policy.max_error is not None and not 0 < policy.max_error <= MOST_ERROR:
            message = f"{policy.max_error:g} is not above 0 and at most {MOST_ERROR:g}"
            yield wrong(message, *place, "max_error")
        for name in ("threshold", "min_score"):
            score = getattr(policy, name)
            if score is not None and not 0 <= score <= 1:
                yield wrong(f"{score:g} is not from 0 to 1", *place, name)
    if own.audit is not None and not 0 <= own.audit <= 1:
        yield wrong(f"{own.audit:g} is not from 0 to 1", "audit")


def _thresholds(own: CachePolicy) -> Iterator[tuple[Path, CachePolicy | CacheKind]]:
    yield (), own
    yield from ((("kinds", name), kind) for name, kind in own.kinds.items())


def _score_errors(own: CachePolicy, said: CachePolicy) -> Iterator[RuleError]:
    """A threshold below the least score would never be reached by what lies between them."""
    for name, one in _by_kind(said).items():
        place: Path = ("kinds", name) if name in own.kinds else ()
        here: CachePolicy | CacheKind = own.kinds.get(name, own)
        spoken = here.threshold is not None or here.min_score is not None
        inherited = not place and name in said.kinds
        if not spoken or not (place or inherited or name == DEFAULT):
            continue
        if one.threshold < one.min_score:
            field = "threshold" if here.threshold is not None else "min_score"
            message = f"the threshold, {one.threshold:g}, is below min_score, {one.min_score:g}"
            yield wrong(f"{message}, for '{name}'" if inherited else message, *place, field)


def _ttl_errors(ttl: CacheTtl) -> Iterator[RuleError]:
    times: dict[Path, float | None] = {
        ("default",): ttl.default,
        ("factual",): ttl.factual,
        ("dynamic",): ttl.dynamic,
        ("longest",): ttl.longest,
        **{("kinds", name): seconds for name, seconds in ttl.kinds.items()},
    }
    for place, seconds in times.items():
        if seconds is not None and not SHORTEST_TTL <= seconds <= LONGEST_TTL:
            written = f"{seconds / 86_400:g}d" if seconds > LONGEST_TTL else f"{seconds:g} s"
            yield wrong(f"{written} is not from 1 s to a year (365d)", "ttl", *place)


def _kind_errors(own: CachePolicy) -> Iterator[RuleError]:
    for name in own.kinds:
        if _NAME.fullmatch(name) is None:
            yield _no_name(name, "kinds", name)
    for name in own.ttl.kinds:
        place = ("ttl", "kinds", name)
        if name in BUILT_IN:
            yield wrong(f"is built in; say ttl: {{{name}: …}}", *place)
        elif _NAME.fullmatch(name) is None:
            yield _no_name(name, *place)


def _word_errors(own: CachePolicy, said: CachePolicy) -> Iterator[RuleError]:
    if len({*said.kinds, *said.ttl.kinds}) > MOST_KINDS:
        yield wrong(f"are more than {MOST_KINDS}", "kinds")
    if sum(len(kind.words) for kind in said.kinds.values()) > MOST_WORDS:
        message = f"have more than {MOST_WORDS} words, which come with every request"
        yield wrong(message, "kinds")
    for name, kind in own.kinds.items():
        if kind.words and name == DEFAULT:
            yield wrong("is the kind of what no word is of; it takes none", "kinds", name, "words")
        for index, word in enumerate(kind.words):
            if len(word) > LONGEST_WORD or _LETTER.search(word) is None:
                message = (
                    f"is no word: it has no letter and no digit, or over {LONGEST_WORD} of them"
                )
                yield wrong(message, "kinds", name, "words", index)


def _ranges(own: CachePolicy) -> Iterator[RuleError]:
    ranges: dict[str, tuple[int, int]] = {
        "max_entry_bytes": (SMALLEST_ENTRY, LARGEST_ENTRY),
        "temperature_max": (0, int(MOST_TEMPERATURE)),
        "wait": (0, int(LONGEST_WAIT)),
    }
    for name, (least, most) in ranges.items():
        value = getattr(own, name)
        if value is not None and not least <= value <= most:
            said = f"{value:,}" if isinstance(value, int) else f"{value:g}"
            yield wrong(f"{said} is not from {least:,} to {most:,}", name)


def _no_name(name: str, *path: str | int) -> RuleError:
    message = (
        f"{quoted(name)} is not a name; use up to 40 small letters, digits, '_' and '-', a letter "
        "first"
    )
    return wrong(message, *path)


def _hint(name: str, known: Collection[str]) -> str:
    if near := get_close_matches(name, known, 1, 0.6):
        return f"; did you mean '{near[0]}'?"
    return f"; there is {', '.join(sorted(known))}" if known else ""


def wrong(message: str, *path: str | int) -> RuleError:
    """What is wrong at this place of a cache."""
    return RuleError(message, (_CACHE, *path))


def _first(found: Iterable[RuleError]) -> None:
    for error in found:
        raise error
