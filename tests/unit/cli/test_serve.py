from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click
import pytest
from click.testing import CliRunner

from extproc.cache.embedders.minilm import COMMANDS
from extproc.cache.settings import Caching
from extproc.cli.caching import Flags, caching, flags
from extproc.cli.serve import serve


def test_an_alert_url_that_cannot_be_is_told_before_anything_runs() -> None:
    found = CliRunner().invoke(serve, ["--alert-url", "ftp://host/"])
    assert found.exit_code == 2
    assert "the alerts' URL must be http:// or https:// with a host" in found.output


def test_a_token_that_no_header_can_carry_is_told_before_anything_runs() -> None:
    environment = {"TOLLGATE_ALERT_TOKEN": "a\nb"}
    found = CliRunner().invoke(serve, ["--alert-url", "http://host/"], env=environment)
    assert found.exit_code == 2
    assert "TOLLGATE_ALERT_TOKEN must be printable ASCII" in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--guard", "http"], "--guard http needs --guard-url"),
        (["--guard-url", "http://host/"], "--guard-url goes with --guard http"),
        (["--guard", "http", "--guard-url", "host"], "--guard-url must be http:// or https://"),
        (["--guard", "other"], "'other' is not one of"),
        (["--guard-timeout", "0"], "0.0 is not in the range"),
    ],
)
def test_a_detector_that_cannot_be_is_told_before_anything_runs(
    arguments: list[str], said: str
) -> None:
    found = CliRunner().invoke(serve, arguments)
    assert found.exit_code == 2
    assert said in found.output


def test_the_detector_may_be_named_by_the_environment() -> None:
    found = CliRunner().invoke(serve, [], env={"TOLLGATE_GUARD": "http"})
    assert found.exit_code == 2
    assert "--guard http needs --guard-url" in found.output


HTTP = ["--embedder", "http", "--embedder-url", "http://host/", "--embedder-model", "m"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--embedder", "http"], "--embedder http needs --embedder-url"),
        (HTTP[:4], "--embedder http needs --embedder-model"),
        ([*HTTP[:3], "host", *HTTP[4:]], "--embedder http: an embedder's URL must be http:// or"),
        ([*HTTP[:3], "http://me:secret@host", *HTTP[4:]], "must hold no user: set TOLLGATE_EMBED"),
        ([*HTTP[:5], " "], "needs the name of the endpoint's model"),
        (["--embedder-url", "http://host/"], "go with --embedder http"),
        (["--embedder-model", "m"], "go with --embedder http"),
        (["--embedder", "bert"], "'bert' is not one of"),
        (["--vectors", "redis://:secret@host/"], "--vectors must be postgresql://"),
        (["--cache-entries", "0"], "0 is not in the range"),
        (["--cache-mib", "much"], "'much' is not a valid integer"),
        (["--judge-url", "host"], "a judge's URL must be http:// or https://"),
    ],
)
def test_a_cache_that_cannot_be_is_told_before_anything_runs(
    arguments: list[str], said: str
) -> None:
    found = CliRunner().invoke(serve, arguments)
    assert found.exit_code == 2
    assert said in " ".join(found.output.split())
    assert "secret" not in found.output


def test_a_token_for_an_embedder_that_no_header_can_carry_is_told() -> None:
    found = CliRunner().invoke(serve, HTTP, env={"TOLLGATE_EMBEDDER_TOKEN": "a\nb"})
    assert found.exit_code == 2
    assert "TOLLGATE_EMBEDDER_TOKEN must be printable ASCII" in found.output


def test_a_model_that_was_not_built_comes_with_what_builds_it(tmp_path: Path) -> None:
    arguments = ["--embedder", "minilm", "--data", str(tmp_path)]
    found = CliRunner().invoke(serve, arguments, env={"TOLLGATE_MODELS": ""})
    assert found.exit_code == 2
    assert str(tmp_path / "models" / "minilm-int8.onnx") in found.output
    for command in COMMANDS:
        assert f"\n  {command}\n" in found.output
    elsewhere = CliRunner().invoke(serve, arguments, env={"TOLLGATE_MODELS": "/nowhere"})
    assert "/nowhere/minilm-int8.onnx" in elsewhere.output


def test_the_embedder_may_be_named_by_the_environment() -> None:
    environment = {"TOLLGATE_EMBEDDER": "http", "TOLLGATE_EMBEDDER_URL": "http://host/"}
    found = CliRunner().invoke(serve, [], env=environment)
    assert found.exit_code == 2
    assert "--embedder http needs --embedder-model" in found.output


def test_what_the_flags_say_is_what_the_cache_is_made_of() -> None:
    found: list[Caching] = []

    @click.command()
    @flags
    def made(**said: Unpack[Flags]) -> None:
        found.append(caching(said))

    CliRunner().invoke(made, [])
    assert found == [Caching()]
    arguments = [*HTTP, "--vectors", "postgresql://host/", "--cache-entries", "7", "--cache-mib"]
    CliRunner().invoke(made, [*arguments, "3"])
    assert found[1:] == [
        Caching(
            embedder="http",
            embedder_url="http://host/",
            embedder_model="m",
            vectors="postgresql://host/",
            entries=7,
            bytes=3 << 20,
        )
    ]
