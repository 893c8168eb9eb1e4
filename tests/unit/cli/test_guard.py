import json
from pathlib import Path

from click.testing import CliRunner

from extproc.cli import main

TEXT = "Hi,\nmy mail is a@example.com\nand card 4111 1111 1111 1111\n"


def run(*arguments: str, given: str | bytes | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["guard", "test", *arguments], input=given)
    return result.exit_code, result.output


def test_places_are_shown_and_no_values(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(TEXT, "utf-8")
    code, shown = run(str(path))
    assert code == 1
    lines = [line.split() for line in shown.splitlines()[2:]]
    assert lines == [
        ["EMAIL_ADDRESS", "2:12", "15-28", "0.97"],
        ["CREDIT_CARD", "3:10", "38-57", "0.99"],
    ]
    assert "example.com" not in shown
    assert "4111" not in shown


def test_values_are_shown_to_who_asks() -> None:
    code, shown = run("-", "--show", given=TEXT)
    assert code == 1
    assert "a@example.com" in shown


def test_as_json() -> None:
    _, shown = run("-", "--json", given=TEXT)
    first, second = (json.loads(line) for line in shown.splitlines())
    assert first == {
        "type": "EMAIL_ADDRESS",
        "line": 2,
        "column": 12,
        "start": 15,
        "end": 28,
        "confidence": 0.97,
    }
    assert TEXT[second["start"] : second["end"]] == "4111 1111 1111 1111"


def test_nothing_is_found_in_nothing() -> None:
    assert run("-", given="") == (0, "nothing found\n")
    assert run("-", "--json", given="hello") == (0, "")


def test_bytes_that_are_no_text_count_as_characters() -> None:
    code, shown = run("-", "--show", given=b"\xff\xfe a@example.com \xff")
    assert code == 1
    assert "3-16" in shown


def test_a_file_that_is_not_there_is_said_in_one_line() -> None:
    code, shown = run("/nowhere/at/all")
    assert code == 1
    assert shown == "Error: /nowhere/at/all: No such file or directory\n"
