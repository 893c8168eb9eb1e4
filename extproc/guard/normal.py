# ruff: noqa: RUF001 - look-alikes are what this is about
"""A text as forms are looked for in it, and the way back to the text as given.

Values are hidden from patterns by characters that are not seen (zero-width ones, soft hyphens,
tags) and by such as look like others (full-width, mathematical and foreign digits, Cyrillic and
Greek letters). The folded text has plain ASCII where that is what a reader sees; nothing else in it
is different: no letter of another script that looks like none of ours changes.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from extproc.guard import Finding

_PLAIN: Final = bytes([9, 10, 13, *range(0x20, 0x7F)])
_ODD: Final = re.compile(r"[^\t\n\r -~][^\t\n\r -~]*+")
"""What a text that is folded already does not have: all but printable ASCII and ends of lines."""
_UNSEEN: Final = frozenset({"Cf", "Cc", "Mn", "Me"})
"""Format and control characters, and marks that are drawn over the character before."""
_TAGS: Final = range(0xE0020, 0xE007F)
"""Tag characters: ASCII that is not drawn, but that a model may read."""
_SPACES: Final = frozenset({"Zs"})
_DASHES: Final = frozenset({"Pd"})

_LOOK_ALIKES: Final = {
    # Cyrillic, capital and small
    **dict(zip("АВЕЅІЈКМНОРСТУХԌԚԜҮӀ", "ABESIJKMHOPCTYXGQWYI", strict=True)),
    **dict(zip("аеѕіјорсухһԁԛԝѵӏ", "aesijopcyxhdqwvl", strict=True)),
    # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    **dict(zip("ονϲϳ", "ovcj", strict=True)),
    # Latin letters and signs that are taken for others
    **dict(zip("ıȷɑɡɩʟʀℓ℮İſ", "ijagiLRleIs", strict=True)),
    **dict(zip("·•∙‧・⋅․。｡", ".........", strict=True)),
    **dict(zip("−⁃﹣ー˗", "-----", strict=True)),
    **dict(zip("∕⁄", "//", strict=True)),
    **dict(zip("：﹕꞉∶", "::::", strict=True)),
    **dict(zip("“”„‟«»‘’‚‛", '""""""\'\'\'\'', strict=True)),
    "ǃ": "!",
}


def _folded(one: str) -> str:  # noqa: PLR0911 - one return a kind of character
    """What is seen in a character's place: at most one character."""
    code = ord(one)
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return one if one.isprintable() or one in "\t\n\r" else ""
    if code in _TAGS:
        return chr(code - 0xE0000)
    found = _LOOK_ALIKES.get(one)
    if found is not None:
        return found
    kind = unicodedata.category(one)
    if kind in _UNSEEN:
        return ""
    if kind in _SPACES:
        return " "
    if kind in _DASHES:
        return "-"
    digit = unicodedata.digit(one, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", one)
    if len(plain) == 1 and plain != one:
        return _LOOK_ALIKES.get(plain, plain)
    return one


class Folding(dict[int, str]):
    """A table for `str.translate` that is filled as characters are met; no larger than Unicode."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _folded(chr(code))
        return found

    def fold(self, text: str) -> Normal:
        """The text as forms are looked for in it; linear in its length."""
        if text.isascii():
            plain = text.encode("ascii")
            if not plain.translate(None, _PLAIN):
                return Normal(text, text.lower(), plain)
        folded = _ODD.sub(self._run, text)
        if folded == text:
            folded = text
        # Of one character `lower` makes two, and that one is folded.
        if len(folded) == len(text):
            return Normal(folded, folded.lower(), folded.encode("ascii", "replace"))
        gone = (
            at
            for run in _ODD.finditer(text)
            for at, one in enumerate(run[0], run.start())
            if not self[ord(one)]
        )
        skips = [at - number for number, at in enumerate(gone)]
        return Normal(folded, folded.lower(), folded.encode("ascii", "replace"), skips)

    def _run(self, found: re.Match[str]) -> str:
        some = found[0]
        return self[ord(some)] if len(some) == 1 else some.translate(self)


def beside_odd(text: str, reach: int) -> str:
    """The parts of a text that folding may have changed, with so many characters on both sides."""
    parts = []
    first = last = 0
    for one in _ODD.finditer(text):
        start, end = one.span()
        if start - reach > last:
            parts.append(text[first:last])
            first = start - reach
        last = end + reach
    parts.append(text[first:last])
    return "\n".join(parts)


def classes(signs: Mapping[str, str]) -> bytes:
    """A table for `Normal.classes`: these characters are shown as their signs, others as `x`."""
    shown = {ord(one): ord(sign) for some, sign in signs.items() for one in some}
    return bytes(shown.get(code, ord("x")) for code in range(256))


@dataclass(frozen=True, slots=True)
class Normal:
    """A folded text."""

    text: str
    lower: str
    """The same in lower case, character by character."""
    plain: bytes
    """The same in ASCII; what that has not is `?`."""
    _skips: list[int] = field(default_factory=list)
    """For each character that was left out, the place in `text` before which it stood."""

    def classes(self, table: bytes) -> bytes:
        """A sign for each character, as a table of 256 says it; all but ASCII counts as `?`.

        What is looked for in classes is found by the first character, some ten times as fast as a
        pattern finds it in the text.
        """
        return self.plain.translate(table)

    def placed(self, found: list[Finding]) -> list[Finding]:
        """Findings in the folded text as such of the text as given."""
        if not self._skips:
            return found
        return [Finding(*self.span(one.start, one.end), one.type, one.confidence) for one in found]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a place of the folded text (not empty) is in the text as given."""
        if not self._skips:
            return start, end
        last = end - 1
        return start + bisect_right(self._skips, start), last + bisect_right(self._skips, last) + 1
