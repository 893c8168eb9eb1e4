"""Policy as it stands in Envoy's metadata, parsed once and kept by its text.

Envoy hands `xds.route_metadata` and `xds.virtual_host_metadata` over as protobuf text format.
The schema is validated by `tollgate check` with the same types.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Literal, TypeVar

import msgspec
from google.protobuf import text_format
from google.protobuf.struct_pb2 import Value

from extproc.headers import NAMESPACE
from extproc.pb.metadata_pb2 import Metadata

DialectName = Literal["openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "cohere"]

Level = dict[str, int]
"""Targets that share one level, with their weights (1 or more)."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """US dollars per million tokens, as decimal text so that no digit is lost."""

    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    cache_write_1h: str | None = None
    reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    batch_input: str | None = None
    batch_output: str | None = None


class TargetPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model at one provider. Stands in the inner route's metadata (with `target`) and, for
    what the gateway filter decides beforehand, in the virtual host's (`targets: {name: …}`)."""

    target: str = ""
    """Its name. In the virtual host's metadata the name is the key instead."""
    cluster: str = ""
    """The level's cluster in the outer configuration."""
    provider: str
    """The provider's name in gateway.yaml."""
    system: str
    """`gen_ai.provider.name` of OpenTelemetry."""
    dialect: DialectName
    server: str | None = None
    """Which of the servers that speak OpenAI's format it is, by its name in
    `dialects/openai/servers.toml`. None: one that nothing is known of."""
    model: str
    """The provider's own name of the model."""
    deployment: str | None = None
    """Azure: what the model's deployment is called. None: as the model."""
    api_version: str | None = None
    """Azure: the dated version of the API. None: the undated `/openai/v1`."""
    project: str | None = None
    """Vertex AI: the project's id."""
    location: str | None = None
    """Vertex AI: the region, or `global`."""
    base_path: str | None = None
    """Path in front of the endpoint, e.g. `/v1`. None: the dialect's own."""
    timeout: float = 30.0
    """Seconds to the response head, and for a stream to the first content event."""
    stall: float = 60.0
    """Seconds that a stream may be silent after its first content event."""
    context_window: int | None = None
    output_cap: int | None = None
    features: tuple[str, ...] | None = None
    """None: what the catalogue says of the model."""
    price: Price | None = None
    """None: what the catalogue says of the model."""
    simulator: bool = False
    """The provider is the simulator: `x-sim-script` passes through."""


class HostPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all routes share. Stands in the virtual host's metadata."""

    identity: Literal["open"] = "open"
    chains: dict[str, list[Level]] = {}
    targets: dict[str, TargetPolicy] = {}


class RoutePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One route. Stands in the outer route's metadata."""

    route: str
    chain: str
    """The chain of `auto` and of a request that names no model of its own."""
    models: dict[str, str] = {}
    """What a client may ask for → chain or target. `*` stands for every other name. Empty: every
    chain, target and unambiguous provider model of the virtual host."""
    walk_on: tuple[Literal["content_policy"], ...] = ()
    """Refusals that this route walks on from, beyond those every route does."""
    accounting: Literal["body"] = "body"
    strict: bool = False
    """A target that would have to leave a parameter out refuses instead."""


# --- from Envoy's text --------------------------------------------------------------------

T = TypeVar("T")
KEPT: Final = 4096
"""Texts kept. A mesh has some routes a gateway; reloads leave old texts behind."""


class PolicyError(Exception):
    """Metadata that is missing or does not fit the schema: the configuration's fault."""


class Parsed:
    """Policies by the text they came in."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[type, str], Any] = OrderedDict()

    def of(self, kind: type[T], text: object) -> T:
        """The policy in `text`, an attribute as Envoy sent it. Raises PolicyError."""
        if not isinstance(text, str) or not text:
            raise PolicyError(f"no {kind.__name__} came with the request")
        key = (kind, text)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = parse(kind, text)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def parse(kind: type[T], text: str) -> T:
    """Read a policy from metadata in protobuf text format. Raises PolicyError."""
    try:
        metadata = text_format.Parse(text, Metadata(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise PolicyError(f"metadata cannot be read: {error}") from error
    if NAMESPACE not in metadata.filter_metadata:
        raise PolicyError(f"no filter_metadata.{NAMESPACE} for {kind.__name__}")
    fields = metadata.filter_metadata[NAMESPACE].fields
    try:
        # Not strict: Envoy reads a fraction in YAML metadata (`timeout: 1.5`) as text.
        tree = {name: _plain(value) for name, value in fields.items()}
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        raise PolicyError(f"filter_metadata.{NAMESPACE}: {error}") from error


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(field) for name, field in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind == "number_value":
        # A Struct has no integers.
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None
