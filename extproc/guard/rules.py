"""What a route wants of the guard: its policy over the virtual host's, checked and put together.

What a route says stands field by field over what the virtual host says, in `actions` and
`confidence` type by type; own patterns, words and allowed values are added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from extproc.guard.custom import PREFIX, PatternError, compiled
from extproc.guard.normal import Folding
from extproc.guard.placeholders import LABELS
from extproc.policy import GuardAction, GuardPolicy
from extproc.rule_error import Path, RuleError, quoted

if TYPE_CHECKING:
    from extproc.guard.default import DetectorPolicy

T = TypeVar("T")

DEFAULT: Final = "default"
"""In `actions` and `confidence`: every type that is not named."""
CUSTOM: Final = PREFIX.removesuffix(":")
"""The same: every own pattern and list of words that is not named."""
ACTION: Final[GuardAction] = "redact"
KEEP: Final = 3600.0
SHORTEST_KEEP: Final = 1.0
LONGEST_KEEP: Final = 30 * 86_400.0
"""Seconds: thirty days. Who comes back to a conversation later begins it anew."""
MOST_PATTERNS: Final = 100
"""Of one guard: each goes over every text by itself."""
MOST_TEXT: Final = 64 << 10
"""Characters of patterns, words and allowed values of one guard: Envoy sends them along with every
request."""
SHORTEST_WORD: Final = 2
"""Characters. A single letter stands in every text."""
NEVER: Final = 2.0
"""A confidence that no finding has: types that are ignored are not even weighed against others."""

_ELSEWHERE: Final = frozenset(
    """
    AGE AU_ABN AU_ACN AU_MEDICARE AU_TFN CRYPTO ES_PASSPORT FI_PERSONAL_IDENTITY_CODE ID
    IN_GSTIN IN_PASSPORT IN_VEHICLE_REGISTRATION IN_VOTER IT_DRIVER_LICENSE IT_IDENTITY_CARD
    IT_PASSPORT IT_VAT_CODE KR_BRN KR_DRIVER_LICENSE KR_FRN KR_PASSPORT KR_RRN MEDICAL_LICENSE
    NRP PL_PESEL SG_NRIC_FIN SG_UEN TH_TNIN TITLE UK_DRIVING_LICENCE UK_PASSPORT UK_POSTCODE
    UK_VEHICLE_REGISTRATION US_MBI US_NPI UUID ZIP_CODE
    """.split()  # noqa: SIM905 - a list of words reads best so
)
"""Types that Presidio's recognizers (its list of supported entities) and the models behind them
find, and ours do not."""
TYPES: Final = LABELS | _ELSEWHERE
"""All types that may be named, but for own ones."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_HINTS: Final = 3
_GUARD: Final = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The guard of one route."""

    enforce: bool
    """False: what would be done is recorded, and nothing is done."""
    request: bool
    """Requests are looked through."""
    response: bool
    """Answers are."""
    restore: bool
    """Values may have been taken out of requests, and come back in answers."""
    block_images: bool
    block_files: bool
    keep: float
    """Seconds that the placeholders of a session are kept after its last request."""
    open: bool
    """Without a detector or a store requests go on unguarded."""
    detector: DetectorPolicy
    actions: Mapping[str, GuardAction]
    """As said, by type."""

    def action(self, type_: str) -> GuardAction:
        """What is done about a finding of this type; `ignore`: as if it had not been found."""
        return _of(self.actions, type_, ACTION)

    @property
    def reads_requests(self) -> bool:
        """Something of requests is looked at, be it their pictures alone."""
        return self.request or self.block_images or self.block_files

    @property
    def searches(self) -> bool:
        """Some type is not ignored: texts have to be looked through."""
        wanted = self.detector
        return wanted.types is None or bool(wanted.types or wanted.patterns or wanted.words)


def rules(
    host: GuardPolicy | None, route: GuardPolicy | None, *, observe: bool = False
) -> Rules | None:
    """The guard of a route with this policy, below this virtual host. None: there is none.

    observe: the route as a whole only observes. Takes milliseconds: to be made once a route.
    Raises RuleError; its path then begins with `guard`.
    """
    said = merged(host, route)
    if said is None or said.enabled is False:
        return None
    _first(host_errors(host))
    _first(route_errors(host, route))
    direction = said.direction or "request"
    request = direction != "response"
    return Rules(
        enforce=said.mode != "observe" and not observe,
        request=request,
        response=direction != "request",
        restore=said.restore is not False and request and _redacts(said),
        block_images=said.images == "block",
        block_files=said.files == "block",
        keep=KEEP if said.keep is None else said.keep,
        open=said.on_failure == "open",
        detector=_detector(said),
        actions=said.actions,
    )


def is_on(host: GuardPolicy | None, route: GuardPolicy | None) -> bool:
    """There is a guard on a route with this policy, below this virtual host."""
    said = merged(host, route)
    return said is not None and said.enabled is not False


def merged(host: GuardPolicy | None, route: GuardPolicy | None) -> GuardPolicy | None:
    """What a route says over what the virtual host says. None: neither speaks of a guard."""
    if host is None or route is None:
        return host if route is None else route
    found: dict[str, Any] = {}
    for one in msgspec.structs.fields(GuardPolicy):
        above, own = getattr(host, one.name), getattr(route, one.name)
        if isinstance(own, dict):
            found[one.name] = {**above, **own}
        elif isinstance(own, tuple):
            found[one.name] = tuple(dict.fromkeys((*above, *own)))
        else:
            found[one.name] = above if own is None else own
    return GuardPolicy(**found)


def _of(said: Mapping[str, T], type_: str, otherwise: T) -> T:
    """What is said of a type: of itself, else (of an own one) of all own ones, else of all."""
    names = (type_, CUSTOM, DEFAULT) if type_.startswith(PREFIX) else (type_, DEFAULT)
    return next((said[one] for one in names if one in said), otherwise)


def _own(policy: GuardPolicy | None) -> dict[str, Path]:
    """Types of own patterns and words, and where they stand."""
    if policy is None:
        return {}
    words: dict[str, Path] = {PREFIX + name: ("words", name) for name in policy.words}
    return words | {PREFIX + name: ("patterns", name) for name in policy.patterns}


def _wanted(said: GuardPolicy) -> Iterator[str]:
    """Types that are named, or own, and not ignored; `default` where it is not."""
    for one in {DEFAULT: None, **dict.fromkeys(said.actions), **_own(said)}:
        if one != CUSTOM and _sought(said, one):
            yield one


def _sought(said: GuardPolicy, type_: str) -> bool:
    return _of(said.actions, type_, ACTION) != "ignore"


def _redacts(said: GuardPolicy) -> bool:
    return any(_of(said.actions, one, ACTION) == "redact" for one in _wanted(said))


def _detector(said: GuardPolicy) -> DetectorPolicy:
    from extproc.guard.default import LEAST, DetectorPolicy  # noqa: PLC0415 - it reads its tables

    wanted = set(_wanted(said))
    own = _own(said)
    named = {*said.confidence, *own} - {DEFAULT, CUSTOM}
    least = {
        one: _of(said.confidence, one, LEAST)
        for one in named
        if one in said.confidence or CUSTOM in said.confidence
    }
    ignored = [one for one, action in said.actions.items() if action == "ignore"]
    everything = DEFAULT in wanted
    if everything:
        least |= {one: NEVER for one in ignored if one != CUSTOM}
    return DetectorPolicy(
        types=None if everything else frozenset(one for one in wanted if one in TYPES),
        least=said.confidence.get(DEFAULT, LEAST),
        least_of=least,
        named=frozenset(
            one for one in ({*said.actions, *named} & TYPES) - {CUSTOM} if _sought(said, one)
        ),
        allow=said.allow,
        patterns={name: one for name, one in said.patterns.items() if PREFIX + name in wanted},
        words={name: one for name, one in said.words.items() if PREFIX + name in wanted},
    )


# --- what is wrong ------------------------------------------------------------------------


def host_errors(
    host: GuardPolicy | None, routes: Iterable[GuardPolicy | None] | None = None
) -> list[RuleError]:
    """Everything that is wrong with the guard that all routes share, by its places in the virtual
    host's policy.

    routes: all that there are, whose own patterns it may name. None: they are not known, and any
    may be named.
    """
    if host is None:
        return []
    own = None if routes is None else {*_own(host), *(one for each in routes for one in _own(each))}
    return list(_errors(host, own))


def route_errors(host: GuardPolicy | None, route: GuardPolicy | None) -> list[RuleError]:
    """Everything that is wrong with a route's guard, by its places in the route's policy."""
    return [] if route is None else list(_errors(route, {*_own(host), *_own(route)}))


def _errors(guard: GuardPolicy, own: set[str] | None) -> Iterator[RuleError]:
    for name in guard.actions:
        yield from _type_errors("actions", name, own)
    for name, least in guard.confidence.items():
        yield from _type_errors("confidence", name, own)
        if not 0 <= least <= 1:
            yield _wrong(f"{least:g} is not from 0 to 1", "confidence", name)
    for index, value in enumerate(guard.allow):
        if not value.strip():
            yield _wrong("is empty", "allow", index)
    yield from _pattern_errors(guard.patterns)
    yield from _word_errors(guard.words)
    if guard.keep is not None and not SHORTEST_KEEP <= guard.keep <= LONGEST_KEEP:
        yield _wrong(f"{guard.keep:g} s is not from 1 s to 30 days (720h)", "keep")
    size = sum(map(len, (*guard.allow, *guard.patterns.values())))
    size += sum(len(one) for words in guard.words.values() for one in words)
    if size > MOST_TEXT:
        message = (
            f"has {size} characters of patterns, words and allowed values; {MOST_TEXT} are the "
            "most, since they come with every request"
        )
        yield _wrong(message)


def _type_errors(field: str, name: str, own: set[str] | None) -> Iterator[RuleError]:
    if name == DEFAULT or name in TYPES:
        return
    if own is None and name.startswith(PREFIX):
        return
    known = own or set()
    if name in known:
        return
    if name.startswith(PREFIX):
        bare = name.removeprefix(PREFIX)
        what = f"no own pattern or list of words {quoted(bare)}"
        # The prefix that all have in common would make all of them look alike.
        others = [one.removeprefix(PREFIX) for one in known]
        near = [PREFIX + one for one in get_close_matches(bare, others, 1, 0.7)]
        yield _wrong(f"{what}{_hint(near, known)}", field, name)
        return
    yield _wrong(f"no type {quoted(name)}{_hint(_near(name, known), ())}", field, name)


def _near(name: str, own: set[str]) -> list[str]:
    """The types that a misspelt name may mean, the best first."""
    from extproc.guard.together import ALIASES  # noqa: PLC0415 - it reads the detector's tables

    if PREFIX + name in own:
        return [PREFIX + name]
    if name.lower() == DEFAULT:
        return [DEFAULT]
    word = re.sub(r"[^A-Z0-9]+", "_", name.upper())
    if near := get_close_matches(word, [*TYPES], 1, 0.8):
        return near
    if word in ALIASES:
        return [ALIASES[word]]
    # A part of a name: `CARD`, `NINO`.
    parts = sorted(one for one in TYPES if f"_{word}_" in f"_{one}_")
    return parts[:_HINTS] or get_close_matches(word, [*TYPES], 1, 0.6)


def _hint(near: Iterable[str], known: Iterable[str]) -> str:
    if found := " or ".join(f"'{one}'" for one in near):
        return f"; did you mean {found}?"
    if names := ", ".join(sorted(known)):
        return f"; there is {names}"
    return ""


def _pattern_errors(patterns: Mapping[str, str]) -> Iterator[RuleError]:
    folding = Folding()
    if len(patterns) > MOST_PATTERNS:
        message = f"has {len(patterns)} patterns; {MOST_PATTERNS} are the most: join some by |"
        yield _wrong(message, "patterns")
        return
    for name, pattern in patterns.items():
        if (wrong := _no_name("patterns", name)) is not None:
            yield wrong
            continue
        try:
            compiled({name: pattern}, {}, folding)
        except PatternError as error:
            yield _wrong(str(error).removeprefix(f"{name}: "), "patterns", name)


def _word_errors(words: Mapping[str, tuple[str, ...]]) -> Iterator[RuleError]:
    folding = Folding()
    for name, each in words.items():
        if (wrong := _no_name("words", name)) is not None:
            yield wrong
            continue
        if not each:
            yield _wrong("is empty; name a word, or leave it out", "words", name)
        for index, word in enumerate(each):
            if len(word.strip()) < SHORTEST_WORD:
                message = f"is too short; a word has {SHORTEST_WORD} characters at least"
                yield _wrong(message, "words", name, index)
                continue
            try:
                compiled({}, {name: (word,)}, folding)
            except PatternError:
                message = "is no word: it has no letter and no digit, or is too long"
                yield _wrong(message, "words", name, index)


def _no_name(field: str, name: str) -> RuleError | None:
    if _NAME.fullmatch(name) is not None:
        return None
    message = (
        f"{quoted(name)} is not a name; use up to 40 small letters, digits, '_' and '-', a letter "
        "first"
    )
    return _wrong(message, field, name)


def _wrong(message: str, *path: str | int) -> RuleError:
    return RuleError(message, (_GUARD, *path))


def _first(found: Iterable[RuleError]) -> None:
    for error in found:
        raise error


# --- what is weak -------------------------------------------------------------------------


def host_warnings(host: GuardPolicy | None) -> list[RuleError]:
    """What can be, and does less than it seems, in the guard that all routes share."""
    return list(_warnings(host, host)) if host is not None else []


def route_warnings(host: GuardPolicy | None, route: GuardPolicy | None) -> list[RuleError]:
    """The same of a route, without what the virtual host's guard does wrong by itself."""
    said = merged(host, route)
    if route is None or said is None:
        return []
    known = {(one.path, one.message) for one in host_warnings(host)}
    found = _warnings(said, route)
    return [one for one in found if (one.path, one.message) not in known]


def _warnings(said: GuardPolicy, own: GuardPolicy) -> Iterator[RuleError]:
    if said.enabled is False:
        return
    if said.on_failure == "open":
        message = "while the detector or the store is away, requests go on unguarded"
        yield _wrong(message, "on_failure")
    wanted = list(_wanted(said))
    if not wanted and "block" not in (said.images, said.files):
        yield _wrong("all types are ignored, so the guard does nothing", "actions")
    elif wanted:
        for type_, place in _own(own).items():
            if type_ not in wanted and type_ not in said.actions:
                yield _wrong(f"is not looked for; say actions: {{{type_}: …}}", *place)
    if said.restore:
        if said.direction == "response":
            message = "has no effect: with direction: response nothing is taken out of requests"
            yield _wrong(message, "restore")
        elif not _redacts(said):
            yield _wrong("has no effect: nothing is redacted", "restore")
