"""`where=NAME=VALUE` on single records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from extproc.accounting.rollup import Condition, QuestionError
from extproc.accounting.rollup.question import MOST_WHERE, conditions
from extproc.accounting.rollup.views import LABEL
from extproc.admin.answers import Refused
from extproc.records import RequestRecord

Field = Callable[[RequestRecord], Any]

FIELDS: Final[Mapping[str, Field]] = {
    "tenant": lambda record: record.tenant,
    "team": lambda record: record.attribution.team,
    "tier": lambda record: record.tier,
    "key": lambda record: record.key,
    "feature": lambda record: record.attribution.feature,
    "user": lambda record: record.attribution.user,
    "session": lambda record: record.attribution.session,
    "route": lambda record: record.route,
    "model": lambda record: record.response_model or record.request_model,
    "target": lambda record: record.target,
    "provider": lambda record: record.provider,
    "cache": lambda record: record.cache,
    "status": lambda record: record.status,
    "error_type": lambda record: record.error_type,
    "operation": lambda record: record.operation,
    "identity": lambda record: record.identity,
    "kind": lambda record: record.kind,
}
"""What a record can be chosen by, beside `label:NAME`: the rollups' dimensions and more."""

SEVERAL: Final[Mapping[str, Callable[[RequestRecord], Collection[str]]]] = {
    "guard_type": lambda record: {one.type for one in record.guard},
    "guard_action": lambda record: {one.action for one in record.guard},
    "guard_direction": lambda record: {one.direction for one in record.guard},
    "guard_mode": lambda record: {"observe" if one.observed else "enforce" for one in record.guard},
}
"""The same of which a record may have several values: one of them is enough."""

_decoder = msgspec.json.Decoder(RequestRecord)


@dataclass(frozen=True, slots=True)
class Matching:
    """All of some conditions."""

    wanted: tuple[Condition, ...]

    def takes(self, line: bytes) -> bool:
        """Whether a record (JSON) is meant. What is no record is, so that nothing gets lost."""
        if not self.wanted:
            return True
        try:
            record = _decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return True
        return all(_has(record, one) is not one.negated for one in self.wanted)


def _has(record: RequestRecord, wanted: Condition) -> bool:
    if (several := SEVERAL.get(wanted.dimension)) is not None:
        return not wanted.values.isdisjoint(several(record) or (None,))
    return _value(record, wanted.dimension) in wanted.values


def _value(record: RequestRecord, name: str) -> str | None:
    if name.startswith(LABEL):
        return dict(record.attribution.labels).get(name.removeprefix(LABEL))
    value = FIELDS[name](record)
    return None if value is None or value == "" else str(value)


def matching(sent: Sequence[str]) -> Matching:
    """Conditions as the rollups read them. Raises Refused (400)."""
    if len(sent) > MOST_WHERE:
        raise Refused(400, f"more than {MOST_WHERE} conditions", param="where")
    try:
        wanted = conditions(sent)
    except QuestionError as error:
        raise Refused(400, str(error), param="where") from error
    for one in wanted:
        name = one.dimension
        if (
            name not in FIELDS
            and name not in SEVERAL
            and (not name.startswith(LABEL) or name == LABEL)
        ):
            known = ", ".join([*FIELDS, *SEVERAL, f"{LABEL}NAME"])
            raise Refused(400, f"no {name[:80]!a} in a record; there are: {known}", param="where")
    return Matching(wanted)
