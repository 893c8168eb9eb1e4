"""A section of gateway.yaml, on the gateway or on a route, with nothing behind its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.config.findings import Path
from extproc.config.providers import Mistake


def unsaid(data: Any, name: str, message: str, rule: str) -> Iterator[Mistake]:
    """Every place where the section `name` is null. `data`: the document."""
    if not isinstance(data, dict):
        return
    places: list[tuple[Path, Any]] = [((), data)]
    if isinstance(routes := data.get("routes"), list):
        places += [(("routes", index), one) for index, one in enumerate(routes)]
    for path, node in places:
        if isinstance(node, dict) and name in node and node[name] is None:
            yield Mistake((*path, name), message, rule)
