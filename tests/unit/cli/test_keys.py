"""`tollgate keys`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from extproc.identity import Keyring
from tests.unit.admin.serving import SECRET, Served
from tests.unit.cli.conftest import Run, said

KEY = re.compile(r"tg-[0-9A-Za-z]{50}\n")


def opens(served: Served, key: str) -> bool:
    return served.wait(Keyring(served.stores.keys, SECRET).find(key)) is not None


def test_create_prints_the_key_alone(run: Run, served: Served) -> None:
    made = run("keys", "create", "--tenant", "acme", "--tier", "pro")
    assert made.exit_code == 0
    assert KEY.fullmatch(made.stdout)
    assert made.stdout.strip() not in made.stderr
    assert "acme" in made.stderr
    assert opens(served, made.stdout.strip())


def test_create_with_everything(run: Run) -> None:
    made = said(
        run(
            "keys",
            "create",
            "--json",
            "--name",
            "ci",
            "--tenant",
            "acme",
            "--team",
            "red",
            "--user",
            "anna",
            "--tier",
            "free",
            "--model",
            "flagship",
            "--model",
            "cheap",
            "--route",
            "support",
            "--expires",
            "30d",
            "--limit",
            "input_tokens=100000/h",
            "--label",
            "env=prod",
            "--label",
            "team=x=y",
            "--may-set",
            "user",
            "--may-set",
            "label-a",
        )
    )
    assert KEY.fullmatch(made["key"] + "\n")
    assert made["models"] == ["flagship", "cheap"]
    assert made["limits"] == {"input_tokens": "100000/h"}
    assert made["labels"] == {"env": "prod", "team": "x=y"}
    assert made["may_set"] == ["label-a", "user"]
    assert made["expires"] - made["created"] == pytest.approx(30 * 86_400, abs=5)
    assert said(run("keys", "create", "--json", "--nothing-set"))["may_set"] == []
    dated = said(run("keys", "create", "--json", "--expires", "2100-01-01"))
    assert dated["expires"] == 4_102_444_800


def test_list_and_show(run: Run) -> None:
    first = said(run("keys", "create", "--json", "--tenant", "acme", "--label", "env=prod"))
    said(run("keys", "create", "--json", "--tenant", "other"))
    listed = said(run("keys", "list", "--tenant", "acme", "--json"))
    assert [one["id"] for one in listed] == [first["id"]]
    table = run("keys", "list")
    assert table.stdout.count("active") == 2
    assert "2 keys" in table.stderr
    shown = run("keys", "show", first["id"])
    assert re.search(r"^tenant +acme$", shown.stdout, re.MULTILINE)
    assert re.search(r"^labels +env=prod$", shown.stdout, re.MULTILINE)
    assert said(run("keys", "show", first["id"], "--json"))["tenant"] == "acme"
    for output in (table.output, shown.output):
        assert first["key"] not in output


def test_limits_of_a_key(run: Run) -> None:
    limits = ("--limit", "tokens=5/m", "--limit", "tokens=100/d", "--limit", "priority=low")
    made = said(run("keys", "create", "--json", *limits))
    assert made["limits"] == {"tokens": ["5/m", "100/d"], "priority": "low"}
    refused = run("keys", "create", "--limit", "tokens=5/x")
    assert refused.exit_code == 1
    assert "limits.tokens" in refused.stderr
    assert "no unit 'x'" in refused.stderr


def test_rotate_and_revoke(run: Run, served: Served) -> None:
    made = said(run("keys", "create", "--json"))
    rotated = run("keys", "rotate", made["id"], "--overlap", "1h")
    new = rotated.stdout.strip()
    assert KEY.fullmatch(rotated.stdout)
    assert (opens(served, made["key"]), opens(served, new)) == (True, True)
    newest = run("keys", "rotate", made["id"]).stdout.strip()
    assert (opens(served, new), opens(served, newest)) == (False, True)
    revoked = run("keys", "revoke", made["id"])
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert not opens(served, newest)
    again = run("keys", "rotate", made["id"])
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: ")


def test_a_leaked_key_can_be_named_by_itself(run: Run, served: Served) -> None:
    made = said(run("keys", "create", "--json"))
    assert run("keys", "revoke", made["key"]).exit_code == 0
    assert not opens(served, made["key"])


def test_export_and_import(run: Run, tmp_path: Path) -> None:
    made = said(run("keys", "create", "--json", "--tenant", "acme"))
    file = tmp_path / "keys.jsonl"
    exported = run("keys", "export", "-o", str(file))
    assert "exported 1" in exported.stderr
    assert json.loads(file.read_text())["id"] == made["id"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("keys", "export").stdout == file.read_text()
    assert made["key"] not in file.read_text()
    again = run("keys", "import", str(file))
    assert (again.exit_code, again.stdout) == (1, "")
    assert re.fullmatch(r"Error: line 1: .*\n", again.stderr)
    new = run("keys", "import", "-", input='{"tenant": "new"}\n')
    key_id, key = new.stdout.split()
    assert key[3:15] == key_id
    assert "imported 1" in new.stderr
    assert said(run("keys", "import", "-", "--json", input="{}\n"))["imported"] == 1
    bad = run("keys", "import", "-", input='{}\n{"tier": "platinum"}\n')
    assert bad.stderr.startswith("Error: line 2: tier")


@pytest.mark.parametrize(
    "flags",
    [
        ["create", "--expires", "soon"],
        ["create", "--expires", "30y"],
        ["create", "--limit", "x"],
        ["create", "--label", "=x"],
        ["create", "--label", "a=1", "--label", "a=2"],
        ["create", "--may-set", "user", "--nothing-set"],
        ["create", "extra"],
        ["show"],
        ["rotate", "abcdefghijkl", "--overlap", "1"],
        ["rotate", "abcdefghijkl", "--overlap", "-1h"],
        ["import", "/nowhere.jsonl"],
        ["import"],
        ["create", "--admin", "127.0.0.1:9902"],
        ["create", "--admin", "ftp://x"],
        ["create", "--admin", "http://"],
        ["create", "--nme", "x"],
        ["create", "--admin", "http://tok@host:1"],
        ["create", "--admin", "http://host:99999"],
        ["create", "--admin", "http://host/\r\nx"],
        ["create", "--token", "a\nb"],
        ["nothing"],
        ["revoke", "tg-" + "x" * 50],
        ["create", "--token", "gänse"],
        ["create", "--admin", "unix:"],
    ],
)
def test_bad_flags(flags: list[str], run: Run, served: Served) -> None:
    result = run("keys", *flags)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr
    assert served.wait(served.stores.keys.list()) == []


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["create", "--tier", "platinum"], "tier: "),
        (["create", "--user", "a\nb"], "user: "),
        (["create", "--expires", "2001-01-01"], "expires_at: is past"),
        (["create", "--may-set", "all"], "may_set: "),
        (["show", "abcdefghijkl"], "no key"),
        (["revoke", "../usage"], "no key"),
        (["rotate", "abcdefghijkl", "--overlap", "1000d"], "overlap: "),
    ],
)
def test_what_the_gateway_refuses(flags: list[str], why: str, run: Run) -> None:
    result = run("keys", *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
