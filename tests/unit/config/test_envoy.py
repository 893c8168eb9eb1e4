"""A rendered configuration on the real Envoy: it starts, and a change of policy cuts nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.config import Gateway, RenderOptions, find_envoy, load, render

pytestmark = pytest.mark.e2e
GATEWAY = Path(__file__).parents[3] / "envoy" / "gateway.yaml"
WAIT = 20.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Envoy:
    """One Envoy on a rendered folder."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.bootstrap = self.write(gateway)
        binary = find_envoy()
        assert binary is not None
        self._log = (folder / "envoy.log").open("w")
        command = [str(binary), "--disable-hot-restart", "-l", "warn", "-c", str(self.bootstrap)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def write(self, gateway: Gateway) -> Path:
        options = RenderOptions(
            listen=f"127.0.0.1:{self.port}",
            admin=f"127.0.0.1:{self.admin}",
            extproc=[f"unix:{self.folder}/0.sock"],
            access_log=str(self.folder / "access.log"),
        )
        return render(gateway, options).write_dir(self.folder)

    def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.admin}/{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def stats(self) -> dict[str, int]:
        found = self.get("stats?format=json&filter=listener_manager|rds|cluster_manager")["stats"]
        return {one["name"]: one["value"] for one in found if "name" in one}

    def wait(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while True:
            assert self._process.poll() is None, (self.folder / "envoy.log").read_text()
            try:
                if ready():
                    return
            except (OSError, KeyError):
                pass
            assert time.monotonic() < end, (self.folder / "envoy.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(WAIT)
        self._log.close()


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Envoy]:
    one = Envoy(tmp_path, load(GATEWAY))
    try:
        one.wait(lambda: one.stats()["listener_manager.workers_started"] == 1)
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
