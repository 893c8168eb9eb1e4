"""What makes two questions different however near their vectors are.

An embedder puts "100 USD in euro" and "1000 USD in euro" at 0.91 to 0.99, "may I" and "may I not"
at 0.98. So the words are looked at as well: a number, date, unit, currency, negation, named
entity, a word and its opposite, or the order that differs says no. English first; numbers and
negations also in German, French, Spanish and Italian; any other script is read and judged by its
digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from extproc.cache.guards.figures import Figures, figures
from extproc.cache.guards.order import Pair, pairs, swapped, turned
from extproc.cache.guards.tokens import Kind, Token, tokens
from extproc.cache.guards.words import Words, words

# A question is looked at in this order; the first difference is the one that is named.
REASONS = ("number", "date", "currency", "unit", "negation", "opposite", "entity", "order", "tail")

_MAY = frozenset(
    {"in", "of", "by", "until", "since", "on", "during", "last", "next", "this", "early", "late"}
)
_LETTERED = frozenset(
    {"vitamin", "hepatitis", "plan", "type", "option", "class", "grade", "section", "group"}
)
_OUTRIGHT = 2
_FULL = 4  # numbers
_SHORT = 3  # letters: "gas" and "bus" have no plural to take off
_TITLE_SHARE = (
    0.6  # with more of its words in capitals a text is a title: capitals say nothing there
)
_GERMAN = frozenset(
    [
        "der",
        "die",
        "das",
        "und",
        "ist",
        "nicht",
        "ein",
        "eine",
        "ich",
        "wie",
        "zu",
        "mit",
        "für",
        "auf",
        "den",
        "dem",
        "wir",
        "sie",
    ]
)


_MONTHS = frozenset({"may", "march"})
_NONE: frozenset[str] = frozenset()
_NO_FIGURES = Figures(_NONE, _NONE, _NONE)
# An enumeration's members take a moment to look up.
_SIGN, _NUMBER, _TIME, _WORD = Kind.SIGN, Kind.NUMBER, Kind.TIME, Kind.WORD


@dataclass(frozen=True, slots=True)
class Signs:
    """What a question says that another must say as well."""

    figures: Figures
    dates: frozenset[str]
    currencies: frozenset[str]
    units: frozenset[str]
    spans: frozenset[str]
    negated: int  # 0 no, 1 by the sense of a word ("unable"), 2 outright
    sets: Mapping[str, frozenset[int]]
    places: frozenset[str]
    names: frozenset[str]
    pairs: frozenset[Pair]
    words: tuple[str, ...]
    content: frozenset[str]
    tail: str


def differs(a: str, b: str) -> str | None:
    """The first of `REASONS` for which `a` and `b` ask different things, or None.

    It is symmetric, takes time linear in the texts (the first 4,000 characters of each are read,
    of the rest it is only asked whether it is the same), and no text makes it fail.
    """
    return compare(signs(a), signs(b))


def compare(a: Signs, b: Signs) -> str | None:
    """`differs` of texts whose signs were read before."""
    for reason, says in _JUDGES.items():
        if says(a, b):
            return reason
    return None


def signs(text: str) -> Signs:
    """Reads a question once."""
    row, tail = tokens(text)
    table = words()
    plain = tuple([token.text for token in row if token.kind is not _SIGN])
    known = frozenset([token.text for token in row])
    # Of most of what follows most questions have nothing, which is seen at once.
    telling = known & table.telling
    function = table.function
    return Signs(
        figures=figures(row, table) if _counts(row, telling, table) else _NO_FIGURES,
        dates=_dates(row, table) if telling or not _MONTHS.isdisjoint(known) else _NONE,
        currencies=_of(telling, table.currencies),
        units=_of(telling, table.units),
        spans=_of(telling, table.spans),
        negated=_negated(plain, table),
        sets=_sets(plain, telling, table),
        places=_of(telling, table.places) | _states(row, known),
        names=_names(row, known, table),
        pairs=pairs(row, table),
        words=plain,
        content=frozenset([_singular(word) for word in plain if word not in function]),
        tail=tail,
    )


def _counts(row: list[Token], telling: frozenset[str], table: Words) -> bool:
    """There may be numbers in it."""
    if not telling.isdisjoint(table.counting):
        return True
    return any(token.kind is _NUMBER or token.kind is _TIME or token.text == "one" for token in row)


def _of(telling: frozenset[str], table: Mapping[str, str]) -> frozenset[str]:
    if not telling:
        return _NONE
    return frozenset([table[word] for word in telling if word in table])


def _singular(word: str) -> str:
    """Without the s of a plural: enough to compare two words by."""
    return (
        word[:-1] if len(word) > _SHORT and word.endswith("s") and not word.endswith("ss") else word
    )


def _states(row: list[Token], known: frozenset[str]) -> frozenset[str]:
    """US is a place in capitals only."""
    written = "us" in known and any(token.written == "US" for token in row)
    return frozenset({"usa"}) if written else _NONE


def _dates(row: list[Token], table: Words) -> frozenset[str]:
    found = {table.dates[token.text] for token in row if token.text in table.dates}
    for at, token in enumerate(row):
        # "may" and "march" are verbs too: months beside a number, or where a month would stand.
        if token.text in _MONTHS:
            near = [row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)]
            before = row[at - 1].text if at else ""
            if before in _MAY or any(one.kind is _NUMBER for one in near):
                found.add(token.text)
    return frozenset(found)


def _negated(plain: tuple[str, ...], table: Words) -> int:
    said = frozenset(plain)
    if said.isdisjoint(table.hard) and not any(word.endswith("n't") for word in said):
        return int(len(plain) > 1 and not said.isdisjoint(table.soft))
    text = f" {' '.join(plain)} "
    for idiom in _idioms():
        text = text.replace(idiom, " ")
    left = text.split()
    if any(word in table.hard or word.endswith("n't") for word in left):
        return _OUTRIGHT
    return int(any(word in table.soft for word in left))


@cache
def _idioms() -> tuple[str, ...]:
    return tuple(f" {idiom} " for idiom in words().idioms)


def _sets(
    plain: tuple[str, ...], telling: frozenset[str], table: Words
) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for word in telling:
        for name, pole in table.sets.get(word, ()):
            found[name] = found.get(name, frozenset()) | {pole}
    if found or "on" in plain or "off" in plain:
        switch = frozenset(
            pole
            for pole, word in enumerate(("on", "off"))
            if word in plain and _switched(plain, word)
        )
        if switch:
            found["switch"] = switch
    return found


def _switched(plain: tuple[str, ...], word: str) -> bool:
    at = plain.index(word)
    return not {
        "turn",
        "turned",
        "turning",
        "switch",
        "switched",
        "switching",
        "power",
        "log",
        "sign",
    }.isdisjoint(plain[max(0, at - 5) : at])


def _names(row: list[Token], known: frozenset[str], table: Words) -> frozenset[str]:
    """Capitalised words inside a sentence, words like `iPhone`, single capital letters ("vitamin
    C")."""
    if not any(map(_stands_out, row)) and _LETTERED.isdisjoint(known):
        return _NONE
    spoken = [token for token in row if token.kind is _WORD]
    inside = [token for token in spoken if not token.first]
    capitals = [token for token in inside if token.written[0].isupper()]
    # A title writes its function words large as well ("How Do I Reset My Password").
    title = len(capitals) > _TITLE_SHARE * len(inside) and any(
        token.text in table.function and token.text != "i" for token in capitals
    )
    german = sum(token.text in _GERMAN for token in spoken) > 1
    found: set[str] = set()
    before = ""
    for token in spoken:
        bare = token.text
        odd = (
            not token.written[1:].islower()
            and token.written[1:2] != "'"
            and not token.written.isupper()
        )
        if len(token.written) > 1 and odd and token.written.lower() != token.written:
            found.add(_singular(bare))
        elif len(token.written) == 1:
            if before in _LETTERED or (
                token.written.isupper() and not token.first and bare not in "ia"
            ):
                found.add(_singular(bare))
        elif (
            token.written[0].isupper() and not (token.first or title or german) and "'" not in bare
        ):
            found.add(_singular(bare))
        before = token.text
    return frozenset(found - table.function - table.dates.keys() - table.currencies.keys())


def _stands_out(token: Token) -> bool:
    """It may be a name: in capitals, or a letter by itself that is no word."""
    written = token.written
    if token.kind is not _WORD:
        return False
    if len(written) == 1:
        return written not in "iIaA"
    return not written[1:].islower() or not (token.first or written.islower())


def _number(a: Signs, b: Signs) -> bool:
    x, y = a.figures, b.figures
    if x.certain - y.certain - y.loose or y.certain - x.certain - x.loose:
        return True
    # A problem full of numbers may have one changed into another that it has as well.
    if min(len(x.each), len(y.each)) >= _FULL and x.each != y.each:
        return True
    return bool(x.ordinals and y.ordinals) and x.ordinals != y.ordinals


def _unit(a: Signs, b: Signs) -> bool:
    return a.units != b.units or bool(a.spans and b.spans and a.spans != b.spans)


def _opposite(a: Signs, b: Signs) -> bool:
    return any(a.sets[name].isdisjoint(b.sets[name]) for name in a.sets.keys() & b.sets.keys())


def _entity(a: Signs, b: Signs) -> bool:
    if a.places != b.places:
        return True
    return not (a.names <= b.content and b.names <= a.content)


def _order(a: Signs, b: Signs) -> bool:
    return swapped(a.words, b.words, words()) or turned(a.pairs, b.pairs)


_JUDGES: Mapping[str, Callable[[Signs, Signs], bool]] = {
    "number": _number,
    "date": lambda a, b: a.dates != b.dates,
    "currency": lambda a, b: a.currencies != b.currencies,
    "unit": _unit,
    "negation": lambda a, b: abs(a.negated - b.negated) == _OUTRIGHT,
    "opposite": _opposite,
    "entity": _entity,
    "order": _order,
    "tail": lambda a, b: a.tail != b.tail,
}
