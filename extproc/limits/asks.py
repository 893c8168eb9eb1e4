"""What a request asks of the store: the limits that it meets, the levels that could serve it, and
its place in the queue."""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from extproc.limits import Asking, Candidate
from extproc.limits.amounts import REQUEST_FORM, Learned, Reserve, price_of, reserve
from extproc.limits.ceilings import option_of
from extproc.limits.placing import place_of
from extproc.limits.rule import CALLER, WHOSE, Rule
from extproc.limits.rules import Compiled, Ruled
from extproc.limits.told import Told, label, too_large
from extproc.limits.windows import Windows
from extproc.state.counters import Ask, Counter, Option, Take

PREFIX: Final = 48
"""Characters of a rule's scope at the head of a counter's key, for people who look at the store."""
KEPT_KEYS: Final = 16_384
"""Keys of counters kept: as many callers as are busy at once."""
KEPT_PLANS: Final = 4096
MINUTE: Final = 60.0
TARGET: Final = "target"

Subject = tuple[str, ...]
"""Whose count it is: the values of a rule's dimensions."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of an ask: where it is in the chain, and what it takes there."""

    level: int
    candidate: Candidate
    extras: tuple[Rule, ...] = ()
    """Rules by target: the option's last takes."""
    named: bool = True
    """It has to be this one of its level; else whichever."""


@dataclass(frozen=True, slots=True)
class Built:
    """An ask, and what its parts stand for."""

    ask: Ask | None
    """None: the store need not be asked."""
    reserve: Reserve
    rules: tuple[Rule, ...] = ()
    """One for each take of the ask."""
    subjects: tuple[Subject, ...] = ()
    choices: tuple[Choice, ...] = ()
    """One for each option of the ask."""
    downgrade: Rule | None = None
    """The request can never be within this budget: it goes to the budget's other chain."""
    per_target: tuple[Rule, ...] = ()
    """Rules by target."""
    over: tuple[Rule, ...] = ()
    """Ceilings of a single request that it is above, and that are only observed."""


class _Plan:
    """The rules of a caller on a route, sorted once."""

    __slots__ = ("ceilings", "counted", "money", "per_target", "priority", "ruled")

    def __init__(self, ruled: Ruled) -> None:
        self.ruled = ruled  # held, so that its id stands for it
        rules = ruled.rules
        self.ceilings = tuple(one for one in rules if one.form == REQUEST_FORM)
        counted = [one for one in rules if one.form != REQUEST_FORM]
        self.counted = tuple(one for one in counted if TARGET not in one.dims)
        self.per_target = tuple(one for one in counted if TARGET in one.dims)
        self.money = any(one.measure == "usd" for one in rules)
        self.priority = ruled.priority


class Asks:
    """Makes asks. `now`: epoch seconds; `draw`: a random number in [0, 1)."""

    def __init__(
        self,
        told: Told,
        learned: Learned,
        now: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._told = told
        self._learned = learned
        self._now = now
        self._draw = draw
        self._windows = Windows()
        self._plans: OrderedDict[int, _Plan] = OrderedDict()
        self._key = lru_cache(KEPT_KEYS)(counter_key)

    def build(self, asking: Asking, compiled: Compiled, ruled: Ruled) -> Built:
        """What a request asks for. Raises ClientError 400 for one that no limit could ever hold,
        that a strict one cannot bound, and for a deadline that cannot be read."""
        plan = self._plan(ruled)
        met = _met(asking, plan.counted)
        per_target = _met(asking, plan.per_target) if plan.per_target else ()
        ceilings = [one for one, _ in _met(asking, plan.ceilings)] if plan.ceilings else ()
        learned = None
        if asking.output is None:
            learned = self._learned.output(asking.route, asking.model)
        binding = [
            one
            for one in (*(rule for rule, _ in met), *(rule for rule, _ in per_target), *ceilings)
            if _binds(one, asking)
        ]
        reserved = reserve(asking, learned, binding, money=plan.money)
        over = _single(asking, ceilings, reserved)
        takes, never = self._takes(asking, met, reserved)
        if never is not None:
            return Built(None, reserved, downgrade=never, over=over)
        options, choices = self._options(asking, per_target, reserved)
        if not (takes or options):
            return Built(None, reserved, per_target=plan.per_target, over=over)
        place = None
        # Who is at a limit by target that refuses is refused, and does not wait for it.
        refuses = any(
            rule.on_exhausted != "queue" and _binds(rule, asking) for rule, _ in per_target
        )
        waits = (options and not refuses) or any(one.queue for one in takes)
        if waits and not asking.observe:
            place = place_of(
                asking, compiled, plan.priority, takes, options,
                cost=sum(reserved.tokens), now=self._now(), told=self._told,
            )  # fmt: skip
        return Built(
            Ask(asking.id, tuple(takes), options, place),
            reserved,
            tuple(rule for rule, _ in met),
            tuple(subject for _, subject in met),
            choices,
            per_target=plan.per_target,
            over=over,
        )

    def _plan(self, ruled: Ruled) -> _Plan:
        found = self._plans.get(id(ruled))
        if found is None:
            found = self._plans[id(ruled)] = _Plan(ruled)
            if len(self._plans) > KEPT_PLANS:
                self._plans.popitem(last=False)
        return found

    # --- limits ---------------------------------------------------------------------------

    def _takes(
        self, asking: Asking, met: Sequence[tuple[Rule, Subject]], reserved: Reserve
    ) -> tuple[list[Take], Rule | None]:
        """One take for each rule; and a budget that can never hold the request."""
        takes: list[Take] = []
        for rule, subject in met:
            binds = _binds(rule, asking)
            amount = reserved.of(rule, binding=binds)
            if amount > rule.most and binds:
                if rule.on_exhausted == "downgrade":
                    return takes, rule
                raise self._refused_size(rule, amount, reserved)
            counter = self.counter(rule, subject, asking.caller.tenant)
            queue = rule.on_exhausted == "queue"
            # A guard's trend is the rule before it, and is met whenever the guard is.
            guard = len(takes) - 1 if rule.guard else -1
            takes.append(Take(counter, amount, not binds, queue, guard))
        return takes, None

    def _refused_size(self, rule: Rule, amount: int, reserved: Reserve) -> Exception:
        self._told.decided(label(rule), "too_large")
        return too_large(rule, amount, param(rule, reserved))

    def counter(self, rule: Rule, subject: Subject, tenant: str | None = None) -> Counter:
        """The count of a rule for one subject."""
        form = rule.form
        assert form != REQUEST_FORM  # noqa: S101 - those are never counted
        period = rule.period
        rate = 0.0
        params: tuple[float, ...] = ()
        if form == "bucket":
            rate = rule.amount / period
        elif form == "window":
            params = self._windows.of(rule.unit, rule.zone, self._now())
        elif form == "trend":
            params = rule.trend
        money = rule.measure == "usd"
        # Of a second's limit there would be an event a second.
        warn = period >= MINUTE and form != "trend" and not rule.guard
        closed = rule.strict or money or (rule.measure != "requests" and period > MINUTE)
        return Counter(
            self._key(rule.scope, _within(rule, subject, tenant)),
            form,
            0.0 if form == "trend" else float(rule.most),
            rate,
            period,
            params,
            period > MINUTE or form == "trend",
            warn,
            closed and form not in {"trend", "concurrent"},
        )

    # --- levels ---------------------------------------------------------------------------

    def _options(
        self, asking: Asking, per_target: Sequence[tuple[Rule, Subject]], reserved: Reserve
    ) -> tuple[tuple[Option, ...], tuple[Choice, ...]]:
        """The levels in order, of each its candidates in the order in which they are drawn. It ends
        with the first that has room always. Empty: the first level is free altogether."""
        options: list[Option] = []
        choices: list[Choice] = []
        refused: Exception | None = None
        extras = tuple(rule for rule, _ in per_target)
        for number, candidate, named in self._ordered(asking, open_to_all=not per_target):
            try:
                extra = self._extra(asking, candidate, per_target, reserved)
            except _NeverError as error:
                refused = self._refused_size(error.rule, error.amount, reserved)
                continue
            option = _option(asking, candidate, reserved.tokens, extra)
            if not (options or option.takes or named):
                return (), ()
            options.append(option)
            choices.append(Choice(number, candidate, extras, named))
            if asking.observe or not option.takes:
                break
        if not options and refused is not None:
            raise refused
        return tuple(options), tuple(choices)

    def _ordered(
        self, asking: Asking, *, open_to_all: bool
    ) -> Iterator[tuple[int, Candidate, bool]]:
        """Candidates in the order in which they are preferred, with the number of their level, and
        whether it has to be this one of its level. `open_to_all`: no limit is by target."""
        for number, level in enumerate(asking.levels):
            if open_to_all and all(free(asking, one) for one, _ in level):
                yield number, level[0][0], False  # Envoy draws
            else:
                for candidate in self._drawn(level):
                    yield number, candidate, True

    def _drawn(self, level: Sequence[tuple[Candidate, int]]) -> Sequence[Candidate]:
        """A level's candidates in a random order in which each comes first as often as its weight
        says (Efraimidis and Spirakis, 2006: the greatest u^(1/w) first)."""
        if len(level) == 1:
            return (level[0][0],)
        keys = [(math.log(1.0 - self._draw()) / weight, number) for number, (_, weight)
                in enumerate(level)]  # fmt: skip
        return [level[number][0] for _, number in sorted(keys, reverse=True)]

    def _extra(
        self,
        asking: Asking,
        candidate: Candidate,
        per_target: Sequence[tuple[Rule, Subject]],
        reserved: Reserve,
    ) -> tuple[Take, ...]:
        """What a candidate takes of limits by target. Raises _NeverError."""
        if not per_target:
            return ()
        takes = []
        for rule, subject in per_target:
            binds = _binds(rule, asking)
            if rule.measure == "usd" and not (binds and rule.strict):
                amount = min(price_of(candidate, reserved.tokens), rule.most)
            else:
                amount = reserved.of(rule, binding=binds)
            if amount > rule.most and binds:
                raise _NeverError(rule, amount)
            takes.append(
                Take(
                    self.counter(rule, (*subject, candidate.target.target), asking.caller.tenant),
                    amount,
                    not binds,
                )
            )
        return tuple(takes)

    def by_target(self, asking: Asking, built: Built, target: str) -> list[tuple[Rule, Counter]]:
        """The limits by target that a request meets at one."""
        return [
            (rule, self.counter(rule, (*subject, target), asking.caller.tenant))
            for rule, subject in _met(asking, built.per_target)
        ]


class _NeverError(Exception):
    """A limit by target that could never hold the request."""

    def __init__(self, rule: Rule, amount: int) -> None:
        super().__init__(rule.name)
        self.rule = rule
        self.amount = amount


# --- rules and requests -------------------------------------------------------------------


USER: Final = "user:"


def counter_key(scope: str, subject: Subject) -> str:
    """The key of a rule's counter for one subject, of bounded length. (`repr` tells any two tuples
    of texts apart, and makes plain text of whatever is in them.)"""
    digest = blake2b(repr((scope, subject)).encode(), digest_size=16)
    return f"{scope[:PREFIX]}#{digest.hexdigest()}"


def _within(rule: Rule, subject: Subject, tenant: str | None) -> Subject:
    """A user, a team and a session are names within a tenant: two tenants' alices are two."""
    named = not _NAMES.isdisjoint(rule.dims) or (subject and subject[0].startswith(USER))
    return (tenant, *subject) if tenant and named else subject


def _caller(asking: Asking) -> str | None:
    caller = asking.caller
    if caller.key:
        return f"key:{caller.key}"
    if asking.attribution.user:
        return f"{USER}{asking.attribution.user}"
    return f"tenant:{caller.tenant}" if caller.tenant else None


def _whose(asking: Asking) -> str | None:
    caller = asking.caller
    if asking.attribution.user:
        return f"{USER}{asking.attribution.user}"
    if caller.key:
        return f"key:{caller.key}"
    return f"tenant:{caller.tenant}" if caller.tenant else None


_NAMES: Final = frozenset({"user", "team", "session"})
_OF: Final[Mapping[str, Callable[[Asking], str | None]]] = {
    "key": lambda asking: asking.caller.key,
    "user": lambda asking: asking.attribution.user,
    "team": lambda asking: asking.attribution.team,
    "tenant": lambda asking: asking.caller.tenant,
    "feature": lambda asking: asking.attribution.feature,
    "session": lambda asking: asking.attribution.session,
    "route": lambda asking: asking.route,
    "model": lambda asking: asking.model,
    CALLER: _caller,
    WHOSE: _whose,
}


def _met(asking: Asking, rules: Sequence[Rule]) -> list[tuple[Rule, Subject]]:
    """The rules that a request meets, and whose count it is in each (without the target). One for
    which it lacks a dimension is no rule for it; nor is one on money that somebody else is asked
    for."""
    found: list[tuple[Rule, Subject]] = []
    trend = False
    for rule in rules:
        if rule.guard:
            if not trend:
                continue
        elif asking.own_key and rule.measure == "usd":
            trend = False
            continue
        subject: list[str] = []
        for dim in rule.dims:
            if dim == TARGET:
                continue
            value = _OF[dim](asking)
            if not value:
                break
            subject.append(value)
        else:
            found.append((rule, tuple(subject)))
            trend = rule.form == "trend"
            continue
        trend = False
    return found


def _binds(rule: Rule, asking: Asking) -> bool:
    """It is enforced on this request."""
    return not (rule.observe or asking.observe or rule.name in asking.skip)


def _single(asking: Asking, ceilings: Sequence[Rule], reserved: Reserve) -> tuple[Rule, ...]:
    """Ceilings of a single request that it is above and that are only observed. Raises ClientError
    for those that are not."""
    over = []
    for rule in ceilings:
        binds = _binds(rule, asking)
        amount = reserved.of(rule, binding=binds)
        if amount > rule.most:
            if binds:
                raise too_large(rule, amount, param(rule, reserved))
            over.append(rule)
    return tuple(over)


def param(rule: Rule, reserved: Reserve) -> str | None:
    """The field that the client has to make smaller."""
    if rule.measure == "output_tokens":
        return "max_tokens"
    certain = reserved.proven if rule.strict and reserved.proven else reserved.estimated
    read = certain["input_tokens"]
    if rule.measure == "tokens" and read < rule.most:
        return "max_tokens"
    return "messages"


def free(asking: Asking, candidate: Candidate) -> bool:
    """No ceiling is counted at this target for this request."""
    target = candidate.target
    return asking.own_key or (target.ceilings is None and target.provider_ceilings is None)


def _option(
    asking: Asking, candidate: Candidate, tokens: tuple[int, int], extra: tuple[Take, ...]
) -> Option:
    """A candidate as an option. It takes nothing where it has no ceilings."""
    name = candidate.target.target
    if free(asking, candidate):
        return Option(name, extra)
    option = option_of(candidate, tokens, extra) or Option(name, ())
    if not asking.observe:
        return option
    takes = tuple(Take(one.counter, one.amount, force=True) for one in option.takes)
    return Option(name, takes, option.high_water)
