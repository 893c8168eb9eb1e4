"""What `tollgate run` tells the service, and of a part that ended."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import click
import pytest

from extproc.cli.run import run
from extproc.cli.serve import serve
from extproc.config.gateway import Gateway
from extproc.stack import SERVICE_SECRETS, Options, Part, Stack

EMPTY = Gateway(providers={}, targets={}, chains={}, routes=[])
GIVEN = {
    "embedder": "http",
    "embedder_url": "http://host/",
    "embedder_model": "m",
    "vectors": "postgresql://me:secret@host/",
    "cache_entries": 7,
    "cache_mib": 3,
}


def stack(**env: str) -> Stack:
    options = Options(config=Path("gateway.yaml"), folder=Path("folder"), **GIVEN)  # type: ignore[arg-type]
    return Stack(options, env=env)


def read(one: Stack) -> click.Context:
    """What `tollgate serve` makes of it."""
    command, *arguments = one._service_arguments()
    assert command == "serve"
    env = one._service_env(EMPTY)
    with_env = [
        word
        for param in serve.params
        if isinstance(param.envvar, str) and param.envvar in env
        for word in (param.opts[0], env[param.envvar])
    ]
    return serve.make_context("serve", [*with_env, *arguments])


def test_the_caches_flags_go_on_to_the_service() -> None:
    found = read(stack())
    assert {name: found.params[name] for name in GIVEN} == GIVEN
    assert found.params["judge_url"] == "http://127.0.0.1:10000"


def test_a_judge_may_be_asked_elsewhere() -> None:
    found = read(stack(TOLLGATE_JUDGE_URL="http://other:1"))
    assert found.params["judge_url"] == "http://other:1"


def test_no_argument_shows_a_password_and_envoy_is_not_told_it() -> None:
    assert not any("secret" in one for one in stack()._service_arguments())
    hidden = {"TOLLGATE_EMBEDDER_TOKEN", "TOLLGATE_JUDGE_KEY", "TOLLGATE_VECTORS"}
    assert hidden <= set(SERVICE_SECRETS)
    assert not hidden & set(stack(**dict.fromkeys(hidden, "secret"))._keys(EMPTY))


def test_every_flag_is_an_option_of_the_stack_with_the_same_default() -> None:
    defaults = {one.name: one.default for one in fields(Options)}
    for param in run.params:
        name = param.name or ""
        if name in GIVEN:
            assert param.default == defaults[name], name
    assert set(GIVEN) <= {param.name for param in run.params}


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "it logged nothing"),
        ("one\ntwo\n\n", "two"),
        ("[critical][assert] why\n[critical][backtrace] Caught\n  at\n", "[critical][assert] why"),
    ],
)
def test_why_a_part_ended(log: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "envoy.log").write_text(log)
    assert Part("envoy", tmp_path / "envoy.log", Mock()).last_words() == said
