"""Who is asking: the first proof that a request brings and its route takes.

    key → token → certificate → headers of a gateway in front → nobody, where identity is open

A proof that does not hold is never made good by a weaker one. All that is wrong with a key or
another proof is told in the same words and at the same time after the request's arrival, so that
nobody learns from a refusal which of his guesses came near.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from extproc.errors import ClientError
from extproc.headers import CREDENTIALS, KEY
from extproc.identity.keys import LENGTH, PREFIX
from extproc.identity.mesh import (
    SOURCE,
    Compiled,
    PatternError,
    UnprovenError,
    address_of,
    of_header,
    of_jwt,
    of_mtls,
)
from extproc.identity.values import shown
from extproc.policy import IdentityPolicy
from extproc.records import NOBODY, Caller
from extproc.state import StateError

DENIED_AFTER: Final = 0.020
"""Seconds from a request's arrival to its refusal for who asks: above what a look-up takes in a
store that is well (SQLite below 1 ms, Redis next door 1-2 ms), and short for a person."""
UNAVAILABLE: Final = 503

_BEARER: Final = "bearer "
_CUT: Final = 4 * LENGTH
"""Characters that are hashed of what cannot be a key because it is longer."""
_log = logging.getLogger(__name__)


class Callers(Protocol):
    """Who asks with a key."""

    async def caller(self, token: str) -> Caller | None:
        """None: it opens nothing. Raises StateError when that cannot be told."""
        ...


class Identify:
    """Finds out who is asking. `clock` gives seconds that only grow, as those of `arrived`."""

    def __init__(
        self,
        keys: Callers,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._sleep = sleep
        self._compiled = Compiled()
        self._away = False

    async def who(
        self,
        headers: Mapping[str, str],
        attributes: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        policy: IdentityPolicy,
        route: str,
        tiers: Collection[str],
        arrived: float,
        key_header_only: bool = False,
    ) -> Caller:
        """The caller, who may take this route and is of none but its tiers (no tiers: of any).

        `headers` by lower-case name; `attributes` and `metadata` (by namespace) as Envoy tells
        them. `key_header_only`: what else could carry a key is the caller's key for a provider.
        Raises ClientError: 401 or 403 not before `DENIED_AFTER`, 503 when it cannot be told, 500
        for a policy that cannot be.
        """
        try:
            caller = await self._proven(headers, attributes, metadata, policy, key_header_only)
            _check(caller, route, tiers)
        except StateError as error:
            if not self._away:  # said once, not for each request
                _log.warning("who asks cannot be told: %s", error)
            self._away = True
            raise _unavailable() from error
        except PatternError as error:
            _log.error("identity policy of route %s: %s", shown(route), error)
            raise _misconfigured() from error
        except ClientError:
            await self.hold(arrived)
            raise
        if self._away and caller.source == "key":
            self._away = False
            _log.warning("who asks can be told again")
        return caller

    async def hold(self, arrived: float) -> None:
        """Wait until a request that arrived then may be refused for who asks."""
        left = arrived + DENIED_AFTER - self._clock()
        if left > 0:
            await self._sleep(left)

    async def _proven(
        self,
        headers: Mapping[str, str],
        attributes: Mapping[str, Any],
        metadata: Mapping[str, Any],
        policy: IdentityPolicy,
        key_header_only: bool,  # noqa: FBT001 - of one caller
    ) -> Caller:
        token = sent_key(headers, only_ours=key_header_only) if policy.keys else None
        if token is not None:
            caller = await self._keys.caller(token[:_CUT])
            if caller is None:
                raise invalid()
            return caller
        try:
            caller = self._in_front(headers, attributes, metadata, policy)
        except UnprovenError as error:
            _log.debug("a proof does not hold: %s", error)
            await self._same_work(policy)
            raise invalid() from None
        if caller is not None:
            return caller
        if policy.open:
            if policy.beyond_loopback or _is_loopback(attributes):
                return NOBODY
            await self._same_work(policy)
            raise _elsewhere()
        await self._same_work(policy)
        carried = (policy.keys or policy.jwt) and not key_header_only
        raise invalid() if carried and any(map(headers.get, CREDENTIALS)) else _missing(policy)

    def _in_front(
        self,
        headers: Mapping[str, str],
        attributes: Mapping[str, Any],
        metadata: Mapping[str, Any],
        policy: IdentityPolicy,
    ) -> Caller | None:
        """What stands in front has proven. Raises UnprovenError, PatternError."""
        caller = of_jwt(policy.jwt, metadata) if policy.jwt else None
        if caller is None and (mtls := policy.mtls) is not None:
            caller = of_mtls(mtls, self._compiled.patterns(mtls.san), attributes)
        if caller is None and (header := policy.header) is not None:
            networks = self._compiled.networks(header.sources)
            caller = of_header(header, networks, headers, address_of(attributes.get(SOURCE)))
        return caller

    async def _same_work(self, policy: IdentityPolicy) -> None:
        """What a wrong key costs, for who brings none."""
        if policy.keys:
            await self._keys.caller("")


def sent_key(headers: Mapping[str, str], *, only_ours: bool) -> str | None:
    """The gateway's key that a request brings, good or not; None if it brings none.

    Our own header carries nothing else, so whatever stands in it counts. The others count if what
    they carry begins as a key does: SDKs send a placeholder there, and other tokens too.
    """
    if own := headers.get(KEY, "").strip():
        return own
    if only_ours:
        return None
    for name in CREDENTIALS:
        value = headers.get(name)
        if value is None:
            continue
        if value[: len(_BEARER)].lower() == _BEARER:
            value = value[len(_BEARER) :]
        value = value.strip()
        if value.startswith(PREFIX):
            return value
    return None


def may_use(caller: Caller, model: str) -> bool:
    """Whether a caller may ask for a name."""
    return not caller.models or model in caller.models


def check_models(caller: Caller, models: Iterable[str]) -> None:
    """Refuse a request for a name that its caller may not use; an empty one names nothing. Who may
    use some names only has to say one. Raises ClientError 403, which the filter holds."""
    if not caller.models:
        return
    named = [name for name in models if name]
    for name in named:
        if name not in caller.models:
            raise _forbidden("model_not_allowed", f"This key may not use the model {shown(name)}.")
    if not named:
        raise _forbidden("model_not_allowed", "This key may use some models only; name one.")


def _check(caller: Caller, route: str, tiers: Collection[str]) -> None:
    if caller.routes and route not in caller.routes:
        raise _forbidden("route_not_allowed", f"This key may not use the route {shown(route)}.")
    if tiers and caller.tier is not None and caller.tier not in tiers:
        message = f"This caller is of tier {shown(caller.tier)}, which is none of ours."
        raise _forbidden("tier_not_allowed", message)


def _is_loopback(attributes: Mapping[str, Any]) -> bool:
    address = address_of(attributes.get(SOURCE))
    return address is not None and address.is_loopback


# --- what the client is told --------------------------------------------------------------


def invalid() -> ClientError:
    """401 for every proof that does not hold, whatever is wrong with it."""
    message = "Incorrect API key or token provided."
    return ClientError(401, "invalid_request_error", "invalid_api_key", message)


def _missing(policy: IdentityPolicy) -> ClientError:
    message = "Nothing that this gateway knows callers by came with the request."
    if policy.keys:
        message = (
            "No API key provided. Send one of this gateway's keys (tg-…) as 'Authorization: "
            f"Bearer', or in '{KEY}'."
        )
    return ClientError(401, "invalid_request_error", "missing_key", message)


def _elsewhere() -> ClientError:
    message = "Without a key this gateway serves the machine it runs on only."
    return _forbidden("open_on_loopback_only", message)


def _forbidden(code: str, message: str) -> ClientError:
    return ClientError(403, "permission_error", code, message)


def _unavailable() -> ClientError:
    message = "Keys cannot be checked at the moment; try again."
    return ClientError(UNAVAILABLE, "server_error", "identity_unavailable", message, None, 1.0)


def _misconfigured() -> ClientError:
    message = "The gateway's route carries no usable policy."
    return ClientError(500, "server_error", "misconfigured", message)
