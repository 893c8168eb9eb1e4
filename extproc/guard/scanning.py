"""Which scanner the service looks through texts with, as `--guard` names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.guard import Scanner
from extproc.guard.local import LocalScanner

NAMES: Final = ("default", "presidio", "http")
TOKEN: Final = "TOLLGATE_GUARD_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT: Final = 2.0
"""Seconds that Presidio or the endpoint has for the texts of a body."""


def scanner(
    name: str, url: str | None, environ: Mapping[str, str], *, timeout: float = TIMEOUT
) -> Scanner:
    """The scanner called so. `url`: of the endpoint of `http`; `timeout`: seconds that Presidio or
    the endpoint has for the texts of a body. With Presidio it takes seconds to be made. Raises
    ValueError; its text says what to do."""
    check(name, url, environ)
    if name == "presidio":
        from extproc.guard.presidio import PresidioScanner, analyzer  # noqa: PLC0415 - only with the extra

        return PresidioScanner(analyzer(), timeout=timeout)
    if url is not None:
        from extproc.guard.endpoint import Endpoint, HttpScanner  # noqa: PLC0415 - seldom needed

        return HttpScanner(Endpoint(url, environ.get(TOKEN) or None, timeout=timeout))
    return LocalScanner()


def check(name: str, url: str | None, environ: Mapping[str, str]) -> None:
    """Whether there can be such a scanner, at once. Raises ValueError; its text says what to do."""
    if name not in NAMES:
        raise ValueError(f"--guard is one of {', '.join(NAMES)}")
    if name == "http":
        if url is None:
            raise ValueError("--guard http needs --guard-url: the endpoint that is asked")
        from extproc.guard.endpoint import Endpoint  # noqa: PLC0415 - seldom needed

        Endpoint(url, environ.get(TOKEN) or None)
    elif url is not None:
        raise ValueError("--guard-url goes with --guard http")
    if name == "presidio":
        from extproc.guard.presidio import installed  # noqa: PLC0415 - only with the extra

        installed()
