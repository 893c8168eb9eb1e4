"""Compatible servers: what each takes, and how it writes answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Talk

KEY = {"authorization": "Bearer any"}
CHAT = "/v1/chat/completions"
SCRIPT = {"thinking": "I think", "text": "so", "usage": {"input": 9, "output": 5, "cached": 4}}
SERVERS = ("deepseek", "groq", "openrouter")


@pytest.fixture
async def kin() -> AsyncIterator[Talk]:
    """A port of each server, by its name."""
    async with Simulator(dict.fromkeys(SERVERS, 0)) as sim, Talk(sim) as talk:
        yield talk


def body(*more_turns: Any, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "hello"}, *more_turns]
    return {"model": "some-model", "messages": turns, **more}


async def both(
    talk: Talk, port: str, path: str = CHAT, script: Any = SCRIPT, **more: Any
) -> tuple[Any, list[Any]]:
    whole = await talk.send(port, path, body(**more), headers=KEY, script=script)
    sent = body(**more, stream=True)
    stream = await talk.send(port, path, sent, headers=KEY, script=script)
    assert (whole.status, stream.status) == (200, 200), whole.body + stream.body
    return whole.json, stream.events


def said(events: list[Any], key: str) -> str:
    return "".join(one["choices"][0]["delta"].get(key) or "" for one in events if one["choices"])


@pytest.mark.parametrize("port", SERVERS)
async def test_answers_are_openais_for_its_sdk(kin: Talk, port: str) -> None:
    whole, events = await both(kin, port)
    for one in (whole, *events):
        if port == "groq":
            assert one.pop("service_tier") == "on_demand"  # no word of OpenAI's
    ChatCompletion.model_validate(whole, strict=True)
    for event in events:
        ChatCompletionChunk.model_validate(event, strict=True)
    assert kin.last().dialect == port


async def test_deepseek(kin: Talk) -> None:
    whole, events = await both(kin, "deepseek")
    message = whole["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("I think", "so")
    assert said(events, "reasoning_content") == "I think"
    assert whole["usage"]["prompt_cache_hit_tokens"] == 4
    assert whole["usage"]["prompt_cache_miss_tokens"] == 5
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["total_tokens"] == 14


async def test_openrouter(kin: Talk) -> None:
    whole, events = await both(kin, "openrouter")
    message = whole["choices"][0]["message"]
    assert message["reasoning"] == "I think"
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "I think", "format": "unknown", "index": 0}
    ]
    assert said(events, "reasoning") == "I think"
    assert whole["choices"][0]["native_finish_reason"] == "stop"
    assert whole["provider"]
    assert events[-1]["usage"]["cost"] > 0


async def test_groq(kin: Talk) -> None:
    whole, events = await both(kin, "groq")
    assert whole["choices"][0]["message"]["reasoning"] == "I think"
    assert said(events, "reasoning") == "I think"
    assert events[0]["x_groq"].keys() == {"id"}
    assert events[-1]["x_groq"]["usage"]["total_tokens"] == 14
    assert "total_time" in whole["usage"]


@pytest.mark.parametrize(
    ("port", "more"),
    [
        ("deepseek", {"thinking": {"type": "enabled"}}),
        ("openrouter", {"reasoning": {"effort": "high"}}),
        ("groq", {"reasoning_format": "parsed"}),
    ],
)
async def test_reasons_when_asked_to(kin: Talk, port: str, more: dict[str, Any]) -> None:
    shown, _ = await both(kin, port, script=None, **more)
    plain, _ = await both(kin, port, script=None)
    keys = {"reasoning", "reasoning_content"}
    assert keys & shown["choices"][0]["message"].keys()
    assert not keys & plain["choices"][0]["message"].keys()
    assert shown["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


@pytest.mark.parametrize(
    ("port", "key", "fine"),
    [
        ("deepseek", "reasoning_content", True),
        ("deepseek", "reasoning", False),
        ("groq", "reasoning", True),
        ("groq", "reasoning_content", False),
        ("openrouter", "reasoning", True),
    ],
)
async def test_takes_back_reasoning_under_its_own_name(
    kin: Talk, port: str, key: str, fine: bool
) -> None:
    turns = ({"role": "assistant", "content": "a", key: "b"}, {"role": "user", "content": "c"})
    heard = await kin.send(port, CHAT, body(*turns), headers=KEY)
    assert heard.status == (200 if fine else 400)


async def test_cache_marks_are_openrouters_alone(kin: Talk) -> None:
    text = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    turn = {"role": "user", "content": [text]}
    assert (await kin.send("openrouter", CHAT, body(turn), headers=KEY)).status == 200
    heard = await kin.send("groq", CHAT, body(turn), headers=KEY)
    assert "cache_control" in heard.json["error"]["message"]


async def test_openrouters_own_tools_are_taken(kin: Talk) -> None:
    tools = [{"type": "openrouter:web_search", "parameters": {"max_results": 3}}]
    assert (await kin.send("openrouter", CHAT, body(tools=tools), headers=KEY)).status == 200
    assert (await kin.send("groq", CHAT, body(tools=tools), headers=KEY)).status == 400


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/openai/v1/chat/completions", "x_groq"),
        ("/api/v1/chat/completions", "provider"),
        ("/chat/completions", None),
        ("/v1/chat/completions", "service_tier"),
    ],
)
async def test_the_path_tells_the_server(talk: Talk, path: str, mark: str | None) -> None:
    heard = await talk.send("openai", path, body(), script={"thinking": "x"})
    assert heard.status == 200
    if mark is None:
        assert "prompt_cache_hit_tokens" in heard.json["usage"]
    else:
        assert mark in heard.json


async def test_a_script_tells_the_server(talk: Talk) -> None:
    for server in SERVERS:
        told = await talk.chat("openai", script=SCRIPT | {"server": server})
        own = await both(talk, "openai", script=SCRIPT | {"server": server})
        assert told.json.keys() == own[0].keys()
    heard = await talk.chat("openai", script={"server": "azure", "status": 429})
    assert heard.json["error"]["code"] == "429"


@pytest.mark.parametrize(
    ("port", "error"),
    [
        (
            "deepseek",
            {"type": "authentication_error", "param": None, "code": "invalid_request_error"},
        ),
        ("groq", {"type": "invalid_request_error", "code": "invalid_api_key"}),
        ("openrouter", {"code": 401}),
    ],
)
async def test_wrong_keys_in_each_servers_words(
    kin: Talk, port: str, error: dict[str, Any]
) -> None:
    heard = await kin.send(port, CHAT, body(), headers={"authorization": "Bearer wrong"})
    found = heard.json["error"]
    assert heard.status == 401
    assert found.pop("message")
    assert found == error


async def test_what_a_server_does_not_have_is_404(kin: Talk) -> None:
    for path in ("/v1/responses", "/v1/embeddings"):
        heard = await kin.send("deepseek", path, {"model": "m", "input": "x"}, headers=KEY)
        assert heard.status == 404
