"""Commands on an admin port that runs beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from extproc.cli import main
from tests.unit.admin.serving import Served, in_thread

Run = Callable[..., Result]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "data"
    folder.mkdir()
    with in_thread(folder) as found:
        yield found


@pytest.fixture
def run(served: Served) -> Run:
    """Runs `tollgate` on the port."""

    def command(*arguments: str, **more: Any) -> Result:
        env = {"TOLLGATE_ADMIN": served.url, "TOLLGATE_ADMIN_TOKEN": None}
        return CliRunner().invoke(main, arguments, env=env, **more)

    return command


def said(result: Result) -> Any:
    """The JSON on standard output of a command that went well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
