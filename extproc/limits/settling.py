"""What a request that was let through came to in the end, for the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.limits import Candidate, Grant, ceilings
from extproc.limits.amounts import amounts
from extproc.limits.asks import Built, Choice, free
from extproc.limits.rule import Measure, Rule
from extproc.records import Cost, Usage
from extproc.state.counters import Counter, Settled, Take


@dataclass(slots=True)
class Reserved(Grant):
    """A grant, with what it takes to settle it."""

    built: Built | None = None
    since: float = 0.0
    """When it was admitted, or began to wait, on the monotonic clock."""

    @property
    def leased(self) -> str | None:
        """The target at which it has room, if one was needed."""
        outcome = self.outcome
        if outcome is None or outcome.option < 0 or self.built is None:
            return None
        return self.built.choices[outcome.option].candidate.target.target


@dataclass(frozen=True, slots=True)
class End:
    """How it ended."""

    units: Mapping[Measure, int]
    """What was used, by measure."""
    tokens: tuple[int, int]
    """Input and output."""
    served: str | None
    attempted: Sequence[str]
    unsure: bool = False
    """What was used is estimated: the client left, or the provider did not say."""

    def at(self, target: str, *, leased: bool) -> tuple[bool, bool]:
        """Whether a target served, and whether it was asked at all. Where nobody is known to have
        served and something was used all the same, it was the leased one."""
        mine = self.served == target or (leased and self.served is None and any(self.tokens))
        return mine, mine or target in self.attempted


NOTHING: Final[Mapping[Measure, int]] = amounts(0, 0, 0)
NO_TOKENS: Final = (0, 0)


def end_of(
    grant: Reserved,
    usage: Usage | None,
    cost: Cost | None,
    served: str | None,
    attempted: Sequence[str],
) -> End:
    """`usage` None: a request, and nothing else. Of tokens whose price nobody knows the money stays
    as it was reserved."""
    if usage is None:
        return End(NOTHING, NO_TOKENS, served, attempted)
    nano = 0
    if cost is not None:
        nano = cost.total
    elif grant.built is not None:
        nano = grant.built.reserve.estimated["usd"]
    units = amounts(usage.input, usage.output, nano)
    tokens = (units["input_tokens"], units["output_tokens"])
    return End(units, tokens, served, attempted, usage.estimated)


def settlements(
    grant: Reserved, end: End, by_target: Sequence[tuple[Rule, Counter]]
) -> Iterator[Settled]:
    """One for what was reserved at admission, one for each level that may have been asked since.
    `by_target`: limits by target at the one that served, if that is not the leased one."""
    built, ask, outcome = grant.built, grant.ask, grant.outcome
    asking = grant.asking
    if built is None:
        return
    if ask is not None and outcome is not None:
        takes = ask.takes
        used = [_charged(rule, take, end) for rule, take in zip(built.rules, takes, strict=True)]
        if outcome.option >= 0:
            takes += ask.options[outcome.option].takes
            option = ask.options[outcome.option]
            used += _at_level(grant, built.choices[outcome.option], option.takes, end)
        yield Settled(ask.id, takes, outcome.takes + outcome.levels, tuple(used))
    if not (asking.own_key or asking.observe):
        yield from _later(grant, built, end)
    if by_target:
        # Nothing was reserved there, so it is charged in full.
        takes = tuple(Take(counter, 0) for _, counter in by_target)
        used = []
        for rule, counter in by_target:
            amount = built.reserve.of(rule, binding=not rule.observe)
            used.append(_charged(rule, Take(counter, amount, rule.observe), end))
        yield Settled(f"{asking.id}/{end.served}#", takes, (), tuple(used))


def level_id(request_id: str, target: str) -> str:
    """Under what a level's room is reserved that was not leased beforehand."""
    return f"{request_id}/{target}"


def _at_level(grant: Reserved, choice: Choice, takes: Sequence[Take], end: End) -> list[int]:
    """What the takes of the leased level came to. A level that was asked and did not serve has used
    a request and no tokens."""
    target = choice.candidate.target
    mine, asked = end.at(target.target, leased=True)
    used: list[int] = []
    if not free(grant.asking, choice.candidate):
        used += ceilings.used(target, end.tokens if mine else NO_TOKENS, asked=asked)
    extras = zip(choice.extras, takes[len(used) :], strict=True)
    if mine:
        return used + [_charged(rule, take, end) for rule, take in extras]
    return used + [_used(rule, NOTHING) if asked else 0 for rule, _ in extras]


def _later(grant: Reserved, built: Built, end: End) -> Iterator[Settled]:
    """Of levels that may have reserved for themselves: of those that did not nothing is held, and
    nothing happens."""
    levels = grant.asking.levels[grant.level :]
    first, *rest = ({one.target.target for one, _ in level} for level in levels)
    if grant.target is not None:
        first = {grant.target}
    if end.served in first and not any(end.served in level for level in rest):
        return  # nobody else was asked
    seen = {grant.leased}
    for level in levels:
        for candidate, _ in level:
            name = candidate.target.target
            if name in seen or free(grant.asking, candidate):
                continue
            seen.add(name)
            mine, asked = end.at(name, leased=False)
            used = ceilings.used(candidate.target, end.tokens if mine else NO_TOKENS, asked=asked)
            takes = _takes_at(candidate, built)
            yield Settled(level_id(grant.asking.id, name), takes, (), used, only_held=True)


def _takes_at(candidate: Candidate, built: Built) -> tuple[Take, ...]:
    option = ceilings.option_of(candidate, built.reserve.tokens)
    return option.takes if option is not None else ()


def _charged(rule: Rule, take: Take, end: End) -> int:
    """Units of a rule. A strict one keeps what was reserved where nobody knows the truth: who
    leaves before the provider has said what it was would else pass the limit."""
    used = _used(rule, end.units)
    if end.unsure and rule.strict and not take.force:
        return max(used, take.amount)
    return used


def _used(rule: Rule, units: Mapping[Measure, int]) -> int:
    return 0 if rule.form == "concurrent" else units[rule.measure]
