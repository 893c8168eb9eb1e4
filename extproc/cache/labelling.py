"""Which of the neighbours' answers say what the provider has just said: the label that a partition
learns from.

`equality` decides, and here is what it cannot see by itself. Calls of tools are compared first, and
exactly. Answers that are JSON are compared field by field. What two answers begin and end with
alike is left out, for it would hide what differs. A long answer is compared in pieces, each of
which the other must say as well: the vector of a long text says what it is about and no more.
Where words and vectors leave it open, a judge may be asked. When in doubt they differ.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from enum import Enum, auto
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np

from extproc.cache import CacheAway, Vectors
from extproc.cache.embedders import OpenEmbedder
from extproc.cache.embedders.texts import ends
from extproc.cache.equality import ALIKE, NEAR, conclusion, normalised, same
from extproc.cache.guards import compare, signs
from extproc.cache.judge import LONGEST as JUDGEABLE
from extproc.cache.judge import Judge
from extproc.cache.spoken import Spoken, spoken

MOST: Final = 8
"""Answers that one is compared with: as many as a partition's decision names."""
JUDGED: Final = 3
"""Of these, how many a judge is asked about, the nearest question's first."""
LONGEST: Final = 50_000
"""Characters of an answer, some 12,000 tokens; longer ones are the same only to the letter."""
PIECE: Final = 400
"""Characters of a piece: some 90 tokens of English, where MiniLM reads 128."""
PIECES: Final = 8
"""Of one answer. Longer ones, beside what they have in common, vectors cannot tell apart."""
TOPIC: Final = 1_200
"""Characters, from both ends, by which it is seen that answers which come to one number are about
one thing: of 550 answers to grade-school sums the verdicts were the same as by the whole."""
END: Final = 200
"""Characters within which an answer comes to its end: a number before them is one of many."""
ON_THE_WAY: Final = 0.5
"""Share of the numbers of that answer which has fewer that stand in the other as well: of 341 pairs
of right answers to grade-school sums, 99 in a hundred are above 0.6."""
CASELESS: Final = 0.3
"""Share of letters from which on a text is of a script without capitals."""
WORDS: Final = 400
"""Words of two texts that are laid side by side, for it takes their product."""
FAR: Final = 0.3
"""Cosine below which answers are about different things. Of two models' answers to 80 questions
none in twenty is below 0.57; of answers to a question and to the next about it one in twenty is
below 0.27 (MT-bench, static vectors)."""
AT_ONCE: Final = 4
"""Labels that embed at a time, so that questions, for which somebody waits, are not behind many."""
WAITING: Final = 256
"""Labels that may wait to; more are made by words alone."""
BATCH: Final = 16
"""Texts that are embedded at a time, for the same reason."""
_LEAVES: Final = 200
"""Fields of an answer that is JSON."""
_CONTRARY: Final = frozenset({"negation", "opposite"})
"""What guards see that makes an end the contrary, however much of the rest is the same."""

_MARKS: Final = re.compile(r"[<>=&^~|°]|!(?=[\w(=])|(?<=\w)#|(?<![\w.)])[-\u2212](?=[\d.$€£])")
"""Signs that a word or a number is another with."""
_SIGNED: Final = re.compile(r"((?<![\w.)])[-\u2212])?[$€£]?\d[\d.,]*")
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
_PLAIN: Final = re.compile(r"(?<![\w(){}\\^.,])\d[\d,]*(?:\.\d+)?(?![\w(){}\\^])")
_LISTED: Final = re.compile(r"^\s*\d{1,3}[.)]\s")
_SYMBOL: Final = re.compile(r"\d\s?([mglshAVWJKNB])(?![\w'\u2019])")
"""Units of one letter, which the guards, made for questions, do not know."""
_RESULT: Final = re.compile(r"####|\\boxed\{|\banswer\b", re.IGNORECASE)
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001 - full-width marks
_FENCED: Final = re.compile(r"```(?:json)?\s*([\[{].*[\]}])\s*```", re.DOTALL)


class Told(Protocol):
    """Who counts."""

    def failed(self, part: Literal["embedder"], /) -> None:
        """The embedder was away."""

    def embedded(self, tokens: int, /) -> None:
        """Tokens that an embedder bills."""


class Labeller:
    """Belongs to one event loop, on which it does nothing that takes long."""

    def __init__(self, embedder: OpenEmbedder, judge: Judge | None, told: Told) -> None:
        """`judge`: None where none can be asked. Neither is closed here."""
        self._embedder = embedder
        self._judge = judge
        self._told = told
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def equal(
        self,
        question: str,
        answer: bytes,
        others: Sequence[tuple[int, bytes]],
        format_: str,
        judge_chain: str | None,
    ) -> frozenset[int]:
        """Those of `others` (answer's id, answer as kept; the nearest question's first, at most
        MOST are looked at) that say what `answer` says. `question`: for the judge. `judge_chain`:
        whom to ask where words and vectors leave it open; None: nobody, and they differ.

        Without vectors, when the embedder is away or busy, words alone decide. Never raises.
        """
        if not others:
            return frozenset()
        judge = self._judge if judge_chain is not None else None
        judged = judge is not None
        first, pairs = await asyncio.to_thread(_read, answer, others[:MOST], format_, judged=judged)
        if first is None:
            return frozenset()
        parts = [part for pair in pairs for part in pair.parts]
        if parts:
            plan = await asyncio.to_thread(_plan, parts, self._embedder)
            shown = (text for sides in plan.values() for side in sides for text in side)
            rows = await self._rows(list(dict.fromkeys(shown)))
            pairs = await asyncio.to_thread(_by_vectors, pairs, plan, rows)
        found = {pair.id for pair in pairs if pair.verdict is _Verdict.SAME}
        open_ = [pair for pair in pairs if pair.verdict is _Verdict.OPEN]
        doubtful = [pair for pair in open_ if len(pair.text) <= JUDGEABLE]
        if judge_chain is not None and judge is not None:
            for pair in doubtful[:JUDGED]:
                said = await judge.same(judge_chain, question, first.text, pair.text)
                if said is None:
                    break  # the next would fare no better
                if said:
                    found.add(pair.id)
        return frozenset(found)

    async def _rows(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """Vectors by text; none when the embedder is away."""
        if not texts or self._waiting >= WAITING:
            return {}
        found: dict[str, Vectors] = {}
        self._waiting += 1
        try:
            async with self._turn:
                for start in range(0, len(texts), BATCH):
                    batch = texts[start : start + BATCH]
                    vectors, tokens = await self._embedder.embedded(batch)
                    if tokens:
                        self._told.embedded(tokens)
                    found.update(zip(batch, vectors, strict=True))
        except CacheAway:
            self._told.failed("embedder")
            return {}
        finally:
            self._waiting -= 1
        return found


# --- pairs ----------------------------------------------------------------------------------


class _Verdict(Enum):
    SAME = auto()
    DIFFERENT = auto()
    OPEN = auto()
    """Only a judge can tell; without one: different."""
    VECTORS = auto()
    """The vectors say."""


class _Part(NamedTuple):
    """Two texts that vectors are to tell apart. `wholly`: every piece of each counts; else it is
    enough that they are about the same, for they come to the same number."""

    a: str
    b: str
    wholly: bool


_Sides = tuple[list[str], list[str]]
_Plan = Mapping[_Part, _Sides]
"""What of a part's two texts is embedded."""


class _Pair(NamedTuple):
    """The answer and another: the other's id and text, and what is known so far."""

    id: int
    text: str
    verdict: _Verdict
    parts: tuple[_Part, ...] = ()


class _OtherShapeError(Exception):
    """Two JSON texts differ in something beside words."""


def _read(
    answer: bytes, others: Sequence[tuple[int, bytes]], format_: str, *, judged: bool
) -> tuple[Spoken | None, list[_Pair]]:
    """What an answer says, and the others beside it, by words. `judged`: somebody will be asked
    about what is open."""
    first = spoken(answer, format_)
    pairs: list[_Pair] = []
    if first is None:
        return None, pairs
    for id_, said in others:
        other = spoken(said, format_)
        if other is not None:
            verdict, parts = _compared(first, other, judged=judged)
            pairs.append(_Pair(id_, other.text, verdict, parts))
    return first, pairs


def _compared(first: Spoken, other: Spoken, *, judged: bool) -> tuple[_Verdict, tuple[_Part, ...]]:
    if first.calls != other.calls:
        return _Verdict.DIFFERENT, ()
    if first.text == other.text:
        return _Verdict.SAME, ()
    if max(len(first.text), len(other.text)) > LONGEST:
        return _Verdict.DIFFERENT, ()
    try:
        texts = _fields(first.text, other.text)
    except _OtherShapeError:
        return _Verdict.DIFFERENT, ()
    verdicts, parts = set(), []
    for a, b in [(first.text, other.text)] if texts is None else texts:
        verdict, part = _by_words(a, b, judged=judged)
        verdicts.add(verdict)
        if part is not None:
            parts.append(part)
    for verdict in (_Verdict.DIFFERENT, _Verdict.OPEN):
        if verdict in verdicts:
            return verdict, ()
    return (_Verdict.VECTORS, tuple(parts)) if parts else (_Verdict.SAME, ())


def _by_words(  # noqa: PLR0911 - one line a rule
    a: str, b: str, *, judged: bool
) -> tuple[_Verdict, _Part | None]:
    """What words say of two texts, and what they leave to the vectors. Up to some 2 ms."""
    if not same(a, b, 1.0):
        return (_Verdict.DIFFERENT if not judged or _contradict(a, b) else _Verdict.OPEN), None
    if same(a, b, -1.0):
        # Marks and signs are not looked at there, and "-5" is not "5", nor "C#" "C".
        return (_Verdict.SAME if _MARKS.findall(a) == _MARKS.findall(b) else _Verdict.OPEN), None
    if _contrary(_last(a), _last(b)):
        return _Verdict.DIFFERENT, None
    if _result(a) and _result(b) and _one_way(a, b):
        return _Verdict.VECTORS, _Part(a, b, wholly=False)
    x, y = _differing(a, b)
    if (x, y) != (a, b):
        # Shorter each time. Where one of them says all that the other does, and more: open.
        return _by_words(x, y, judged=judged) if x and y else (_Verdict.OPEN, None)
    if _one_way(a, b):
        return _Verdict.VECTORS, _Part(a, b, wholly=False)
    if _unlike(a, b) or _caseless(a) or _caseless(b) or _filled_in(a, b):
        return _Verdict.OPEN, None
    return _Verdict.VECTORS, _Part(a, b, wholly=True)


def _contradict(a: str, b: str) -> bool:
    """Of texts that words tell apart: one says what the other does not hold with. Else one merely
    says more, a number or a name."""
    x, y = conclusion(a), conclusion(b)
    if (x is None) != (y is None):
        return False
    if x is not None:
        return True
    p, q = signs(a), signs(b)
    more = p.names <= q.content or q.names <= p.content
    return not (compare(p, q) == "entity" and more)


def _contrary(a: str, b: str) -> bool:
    """Of the sentences with which two answers end."""
    p, q = signs(a), signs(b)
    measures = p.units | p.currencies | set(_SYMBOL.findall(a))
    others = q.units | q.currencies | set(_SYMBOL.findall(b))
    if measures and others and measures.isdisjoint(others):
        return True
    number = conclusion(a)
    if number is not None and number == conclusion(b) and _negative(a) != _negative(b):
        return True
    return compare(p, q) in _CONTRARY


def _unlike(a: str, b: str) -> bool:
    """Each has a number that the other has not, or one of them a "not": vectors would not see
    it."""
    x, y = _numbers(a), _numbers(b)
    return not (x <= y or y <= x) or compare(signs(a), signs(b)) in _CONTRARY


def _caseless(text: str) -> bool:
    """In a script without capitals, as Arabic or Japanese: no name is seen in it, and one for
    another hardly moves the vector."""
    letters = [one for one in text[:PIECE] if one.isalpha()]
    return sum(one.lower() == one.upper() for one in letters) > CASELESS * len(letters)


def _filled_in(a: str, b: str) -> bool:
    """For the most part word for word the same, but with other words in a place: as a form that was
    filled in twice. Synonyms are taken for that, too."""
    x, y = normalised(a).split()[:WORDS], normalised(b).split()[:WORDS]
    matcher = SequenceMatcher(None, x, y, autojunk=False)
    blocks = matcher.get_opcodes()
    common = sum(end - start for what, start, end, *_ in blocks if what == "equal")
    if 2 * common < min(len(x), len(y)):
        return False
    for what, i, j, k, m in blocks:
        if what == "replace":
            one, other = signs(" ".join(x[i:j])).content, signs(" ".join(y[k:m])).content
            if one and other and one.isdisjoint(other):
                return True
    return False


def _negative(text: str) -> bool:
    """The last number has a minus."""
    found = _SIGNED.findall(text)
    return bool(found and found[-1])


def _result(text: str) -> bool:
    """It ends by saying that this is the result: what comes before is how it was come to."""
    return _RESULT.search(_last(text)) is not None


def _concluded(text: str) -> bool:
    """It ends with a sentence that says the number that it comes to, which is no number of a list
    and no part of a name or a formula."""
    last = _LISTED.sub("", _last(text))
    found = _PLAIN.findall(last[-END:])
    return bool(found) and conclusion(found[-1]) == conclusion(text)


def _one_way(a: str, b: str) -> bool:
    """Both come to a number at their ends, and most of the numbers on the way are the same."""
    if not (_result(a) or _concluded(a)) or not (_result(b) or _concluded(b)):
        return False
    x, y = _numbers(a), _numbers(b)
    return len(x & y) >= ON_THE_WAY * min(len(x), len(y)) > 0


def _numbers(text: str) -> frozenset[str]:
    return frozenset(one.replace(",", "") for one in _NUMBER.findall(text))


def _differing(a: str, b: str) -> tuple[str, str]:
    """The texts without the sentences with which both begin, and those with which both end."""
    x, y = _sentences(a), _sentences(b)
    start, end, most = 0, 0, min(len(x), len(y))
    while start < most and normalised(x[start]) == normalised(y[start]):
        start += 1
    while end < most - start and normalised(x[-1 - end]) == normalised(y[-1 - end]):
        end += 1
    if not start and not end:
        return a, b
    # Not joined by spaces: the sentences are to be the same ones when they are cut again.
    return "\n".join(x[start : len(x) - end]), "\n".join(y[start : len(y) - end])


def _sentences(text: str) -> list[str]:
    return [one for one in _SENTENCE.split(text.strip()) if one.strip()]


def _last(text: str) -> str:
    """The last sentence."""
    return next(iter(_sentences(text[-10 * END :])[-1:]), "")


# --- answers that are JSON ------------------------------------------------------------------


def _fields(a: str, b: str) -> list[tuple[str, str]] | None:
    """The texts that differ within two JSON texts, field by field. None: not both are JSON. Raises
    _OtherShapeError."""
    x, y = _json(a), _json(b)
    if x is None or y is None:
        return None
    try:
        found = list(_leaves(x, y))
    except RecursionError:
        raise _OtherShapeError from None
    if len(found) > _LEAVES:
        raise _OtherShapeError
    return found


def _json(text: str) -> Any:
    """An object or a list. None: it is neither."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    text = fenced[1] if fenced else text
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _leaves(x: Any, y: Any) -> Iterator[tuple[str, str]]:
    if isinstance(x, str) and isinstance(y, str):
        if x != y:
            yield x, y
    elif isinstance(x, Mapping) and isinstance(y, Mapping) and x.keys() == y.keys():
        for name in x:
            yield from _leaves(x[name], y[name])
    elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        for one, other in zip(x, y, strict=True):
            yield from _leaves(one, other)
    elif isinstance(x, bool) != isinstance(y, bool) or x != y:
        raise _OtherShapeError


# --- vectors --------------------------------------------------------------------------------


def _plan(parts: Sequence[_Part], embedder: OpenEmbedder) -> _Plan:
    """What of each part is to be embedded. A part that is to be compared wholly is not in it where
    a text is too long for that, or not all of it is read by the embedder."""
    found: dict[_Part, _Sides] = {}
    for part in parts:
        if not part.wholly:
            found[part] = [ends(part.a, TOPIC)], [ends(part.b, TOPIC)]
            continue
        sides = _pieces(part.a), _pieces(part.b)
        if all(0 < len(one) <= PIECES and all(map(embedder.whole, one)) for one in sides):
            found[part] = sides
    return found


def _pieces(text: str) -> list[str]:
    """Sentences together, as many as fit."""
    found: list[str] = []
    for sentence in _sentences(text):
        for start in range(0, len(sentence), PIECE):
            cut = sentence[start : start + PIECE]
            if found and len(found[-1]) + len(cut) < PIECE:
                found[-1] = f"{found[-1]} {cut}"
            else:
                found.append(cut)
    return found


def _by_vectors(pairs: Sequence[_Pair], plan: _Plan, rows: Mapping[str, Vectors]) -> list[_Pair]:
    """The pairs, each with its verdict; `rows` is empty when there are no vectors."""
    return [
        pair._replace(verdict=_all(pair.parts, plan, rows), parts=())
        if pair.verdict is _Verdict.VECTORS
        else pair
        for pair in pairs
    ]


def _all(parts: Sequence[_Part], plan: _Plan, rows: Mapping[str, Vectors]) -> _Verdict:
    verdicts = {_near(part, plan.get(part), rows) for part in parts}
    for verdict in (_Verdict.DIFFERENT, _Verdict.OPEN):
        if verdict in verdicts:
            return verdict
    return _Verdict.SAME


def _near(part: _Part, shown: _Sides | None, rows: Mapping[str, Vectors]) -> _Verdict:
    if shown is None or not rows:
        alone = not part.wholly and same(part.a, part.b)
        return _Verdict.SAME if alone else _Verdict.OPEN
    a, b = (np.stack([rows[text] for text in side]) for side in shown)
    if _least(a, b) >= (NEAR if part.wholly else ALIKE):
        return _Verdict.SAME
    return _Verdict.OPEN if _about(a, b) >= FAR else _Verdict.DIFFERENT


def _least(a: Vectors, b: Vectors) -> float:
    """Of each piece, on both sides, the cosine of what is nearest on the other; the least."""
    cosines = a @ b.T
    return float(min(cosines.max(axis=0).min(), cosines.max(axis=1).min()))


def _about(a: Vectors, b: Vectors) -> float:
    """Cosine of the means."""
    x, y = a.mean(axis=0), b.mean(axis=0)
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / length if length else 0.0
