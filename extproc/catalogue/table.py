"""The dated tables beside this file, read once, and how a model is found in them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from importlib import resources
from typing import Final

import msgspec

from extproc.catalogue.price import Price, compile_price, with_long
from extproc.policy import TargetPolicy

FEATURES: Final = frozenset(
    {
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
    }
)
"""What a model may or may not do, by name."""

_SUFFIX: Final = re.compile(r"[-@](?:20\d{2}-?\d{2}-?\d{2}|\d{3}|latest)$")
"""How providers name one version of a model: `-2024-08-06`, `-20250929`, `@20250929`, `-002`,
`-latest`."""
ALWAYS: Final = frozenset({"streaming", "system"})
"""What every target has that says itself what it can do: each wire format carries both."""

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


UNKNOWN: Final = Model()
"""A model that is not in the tables."""


class _Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices from a day that the provider has announced."""

    start: date = msgspec.field(name="from")
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    batch_input: str | None = None
    batch_output: str | None = None


class _Long(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of requests with more than `above` input tokens."""

    above: int
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    batch_input: str | None = None
    batch_output: str | None = None


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model of a table file."""

    match: list[str]
    """Exact names, or shell patterns with `*`."""
    date: date
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    batch_input: str | None = None
    batch_output: str | None = None
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
        for name in (model, _SUFFIX.sub("", model)):
            if found := self._exact.get((system, name)):
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
            features=known.features if target.features is None else ALWAYS | set(target.features),
        )


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
    found: set[str] = set()
    for name in names:
        if name in table.features:
            found |= _features(table.features[name], table)
        elif name in FEATURES:
            found.add(name)
        else:
            raise ValueError(f"{table.systems[0]}: no such feature: {name}")
    return frozenset(found)


def _first(mine: int | None, theirs: int | None) -> int | None:
    return theirs if mine is None else mine
