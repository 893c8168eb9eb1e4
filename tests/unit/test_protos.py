"""Our lean messages against Envoy's full definitions, both ways."""

from __future__ import annotations

import importlib
from typing import Any

import betterproto2
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct

from extproc.pb import ext_proc_pb2, metadata_pb2, priority_group_pb2

CORE = "envoy_data_plane.envoy.config.core.v3"
SERVICE = "envoy_data_plane.envoy.service.ext_proc.v3"
FILTER = "envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3"
TYPES = "envoy_data_plane.envoy.type.v3"

HOMES = {
    "HeaderValue": CORE,
    "HeaderMap": CORE,
    "HeaderValueOption": CORE,
    "Metadata": CORE,
    "HttpStatus": TYPES,
    "ProcessingMode": FILTER,
}
# Messages that came with Envoy 1.40, which the package does not have.
NEWER_MESSAGES = {"ClusterWeight", "PriorityGroup", "PriorityGroupsOverride"}
# Fields that came later than the package: field name → its number in Envoy 1.40.
NEWER_FIELDS = {
    ("ProcessingResponse", "typed_dynamic_metadata"): 13,
}
FILES = (ext_proc_pb2, metadata_pb2, priority_group_pb2)
MESSAGES = [
    descriptor
    for file in FILES
    for descriptor in file.DESCRIPTOR.message_types_by_name.values()
    if descriptor.name not in NEWER_MESSAGES
]


def full(name: str) -> Any:
    return getattr(importlib.import_module(HOMES.get(name, SERVICE)), name)


def fill(descriptor: Descriptor, depth: int = 0) -> Message:
    """A message with every field set, once for the first member of each oneof."""
    message = GetMessageClass(descriptor)()
    done: set[str] = set()
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.name in done:
            continue
        if oneof is not None:
            done.add(oneof.name)
        _set(message, field, depth)
    return message


def _set(message: Any, field: FieldDescriptor, depth: int) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        value = kind.fields_by_name["value"].message_type
        getattr(message, field.name)["key"].CopyFrom(_inner(value, depth))
    elif kind is not None and field.is_repeated:
        getattr(message, field.name).add().CopyFrom(_inner(kind, depth))
    elif kind is not None:
        getattr(message, field.name).CopyFrom(_inner(kind, depth))
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _inner(kind: Descriptor | None, depth: int) -> Message:
    assert kind is not None
    if kind.full_name == "google.protobuf.Struct":
        found = Struct()
        found.fields["a"].string_value = "b"
        return found
    if kind.full_name == "google.protobuf.Duration":
        return Duration(seconds=3, nanos=5000)  # the package keeps microseconds
    if kind.full_name == "google.protobuf.Any":
        return AnyMessage(type_url="type.googleapis.com/google.protobuf.Empty", value=b"")
    return fill(kind, depth + 1)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"v" if field.type == FieldDescriptor.TYPE_BYTES else "v",
        FieldDescriptor.CPPTYPE_BOOL: True,
    }.get(field.cpp_type, 200)


def test_upb_is_what_runs() -> None:
    assert api_implementation.Type() == "upb"


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda one: one.name)
def test_every_field_has_envoys_number_and_name(descriptor: Descriptor) -> None:
    fields = full(descriptor.name).__dataclass_fields__
    known = {name: one.metadata["betterproto"] for name, one in fields.items()}
    for field in descriptor.fields:
        newer = NEWER_FIELDS.get((descriptor.name, field.name))
        if newer is not None:
            assert field.name not in known, "the package has it now: hold it against that"
            assert field.number == newer
            continue
        assert known[field.name].number == field.number


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda one: one.name)
def test_ours_is_read_as_envoys_and_back(descriptor: Descriptor) -> None:
    ours = fill(descriptor)
    for message, field in NEWER_FIELDS:
        if message == descriptor.name:
            ours.ClearField(field)
    theirs = full(descriptor.name).parse(ours.SerializeToString())
    assert not theirs._unknown_fields
    back = type(ours)()
    back.ParseFromString(bytes(theirs))
    assert back == ours


def test_each_member_of_a_oneof_is_read_as_envoys() -> None:
    for descriptor in MESSAGES:
        for oneof in descriptor.oneofs:
            for field in oneof.fields:
                ours = fill(descriptor)
                _set(ours, field, 0)
                theirs = full(descriptor.name).parse(ours.SerializeToString())
                assert betterproto2.which_one_of(theirs, oneof.name)[0] == field.name


def test_the_chain_override_is_as_envoy_takes_it() -> None:
    # The package has no such message: held against the wire by hand.
    override = priority_group_pb2.PriorityGroupsOverride()
    group = override.priority_groups.add(name="a")
    group.clusters.add(cluster_name="b").weight.value = 3
    assert override.SerializeToString() == b"\x0a\x0c\x0a\x01a\x12\x07\x0a\x01b\x12\x02\x08\x03"
