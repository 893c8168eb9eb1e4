"""Names of persons, by signs that add up.

There is a list of given and family names, titles (`Dr. X`), words in front (`my name is X`, `Dear
X`) and behind (`X said`), the shape of a name (`Xaver Q. Ypsilon`), the endings of family names
(`-ović`, `-dóttir`). A given name that is no word and no place is enough on its own. A name found
once is found again in the same text where nothing but itself gives it away.
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from extproc.guard import Finding
from extproc.guard.cues import BEHIND, ORGANISATION, TITLES, told
from extproc.guard.names import Names, fold, shipped

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
_LOWER_HINTS: Final = (
    "name is",
    "name's",
    "name:",
    "name :",
    "call me",
    "calls me",
    " mr",
    " ms ",
    " ms.",
    " dr ",
    " dr.",
    " prof",
    "appelle",
    "llamo",
    "chiamo",
    "heiße",
    "heisse",
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_HAN: Final = re.compile(
    r"(?:我叫|我的名字是|名字叫|姓名(?:是|[:：])|氏名(?:は|[:：])|名前は|私は)\s?"
    r"([\u4e00-\u9fff]{2,4}?)(?=[，。,.！!、\s\"」]|です|と|$)"
)
"""Names in Chinese and Japanese, behind the words that give them."""
_ENDINGS: Final = tuple(
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
_ENDING_FROM: Final = 6
"""Letters of a word whose ending speaks for a family name."""


class _Token(msgspec.Struct, frozen=True):
    start: int
    end: int
    key: str
    given: bool
    amid: bool
    weak_given: bool
    family: bool
    weak_family: bool
    ending: bool
    word: bool
    """No part of a name."""

    @property
    def initial(self) -> bool:
        return self.end - self.start == 1

    @property
    def listed(self) -> bool:
        return self.given or self.weak_given or self.family or self.weak_family

    @property
    def last(self) -> bool:
        """Ends a name, by the lists or by its form."""
        return self.family or self.ending


def persons(text: str, names: Names | None = None) -> list[Finding]:
    """The names of persons in `text`, by start, not overlapping. Linear in the text's length."""
    names = names or shipped()
    found: list[Finding] = []
    left: list[_Token] = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start == 1 or (run[0].isalpha() and run[0].lower() in names.words):
            continue
        tokens = _tokens(text, start, end, names)
        found += _in_run(text, tokens, left)
    found += _in_lower_case(text, names)
    found += (Finding(*match.span(1), "PERSON", LIKELY) for match in _HAN.finditer(text))
    if found:
        found += _again(text, found, left)
        found.sort(key=lambda one: one.start)
        found = [one for at, one in enumerate(found) if not at or one.start >= found[at - 1].end]
    return found


def _tokens(text: str, start: int, end: int, names: Names) -> list[_Token]:
    pieces = list(_PIECE.finditer(text, start, end))
    shouted = all(piece[0].isupper() for piece in pieces)
    return [_token(piece, names, shouted=shouted) for piece in pieces]


def _token(piece: re.Match[str], names: Names, *, shouted: bool) -> _Token:
    written = piece[0]
    key = fold(written)
    first = last = whole = key
    if not key.isalpha():
        parts = re.split(r"['’\-]", key)
        first, last, whole = parts[0], parts[-1], "".join(parts)
    lone = len(written) == 1
    word = not lone and (
        key in names.words
        or last in names.words
        or key in TITLES
        or (written.isupper() and not shouted)
    )
    return _Token(
        start=piece.start(),
        end=piece.end(),
        key=key,
        given=not lone and (whole in names.given or first in names.given),
        amid=key in names.amid,
        weak_given=key in names.weak_given,
        family=not lone and (whole in names.family or last in names.family),
        weak_family=whole in names.weak_family,
        ending=len(key) >= _ENDING_FROM
        and (key.endswith(_ENDINGS) or (key != written and written.endswith(_ACCENTED))),
        word=word,
    )


def _in_run(text: str, tokens: list[_Token], left: list[_Token]) -> Iterator[Finding]:
    """The names in words with capitals that follow each other; `left` takes what is none."""
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
    if tokens[at].word:
        return 0, 0.0
    titled = at > 0 and tokens[at - 1].key in TITLES
    if tokens[at].initial and not titled and not (at + 1 < len(tokens) and tokens[at + 1].family):
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
    if not confidence and name[0].given:
        return 1, ALONE
    return size, confidence


def _ends(text: str, tokens: list[_Token], at: int) -> bool:
    """Whether a name that goes on to here ends in front of this token."""
    if tokens[at].word:
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
    if head.given:
        if heading and not last.family:
            return 0.0
        return SURE if last.last or last.weak_family or last.given else LIKELY
    if head.weak_given and (last.last or (initials and last.weak_family)):
        return LIKELY
    if head.family and last.given and last is not head:
        return LIKELY
    if head is last:  # `J. Smith`
        return LIKELY if head.family else 0.0
    strong, weak = told(text, name[0].start) if first else (False, False)
    if strong:
        return SURE
    if initials:
        return LIKELY if last.last or any(token.listed for token in full) else ALONE
    if weak and (last.listed or last.ending or head.listed):
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
    if token.given and not shouted:
        return ALONE
    strong, weak = told(text, token.start) if first else (False, False)
    if strong and not shouted:
        return SURE if token.listed else LIKELY
    if shouted or not (token.listed or token.ending):
        return 0.0
    if weak or BEHIND.match(text, token.end):
        return LIKELY
    if (token.ending or token.amid) and first and not _begins(text, token.start):
        return ALONE
    return 0.0


def _begins(text: str, start: int) -> bool:
    """Whether a capital says nothing here, because any word would have one."""
    before = text[max(0, start - 6) : start].rstrip(" \t\"'“”‘(*_>")
    return not before or before[-1] in ".!?:\n\r•-–#|"


def _in_lower_case(text: str, names: Names) -> Iterator[Finding]:
    if any(hint in text for hint in _LOWER_HINTS) or text.startswith(("mr", "ms", "dr")):
        for match in _LOWER.finditer(text):
            end = match.start(1)
            mine = (
                match[0].startswith("call")
                or text[max(0, match.start() - 3) : match.start()] == "my "
            )
            for word in _WORD.finditer(text, *match.span(1)):
                key = fold(word[0])
                if key in names.words or not word[0].islower():
                    break
                listed = key in names.given or key in names.family
                if not listed and (end > match.start(1) or key in names.weak_family):
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
    at = 0
    for part in text.split(" "):
        end = at + len(part)
        if part in names.given or (not part.isascii() and fold(part) in names.given):
            last = _WORD.match(text, end + 1)
            if last is not None and fold(last[0]) in names.family:
                yield Finding(at, last.end(), "PERSON", ALONE)
        at = end + 1


def _again(text: str, found: list[Finding], left: list[_Token]) -> Iterator[Finding]:
    """Parts of the names found, where they stand alone, and names listed beside one."""
    known = {
        fold(piece[0])
        for one in found
        if one.confidence > ALONE or " " in text[one.start : one.end]
        for piece in _PIECE.finditer(text, one.start, one.end)
        if len(piece[0]) > _SHORT
    }
    ends = {one.end for one in found}
    starts = {one.start for one in found}
    for token in left:
        if token.word or token.initial or token.end - token.start < _SHORT:
            continue
        if token.key in known or _listed_beside(text, token, starts, ends):
            yield Finding(token.start, token.end, "PERSON", ALONE)


def _listed_beside(text: str, token: _Token, starts: set[int], ends: set[int]) -> bool:
    """Whether this is one of several names: `Ann and X`, `X, Ann`."""
    for joint in (" and ", " & ", ", "):
        if joint == ", " and not (token.family or token.weak_given):
            continue
        behind = token.start - len(joint)
        if behind in ends and text.startswith(joint, behind):
            return True
        if token.end + len(joint) in starts and text.startswith(joint, token.end):
            return not _begins(text, token.start) or token.family
    return False
