"""The same sums straight from the records, written another way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from extproc.records import RequestRecord
from extproc.state import MEASURES


def value(record: RequestRecord, dimension: str) -> str | None:
    """A record's value of a dimension."""
    said = record.attribution
    if dimension in {"user", "feature", "team"}:
        found: str | None = getattr(said, dimension)
        return found
    if dimension.startswith("label:"):
        return dict(said.labels).get(dimension[6:])
    if dimension == "model":
        return record.response_model or record.request_model
    if dimension in {"hour", "day"}:
        when = datetime.fromtimestamp(int(record.started), UTC)
        return when.strftime("%Y-%m-%d" if dimension == "day" else "%Y-%m-%dT%H:00:00Z")
    known: str | None = getattr(record, dimension)
    return known


def sums(records: Iterable[RequestRecord]) -> dict[str, int]:
    """All measures of some records."""
    found = dict.fromkeys(MEASURES, 0)
    for record in records:
        if record.kind == "request":
            found["requests"] += 1
            found["errors"] += bool(record.status >= 400 or record.error_type)
            found["aborted"] += record.aborted
            found["walked"] += record.attempts > 1
            found["cache_hits"] += record.cache in ("hit", "semantic")
        if record.cost:
            found["cost"] += record.cost.total
        found["saved"] += record.saved
        if usage := record.usage:
            if not record.cost and record.operation != "count_tokens":
                found["unpriced"] += 1
            if usage.estimated:
                found["estimated"] += 1
            found["input_tokens"] += usage.input
            found["output_tokens"] += usage.output
            found["cached_input_tokens"] += usage.cached_input
            found["cache_write_tokens"] += usage.cache_write
            found["reasoning_tokens"] += usage.reasoning
    return found


def groups(
    records: Iterable[RequestRecord], by: Iterable[str]
) -> dict[tuple[str | None, ...], list[RequestRecord]]:
    """Records by their values."""
    names = tuple(by)
    found: dict[tuple[str | None, ...], list[RequestRecord]] = {}
    for record in records:
        found.setdefault(tuple(value(record, name) for name in names), []).append(record)
    return found
