"""Names of persons, by signs that add up.

There is a list of given and family names, titles (`Dr. X`), words in front (`my name is X`, `Dear
X`) and behind (`X said`), the shape of a name (`Xaver Q. Ypsilon`), the endings of family names
(`-ović`, `-dóttir`). A given name that is no word and no place is enough on its own. A name found
once is found again in the same text where nothing but itself gives it away.
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final

import msgspec

from extproc.guard import Finding
from extproc.guard.cues import BEHIND, ORGANISATION, told
from extproc.guard.names import (
    AMID,
    ENDING,
    ENDING_FROM,
    FAMILY,
    GIVEN,
    INITIAL,
    LISTED,
    TITLE,
    WEAK_FAMILY,
    WEAK_GIVEN,
    WORD,
    Names,
    ending,
    fold,
    shipped,
)
from extproc.guard.triggers import HAN_NAMES, SMALL_NAMES, triggers

SURE: Final = 0.85
"""A given and a family name of the lists, or one behind a title or `my name is`."""
LIKELY: Final = 0.7
ALONE: Final = 0.55
"""One name of the lists by itself."""

_UPPER: Final = "".join(sign for sign in map(chr, range(0x530)) if sign.isupper())
_LETTERS: Final = r"[a-z]*+[^\W\d_]*+(?:['’\-](?=[^\W\d_]{2})[^\W\d_]++)*+"
"""What follows a name's first letter. (A range of ASCII is several times as fast as a class.)"""
_PARTICLE: Final = (
    r"(?:van|von|vom|zu|zum|zur|de|del|della|di|da|do|dos|das|du|der|den|ten|ter|la|le|el|al|bin"
    r"|ibn"
    r"|bint|ben|af|av)"
)
_RUN: Final = re.compile(
    rf"[{_UPPER}](?<![\w@#/\\].){_LETTERS}"
    rf"(?:(?:\.?[ \u00a0]|\.)(?=[{_UPPER}abdeiltvz])(?:(?:{_PARTICLE}[ ]){{1,3}}+)?+"
    rf"[{_UPPER}]{_LETTERS}){{0,15}}+"
)
"""Words that begin with a capital, one after the other; a name's particles between them. (A pattern
that begins with a class of signs is fast to look for.)"""
_PIECE: Final = re.compile(rf"[{_UPPER}]{_LETTERS}")
_LONGEST: Final = 5
"""Tokens of a name."""
_HEADING: Final = 7
"""So many words with capitals in a row are a heading."""
_SHORT: Final = 3
"""Letters of a single name at least: fewer are abbreviations."""
_LOWER: Final = re.compile(
    r"(?:name(?:[ ]is|'s|[ ]?:)|calls?[ ]me|m(?<!\w.)rs?\.?|m(?<!\w.)s\.?|d(?<!\w.)r\.?|prof\.?"
    r"|m['’]appelle|me[ ]llamo|mi[ ]chiamo|hei(?:ß|ss)e)[ ]+([^\W\d_]+(?:[ ][^\W\d_]+){0,2})"
)
"""Where a name may stand in lower case."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_HAN: Final = re.compile(
    r"(?:我叫|我的名字是|名字叫|姓名(?:是|[:：])|氏名(?:は|[:：])|名前は|私は)\s?"
    r"([\u4e00-\u9fff]{2,4}?)(?=[，。,.！!、\s\"」]|です|と|$)"
)
"""Names in Chinese and Japanese, behind the words that give them."""
_ACCENTED: Final = (
    "ić",
    "ič",
    "ová",
    "ský",
    "ská",
    "ová",
    "ćka",
    "čka",
    "ńska",
    "ński",
    "ői",
    "szky",
)
_TIES: Final = (" and ", " & ", ", ")
"""What stands between the names of several persons."""
_JOINTS: Final = re.compile(r"['’\-]")
SPEAKING: Final = LISTED | TITLE
"""Where no word of a run has one, only what stands in front makes it a name."""
WEAKLY: Final = WEAK_GIVEN | WEAK_FAMILY | AMID
_LAST: Final = FAMILY | ENDING
"""Ends a name, by the lists or by its form."""
_TELLING: Final = SPEAKING | ENDING | INITIAL
_START: Final = attrgetter("start")


class _Token(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int
    key: str
    signs: int
    """As the lists say, and the word's form (`names.LISTED` …)."""


class _Search:
    """What was found in a text so far."""

    __slots__ = ("found", "known", "left", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Finding] = []
        self.left: list[_Token] = []
        """Words that are no names by themselves."""
        self.known: set[str] = set()
        """Words of names that were found for certain."""

    def take(self, name: Sequence[_Token], confidence: float) -> None:
        """These are a name."""
        self.found.append(Finding(name[0].start, name[-1].end, "PERSON", confidence))
        if confidence > ALONE or len(name) > 1:
            self.known.update([one.key for one in name if one.end - one.start > _SHORT])


def persons(
    text: str, said: frozenset[str] | None = None, names: Names | None = None
) -> list[Finding]:
    """The names of persons in `text`, by start, not overlapping. Linear in the text's length.

    `said` are the triggers in it, where they are known.
    """
    names = names or shipped()
    signs = names.signs
    search = _Search(text)
    for run in _RUN.finditer(text):
        written = run[0]
        if not written.isalpha():
            _in_run(search, _tokens(run, signs))
        elif len(written) >= _SHORT:
            key = written.lower() if written.isascii() else fold(written)
            sign = signs.get(key)
            if sign is None:
                sign = _signs(written, key, sign, shouted=True)
            if not sign & WORD:
                token = _Token(run.start(), run.end(), key, sign)
                confidence = _single(text, token, first=True)
                if confidence:
                    search.take((token,), confidence)
                else:
                    search.left.append(token)
    said = triggers(text.lower()) if said is None else said
    found = search.found
    found += _in_lower_case(text, names, said)
    if not said.isdisjoint(HAN_NAMES):
        found += (Finding(*match.span(1), "PERSON", LIKELY) for match in _HAN.finditer(text))
    if found:
        found += _again(search)
        found.sort(key=_START)
        found = [one for at, one in enumerate(found) if not at or one.start >= found[at - 1].end]
    return found


def _tokens(run: re.Match[str], signs: Mapping[str, int]) -> list[_Token]:
    written = run[0]
    shouted = written.isupper()
    at = run.start()
    words = written.split(" ")
    found = []
    if "".join(words).isalpha():
        for word in words:
            end = at + len(word)
            if not word[0].islower():
                key = word.lower() if word.isascii() else fold(word)
                sign = signs.get(key)
                if sign is None or end == at + 1 or not word.istitle():
                    sign = _signs(word, key, sign, shouted=shouted)
                found.append(_Token(at, end, key, sign))
            at = end + 1
        return found
    for piece in _PIECE.finditer(written):
        word = piece[0]
        key = fold(word)
        listed = signs.get(key) if key.isalpha() else _compound(key, signs)
        sign = _signs(word, key, listed, shouted=shouted)
        found.append(_Token(at + piece.start(), at + piece.end(), key, sign))
    return found


def _signs(word: str, key: str, listed: int | None, *, shouted: bool) -> int:
    """What a word is, by the lists and by its form. `shouted`: so are all words beside it."""
    if len(word) == 1:
        return (listed or 0) & WEAKLY | INITIAL
    sign = ending(key) if listed is None else listed
    if not shouted and word.isupper():
        return sign & ~ENDING | WORD
    if not sign & (WORD | ENDING) and len(word) >= ENDING_FROM and word.endswith(_ACCENTED):
        return sign | ENDING
    return sign


def _compound(key: str, signs: Mapping[str, int]) -> int:
    """What a word with hyphens or apostrophes is: `Ann-Marie`, `O'Brien`, `Ann's`."""
    parts = _JOINTS.split(key)
    first, last, whole = (signs.get(one, 0) for one in (parts[0], parts[-1], "".join(parts)))
    sign = (whole | first) & GIVEN | (whole | last) & FAMILY | whole & WEAKLY
    sign |= (last | signs.get(key, 0)) & WORD
    return sign if sign & WORD else sign | ending(key)


def _in_run(search: _Search, tokens: list[_Token]) -> None:
    """The names in words with capitals that follow each other."""
    some, every = 0, WORD
    for one in tokens:
        some |= one.signs
        every &= one.signs
    if every:
        return
    if not (some & _TELLING or told(search.text, tokens[0].start)[0]):
        search.left += tokens
        return
    at = 0
    while at < len(tokens):
        size, confidence = _name_at(search.text, tokens, at)
        if confidence:
            search.take(tokens[at : at + size], confidence)
            at += size
        else:
            search.left.append(tokens[at])
            at += 1


def _name_at(  # noqa: PLR0911 - one sign a line
    text: str, tokens: list[_Token], at: int
) -> tuple[int, float]:
    """How many tokens from `at` are a name, and how sure that is; 0 for none."""
    sign = tokens[at].signs
    if sign & WORD:
        return 0, 0.0
    titled = at > 0 and tokens[at - 1].signs & TITLE != 0
    if (
        sign & INITIAL
        and not titled
        and not (at + 1 < len(tokens) and tokens[at + 1].signs & FAMILY)
    ):
        return 0, 0.0
    size = 1
    while at + size < len(tokens) and size < _LONGEST and not _ends(text, tokens, at + size):
        size += 1
    while size > 1 and tokens[at + size - 1].signs & INITIAL:
        size -= 1
    if at + size < len(tokens) and tokens[at + size].key in ORGANISATION:
        return 0, 0.0
    name = tokens[at : at + size]
    full = [token for token in name if not token.signs & INITIAL]
    if titled and full:
        return size, SURE
    if size == 1:
        return 1, _single(text, name[0], first=at == 0)
    confidence = _several(text, name, full, first=at == 0, heading=len(tokens) >= _HEADING)
    if not confidence and name[0].signs & GIVEN:
        return 1, ALONE
    return size, confidence


def _ends(text: str, tokens: list[_Token], at: int) -> bool:
    """Whether a name that goes on to here ends in front of this token."""
    if tokens[at].signs & WORD:
        return True
    before = tokens[at - 1]
    return text[before.end] == "." and not before.signs & INITIAL


def _several(  # noqa: C901, PLR0911 - one sign a line
    text: str, name: list[_Token], full: list[_Token], *, first: bool, heading: bool
) -> float:
    if not full:
        return 0.0
    head, last = full[0], full[-1]
    initials = len(name) > len(full)
    if head.signs & GIVEN:
        if heading and not last.signs & FAMILY:
            return 0.0
        return SURE if last.signs & (_LAST | WEAK_FAMILY | GIVEN) else LIKELY
    if head.signs & WEAK_GIVEN and last.signs & (_LAST | (WEAK_FAMILY if initials else 0)):
        return LIKELY
    if head.signs & FAMILY and last.signs & GIVEN and last is not head:
        return LIKELY
    if head is last:  # `J. Smith`
        return LIKELY if head.signs & FAMILY else 0.0
    strong, weak = told(text, name[0].start) if first else (False, False)
    if strong:
        return SURE
    if initials:
        sure = last.signs & _LAST or any(token.signs & LISTED for token in full)
        return LIKELY if sure else ALONE
    if weak and (last.signs & (LISTED | ENDING) or head.signs & LISTED):
        return LIKELY
    ends = last.signs & ENDING
    if last.signs & _LAST and not heading and (ends or not _begins(text, name[0].start)):
        return ALONE
    return 0.0


def _single(  # noqa: PLR0911 - one sign a line
    text: str, token: _Token, *, first: bool
) -> float:
    """How sure a name of one token is."""
    sign = token.signs
    start, end = token.start, token.end
    if sign & INITIAL or end - start < _SHORT or text[start:end].isupper():
        return 0.0
    if sign & GIVEN:
        return ALONE
    strong, weak = told(text, start) if first else (False, False)
    if strong:
        return SURE if sign & LISTED else LIKELY
    if not sign & (LISTED | ENDING):
        return 0.0
    if weak or BEHIND.match(text, end):
        return LIKELY
    if sign & (ENDING | AMID) and first and not _begins(text, start):
        return ALONE
    return 0.0


def _begins(text: str, start: int) -> bool:
    """Whether a capital says nothing here, because any word would have one."""
    before = text[max(0, start - 6) : start].rstrip(" \t\"'“”‘(*_>")
    return not before or before[-1] in ".!?:\n\r•-–#|"


def _in_lower_case(text: str, names: Names, said: frozenset[str]) -> Iterator[Finding]:
    signs = names.signs
    for match in _leads(text, said):
        end = match.start(1)
        mine = (
            match[0].startswith("call") or text[max(0, match.start() - 3) : match.start()] == "my "
        )
        for word in _WORD.finditer(text, *match.span(1)):
            key = fold(word[0])
            sign = signs.get(key, 0)
            if sign & WORD or not word[0].islower():
                break
            listed = sign & (GIVEN | FAMILY)
            if not listed and (end > match.start(1) or sign & WEAK_FAMILY):
                break
            if not (listed or (mine and text[word.end() : word.end() + 1] != " ")):
                break
            end = word.end()
        if end - match.start(1) >= _SHORT:
            yield Finding(match.start(1), end, "PERSON", ALONE)
    if text.islower():
        yield from _in_small_letters(text, names)


def _leads(text: str, said: frozenset[str]) -> Iterator[re.Match[str]]:
    """Where words stand in front of a name, and what follows in lower case."""
    for trigger in said.intersection(SMALL_NAMES):
        ahead = SMALL_NAMES[trigger]
        at = text.find(trigger)
        while at >= 0:
            found = _LOWER.match(text, max(0, at + ahead))
            if found is not None:
                yield found
            at = text.find(trigger, at + len(trigger))
    if text.startswith(("mr", "ms", "dr")):
        found = _LOWER.match(text)
        if found is not None:
            yield found


def _in_small_letters(text: str, names: Names) -> Iterator[Finding]:
    """Where nothing has a capital, only a given name with a family name is one."""
    parts = text.split(" ")
    plain = parts if text.isascii() else [fold(part) for part in parts]
    given = names.given.intersection(plain)
    if not given:
        return
    for at, (part, size) in enumerate(zip(plain, accumulate(map(len, parts)), strict=True)):
        if part in given:
            end = size + at
            last = _WORD.match(text, end + 1)
            if last is not None and names.signs.get(fold(last[0]), 0) & FAMILY:
                yield Finding(end - len(parts[at]), last.end(), "PERSON", ALONE)


def _again(search: _Search) -> Iterator[Finding]:
    """Parts of the names found, where they stand alone, and names listed beside one."""
    text, known = search.text, search.known
    behind: dict[int, str] = {}
    before: dict[int, str] = {}
    for one in search.found:
        if text.startswith(_TIES, one.end):
            joint = next(joint for joint in _TIES if text.startswith(joint, one.end))
            behind[one.end + len(joint)] = joint
        if text.endswith(_TIES, 0, one.start):
            joint = next(joint for joint in _TIES if text.endswith(joint, 0, one.start))
            before[one.start - len(joint)] = joint
    for token in search.left:
        start, end = token.start, token.end
        if token.signs & WORD or end - start < _SHORT:
            continue
        if token.key in known or (
            (start in behind or end in before)
            and _listed_beside(text, token, behind.get(start), before.get(end))
        ):
            yield Finding(start, end, "PERSON", ALONE)


def _listed_beside(text: str, token: _Token, behind: str | None, before: str | None) -> bool:
    """Whether this is one of several names: `Ann and X`, `X, Ann`."""
    if behind is not None and (behind != ", " or token.signs & (FAMILY | WEAK_GIVEN)):
        return True
    if before is not None and (before != ", " or token.signs & (FAMILY | WEAK_GIVEN)):
        return not _begins(text, token.start) or token.signs & FAMILY != 0
    return False
