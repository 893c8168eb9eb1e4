"""`/keys`: the callers' keys."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Final

from aiohttp import web

from extproc.admin.answers import LINES, Query, Refused, answer, body_of, object_of
from extproc.admin.guard import peer_of
from extproc.identity.files import MOST_BYTES, FileError
from extproc.identity.keyring import Keyring, KeyStateError, UnknownKeyError
from extproc.identity.record import FieldError, KeyRecord

log = logging.getLogger(__name__)

FIELDS: Final = ("tenant", "team", "user")
"""What a list of keys can be narrowed by."""


class Keys:
    """The routes. Every change is logged with the key's id and the peer, never with a key."""

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_post("/keys", self.create)
        app.router.add_get("/keys", self.list)
        app.router.add_post("/keys/import", self.import_)
        app.router.add_get("/keys/export", self.export)
        app.router.add_get("/keys/{id}", self.show)
        app.router.add_post("/keys/{id}/rotate", self.rotate)
        app.router.add_post("/keys/{id}/revoke", self.revoke)

    def _keys(self) -> Keyring:
        if self._keyring is None:
            raise Refused(404, "this service keeps no keys")
        return self._keyring

    async def create(self, request: web.Request) -> web.Response:
        """201, with the key: the only answer that ever holds it."""
        keyring = self._keys()
        said = await object_of(request)
        try:
            key, record = await keyring.create(said)
        except FieldError as error:
            raise _field(error) from error
        _say("key created", request, record)
        return answer({"key": key, **_shown(record)}, 201)

    async def list(self, request: web.Request) -> web.Response:
        """All keys, or those of a tenant, team or user."""
        query = Query(request)
        wanted = {name: query.one(name) for name in FIELDS}
        query.done()
        records = await self._keys().list(**wanted)
        return answer({"keys": [_shown(one) for one in records]})

    async def show(self, request: web.Request) -> web.Response:
        """One key."""
        keyring = self._keys()
        try:
            return answer(_shown(await keyring.show(request.match_info["id"])))
        except UnknownKeyError as error:
            raise _unknown() from error

    async def rotate(self, request: web.Request) -> web.Response:
        """A new secret for a key; the old one stays good for `overlap` seconds."""
        keyring = self._keys()
        said = await object_of(request)
        overlap = said.pop("overlap", 0)
        _nothing_else(said)
        number = isinstance(overlap, int | float) and not isinstance(overlap, bool)
        if not number or not math.isfinite(overlap):
            raise Refused(400, "must be a number of seconds", param="overlap")
        try:
            key, record = await keyring.rotate(request.match_info["id"], overlap)
        except FieldError as error:
            raise _field(error) from error
        except UnknownKeyError as error:
            raise _unknown() from error
        except KeyStateError as error:
            raise Refused(409, str(error)) from error
        _say("key rotated", request, record)
        return answer({"key": key, **_shown(record)})

    async def revoke(self, request: web.Request) -> web.Response:
        """Make a key good for nothing; again changes nothing."""
        keyring = self._keys()
        _nothing_else(await object_of(request))
        try:
            record = await keyring.revoke(request.match_info["id"])
        except UnknownKeyError as error:
            raise _unknown() from error
        except KeyStateError as error:
            raise Refused(409, str(error)) from error
        _say("key revoked", request, record)
        return answer(_shown(record))

    async def import_(self, request: web.Request) -> web.Response:
        """All keys of a file or none."""
        keyring = self._keys()
        try:
            taken = await keyring.import_(await body_of(request, MOST_BYTES))
        except FileError as error:
            raise Refused(400, error.message, line=error.line) from error
        log.info("keys imported", extra={"number": len(taken), "peer": peer_of(request)})
        return answer({"imported": len(taken), "keys": taken})

    async def export(self, request: web.Request) -> web.Response:
        """All keys as a file, with digests and without secrets."""
        Query(request).done()
        return web.Response(
            body=await self._keys().export(),
            content_type=LINES,
            headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
        )


def _shown(record: KeyRecord) -> dict[str, Any]:
    return record.shown(time.time())


def _field(error: FieldError) -> Refused:
    field, colon, rest = str(error).partition(": ")
    return Refused(400, rest, param=field.strip('"')) if colon else Refused(400, field)


def _unknown() -> Refused:
    return Refused(404, "there is no key with this id")


def _nothing_else(said: dict[str, Any]) -> None:
    for name in said:
        raise Refused(400, "unknown field", param=name[:80])


def _say(what: str, request: web.Request, record: KeyRecord) -> None:
    log.info(what, extra={"id": record.id, "tenant": record.tenant, "peer": peer_of(request)})
