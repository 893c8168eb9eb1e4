"""What has a form of its own: addresses of mail, hosts and devices, accounts, words of letters and
digits. Each is looked for behind a sign that it must have, and then checked."""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Iterator, Sequence
from typing import Final

from stdnum import iban

from extproc.guard import Finding
from extproc.guard.context import Context, Papers
from extproc.guard.ids import checked_icao, formed, lettered
from extproc.guard.normal import Normal, classes
from extproc.guard.numbers import numbers
from extproc.guard.triggers import BOOKLETS, PAPERS, TORN

_AT: Final = re.compile(r"@(?=\w)")
_LOCAL: Final = frozenset(".+-_!#$%*/^`{}~'")
"""Marks before the @; of those that RFC 5321 has, `=`, `&`, `?` and `|` are seen between values
only."""
_LONGEST_LOCAL: Final = 64
"""Characters before the @ (RFC 5321, 4.5.3.1.1)."""
_DOMAIN: Final = re.compile(r"[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,10}+")
_APART: Final = re.compile(
    r"(?<![\w.+\-])([\w.+\-]{1,64}+)(?: ?[\[({<] ?(?:at|@) ?[\])}>] ?| @ ?|@ )"
    r"([\w\-]{1,63}(?: ?(?:[\[({<] ?(?:dot|\.) ?[\])}>]|\.) ?[\w\-]{2,63}){1,4})",
    re.IGNORECASE,
)
"""How people hide addresses from machines, and how machines tear them apart."""
_TORN_AT: Final = re.compile(
    r"[\[({<@](?<=@)(?:(?= )|(?<= @))|[\[({<] ?(?:at|@) ?[\])}>]", re.IGNORECASE
)
_DOTS: Final = re.compile(r" ?(?:[\[({<] ?(?:dot|\.) ?[\])}>]|\.) ?", re.IGNORECASE)
_COMMON: Final = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "io",
        "co",
        "uk",
        "de",
        "fr",
        "es",
        "it",
        "in",
        "nl",
        "ch",
        "at",
        "be",
        "pl",
        "pt",
        "se",
        "no",
        "dk",
        "fi",
        "ie",
        "eu",
        "us",
        "ca",
        "au",
        "jp",
        "cn",
        "br",
        "mx",
        "ru",
        "ua",
        "cz",
        "hu",
        "ro",
        "gr",
        "tr",
        "za",
        "nz",
        "sg",
        "hk",
        "kr",
        "info",
        "biz",
        "me",
        "dev",
        "app",
        "ai",
    ]
)
_QUAD: Final = re.compile(
    r"[0-9](?<![\w.\-][0-9])[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![\w]|\.[0-9]|-[0-9])"
)
_COLONS: Final = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}+(?:\.\d{1,3}){0,3}"
)
_MAC: Final = re.compile(
    r"(?<![0-9A-Za-z:\-])(?:[0-9A-Fa-f]{2}([:\-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![0-9A-Za-z:\-])"
)
_MAC_CLASSES: Final = classes({"0123456789abcdefABCDEF": "0", ":": ":", "-": "-", ".": "."})
_MAC_MIDDLES: Final = (
    (2, re.compile(rb":00:00:00:00:")),
    (2, re.compile(rb"-00-00-00-00-")),
    (4, re.compile(rb"\.0000\.0")),
)
"""What is behind the first group of an address, and how many characters that has."""
_IBAN: Final = re.compile(
    r"[A-Za-z](?<![0-9A-Za-z][A-Za-z])[A-Za-z][ \-]?[0-9][ ]?[0-9]"
    r"(?:[ \-.]{0,2}[0-9A-Za-z]){11,30}+"
)
_WORD: Final = re.compile(
    r"[0-9A-Za-z](?<![0-9A-Za-z][0-9A-Za-z])"
    r"(?:(?<=[0-9])(?=[0-9]{0,17}[A-Za-z])|(?<=[A-Za-z])(?=[A-Za-z]{0,5}[0-9]))"
    r"[0-9A-Za-z]{4,17}+(?![0-9A-Za-z])"
)
_PARTED: Final = re.compile(
    r"[0-9A-Za-z](?<![0-9A-Za-z][0-9A-Za-z])(?:(?<=[A-Za-z])(?:"
    r"[A-Za-z](?:[ \-]?\d{2}){3}[ \-]?[A-Da-d]"  # UK_NINO
    r"|(?<=[XYZxyz])[ \-.]?\d(?:[ .]?\d{3}){2}[ \-.]?[A-Za-z]"  # ES_NIE
    r"|[A-Za-z]{2}[ \-][A-Za-z]{3}[ \-]\w{5}[ \-]\w{5}"  # IT_FISCAL_CODE
    r"|[A-Za-z9]{4}[ \-]\d{6}[ \-][A-Za-z9]{2}\w[ \-]?[A-Za-z]{2}"  # UK driving licence
    r"|[A-Za-z][ \-]?\d{2}[ \-]?(?:19|20)\d{2}[ \-]?\d{7}"  # IN driving licence
    r"|\d{3}[ \-]\d{3,4}[ \-]\d{2,4}(?:[ \-]\d{1,4}){0,2}"  # US driving licence
    r"|[A-Za-z]{4}[ \-]\d{4}[ \-][A-Za-z]"  # IN_PAN
    r")|(?<=[0-9])(?:"
    r"\d?(?:[ .]?\d{3}){2}[ \-.]?[A-Za-z]"  # ES_NIF
    r"|(?<=[12])[ \-]?\d\d[ \-]?\d\d[ \-]?2[ABab](?:[ \-]?\d{3}){2}[ \-]?\d\d"  # FR_NIR of Corsica
    r"))(?![0-9A-Za-z])"
)
_CLASSES: Final = classes(
    {"0123456789": "0", string.ascii_letters: "a", " ": " ", "-": "-", ".": ".", ":": ":"}
)
_IBAN_HINT: Final = re.compile(
    rb"0(?<=[a \-]0)(?:(?<=aa0)|(?<=aa.0))(?= ?0(?:[ .\-]{0,2}[a0]){11})"
)
_PARTED_HINT: Final = re.compile(
    rb"0(?:[ .\-]?a(?![a0])|a[ \-]?000|00(?<=a000)[ \-]000"
    rb"|(?<=[a \-]0)0[ \-]?0000[ \-]?0000000(?![a0])"
    rb"|00000[ \-][a0]{3}[ \-a]|a[a0]{0,3}[ \-][a0]{5}(?![a0]))"
)
"""What is in the classes of each of these."""
_PAPERS: Final = frozenset(PAPERS)
_MARKS: Final = re.compile(r"[ \-.]+")
_MRZ: Final = re.compile(
    r"(?<![A-Z0-9<])([A-Z0-9<]{9}\d)[A-Z<]{3}(\d{7})[MFX<](\d{7})[A-Z0-9<]{16}"
)
_DIGITS: Final = b"0123456789"
_ZONE_CLASSES: Final = classes({"0123456789": "0", " -.:" + string.ascii_letters: " "})
_FEW_DIGITS: Final = re.compile(rb"0(?: {0,6}0){3,60}+")
"""Four digits that are near each other; of what is looked for there nothing has fewer."""
_WORD_END: Final = re.compile(r"[0-9A-Za-z]*+")
_PAD: Final = 24
_SERIAL: Final = re.compile(
    r"[CFGHJKLMNPRTVWXYZ](?<![0-9A-Za-z][A-Z])[CFGHJKLMNPRTVWXYZ0-9]{8}(?:\dD?)?(?![0-9A-Za-z])"
)
_PLAIN_HOSTS: Final = ("0.", "127.", "255.255.", "::1")
_FEWEST: Final = 4
"""Digits of the shortest value."""
_FEWEST_IBAN: Final = 9
_FEWEST_PARTED: Final = 6
"""The same of accounts, and of words with marks between their parts (but with hyphens)."""
_NOT_HERE: Final = 24
"""Characters within which a word makes of four numbers a version."""

_IBAN_SIZES: Final = {
    pair[:2]: int(pair[2:])
    for pair in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HN28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
        "YE30",
    ]
}
"""Length of an account's number by country (ISO 13616, SWIFT's registry)."""


def patterns(normal: Normal, context: Context, said: frozenset[str]) -> Iterator[Finding]:
    """Everything in a text that has a form, in no order; some may lie over others.

    `said` are the triggers in it.
    """
    text = normal.text
    if "@" in text:
        yield from _mails(text)
    if not said.isdisjoint(TORN):
        yield from _mails_apart(text)
    if "<<" in text:
        yield from _machine_readable(text)
    if not said.isdisjoint(BOOKLETS):
        yield from _booklets(normal, context)
    yield from _devices(normal)
    plain = normal.plain
    if len(plain) - len(plain.translate(None, _DIGITS)) < _FEWEST:
        return
    papers = Papers(normal.lower, _PAPERS.intersection(said))
    yield from numbers(normal, context, papers)
    shown = normal.classes(_CLASSES)
    for start, end in _zones(normal):
        spoken = papers.near(start, end)
        yield from _in_zone(normal, shown, (start, end), context, spoken=spoken)


def _in_zone(
    normal: Normal, shown: bytes, zone: tuple[int, int], context: Context, *, spoken: bool
) -> Iterator[Finding]:
    """What has digits and other characters. `shown`: the text in `_CLASSES`, which tell cheaply
    what cannot be there; `spoken`: whether the words around speak of what no form tells."""
    start, end = zone
    piece = shown[start:end]
    if piece.count(b".") >= 3:  # noqa: PLR2004 - as many as there are in an address
        yield from _hosts_4(normal, start, end, context)
    if piece.count(b":") >= 2:  # noqa: PLR2004
        yield from _hosts_6(normal.text, start, end)
    digits = piece.count(b"0")
    if digits >= _FEWEST_IBAN:
        yield from _ibans(normal.text, shown, start, end)
    patterns = [_WORD] if b"a0" in piece or b"0a" in piece else []
    if (digits >= _FEWEST_PARTED or b"-" in piece) and (
        spoken or _PARTED_HINT.search(piece) is not None
    ):
        patterns.append(_PARTED)
    if patterns:
        yield from _lettered(normal, zone, context, patterns, spoken=spoken)


def _zones(normal: Normal) -> Iterator[tuple[int, int]]:
    """Where there are enough digits for a form, with what may belong to it on both sides.

    A zone ends between words, so that no word seems shorter than it is.
    """
    text = normal.text
    size = len(text)
    start = end = -_PAD
    for one in _FEW_DIGITS.finditer(normal.classes(_ZONE_CLASSES)):
        first, last = one.span()
        if first - _PAD > end:
            if end > 0:
                yield max(0, start), _WORD_END.match(text, min(size, end)).end()  # type: ignore[union-attr]
            start = first - _PAD
        end = last + _PAD
    if end > 0:
        yield max(0, start), _WORD_END.match(text, min(size, end)).end()  # type: ignore[union-attr]


def _mails(text: str) -> Iterator[Finding]:
    for at in _AT.finditer(text):
        place = at.start()
        start = place
        first = max(0, place - _LONGEST_LOCAL)
        if place and text[place - 1] == '"':
            start = max(text.rfind('"', first, place - 1), first)
        while start > first and (text[start - 1].isalnum() or text[start - 1] in _LOCAL):
            start -= 1
        while start < place and text[start] in ".'/=?&`{|}*!#$%^~":
            start += 1
        end = _domain_end(text, at.end())
        if (
            start < place
            and end
            and not (text[start:place] == "git" and text[end : end + 1] == ":")
        ):
            yield Finding(start, end, "EMAIL_ADDRESS", 0.97)


def _domain_end(text: str, start: int) -> int:
    """Behind the last label of a host's name that begins there; 0 if none does."""
    found = _DOMAIN.match(text, start)
    if found is None:
        return 0
    labels = found[0].rstrip("-_.").split(".")
    while len(labels) > 1 and not _top(labels[-1]):
        labels.pop()
    return start + len(".".join(labels)) if len(labels) > 1 else 0


def _top(label: str) -> bool:
    return (label.isalpha() and 2 <= len(label) <= 24) or label.lower().startswith("xn--")  # noqa: PLR2004


def _mails_apart(text: str) -> Iterator[Finding]:
    reached = 0
    for at in _TORN_AT.finditer(text):
        one = _APART.match(text, _local_start(text, at.start(), reached))
        if one is None or one.start(2) < at.start():
            continue
        reached = one.end()
        labels = _DOTS.split(one[2])
        while len(labels) > 1 and labels[-1].lower() not in _COMMON:
            labels.pop()
        if len(labels) > 1:
            end = one.start(2)
            for label in labels:
                end = text.index(label, end) + len(label)
            yield Finding(one.start(), end, "EMAIL_ADDRESS", 0.75)


def _local_start(text: str, at: int, floor: int) -> int:
    """Where what stands in front of a hidden @ begins, a space between or not."""
    start = at - 1 if at and text[at - 1] == " " else at
    floor = max(floor, start - _LONGEST_LOCAL)
    while start > floor and (text[start - 1].isalnum() or text[start - 1] in "_.+-"):
        start -= 1
    return start


def _hosts_4(normal: Normal, first: int, last: int, context: Context) -> Iterator[Finding]:
    for one in _QUAD.finditer(normal.text, first, last):
        found = one[0]
        if any(int(part) > 255 for part in found.split(".")) or found.startswith(_PLAIN_HOSTS):  # noqa: PLR2004
            continue
        start, end = one.span()
        near = context.around(normal.lower, start, end)
        if near.get("version", _NOT_HERE) < min(_NOT_HERE, near.get("ip", _NOT_HERE)):
            continue
        yield Finding(start, end, "IP_ADDRESS", 0.95 if "ip" in near else 0.8)


def _hosts_6(text: str, first: int, last: int) -> Iterator[Finding]:
    for one in _COLONS.finditer(text, first, last):
        start, end = one.span()
        found = one[0]
        if found.endswith(":") and not found.endswith("::"):
            found, end = found[:-1], end - 1
        groups = [part for part in found.split(":") if part]
        if len(groups) < 3 or found == "::1" or not any(map(str.isdigit, found)):  # noqa: PLR2004
            continue
        try:
            ipaddress.IPv6Address(found)
        except ValueError:
            continue
        if not text[end : end + 1].isalnum():
            yield Finding(start, end, "IP_ADDRESS", 0.95)


def _devices(normal: Normal) -> Iterator[Finding]:
    shown = normal.classes(_MAC_CLASSES)
    for first, middle in _MAC_MIDDLES:
        for hint in middle.finditer(shown):
            found = _MAC.match(normal.text, max(0, hint.start() - first))
            if found is not None:
                yield Finding(*found.span(), "MAC_ADDRESS", 0.95)


def _ibans(text: str, shown: bytes, first: int, last: int) -> Iterator[Finding]:
    at = first
    for hint in _IBAN_HINT.finditer(shown, first, last):
        digit = hint.start()
        start = digit - 2 if shown[digit - 1 : digit] == b"a" else digit - 3
        size = _IBAN_SIZES.get(text[start : start + 2].upper(), 0)
        one = _IBAN.match(text, start, last) if size and start >= at else None
        if one is None:
            continue
        at, letters = start, list[str]()
        while at < one.end() and len(letters) < size:
            if text[at] not in " -.":
                letters.append(text[at])
            at += 1
        cut = at < len(text) and text[at].isascii() and text[at].isalnum()
        if (
            size
            and len(letters) == size
            and not cut
            and iban.is_valid("".join(letters), check_country=False)
        ):
            yield Finding(start, at, "IBAN_CODE", 0.99)
        else:
            at = start


def _lettered(
    normal: Normal,
    zone: tuple[int, int],
    context: Context,
    patterns: Sequence[re.Pattern[str]],
    *,
    spoken: bool,
) -> Iterator[Finding]:
    """`spoken`: whether the words around speak of what no form tells."""
    text, lower = normal.text, normal.lower
    for pattern in patterns:
        tied = pattern is _WORD
        for one in pattern.finditer(text, *zone):
            value = one[0] if tied else _MARKS.sub("", one[0])
            if sum(map(str.isdigit, value)) < _FEWEST:
                continue
            if not spoken and not (formed(value) and lettered(value, {}, tied=tied)[0]):
                continue
            start, end = one.span()
            kind, sure = lettered(
                value, context.around(lower, start, end), tied=tied or value[0].isalpha()
            )
            if kind:
                yield Finding(start, end, kind, sure)


def _booklets(normal: Normal, context: Context) -> Iterator[Finding]:
    """German identity cards and passports: most of their characters may be letters."""
    for one in _SERIAL.finditer(normal.text):
        if any(map(str.isdigit, one[0])):
            near = context.around(normal.lower, *one.span())
            kind, sure = lettered(one[0], near, tied=True)
            if kind in {"DE_ID_CARD", "PASSPORT"}:
                yield Finding(*one.span(), kind, sure)


def _machine_readable(text: str) -> Iterator[Finding]:
    """The second line at the foot of a passport's page (ICAO Doc 9303, part 4)."""
    for one in _MRZ.finditer(text):
        if all(map(checked_icao, one.groups())):
            yield Finding(*one.span(), "PASSPORT", 0.99)
