"""Entries as JSON for people: never what was asked, and the answer only where it is asked for."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from extproc.admin.cache.bodies import words
from extproc.state.answers import Entry, Listed, Stats, shown

NANO: Final = 1_000_000_000


def listed(one: Listed) -> dict[str, Any]:
    """An entry of a list. Times in UTC epoch seconds, sizes in bytes, `saved` in dollars."""
    head = one.head
    return {
        "id": shown(head.id),
        "answer_id": shown(head.answer),
        "route": head.route,
        "model": head.model,
        "target": head.target or None,
        "kind": head.kind,
        "tags": list(head.tags),
        "tenant": head.tenant or None,
        "created": head.created,
        "expires": head.expires,
        "size": one.size,
        "hits": one.hits,
        "saved_usd": one.saved / NANO,
        "cost_usd": head.cost / NANO,
        "embedder": head.embedder or None,
        "family": head.family.hex()[:16],
    }


def answered(entry: Entry) -> dict[str, Any]:
    """What an entry answers: its words, and all of it."""
    try:
        body = msgspec.json.decode(entry.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = entry.value.decode("utf-8", "replace")
    return {"answer": words(body), "body": body}


def stats(found: Stats, corrupt: int) -> dict[str, Any]:
    """How a store stands. `corrupt`: as this process has seen it."""
    said = msgspec.structs.asdict(found)
    saved = said.pop("saved")
    return {**said, "saved_usd": saved / NANO, "corrupt": corrupt}
