"""Between a request's plan and the limits: what is asked for, and what is left of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from extproc import headers as h
from extproc.dialects import ClientFormat
from extproc.errors import ClientError
from extproc.filters.admission import Admitted, Asked, Planned, plan_for, prepare
from extproc.filters.rooms import Rooms
from extproc.limits import Asking, Candidate, Grant
from extproc.limits.rules import Compiled
from extproc.policy import PolicyError
from extproc.records import NOBODY, Caller
from extproc.routing import OWN, Route
from extproc.rule_error import RuleError

WAIT_MARGIN: Final = 5.0
"""Seconds that Envoy waits longer than the queue lets anybody: ours is the answer then."""
MOST_WAIT: Final = 590.0
"""Seconds that Envoy may be told to wait for a message at most, ten minutes, with room for that."""
GENERATE: Final = frozenset({"chat", "completions", "responses", "messages"})
"""Formats whose answers have output tokens."""
LIMIT_FIELDS: Final = tuple(
    f"{h.RATE_LIMIT}{what}-{unit}"
    for what in ("limit", "remaining", "reset")
    for unit in ("requests", "tokens")
)


def compiled(route: Route) -> Compiled:
    """A route's rules, made when they are first needed. Raises PolicyError."""
    found = route.compiled
    if not isinstance(found, Compiled):
        try:
            found = route.compiled = Compiled(route.host, route.policy)
        except RuleError as error:
            raise PolicyError(f"limits: {error}") from error
    return found


def longest(asked: Asked) -> float:
    """Seconds that a request may wait in the queue. Raises PolicyError."""
    return compiled(asked.route).ttl


async def ask(rooms: Rooms, asked: Asked, planned: Planned) -> Planned:
    """Ask the limits about a planned request and keep in `asked` what they say; returns the plan,
    which an exhausted budget may have changed. Raises ClientError."""
    rules = compiled(asked.route)
    if rules.free(asked.caller or NOBODY):
        return planned
    skip: frozenset[str] = frozenset()
    while True:
        grant = await rooms.limits.admit(_asking(asked, planned, rules, skip), rules)
        if grant.downgrade is None:
            break
        skip |= {grant.downgraded_by}
        planned = plan_for(asked, planned.request, planned.body, rooms.dialects, grant.downgrade)
    asked.grant = grant
    return planned


def _asking(asked: Asked, planned: Planned, rules: Compiled, skip: frozenset[str]) -> Asking:
    targets, request = asked.route.targets, planned.request
    candidates: Mapping[str, Candidate] = {
        name: Candidate(
            targets[name].policy, targets[name].model.price, targets[name].model.output_cap
        )
        for level in planned.levels
        for name, _ in level
    }
    return Asking(
        id=asked.id,
        caller=asked.caller or NOBODY,
        attribution=asked.attribution,
        route=asked.route.policy.route,
        model=_model(asked, planned),
        levels=[[(candidates[name], weight) for name, weight in level] for level in planned.levels],
        input=asked.tokens,
        bound=request.bound(planned.body) if _strict(rules, asked.caller or NOBODY) else None,
        output=request.max_output,
        answers=request.answers,
        generates=request.format in GENERATE,
        observe=asked.route.policy.mode == "observe",
        deadline=asked.headers.get(h.DEADLINE),
        own_key=planned.credential is not None,
        skip=skip,
    )


def _model(asked: Asked, planned: Planned) -> str:
    """Whose count it is of those by model: a list of names is no model, its first name is."""
    request = planned.request
    if asked.chain_name != OWN or not request.models:
        return asked.chain_name
    return asked.route.names.chain(request.model or request.models[0], None)


def _strict(rules: Compiled, caller: Caller) -> bool:
    try:
        return rules.of(caller).strict
    except RuleError:
        return False  # nothing is let through with such a key


def cut(planned: Planned, grant: Grant) -> Planned:
    """The plan without the levels that had no room, and with the target that has some."""
    levels = planned.levels[grant.level :]
    if grant.target is not None:
        levels = (((grant.target, 1),), *levels[1:])
    return replace(planned, levels=levels)


async def ready(rooms: Rooms, asked: Asked, planned: Planned, format_: ClientFormat) -> Admitted:
    """What goes up of an admitted request."""
    grant = asked.grant
    if grant is None:
        return prepare(asked, planned, format_, rooms.dialects)
    planned = cut(planned, grant)
    asked.refusals += tuple((name, "capacity") for name in grant.passed)
    for name in grant.passed:
        rooms.telemetry.refusal(name, "capacity")
    if grant.cap is not None:
        body = planned.body
        capped = partial(_capped, planned, format_, grant.cap)
        planned = await rooms.large.work(len(body), capped)
        asked.rewritten = asked.rewritten or planned.body is not body
    admitted = prepare(asked, planned, format_, rooms.dialects)
    return replace(admitted, lease=rooms.limits.lease(grant), capped=grant.cap is not None)


def _capped(planned: Planned, format_: ClientFormat, cap: int) -> Planned:
    body = format_.capped(planned.request, planned.body, cap)
    return replace(planned, body=body, request=format_.parse(body))


def tell(asked: Asked, fields: list[tuple[str, str]], remove: list[str]) -> None:
    """Say on an answer how the limits stand, in place of what the provider says of its own."""
    if asked.grant is None or not asked.grant.headers:
        return
    fields += asked.grant.headers
    said = {name for name, _ in asked.grant.headers}
    if not said.isdisjoint(LIMIT_FIELDS):
        remove += [name for name in LIMIT_FIELDS if name not in said]


def refused(asked: Asked, error: ClientError) -> ClientError:
    """An error that says what the limits say on every answer."""
    if asked.grant is None or error.fields:
        return error
    return replace(error, fields=tuple(asked.grant.headers))
