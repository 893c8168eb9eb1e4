from __future__ import annotations

import pytest
from click.testing import CliRunner

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
