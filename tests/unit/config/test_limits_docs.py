"""docs/limits.md against the code: its examples load, its tables are whole, its words are ours."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from extproc import headers as h
from extproc.config.loading import load
from extproc.limits import told
from extproc.limits.amounts import FIRST_OUTPUT, STRICT_OUTPUT
from extproc.limits.expression import SECONDS
from extproc.limits.leases import SHARE
from extproc.limits.options import OPTIONS
from extproc.limits.rule import DIMENSIONS, MEASURES
from extproc.limits.rules import Compiled, check_own
from extproc.policy import HostPolicy, QueuePolicy, RoutePolicy
from extproc.records import NOBODY
from extproc.state.counters import LEASE, Standing

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "limits.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
JSON = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BASE = """\
providers: {openai: {dialect: openai, url: "https://api.openai.com", key_env: OPENAI_API_KEY}}
targets:
  gpt: {provider: openai, model: gpt-4o}
  mini: {provider: openai, model: gpt-4o-mini}
chains: {flagship: [gpt], cheap: [mini]}
routes: [{name: everything, chain: flagship}]
"""


def whole(text: str) -> str:
    """An example with all that it does not say."""
    yaml = YAML(typ="safe")
    said: dict[str, Any] = yaml.load(BASE)
    for name, value in yaml.load(text).items():
        named = isinstance(said.get(name), dict)
        said[name] = {**said[name], **value} if named else value
    out = io.StringIO()
    yaml.dump(said, out)
    return out.getvalue()


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_load(text: str) -> None:
    gateway = load(whole(text))
    assert gateway.limits or gateway.tiers or gateway.providers["anthropic"].limits


def test_all_yaml_is_tested() -> None:
    assert len(EXAMPLES) == PAGE.count("```yaml") == 6


def test_a_keys_own_limits_may_be_so() -> None:
    check_own(msgspec.json.decode(JSON[0]))


def test_expressions_of_the_tables_are_read() -> None:
    """What stands in the table of amounts and in the one of choices can be said."""
    table = PAGE[PAGE.index("| how much |") : PAGE.index("A list says several")]
    for text in re.findall(r"`([0-9][0-9a-zA-Z]*/[a-z]+(?: rolling)?)`", table):
        Compiled(HostPolicy(limits={"user": {"tokens": text}}), RoutePolicy(route="r", chain="c"))
    choices = PAGE[PAGE.index("| you want |") : PAGE.index("Tokens per hour as a bucket")]
    said = YAML(typ="safe").load(re.findall(r"`(user: .*?)`", choices)[0])
    Compiled(HostPolicy(limits=said), RoutePolicy(route="r", chain="c"))


def test_every_dimension_measure_unit_and_option_is_told() -> None:
    part = PAGE[PAGE.index("## Whose, of what") : PAGE.index("## Reserved, then settled")]
    words = set(re.findall(r"`([a-z_]+)`", part))
    assert {*DIMENSIONS, *MEASURES, *OPTIONS, "all"} <= words
    assert {*SECONDS, "request"} <= set(re.findall(r"/([a-z]+)", part))


def test_every_error_is_told() -> None:
    source = (ROOT / "extproc" / "limits" / "told.py").read_text()
    codes = set(re.findall(r'"([a-z]+_[a-z_]+|displaced)"', source))
    types = {"server_error", "rate_limit_error", "output_tokens", "input_tokens"}
    assert {code for code in codes - types if f"`{code}`" not in PAGE} == set()


def test_headers_are_told() -> None:
    for name in (h.BUDGET, h.QUEUE_POSITION, h.QUEUE_WAIT, h.DEADLINE, h.PRIORITY, h.RETRY_AFTER):
        assert f"`{name}`" in PAGE
    assert f"`{h.RATE_LIMIT}{{limit,remaining,reset}}-requests`" in PAGE


def test_the_refusal_reads_so() -> None:
    tiers = {"free": {"tokens": "10000/d", "upgrade_url": "https://acme.example/plans"}}
    compiled = Compiled(HostPolicy(tiers=tiers), RoutePolicy(route="r", chain="c"))
    caller = msgspec.structs.replace(NOBODY, tier="free")
    rule = compiled.of(caller).rules[0]
    standing = Standing(9240, 30_600, 30_600)
    assert str(told.refused(rule, 1310, standing, 30_600, 1_795_483_800).message) in PAGE


def test_numbers() -> None:
    assert f"({FIRST_OUTPUT:,} while nothing is known)" in PAGE
    assert f"at most {STRICT_OUTPUT:,} tokens an answer" in PAGE
    assert f"{SHARE:.0%} of the limit divided by the processes".replace("%", " %") in PAGE
    assert LEASE == 10.0
    assert QueuePolicy().ttl == 10.0
