"""Values out, typed numbered placeholders in: `<PERSON_1>`, and the mapping that leads back.

One value has one placeholder for as long as its mapping lives, in every message and every turn:
after a value was found once, it is replaced wherever it stands, found there again or not. (What
the model wrote about `<PERSON_1>` reaches the client with the value put back, and comes again as
history in the next turn, often without the words that once gave it away.)

Other spellings of the same value (case, spaces, the dashes of a number) share its number and have
a second one, `<PERSON_1_2>`, so that the model sees one person and the exact spelling comes back.

`restore(redact(text)) == text` holds for any text: what looks like a placeholder already is a
value like another, and is given a placeholder of its own.
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from extproc.guard import Finding

Action = Literal["redact", "mask", "hash"]

LABELS: Final = frozenset(
    """
    EMAIL_ADDRESS PHONE_NUMBER CREDIT_CARD IBAN_CODE US_SSN US_ITIN US_BANK_NUMBER US_PASSPORT
    US_DRIVER_LICENSE UK_NHS UK_NINO DE_TAX_ID DE_ID_CARD FR_NIR ES_NIF ES_NIE IT_FISCAL_CODE
    IN_AADHAAR IN_PAN PASSPORT DRIVER_LICENSE IP_ADDRESS MAC_ADDRESS URL_CREDENTIALS DATE_OF_BIRTH
    STREET_ADDRESS PERSON API_KEY JWT PRIVATE_KEY PASSWORD SECRET DATE_TIME URL LOCATION
    ORGANIZATION CUSTOM
    """.split()  # noqa: SIM905 - a list of words reads best so
)
PHRASES: Final = frozenset({"PERSON", "STREET_ADDRESS", "LOCATION", "ORGANIZATION", "CUSTOM"})
"""Types whose values of several words are known again whatever their case and spaces."""
EXACT: Final = frozenset({"API_KEY", "JWT", "PRIVATE_KEY", "PASSWORD", "SECRET", "URL_CREDENTIALS"})
"""Types whose values differ when only their case or their signs differ."""
WORDED: Final = frozenset(
    {"PERSON", "STREET_ADDRESS", "LOCATION", "ORGANIZATION", "EMAIL_ADDRESS", "URL", "CUSTOM"}
)
"""Types whose values are words: the spaces between them count. In all others only letters and
digits do."""
CUSTOM: Final = "CUSTOM_"
LONGEST_LABEL: Final = 48
LONGEST_BODY: Final = 96
"""Characters between the brackets: the longest label, two numbers, and room for markup."""
SHORTEST_KNOWN: Final = 4
"""A value of fewer characters is replaced only where it was found: `May` is a month elsewhere."""
LONGEST_KNOWN: Final = 512
"""A longer one (a private key) too: its form gives it away every time."""
MOST_RESTORED: Final = 16 << 20
"""Characters of values in one answer: a value may be megabytes long, and an answer of a few words
may name it a thousand times. Placeholders beyond stay."""
WIDEST_GAP: Final = 4
"""Characters between two words of it."""
LONGEST_PHRASE: Final = 8
"""Words of a value that is known again in other letters, `kim  BERGER`."""
FORMS_A_WORD: Final = 64
"""How many lengths of known values are tried at one word: keeps `redact` linear."""
FEW: Final = 64
"""So many words are looked for in a text before all its words are looked up."""
SHOWN: Final = 4
"""How many characters `mask` leaves; half of a short value at most."""
DIGEST_BYTES: Final = 8
"""Of a keyed hash: 2^32 values until two are likely to share one."""

OPENING: Final = r"(?:[<＜‹]|&lt;|&LT;|&#60;|&#[xX]3[cC];|\\u003[cC])"
CLOSING: Final = r"(?:[>＞›]|&gt;|&GT;|&#62;|&#[xX]3[eE];|\\u003[eE])"
BODY: Final = r"(?:[A-Za-z0-9_\s*`~\-\u00ad\u200b-\u200d\u2060\ufeff]|\\(?!u003[cCeE]))"
SHAPE: Final = re.compile(rf"{OPENING}(?P<body>{BODY}{{1,{LONGEST_BODY}}}?){CLOSING}")
"""What could be one of our placeholders, as a model may have changed it.

It holds no opening bracket after its first: so it can begin only where a bracket is, and two of
them never overlap.
"""
_FILLING = re.compile(r"[^A-Za-z0-9]+")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200d\u2060\ufeff]")
_NAME = re.compile(r"([A-Z0-9_]*[A-Z][A-Z0-9_]*?)_([0-9]{1,9})(?:_([0-9]{1,9}))?")
_WORD = re.compile(r"\w+")
_NOT_LABEL = re.compile(r"[^A-Z0-9]+")
_NUMBER_PART = re.compile(r"(?<![A-Z0-9])(?=[0-9]+(?![A-Z0-9]))")


def name_of(body: str) -> str:
    r"""The placeholder's name in what stands between its brackets: `**person\_1** ` -> `PERSON_1`.

    Everything but letters and digits is filling; a run of it between two of them is one `_`.
    """
    return _FILLING.sub("_", _INVISIBLE.sub("", body)).strip("_").upper()


Hot = Sequence[int] | None
"""Places in a text that are looked at; None: all."""


def label_of(kind: str) -> str:
    """The label of a finding's type: itself if it is a known one, else `CUSTOM_…` in ASCII.

    No part of a label is digits alone (`CUSTOM:v 2` -> `CUSTOM_V_N2`), so that the numbers at a
    name's end are always the placeholder's own.
    """
    if kind in LABELS:
        return kind
    plain = unicodedata.normalize("NFKD", kind.removeprefix("CUSTOM:")).upper()
    plain = _NUMBER_PART.sub("N", _NOT_LABEL.sub("_", plain).strip("_"))
    return (CUSTOM + plain)[:LONGEST_LABEL].rstrip("_")


def is_name(name: str) -> bool:
    """Whether a mapping could ever give this name."""
    match = _NAME.fullmatch(name)
    return match is not None and (match[1] in LABELS or match[1].startswith(CUSTOM))


def normal(value: str, label: str) -> str:
    """What two spellings of one value have in common."""
    if label in EXACT:
        return value
    folded = unicodedata.normalize("NFKC", value).casefold()
    if label in WORDED or label.startswith(CUSTOM):
        return " ".join(folded.split())
    return "".join(filter(str.isalnum, folded)) or folded


def mask(value: str) -> str:
    """Stars for every letter and digit but the last four (half of them if there are fewer than
    eight); the other signs stay, so that a card still looks like one: `****-****-****-1111`.
    """
    alike = sum(map(str.isalnum, value))
    hidden = alike - min(SHOWN, alike // 2)
    out: list[str] = []
    for character in value:
        if character.isalnum():
            out.append("*" if hidden > 0 else character)
            hidden -= 1
        else:
            out.append(character)
    return "".join(out)


def keyed_hash(value: str, kind: str, key: bytes) -> str:
    """`PERSON#5f0c…`: the same for every spelling of a value, in every conversation of this key.

    BLAKE2b keyed with (the hash of) `key`: nobody without it can try values until one fits.
    """
    label = label_of(kind)
    digest = hashlib.blake2b(
        normal(value, label).encode("utf-8", "surrogatepass"),
        digest_size=DIGEST_BYTES,
        key=hashlib.blake2b(key).digest(),
        person=b"tollgate guard",
    )
    return f"{label}#{digest.hexdigest()}"


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    name: str
    value: bytes


_ENTRIES = msgspec.msgpack.Decoder(list[_Entry])


@dataclass(slots=True)
class Tally:
    """What was put back into one answer."""

    names: set[str] = field(default_factory=set)
    left: int = MOST_RESTORED
    """Characters that may still be put back."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """The placeholders given in a conversation, and the values they stand for.

    Neither `repr` nor an error of this class shows a value.
    """

    values: Table[str, str] = field(default_factory=dict, repr=False)
    """Value by name (`PERSON_1`), in the order in which they were given."""
    tally: Tally = field(default_factory=Tally, repr=False, compare=False)
    """What was put into an answer."""

    def __repr__(self) -> str:
        return f"Mapping({len(self.values)} values)"

    def __len__(self) -> int:
        return len(self.values)

    def to_bytes(self) -> bytes:
        """In the clear: whoever stores it seals it first."""
        entries = [
            _Entry(name, value.encode("utf-8", "surrogatepass"))
            for name, value in self.values.items()
        ]
        return msgspec.msgpack.encode(entries)

    @classmethod
    def from_bytes(cls, data: bytes) -> Mapping:
        """Raises ValueError for anything that `to_bytes` did not write."""
        try:
            entries = _ENTRIES.decode(data)
            values = {e.name: e.value.decode("utf-8", "surrogatepass") for e in entries}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ValueError("not a mapping of placeholders") from None
        if len(values) != len(entries) or not all(map(is_name, values)):
            raise ValueError("not a mapping of placeholders") from None
        return cls(values)


class Redactor:
    """Gives placeholders, going on from a mapping. One conversation, one task at a time.

    `actions` says what is done with a type that is not to be redacted: `mask` or `hash` (which
    needs `key`). Neither comes back in the answer, and no mapping knows of them: they are replaced
    everywhere in the texts that this redactor has seen.
    """

    __slots__ = (
        "_actions",
        "_by_value",
        "_key",
        "_known",
        "_names",
        "_numbers",
        "_phrases",
        "_same",
        "_spellings",
        "_values",
    )

    def __init__(
        self,
        mapping: Mapping | None = None,
        *,
        actions: Table[str, Action] | None = None,
        key: bytes = b"",
    ) -> None:
        self._actions = dict(actions or {})
        self._key = key
        self._values: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._same: dict[tuple[str, str], int] = {}
        self._numbers: dict[str, int] = {}
        self._spellings: dict[tuple[str, int], int] = {}
        self._known: dict[str, dict[tuple[int, int], None]] = {}
        self._by_value: dict[str, str] = {}
        self._phrases: dict[str, dict[tuple[str, ...], str]] = {}
        for name, value in (mapping or Mapping()).values.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise ValueError("not a mapping of placeholders")
            self._add(match[1], int(match[2]), int(match[3] or 1), value)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    @property
    def mapping(self) -> Mapping:
        """All that was given so far."""
        return Mapping(dict(self._values))

    def learn(self, text: str, findings: Iterable[Finding]) -> None:
        """Give placeholders to what was found in `text`, without changing it.

        For all texts of a request before the first is redacted: what only the last message gives
        away is then replaced in the first one too.
        """
        for finding in findings:
            value = text[finding.start : finding.end]
            if self._actions.get(finding.type, "redact") == "redact":
                self._give(value, label_of(finding.type))
            else:
                self._know(value, self._replaced(value, finding.type))

    def redact(self, text: str, findings: Sequence[Finding]) -> str:
        """`text` with every finding, every known value and every look-alike replaced.

        A finding that is empty, out of `text`, or begins before the end of the one before is left
        out. Time is linear in `text`.
        """
        self.learn(text, findings)
        out: list[str] = []
        at = 0
        hot = self._hot(text)
        for finding in findings:
            if not at <= finding.start < finding.end <= len(text):
                continue
            self._gap(text, at, finding.start, out, hot=hot)
            out.append(self._replaced(text[finding.start : finding.end], finding.type))
            at = finding.end
        self._gap(text, at, len(text), out, hot=hot)
        return "".join(out)

    def _replaced(self, value: str, kind: str) -> str:
        match self._actions.get(kind, "redact"):
            case "mask":
                return mask(value)
            case "hash":
                return keyed_hash(value, kind, self._key)
            case _:
                return f"<{self._give(value, label_of(kind))}>"

    def _give(self, value: str, label: str) -> str:
        name = self._names.get((label, value))
        if name is not None or not value:
            return name or ""
        number = self._same.get((label, normal(value, label)))
        if number is None:
            number = self._numbers.get(label, 0) + 1
        return self._add(label, number, self._spellings.get((label, number), 0) + 1, value)

    def _add(self, label: str, number: int, spelling: int, value: str) -> str:
        name = f"{label}_{number}" if spelling == 1 else f"{label}_{number}_{spelling}"
        self._values[name] = value
        self._names.setdefault((label, value), name)
        self._same.setdefault((label, normal(value, label)), number)
        self._numbers[label] = max(number, self._numbers.get(label, 0))
        self._spellings[label, number] = max(spelling, self._spellings.get((label, number), 0))
        self._know(value, f"<{name}>")
        if label in PHRASES or label.startswith(CUSTOM):
            words = tuple(_WORD.findall(value.casefold()))
            if 1 < len(words) <= LONGEST_PHRASE:
                forms = self._phrases.setdefault(words[0], {})
                if len(forms) < FORMS_A_WORD:
                    forms.setdefault(words, label)
        return name

    def _know(self, value: str, instead: str) -> None:
        """Replace a value wherever it stands."""
        first = _WORD.search(value)
        if first is not None and SHORTEST_KNOWN <= len(value) <= LONGEST_KNOWN:
            forms = self._known.setdefault(first[0], {})
            if len(forms) < FORMS_A_WORD:
                forms[first.start(), len(value)] = None
                self._by_value.setdefault(value, instead)

    def _hot(self, text: str) -> Sequence[int] | None:
        """Where words begin that a known value may begin with; None: too many are known to look for
        each of them."""
        if len(self._known) + len(self._phrases) > FEW:
            return None
        places: set[int] = set()
        for word in self._known:
            places.update(_starts(text, word))
        if self._phrases:
            folded = text.casefold()
            if len(folded) != len(text):
                return None
            for word in self._phrases:
                places.update(_starts(folded, word))
        return sorted(places)

    def _gap(self, text: str, start: int, end: int, out: list[str], *, hot: Hot) -> None:
        """What lies between two findings."""
        at = start
        for match in SHAPE.finditer(text, start, end):
            name = name_of(match["body"])
            if not is_name(name):
                continue
            self._sweep(text, at, match.start(), out, hot=hot)
            parts = _NAME.fullmatch(name)
            label = parts[1] if parts is not None else "CUSTOM"
            out.append(f"<{self._give(match[0], label)}>")
            at = match.end()
        self._sweep(text, at, end, out, hot=hot)

    def _sweep(self, text: str, start: int, end: int, out: list[str], *, hot: Hot) -> None:
        """The known values in a stretch that nothing was found in."""
        at = start
        for begin, stop, instead in self._occurrences(text, start, end, hot):
            if begin >= at:
                out += (text[at:begin], instead)
                at = stop
        out.append(text[at:end])

    def _occurrences(
        self, text: str, start: int, end: int, hot: Hot
    ) -> Iterator[tuple[int, int, str]]:
        """The longest known value at each word between `start` and `end`, by where it begins."""
        for word in _words(text, start, end, hot):
            best: tuple[int, int, str] | None = None
            for offset, length in self._known.get(word[0], ()):
                begin = word.start() - offset
                stop = begin + length
                if begin < start or stop > end or (best is not None and stop <= best[1]):
                    continue
                instead = self._by_value.get(text[begin:stop])
                if instead is not None and not _goes_on(text, stop):
                    best = (begin, stop, instead)
            if best is None and self._phrases:
                best = self._phrase(text, word, end)
            if best is not None:
                yield best

    def _phrase(self, text: str, word: re.Match[str], end: int) -> tuple[int, int, str] | None:
        """The longest value of several words that begins here in other letters or spaces."""
        forms = self._phrases.get(word[0].casefold())
        if forms is None:
            return None
        words, stops = [word[0].casefold()], [word.end()]
        for later in _WORD.finditer(text, word.end(), end):
            if len(words) == LONGEST_PHRASE or not _is_gap(text, stops[-1], later.start()):
                break
            words.append(later[0].casefold())
            stops.append(later.end())
        for count in range(len(words), 1, -1):
            label = forms.get(tuple(words[:count]))
            if label is not None:
                value = text[word.start() : stops[count - 1]]
                return word.start(), stops[count - 1], f"<{self._give(value, label)}>"
        return None


def _starts(text: str, word: str) -> Iterator[int]:
    """Where a word begins with these letters."""
    at = text.find(word)
    while at >= 0:
        if at == 0 or _WORD.match(text[at - 1]) is None:
            yield at
        at = text.find(word, at + len(word))


def _words(text: str, start: int, end: int, hot: Hot) -> Iterator[re.Match[str]]:
    """The words of a stretch that begin at these places."""
    if hot is None:
        yield from _WORD.finditer(text, start, end)
        return
    for at in hot[bisect_left(hot, start) : bisect_left(hot, end)]:
        word = _WORD.match(text, at, end)
        if word is not None:
            yield word


def _is_gap(text: str, start: int, end: int) -> bool:
    """Whether nothing but a little space stands between two words."""
    return end - start <= WIDEST_GAP and text[start:end].isspace()


def _goes_on(text: str, stop: int) -> bool:
    """Whether the word that ends a value is only the beginning of one in `text`."""
    return text[stop - 1].isalnum() and _WORD.match(text, stop) is not None
