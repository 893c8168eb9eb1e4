"""The `Limits` door: one question to the store before a request goes up, one message at its end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from extproc import headers as h
from extproc.alerts import Alert
from extproc.errors import ClientError
from extproc.limits import Asking, Candidate, Grant, ceilings, told
from extproc.limits.amounts import Learned, price_of
from extproc.limits.asks import Asks, Built, Choice, free
from extproc.limits.crossed import Crossings
from extproc.limits.feedback import Feedback
from extproc.limits.lease_header import Lease
from extproc.limits.rule import Rule
from extproc.limits.rules import Compiled
from extproc.limits.settling import Reserved, end_of, level_id, settlements
from extproc.limits.told import Told, label
from extproc.policy import TargetPolicy
from extproc.records import Cost, Observation, Usage
from extproc.rule_error import RuleError
from extproc.state import StateError
from extproc.state.counters import Ask, Counter, LimitStore, Outcome, Standing, Take

CAPACITY: Final = "capacity"
"""What the levels' own ceilings are called in metrics, beside the rules' names."""
GUESS: Final = 1.0
"""Seconds until one of those in flight is over, while nothing is known of how long they take."""
LONGEST_GUESS: Final = 30.0
LATE: Final = 5.0
"""Seconds after which a level's question about room, asked as its request broke off, is surely
answered: what it got then is given back."""
ROUNDING: Final = 1e-6
"""Units by which a sum of doubles may be off."""


class Gate:
    """See `Limits`. `now`: epoch seconds, `clock`: monotonic ones; `draw`: in [0, 1)."""

    def __init__(
        self,
        store: LimitStore,
        told: Told,
        alerts: Callable[[Alert], None] = lambda _: None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._told = told
        self._now = now
        self._clock = clock
        self._learned = Learned()
        self._asks = Asks(told, self._learned, now, draw)
        self._crossings = Crossings(told, alerts, now)
        self._feedback = Feedback(clock)

    async def start(self) -> None:
        """Begin to beat. Raises StateError."""
        await self._store.start(self._crossings.notify)

    async def stop(self) -> None:
        """Give back what is held, save what lasts."""
        await self._store.stop()

    # --- before -------------------------------------------------------------------------------

    async def admit(self, asking: Asking, rules: object) -> Grant:
        """See `Limits`."""
        assert isinstance(rules, Compiled)  # noqa: S101 - the route's
        try:
            ruled = rules.of(asking.caller)
        except RuleError:
            self._told.decided("key", "unreadable")
            if asking.observe:
                return Grant(asking, None)
            raise told.misconfigured() from None
        built = self._asks.build(asking, rules, ruled)
        grant = Reserved(asking, built.ask, built=built, since=self._clock())
        grant.cap = None if asking.observe else built.reserve.cap
        if built.downgrade is not None:
            return self._sent_down(grant, built.downgrade)
        for rule in built.over:
            self._observe(grant, rule)
        if built.ask is None:
            return grant
        try:
            outcome = await self._store.admit(built.ask)
        except asyncio.CancelledError:
            self._store.leave(built.ask.id)
            raise
        except StateError as error:
            return self._away(grant, built, error)
        return self._answered(grant, built, built.ask, outcome)

    def _answered(self, grant: Reserved, built: Built, ask: Ask, outcome: Outcome) -> Grant:
        try:
            if outcome.what == "waiting":
                return self._queued(grant, ask, outcome)
            return self._done(grant, built, outcome)
        except ClientError:
            raise  # it was refused, and nothing is held
        except BaseException:
            # The caller has no grant to settle: what was taken would be held for ever.
            self._store.leave(ask.id)
            raise

    async def turn(self, grant: Grant) -> None:
        """See `Limits`."""
        assert isinstance(grant, Reserved)  # noqa: S101 - nobody else makes them
        ask, built = grant.ask, grant.built
        assert ask is not None  # noqa: S101 - it waits
        assert built is not None  # noqa: S101 - as above
        assert ask.place is not None  # noqa: S101 - as above
        class_ = ask.place.label
        try:
            outcome = await self._store.turn(ask)
        except asyncio.CancelledError:
            self._told.dropped(class_, "gone")
            raise
        except StateError as error:
            self._told.dropped(class_, "unavailable")
            grant.outcome = None
            raise told.unavailable(getattr(error, "retry_after", None)) from error
        now = self._clock()
        grant.waited, grant.since = now - grant.since, now
        grant.wait = None
        grant.headers.append((h.QUEUE_WAIT, f"{grant.waited:.3f}"))
        if outcome.what == "granted":
            self._told.waited(class_, grant.waited)
        else:
            self._told.dropped(class_, outcome.what)
        self._done(grant, built, outcome)

    async def waits(self, grant: Grant) -> Sequence[tuple[str, float | None]]:
        """See `Limits`."""
        options = grant.ask.options[: len(grant.passed)] if grant.ask is not None else ()
        takes = [take for option in options for take in option.takes]
        try:
            standings = await self._store.peek([take.counter for take in takes])
        except StateError:
            return [(name, None) for name in grant.passed]
        each = iter([_until(take, one) for take, one in zip(takes, standings, strict=True)])
        found: list[tuple[str, float | None]] = []
        for name, option in zip(grant.passed, options, strict=True):
            waits = [next(each) for _ in option.takes]
            known = [wait for wait in waits if wait is not None]
            found.append((name, max(known, default=0.0) if len(known) == len(waits) else None))
        return found

    def _queued(self, grant: Reserved, ask: Ask, outcome: Outcome) -> Grant:
        grant.outcome = outcome
        grant.wait = ask.place.ttl if ask.place is not None else 0.0
        grant.headers.append((h.QUEUE_POSITION, str(outcome.position)))
        self._told.decided("queue", "waiting")
        return grant

    def _away(self, grant: Reserved, built: Built, error: StateError) -> Grant:
        """The store said nothing. What only counts goes on uncounted."""
        grant.ask = None
        if grant.asking.observe or not any(not take.force for take in _all_takes(built.ask)):
            self._told.decided("store", "uncounted")
            return grant
        self._told.decided("store", "unavailable")
        raise told.unavailable(getattr(error, "retry_after", None)) from error

    # --- what the store says ------------------------------------------------------------------

    def _done(self, grant: Reserved, built: Built, outcome: Outcome) -> Grant:
        """Fill a grant in. Raises ClientError for a request that is not let through."""
        grant.outcome = outcome
        if outcome.what != "granted":
            return self._refuse(grant, built, outcome)
        rules, standings = built.rules, outcome.takes
        self._over(grant, built, standings)
        if outcome.option >= 0:
            self._chosen(grant, built.choices[outcome.option], built.choices, outcome)
        self._tell(grant, rules, standings)
        return grant

    def _chosen(
        self, grant: Reserved, choice: Choice, choices: Sequence[Choice], outcome: Outcome
    ) -> None:
        takes = _option_takes(grant.ask, outcome.option)
        target = choice.candidate.target.target
        grant.level = choice.level
        grant.target = target if choice.named else None
        grant.passed = tuple(one.candidate.target.target for one in choices[: outcome.option])
        left = 1.0
        over = False
        for take, standing in zip(takes, outcome.levels, strict=False):
            most = take.counter.most
            left = min(left, 1.0 - standing.used / most)
            over = over or standing.used > most + ROUNDING or standing.wait != 0
        if len(takes) > len(choice.extras):
            self._told.headroom(target, max(0.0, left))
        if over and grant.asking.observe:
            self._note(grant, CAPACITY, f"{target}: at its ceiling")

    def _tell(self, grant: Reserved, rules: Sequence[Rule], standings: Sequence[Standing]) -> None:
        spent = told.budgets(rules, standings)
        if spent:
            grant.spent = spent
        if grant.asking.observe:
            return  # its answers stay as they are
        grant.headers += told.rate_limits(rules, standings)
        if spent:
            grant.headers.append((h.BUDGET, told.budget_header(spent)))

    def _refuse(self, grant: Reserved, built: Built, outcome: Outcome) -> Grant:
        """Say no, or send the request down to another chain. Raises ClientError."""
        wait = self._wait(grant.asking, built, outcome)
        ask = built.ask
        place = ask.place if ask is not None else None
        class_ = place.label if place is not None else ""
        if outcome.what != "denied":
            if outcome.what == "full":
                self._told.dropped(class_, "full")
            error = told.queue_error(outcome, class_, wait, grant.waited or 0.0)
            raise self._with_headers(error, grant, built, outcome)
        failing = [
            (rule, take, standing)
            for rule, take, standing in zip(built.rules, _takes(ask), outcome.takes, strict=False)
            if not take.force and standing.wait != 0
        ]
        if not failing:
            self._by_target(grant, built, outcome, wait)
            self._told.decided(CAPACITY, "refused")
            names = [one.candidate.target.target for one in built.choices]
            raise self._with_headers(told.no_room(names, wait), grant, built, outcome)
        if grant.waited is None and all(_goes_down(rule) for rule, *_ in failing):
            return self._sent_down(grant, failing[0][0])
        for rule, *_ in failing:
            self._told.decided(label(rule), "refused")
        guess = self._guess(grant.asking)
        rule, take, standing = max(
            (one for one in failing if not _goes_down(one[0])),
            key=lambda one: _seconds(one[2].wait, guess, one[0].most),
            default=failing[0],
        )
        error = told.refused(rule, take.amount, standing, wait, self._now())
        raise self._with_headers(error, grant, built, outcome)

    def _sent_down(self, grant: Reserved, rule: Rule) -> Grant:
        self._told.decided(label(rule), "downgraded")
        grant.ask = None
        grant.outcome = None
        grant.downgrade = rule.downgrade
        grant.downgraded_by = rule.name
        return grant

    def _with_headers(
        self, error: ClientError, grant: Reserved, built: Built, outcome: Outcome
    ) -> ClientError:
        self._tell(grant, built.rules, outcome.takes)
        error.fields = tuple(grant.headers)
        return error

    # --- waits --------------------------------------------------------------------------------

    def _by_target(self, grant: Reserved, built: Built, outcome: Outcome, wait: float) -> None:
        """Where nothing but limits by target stands in the way: raises ClientError, which tells of
        the one that is over first."""
        found: list[tuple[Rule, Take, Standing]] = []
        for number, (choice, standing) in enumerate(
            zip(built.choices, outcome.levels, strict=False)
        ):
            takes = _option_takes(built.ask, number)
            if len(takes) > len(choice.extras):
                return  # a ceiling of the provider's
            over = (
                (rule, take, standing)
                for rule, take in zip(choice.extras, takes, strict=True)
                if not take.force and standing.used + take.amount > take.counter.most
            )
            found += list(over)[:1]
        if len(found) < len(built.choices):
            return
        rule, take, standing = min(found, key=lambda one: _seconds(one[2].wait, 1.0, one[0].most))
        self._told.decided(label(rule), "refused")
        error = told.refused(rule, take.amount, standing, wait, self._now())
        raise self._with_headers(error, grant, built, outcome)

    def _guess(self, asking: Asking) -> float:
        """Seconds that a request like this is in flight, on average."""
        return self._learned.seconds(asking.route, asking.model) or GUESS

    def _wait(self, asking: Asking, built: Built, outcome: Outcome) -> float:
        """Seconds until all limits have room, and at least one of the levels.

        Nobody knows when a request in flight ends. Of N at once that take t seconds each, one ends
        every t/N on average; that is the guess.
        """
        guess = self._guess(asking)
        waits = [
            _seconds(standing.wait, guess, take.counter.most)
            for take, standing in zip(_takes(built.ask), outcome.takes, strict=False)
            if not take.force and standing.wait != 0
        ]
        if built.choices and outcome.levels:
            waits.append(min(_seconds(one.wait, GUESS, 1.0) for one in outcome.levels))
        return max(waits, default=GUESS)

    # --- observing ----------------------------------------------------------------------------

    def _over(self, grant: Reserved, built: Built, standings: Sequence[Standing]) -> None:
        """Note what would have been refused by limits that are only observed."""
        asking = grant.asking
        for rule, take, standing in zip(built.rules, _takes(built.ask), standings, strict=False):
            if not take.force or rule.form == "trend" or rule.name in asking.skip:
                continue
            if standing.wait != 0 or standing.used > rule.most + ROUNDING:
                self._observe(grant, rule)

    def _observe(self, grant: Reserved, rule: Rule) -> None:
        self._note(grant, label(rule), rule.name)

    def _note(self, grant: Reserved, rule: str, detail: str) -> None:
        self._told.decided(rule, "observed")
        saved = 0
        built = grant.built
        if not grant.observed and built is not None and not grant.asking.own_key:
            saved = max(price_of(one, built.reserve.tokens) for one, _ in grant.asking.levels[0])
        grant.observed.append(
            Observation(capability="limits", outcome="refused", detail=detail, saved=saved)
        )

    # --- after --------------------------------------------------------------------------------

    def settle(
        self, grant: Grant, usage: Usage | None, cost: Cost | None, served: str | None,
        attempted: Sequence[str],
    ) -> None:  # fmt: skip
        """See `Limits`."""
        if not isinstance(grant, Reserved) or grant.built is None:
            return
        outcome = grant.outcome
        if grant.wait is not None and grant.ask is not None:
            self._store.leave(grant.ask.id)  # its turn never came
            return
        if grant.downgrade is not None or (outcome is not None and outcome.what != "granted"):
            return
        self._learn(grant, usage)
        if grant.ask is not None:
            for rule, subject, take in zip(
                grant.built.rules, grant.built.subjects, grant.ask.takes, strict=True
            ):
                if take.counter.warn or rule.form == "trend":
                    self._crossings.knows(rule, subject, take.counter)
        by_target: Sequence[tuple[Rule, Counter]] = ()
        if served is not None and served != grant.leased:
            by_target = self._asks.by_target(grant.asking, grant.built, served)
        for settled in settlements(grant, end_of(grant, usage, cost, served, attempted), by_target):
            self._store.settle(settled)
            if settled.only_held and served is None:
                # The client left, maybe while a level asked for room, which it then still gets.
                asyncio.get_running_loop().call_later(LATE, self._store.settle, settled)

    def _learn(self, grant: Reserved, usage: Usage | None) -> None:
        asking = grant.asking
        if usage is None or usage.estimated or not asking.generates:
            return  # what broke off says nothing of how long answers are
        each = usage.output / max(1, asking.answers)
        self._learned.saw(asking.route, asking.model, each, self._clock() - grant.since)

    # --- levels -------------------------------------------------------------------------------

    def lease(self, grant: Grant) -> str | None:
        """See `Limits`."""
        if not isinstance(grant, Reserved) or grant.built is None:
            return None
        asking = grant.asking
        levels = asking.levels[grant.level :]
        if all(free(asking, one) for level in levels for one, _ in level):
            return None
        tokens = grant.built.reserve.tokens
        return str(Lease(self._store.owner, tokens, grant.leased, all=asking.observe))

    async def attempt(
        self, request_id: str, lease: str | None, target: TargetPolicy
    ) -> tuple[bool, float | None]:
        """See `Limits`."""
        found = Lease.read(lease)
        if found is None or found.covers(target.target):
            return True, None
        option = ceilings.option_of(Candidate(target, None), found.tokens)
        if option is None:
            return True, None
        ask = Ask(level_id(request_id, target.target), option.takes, owner=found.owner)
        try:
            outcome = await self._store.admit(ask)
        except asyncio.CancelledError:
            self._store.leave(ask.id, found.owner)
            raise
        except StateError:
            self._told.decided(CAPACITY, "uncounted")
            return True, None
        if outcome.what == "granted":
            left = min(
                (1.0 - standing.used / take.counter.most
                 for take, standing in zip(ask.takes, outcome.takes, strict=False)),
                default=1.0,
            )  # fmt: skip
            self._told.headroom(target.target, max(0.0, left))
            return True, None
        waits = [one.wait for one in outcome.takes]
        return False, None if min(waits, default=-1.0) < 0 else max(waits)

    def heard(
        self,
        target: TargetPolicy,
        status: int,
        headers: Mapping[str, str],
        wait: float | None = None,
    ) -> None:
        """See `Limits`."""
        corrections = self._feedback.heard(target, status, headers, wait)
        if corrections:
            self._store.correct(corrections)


def _takes(ask: Ask | None) -> tuple[Take, ...]:
    return ask.takes if ask is not None else ()


def _option_takes(ask: Ask | None, option: int) -> tuple[Take, ...]:
    return ask.options[option].takes if ask is not None else ()


def _all_takes(ask: Ask | None) -> Iterator[Take]:
    if ask is not None:
        yield from ask.takes
        for option in ask.options:
            yield from option.takes


def _goes_down(rule: Rule) -> bool:
    return rule.on_exhausted == "downgrade" and rule.downgrade is not None


def _seconds(wait: float, guess: float, most: float) -> float:
    """A wait, or a guess where nobody can know."""
    return wait if wait >= 0 else min(max(guess / max(1.0, most), 1.0), LONGEST_GUESS)


def _until(take: Take, standing: Standing) -> float | None:
    """Seconds until a take fits a counter that stands so; None: nobody knows."""
    counter = take.counter
    if counter.kind == "bucket":
        missing = take.amount - (counter.most - standing.used)
        return max(0.0, standing.wait, missing / counter.rate)
    if standing.used + take.amount <= counter.most and standing.wait == 0:
        return 0.0
    return None if counter.kind == "concurrent" else standing.reset
