"""docs/cache.md against the code: examples load, links lead somewhere, its words are ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Command, Group

from extproc.cache.rules import rules
from extproc.cli import main
from extproc.config.cache import cache_field
from extproc.config.loading import load
from extproc.telemetry import names
from tests.unit.config.test_limits_docs import whole

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cache.md").read_text()
EXAMPLES = [
    one
    for one in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if one.startswith("cache:")
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_load(text: str) -> None:
    gateway = load(whole(text))
    assert rules(cache_field(gateway.cache), None) is not None


def test_all_examples_are_tested() -> None:
    assert len(EXAMPLES) == 2


def test_metrics_that_are_named_are_there() -> None:
    known = "\n".join(one.name.replace(".", "_") for one in names.ALL)
    named = set(re.findall(r"\btollgate_cache_[a-z_]+\b", PAGE))
    assert named
    for one in named:
        assert re.sub(r"(_usd|_seconds)?(_bucket|_total)?$", "", one) in known, one


def test_commands_that_are_named_are_there() -> None:
    group = main.get_command(None, "cache")  # type: ignore[arg-type]
    assert isinstance(group, Group)
    for name in re.findall(r"`tollgate cache ([a-z]+)", PAGE):
        assert isinstance(group.commands.get(name), Command), name


def test_pictures_and_pages_are_there() -> None:
    for link in re.findall(r"\]\(([a-z/-]+\.(?:md|svg))", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
