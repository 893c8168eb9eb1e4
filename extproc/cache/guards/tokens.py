"""A question as a row of tokens: words, numbers and signs, with what the guards need of each."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import NamedTuple

# An embedder sees 128 tokens or so; a guard sees this much, and of the rest only whether it is the
# same. Linear: 4,000 characters take about 2 ms.
BOUND = 4_000

# Repetitions are bounded so that no input makes the scan worse than linear.
_TOKEN = re.compile(
    r"(?P<time>\b\d{1,2}(?::\d{2}){1,2}\b)"
    r"|(?P<number>\d{1,40}(?:[.,'\u2019]\d{1,40}){0,20})"
    r"|(?P<word>[^\W\d_]{1,100}(?:['\u2019][^\W\d_]{1,20}){0,3})"
    r"|(?P<sign>[uU][sS]\$|[$€£¥₹₽₩₺%]|°[cfCF]\b|[.!?:;\n\"“”()]|[+*/=<>])"
)
_ENDS = frozenset('.!?:;\n"“”(')


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    TIME = "time"
    SIGN = "sign"


class Token(NamedTuple):
    """`text` is casefolded, without a possessive ending; `first` says that a sentence starts here;
    `glued` that nothing parts it from the token before ("5k", "mp3")."""

    kind: Kind
    text: str
    written: str
    first: bool
    glued: bool


_KINDS = {number: Kind(name) for name, number in _TOKEN.groupindex.items()}
_WORD = _TOKEN.groupindex["word"]
_WORD_KIND = Kind.WORD
_SIGN_KIND = Kind.SIGN


def tokens(text: str) -> tuple[list[Token], str]:
    """Tokens of the first `BOUND` characters, and the rest, white space folded."""
    # Some characters become eighteen: only what is read is folded.
    whole = text[:BOUND]
    if not whole.isascii():
        whole = unicodedata.normalize("NFKC", whole)
    row: list[Token] = []
    first = True
    end = -1
    for found in _TOKEN.finditer(whole[:BOUND]):
        written = found.group()
        number = found.lastindex
        start, stop = found.span()
        folded = written.casefold()
        if number == _WORD:
            if not folded.isalpha():
                folded = folded.replace("\u2019", "'").removesuffix("'s")
            row.append(Token(_WORD_KIND, folded, written, first, start == end))
            first = False
        else:
            kind = _KINDS[number or 0]
            row.append(Token(kind, folded, written, first, start == end))
            first = kind is _SIGN_KIND and written in _ENDS
        end = stop
    rest = whole[BOUND:] + text[BOUND:]
    return row, " ".join(rest.split()) if rest else ""
