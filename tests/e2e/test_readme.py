"""What README shows a newcomer runs as it is written; only the port is another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc.config import load
from tests.e2e.conftest import Running, running

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONFIG = ROOT / "envoy" / "gateway.yaml"
ADDRESS = "http://127.0.0.1:10000"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    """The code blocks of README in one language; "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What `make run` starts, on other ports."""
    with running(tmp_path_factory.mktemp("readme"), CONFIG) as found:
        yield found


def run(command: str, gateway: Running) -> str:
    """Run a command of the README against the gateway; what it printed."""
    assert ADDRESS in command
    done = subprocess.run(
        ["bash", "-ec", command.replace(ADDRESS, gateway.root)],  # noqa: S607 - the machine's own
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_like(shown: Any, found: Any, where: str = "") -> None:
    """Everything shown is there, of the same kind."""
    assert type(found) is type(shown), where
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in found, f"{where}.{name}"
            check_like(value, found[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(found) == len(shown), where
        for at, (one, other) in enumerate(zip(shown, found, strict=True)):
            check_like(one, other, f"{where}[{at}]")


def test_the_curl_and_its_answer(fresh: Running) -> None:
    (command,) = [one for one in blocks("sh") if one.startswith("curl ")]
    (shown,) = [json.loads(one) for one in blocks("json")]
    found = json.loads(run(command, fresh))
    check_like(shown, found)
    for name in ("object", "model"):
        assert found[name] == shown[name]
    assert found["choices"][0]["finish_reason"] == shown["choices"][0]["finish_reason"]


def test_the_headers(fresh: Running) -> None:
    (shown,) = [one for one in blocks("") if one.startswith("x-tollgate-request-id")]
    (command,) = [one for one in blocks("sh") if one.startswith("curl ")]
    head = run(command.replace("curl ", "curl -sSi ", 1), fresh).partition("\n\n")[0]
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    for line in shown.splitlines():
        name, value = line.split(": ", 1)
        assert name in headers
        if name not in {"x-tollgate-request-id", "x-tollgate-cost"}:
            assert headers[name] == value
    assert 0 < float(headers["x-tollgate-cost"]) < 1


def test_what_was_asked_before(fresh: Running) -> None:
    (shown,) = [one for one in blocks("") if one.startswith("x-tollgate-cache")]
    (command,) = [one for one in blocks("sh") if one.startswith("for text")]
    found = [line.split(": ")[1].split(";")[0] for line in run(command, fresh).splitlines()]
    wanted = [line.split(": ")[1].split(";")[0] for line in shown.splitlines()]
    assert found[:2] == wanted[:2]
    # One in twenty, and more of the first, goes to the provider to see what it would say.
    assert found[2] in (wanted[2], "miss")


@pytest.mark.parametrize(
    ("number", "said", "model", "asked"),
    [
        (0, "answer.choices[0].message.content", "answer.model", "claude-sonnet-4-5"),
        (1, "message.content[0].text", "message.model", "gpt-4-turbo"),
    ],
    ids=["openai", "anthropic"],
)
def test_the_python(fresh: Running, number: int, said: str, model: str, asked: str) -> None:
    code = blocks("python")[number]
    assert ADDRESS in code
    fresh.forget()
    told = f"{code}\nassert {said}\nprint({model})"
    done = subprocess.run(
        [sys.executable, "-c", told.replace(ADDRESS, fresh.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (sent,) = fresh.asked()
    assert done.stdout.strip() == sent["model"] == asked


def test_the_targets_that_the_python_names(fresh: Running) -> None:
    found = re.search(r"# or a target: ([\w ,.-]+)", README)
    assert found is not None
    names = [name.strip() for name in found[1].split(",")]
    assert len(names) == 4
    for name in names:
        assert fresh.chat(name).headers["x-tollgate-target"] == name


def test_the_curl_that_is_printed_at_the_start(fresh: Running) -> None:
    printed = fresh.log.read_text()
    assert f"http://127.0.0.1:{fresh.port}/v1" in printed
    command = printed[printed.index("curl ") :].partition("\n\n")[0]
    done = subprocess.run(
        ["bash", "-ec", command],  # noqa: S607 - the machine's own
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["object"] == "chat.completion"


@pytest.mark.parametrize("number", [0, 1])
def test_the_tollgate_commands(fresh: Running, number: int) -> None:
    """They are of the environment that `make` makes, and ask the gateway that runs."""
    block = [one for one in blocks("sh") if one.startswith(".venv/bin/tollgate ")][number]
    fresh.chat("flagship", headers={"x-tollgate-feature": "greeting"})
    own = f"{sys.executable} -m extproc.cli "
    for line in block.replace(".venv/bin/tollgate ", own).splitlines():
        done = subprocess.run(
            ["bash", "-ec", line],  # noqa: S607 - the machine's own
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "TOLLGATE_ADMIN": f"http://127.0.0.1:{fresh.admin}"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_keys() -> None:
    """Every variable that README names stands for a provider, and none is missing."""
    named = set(re.findall(r"`([A-Z]+_API_KEY)`", README))
    assert named == {one.key_env for one in load(CONFIG).providers.values() if one.key_env}


def test_the_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\S+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert commands == ["run", "test"]
    for target in commands:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [one or other for one, other in LINK.findall(page.read_text())]
    local = [link.partition("#")[0] for link in links if "://" not in link]
    missing = [link for link in local if link and not (page.parent / link).exists()]
    assert missing == []
