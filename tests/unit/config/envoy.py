"""A real Envoy on a rendered configuration."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from extproc.config import Gateway, RenderOptions, find_envoy, render

WAIT = 20.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Envoy:
    """One Envoy on a rendered folder. `edit` changes what was rendered before Envoy reads it, and
    `env` is added to its environment."""

    def __init__(
        self,
        folder: Path,
        gateway: Gateway,
        *,
        edit: Callable[[Path], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.bootstrap = self.write(gateway)
        if edit is not None:
            edit(folder)
        binary = find_envoy()
        assert binary is not None
        self._log = (folder / "envoy.log").open("w")
        command = [str(binary), "--disable-hot-restart", "-l", "warn", "-c", str(self.bootstrap)]
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )

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

    def wait_for_workers(self) -> None:
        self.wait(lambda: self.stats()["listener_manager.workers_started"] == 1)

    def healthy(self, cluster: str) -> bool:
        """Some host of a cluster may be asked."""
        found = self.get(f"stats?format=json&filter=^cluster.{cluster}.membership_healthy$")
        return any(one.get("value") for one in found["stats"])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(WAIT)
        self._log.close()
