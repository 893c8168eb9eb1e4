"""Other gateways, where `make bench-peers` has installed them: one process each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from tests.bench import workload
from tests.bench.processes import ROOT, Fleet, free_ports

FOLDER = ROOT / ".peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that runs."""

    name: str
    pid: int
    port: int
    request: bytes


async def litellm(fleet: Fleet, upstream: int) -> Peer | None:
    """LiteLLM's proxy, or None when it is not installed."""
    binary = FOLDER / "litellm" / "bin" / "litellm"
    if not binary.exists():
        return None
    config = fleet.folder / "litellm.yaml"
    config.write_text(f"""\
model_list:
  - model_name: {workload.MODEL}
    litellm_params:
      model: openai/{workload.MODEL}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: simulated
litellm_settings:
  telemetry: false
  num_retries: 0
""")
    (port,) = free_ports(1)
    pid = await fleet.start(
        "litellm",
        str(binary),
        *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
        *("--num_workers", "1"),
        env={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOG": "ERROR",
            "NO_DOCS": "True",
        },
        cwd=fleet.folder,
    )
    return Peer("litellm", pid, port, workload.chat())


async def portkey(fleet: Fleet, upstream: int) -> Peer | None:
    """Portkey's gateway, or None when it is not installed."""
    node = shutil.which("node")
    package = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
    server = package / "build" / "start-server.js"
    if node is None or not server.exists():
        return None
    (port,) = free_ports(1)
    pid = await fleet.start(
        "portkey",
        *(node, str(server), f"--port={port}", "--headless"),
        env={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"},
        cwd=fleet.folder,
    )
    extra = (
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", f"http://127.0.0.1:{upstream}/v1"),
    )
    return Peer("portkey", pid, port, workload.chat(extra=extra))


STARTERS = {"litellm": litellm, "portkey": portkey}
