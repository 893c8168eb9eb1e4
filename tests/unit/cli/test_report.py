"""`tollgate report`."""

from __future__ import annotations

import pytest

from extproc.cli.report import told
from extproc.records import Observation
from tests.unit.admin.serving import Served, record
from tests.unit.cli.conftest import Run, said


def test_what_would_have_been_done(run: Run, served: Served) -> None:
    cached = (Observation(capability="cache", outcome="served_from_cache", saved=30_000_000),)
    served.write(
        *(
            record(n, dollars=0.05, observed=cached, fingerprint=f"{n:032x}", ago=7200.0 - n)
            for n in range(3)
        ),
        record(9, refusals=(("claude", "capacity"),), attempts=2),
    )
    result = run("report", "--since", "7d")
    assert result.exit_code == 0, result.output
    assert "4 requests, $0.1600; 3 of them on routes that only observe" in result.stdout
    assert "served_from_cache" in result.stdout
    assert "$0.0900" in result.stdout
    assert "capacity 1" in result.stdout
    assert said(run("report", "--json"))["observed"][0]["saved_usd"] == 0.09


def test_nothing_to_report(run: Run) -> None:
    result = run("report", "--since", "1d", "--until", "1h")
    assert result.exit_code == 0, result.output
    assert "0 requests" in result.stdout


@pytest.mark.parametrize("flags", [["--since", "x"], ["--until", "x"], ["--top", "1"], ["extra"]])
def test_bad_flags(flags: list[str], run: Run) -> None:
    assert run("report", *flags).exit_code == 2


def test_too_long(run: Run) -> None:
    result = run("report", "--since", "90d")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "31 days" in result.stderr


def test_what_it_says_is_escaped() -> None:
    evil = "\x1b[2J\nx"
    found = {
        "since": "a",
        "until": "b",
        "requests": 1,
        "observed_requests": 1,
        "cost_usd": 1,
        "observed": [
            {
                "route": evil,
                "capability": evil,
                "outcome": evil,
                "requests": 1,
                "cost_usd": 1,
                "saved_usd": 1,
            }
        ],
        "repeats": [{"route": evil, "requests": 1, "hits": 1, "saved_usd": 1}],
        "levels": [{"target": evil, "tried": 1, "refused": 1, "share": 1.0, "reasons": {evil: 1}}],
        "suggestions": [
            {"about": evil, "setting": "a: 1\n  b: \x1b", "value": evil, "derivation": evil}
        ],
        "notes": [evil],
    }
    text = told(found)
    assert "\x1b" not in text
    assert "\nx" not in text
