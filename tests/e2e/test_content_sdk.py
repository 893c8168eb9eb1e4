"""Images, files, sound, JSON, choices: carried to who has them, refused where they are lacking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import Json, Running
from tests.e2e.levels import LEVELS, PDF, PNG, WEATHER, said

pytestmark = pytest.mark.e2e

URL = "https://example.com/cat.png"
CLAUDES = ("claude-sonnet", "vertex-claude", "bedrock-claude")
GEMINIS = ("gemini-pro", "vertex-gemini")


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


def shown(*parts: Json) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "What? In JSON."}, *parts]}]


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
LINKED = {"type": "image_url", "image_url": {"url": URL}}
FILE = {
    "type": "file",
    "file": {"filename": "plan.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
}
WAVE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
SOUND = {"type": "input_audio", "input_audio": {"data": WAVE, "format": "wav"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
ONE_CALL = {"tools": [TOOL], "parallel_tool_calls": False}

HAVE: dict[str, tuple[Json, tuple[str, ...], str]] = {
    "image": (
        {"messages": shown(IMAGE)},
        (*CLAUDES, *GEMINIS, "nova", "gpt-4-turbo", "azure-gpt", "router-gpt"),
        PNG,
    ),
    "image by URL": (
        {"messages": shown(LINKED)},
        ("claude-sonnet", "vertex-claude", *GEMINIS, "gpt-4-turbo", "azure-gpt", "router-gpt"),
        URL,
    ),
    "file": (
        {"messages": shown(FILE)},
        (*CLAUDES, *GEMINIS, "nova", "azure-gpt", "router-gpt"),
        PDF,
    ),
    "sound": ({"messages": shown(SOUND)}, GEMINIS, WAVE),
    "n": ({"n": 2}, (*GEMINIS, "gpt-4-turbo", "azure-gpt", "router-gpt"), "2"),
    "logprobs": ({"logprobs": True, "top_logprobs": 2}, ("gpt-4-turbo", "deepseek-flash"), "2"),
    "logit_bias": ({"logit_bias": {"5": 3}}, ("gpt-4-turbo",), "logit_bias"),
    "parallel_tool_calls": (
        {"messages": shown(), **ONE_CALL},
        (*CLAUDES, "gpt-4-turbo", "azure-gpt", "groq-oss", "router-gpt", "deepseek-flash"),
        "weather",
    ),
}
"""What is asked for, who has it, and what of it the provider then gets."""


@pytest.mark.parametrize("feature", HAVE)
def test_carried_or_refused(feature: str, sdk: OpenAI, gateway: Running) -> None:
    asked, have, part = HAVE[feature]
    asked = {"messages": shown(), **asked}
    for target in LEVELS:
        if target in have:
            answer = sdk.chat.completions.create(model=target, **asked)
            assert len(answer.choices) == asked.get("n", 1), target
            assert part in said(gateway), target
            assert (answer.choices[0].logprobs is not None) == (feature == "logprobs"), target
            continue
        before = len(gateway.asked())
        with pytest.raises(openai.BadRequestError) as raised:
            sdk.chat.completions.create(model=target, **asked)
        assert raised.value.code == "unsupported_parameter", target
        # Which target, and what it has not.
        assert target in raised.value.message
        assert any(word in raised.value.message for word in WORDS.get(feature, (feature,)))
        assert len(gateway.asked()) == before


WORDS = {
    "image": ("vision",),
    "image by URL": ("vision",),
    "file": ("files",),
    "sound": ("audio",),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("feature", "server"),
    [
        ("image", "nova"),
        ("image by URL", "azure-gpt"),
        ("file", "nova"),
        ("sound", "vertex-gemini"),
        ("n", "azure-gpt"),
        ("logprobs", "gpt-4-turbo"),
    ],
)
def test_the_next_level_has_it(
    feature: str, server: str, streamed: bool, sdk: OpenAI, gateway: Running
) -> None:
    asked, _, part = HAVE[feature]
    asked = {"messages": shown(), **asked, "stream": streamed}
    answer = sdk.chat.completions.with_raw_response.create(
        model="command", extra_body={"models": ["groq-oss", "command", server]}, **asked
    )
    assert answer.headers["x-tollgate-target"] == server
    assert len(gateway.asked()) == 1
    assert part in said(gateway)
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert "groq-oss:feature" in line["refusals"]


# --- JSON ---------------------------------------------------------------------------------


class Verdict(BaseModel):
    good: bool
    reason: str


WITHOUT_SCHEMA = ("gpt-4-turbo", "deepseek-flash")
FORCED = ("nova",)
"""They have no schemas of their own: a tool is forced in place of one, and that is said."""


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", [one for one in LEVELS if one not in WITHOUT_SCHEMA])
def test_schema_of_a_pydantic_model(target: str, streamed: bool, sdk: OpenAI) -> None:
    if streamed:
        with sdk.chat.completions.stream(
            model=target, messages=shown(), response_format=Verdict
        ) as events:
            choice = events.get_final_completion().choices[0]
    else:
        answer = sdk.chat.completions.with_raw_response.parse(
            model=target, messages=shown(), response_format=Verdict
        )
        choice = answer.parse().choices[0]
        warned = "response_format (by a forced tool)" if target in FORCED else None
        assert answer.headers.get("x-tollgate-warning") == warned
    assert isinstance(choice.message.parsed, Verdict)
    assert choice.message.tool_calls in (None, [])
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("target", WITHOUT_SCHEMA)
def test_schema_where_there_is_none(target: str, sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{target}.*json_schema"):
        sdk.chat.completions.parse(model=target, messages=shown(), response_format=Verdict)
    answer = sdk.chat.completions.with_raw_response.parse(
        model=target,
        messages=shown(),
        response_format=Verdict,
        extra_body={"models": [target, "claude-sonnet"]},
    )
    assert answer.headers["x-tollgate-target"] == "claude-sonnet"
    assert answer.parse().choices[0].message.parsed


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEVELS)
def test_any_json(target: str, streamed: bool, sdk: OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": target,
        "messages": shown(),
        "response_format": {"type": "json_object"},
    }
    answer = sdk.chat.completions.with_raw_response.create(stream=streamed, **asked)
    parsed: Any = answer.parse()
    if streamed:
        deltas = (chunk.choices[0].delta.content for chunk in parsed if chunk.choices)
        text = "".join(one or "" for one in deltas)
    else:
        text = parsed.choices[0].message.content
    assert isinstance(json.loads(text), dict)
    forced = target in (*CLAUDES, "nova")
    warned = "response_format (by a forced tool)" if forced else None
    assert answer.headers.get("x-tollgate-warning") == warned


# --- what is left out ---------------------------------------------------------------------

LEFT_OUT = {
    "claude-sonnet": "seed; presence_penalty; verbosity",
    "vertex-claude": "seed; presence_penalty; verbosity",
    "bedrock-claude": "seed; presence_penalty; verbosity",
    "nova": "seed; presence_penalty; verbosity",
    "gemini-pro": "verbosity",
    "vertex-gemini": "verbosity",
    "command": "verbosity",
    "gpt-4-turbo": None,
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEFT_OUT)
def test_what_changes_nothing_is_left_out(
    target: str, streamed: bool, sdk: OpenAI, gateway: Running
) -> None:
    asked: dict[str, Any] = {
        "model": target,
        "messages": shown(),
        "seed": 7,
        "presence_penalty": 0.1,
        "verbosity": "medium",
        "stream": streamed,
    }
    answer = sdk.chat.completions.with_raw_response.create(**asked)
    expected = LEFT_OUT[target]
    assert answer.headers.get("x-tollgate-warning") == expected
    # A strict route refuses what it would have left out, and takes what can be carried.
    before = len(gateway.asked())
    strict = {"x-test-route": "strict"}
    if expected is None:
        kept = sdk.chat.completions.with_raw_response.create(extra_headers=strict, **asked)
        assert "x-tollgate-warning" not in kept.headers
        return
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.chat.completions.create(extra_headers=strict, **asked)
    assert raised.value.code == "unsupported_parameter"
    assert "strict" in raised.value.message
    assert expected.split("; ", maxsplit=1)[0] in raised.value.message
    assert len(gateway.asked()) == before
    walked = sdk.chat.completions.with_raw_response.create(
        extra_headers=strict, extra_body={"models": [target, "gpt-4-turbo"]}, **asked
    )
    assert walked.headers["x-tollgate-target"] == "gpt-4-turbo"


def test_strict_routes_allow_what_is_only_done_in_another_way(sdk: OpenAI) -> None:
    """JSON by a forced tool is JSON."""
    answer = sdk.chat.completions.with_raw_response.create(
        model="claude-sonnet",
        messages=shown(),
        response_format={"type": "json_object"},
        extra_headers={"x-test-route": "strict"},
    )
    assert answer.headers["x-tollgate-warning"] == "response_format (by a forced tool)"


# --- what providers add -------------------------------------------------------------------


def test_sources_of_an_answer(sdk: OpenAI) -> None:
    """Searches of the web, in OpenAI's words, where a provider searches."""
    for target in ("claude-sonnet", "gemini-pro"):
        chat = sdk.chat.completions.create(
            model=target,
            messages=[{"role": "user", "content": "search the news"}],
            web_search_options={},
        )
        (first, *_) = chat.choices[0].message.annotations or []
        assert first.type == "url_citation"
        assert first.url_citation.url.startswith("http")


def test_unknown_fields_reach_who_speaks_the_format(gateway: Running) -> None:
    """What OpenAI adds tomorrow works today; others leave it out and say so."""
    for target in ("deepseek-flash", "gpt-4-turbo"):
        asked = '{"model": "%s", "messages": %s, "brand_new": {"a": [1, 2.50]}}'
        gateway.raw((asked % (target, json.dumps(shown()))).encode())
        assert '{"a": [1, 2.50]}' in said(gateway)
    for target in ("claude-sonnet", "nova", "command", "gemini-pro"):
        answer = gateway.chat(target, brand_new=1)
        assert answer.headers["x-tollgate-warning"] == "brand_new"
        assert "brand_new" not in said(gateway)


@pytest.mark.parametrize("target", [*LEVELS])
def test_a_chain_around_all_providers(target: str, gateway: Running) -> None:
    """Whoever fails, the next one answers the same request."""
    chain = [target, *(one for one in LEVELS if one != target)][:4]
    script = {"by": {LEVELS[target].port: {"error": "unavailable"}}}
    port = LEVELS[target].port
    answer = gateway.chat(target, models=chain, script=script)
    assert answer.status_code == 200, answer.text
    served = answer.headers["x-tollgate-target"]
    assert LEVELS[served].port != port
    assert served in chain
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert f"{target}:unavailable" in line["refusals"]
