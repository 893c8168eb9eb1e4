"""Configuration. The door: `load` gateway.yaml, `render` it for Envoy, `check` either.

Envoy's YAML is the truth at run time; gateway.yaml is the short form for people who start.
Envoy's message types are imported when something is rendered or checked, not before: that
takes about a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extproc.config.binary import find_envoy
from extproc.config.findings import ConfigError, Finding, Severity
from extproc.config.gateway import Gateway
from extproc.config.loading import load
from extproc.config.options import RenderOptions
from extproc.config.simulate import keyless, placeholders, simulated

if TYPE_CHECKING:
    from extproc.config.rendering import Rendered

__all__ = [
    "ConfigError",
    "Finding",
    "Gateway",
    "RenderOptions",
    "Severity",
    "check",
    "find_envoy",
    "keyless",
    "load",
    "placeholders",
    "render",
    "simulated",
]


def render(gateway: Gateway, options: RenderOptions | None = None) -> Rendered:
    """Envoy's configuration of `gateway`. Raises ConfigError."""
    from extproc.config.rendering import render as run  # noqa: PLC0415 - a second of imports

    return run(gateway, options)


def check(path: Path | str) -> list[Finding]:
    """What is wrong with a gateway.yaml or an Envoy configuration, worst first."""
    from extproc.config.checking import check as run  # noqa: PLC0415 - a second of imports

    return run(Path(path))
