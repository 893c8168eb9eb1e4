"""The guard of one worker: what a request holds is found, replaced, and put back into its answer.

Open a `Watch` for a route once, and with it a `Guarded` for each request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import Final, Literal, Protocol
from weakref import WeakValueDictionary

from extproc.guard import (
    BlockedError,
    Finding,
    GuardError,
    Kind,
    PartialError,
    Scanner,
    Text,
    TooMuchError,
    Work,
)
from extproc.guard.answers import READING, WEIGHT, Answers
from extproc.guard.bodies import Body, UnreadableError, read_request
from extproc.guard.guarded import Found, Guarded, Watch, deed, replacing
from extproc.guard.placeholders import Action, Mapping, Redactor
from extproc.guard.rules import Rules
from extproc.guard.sessions import ENTRY, Sessions
from extproc.records import GuardDirection

TRIES: Final = 20
"""How often a request's placeholders are given anew because another worker's request of its session
was faster."""
_PARTICIPANT: Final = re.compile(r"messages\[\d+\]\.name")
"""What a participant of a chat is called: OpenAI takes no `<`, `>` or blank there."""
_FIELD: Final = re.compile(r"\w+")
_ORDER: Final = {
    **dict.fromkeys(("tools", "functions", "mcp_servers"), 0),
    **dict.fromkeys(("system", "instructions"), 1),
    **dict.fromkeys(("messages", "input", "prompt"), 2),
}
"""Where a model reads the fields of a request, whatever their order in the body. Placeholders are
numbered so: a conversation that grows keeps the numbers of its beginning, which providers cache."""
_LAST: Final = 3

Whose = tuple[str, str]
"""A session's owner and its name."""


class Told(Protocol):
    """Who hears of what the guard cannot do."""

    def failed(self, part: Literal["detector", "store"]) -> None:
        """A part of it was away."""
        ...


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
        self._turns: WeakValueDictionary[Whose, asyncio.Lock] = WeakValueDictionary()
        answers = Answers(partial(self._look, direction="response"), key, work)
        self.answer = answers.whole
        self.stream = answers.stream

    def watch(self, rules: Rules) -> Watch:
        """Ready for a route. Raises PatternError."""
        return Watch(rules, self._scanner.scan(rules.detector))

    async def request(self, guarded: Guarded, format_: str, whose: Whose | None = None) -> None:
        """Look through a request's body that its format's `parse` has accepted, and put what may
        go up in its place.

        `whose`: the session whose placeholders go on. Raises BlockedError, TooMuchError, and
        GuardError where the route is closed when something is away.
        """
        rules, body = guarded.rules, guarded.body
        if not rules.reads_requests:
            return
        try:
            size = len(body) * READING
            read = await self._work.work(size, partial(read_request, body, format_))
        except UnreadableError as error:
            raise TooMuchError(str(error)) from None
        found: Found = [[] for _ in read.texts]
        if rules.request:
            found = await self._look(guarded, read.texts)
        blocked = _count(guarded, read.texts, found) or _medium(guarded, read)
        if not rules.enforce:
            return
        if blocked is not None:
            raise blocked
        if not rules.request:
            return
        await self._redact(guarded, read, found, whose)

    async def _look(
        self, guarded: Guarded, texts: Sequence[Text], direction: GuardDirection = "request"
    ) -> Found:
        """Findings. Without a detector that is away where the route is open."""
        if not guarded.rules.searches:
            return [[] for _ in texts]
        try:
            return await guarded.watch.scan.find(texts)
        except GuardError as error:
            self._told.failed("detector")
            if not guarded.rules.open:
                raise
            guarded.passed_unseen(direction)
            return error.found if isinstance(error, PartialError) else [[] for _ in texts]

    async def _redact(
        self, guarded: Guarded, read: Body, found: Found, whose: Whose | None
    ) -> None:
        if whose is not None and self._sessions is not None:
            # One after the other: each would find that the one before was faster. Nobody else
            # waits for them.
            turn = self._turns.setdefault(whose, asyncio.Lock())
            try:
                async with turn:
                    await self._in_session(guarded, read, found, self._sessions, whose)
                return
            except TooMuchError:
                raise  # a client can bring this about
            except GuardError:
                self._told.failed("store")
                if not guarded.rules.open:
                    raise
        await self._replace(guarded, read, found, Mapping())

    async def _in_session(
        self, guarded: Guarded, read: Body, found: Found, sessions: Sessions, whose: Whose
    ) -> None:
        for _ in range(TRIES):
            held = await sessions.load(*whose)
            given = await self._replace(guarded, read, found, held.mapping)
            if given is None or await sessions.save(held, given, guarded.rules.keep):
                return
        raise GuardError("too many requests of one session at once")

    async def _replace(
        self, guarded: Guarded, read: Body, found: Found, kept: Mapping
    ) -> Mapping | None:
        """Replace what was found; the placeholders that there are now. None: there is nothing to
        replace."""
        wanted, actions = _wanted(guarded.rules, read.texts, found)
        if not actions and not kept:
            return None

        def replaced() -> tuple[bytes, Mapping]:
            redactor = Redactor(kept, actions=actions, key=self._key)
            for at in sorted(range(len(wanted)), key=lambda at: _rank(read.texts[at])):
                redactor.learn(read.texts[at].value, wanted[at])
            pairs = zip(read.texts, wanted, strict=True)
            body = read.written([_redacted(redactor, text, some) for text, some in pairs])
            return body, redactor.mapping

        size = len(guarded.body) * WEIGHT + len(kept) * ENTRY
        guarded.body, given = await self._work.work(size, replaced)
        guarded.mapping = given if guarded.rules.restore else Mapping()
        return given

    async def ping(self) -> None:
        """Raises GuardError when texts cannot be looked through."""
        await self._scanner.ping()

    async def close(self) -> None:
        """Give threads and connections back."""
        await self._scanner.close()
        if self._sessions is not None:
            await self._sessions.close()


def _wanted(rules: Rules, texts: Sequence[Text], found: Found) -> tuple[Found, dict[str, Action]]:
    """Findings that are to be replaced, and how each type is."""
    wanted: Found = []
    actions: dict[str, Action] = {}
    for text, some in zip(texts, found, strict=True):
        mine = []
        for one in some:
            action = replacing(deed(rules, text, one.type))
            if action is not None:
                actions[one.type] = action
                mine.append(one)
        wanted.append(mine)
    return wanted, actions


def _rank(text: Text) -> int:
    field = _FIELD.match(text.place)
    return _LAST if field is None else _ORDER.get(field[0], _LAST)


def _redacted(redactor: Redactor, text: Text, found: Sequence[Finding]) -> str:
    if text.kind is Kind.THINKING:
        return text.value
    out = redactor.redact(text.value, found)
    if out != text.value and _PARTICIPANT.fullmatch(text.place):
        return out.replace("<", "").replace(">", "")
    return out


def _count(guarded: Guarded, texts: Sequence[Text], found: Found) -> BlockedError | None:
    """Count a request's findings; returns the first that is to be blocked."""
    blocked: BlockedError | None = None
    for text, some in zip(texts, found, strict=True):
        for one in some:
            action = deed(guarded.rules, text, one.type)
            if action == "ignore":
                continue
            guarded.counts[one.type, action, "request"] += 1
            if action == "block" and blocked is None:
                blocked = BlockedError(one.type, text.place)
    return blocked


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
