import re
from pathlib import Path

from extproc.simulator.chat import KINDS
from extproc.simulator.script import Script

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text()


def test_the_page_tells_of_every_key_and_no_other() -> None:
    table = PAGE.partition("| key | value | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(Script.__struct_fields__)


def test_the_page_names_every_kind_of_error() -> None:
    line = PAGE.partition("Kinds of error: ")[2].partition(".")[0]
    assert tuple(re.findall(r"`(\w+)`", line)) == KINDS
