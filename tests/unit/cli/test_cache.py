"""`tollgate cache`."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from extproc.cache.whose import tenant_mark
from extproc.state.answers import Entry, shown
from tests.unit.admin.entries import KEY, chat, entry, exact_key
from tests.unit.admin.serving import Served, in_thread
from tests.unit.cli.conftest import Run, said

EVIL = "a\x1b[2J\u202eb"
POLICY = """\
providers:
  openai: {dialect: openai, url: 'https://api.openai.com', key_env: OPENAI_API_KEY}
targets:
  gpt: {provider: openai, model: gpt-5}
chains:
  main: [gpt]
routes:
  - name: support
    match: {headers: {x-team: support}}
    chain: main
    cache: {mode: semantic, tags: [faq], ttl: {default: 2h}}
  - name: users
    match: {headers: {x-team: users}}
    chain: main
    cache: {scope: user}
  - name: rest
    chain: main
    cache: off
cache: {mode: exact, tags: [all]}
"""


@pytest.fixture(params=["memory", "sqlite"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "data"
    folder.mkdir()
    with in_thread(folder, answers=request.param) as found:
        yield found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a gateway.yaml where it is looked for."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def put(served: Served, *entries: Entry) -> None:
    for one in entries:
        assert served.wait(served.stores.answers.put(one))


def there(served: Served, key: bytes) -> Entry | None:
    return served.wait(served.stores.answers.get(key))


def lines(path: Path, *given: dict[str, Any] | bytes) -> str:
    path.write_bytes(
        b"".join(
            (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in given
        )
    )
    return str(path)


# --- looking ------------------------------------------------------------------------------


def test_stats(run: Run, served: Served) -> None:
    one = entry("a")
    put(served, one)
    served.loop.call_soon_threadsafe(served.stores.answers.touch, one.head.id, 12_000_000)
    served.wait(served.stores.answers.flush())
    result = run("cache", "stats")
    assert result.exit_code == 0, result.output
    assert re.search(r"^entries +1$", result.stdout, re.MULTILINE)
    assert re.search(r"^bytes +1\.0 kB$", result.stdout, re.MULTILINE)
    assert re.search(r"^saved +\$0\.012$", result.stdout, re.MULTILINE)
    assert said(run("cache", "stats", "--json"))["hits"] == 1


def test_list(run: Run, served: Served) -> None:
    put(
        served,
        entry("a", route="support", tags=("x", "y"), kind="factual"),
        entry("b", tenant=tenant_mark(KEY, "acme")),
    )
    result = run("cache", "list", "--tag", "x")
    assert result.exit_code == 0, result.output
    assert re.search(
        r"^[0-9a-f]{16} +support +gpt +factual +x,y +20\d\d-", result.stdout, re.MULTILINE
    )
    assert result.stderr == "1 entry\n"
    assert len(said(run("cache", "list", "--json"))) == 2
    assert len(said(run("cache", "list", "--tenant", "acme", "--json"))) == 1
    assert said(run("cache", "list", "--route", "support", "--older-than", "1h", "--json")) == []
    assert run("cache", "list", "--model", "none").stdout == ""


def test_lists_go_on(run: Run, served: Served) -> None:
    put(served, *(entry(number) for number in range(10)))
    first = run("cache", "list", "--limit", "7", "--json")
    more = re.fullmatch(r"7 entries; more with --after (\d+)\n", first.stderr)
    assert more is not None
    rest = run("cache", "list", "--after", more[1], "--json")
    assert rest.stderr == "3 entries\n"
    ids = {one["id"] for one in [*said(first), *said(rest)]}
    assert len(ids) == 10


def test_more_than_a_page(run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.cli.cache.PAGE", 3)
    put(served, *(entry(number) for number in range(10)))
    assert len(said(run("cache", "list", "--json"))) == 10


def test_show(run: Run, served: Served) -> None:
    value = {"choices": [{"message": {"role": "assistant", "content": f"Paris\n{EVIL}"}}]}
    one = entry("a", value=json.dumps(value).encode(), tags=("geo",))
    put(served, one)
    name = shown(one.head.id)
    plain = run("cache", "show", name)
    assert plain.exit_code == 0, plain.output
    assert re.search(r"^tags +geo$", plain.stdout, re.MULTILINE)
    assert re.search(r"^cost +\$0\.0015$", plain.stdout, re.MULTILINE)
    assert "Paris" not in plain.stdout
    whole = run("cache", "show", name, "--answer")
    assert whole.stdout.endswith("\n\nParis\na\\x1b[2J\\u202eb\n")
    assert said(run("cache", "show", name, "--answer", "--json"))["body"] == value
    assert "answer" not in said(run("cache", "show", name, "--json"))
    unknown = run("cache", "show", "0123456789abcdef")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "no entry with this id" in unknown.stderr


def test_what_stands_in_entries_cannot_paint(run: Run, served: Served) -> None:
    one = entry("a", model=EVIL, kind=EVIL)
    put(served, one)
    for flags in (["list"], ["show", shown(one.head.id)]):
        result = run("cache", *flags)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output


# --- forgetting ---------------------------------------------------------------------------


def test_invalidate(run: Run, served: Served) -> None:
    first = entry("a", tags=("x",))
    alias = entry("b", answer=first.head.id)
    rest = entry("c", tags=("x",)), entry("d", route="two"), entry("e", model="big")
    put(served, first, alias, *rest)
    name = shown(alias.head.id)
    for flags, number in (
        (["--id", name], 2),
        (["--tag", "x"], 1),
        (["--route", "two"], 1),
        (["--model", "big"], 1),
        (["--model", "big"], 0),
        (["--older-than", "1s"], 0),
        (["--tenant", "acme"], 0),
    ):
        expected = f"{number} {'entry' if number == 1 else 'entries'}\n"
        if number or "--id" not in flags:
            dry = run("cache", "invalidate", *flags, "--dry-run")
            assert (dry.exit_code, dry.stdout) == (0, f"would invalidate {expected}"), dry.output
        result = run("cache", "invalidate", *flags)
        assert (result.exit_code, result.stdout) == (0, f"invalidated {expected}"), result.output
    gone = run("cache", "invalidate", "--id", name)
    assert gone.exit_code == 1
    assert "no entry with this id" in gone.stderr


def test_all_is_asked_back(run: Run, served: Served) -> None:
    one = entry("a")
    put(served, one)
    dry = run("cache", "invalidate", "--all", "--dry-run")
    assert dry.stdout == "would invalidate 1 entry\n"
    for answer in ("n\n", "\n", ""):
        refused = run("cache", "invalidate", "--all", input=answer)
        assert refused.exit_code == 1
        assert "Forget all" in refused.stderr
    assert there(served, one.head.exact) is not None
    assert run("cache", "invalidate", "--all", input="y\n").stdout == "invalidated 1 entry\n"
    put(served, entry("b"))
    assert run("cache", "invalidate", "--all", "--yes").stdout == "invalidated 1 entry\n"


@pytest.mark.parametrize(
    "flags",
    [
        ["invalidate"],
        ["invalidate", "--yes"],
        ["invalidate", "--tag", "a", "--route", "b"],
        ["invalidate", "--all", "--tag", "a"],
        ["invalidate", "--tag", ""],
        ["invalidate", "--older-than", "30"],
        ["list", "--limit", "0"],
        ["list", "--tag", ""],
        ["show"],
        ["export"],
        ["import"],
        ["import", "nothing.jsonl"],
        ["import", "-", "--fields", "[]"],
        ["import", "-", "--fields", "{"],
        ["import", "-", "--ttl", "long"],
        ["import", "-", "--scope", "world"],
        ["import", "-", "--format", "fax"],
        ["import", "-", "--config", "nothing.yaml"],
    ],
)
def test_bad_flags(flags: list[str], run: Run) -> None:
    result = run("cache", *flags)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Error: " in result.stderr


# --- moving -------------------------------------------------------------------------------

PAIR = {"question": "How do I reset my password?", "answer": "By mail."}


def test_import_without_a_config(run: Run, served: Served, tmp_path: Path) -> None:
    file = lines(tmp_path / "faq.jsonl", PAIR, b"", {"question": "Who?", "answer": "We."})
    flags = ["--route", "support", "--model", "gpt", "--tag", "faq", "--tag", "mail", "--ttl",
             "90d", "--tenant", "acme", "--system", "Be kind."]  # fmt: skip
    result = run("cache", "import", file, *flags)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert result.stderr.endswith("imported 2\n")
    body = chat(PAIR["question"])
    body["messages"].insert(0, {"role": "system", "content": "Be kind."})
    one = there(served, exact_key(body, route="support", tenant="acme"))
    assert one is not None
    assert one.head.tags == ("faq", "mail")
    assert one.head.tenant == tenant_mark(KEY, "acme")
    assert one.head.expires - one.head.created == 90 * 86_400
    again = run("cache", "import", file, *flags, "--json")
    assert said(again) == {"imported": 2, "over": 0, "wrong": []}
    assert said(run("cache", "stats", "--json"))["entries"] == 2


def test_import_by_the_routes_policies(run: Run, served: Served, here: Path) -> None:
    (here / "envoy").mkdir()
    (here / "envoy" / "gateway.yaml").write_text(POLICY)
    file = lines(
        here / "faq.jsonl",
        PAIR | {"route": "support"},
        PAIR | {"route": "users"},
        PAIR | {"route": "rest"},
        PAIR | {"route": "nowhere"},
    )
    result = run("cache", "import", file, "--model", "gpt")
    assert result.exit_code == 1
    assert result.stderr == (
        "policies of envoy/gateway.yaml\n"
        "line 2: the scope is 'user': nobody's own answers can be imported\n"
        "line 3: nothing is kept on its route\n"
        "line 4: its route is not known\n"
        "imported 1, 3 wrong\n"
    )
    body = chat(PAIR["question"])
    one = there(served, exact_key(body, route="support"))
    assert one is not None
    assert one.head.tags == ("all", "faq")
    assert one.head.expires - one.head.created == 7200
    shared = run("cache", "import", file, "--model", "gpt", "--scope", "shared", "--json")
    assert json.loads(shared.stdout)["imported"] == 2
    elsewhere = run("cache", "import", file, "--model", "gpt", "--no-config")
    assert "imported 4" in elsewhere.stderr
    assert "policies of" not in elsewhere.stderr
    unknown = run("cache", "import", file, "--route", "oops")
    assert unknown.exit_code == 2
    assert "no route 'oops'" in unknown.stderr
    both = run("cache", "import", file, "--no-config", "--config", "envoy/gateway.yaml")
    assert both.exit_code == 2


def test_the_only_route_is_the_one(run: Run, served: Served, here: Path) -> None:
    only = POLICY.split("  - name: users", maxsplit=1)[0] + "cache: {mode: exact}\n"
    (here / "g.yaml").write_text(only.replace("    match: {headers: {x-team: support}}\n", ""))
    file = lines(here / "faq.jsonl", PAIR)
    result = run("cache", "import", file, "--config", "g.yaml", "--model", "gpt")
    assert result.exit_code == 0, result.output
    assert there(served, exact_key(chat(PAIR["question"]), route="support")) is not None


def test_a_config_that_cannot_be(run: Run, here: Path) -> None:
    (here / "g.yaml").write_text(POLICY.replace("mode: semantic", "mode: sometimes"))
    result = run("cache", "import", lines(here / "f", PAIR), "--config", "g.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "routes[0].cache.mode" in result.stderr


def test_wrong_lines_are_named_and_the_rest_goes_on(
    run: Run, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.cli.cache_import.LINES", 7)
    monkeypatch.setattr("extproc.cli.cache_import.LONGEST", 2000)
    given: list[dict[str, Any] | bytes] = [{"question": f"Q{n}?", "answer": "A"} for n in range(40)]
    given[10] = b"{oops"
    given[20] = {"question": "x" * 5000, "answer": "A"}
    given[39] = {"question": EVIL}
    file = lines(tmp_path / "faq.jsonl", b"\xef\xbb\xbf" + json.dumps(given[0]).encode(), *given)
    result = run("cache", "import", file, "--route", "r", "--model", "gpt")
    assert result.exit_code == 1
    assert "line 12: is no JSON" in result.stderr
    assert "line 22: is too long\n" in result.stderr
    assert "line 41: has no answer\n" in result.stderr
    assert result.stderr.endswith("imported 38, 3 wrong\n")
    assert served.wait(served.stores.answers.stats()).entries == 37  # the first came twice


def test_not_every_wrong_line_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.cli.cache_import.SHOWN", 3)
    result = run("cache", "import", lines(tmp_path / "f", *[b"{}"] * 9))
    assert result.stderr.count("line ") == 3
    assert "more lines are wrong" in result.stderr
    assert result.stderr.endswith("imported 0, 9 wrong\n")


def test_progress(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.cli.cache_import.LINES", 2)
    monkeypatch.setattr("extproc.cli.cache_import.EVERY", 0.0)
    given = [{"question": f"Q{n}?", "answer": "A"} for n in range(4)]
    file = lines(tmp_path / "f", *given)
    flags = ["--route", "r", "--model", "gpt"]
    result = run("cache", "import", file, *flags)
    assert result.stderr.splitlines()[:2] == ["2 lines (50 %)", "4 lines (100 %)"]
    piped = run("cache", "import", "-", *flags, input=Path(file).read_bytes())
    assert piped.stderr.splitlines()[0] == "2 lines"
    assert piped.stderr.endswith("imported 4\n")


def test_requests_that_say_more(run: Run, served: Served, tmp_path: Path) -> None:
    whole = chat("Tools?", tools=[{"type": "function", "function": {"name": "f"}}])
    file = lines(tmp_path / "f", PAIR, {"request": whole, "answer": "None."})
    fields = json.dumps({"temperature": 0, "seed": 1})
    result = run("cache", "import", file, "--route", "r", "--model", "gpt", "--fields", fields)
    assert result.exit_code == 0, result.output
    body = chat(PAIR["question"], temperature=0, seed=1)
    assert there(served, exact_key(body, route="r")) is not None
    assert there(served, exact_key(whole, route="r")) is not None


def test_export_and_import(run: Run, served: Served, tmp_path: Path, here: Path) -> None:
    file = lines(tmp_path / "faq.jsonl", *({"question": f"Q{n}?", "answer": "A"} for n in range(9)))
    run("cache", "import", file, "--route", "r", "--model", "gpt")
    put(served, entry("bare", tags=("x",)))
    out = here / "cache.jsonl"
    result = run("cache", "export", str(out))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert result.stderr == "exported 10 entries\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_bytes().count(b"\n") == 11
    piped = run("cache", "export", "-", "--tag", "x")
    assert piped.stdout.count("\n") == 2
    run("cache", "invalidate", "--all", "--yes")
    assert there(served, exact_key(chat("Q3?"), route="r")) is None
    back = run("cache", "import", str(out), "--json")
    assert said(back) == {"imported": 10, "over": 0, "wrong": []}
    assert there(served, exact_key(chat("Q3?"), route="r")) is not None


def test_an_export_of_another_secret(
    run: Run, served: Served, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.cli.cache_import.LINES", 2)
    put(served, *(entry(n) for n in range(4)))
    run("cache", "export", str(here / "f"))
    title, *rest = (here / "f").read_bytes().splitlines()
    other = json.loads(title) | {"secret": "0" * 16}
    result = run("cache", "import", lines(here / "g", other, *rest))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "line 1: was exported with another key secret" in result.stderr
    late = run("cache", "import", lines(here / "h", *rest, other))
    assert late.exit_code == 1
    assert "imported 4 up to line 4; the rest may be imported again" in late.stderr
    good = run("cache", "import", lines(here / "i", title, *rest))
    assert good.stderr.endswith("imported 4\n")


def test_a_gateway_that_is_away(tmp_path: Path, run: Run) -> None:
    file = lines(tmp_path / "f", PAIR)
    for flags in (["stats"], ["list"], ["export", "-"], ["import", file],
                  ["invalidate", "--tag", "x"]):  # fmt: skip
        result = run("cache", *flags, "--admin", "http://127.0.0.1:1")
        assert (result.exit_code, result.stdout) == (1, ""), flags
        assert "cannot reach the gateway" in result.stderr


def test_help_says_what_a_request_must_be(run: Run) -> None:
    text = " ".join(run("cache", "import", "--help").stdout.split())
    for words in ("temperature, tools", "--fields", "whole requests", '{"question": "…"'):
        assert words in text


def test_every_command_has_a_line_of_help(run: Run) -> None:
    text = run("cache", "--help").stdout
    names: Sequence[str] = ("stats", "list", "show", "invalidate", "export", "import")
    for name in names:
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE), text
