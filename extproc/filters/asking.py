"""A planned request as the cache's question: whether it has a part in the cache, among whom it is
asked, and what it is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from extproc.cache.control import Control
from extproc.cache.fingerprint import Place, fields, scope_key
from extproc.cache.fingerprint import asked as fingerprinted
from extproc.cache.question import Question
from extproc.cache.readings import Reading
from extproc.cache.replay import Asker
from extproc.cache.rules import SCOPES, Rules, rules
from extproc.cache.storable import Unfit, unfit_request
from extproc.cache.whose import tenant_mark
from extproc.filters.admission import Asked, Planned
from extproc.filters.rooms import Rooms
from extproc.filters.whose import owner, session_of, user_of
from extproc.policy import CacheScope, PolicyError
from extproc.records import NOBODY
from extproc.routing import Route
from extproc.rule_error import RuleError

BESIDE: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Headers by which a client chooses the version of an API, and so the shape of its answer."""
USUAL: Final = "2023-06-01"
"""The one version that Anthropic's API has; a client of another format sends none."""


def rules_of(route: Route) -> Rules | None:
    """A route's cache, put together when it is first needed; None: it has none. Raises
    PolicyError."""
    found = route.cache
    if found is None:
        try:
            made = rules(
                route.host.cache, route.policy.cache, observe=route.policy.mode == "observe"
            )
        except RuleError as error:
            raise PolicyError(str(error)) from error
        found = route.cache = made or False
    return found if isinstance(found, Rules) else None


def question(
    rooms: Rooms, asked: Asked, planned: Planned, found: Rules, said: Control
) -> Question | Unfit:
    """What the cache is asked; or why it is not."""
    place = _place(rooms, asked, planned, found, said)
    body, readings = planned.body, rooms.cache.readings
    reading = None if place is None else readings.of(body, found, place)
    given: dict[str, Any] = {}
    if reading is None:
        given = fields(body)
        reason = unfit_request(given, asked.format, found)
        if reason is not None:
            return reason
    if not (said.read or said.write):
        return Unfit.NO_STORE
    if _seen_personal(asked):
        return Unfit.PERSONAL
    if place is None:
        return Unfit.SCOPE
    if reading is None:
        reading = _reading(given, found, place, shared=_shared(asked, found, said))
        if not reading.asked.items:
            readings.keep(body, found, place, reading)
    return Question(
        rules=found,
        control=said,
        asked=reading.asked,
        asker=reading.asker,
        format=asked.format,
        route=place.route,
        model=asked.model,
        tenant=tenant_mark(rooms.secret, (asked.caller or NOBODY).tenant),
        scope=place.scope,
        kind=said.kind or reading.kind,
        targets=_targets(rooms, asked, planned),
        started=asked.started,
        given=given.get("input") if reading.asked.items else None,
    )


def _targets(rooms: Rooms, asked: Asked, planned: Planned) -> Mapping[str, str]:
    known = asked.route.targets
    return {name: known[name].policy.model for name in rooms.last.servable(asked, planned)}


def _place(
    rooms: Rooms, asked: Asked, planned: Planned, found: Rules, said: Control
) -> Place | None:
    """Beside whose requests it stands. None: nobody can be told to be of its scope."""
    shared = _scope(asked, found, said)
    # A session without a user is its key's alone: keys of a tenant may choose the same name.
    whose = owner if shared == "session" else user_of
    scope = _scope_key(
        rooms.secret,
        shared,
        tenant=(asked.caller or NOBODY).tenant,
        user=whose(asked, planned.request),
        session=session_of(asked),
    )
    if scope is None:
        return None
    return Place(
        format=asked.format,
        route=asked.route.policy.route,
        scope=scope,
        namespace=said.namespace,
        seed=said.seed,
        key=said.key,
        replaces=found.custom_keys,
        beside=_beside(asked, planned),
    )


_scope_key: Final = lru_cache(maxsize=1024)(scope_key)


def _reading(given: dict[str, Any], found: Rules, place: Place, *, shared: bool) -> Reading:
    fingerprint = fingerprinted(given, place, conversation=found.conversation)
    if place.format == "responses" and given.get("store") is not False and shared:
        # Who goes on from an answer that the provider keeps goes on from the question it was given
        # to: in the same words it tells nobody anything.
        fingerprint = replace(fingerprint, text=None)
    kind = found.kinds.of(fingerprint.text or "")
    return Reading(fingerprint, Asker.of(place.format, given), kind)


def _shared(asked: Asked, found: Rules, said: Control) -> bool:
    """More than one user has the answer."""
    return SCOPES.index(_scope(asked, found, said)) > SCOPES.index("user")


def _scope(asked: Asked, found: Rules, said: Control) -> CacheScope:
    """Who shares the answer. With values that come back into it, the user alone."""
    scope = said.scope or found.scope
    return min(scope, "user", key=SCOPES.index) if _restores(asked) else scope


def _restores(asked: Asked) -> bool:
    return asked.guarded is not None and bool(asked.guarded.mapping)


def _seen_personal(asked: Asked) -> bool:
    """The guard has found something and left it where it was, or has not looked."""
    known = asked.guarded
    if known is None:
        return False
    return (
        known.unguarded
        or not known.rules.request
        or any(action == "flag" or not known.rules.enforce for _, action, _ in known.counts)
    )


def _beside(asked: Asked, planned: Planned) -> tuple[tuple[str, str], ...]:
    told = [
        (name, asked.headers[name])
        for name in BESIDE
        if name in asked.headers and asked.headers[name] != USUAL
    ]
    if planned.credential is not None:
        # Who pays with a key of his own is served what that key bought.
        told.append(("credential", hashlib.sha256(planned.credential.encode()).hexdigest()))
    return tuple(told)
