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
    r"|(?P<sign>us\$|[$€£¥₹₽₩₺%]|°[cf]\b|[.!?:;\n\"“”()]|[+*/=<>])",
    re.IGNORECASE,
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


_KINDS = {kind.value: kind for kind in Kind}


def tokens(text: str) -> tuple[list[Token], str]:
    """Tokens of the first `BOUND` characters, and the rest, white space folded."""
    whole = unicodedata.normalize("NFKC", text)
    row: list[Token] = []
    first = True
    end = -1
    for found in _TOKEN.finditer(whole[:BOUND]):
        written = found.group()
        kind = _KINDS[found.lastgroup or ""]
        glued = found.start() == end
        folded = written.casefold()
        if kind is Kind.WORD:
            folded = folded.replace("\u2019", "'").removesuffix("'s")
        row.append(Token(kind, folded, written, first, glued))
        first = written in _ENDS if kind is Kind.SIGN else False
        end = found.end()
    return row, " ".join(whole[BOUND:].split())
