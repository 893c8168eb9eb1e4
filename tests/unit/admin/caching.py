"""What tests ask of the cache over the admin port, on every store that keeps answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.admin.conftest import Asked
from tests.unit.admin.serving import Stores, stores


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    answers = request.param
    if answers == "redis":
        answers = request.getfixturevalue("redis_url")
    async with stores(tmp_path, answers) as found:
        yield found


async def got(asked: Asked, path: str, **query: str) -> Any:
    async with asked.get(path, params=query) as response:
        assert response.status == 200, await response.text()
        assert response.headers["cache-control"] == "no-store"
        return await response.json()


async def refused(asked: Asked, method: str, path: str, **query: str) -> tuple[int, Any]:
    async with asked.request(method, path, params=query) as response:
        found = await response.json()
        assert set(found) == {"error"}
        return response.status, found["error"]


async def sent(
    asked: Asked, lines: Sequence[dict[str, Any] | bytes], status: int = 200, **settings: Any
) -> Any:
    """What became of an import."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    if settings:
        raw.insert(0, json.dumps({"import": settings}).encode())
    async with asked.post(
        "/cache/entries",
        data=b"\n".join(raw),
        headers={"content-type": "application/x-ndjson"},
    ) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def ids(asked: Asked, **query: str) -> set[str]:
    return {one["id"] for one in (await got(asked, "/cache/entries", **query))["entries"]}
