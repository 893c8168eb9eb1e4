"""The guard of one worker: what a request holds is found, replaced, and put back into its answer.

Open a `Watch` for a route once, and with it a `Guarded` for each request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

from extproc.guard import (
    BlockedError,
    Finding,
    GuardError,
    Kind,
    Scan,
    Scanner,
    Text,
    TooMuchError,
)
from extproc.guard.bodies import Body, read_answer, read_request
from extproc.guard.bodies.logprobs import dropped
from extproc.guard.placeholders import (
    SHAPE,
    Action,
    Mapping,
    Redactor,
    is_name,
    keyed_hash,
    label_of,
    mask,
    name_of,
)
from extproc.guard.restore import restore
from extproc.guard.rules import Rules
from extproc.guard.sessions import Held, Sessions
from extproc.guard.streams import Stream
from extproc.policy import GuardAction

T = TypeVar("T")

TRIES: Final = 20
"""How often a request's placeholders are given anew because another request of its session was
faster."""
WEIGHT: Final = 16
"""How much longer a body takes to be rewritten than to be read as JSON, about: of a body of 16 kB
it is a millisecond."""

_PARTICIPANT: Final = re.compile(r"messages\[\d+\]\.name")
"""What a participant of a chat is called: OpenAI takes no `<`, `>` or blank there."""

Found = list[list[Finding]]


class Work(Protocol):
    """Where what takes long is done."""

    async def work(self, size: int, call: Callable[[], T]) -> T:
        """What `call` returns or raises; off the event loop if `size` bytes are many."""
        ...


class Told(Protocol):
    """Who hears of what the guard cannot do."""

    def failed(self, part: Literal["detector", "store"]) -> None:
        """A part of it was away."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """What a route wants, ready to be used."""

    rules: Rules
    scan: Scan


Counts = Counter[tuple[str, str, str]]
"""Findings by type, what was done (`GuardDone`) and where (`GuardDirection`)."""


@dataclass(slots=True)
class Guarded:
    """One request and its answer. Neither `repr` nor an error shows a value."""

    watch: Watch
    body: bytes = field(repr=False)
    """What may go up."""
    counts: Counts = field(default_factory=Counter)
    mapping: Mapping = field(default_factory=Mapping)
    """What was replaced and may come back; empty where nothing is to be restored."""
    reviewed: bytes | None = field(default=None, repr=False)
    """A whole answer as it was looked through, before values were put back."""
    unguarded: bool = False
    """The detector or the store was away, and the route goes on without."""

    @property
    def rules(self) -> Rules:
        """What the route wants."""
        return self.watch.rules

    @property
    def reads_answers(self) -> bool:
        """Something is to be done about the answer."""
        return bool(self.mapping) or self.rules.response

    @property
    def reviews(self) -> bool:
        """What the model says is looked through, and may be changed."""
        return self.rules.response and self.rules.enforce

    @property
    def private(self) -> bool:
        """Its answer may hold values of this user alone."""
        return bool(self.mapping)


class Guard:
    """Looks through requests and answers."""

    def __init__(
        self, scanner: Scanner, sessions: Sessions | None, key: bytes, work: Work, told: Told
    ) -> None:
        """`key`: what hashes of values are keyed with. `sessions`: None where nothing is kept."""
        self._scanner = scanner
        self._sessions = sessions
        self._key = key
        self._work = work
        self._told = told

    def watch(self, rules: Rules) -> Watch:
        """Ready for a route. Raises PatternError."""
        return Watch(rules, self._scanner.scan(rules.detector))

    # --- the request ----------------------------------------------------------------------

    async def request(
        self, guarded: Guarded, format_: str, owner: str = "", session: str | None = None
    ) -> None:
        """Look through a request's body that its format's `parse` has accepted, and put what may
        go up in its place.

        `owner` and `session` name the conversation whose placeholders go on. Raises BlockedError,
        TooMuchError, and GuardError where the route is closed when something is away.
        """
        if not guarded.rules.request:
            return
        body = guarded.body
        try:
            await self._request(guarded, format_, owner, session)
        except TooMuchError:
            raise  # a client can bring this about
        except GuardError:
            if not guarded.rules.open:
                raise
            guarded.unguarded = True
            guarded.body, guarded.mapping = body, Mapping()

    async def _request(
        self, guarded: Guarded, format_: str, owner: str, session: str | None
    ) -> None:
        rules, body = guarded.rules, guarded.body
        try:
            read = await self._work.work(len(body), partial(read_request, body, format_))
        except ValueError as error:
            raise TooMuchError(str(error)) from None
        found: Found = [[] for _ in read.texts]
        if rules.searches:
            found = await self._found(guarded.watch, read.texts)
        blocked = _count(guarded, read.texts, found) or _medium(guarded, read)
        if not rules.enforce:
            return
        if blocked is not None:
            raise blocked
        if session is not None and self._sessions is not None:
            await self._in_session(guarded, read, found, self._sessions, (owner, session))
            return
        redactor = self._redactor(rules, found, Mapping())
        if redactor is None:
            return
        await self._replace(guarded, read, found, redactor)

    async def _in_session(
        self,
        guarded: Guarded,
        read: Body,
        found: Found,
        sessions: Sessions,
        whose: tuple[str, str],
    ) -> None:
        for _ in range(TRIES):
            held = await self._load(sessions, *whose)
            redactor = self._redactor(guarded.rules, found, held.mapping)
            if redactor is None:
                return
            await self._replace(guarded, read, found, redactor)
            if await self._save(sessions, held, redactor.mapping, guarded.rules.keep):
                return
        self._told.failed("store")
        raise GuardError("too many requests of one session at once")

    async def _load(self, sessions: Sessions, owner: str, session: str) -> Held:
        try:
            return await sessions.load(owner, session)
        except GuardError:
            self._told.failed("store")
            raise

    async def _save(self, sessions: Sessions, held: Held, given: Mapping, keep: float) -> bool:
        try:
            return await sessions.save(held, given, keep)
        except TooMuchError:
            raise
        except GuardError:
            self._told.failed("store")
            raise

    async def _found(self, watch: Watch, texts: Sequence[Text]) -> Found:
        try:
            return await watch.scan.find(texts)
        except GuardError:
            self._told.failed("detector")
            raise

    def _redactor(self, rules: Rules, found: Found, kept: Mapping) -> Redactor | None:
        """None: there is nothing to replace."""
        types = {one.type for some in found for one in some}
        actions = {kind: action for kind in types if (action := _replaces(rules.action(kind)))}
        if not actions and not kept:
            return None
        return Redactor(kept, actions=actions, key=self._key)

    async def _replace(
        self, guarded: Guarded, read: Body, found: Found, redactor: Redactor
    ) -> None:
        action = guarded.rules.action

        def replaced() -> bytes:
            wanted = [[one for one in some if _replaces(action(one.type))] for some in found]
            for text, some in zip(read.texts, wanted, strict=True):
                redactor.learn(text.value, some)
            pairs = zip(read.texts, wanted, strict=True)
            return read.written([_redacted(redactor, text, some) for text, some in pairs])

        guarded.body = await self._work.work(len(guarded.body) * WEIGHT, replaced)
        guarded.mapping = redactor.mapping if guarded.rules.restore else Mapping()

    # --- the answer -----------------------------------------------------------------------

    async def answer(self, guarded: Guarded, body: bytes, format_: str) -> bytes:
        """A whole 2xx answer as the client may have it. Raises BlockedError, GuardError."""
        if not guarded.reads_answers:
            return body
        if guarded.reviews:
            body = dropped(body, format_)
        try:
            read = await self._work.work(len(body), partial(read_answer, body, format_))
        except ValueError:
            return body  # no JSON: its caller judges
        values = [text.value for text in read.texts]
        if guarded.rules.response:
            review = Reviewer(self, guarded)
            for number, text in enumerate(read.texts):
                found = await review.review(text.value, text.place)
                acted = review.act(text.value, found, text.place) if found else text.value
                if text.kind is not Kind.THINKING:
                    values[number] = acted
        guarded.reviewed = read.written(values) if guarded.reviews else None
        if not guarded.mapping:
            return guarded.reviewed or body

        def restored() -> bytes:
            return read.written(
                [
                    _restored(text, value, guarded.mapping)
                    for text, value in zip(read.texts, values, strict=True)
                ]
            )

        return await self._work.work(len(body) * WEIGHT, restored)

    def stream(self, guarded: Guarded, format_: str) -> Stream | None:
        """What a streamed answer goes through; None: nothing has to be done about it."""
        if not guarded.reads_answers:
            return None
        review = Reviewer(self, guarded) if guarded.rules.response else None
        return Stream(format_, guarded.mapping or None, review)

    async def review(self, guarded: Guarded, text: str, place: str) -> list[Finding]:
        """What has to be acted on in a text of an answer: nothing that we put there."""
        try:
            some = (await self._found(guarded.watch, [Text(text, place)]))[0]
        except GuardError:
            if not guarded.rules.open:
                raise
            guarded.unguarded = True
            return []
        found = [one for one in some if guarded.rules.action(one.type) != "ignore"]
        ours = list(_placeholders(text, guarded.mapping)) if found else []
        return [
            one
            for one in found
            if not any(start < one.end and one.start < end for start, end in ours)
        ]

    def act(self, guarded: Guarded, text: str, findings: Iterable[Finding], place: str) -> str:
        """`text` as it may go out. Raises BlockedError."""
        out: list[str] = []
        at = 0
        for one in findings:
            action = guarded.rules.action(one.type)
            if action == "ignore":
                continue
            guarded.counts[one.type, action, "response"] += 1
            if not guarded.rules.enforce:
                continue
            if action == "block":
                raise BlockedError(one.type, place)
            value = text[one.start : one.end]
            out += (text[at : one.start], self._instead(value, one.type, action))
            at = one.end
        return "".join(out) + text[at:]

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

    async def ping(self) -> None:
        """Raises GuardError when texts cannot be looked through."""
        await self._scanner.ping()

    async def close(self) -> None:
        """Give threads and connections back."""
        await self._scanner.close()
        if self._sessions is not None:
            await self._sessions.close()


class Reviewer:
    """`streams.Review` for one request."""

    def __init__(self, guard: Guard, guarded: Guarded) -> None:
        self._guard = guard
        self._guarded = guarded

    async def review(self, text: str, place: str) -> list[Finding]:
        """See `Guard.review`."""
        return await self._guard.review(self._guarded, text, place)

    def act(self, text: str, findings: Sequence[Finding], place: str) -> str:
        """See `Guard.act`."""
        return self._guard.act(self._guarded, text, findings, place)


def _replaces(action: GuardAction) -> Action | None:
    return action if action in ("redact", "mask", "hash") else None


def _count(guarded: Guarded, texts: Sequence[Text], found: Found) -> BlockedError | None:
    """Count a request's findings; returns the first that is to be blocked."""
    blocked: BlockedError | None = None
    for text, some in zip(texts, found, strict=True):
        for one in some:
            action = guarded.rules.action(one.type)
            if action == "ignore":
                continue
            guarded.counts[one.type, action, "request"] += 1
            if action == "block" and blocked is None:
                blocked = BlockedError(one.type, text.place)
    return blocked


def _redacted(redactor: Redactor, text: Text, found: Sequence[Finding]) -> str:
    out = redactor.redact(text.value, found, plain=text.kind is Kind.THINKING)
    if out != text.value and _PARTICIPANT.fullmatch(text.place):
        return out.replace("<", "").replace(">", "")
    return out


def _medium(guarded: Guarded, read: Body) -> BlockedError | None:
    """Count pictures and files that are to be blocked; returns the first."""
    rules = guarded.rules
    barred = {"image": rules.block_images, "file": rules.block_files}
    blocked: BlockedError | None = None
    for one in read.media:
        if barred[one.kind]:
            kind = one.kind.upper()
            guarded.counts[kind, "block", "request"] += 1
            blocked = blocked or BlockedError(kind, one.place)
    return blocked


def _placeholders(text: str, mapping: Mapping) -> Iterable[tuple[int, int]]:
    """Where placeholders stand that were given."""
    for match in SHAPE.finditer(text) if mapping else ():
        name = name_of(match["body"])
        if is_name(name) and name in mapping.values:
            yield match.span()


def _restored(text: Text, value: str, mapping: Mapping) -> str:
    if text.kind is Kind.THINKING:
        return value
    return restore(value, mapping, json=text.kind is Kind.JSON)
