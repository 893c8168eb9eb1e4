"""What comes back: looked through where a route wants it, and values put in their places again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

from extproc.guard import BlockedError, Finding, GuardError, Kind, Text, Work
from extproc.guard.bodies import Body, UnreadableError, read_answer
from extproc.guard.bodies.logprobs import dropped
from extproc.guard.guarded import Found, Guarded, deed
from extproc.guard.placeholders import SHAPE, Mapping, is_name, keyed_hash, label_of, mask, name_of
from extproc.guard.restore import restore
from extproc.guard.streams import Stream
from extproc.policy import GuardAction

Look = Callable[[Guarded, Sequence[Text]], Awaitable[Found]]
"""Findings of some texts; raises GuardError where the route is closed."""

READING: Final = 4
"""How much longer the texts of a body take to be found than its JSON to be read, about."""
WEIGHT: Final = 16
"""How much longer a body takes to be rewritten than to be read as JSON, about: of a body of 16 kB
it is a millisecond."""


class Answers:
    """The answers' half of the guard."""

    def __init__(self, look: Look, key: bytes, work: Work) -> None:
        """`key`: what hashes of values are keyed with."""
        self._look = look
        self._key = key
        self._work = work

    async def whole(self, guarded: Guarded, body: bytes, format_: str) -> bytes:
        """A whole 2xx answer as the client may have it. Raises BlockedError, GuardError."""
        if not guarded.reads_answers:
            return body
        try:
            size = len(body) * READING
            read = await self._work.work(size, partial(_read, guarded, body, format_))
        except UnreadableError:
            if guarded.rules.response:
                Reviewer(self, guarded).unread()
            return body
        values = [text.value for text in read.texts]
        if guarded.rules.response:
            values = await self._reviewed(guarded, read.texts)

        def written() -> bytes:
            guarded.reviewed = read.written(values) if guarded.reviews else None
            if not guarded.mapping:
                return guarded.reviewed or body
            pairs = zip(read.texts, values, strict=True)
            return read.written([_restored(text, one, guarded.mapping) for text, one in pairs])

        return await self._work.work(len(body) * WEIGHT, written)

    def stream(self, guarded: Guarded, format_: str) -> Stream | None:
        """What a streamed answer goes through; None: nothing has to be done about it."""
        if not guarded.reads_answers:
            return None
        review = Reviewer(self, guarded) if guarded.rules.response else None
        return Stream(format_, guarded.mapping or None, review)

    async def _reviewed(self, guarded: Guarded, texts: Sequence[Text]) -> list[str]:
        found = await self.found(guarded, texts)
        return [
            self.act(guarded, text, some) if some else text.value
            for text, some in zip(texts, found, strict=True)
        ]

    async def found(self, guarded: Guarded, texts: Sequence[Text]) -> Found:
        """What has to be acted on in texts of an answer: nothing that we put there."""
        found = await self._look(guarded, texts)
        return [
            _others(text.value, some, guarded.mapping) if some and guarded.mapping else some
            for text, some in zip(texts, found, strict=True)
        ]

    def act(self, guarded: Guarded, text: Text, findings: Sequence[Finding]) -> str:
        """A text as it may go out. Raises BlockedError."""
        out: list[str] = []
        at = 0
        for one in findings:
            action = deed(guarded.rules, text, one.type)
            if action == "ignore":
                continue
            guarded.counts[one.type, action, "response"] += 1
            if not guarded.rules.enforce:
                continue
            if action == "block":
                raise BlockedError(one.type, text.place)
            value = text.value[one.start : one.end]
            out += (text.value[at : one.start], self._instead(value, one.type, action))
            at = one.end
        return "".join(out) + text.value[at:]

    def _instead(self, value: str, kind: str, action: GuardAction) -> str:
        match action:
            case "redact":
                # Without a number: what the model says of its own comes back to nobody.
                return f"<{label_of(kind)}>"
            case "mask":
                return mask(value)
            case "hash":
                return keyed_hash(value, kind, self._key)
            case _:
                return value


class Reviewer:
    """`streams.Review` for one request."""

    def __init__(self, answers: Answers, guarded: Guarded) -> None:
        self._answers = answers
        self._guarded = guarded

    async def review(self, text: str, place: str) -> list[Finding]:
        """See `Answers.found`."""
        return (await self._answers.found(self._guarded, [Text(text, place)]))[0]

    def act(self, text: str, findings: Sequence[Finding], place: str) -> str:
        """See `Answers.act`."""
        return self._answers.act(self._guarded, Text(text, place), findings)

    def unread(self) -> None:
        """Something goes by that nobody can look through. Raises GuardError where nothing may."""
        if not self._guarded.rules.open and self._guarded.rules.enforce:
            raise GuardError("a part of the answer cannot be looked through")
        self._guarded.passed_unseen("response")


def _read(guarded: Guarded, body: bytes, format_: str) -> Body:
    return read_answer(dropped(body, format_) if guarded.reviews else body, format_)


def _restored(text: Text, value: str, mapping: Mapping) -> str:
    if text.kind is Kind.THINKING:
        return value
    return restore(value, mapping, json=text.kind is Kind.JSON)


def _others(text: str, found: Sequence[Finding], mapping: Mapping) -> list[Finding]:
    """Findings that touch no placeholder of ours."""
    ours = list(_placeholders(text, mapping))
    ends = [end for _, end in ours]
    kept = []
    for one in found:
        at = bisect_right(ends, one.start)
        if at == len(ours) or ours[at][0] >= one.end:
            kept.append(one)
    return kept


def _placeholders(text: str, mapping: Mapping) -> Iterator[tuple[int, int]]:
    """Where placeholders stand that were given."""
    for match in SHAPE.finditer(text):
        name = name_of(match["body"])
        if is_name(name) and name in mapping.values:
            yield match.span()
