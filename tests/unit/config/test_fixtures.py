"""Every wrong configuration gives its message, and every rule has a wrong configuration.

`tests/fixtures/bad/gateway` holds whole gateway.yaml files. `tests/fixtures/bad/envoy` holds
single changes to what `tests/fixtures/good/gateway.yaml` renders to, or another file there
(`base`): a text that is replaced (up to another one with `until`, the first one after `after`), in
the bootstrap or in one of the files of the rendered folder (`file`). The comments at the top of
each are the findings it must give.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from extproc.config import Finding, RenderOptions, Severity, check, load, render
from extproc.config.rule_names import RULES

FIXTURES = Path(__file__).parents[2] / "fixtures"
GATEWAY = sorted((FIXTURES / "bad" / "gateway").glob("*.yaml"))
ENVOY = sorted((FIXTURES / "bad" / "envoy").glob("*.yaml"))
EXPECT = "# expect: "
ELSEWHERE = {"unreadable", "no-bootstrap", "inline-routes", "key-file-alone"}
"""Rules about what no text can show; their tests are in test_checking.py and
test_rendering.py."""


@dataclass(frozen=True, slots=True)
class Change:
    """One fixture of an Envoy configuration."""

    replace: str
    into: str
    after: str = ""
    until: str = ""
    file: str | None = None
    base: str = "gateway"
    """The file of `good/` that is rendered."""

    @classmethod
    def read(cls, path: Path) -> Change:
        data = YAML(typ="safe").load(path.read_text())
        into = data.pop("with")
        return cls(into=into, **data)

    def apply(self, text: str) -> str:
        start = text.index(self.after)
        assert self.replace in text[start:], f"{self.replace!r} is not rendered any more"
        begin = text.index(self.replace, start)
        end = begin + len(self.replace)
        if self.until:
            end = text.index(self.until, end)
        return text[:begin] + self.into + text[end:]


def expected(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.removeprefix(EXPECT) for line in lines if line.startswith(EXPECT)]


def findings_of(change: Change, folder: Path) -> list[Finding]:
    gateway = load(FIXTURES / "good" / f"{change.base}.yaml")
    rendered = render(gateway, RenderOptions(extproc=["unix:/run/tollgate/0.sock"]))
    if change.file is None:
        place = folder / "envoy.yaml"
        rendered.write_single(place)
        place.write_text(change.apply(place.read_text()))
        found = check(place)
    else:
        rendered.write_dir(folder)
        place = folder / change.file
        place.write_text(change.apply(place.read_text()))
        found = check(folder)
    return [one for one in found if one.rule != "inline-routes"]


def short(finding: Finding, folder: Path) -> str:
    """Without the folder, the line and the way down to the part: these are tested apart."""
    kind = "" if finding.severity is Severity.ERROR else "warning: "
    tail = ".".join(finding.path.split(".")[-3:])
    return f"{kind}{tail}: {finding.message}".replace(str(folder), "FOLDER")


def without_envoy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy's own words differ from version to version, and it takes time to ask it."""
    if path.stem != "envoy":
        monkeypatch.setenv("TOLLGATE_ENVOY", "/nonexistent")


def is_shown(path: Path, findings: list[Finding]) -> bool:
    """A fixture that has a rule's name breaks that rule."""
    return path.stem not in RULES or path.stem in {one.rule for one in findings}


@pytest.mark.parametrize("path", GATEWAY, ids=lambda path: path.stem)
def test_wrong_gateway(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    without_envoy(path, monkeypatch)
    findings = check(path.name)
    assert [str(one) for one in findings] == expected(path)
    assert is_shown(path, findings)


@pytest.mark.parametrize("path", ENVOY, ids=lambda path: path.stem)
def test_wrong_envoy(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_envoy(path, monkeypatch)
    findings = findings_of(Change.read(path), tmp_path)
    assert [short(one, tmp_path) for one in findings] == expected(path)
    assert is_shown(path, findings)


@pytest.mark.parametrize(
    "path", sorted((FIXTURES / "good").glob("*.yaml")), ids=lambda one: one.stem
)
def test_what_they_are_made_from_is_right(path: Path, tmp_path: Path) -> None:
    assert check(path) == []
    render(load(path)).write_dir(tmp_path)
    assert check(tmp_path) == []


def test_every_rule_has_a_wrong_configuration() -> None:
    names = {path.stem for path in [*GATEWAY, *ENVOY]}
    missing = [one for one in RULES if one not in names and one not in ELSEWHERE]
    assert missing == []
