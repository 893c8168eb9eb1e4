"""Envoy's own message types: which fields there are, and what fits into them.

The types come from envoy-data-plane; importing them takes about a second, so nothing on the
way of a request imports this module. What they lack is defined here in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import betterproto2
from envoy_data_plane.envoy.config.bootstrap.v3 import Bootstrap
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.google.protobuf import (
    BoolValue,
    Int32Value,
    Int64Value,
    UInt32Value,
    UInt64Value,
)
from envoy_data_plane.message_pool import default_message_pool
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from extproc.config.findings import Path, suggest
from extproc.config.tree import json_name

_URL = "type.googleapis.com/"
PRIORITY_GROUP = "envoy.extensions.router.cluster_specifiers.priority_group.v3"
BOOTSTRAP = f"{_URL}envoy.config.bootstrap.v3.Bootstrap"

Report = Callable[[Path, str, str], None]


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class ClusterWeight(betterproto2.Message):
    """A cluster of a level and its share."""

    cluster_name: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    weight: int | None = betterproto2.field(2, betterproto2.TYPE_UINT32, optional=True)


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class PriorityGroup(betterproto2.Message):
    """One level."""

    name: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    clusters: list[ClusterWeight] = betterproto2.field(2, betterproto2.TYPE_MESSAGE, repeated=True)


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class PriorityGroupClusterSpecifier(betterproto2.Message):
    """The chain of a route."""

    priority_groups: list[PriorityGroup] = betterproto2.field(
        1, betterproto2.TYPE_MESSAGE, repeated=True
    )
    override_metadata_namespace: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    header_name: str | None = betterproto2.field(
        3, betterproto2.TYPE_STRING, optional=True, group="random_value_specifier"
    )
    use_hash_policy: bool | None = betterproto2.field(
        4, betterproto2.TYPE_BOOL, optional=True, group="random_value_specifier"
    )


_OWN: dict[str, type[betterproto2.Message]] = {
    f"{_URL}{PRIORITY_GROUP}.PriorityGroupClusterSpecifier": PriorityGroupClusterSpecifier
}


_BOOLEAN = "true or false"
_INTEGER = "a whole number"
_SCALARS = {
    betterproto2.TYPE_BOOL: _BOOLEAN,
    betterproto2.TYPE_INT32: _INTEGER,
    betterproto2.TYPE_INT64: _INTEGER,
    betterproto2.TYPE_UINT32: _INTEGER,
    betterproto2.TYPE_UINT64: _INTEGER,
}
_WRAPPERS: dict[type[betterproto2.Message], str] = {
    BoolValue: _BOOLEAN,
    UInt32Value: _INTEGER,
    UInt64Value: _INTEGER,
    Int32Value: _INTEGER,
    Int64Value: _INTEGER,
}


def _fields(kind: type[betterproto2.Message]) -> Any:
    """What betterproto2 knows of a message's fields. It has no public door to it."""
    return vars(betterproto2.Message)["_betterproto"].__get__(None, kind)


def _fits(value: Any, kind: str) -> bool:
    """betterproto2 takes what Python would convert; Envoy takes JSON's types, and numbers as
    text."""
    if kind == _BOOLEAN:
        return isinstance(value, bool)
    if kind == _INTEGER:
        try:
            return not isinstance(value, bool) and float(value).is_integer()
        except (TypeError, ValueError):
            return False
    return True


def message_type(url: str) -> type[betterproto2.Message] | None:
    """The message of a type URL, its module imported if need be; None when it is not known."""
    if url in _OWN:
        return _OWN[url]
    if url not in default_message_pool.url_to_type:
        package = url.removeprefix(_URL).rpartition(".")[0]
        try:
            import_module(f"envoy_data_plane.{package}")
        except (ImportError, ValueError):
            return None
    return default_message_pool.url_to_type.get(url)


def judge(node: Any, path: Path, report: Report, url: str = BOOTSTRAP) -> None:
    """Report every unknown field, wrong type and forbidden combination in `node`."""
    kind = Bootstrap if url == BOOTSTRAP else message_type(url)
    if kind is None:
        raise ValueError(f"no message type {url}")
    _message(kind, node, path, report)


def _message(kind: type[betterproto2.Message], node: Any, path: Path, report: Report) -> None:
    if kind is AnyMessage:
        _any(node, path, report)
        return
    if kind.from_dict.__func__ is not betterproto2.Message.from_dict.__func__:  # type: ignore[attr-defined]
        # Duration, Struct, wrappers: a JSON form of their own.
        if kind in _WRAPPERS and not _fits(node, _WRAPPERS[kind]):
            report(path, f"'{node}' is not {_WRAPPERS[kind]}", "wrong-type")
            return
        _leaf(lambda: kind.from_dict(node), node, path, report)
        return
    if not isinstance(node, Mapping):
        report(path, f"must be a mapping ({kind.__name__})", "wrong-type")
        return
    groups: dict[str, str] = {}
    for key, value in node.items():
        name = _field_name(kind, key)
        if name is None:
            near = suggest(key, _fields(kind).sorted_field_names)
            message = f"unknown field in {kind.__name__}{near if 'mean' in near else ''}"
            report((*path, key), message, "unknown-field")
            continue
        if value is None:
            continue
        meta = _fields(kind).meta_by_field_name[name]
        if meta.group and (other := groups.setdefault(meta.group, key)) != key:
            report((*path, key), f"cannot stand beside '{other}'", "oneof")
        _field(kind, name, value, (*path, key), report)


def _field_name(kind: type[betterproto2.Message], key: str) -> str | None:
    """A key may be the field's own name or its JSON name (`stat_prefix`, `statPrefix`)."""
    fields = _fields(kind).meta_by_field_name
    return key if key in fields else next((one for one in fields if json_name(one) == key), None)


def _field(
    kind: type[betterproto2.Message], name: str, value: Any, path: Path, report: Report
) -> None:
    meta = _fields(kind).meta_by_field_name[name]
    if meta.proto_type == betterproto2.TYPE_MAP:
        if not isinstance(value, Mapping):
            report(path, "must be a mapping", "wrong-type")
            return
        if meta.map_meta is not None and meta.map_meta[1].proto_type == betterproto2.TYPE_MESSAGE:
            inner = _fields(kind).cls_by_field[f"{name}.value"]
            for key, one in value.items():
                _message(inner, one, (*path, key), report)
        return
    if meta.repeated and not isinstance(value, list):
        report(path, "must be a list", "wrong-type")
        return
    for at, one in _items(value, path) if meta.repeated else [(path, value)]:
        if meta.proto_type == betterproto2.TYPE_MESSAGE:
            inner = meta.unwrap() if meta.unwrap else _fields(kind).cls_by_field[name]
            _message(inner, one, at, report)
        elif not _fits(one, _SCALARS.get(meta.proto_type, "")):
            report(at, f"'{one}' is not {_SCALARS[meta.proto_type]}", "wrong-type")
        else:
            wrapped = [one] if meta.repeated else one
            _leaf(lambda given=wrapped: kind.from_dict({name: given}), one, at, report)  # type: ignore[misc]


def _items(value: list[Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for index, one in enumerate(value):
        yield (*path, index), one


def _any(node: Any, path: Path, report: Report) -> None:
    if not isinstance(node, Mapping) or not isinstance(node.get("@type"), str):
        report(path, "has no '@type'", "unknown-type")
        return
    kind = message_type(node["@type"])
    if kind is None:
        message = f"'{node['@type']}' is not a type known here; only Envoy itself can judge it"
        report((*path, "@type"), message, "unknown-type")
        return
    _message(kind, {key: one for key, one in node.items() if key != "@type"}, path, report)


def _leaf(parse: Callable[[], object], value: Any, path: Path, report: Report) -> None:
    try:
        parse()
    except ValidationError as error:
        words = error.errors()[0]["msg"]
        report(path, f"'{value}' does not fit: {words[:1].lower()}{words[1:]}", "wrong-type")
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        words = str(error) or "wrong form"
        report(path, f"'{value}' does not fit: {words[:1].lower()}{words[1:]}", "wrong-type")
