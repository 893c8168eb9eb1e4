from __future__ import annotations

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
