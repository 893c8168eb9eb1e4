"""Records as files: CSV, JSON lines, Parquet. Written as they come, in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, Literal

import click
import msgspec

from extproc.accounting.cost import usd
from extproc.cli.asking import Failed
from extproc.cli.shown import csv_line
from extproc.cli.writing import opened
from extproc.records import Cost, RequestRecord, Usage

BATCH: Final = 10_000
"""Records of one row group of a Parquet file."""

Kind = Literal["text", "int", "float", "bool", "time", "usd", "map", "pairs", "json"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an export."""

    name: str
    kind: Kind
    of: Callable[[RequestRecord], Any]


def _usage(name: str) -> Callable[[RequestRecord], int | None]:
    return lambda record: None if record.usage is None else getattr(record.usage, name)


def _cost(name: str) -> Callable[[RequestRecord], int | None]:
    return lambda record: None if record.cost is None else getattr(record.cost, name)


def _same(name: str) -> Callable[[RequestRecord], Any]:
    return lambda record: getattr(record, name)


def _said(name: str) -> Callable[[RequestRecord], Any]:
    return lambda record: getattr(record.attribution, name)


_COUNTS: Final = [name for name in Usage.__struct_fields__ if name != "estimated"]
_PARTS: Final = [name for name in Cost.__struct_fields__ if name != "total"]

COLUMNS: Final = (
    Column("id", "text", _same("id")),
    Column("started", "time", _same("started")),
    Column("duration", "float", _same("duration")),
    Column("ttft", "float", _same("ttft")),
    Column("queued", "float", _same("queued")),
    Column("admission", "float", _same("admission")),
    Column("upstream", "float", _same("upstream")),
    Column("kind", "text", _same("kind")),
    Column("operation", "text", _same("operation")),
    Column("stream", "bool", _same("stream")),
    Column("status", "int", _same("status")),
    Column("error_type", "text", _same("error_type")),
    Column("aborted", "bool", _same("aborted")),
    Column("identity", "text", _same("identity")),
    Column("key", "text", _same("key")),
    Column("tenant", "text", _same("tenant")),
    Column("team", "text", _said("team")),
    Column("user", "text", _said("user")),
    Column("tier", "text", _same("tier")),
    Column("feature", "text", _said("feature")),
    Column("session", "text", _said("session")),
    Column("priority", "text", _said("priority")),
    Column("labels", "map", _said("labels")),
    Column("route", "text", _same("route")),
    Column("chain", "text", _same("chain")),
    Column("request_model", "text", _same("request_model")),
    Column("target", "text", _same("target")),
    Column("provider", "text", _same("provider")),
    Column("response_model", "text", _same("response_model")),
    Column("attempts", "int", _same("attempts")),
    Column("refusals", "pairs", _same("refusals")),
    Column("credentials", "text", _same("credentials")),
    Column("cache", "text", _same("cache")),
    Column("cache_kind", "text", _same("cache_kind")),
    Column("cache_entry", "text", _same("cache_entry")),
    Column("cache_score", "float", _same("cache_score")),
    *(Column(f"{name}_tokens", "int", _usage(name)) for name in _COUNTS),
    Column("input_estimate", "int", _same("input_estimate")),
    Column("estimated", "bool", _usage("estimated")),
    Column("cost_nano_usd", "int", _cost("total")),
    Column("cost_usd", "usd", _cost("total")),
    *(Column(f"cost_{name}_nano_usd", "int", _cost(name)) for name in _PARTS),
    Column("saved_nano_usd", "int", _same("saved")),
    Column("saved_usd", "usd", _same("saved")),
    Column("ignored", "text", lambda record: ",".join(record.ignored) or None),
    Column("fingerprint", "text", _same("fingerprint")),
    Column("observed", "json", lambda record: record.observed or None),
    Column("guard", "json", lambda record: record.guard or None),
)
"""Durations in seconds. A figure that is not known is empty, which is not 0."""

_decoder = msgspec.json.Decoder(RequestRecord)


def write(form: str, lines: Iterator[bytes], output: Path | None) -> int:
    """Write records (JSON) as `csv`, `jsonl` or `parquet`; returns how many. Raises
    click.ClickException; a file is then not there, or as it was."""
    if form == "parquet":
        _arrow()
    # Asked before anything is written: a refusal leaves no empty file, and no head without rows.
    lines = itertools.chain([one for one in (next(lines, None),) if one is not None], lines)
    with opened(output) as out:
        if form == "jsonl":
            return _jsonl(lines, out)
        return _csv(_read(lines), out) if form == "csv" else _parquet(_read(lines), out)


def _read(lines: Iterator[bytes]) -> Iterator[RequestRecord]:
    for line in lines:
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Failed(f"what came is no record: {error}") from error


def _jsonl(lines: Iterator[bytes], out: IO[bytes]) -> int:
    number = 0
    for line in lines:
        out.write(line + b"\n")
        number += 1
    return number


def _csv(records: Iterator[RequestRecord], out: IO[bytes]) -> int:
    number = 0
    out.write(csv_line(column.name for column in COLUMNS).encode())
    for record in records:
        out.write(csv_line(_flat(column, column.of(record)) for column in COLUMNS).encode())
        number += 1
    return number


def _flat(column: Column, value: Any) -> object:
    """A value as CSV has it."""
    if value is None or column.kind in {"text", "int", "float"}:
        return value
    match column.kind:
        case "time":
            return datetime.fromtimestamp(value, UTC).isoformat(timespec="microseconds")
        case "usd":
            return Decimal(usd(value))
        case "bool":
            return "true" if value else "false"
    found = dict(value) if column.kind == "map" else value
    return msgspec.json.encode(found).decode() if found else None


# --- Parquet ------------------------------------------------------------------------------


def _arrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and large
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(
            "Parquet needs pyarrow: pip install 'tollgate[parquet]'; --format csv and jsonl do not"
        ) from error
    return pa


def _parquet(records: Iterator[RequestRecord], out: IO[bytes]) -> int:
    pa = _arrow()
    schema = _schema(pa)
    number = 0
    with pa.parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        batch: list[RequestRecord] = []
        for record in records:
            batch.append(record)
            if len(batch) == BATCH:
                writer.write_batch(_batch(pa, schema, batch))
                number += len(batch)
                batch = []
        if batch:
            writer.write_batch(_batch(pa, schema, batch))
    return number + len(batch)


def _schema(pa: Any) -> Any:
    types = {
        "text": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "usd": pa.decimal128(20, 9),
        "map": pa.map_(pa.string(), pa.string()),
        "pairs": pa.list_(pa.struct([("target", pa.string()), ("reason", pa.string())])),
        "json": pa.string(),
    }
    return pa.schema([(column.name, types[column.kind]) for column in COLUMNS])


def _batch(pa: Any, schema: Any, records: list[RequestRecord]) -> Any:
    arrays = [
        pa.array([_typed(column, column.of(record)) for record in records], field.type)
        for column, field in zip(COLUMNS, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _typed(column: Column, value: Any) -> object:
    """A value as Arrow takes it."""
    if value is None:
        return None
    match column.kind:
        case "time":
            return datetime.fromtimestamp(value, UTC)
        case "usd":
            return Decimal(value).scaleb(-9)
        case "pairs":
            return [{"target": target, "reason": reason} for target, reason in value]
        case "json":
            return msgspec.json.encode(value).decode()
        case _:
            return value
