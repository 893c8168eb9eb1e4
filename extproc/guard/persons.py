"""Names of persons, by signs that add up.

There is a list of given and family names, titles (`Dr. X`), words in front (`my name is X`, `Dear
X`) and behind (`X said`), the shape of a name (`Xaver Q. Ypsilon`), the endings of family names
(`-ović`, `-dóttir`). A given name that is no word and no place is enough on its own. A name found
once is found again in the same text where nothing but itself gives it away.
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

import msgspec

from extproc.guard import Finding
from extproc.guard.cues import BEHIND, ORGANISATION, told
from extproc.guard.names import (
    AMID,
    FAMILY,
    GIVEN,
    LISTED,
    TITLE,
    WEAK_FAMILY,
    WEAK_GIVEN,
    WORD,
    Names,
    fold,
    shipped,
)
from extproc.guard.triggers import SMALL_NAMES, triggers

SURE: Final = 0.85
"""A given and a family name of the lists, or one behind a title or `my name is`."""
LIKELY: Final = 0.7
ALONE: Final = 0.55
"""One name of the lists by itself."""

_UPPER: Final = "".join(sign for sign in map(chr, range(0x530)) if sign.isupper())
_TOKEN: Final = rf"[{_UPPER}][^\W\d_]*(?:['’\-](?=[^\W\d_]{{2}})[^\W\d_]+)*"
_PARTICLE: Final = (
    r"(?:van|von|vom|zu|zum|zur|de|del|della|di|da|do|dos|das|du|der|den|ten|ter|la|le|el|al|bin"
    r"|ibn"
    r"|bint|ben|af|av)"
)
_RUN: Final = re.compile(
    rf"[{_UPPER}](?<![\w@#/\\].){_TOKEN.partition(']')[2]}"
    rf"(?:(?:\.?[ \u00a0]|\.)(?:{_PARTICLE}[ ]){{0,3}}{_TOKEN}){{0,15}}"
)
"""Words that begin with a capital, one after the other; a name's particles between them. (A pattern
that begins with a class of signs is fast to look for.)"""
_PIECE: Final = re.compile(_TOKEN)
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
_ENDINGS: Final = frozenset(
    """ovic evic ovich evich ovna evna sson dottir enko czyk wski wska cki cka dzki dzka kova nova
    rova lova tova dova mova sova cova gova yeva rov kov nov lov mov tov dov bov gov yev dev nev
    lev rev shvili adze idze oglu poulos poulou akis idis iadis escu eanu skaya skiy skyi nsky
    vsky quist qvist gaard mann rsen lsen nsen dsen ksen tsen fsen ainen oinen onen strom berger
    huber meier meyer yan nyi""".split()  # noqa: SIM905 - a list of words reads best so
)
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
_ENDING_FROM: Final = 6
"""Letters of a word whose ending speaks for a family name."""


class _Token(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int
    key: str
    signs: int
    """As the lists say (`names.LISTED` …)."""
    ending: bool
    """Ends as family names do."""

    @property
    def initial(self) -> bool:
        return self.end - self.start == 1

    @property
    def last(self) -> bool:
        """Ends a name, by the lists or by its form."""
        return self.ending or self.signs & FAMILY != 0


def persons(
    text: str, said: frozenset[str] | None = None, names: Names | None = None
) -> list[Finding]:
    """The names of persons in `text`, by start, not overlapping. Linear in the text's length.

    `said` are the triggers in it, where they are known.
    """
    names = names or shipped()
    signs = names.signs
    found: list[Finding] = []
    left: list[_Token] = []
    for run in _RUN.finditer(text):
        written = run[0]
        if not written.isalpha():
            found += _in_run(text, _tokens(text, run, signs), left)
        elif len(written) >= _SHORT and not signs.get(written.lower(), 0) & WORD:
            token = _token(written, run.start(), signs, shouted=True)
            if token.signs & WORD:
                continue
            confidence = _single(text, token, first=True)
            if confidence:
                found.append(Finding(token.start, token.end, "PERSON", confidence))
            else:
                left.append(token)
    found += _in_lower_case(text, names, triggers(text.lower()) if said is None else said)
    if not text.isascii():
        found += (Finding(*match.span(1), "PERSON", LIKELY) for match in _HAN.finditer(text))
    if found:
        found += _again(text, found, left)
        found.sort(key=lambda one: one.start)
        found = [one for at, one in enumerate(found) if not at or one.start >= found[at - 1].end]
    return found


def _tokens(text: str, run: re.Match[str], signs: Mapping[str, int]) -> list[_Token]:
    written = run[0]
    shouted = written.isupper()
    words = written.split(" ")
    if "".join(words).isalpha():
        found = []
        at = run.start()
        for word in words:
            if word[0].isupper():
                found.append(_token(word, at, signs, shouted=shouted))
            at += len(word) + 1
        return found
    return [
        _token(piece[0], piece.start(), signs, shouted=shouted)
        for piece in _PIECE.finditer(text, *run.span())
    ]


def _token(written: str, start: int, signs: Mapping[str, int], *, shouted: bool) -> _Token:
    plain = written.isascii()
    key = written.lower() if plain else fold(written)
    size = len(written)
    if size == 1:
        return _Token(start, start + 1, key, signs.get(key, 0) & (AMID | WEAKLY), ending=False)
    sign = signs.get(key, 0) if key.isalpha() else _compound(key, signs)
    if not shouted and written.isupper():
        sign |= WORD
    ending = (
        size >= _ENDING_FROM
        and not sign & WORD
        and (
            key[-3:] in _ENDINGS
            or key[-4:] in _ENDINGS
            or key[-5:] in _ENDINGS
            or key[-6:] in _ENDINGS
            or (not plain and written.endswith(_ACCENTED))
        )
    )
    return _Token(start, start + size, key, sign, ending)


def _compound(key: str, signs: Mapping[str, int]) -> int:
    """What a word with hyphens or apostrophes is: `Ann-Marie`, `O'Brien`, `Ann's`."""
    parts = _JOINTS.split(key)
    first, last, whole = (signs.get(one, 0) for one in (parts[0], parts[-1], "".join(parts)))
    sign = (whole | first) & GIVEN | (whole | last) & FAMILY | whole & WEAKLY
    return sign | (last | signs.get(key, 0)) & WORD


def _in_run(text: str, tokens: list[_Token], left: list[_Token]) -> Iterator[Finding]:
    """The names in words with capitals that follow each other; `left` takes what is none."""
    if not (
        any(one.signs & SPEAKING or one.ending or one.initial for one in tokens)
        or told(text, tokens[0].start)[0]
    ):
        left += tokens
        return
    at = 0
    while at < len(tokens):
        size, confidence = _name_at(text, tokens, at)
        if confidence:
            yield Finding(tokens[at].start, tokens[at + size - 1].end, "PERSON", confidence)
            at += size
        else:
            left.append(tokens[at])
            at += 1


def _name_at(  # noqa: PLR0911 - one sign a line
    text: str, tokens: list[_Token], at: int
) -> tuple[int, float]:
    """How many tokens from `at` are a name, and how sure that is; 0 for none."""
    if tokens[at].signs & WORD:
        return 0, 0.0
    titled = at > 0 and tokens[at - 1].signs & TITLE != 0
    if (
        tokens[at].initial
        and not titled
        and not (at + 1 < len(tokens) and tokens[at + 1].signs & FAMILY)
    ):
        return 0, 0.0
    size = 1
    while at + size < len(tokens) and size < _LONGEST and not _ends(text, tokens, at + size):
        size += 1
    while size > 1 and tokens[at + size - 1].initial:
        size -= 1
    if at + size < len(tokens) and tokens[at + size].key in ORGANISATION:
        return 0, 0.0
    name = tokens[at : at + size]
    full = [token for token in name if not token.initial]
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
    return text[before.end] == "." and not before.initial


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
        return SURE if last.last or last.signs & (WEAK_FAMILY | GIVEN) else LIKELY
    if head.signs & WEAK_GIVEN and (last.last or (initials and last.signs & WEAK_FAMILY)):
        return LIKELY
    if head.signs & FAMILY and last.signs & GIVEN and last is not head:
        return LIKELY
    if head is last:  # `J. Smith`
        return LIKELY if head.signs & FAMILY else 0.0
    strong, weak = told(text, name[0].start) if first else (False, False)
    if strong:
        return SURE
    if initials:
        return LIKELY if last.last or any(token.signs & LISTED for token in full) else ALONE
    if weak and ((last.signs | head.signs) & LISTED or last.ending):
        return LIKELY
    if last.last and not heading and (last.ending or not _begins(text, name[0].start)):
        return ALONE
    return 0.0


def _single(  # noqa: PLR0911 - one sign a line
    text: str, token: _Token, *, first: bool
) -> float:
    """How sure a name of one token is."""
    if token.initial or token.end - token.start < _SHORT:
        return 0.0
    shouted = text[token.start : token.end].isupper()
    if token.signs & GIVEN and not shouted:
        return ALONE
    strong, weak = told(text, token.start) if first else (False, False)
    if strong and not shouted:
        return SURE if token.signs & LISTED else LIKELY
    if shouted or not (token.signs & LISTED or token.ending):
        return 0.0
    if weak or BEHIND.match(text, token.end):
        return LIKELY
    if (token.ending or token.signs & AMID) and first and not _begins(text, token.start):
        return ALONE
    return 0.0


def _begins(text: str, start: int) -> bool:
    """Whether a capital says nothing here, because any word would have one."""
    before = text[max(0, start - 6) : start].rstrip(" \t\"'“”‘(*_>")
    return not before or before[-1] in ".!?:\n\r•-–#|"


def _in_lower_case(text: str, names: Names, said: frozenset[str]) -> Iterator[Finding]:
    signs = names.signs
    if text.startswith(("mr", "ms", "dr")) or any(
        one in text for one in said.intersection(SMALL_NAMES)
    ):
        for match in _LOWER.finditer(text):
            end = match.start(1)
            mine = (
                match[0].startswith("call")
                or text[max(0, match.start() - 3) : match.start()] == "my "
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


def _again(text: str, found: list[Finding], left: list[_Token]) -> Iterator[Finding]:
    """Parts of the names found, where they stand alone, and names listed beside one."""
    known = {
        fold(piece[0])
        for one in found
        if one.confidence > ALONE or " " in text[one.start : one.end]
        for piece in _PIECE.finditer(text, one.start, one.end)
        if len(piece[0]) > _SHORT
    }
    behind = {
        one.end + len(joint): joint
        for one in found
        for joint in _TIES
        if text.startswith(joint, one.end)
    }
    before = {
        one.start - len(joint): joint
        for one in found
        for joint in _TIES
        if text.endswith(joint, 0, one.start)
    }
    for token in left:
        if token.signs & WORD or token.end - token.start < _SHORT:
            continue
        if token.key in known or _listed_beside(
            text, token, behind.get(token.start), before.get(token.end)
        ):
            yield Finding(token.start, token.end, "PERSON", ALONE)


def _listed_beside(text: str, token: _Token, behind: str | None, before: str | None) -> bool:
    """Whether this is one of several names: `Ann and X`, `X, Ann`."""
    if behind is not None and (behind != ", " or token.signs & (FAMILY | WEAK_GIVEN)):
        return True
    if before is not None and (before != ", " or token.signs & (FAMILY | WEAK_GIVEN)):
        return not _begins(text, token.start) or token.signs & FAMILY != 0
    return False
