"""The dated tables beside this file, read once, and how a model is found in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from importlib import resources
from typing import Final

import msgspec

from extproc.catalogue.price import Price, compile_price, with_long
from extproc.policy import TargetPolicy

KINDS: Final = frozenset({"chat", "completions", "embeddings"})
"""What a model is for, as features: messages, plain text to go on from, vectors."""
FEATURES: Final = KINDS | {
    "tools",
    "parallel_tool_calls",
    "vision",
    "audio",
    "files",
    "json_object",
    "json_schema",
    "logprobs",
    "n",
    "reasoning",
    "streaming",
    "system",
    "seed",
    "penalties",
    "logit_bias",
    "web_search",
}
"""What a model may or may not do, by name."""

NEED: Final[Mapping[str, str]] = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "count_tokens": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
}
"""The kind of model that a request in a client format needs."""

_SUFFIX: Final = re.compile(r"[-@](?:20\d{2}-?\d{2}-?\d{2}|\d{3}|latest)$")
"""How providers name one version of a model: `-2024-08-06`, `-20250929`, `@20250929`, `-002`,
`-latest`."""
_BEDROCK: Final = "aws.bedrock"
_BEDROCK_SUFFIX: Final = re.compile(r"(?:-v\d+)?(?::\d+(?::\d+k)?)?$")
"""Bedrock's version of a model: `-v1`, `-v1:0`, `-1:0`, and a window: `-v1:0:300k`."""
_BEDROCK_PLACE: Final = re.compile(r"^(?:us|us-gov|eu|apac|jp|au|in|ca|global)\.")
"""Where Bedrock may run it."""
_OPENROUTER: Final = "openrouter"
_MAKERS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "cohere": "cohere",
    "google": "gcp.gemini",
    "mistralai": "mistral_ai",
    "openai": "openai",
}
"""Makers in OpenRouter's names of models whose prices it passes on as they are. Models with open
weights are served there by many, at prices that change from day to day."""
_OPEN: Final = ("gpt-oss", "gemma")
ALWAYS: Final = frozenset({"streaming", "system"})
"""What every target for chat has that says itself what it can do: each wire format carries both."""

_REMEMBERED: Final = 4096
"""Names looked up that are kept, found or not; then all are forgotten, because names that are
not in the table come from outside."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of one model. None is always "unknown", never "none"."""

    price: Price | None = None
    context_window: int | None = None
    """Tokens of prompt and answer together."""
    output_cap: int | None = None
    """Most tokens of one answer."""
    features: frozenset[str] | None = None
    """None: take it that the model can do everything."""
    source: str = ""
    """The provider's page the figures are from."""
    date: str = ""
    """When they were last held against it, as YYYY-MM-DD."""

    def lacking(self, needs: Iterable[str]) -> list[str]:
        """What of the features that a request needs the model has not, in alphabetical order.

        A model for chat serves completions too: a prompt is a message.
        """
        features = self.features
        if features is None:
            return []
        return sorted(
            need
            for need in needs
            if need not in features and not (need == "completions" and "chat" in features)
        )


UNKNOWN: Final = Model()
"""A model that is not in the tables."""


class _Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dollars per million tokens."""

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


class _Next(_Prices, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices from a day that the provider has announced."""

    start: date = msgspec.field(name="from")


class _Long(_Prices, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of requests with more than `above` input tokens."""

    above: int


class _Entry(_Prices, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model of a table file."""

    match: list[str]
    """Exact names, or shell patterns with `*`."""
    date: date
    long: _Long | None = None
    next: _Next | None = None
    context_window: int | None = None
    output_cap: int | None = None
    features: list[str] | None = None
    source: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider's table."""

    systems: list[str]
    """Values of `gen_ai.provider.name` the table is for."""
    source: str
    features: dict[str, list[str]] = {}
    """Sets of features by name, made of features and of other sets."""
    model: list[_Entry]


class Catalogue:
    """Every model of the tables. Owns nothing that changes but what it remembers of look-ups."""

    __slots__ = ("_exact", "_globs", "_seen")

    def __init__(self, tables: list[_File], today: date) -> None:
        self._exact: dict[tuple[str, str], Model] = {}
        self._globs: dict[str, list[tuple[str, Model]]] = {}
        self._seen: dict[tuple[str, str], Model | None] = {}
        for table in tables:
            for entry in table.model:
                model = _model(entry, table, today)
                for system in table.systems:
                    self._add(system, entry.match, model)
        for globs in self._globs.values():
            globs.sort(key=lambda pair: len(pair[0]), reverse=True)

    def _add(self, system: str, names: list[str], model: Model) -> None:
        for name in names:
            if "*" in name:
                self._globs.setdefault(system, []).append((name, model))
            elif (system, name) in self._exact:
                raise ValueError(f"{system}: {name} stands in the table twice")
            else:
                self._exact[system, name] = model

    def find(self, system: str, model: str) -> Model | None:
        """The entry of a provider's own model name: an exact one, else that of the name without
        its version, else the longest pattern that fits."""
        key = (system, model)
        try:
            return self._seen[key]
        except KeyError:
            found = self._look_up(system, model)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key] = found
            return found

    def _look_up(self, system: str, model: str) -> Model | None:
        for key in _keys(system, model):
            if found := self._exact.get(key):
                return found
        globs = self._globs.get(system, ())
        return next((found for glob, found in globs if fnmatchcase(model, glob)), None)

    def of(self, target: TargetPolicy) -> Model:
        """What is known of a target's model, with what the target says itself laid over it.

        Raises ValueError when the target's price is not one.
        """
        known = self.find(target.system, target.model) or UNKNOWN
        return replace(
            known,
            price=known.price if target.price is None else compile_price(target.price),
            context_window=_first(target.context_window, known.context_window),
            output_cap=_first(target.output_cap, known.output_cap),
            features=known.features if target.features is None else said(target.features),
        )


def said(features: Iterable[str]) -> frozenset[str]:
    """The features of a model that names them itself. One that names no kind is for chat."""
    found = frozenset(features)
    if not found & KINDS:
        found |= {"chat"}
    if "chat" in found:
        return found | ALWAYS
    return found | {"streaming"} if "completions" in found else found


def _keys(system: str, model: str) -> Iterator[tuple[str, str]]:
    """Where a model may stand in the tables: system and name, the most exact first."""
    if system == _BEDROCK:
        whole = model.rpartition("/")[2]  # of an ARN
        for name in (whole, _BEDROCK_PLACE.sub("", whole)):
            unversioned = _BEDROCK_SUFFIX.sub("", name)
            for one in (name, unversioned, _SUFFIX.sub("", unversioned)):
                yield system, one
        return
    if system == _OPENROUTER:
        maker, _, model = model.partition("/")
        system = _MAKERS.get(maker, system)
        if model.startswith(_OPEN):
            return
        if maker == "anthropic":
            model = model.replace(".", "-")
    yield system, model
    yield system, _SUFFIX.sub("", model)


def load(today: date | None = None) -> Catalogue:
    """Read the tables of the package, with the prices of `today` (UTC).

    Raises ValueError naming the file that is wrong.
    """
    tables = []
    for file in sorted(resources.files(__package__).iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            try:
                tables.append(msgspec.convert(tomllib.loads(file.read_text("utf-8")), _File))
            except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
                raise ValueError(f"{file.name}: {error}") from error
    return Catalogue(tables, today or datetime.now(UTC).date())


def _model(entry: _Entry, table: _File, today: date) -> Model:
    price = compile_price(entry)
    if entry.long is not None:
        price = with_long(price, entry.long.above, compile_price(entry.long))
    if entry.next is not None and today >= entry.next.start:
        price = compile_price(entry.next)
    return Model(
        price=price,
        context_window=entry.context_window,
        output_cap=entry.output_cap,
        features=None if entry.features is None else _features(entry.features, table),
        source=entry.source or table.source,
        date=entry.date.isoformat(),
    )


def _features(names: list[str], table: _File) -> frozenset[str]:
    found = frozenset(_named(names, table))
    return found if found & KINDS else found | {"chat"}


def _named(names: list[str], table: _File) -> Iterator[str]:
    for name in names:
        if name in table.features:
            yield from _named(table.features[name], table)
        elif name in FEATURES:
            yield name
        else:
            raise ValueError(f"{table.systems[0]}: no such feature: {name}")


def _first(mine: int | None, theirs: int | None) -> int | None:
    return theirs if mine is None else mine
