"""`tollgate usage`."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from extproc.cli.export import COLUMNS
from extproc.records import Attribution, Cost, GuardCount, Observation, RequestRecord, Usage
from extproc.state import StateError
from tests.unit.admin.serving import Served, record
from tests.unit.cli.conftest import Run, said

WANTED = [
    "requests",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "saved_usd",
    "cache_hits",
    "errors",
]
EVIL = '=HYPERLINK("http://x")\x1b[2J\u202e\r\nfake  $0.00'


@pytest.fixture
def busy(served: Served) -> Served:
    served.write(
        record(0, dollars=0.4, error_type="500", status=500),
        record(1, feature="chat", dollars=0.6, cache="hit", saved=250_000_000),
        record(2, feature="chat", dollars=0, ago=9 * 86_400.0),
    )
    return served


# --- sums ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("busy")
def test_rows_as_json(run: Run) -> None:
    rows = said(run("usage", "--by", "feature, model", "--since", "7d", "--json"))
    assert isinstance(rows, list)
    chat, support = rows
    assert [chat[name] for name in ("feature", "model")] == ["chat", "gpt-4o"]
    assert [chat[name] for name in WANTED] == [1, 100, 20, 0.6, 0.25, 1, 0]
    assert [support[name] for name in WANTED] == [1, 100, 20, 0.4, 0, 0, 1]


@pytest.mark.usefixtures("busy")
def test_which_feature_used_how_much(run: Run) -> None:
    result = run("usage", "--by", "feature", "--since", "7d")
    assert result.exit_code == 0, result.output
    assert re.search(r"^support +\$0\.4000 +40\.0 % +1 +100 +20 ", result.stdout, re.MULTILINE)
    assert re.search(r"^total +\$1\.00 +- +2 +200 +40 ", result.stdout, re.MULTILINE)


@pytest.mark.usefixtures("busy")
def test_without_by_there_is_one_row(run: Run) -> None:
    (row,) = said(run("usage", "--json"))
    assert row["requests"] == 2
    assert "$1.00" in run("usage").stdout


@pytest.mark.usefixtures("busy")
def test_comparison_and_latency(run: Run) -> None:
    flags = ["usage", "--by", "feature", "--since", "8d", "--compare", "previous", "--latency"]
    table = run(*flags).stdout
    assert re.search(r"^chat +\$0\.6000 +60\.0 % +\$0\.00 +new ", table, re.MULTILINE)
    assert "1.5" in table
    chat = next(row for row in said(run(*flags, "--json")) if row["feature"] == "chat")
    assert (chat["previous_requests"], chat["previous_cost_usd"]) == (1, 0)
    assert chat["duration_p50"] == pytest.approx(1.5, rel=0.02)


@pytest.mark.usefixtures("busy")
def test_conditions_and_top(run: Run) -> None:
    def features(*flags: str) -> list[str]:
        return [row["feature"] for row in said(run("usage", "--by", "feature", "--json", *flags))]

    assert features("--where", "feature=chat") == ["chat"]
    assert features("--where", "feature!=chat") == ["support"]
    assert features("--where", "feature=chat", "--where", "feature=support") == ["chat", "support"]
    assert features("--where", "label:env=prod", "--where", "tenant=nobody") == []
    assert features("--top", "1") == ["chat", "(rest)"]
    assert features("--until", "2h") == []


def test_rows_as_csv(run: Run, served: Served) -> None:
    served.write(
        record(0, feature="=cmd|' /C calc'!A0", cost=Cost(total=123)),
        record(1, feature='a,"b"\nc'),
        record(2, feature="-1"),
        record(3, feature=None),
    )
    text = run("usage", "--by", "feature", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0])[: 1 + len(WANTED)] == ["feature", *WANTED]
    by = {row["feature"]: row for row in rows}
    assert by.keys() == {"'=cmd|' /C calc'!A0", 'a,"b"\\nc', "'-1", ""}
    assert by["'=cmd|' /C calc'!A0"]["cost_usd"] == "0.000000123"
    assert len(text.splitlines()) == 5


def test_nothing_used(run: Run) -> None:
    assert said(run("usage", "--by", "feature", "--json")) == []
    assert "$0.00" in run("usage", "--by", "feature").stdout
    head = run("usage", "--by", "feature", "--csv").stdout
    assert head.startswith("feature,requests,input_tokens,output_tokens,cost_usd,")
    assert head.count("\n") == 1


def test_what_requests_say_cannot_paint(run: Run, served: Served) -> None:
    served.write(
        record(0, feature=EVIL, error_type=EVIL, request_model=EVIL, model=EVIL, target=EVIL)
    )
    for flags in (["--by", "feature,model"], ["show", "req-0"], ["--by", "feature,model", "--csv"]):
        result = run("usage", *flags)
        assert result.exit_code == 0, result.output
        for raw in ("\x1b", "\u202e", "\r", "\nfake"):
            assert raw not in result.output, flags
        assert "\\x1b[2J\\u202e" in result.stdout


@pytest.mark.parametrize(
    "flags",
    [
        ["--by", ""],
        ["--by", "a,,b"],
        ["--by", "feature,feature"],
        ["--since", "yesterday"],
        ["--since", "7"],
        ["--since", ""],
        ["--until", "2026-13-40"],
        ["--where", "feature"],
        ["--where", "=x"],
        ["--compare", "next"],
        ["--top", "0"],
        ["--top", "10001"],
        ["--top", "x"],
        ["--csv", "--json"],
        ["--frm", "x"],
        ["nothing"],
        ["show"],
        ["export", "--format", "xml"],
        ["export", "--format", "parquet"],
        ["export", "--format", "parquet", "-o", "-"],
        ["--by", "feature", "show", "req-0"],
        ["export", "--format", "csv", "-o", "/"],
        ["export", "--format", "csv", "--since", "1y"],
    ],
)
def test_bad_flags(flags: list[str], run: Run) -> None:
    result = run("usage", *flags)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--by", "nobody"], "unknown dimension 'nobody'; there are: tenant"),
        (["--where", "nobody=x"], "nobody"),
        (["--by", "hour,day"], "not both"),
        (["--since", "1d", "--until", "2d"], "before"),
        (["show", "nothing"], "no record"),
        (["show", "../records"], "no record"),
        (["export", "--format", "csv", "--where", "nobody=x"], "nobody"),
        (["export", "--format", "csv", "--since", "1d", "--until", "2d"], "before"),
    ],
)
def test_what_the_gateway_refuses(flags: list[str], why: str, run: Run) -> None:
    result = run("usage", *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_the_guard_found(run: Run, served: Served) -> None:
    person = GuardCount("PERSON", "redact", "request", 3)
    card = GuardCount("CREDIT_CARD", "block", "request", 1)
    served.write(
        record(0, guard=(person,)), record(1, feature="chat", guard=(person, card)), record(2)
    )
    flags = ["usage", "--by", "guard_type,guard_action"]
    table = run(*flags).stdout
    assert re.search(r"^guard_type +guard_action +findings +share +requests$", table, re.MULTILINE)
    assert re.search(r"^PERSON +redact +6 +85\.7 % +2$", table, re.MULTILINE)
    assert re.search(r"^total +7 +- +3$", table, re.MULTILINE)
    (row,) = said(run("usage", "--by", "feature", "--where", "guard_type=CREDIT_CARD", "--json"))
    assert (row["feature"], row["findings"]) == ("chat", 1)
    before = run(*flags, "--compare", "previous")
    assert re.search(r"^CREDIT_CARD +block +1 +14\.3 % +0 +new +1$", before.stdout, re.MULTILINE)
    head = run(*flags, "--csv").stdout.splitlines()[0]
    assert head == "guard_type,guard_action,findings,requests,findings_share"
    refused = run("usage", "--by", "guard_type,model")
    assert refused.exit_code == 1
    assert "'model', but by: guard_type" in refused.stderr
    assert "PERSON 3: redact in the request" in run("usage", "show", "req-0").stdout


# --- one request --------------------------------------------------------------------------


def test_the_story_of_a_request(run: Run, served: Served) -> None:
    observed = (Observation(capability="cache", outcome="served_from_cache", saved=1_000_000),)
    told = record(
        0,
        refusals=(("claude", "capacity"),),
        attempts=2,
        ttft=0.5,
        observed=observed,
        cost=Cost(total=10_000_123, input=10_000_000, output=123),
        saved=5,
    )
    served.write(told, content=b'{"request":"Hello","answer":"Hi\\u001b[2J"}')
    shown = run("usage", "show", "req-0")
    assert shown.exit_code == 0, shown.output
    for line in (
        "claude: refused (capacity)",
        "gpt: answered",
        "total   $0.010000123",
        "first content",
        "cache served_from_cache, $0.001",
        "Hi\\x1b[2J",
        "labels    env=prod",
    ):
        assert line in shown.stdout, shown.stdout
    assert said(run("usage", "show", "req-0", "--json"))["cost"]["total_usd"] == 0.010000123


def test_the_story_of_a_request_that_the_cache_answered(run: Run, served: Served) -> None:
    hit = record(
        0,
        target=None,
        provider=None,
        usage=Usage(0, 0),
        cost=Cost(total=0),
        cache="semantic",
        cache_kind="factual",
        cache_entry="00f1e2d3c4b5a697",
        cache_score=0.9734,
        saved=12_000_000,
    )
    served.write(hit)
    shown = run("usage", "show", "req-0")
    assert shown.exit_code == 0, shown.output
    for line in (
        "served from the cache",
        "cached\n  kind   factual\n  entry  00f1e2d3c4b5a697\n  score  0.9734",
        "saved\n  $0.012",
        "total  $0",
    ):
        assert line in shown.stdout, shown.stdout
    assert "levels" not in shown.stdout


def test_a_request_of_which_little_is_known(run: Run, served: Served) -> None:
    bare = RequestRecord(id="bare", started=1.0, duration=0.0, route="r")
    served.write(bare)
    shown = run("usage", "show", "bare")
    assert shown.exit_code == 0, shown.output
    assert "unknown" in shown.stdout


# --- export -------------------------------------------------------------------------------


FULL = record(
    0,
    refusals=(("claude", "capacity"), ("gpt", "timeout")),
    ttft=0.25,
    saved=7,
    usage=Usage(input=100, output=20, cached_input=3, estimated=True),
    cost=Cost(total=12_345_678_901, input=12_345_678_900, output=1),
    attribution=Attribution(user="@SUM(1)", feature="a,b", labels=(("env", "prod"), ("k", "-v"))),
    observed=(Observation(capability="cache", outcome="served_from_cache"),),
    guard=(GuardCount("PERSON", "redact", "request", 2),),
)
BARE = RequestRecord(id="bare", started=FULL.started + 1, duration=0.0, route="r")


@pytest.fixture
def two(served: Served) -> Served:
    served.write(FULL, BARE)
    return served


@pytest.mark.usefixtures("two")
def test_json_lines(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    result = run("usage", "export", "--format", "jsonl", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert "exported 2" in result.stderr
    found = [msgspec.json.decode(one, type=RequestRecord) for one in file.read_bytes().splitlines()]
    assert found == [FULL, BARE]
    piped = run("usage", "export", "--format", "jsonl", "--where", "feature=")
    assert json.loads(piped.stdout)["id"] == "bare"


@pytest.mark.usefixtures("two")
def test_the_format_goes_by_the_files_name(run: Run, tmp_path: Path) -> None:
    assert run("usage", "export").stdout.startswith("id,started,")
    for name, begins in (
        ("a.csv", b"id,"),
        ("a.jsonl", b"{"),
        ("a.parquet", b"PAR1"),
        ("a", b"id,"),
    ):
        assert run("usage", "export", "-o", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.usefixtures("two")
def test_csv_file(run: Run) -> None:
    text = run("usage", "export", "--format", "csv").stdout
    full, bare = csv.DictReader(io.StringIO(text))
    assert list(full) == [column.name for column in COLUMNS]
    assert datetime.fromisoformat(full["started"]).timestamp() == pytest.approx(
        FULL.started, abs=1e-5
    )
    assert (full["user"], full["feature"]) == ("'@SUM(1)", "a,b")
    assert (full["cost_usd"], full["cost_nano_usd"]) == ("12.345678901", "12345678901")
    assert (full["saved_usd"], full["ttft"], full["estimated"]) == ("0.000000007", "0.25", "true")
    assert json.loads(full["labels"]) == {"env": "prod", "k": "-v"}
    assert json.loads(full["refusals"]) == [["claude", "capacity"], ["gpt", "timeout"]]
    assert (bare["cost_usd"], bare["input_tokens"], bare["labels"]) == ("", "", "")


@pytest.mark.usefixtures("two")
def test_parquet_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    result = run("usage", "export", "--format", "parquet", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    table = pq.read_table(file)
    types = {one.name: str(one.type) for one in table.schema}
    assert types["cost_nano_usd"] == "int64"
    assert types["cost_usd"] == types["saved_usd"] == "decimal128(20, 9)"
    assert types["started"] == "timestamp[us, tz=UTC]"
    full, bare = table.to_pylist()
    assert full["cost_usd"] == Decimal("12.345678901")
    assert full["started"] == datetime.fromtimestamp(FULL.started, UTC)
    assert full["labels"] == [("env", "prod"), ("k", "-v")]
    assert full["refusals"][1] == {"target": "gpt", "reason": "timeout"}
    assert full["user"] == "@SUM(1)"
    assert (bare["cost_usd"], bare["input_tokens"], bare["estimated"]) == (None, None, None)
    assert bare["labels"] == []


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_in_batches(
    form: str, run: Run, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.cli.export.BATCH", 40)
    served.write(*(record(number, ago=3600.0 - number) for number in range(100)))
    file = tmp_path / f"out.{form}"
    result = run("usage", "export", "--format", form, "-o", str(file))
    assert "exported 100" in result.stderr
    if form == "parquet":
        assert pq.ParquetFile(file).num_row_groups == 3
        ids: list[Any] = pq.read_table(file)["id"].to_pylist()
    elif form == "csv":
        ids = [row["id"] for row in csv.DictReader(io.StringIO(file.read_text()))]
    else:
        ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert ids == [f"req-{number}" for number in range(100)]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_that_breaks_leaves_the_old_file(
    form: str, run: Run, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object, since: float, until: float) -> Any:  # noqa: ARG001
        yield [msgspec.json.encode(record(0))] * 10
        raise StateError("gone")

    monkeypatch.setattr(type(served.stores.ledger), "records", broken)
    file = tmp_path / "out" / "records"
    file.parent.mkdir()
    file.write_text("old")
    result = run("usage", "export", "--format", form, "-o", str(file))
    assert result.exit_code == 1
    assert "broke off" in result.stderr
    assert [one.name for one in file.parent.iterdir()] == ["records"]
    assert file.read_text() == "old"


def test_where_nothing_can_be_written(run: Run, tmp_path: Path) -> None:
    result = run("usage", "export", "--format", "csv", "-o", str(tmp_path / "no" / "file"))
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_without_pyarrow(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    file = tmp_path / "out.parquet"
    result = run("usage", "export", "--format", "parquet", "-o", str(file))
    assert result.exit_code == 1
    assert "pip install 'tollgate[parquet]'" in result.stderr
    assert not file.exists()


def test_every_field_of_a_record_is_exported() -> None:
    """A field that the record gets must get a column."""
    covered = {"usage", "cost", "attribution", "saved"} | {column.name for column in COLUMNS}
    assert set(RequestRecord.__struct_fields__) <= covered
    assert {f"{name}_tokens" for name in Usage.__struct_fields__} - {"estimated_tokens"} <= covered
    assert set(Attribution.__struct_fields__) <= covered
