import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import ANTHROPIC, KEYS, Talk

WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object"}}
MODEL = "claude-haiku-4-5"


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=sim.url("anthropic"), api_key="sk-test", max_retries=0
    ) as made:
        yield made


def script(value: Any) -> dict[str, str]:
    return {"x-sim-script": json.dumps(value)}


def ask(text: str = "hello") -> Any:
    return [{"role": "user", "content": text}]


async def test_sdk_reads_a_whole_answer_with_cache_figures_beside_the_input(
    client: anthropic.AsyncAnthropic,
) -> None:
    figures = {"input": 1000, "output": 50, "cached": 600, "cache_write": 300}
    answer = await client.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=ask(),
        extra_headers=script({"text": "naïve 東京", "usage": figures}),
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "naïve 東京"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens == 100
    assert answer.usage.cache_read_input_tokens == 600
    assert answer.usage.cache_creation_input_tokens == 300
    assert answer.usage.output_tokens == 50


async def test_sdk_assembles_a_stream(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(
        model=MODEL,
        max_tokens=100,
        messages=ask(),
        extra_headers=script({"text": "one two", "usage": {"input": 9, "output": 4}}),
    ) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert texts == ["one", " two"]
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 4)
    assert final.stop_reason == "end_turn"


async def test_tools_whole_and_streamed_and_their_results(client: anthropic.AsyncAnthropic) -> None:
    talk_tools: Any = {"max_tokens": 100, "tools": [WEATHER, CLOCK], "model": MODEL}
    first = ask("use get_weather and get_time")
    whole = await client.messages.create(messages=first, **talk_tools)
    assert whole.stop_reason == "tool_use"
    assert [getattr(block, "name", "") for block in whole.content] == ["get_weather", "get_time"]
    async with client.messages.stream(messages=first, **talk_tools) as stream:
        pieces = [event.partial_json async for event in stream if event.type == "input_json"]
        final = await stream.get_final_message()
    uses: Any = final.content
    assert len(pieces) > 3
    assert isinstance(uses[0].input["city"], str)
    dumped: Any = [one.model_dump(exclude_none=True) for one in uses]
    results: Any = [{"type": "tool_result", "tool_use_id": one.id, "content": "5"} for one in uses]
    answer = await client.messages.create(
        messages=[
            *first,
            {"role": "assistant", "content": dumped},
            {"role": "user", "content": results},
        ],
        **talk_tools,
    )
    assert answer.content[0].type == "text"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "none"}, [""]),
        ({"type": "auto"}, [""]),
    ],
)
async def test_tool_choice(client: anthropic.AsyncAnthropic, choice: Any, names: list[str]) -> None:
    answer = await client.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=ask(),
        tools=[WEATHER, CLOCK],
        tool_choice=choice,
    )
    assert [getattr(block, "name", "") for block in answer.content] == names


async def test_thinking_comes_before_the_text(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(
        model=MODEL,
        max_tokens=2000,
        messages=ask(),
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]


async def test_models_in_anthropics_shape(client: anthropic.AsyncAnthropic) -> None:
    listed = await client.models.list()
    assert MODEL in [model.id for model in listed.data]
    assert (await client.models.retrieve(MODEL)).type == "model"


async def test_keys_and_version(client: anthropic.AsyncAnthropic, talk: Talk) -> None:
    with pytest.raises(anthropic.AuthenticationError, match="invalid bearer token"):
        await client.with_options(api_key="wrong").messages.create(
            model=MODEL, max_tokens=1, messages=ask()
        )
    body = {"model": MODEL, "max_tokens": 1, "messages": ask()}
    missing = await talk.send("anthropic", ANTHROPIC, body, keyed=False)
    assert missing.json["error"]["type"] == "authentication_error"
    headers = {"x-api-key": "k"}
    versionless = await talk.send("anthropic", ANTHROPIC, body, keyed=False, headers=headers)
    assert versionless.status == 400
    assert versionless.json["error"]["message"] == "anthropic-version: header is required"


TEXT: Any = {"type": "text", "text": "x"}
USE: Any = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"foo": 1}, "foo: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"temperature": 2}, "temperature: Input should be less than or equal to 1"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain"),
        ({"max_tokens": 10**6}, "max_tokens: 1000000 > 64000"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: tool_choice may only be specified"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{**CLOCK, "x": 1}]}, "tools.0.custom.x: Extra inputs are not permitted"),
        ({"tools": [CLOCK, CLOCK]}, "tools: Tool names must be unique."),
        ({"tools": [{"type": "magic_1", "name": "x"}]}, "tools.0: Input tag 'magic_1'"),
        ({"temperature": 0.5, "top_p": 0.5}, "`temperature` and `top_p` cannot both"),
        ({"model": "claude-opus-4-8", "temperature": 0.5}, "`temperature` is deprecated"),
        (
            {"messages": [{"role": "user", "content": [{**TEXT, "foo": 1}]}]},
            "messages.0.content.0.text.foo: Extra inputs are not permitted",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x"}]},
            'messages: first message must use the "user" role',
        ),
        (
            {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]},
            "messages.0: all messages must have non-empty content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "messages: text content blocks must be non-empty",
        ),
        (
            {"messages": [{"role": "user", "content": [RESULT]}]},
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1.",
        ),
        (
            {"messages": [*ask(), {"role": "assistant", "content": [USE]}, *ask()]},
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after",
        ),
        (
            {"messages": [{"role": "user", "content": [USE]}]},
            "messages.0: `tool_use` blocks can only be in `assistant` messages",
        ),
        (
            {"messages": [*ask(), {"role": "assistant", "content": "so "}]},
            "messages: final assistant content cannot end with trailing whitespace",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 5}},
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
    ],
)
async def test_refuses_as_anthropic_does(talk: Talk, body: Any, message: str) -> None:
    sent = {"model": MODEL, "max_tokens": 10, "messages": ask()} | body
    heard = await talk.send("anthropic", ANTHROPIC, sent)
    assert heard.status == 400
    assert heard.json["type"] == "error"
    assert heard.json["error"]["type"] == "invalid_request_error"
    assert heard.json["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"temperature": 1.0}, "temperature: Extra inputs are not permitted"),
        ({"top_k": 5}, "top_k: Extra inputs are not permitted"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{**TEXT, "citations": [{"type": "x"}]}]},
                ]
            },
            "messages.0.content.0.text.citations",
        ),
    ],
)
async def test_the_newer_api_version_takes_less(talk: Talk, body: Any, message: str) -> None:
    sent = {"model": MODEL, "max_tokens": 10, "messages": ask()} | body
    newer = {"anthropic-version": "2026-10-21"}
    assert (await talk.send("anthropic", ANTHROPIC, sent)).status == 200
    heard = await talk.send("anthropic", ANTHROPIC, sent, headers=newer)
    assert heard.status == 400
    assert heard.json["error"]["message"].startswith(message)


async def test_missing_max_tokens_and_unknown_model(talk: Talk) -> None:
    heard = await talk.send("anthropic", ANTHROPIC, {"model": MODEL, "messages": ask()})
    assert heard.json["error"]["message"] == "max_tokens: Field required"
    heard = await talk.chat("anthropic", model="claude-does-not-exist")
    assert heard.status == 404
    assert heard.json["error"] == {
        "type": "not_found_error",
        "message": "model: claude-does-not-exist",
    }


async def test_two_turns_of_one_role_are_taken_as_one(talk: Talk) -> None:
    heard = await talk.chat("anthropic", messages=[*ask(), *ask()])
    assert heard.status == 200


async def test_too_large_is_413(talk: Talk) -> None:
    heard = await talk.send("anthropic", ANTHROPIC, b" " * (32 * 1024 * 1024 + 1))
    assert heard.status == 413
    assert heard.json["error"]["type"] == "request_too_large"


async def test_every_port_speaks_anthropic(talk: Talk) -> None:
    body = {"model": MODEL, "max_tokens": 10, "messages": ask()}
    heard = await talk.send("openai", ANTHROPIC, body, keyed=False, headers=KEYS["anthropic"])
    assert heard.json["type"] == "message"
