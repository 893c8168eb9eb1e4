"""Entries to put into the cache, and where a gateway looks for the answer to a request."""

from __future__ import annotations

import json
import time
from typing import Any

from extproc.cache.control import control
from extproc.cache.fingerprint import Place, asked, fields, scope_key
from extproc.cache.rules import rules
from extproc.cache.words import Words
from extproc.policy import CacheField
from extproc.state.answers import Entry, Head, new_id
from tests.unit.admin.serving import SECRET

KEY = SECRET.derive("cache")
WORDS = Words(KEY)


def key(name: str | int) -> bytes:
    return str(name).encode().rjust(32, b".")


def entry(name: str | int, *, vector: bytes = b"", value: bytes = b"{}", **other: Any) -> Entry:
    made = new_id()
    now = time.time()
    said: dict[str, Any] = {
        "id": made,
        "exact": key(name),
        "family": key("family"),
        "scope": key("scope"),
        "route": "chat",
        "model": "gpt",
        "kind": "default",
        "created": now,
        "expires": now + 3600,
        "answer": made,
        "target": "openai",
        "provider_model": "",
        "cost": 1_500_000,
        "embedder": "static" if vector else "",
    }
    return Entry(Head(**(said | other)), value, vector)


def exact_key(
    body: dict[str, Any],
    *,
    format_: str = "chat",
    route: str = "chat",
    tenant: str | None = None,
    policy: CacheField = "semantic",
    headers: dict[str, str] | None = None,
) -> bytes:
    """Where the gateway looks for the answer to a body, by its own parts."""
    found = rules(policy, None)
    assert found is not None
    wishes = control(headers or {}, found)
    scope = scope_key(KEY, wishes.scope or found.scope, tenant=tenant)
    assert scope is not None
    place = Place(
        format=format_, route=route, scope=scope, namespace=wishes.namespace, seed=wishes.seed
    )
    return asked(fields(json.dumps(body).encode()), place).exact


def chat(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": question}], **more}
