"""A rendered configuration on the real Envoy: it starts, and a change of policy cuts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from extproc.config import load
from tests.unit.config.envoy import Envoy

pytestmark = pytest.mark.e2e
GATEWAY = Path(__file__).parents[3] / "envoy" / "gateway.yaml"


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Envoy]:
    one = Envoy(tmp_path, load(GATEWAY))
    try:
        one.wait_for_workers()
        yield one
    finally:
        one.stop()


def test_every_listener_comes_up(envoy: Envoy) -> None:
    found = envoy.get("listeners?format=json")["listener_statuses"]
    names = {one["name"] for one in found}
    assert names == {"gateway"} | {f"target-{one}" for one in load(GATEWAY).targets}


def test_a_change_of_policy_comes_by_rds_and_touches_no_listener(envoy: Envoy) -> None:
    gateway = load(GATEWAY)
    before = envoy.stats()
    updates = "http.gateway.rds.gateway.update_success"
    route = msgspec.structs.replace(gateway.routes[-1], models={"gpt-4o": "cheap", "*": "flagship"})
    claude = msgspec.structs.replace(gateway.targets["claude-sonnet"], output_cap=1000)
    envoy.write(
        msgspec.structs.replace(
            gateway,
            routes=[*gateway.routes[:-1], route],
            targets={**gateway.targets, "claude-sonnet": claude},
        )
    )
    envoy.wait(lambda: envoy.stats()[updates] > before[updates])
    level = "http.target-claude-sonnet.rds.target-claude-sonnet.update_success"
    envoy.wait(lambda: envoy.stats()[level] > before[level])
    after = envoy.stats()
    for name in ("listener_manager.listener_modified", "cluster_manager.cluster_modified"):
        assert after[name] == before[name]


def test_a_new_target_comes_while_envoy_runs(envoy: Envoy) -> None:
    gateway = load(GATEWAY)
    opus = msgspec.structs.replace(gateway.targets["claude-sonnet"], model="claude-opus-4-5")
    envoy.write(msgspec.structs.replace(gateway, targets={**gateway.targets, "claude-opus": opus}))

    def there() -> bool:
        found = envoy.get("listeners?format=json")["listener_statuses"]
        return "target-claude-opus" in {one["name"] for one in found}

    envoy.wait(there)
    assert envoy.stats()["listener_manager.listener_modified"] == 0
