"""Writes the pages of docs/ that are made from tables in the tests.

python -m tests.generate            write them
python -m tests.generate --check    exit 1 if one of them is not what would be written
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from extproc.dialects.openai.servers import Server, servers
from tests.unit.dialects import cells
from tests.unit.dialects.cells import Cell
from tests.unit.dialects.samples import TARGETS
from tests.unit.dialects.table import TABLES

ROOT = Path(__file__).parents[1]
DIALECTS_PAGE = ROOT / "docs" / "dialects.md"
TESTS = "../tests/unit/dialects"

NAMES = {
    "openai": "OpenAI",
    "azure": "Azure OpenAI",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
    "vertex": "Vertex AI",
    "bedrock": "Bedrock",
    "cohere": "Cohere",
}
ALIKE = {"azure": "openai", "vertex": "gemini"}
HEAD = """\
# Dialects

A client speaks one of six formats: OpenAI's chat completions, completions, embeddings and
responses, or Anthropic's messages and the counting of their tokens. A target speaks one of seven
dialects. Where it speaks the client's own format, every byte but the model's name passes;
everywhere else requests, answers, streams and errors are translated both ways.

What a request asks for and a target cannot do is refused there, and the next level of the chain is
tried. What can be left out without changing the meaning is left out and named in the header
`x-tollgate-warning`; a route can say `strict`, and then it is refused as well.

Models differ within a dialect. These tables are about:

{models}

Vertex AI runs Claude too, which is then Anthropic's column but for the path.

| a cell says | and means |
|---|---|
| as it is | the bytes pass |
| `generationConfig.seed` | where in the provider's body it goes ([test][features]) |
| says *…* | it is emulated or bounded, and the warning says how |
| dropped: `seed` | left out, with this warning |
| left out: … | left out without a word, since nothing is lost |
| refused: *…* | in these words; the next level of the chain is tried |
| yes | shown by the test behind the row's link |
| same | as in the column to the left |
| none: … | the provider has nothing of the kind to tell |

This page is generated (`make docs`) from the tables that the tests run on
(`tests/unit/dialects/table.py`): a cell that is not so fails.

[features]: {tests}/test_features.py
"""
NOTES = {
    "Client formats": (
        "`native`: bytes pass. `translated`: by way of chat completions, there and back. "
        "`estimated`: the gateway counts, and says so. Each is shown by "
        f"[test_formats.py]({TESTS}/test_formats.py), with plain requests; what a request asks "
        "for beyond that is below. OpenAI's completions are native for its models that complete; "
        "others chat. What only one format has (`previous_response_id`, "
        "`container`, tools that a provider runs) is refused by name where it cannot be carried."
    ),
    "Requests: service": (
        "`metadata` of a request that is not to be stored is for the gateway's own records, and "
        "is sent to nobody."
    ),
    "Answers": (
        "What the provider tells is told to the client of chat completions, whole and streamed; "
        f"[test_round_trip.py]({TESTS}/test_round_trip.py) says so of any answer, and of any "
        "conversation on its way up."
    ),
    "Errors and streams": (
        "Whatever comes instead of an answer becomes one error of the client's format, with the "
        "status that it deserves: a provider's 401 or 402 is the gateway's own trouble, and not "
        "the client's."
    ),
}
SERVERS = """\
Servers that speak OpenAI's format differ in what they add to it and what they refuse. What is
known of them is data, `extproc/dialects/openai/servers.toml`; of any other nothing is assumed but
chat, completions and embeddings.
"""


def cell(value: Cell) -> str:  # noqa: C901, PLR0911 - one return for each kind
    """A cell as Markdown."""
    match value:
        case cells.Sent():
            said = _places(path for path, found in value.at.items() if found is not None)
            return said + (f"; says *{', '.join(value.warns)}*" if value.warns else "")
        case cells.AsIs():
            return "as it is"
        case cells.Refused(text):
            return f"refused: *{text}*"
        case cells.Dropped(names):
            return "dropped: " + ", ".join(f"`{name}`" for name in names)
        case cells.LeftOut(why):
            return f"left out: {why}"
        case cells.Shown():
            return "yes"
        case cells.Never(why):
            return f"none: {why}"
        case cells.Native():
            return "native"
        case cells.Translated(warns):
            return "translated" + (f"; says *{', '.join(warns)}*" if warns else "")
        case cells.Estimated():
            return "estimated"


def _file(node: str) -> str:
    return node.partition("::")[0]


def _braced(names: list[str]) -> str:
    return "{" + ",".join(names) + "}"


def _places(paths: Iterable[str]) -> str:
    """Paths of a body, those that differ in the last step alone as one."""
    found: dict[str, list[str]] = {}
    for path in paths:
        parent, _, last = re.sub(r"\.\d+", "[]", path).rpartition(".")
        if last not in found.setdefault(parent, []):
            found[parent].append(last)
    shown: list[str] = []
    for parent, names in found.items():
        if not parent:
            shown += names
        else:
            shown.append(f"{parent}.{names[0] if len(names) == 1 else _braced(names)}")
    return ", ".join(f"`{one}`" for one in shown) or "not sent"


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    lines += ["| " + " | ".join(one) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def dialects_page() -> str:
    """The whole of docs/dialects.md."""
    models = "\n".join(
        f"- {NAMES[name]}: `{fields['model']}`"
        for name, fields in TARGETS.items()
        if name not in ALIKE
    )
    page = [HEAD.format(models=models, tests=TESTS)]
    for title, rows in TABLES.items():
        page.append(f"## {title}\n")
        if title in NOTES:
            page.append(NOTES[title] + "\n")
        grid = [[_name(name, row), *_cells(row)] for name, row in rows.items()]
        page.append(_grid(["", *(NAMES[one] for one in cells.DIALECTS)], grid))
    page += ["## Servers that speak OpenAI's format\n", SERVERS, _servers()]
    return "\n".join(page)


def _name(name: str, row: cells.Row) -> str:
    """The feature, with the file of its test where that is not the table's own."""
    shown = [one for one in row.values() if isinstance(one, cells.Shown)]
    return f"[{name}]({TESTS}/{_file(shown[0].whole)})" if shown else name


def _cells(row: cells.Row) -> Iterable[str]:
    for dialect in cells.DIALECTS:
        other = ALIKE.get(dialect)
        # Of tests each has its own.
        same = other is not None and row[dialect] == row[other]
        yield "same" if same else cell(row[dialect])


def _servers() -> str:
    head = ["", "hosts", "path", "formats", "thinking", "differs in", "refuses"]
    return _grid(head, [[name, *_server(one)] for name, one in servers().items()])


def _server(one: Server) -> list[str]:
    differs = []
    if one.max_tokens != Server().max_tokens:
        differs.append(f"a bound is `{one.max_tokens}`")
    if one.thinkers:
        models = ", ".join(f"`{name}`" for name in one.thinkers)
        differs.append(f"`max_tokens` is reworded for {models}")
    differs += [f"`{name}` is `{other}`" for name, other in one.renames.items()]
    if one.takes:
        differs.append("takes " + _names(one.takes))
    if one.drops:
        differs.append("dropped: " + _names(one.drops))
    if not one.developer:
        differs.append("`developer` becomes `system`")
    if one.strict_fields:
        differs.append("fields of messages that are not OpenAI's are left out")
    if one.keeps_responses:
        differs.append("`previous_response_id` works")
    asks = {"none": "cannot be asked for"}.get(one.thinking, f"asked for as `{one.thinking}`")
    comes = {
        "openai": "",
        "reasoning": ", comes as `reasoning`",
        "parts": ", comes as parts of the content",
    }[one.answers]
    back = f", goes back as {_names(one.turns)}" if one.turns else ""
    return [
        _names(one.hosts) or "any",
        f"`{one.base_path or '/'}`",
        ", ".join(one.formats),
        asks + comes + back,
        "; ".join(differs) or "nothing",
        "; ".join(f"*{text}*" for text in one.lacks.values()) or "nothing",
    ]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PAGES: dict[Path, Callable[[], str]] = {DIALECTS_PAGE: dialects_page}


def main(arguments: list[str]) -> int:
    """Write or check every page."""
    stale = []
    for path, page in PAGES.items():
        text = page()
        if arguments == ["--check"]:
            if not path.exists() or path.read_text() != text:
                stale.append(path.relative_to(ROOT).as_posix())
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"not up to date: {', '.join(stale)} (run `make docs`)\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
