import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import OPENAI, Talk

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
CLOCK: Any = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=sim.url("openai") + "/v1", api_key="sk-test", max_retries=0
    ) as made:
        yield made


def script(value: Any) -> dict[str, str]:
    return {"x-sim-script": json.dumps(value)}


def ask(text: str = "hello") -> Any:
    return [{"role": "user", "content": text}]


async def test_sdk_reads_a_whole_answer_and_its_usage(client: openai.AsyncOpenAI) -> None:
    figures = {"input": 1000, "output": 50, "cached": 600, "reasoning": 20}
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=ask(),
        extra_headers=script({"text": "naïve 東京 🚦", "usage": figures}),
    )
    assert answer.choices[0].message.content == "naïve 東京 🚦"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.completion_tokens_details is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 50)
    assert answer.usage.prompt_tokens_details.cached_tokens == 600
    assert answer.usage.completion_tokens_details.reasoning_tokens == 20


async def test_sdk_streams_the_same_text_with_usage_only_when_asked(
    client: openai.AsyncOpenAI,
) -> None:
    asked = script({"text": "one two three", "usage": {"input": 7, "output": 5}})
    with_usage = await client.chat.completions.create(
        model="gpt-4o",
        messages=ask(),
        stream=True,
        stream_options={"include_usage": True},
        extra_headers=asked,
    )
    chunks = [chunk async for chunk in with_usage]
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "one two three"
    assert all(c.usage is None and "usage" in c.model_fields_set for c in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 12
    without = await client.chat.completions.create(
        model="gpt-4o", messages=ask(), stream=True, extra_headers=asked
    )
    chunks = [chunk async for chunk in without]
    assert all("usage" not in c.model_fields_set for c in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_prompt_that_names_tools_calls_them_in_parallel(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=ask("use get_weather and get time"), tools=[WEATHER, CLOCK]
    )
    calls: Any = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    arguments = json.loads(calls[0].function.arguments)
    assert isinstance(arguments["city"], str)
    assert isinstance(arguments["days"], int)
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"tool_choice": "required"}, ["get_weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"tool_choice": "none"}, []),
        ({}, []),
    ],
)
async def test_tool_choice(
    client: openai.AsyncOpenAI, more: dict[str, Any], names: list[str]
) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=ask(), tools=[WEATHER, CLOCK], **more
    )
    calls: Any = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == names


async def test_parallel_calls_off_gives_one(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=ask("get_weather get_time"),
        tools=[WEATHER, CLOCK],
        parallel_tool_calls=False,
    )
    assert len(answer.choices[0].message.tool_calls or []) == 1


async def test_streamed_arguments_come_in_pieces_and_a_turn_with_results_ends_in_text(
    client: openai.AsyncOpenAI,
) -> None:
    async with client.chat.completions.stream(
        model="gpt-4o", messages=ask("call get_weather, get_time"), tools=[WEATHER, CLOCK]
    ) as stream:
        pieces = [e async for e in stream if e.type == "tool_calls.function.arguments.delta"]
        final = await stream.get_final_completion()
    calls: Any = final.choices[0].message.tool_calls
    assert len(pieces) > 3
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    messages: Any = [
        *ask("call get_weather, get_time"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    },
                }
                for call in calls
            ],
        },
        *({"role": "tool", "tool_call_id": call.id, "content": "{}"} for call in calls),
    ]
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=messages, tools=[WEATHER, CLOCK]
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


async def test_schema_is_answered_with_fitting_json(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=ask(),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": WEATHER["function"]["parameters"]},
        },
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"city", "days"}


async def test_max_tokens_cuts_the_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=ask(), max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_several_choices(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=ask(), n=2, stream=True, extra_headers=script({"text": "a b"})
    )
    texts = {0: "", 1: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "a b", 1: "a b"}


async def test_models(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert "gpt-4o" in names
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"foo": 1}, "foo", "unknown_parameter"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": "x", "cache_control": {}}]},
            "messages[0].cache_control",
            "unknown_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
            "invalid_type",
        ),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"tools": []}, "tools", "empty_array"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"metadata": {"a": "b"}}, None, None),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"reasoning_effort": "low"}, "reasoning_effort", None),
        ({"model": "gpt-5", "max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        ({"model": "o3", "temperature": 0.5}, "temperature", "unsupported_value"),
    ],
)
async def test_refuses_as_openai_does(
    talk: Talk, body: Any, param: str | None, code: str | None
) -> None:
    sent = {"model": "gpt-4o", "messages": ask()} | body
    heard = await talk.send("openai", OPENAI, sent)
    assert heard.status == 400
    error = heard.json["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    name = next(iter(body)) if param is None else param
    assert name.strip("0") in error["message"] or code == "invalid_value"


async def test_messages_of_two_known_refusals_are_word_for_word(talk: Talk) -> None:
    heard = await talk.chat("openai", messages=[])
    assert heard.json["error"]["message"] == (
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
        "empty array instead."
    )
    heard = await talk.chat("openai", temperature=-1)
    assert heard.json["error"]["message"] == (
        "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 "
        "instead."
    )


async def test_tool_messages_must_follow_their_calls(talk: Talk) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "x"}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    fine = await talk.chat("openai", messages=[*ask(), turn, result])
    orphan = await talk.chat("openai", messages=[*ask(), result])
    unanswered = await talk.chat("openai", messages=[*ask(), turn, *ask()])
    assert fine.status == 200
    assert "must be a response to" in orphan.json["error"]["message"]
    assert "c1" in unanswered.json["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "\xff"}', b"[]", b"{} x", b"[" * 5000])
async def test_a_body_that_is_no_json_object_is_400(talk: Talk, body: bytes) -> None:
    heard = await talk.send("openai", OPENAI, body)
    assert heard.status == 400
    assert heard.json["error"]["type"] == "invalid_request_error"


async def test_keys(client: openai.AsyncOpenAI, talk: Talk) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.with_options(api_key="sk-wrong-key").chat.completions.create(
            model="gpt-4o", messages=ask()
        )
    assert caught.value.code == "invalid_api_key"
    missing = await talk.send("openai", OPENAI, {"model": "m"}, keyed=False)
    assert missing.status == 401
    assert "You didn't provide an API key" in missing.json["error"]["message"]
    keyless = await talk.chat("local", model="llama-3.3-70b", top_k=4)
    assert keyless.status == 200


async def test_other_base_paths_and_unknown_paths(talk: Talk) -> None:
    body = {"model": "gpt-4o", "messages": ask()}
    for path in ("/openai/v1/chat/completions", "/v1beta/openai/chat/completions"):
        assert (await talk.send("openai", path, body)).status == 200
    nowhere = await talk.send("openai", "/v1/nowhere", body)
    assert nowhere.status == 404
    assert nowhere.json["error"]["message"] == "Invalid URL (POST /v1/nowhere)"


async def test_unknown_model_is_404_in_the_providers_words(talk: Talk) -> None:
    for name in ("claude-sonnet-4-5", "gpt-unknown"):
        heard = await talk.chat("openai", model=name)
        assert (heard.status, heard.json["error"]["code"]) == (404, "model_not_found")
