"""Limits as they are written, to rules. Every mistake is found, each with its place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Final

from extproc.limits import expression
from extproc.limits.expression import REQUEST, SECONDS, Expression, shown
from extproc.limits.options import OPTIONS, Option, option_of, unknown, why_unused
from extproc.limits.rule import ALL, DIMENSIONS, MEASURES, Form, Measure, OnExhausted, Rule
from extproc.limits.runaway import runaway
from extproc.rule_error import Path, RuleError

MOST_RULES: Final = 64
"""Limits of one section; each is a counter that a request takes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What limits may refer to. None: nobody knows it here, so any name may be right."""

    chains: Collection[str] | None = None
    classes: Collection[str] | None = None
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where limits stand."""

    label: str
    """For people: `route support`."""
    scope: str
    """For counters: `r:support`."""
    direct: tuple[str, ...] | None = None
    """Whose the measures are that stand in no group. None: none may."""
    within: tuple[str, ...] = ()
    """Dimensions that every group has."""
    priority: bool = False
    """A priority class may be said."""


@dataclass(slots=True)
class Section:
    """What was read."""

    rules: list[Rule] = field(default_factory=list)
    priority: str | None = None
    errors: list[RuleError] = field(default_factory=list)
    named: dict[str, Path] = field(default_factory=dict)
    """Names that somebody gave, with their places."""


def read(given: Any, place: Place, known: Known) -> Section:
    """Read a section of limits: those of a gateway, a route, a tier or a key."""
    found = Section()
    if not isinstance(given, Mapping):
        found.errors.append(RuleError(f"{shown(given)} is not a mapping of limits"))
        return found
    _Reader(place, known, found).section(given)
    if len(found.rules) > MOST_RULES:
        found.errors.append(RuleError(f"{len(found.rules)} limits; {MOST_RULES} are the most"))
    return found


class _Reader:
    def __init__(self, place: Place, known: Known, found: Section) -> None:
        self._place = place
        self._known = known
        self._found = found
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}

    def section(self, given: Mapping[str, Any]) -> None:
        place = self._place
        direct = () if place.direct is None else MEASURES
        options = self._options(given, ())
        measures: dict[str, Any] = {}
        groups: dict[tuple[str, ...], str] = {}
        # A protobuf map has no order; the same limits are the same rules in the same order.
        for key, value in sorted(given.items(), key=itemgetter(0)):
            if key in direct:
                measures[key] = value
            elif key == "runaway":
                self._runaway(value)
            elif key == "priority" and place.priority:
                self._priority(value)
            elif key not in OPTIONS:
                self._group(key, value, groups, options)
        if measures and place.direct is not None:
            self._measures(measures, (), place.direct, options)
        self._unused(options)

    # --- groups ---------------------------------------------------------------------------

    def _group(
        self,
        key: str,
        value: Any,
        groups: dict[tuple[str, ...], str],
        outer: dict[str, Option],
    ) -> None:
        try:
            dims = self._dims(key)
        except RuleError as error:
            self._found.errors.append(error)
            return
        if dims in groups:
            self._error((key,), f"is '{groups[dims]}' again; put them together")
            return
        groups[dims] = key
        if not isinstance(value, Mapping):
            message = f"{shown(value)} is not a mapping of limits, e.g. {{tokens: 100000/h}}"
            self._error((key,), message)
            return
        own = self._options(value, (key,))
        measures: dict[str, Any] = {}
        for name, one in value.items():
            if name in MEASURES:
                measures[name] = one
            elif name not in OPTIONS:
                self._error((key, name), unknown(name, "measure or option", MEASURES, OPTIONS))
        if not measures and set(value) <= set(OPTIONS):
            self._error((key,), f"says no limit; there is {', '.join(MEASURES)}")
            return
        inherited = {name: one for name, one in outer.items() if name != "name"}
        self._measures(measures, (key,), dims, {**inherited, **own})
        self._unused(own)

    def _dims(self, key: str) -> tuple[str, ...]:
        within = self._place.within
        if key == ALL:
            return within
        if key in MEASURES:
            raise RuleError(f"says not whose; put it below one, as all: {{{key}: …}}", (key,))
        names = [one.strip() for one in key.split(",")]
        for name in names:
            if name == ALL and len(names) > 1:
                raise RuleError("'all' stands alone", (key,))
            if name not in DIMENSIONS:
                also = (*OPTIONS, "runaway", *(("priority",) if self._place.priority else ()))
                direct = () if self._place.direct is None else MEASURES
                kind = "dimension, measure or option" if direct else "dimension or option"
                raise RuleError(unknown(name, kind, (*DIMENSIONS, ALL, *direct), also), (key,))
        if len(set(names)) < len(names):
            raise RuleError("has a dimension twice", (key,))
        return tuple(one for one in DIMENSIONS if one in names or one in within)

    def _measures(
        self,
        measures: Mapping[str, Any],
        path: Path,
        dims: tuple[str, ...],
        options: dict[str, Option],
    ) -> None:
        several = sum(len(one) if isinstance(one, list) else 1 for one in measures.values()) > 1
        for measure in MEASURES:
            if measure not in measures:
                continue
            value = measures[measure]
            at = (*path, measure)
            if isinstance(value, list):
                if not value:
                    self._error(at, "is an empty list; say a limit, or leave it out")
                for index, one in enumerate(value):
                    self._limit(measure, one, (*at, index), dims, options, several=several)
            else:
                self._limit(measure, value, at, dims, options, several=several)

    # --- one limit ------------------------------------------------------------------------

    def _limit(
        self,
        measure: Measure,
        value: Any,
        path: Path,
        dims: tuple[str, ...],
        inherited: dict[str, Option],
        *,
        several: bool,
    ) -> None:
        own: dict[str, Option] = {}
        text = value
        if isinstance(value, Mapping):
            before = len(self._found.errors)
            for name in value:
                if name != "limit" and name not in OPTIONS:
                    self._error((*path, name), unknown(name, "option", ("limit", *OPTIONS)))
            if "limit" not in value:
                self._error(path, "says no limit; write limit: 100000/h")
            own = self._options(value, path)
            if len(self._found.errors) > before:
                return
            text = value["limit"]
        try:
            said = self._expression(measure, text, own, inherited)
            rule = self._rule(said, dims, own, inherited)
        except RuleError as error:
            # An option's error has the option's whole path.
            whole = error.path[: len(path)] == path or error.path in _paths(inherited)
            self._found.errors.append(error if whole else error.below(path))
            return
        given = own.get("name") or inherited.get("name")
        if given is not None:
            shared = several and "name" not in own
            suffix = f"-{measure}" if shared else ""
            rule = self._named(replace(rule, name=f"{given.value}{suffix}"), given.path)
        self._add(rule, path if given is None else given.path)

    def _expression(
        self,
        measure: Measure,
        text: Any,
        own: dict[str, Option],
        inherited: dict[str, Option],
    ) -> Expression:
        """Raises RuleError."""
        said = expression.read(measure, text)
        rolling = own.get("rolling") or inherited.get("rolling")
        if rolling is not None and rolling.value and not said.rolling:
            if "rolling" in own or said.unit in SECONDS:
                said = _again(rolling.path, measure, text, rolling=True)
                rolling.used = True
        elif rolling is not None:
            rolling.used = True
        burst = own.get("burst") or inherited.get("burst")
        if burst is not None and ("burst" in own or said.bucket):
            burst.used = True
            if "burst" in own or said.most == said.amount:
                said = _again(burst.path, measure, text, burst=burst.value, rolling=said.rolling)
        return said

    def _rule(
        self,
        said: Expression,
        dims: tuple[str, ...],
        own: dict[str, Option],
        inherited: dict[str, Option],
    ) -> Rule:
        """Raises RuleError for an option of the limit's own that it has no use for."""

        def option(name: str, misplaced: str | None) -> Any:
            one = own.get(name)
            if one is not None and misplaced is not None and one.value is not False:
                raise RuleError(misplaced, one.path)
            one = one or inherited.get(name)
            if one is None or misplaced is not None:
                return None
            one.used = True
            return one.value

        money = said.measure == "usd" and said.unit in {"d", "w", "mo"}
        group = self._group_name(dims)
        exact = said.measure in {"requests", "concurrent"}
        form = _form(said)
        zone = option("timezone", None if said.calendar else "is for /d, /w and /mo")
        exhausted = option(
            "on_exhausted",
            "a request that is too large is refused" if form == "request" else None,
        )
        strict = option("strict", "requests are counted exactly; leave it out" if exact else None)
        asked = own.get("status") or inherited.get("status")
        refused = asked is not None and asked.value != 429  # noqa: PLR2004 - the usual one
        status = option(
            "status", "402 is for usd over /d, /w and /mo" if refused and not money else None
        )
        action: OnExhausted
        action, chain = exhausted or ("reject", None)
        whose = ",".join(dims) or ALL
        number = self._number(f"{whose}|{said.measure}|{said.unit}{'~' if said.rolling else ''}")
        return Rule(
            name=f"{self._place.label}: {group}{said.measure} {said.text}",
            scope=f"{self._place.scope}|{number}",
            dims=dims,
            measure=said.measure,
            form=form,
            amount=said.amount,
            most=said.most,
            period=SECONDS.get(said.unit, 0.0),
            unit="" if said.unit == REQUEST else said.unit,
            zone=zone or self._known.zone,
            strict=bool(strict),
            observe=option("mode", None) == "observe",
            on_exhausted=action,
            downgrade=chain,
            status=status or 429,
            upgrade_url=option("upgrade_url", None),
            budget=money,
        )

    def _group_name(self, dims: tuple[str, ...]) -> str:
        """For a limit's name: its group as it was written, nothing for one that is in none."""
        if dims == self._place.direct:
            return ""
        return f"{','.join(one for one in dims if one not in self._place.within) or ALL} "

    def _number(self, what: str) -> str:
        number = self._numbers.get(what, 0)
        self._numbers[what] = number + 1
        return f"{what}|{number}"

    def _named(self, rule: Rule, path: Path) -> Rule:
        option = self._found.named.setdefault(rule.name, path)
        if option == path and rule.name in self._names:
            # Two windows of one measure share the group's name.
            rule = replace(rule, name=f"{rule.name}-{rule.unit or 'request'}")
            self._found.named[rule.name] = path
        return rule

    def _add(self, rule: Rule, path: Path) -> None:
        if rule.name in self._names:
            self._error(path, f"'{rule.name}' is there twice")
            return
        self._names.add(rule.name)
        self._found.rules.append(rule)

    # --- what is no limit -----------------------------------------------------------------

    def _runaway(self, value: Any) -> None:
        try:
            rules, name = runaway(value, self._place.label, self._place.scope)
        except RuleError as error:
            self._found.errors.append(error.below(("runaway",)))
            return
        if name is not None:
            self._found.named[name] = ("runaway", "name")
        for rule in rules:
            self._add(rule, ("runaway",))

    def _priority(self, value: Any) -> None:
        classes = self._known.classes
        if not isinstance(value, str) or not value:
            self._error(("priority",), f"{shown(value)} is not a priority class")
        elif classes is not None and value not in classes:
            self._error(("priority",), unknown(value, "priority class", classes))
        else:
            self._found.priority = value

    # --- options --------------------------------------------------------------------------

    def _options(self, given: Mapping[str, Any], path: Path) -> dict[str, Option]:
        """The options among `given`; wrong ones are reported and left out."""
        found: dict[str, Option] = {}
        for name in OPTIONS:
            if name not in given:
                continue
            at = (*path, name)
            try:
                found[name] = Option(option_of(name, given[name], self._known.chains), at)
            except RuleError as error:
                self._found.errors.append(error.below(at))
        return found

    def _unused(self, options: Mapping[str, Option]) -> None:
        if self._found.errors:
            return  # what could not be read has used none
        for name, one in options.items():
            if not one.used and name != "name":
                self._error(one.path, why_unused(name))
            elif name == "name" and one.path not in self._found.named.values():
                self._error(one.path, "names no limit here; it belongs into a group or a limit")

    def _error(self, path: Path, message: str) -> None:
        self._found.errors.append(RuleError(message, path))


def _again(path: Path, measure: Measure, text: Any, **options: Any) -> Expression:
    try:
        return expression.read(measure, text, **options)
    except RuleError as error:
        raise RuleError(error.message, path) from None


def _form(said: Expression) -> Form:
    if said.measure == "concurrent":
        return "concurrent"
    if said.unit == REQUEST:
        return "request"
    if said.rolling:
        return "rolling"
    return "bucket" if said.bucket else "window"


def _paths(options: Mapping[str, Option]) -> Iterator[Path]:
    return (one.path for one in options.values())
