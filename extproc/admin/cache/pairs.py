"""A question and its answer as the entry that a request for it will find.

Everything is worked out as for a request that a client sends: its body is read by its format, its
fingerprint made, its kind told; what the route would not keep is not taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from extproc.admin.cache.bodies import DEFAULT, FORMATS, answer, request
from extproc.admin.cache.lines import LONGEST_NAME, LineError, Pair, checked_tags, nano, seconds
from extproc.cache.control import READS, Control, control
from extproc.cache.fingerprint import Asked, Place, asked, fields, scope_key
from extproc.cache.replay import Asker, events, kept
from extproc.cache.replay.pieces import StreamError
from extproc.cache.rules import Rules
from extproc.cache.storable import Unfit, unfit_answer, unfit_request
from extproc.cache.whose import tenant_mark
from extproc.dialects import formats
from extproc.errors import ClientError
from extproc.state.answers import Entry, Head, new_id


class Pairs:
    """Makes entries. `secret`: with which scopes and tenants are marked."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._formats = {name: one for name, one in formats().items() if name in FORMATS}

    def entry(self, pair: Pair, policy: Rules, now: float) -> tuple[Entry, str | None]:
        """The entry, without a vector, and the text that it is compared by, if it is. Raises
        LineError."""
        format_ = pair.format or DEFAULT
        given = self._given(pair, format_)
        _fit(unfit_request(given, format_, policy))
        wishes = _wishes(pair.headers, policy)
        place = Place(
            format=format_,
            route=name("route", pair.route),
            scope=self._scope(pair, wishes, policy),
            namespace=wishes.namespace,
            seed=wishes.seed,
            key=wishes.key,
            replaces=policy.custom_keys,
        )
        found = asked(given, place, conversation=policy.conversation)
        model = name("model", given.get("model"))
        value = _answer(pair.answer, format_, found, model, policy, created=int(now))
        kind = _kind(pair, found, wishes, policy)
        # Who runs the gateway may keep what a header could not ask for.
        ttl = policy.ttl(kind, wishes.ttl) if pair.ttl is None else seconds(pair.ttl)
        tags = (*policy.tags, *checked_tags(pair.tags), *wishes.tags)
        own = new_id()
        head = Head(
            id=own,
            exact=found.exact,
            family=found.family,
            scope=place.scope,
            tenant=tenant_mark(self._secret, pair.tenant),
            route=place.route,
            model=model,
            kind=kind,
            tags=tuple(dict.fromkeys(tags)),
            created=now,
            expires=now + ttl,
            answer=own,
            target=name("target", pair.target),
            cost=0 if pair.cost is None else nano(pair.cost),
        )
        return Entry(head, value), found.text if policy.semantic else None

    def _given(self, pair: Pair, format_: str) -> dict[str, Any]:
        """The fields of the body, as the gateway would read them of a client. Raises LineError."""
        reader = self._formats.get(format_)
        if reader is None:
            known = ", ".join(FORMATS)
            raise LineError(f"format: {format_[:40]!a} is not known, or has no words; use {known}")
        if isinstance(pair.request, UnsetType):
            body = msgspec.json.encode(request(pair, format_))
        elif pair.question is not None:
            raise LineError("has a question and a request: say one of them")
        else:
            body = bytes(pair.request)
        try:
            reader.parse(body)
        except ClientError as error:
            raise LineError(f"is no request: {error.message}"[:200]) from None
        return fields(body)

    def _scope(self, pair: Pair, wishes: Control, policy: Rules) -> bytes:
        scope = wishes.scope or policy.scope
        # Who a user is, a request's key and all that it says of itself tell together.
        found = None
        if scope in ("tenant", "shared"):
            found = scope_key(self._secret, scope, tenant=pair.tenant or None)
        if found is None:
            raise LineError(f"the scope is '{scope}': nobody's own answers can be imported")
        return found


def name(field: str, given: Any) -> str:
    """The name in a field; empty for none. Raises LineError."""
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > LONGEST_NAME or not given.isprintable():
        raise LineError(f"{field}: up to {LONGEST_NAME} printable characters")
    return given


def _kind(pair: Pair, found: Asked, wishes: Control, policy: Rules) -> str:
    kind = pair.kind or wishes.kind or policy.kinds.of(found.text)
    if kind not in policy.by_kind:
        known = ", ".join(policy.by_kind)
        raise LineError(f"kind: no {kind[:40]!a} on this route; there is {known}")
    return kind


def _wishes(headers: Mapping[str, str] | None, policy: Rules) -> Control:
    found = {name.lower(): value for name, value in (headers or {}).items()}
    if unknown := found.keys() - READS:
        raise LineError(f"headers: {min(unknown)[:40]!a} says nothing to the cache")
    try:
        wishes = control(found, policy)
    except ClientError as error:
        raise LineError(f"headers: {error.message}"[:200]) from None
    if not wishes.write or not wishes.read:
        raise LineError("headers: a request with them is not answered from the cache")
    return wishes


def _answer(
    given: str | dict[str, Any] | None,
    format_: str,
    found: Asked,
    model: str,
    policy: Rules,
    *,
    created: int,
) -> bytes:
    """The answer as it is kept. Raises LineError."""
    if given is None:
        raise LineError("has no answer")
    tree = given
    if isinstance(tree, str):
        tree = answer(tree, format_, name=found.exact.hex()[:24], model=model, now=created)
    value = kept(tree, format_)
    _fit(Unfit.TOO_LARGE if len(value) > policy.max_entry_bytes else None)
    _fit(unfit_answer(tree, format_, policy))
    try:
        events(value, format_, Asker())
    except (StreamError, ValueError, RecursionError):
        raise LineError(f"its answer is none of the format '{format_}'") from None
    return value


def _fit(reason: Unfit | None) -> None:
    if reason is not None:
        raise LineError(f"is not kept on its route: {_REASONS.get(reason, reason.value)}")


_REASONS: Final[Mapping[Unfit, str]] = {
    Unfit.TEMPERATURE: "its temperature is above temperature_max",
    Unfit.SEVERAL: "it is about more than one answer",
    Unfit.STATEFUL: "it goes on from what a provider keeps",
    Unfit.STATUS: "the answer is an error",
    Unfit.UNREADABLE: "the answer is none of its format",
    Unfit.ABORTED: "the answer did not come to its end",
    Unfit.TRUNCATED: "the answer was cut",
    Unfit.REFUSED: "the answer is a refusal",
    Unfit.TOOL_CALLS: "the answer calls tools",
    Unfit.EMPTY: "the answer says nothing",
    Unfit.TOO_LARGE: "the answer is longer than max_entry_bytes",
}
