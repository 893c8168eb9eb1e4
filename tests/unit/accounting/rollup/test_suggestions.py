"""Settings as they are suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from ddsketch import DDSketch
from ruamel.yaml import YAML

from extproc.accounting.rollup.repeats import RepeatSum
from extproc.accounting.rollup.sketches import ACCURACY
from extproc.accounting.rollup.suggestions import answer_times, caching, round_up, yaml
from extproc.config.findings import ConfigError
from extproc.config.loading import load


@pytest.mark.parametrize(
    ("number", "rounded"),
    [(0, 0), (7, 7), (99, 99), (100, 100), (101, 110), (990, 990), (991, 1000), (123456, 130000)],
)
def test_rounding_goes_up_to_two_digits(number: int, rounded: int) -> None:
    assert round_up(number) == rounded


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "no",
        "True",
        "a: b",
        "- x",
        "#",
        "<b>\n\"'",
        "1e3",
        "12:30",
        "",
        "ü\u2028",
        "~",
        "{",
    ],
)
def test_settings_are_yaml_whatever_the_names_are(name: str) -> None:
    text = yaml({"tiers": {name: {"tokens": "12000/h"}}})
    assert YAML(typ="safe").load(text) == {"tiers": {name: {"tokens": "12000/h"}}}


def _gateway() -> dict[str, Any]:
    return {
        "providers": {"p": {"dialect": "openai", "url": "http://127.0.0.1:8000"}},
        "targets": {"claude": {"provider": "p", "model": "m"}},
        "chains": {"c": ["claude"]},
        "routes": [{"name": "r", "chain": "c"}],
        "identity": "open",
    }


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(0.01, 0.1, 0.1), (0.6, 0.9, 0.92), (8.0, 12.0, 13.0)]
)
def test_a_suggested_time_out_is_one_that_the_configuration_takes(
    tmp_path: Path, seconds: float, least: float, most: float
) -> None:
    sketch = DDSketch(ACCURACY)
    for _ in range(200):
        sketch.add(seconds)
    (suggested,), _ = answer_times({"claude": sketch})
    gateway = _gateway()
    setting = YAML(typ="safe").load(suggested.setting)
    gateway["targets"]["claude"] |= setting["targets"]["claude"]
    file = tmp_path / "gateway.yaml"
    file.write_bytes(msgspec.json.encode(gateway))  # JSON is YAML
    loaded = load(file)
    assert least <= loaded.targets["claude"].timeout <= most


def test_a_suggested_cache_is_one_that_a_route_takes(tmp_path: Path) -> None:
    (suggested,) = caching([RepeatSum(route="r", requests=9, hits=3, saved=1)])
    gateway = _gateway()
    gateway["routes"][0] |= YAML(typ="safe").load(suggested.setting)
    file = tmp_path / "gateway.yaml"
    file.write_bytes(msgspec.json.encode(gateway))
    load(file)
    gateway["routes"][0]["cache"]["ttl"] = "a day"
    file.write_bytes(msgspec.json.encode(gateway))
    with pytest.raises(ConfigError, match="ttl"):
        load(file)
