"""`GET /v1/models`: the names this caller may use."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec

from extproc.filters.admission import MODELS
from extproc.routing import Route
from extproc.routing.names import unknown_model

CREATED: Final = 0
"""Names are the route's, not a provider's: they have no day of creation."""


class _Model(msgspec.Struct):
    id: str
    owned_by: str
    object: str = "model"
    created: int = CREATED


class _List(msgspec.Struct):
    data: list[_Model]
    object: str = "list"


def listing(route: Route, path: str) -> bytes:
    """The body for `/v1/models` or `/v1/models/{id}`. Raises ClientError 404."""
    listed = dict(route.names.listed())
    if path == MODELS:
        return msgspec.json.encode(_List([_Model(name, owner) for name, owner in listed.items()]))
    name = unquote(path.removeprefix(MODELS + "/"))
    if name not in listed:
        raise unknown_model(name)
    return msgspec.json.encode(_Model(name, listed[name]))
