"""A real Redis for what several workers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.unit.state.conftest import free_port, serving


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("redis") / "redis.sock"
    with serving(path, cluster_port=free_port()):
        yield f"unix://{path}"


@pytest.fixture
def redis_url(redis_session: str) -> str:
    """A Redis with nothing in it."""
    with redis.Redis.from_url(redis_session) as client:
        client.flushall()
    return redis_session
