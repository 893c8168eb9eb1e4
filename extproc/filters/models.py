"""`GET /v1/models`: the names this caller may use."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec

from extproc.filters.admission import MODELS
from extproc.identity import may_use
from extproc.records import Caller
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


class _Info(msgspec.Struct):
    """A model as Anthropic's API lists it."""

    id: str
    display_name: str
    type: str = "model"
    created_at: str = "1970-01-01T00:00:00Z"


class _Page(msgspec.Struct):
    """All models in one page, as Anthropic's API lists them."""

    data: list[_Info]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


def listing(route: Route, path: str, caller: Caller, *, anthropic: bool = False) -> bytes:
    """The body for `/v1/models` or `/v1/models/{id}`, in OpenAI's shape or in Anthropic's. Raises
    ClientError 404."""
    listed = {name: owner for name, owner in route.names.listed() if may_use(caller, name)}
    if path == MODELS:
        made = [_Info(name, name) if anthropic else _Model(name, listed[name]) for name in listed]
        ends = (made[0].id, made[-1].id) if made else (None, None)
        return msgspec.json.encode(_Page(made, *ends) if anthropic else _List(made))  # type: ignore[arg-type]
    name = unquote(path.removeprefix(MODELS + "/"))
    if name not in listed:
        raise unknown_model(name)
    return msgspec.json.encode(_Info(name, name) if anthropic else _Model(name, listed[name]))
