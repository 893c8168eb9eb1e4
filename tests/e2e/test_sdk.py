"""The OpenAI SDK through Envoy, against each provider's dialect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any, cast

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import (
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)
from pydantic import BaseModel

from tests.e2e.conftest import Running

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
TARGETS = {
    "claude-sonnet": "claude-sonnet-4-5",
    "gpt-4-turbo": "gpt-4-turbo",
    "gemini-pro": "gemini-2.5-pro",
    "llama": "llama-3.1-8b-instruct",
}
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a place",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["place"],
            },
        },
    },
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}},
]


def scripted(**script: Any) -> dict[str, str]:
    return {"x-sim-script": json.dumps(script)}


@pytest.fixture
def sync(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


# --- chat ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
async def test_chat(target: str, client: AsyncOpenAI, gateway: Running) -> None:
    answer = await client.chat.completions.with_raw_response.create(model=target, messages=HELLO)
    chat = answer.parse()
    assert chat.choices[0].message.content
    assert chat.choices[0].finish_reason == "stop"
    assert chat.model == TARGETS[target]
    assert answer.headers["x-tollgate-target"] == target
    (sent,) = gateway.asked()
    assert chat.usage is not None
    assert chat.usage.prompt_tokens == sent["usage"]["input"]
    assert chat.usage.completion_tokens == sent["usage"]["output"]


@pytest.mark.parametrize("target", TARGETS)
def test_chat_without_async(target: str, sync: OpenAI) -> None:
    text = 'naïve 東京 🚦\n"quoted" \\ and\ttabbed'
    chat = sync.chat.completions.create(
        model=target, messages=HELLO, extra_headers=scripted(text=text)
    )
    assert chat.object == "chat.completion"
    assert chat.id.startswith("chatcmpl-")
    assert chat.created > 1_700_000_000
    assert chat.choices[0].message.role == "assistant"
    assert chat.choices[0].message.content == text
    assert chat.choices[0].message.tool_calls is None


@pytest.mark.parametrize("target", TARGETS)
async def test_stream(target: str, client: AsyncOpenAI, gateway: Running) -> None:
    text = "".join(f"word {number} naïve 🚦 " for number in range(50))
    stream = await client.chat.completions.create(
        model=target, messages=HELLO, stream=True, extra_headers=scripted(text=text, events=37)
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {TARGETS[target]}
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(one.delta.content or "" for one in choices) == text
    assert [one.finish_reason for one in choices if one.finish_reason] == ["stop"]
    (sent,) = gateway.asked()
    assert sent["stream"]


@pytest.mark.parametrize("target", TARGETS)
def test_stream_with_usage(target: str, sync: OpenAI, gateway: Running) -> None:
    stream = sync.chat.completions.create(
        model=target, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == []
    assert last.usage is not None
    (sent,) = gateway.asked()
    usage = sent["billed"]
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (
        usage["input"],
        usage["output"],
    )
    assert last.usage.prompt_tokens_details is not None
    assert last.usage.prompt_tokens_details.cached_tokens == usage["cached"]


@pytest.mark.parametrize("target", TARGETS)
async def test_events_of_a_stream_come_one_by_one(target: str, client: AsyncOpenAI) -> None:
    """A stream is not gathered on its way: the first words come long before the last."""
    stream = await client.chat.completions.create(
        model=target,
        messages=HELLO,
        stream=True,
        extra_headers=scripted(text="one two three four five six", events=6, rate=10),
    )
    came = [
        time.monotonic()
        async for chunk in stream
        if chunk.choices and chunk.choices[0].delta.content
    ]
    assert len(came) == 6
    # Sent 0.1 s apart.
    assert came[-1] - came[0] > 0.3


# --- what is said -------------------------------------------------------------------------

TURNS: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": "In English."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": [{"type": "text", "text": "Three"}, {"type": "text", "text": "?"}]},
]


@pytest.mark.parametrize("target", TARGETS)
def test_turns(target: str, sync: OpenAI, gateway: Running) -> None:
    chat = sync.chat.completions.create(model=target, messages=TURNS)
    assert chat.choices[0].finish_reason == "stop"
    (sent,) = gateway.asked()
    body = sent["body"]
    if target == "claude-sonnet":
        system = json.dumps(body["system"])
        roles = [(one["role"], json.dumps(one["content"])) for one in body["messages"]]
    elif target == "gemini-pro":
        system = json.dumps(body["systemInstruction"])
        roles = [(one["role"], json.dumps(one["parts"])) for one in body["contents"]]
    else:
        assert body["messages"] == TURNS
        return
    assert system.index("Be brief.") < system.index("In English.")
    assert [role for role, _ in roles] == [
        "user",
        "model" if target == "gemini-pro" else "assistant",
        "user",
    ]
    for (_, content), words in zip(roles, (["One?"], ["Two."], ["Three", "?"]), strict=True):
        assert all(word in content for word in words)


@pytest.mark.parametrize("target", TARGETS)
def test_sampling(target: str, sync: OpenAI, gateway: Running) -> None:
    sync.chat.completions.create(
        model=target, messages=HELLO, temperature=0.25, max_tokens=77, stop=["END", "STOP"]
    )
    (sent,) = gateway.asked()
    body = sent["body"]
    if target == "gemini-pro":
        config = body["generationConfig"]
        found = (config["temperature"], config["maxOutputTokens"], config["stopSequences"])
    elif target == "claude-sonnet":
        found = (body["temperature"], body["max_tokens"], body["stop_sequences"])
    else:
        found = (body["temperature"], body["max_tokens"], body["stop"])
    assert found == (0.25, 77, ["END", "STOP"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_output_that_reaches_its_limit(
    target: str, stream: bool, sync: OpenAI, gateway: Running
) -> None:
    if stream:
        chunks = list(
            sync.chat.completions.create(model=target, messages=HELLO, max_tokens=3, stream=True)
        )
        finish = [one.choices[0].finish_reason for one in chunks if one.choices][-1]
    else:
        chat = sync.chat.completions.create(model=target, messages=HELLO, max_completion_tokens=3)
        finish = chat.choices[0].finish_reason
        assert chat.usage is not None
        assert chat.usage.completion_tokens == 3
    assert finish == "length"
    (sent,) = gateway.asked()
    assert sent["billed"]["output"] == 3


def test_several_choices(sync: OpenAI, gateway: Running) -> None:
    chat = sync.chat.completions.create(model="gpt-4-turbo", messages=HELLO, n=3)
    assert [one.index for one in chat.choices] == [0, 1, 2]
    assert len(gateway.asked()) == 1


def test_several_choices_are_for_who_has_them(sync: OpenAI, gateway: Running) -> None:
    """Claude gives one answer: its level is left out, and alone it refuses by name."""
    chat = sync.chat.completions.with_raw_response.create(model="flagship", messages=HELLO, n=2)
    assert chat.headers["x-tollgate-target"] == "gpt-4-turbo"
    assert len(gateway.asked()) == 1
    with pytest.raises(openai.BadRequestError, match="claude-sonnet") as raised:
        sync.chat.completions.create(model="claude-sonnet", messages=HELLO, n=2)
    assert raised.value.code == "unsupported_parameter"
    assert len(gateway.asked()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_left_out_is_named(stream: bool, sync: OpenAI, gateway: Running) -> None:
    """Claude knows neither: the answer is as good without them, and says so."""
    answer = sync.chat.completions.with_raw_response.create(
        model="claude-sonnet", messages=HELLO, seed=7, presence_penalty=0.5, stream=stream
    )
    assert answer.headers["x-tollgate-target"] == "claude-sonnet"
    assert answer.headers["x-tollgate-warning"] == "seed; presence_penalty"
    (sent,) = gateway.asked()
    assert not {"seed", "presence_penalty"} & sent["body"].keys()


class Verdict(BaseModel):
    good: bool
    reason: str


def test_structured_output(sync: OpenAI) -> None:
    chat = sync.chat.completions.parse(model="patient", messages=HELLO, response_format=Verdict)
    assert isinstance(chat.choices[0].message.parsed, Verdict)


# --- tools --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_tool_round_trip(target: str, sync: OpenAI, gateway: Running) -> None:
    """Ask, be asked back twice in one answer, answer both, be answered."""
    ask: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Use weather and clock for Łódź"}
    ]
    first = sync.chat.completions.create(
        model=target,
        messages=ask,
        tools=TOOLS,
        extra_headers=scripted(
            tools=[
                {"name": "weather", "arguments": {"place": "Łódź", "days": 3}},
                {"name": "clock", "arguments": {}},
            ]
        ),
    )
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert calls is not None
    assert [one.type for one in calls] == ["function", "function"]
    functions = [one.function for one in calls if one.type == "function"]
    assert [one.name for one in functions] == ["weather", "clock"]
    assert [json.loads(one.arguments) for one in functions] == [{"place": "Łódź", "days": 3}, {}]
    assert len({one.id for one in calls}) == 2

    turns = [
        *ask,
        cast("ChatCompletionMessageParam", choice.message.model_dump(exclude_none=True)),
        *(
            cast(
                "ChatCompletionMessageParam",
                {"role": "tool", "tool_call_id": call.id, "content": result},
            )
            for call, result in zip(calls, ('{"sky": "grey"}', "noon"), strict=True)
        ),
    ]
    second = sync.chat.completions.create(
        model=target, messages=turns, tools=TOOLS, extra_headers=scripted(text="Grey at noon.")
    )
    assert second.choices[0].message.content == "Grey at noon."
    assert second.choices[0].finish_reason == "stop"
    # The simulator takes only what its provider would: ids that fit, results that follow calls.
    said = json.dumps(gateway.asked()[-1]["body"], ensure_ascii=False)
    for word in ("Łódź", "grey", "noon", "weather", "clock"):
        assert word in said


@pytest.mark.parametrize("target", TARGETS)
async def test_streamed_tool_calls(target: str, client: AsyncOpenAI) -> None:
    wanted = [
        {"name": "weather", "arguments": {"place": "Łódź " * 20, "days": 3}},
        {"name": "clock", "arguments": {}},
        {"name": "weather", "arguments": {"place": "naïve 🚦"}},
    ]
    stream = await client.chat.completions.create(
        model=target,
        messages=HELLO,
        tools=TOOLS,
        stream=True,
        extra_headers=scripted(tools=wanted),
    )
    names: dict[int, str] = {}
    ids: dict[int, str] = {}
    arguments: dict[int, str] = {}
    finish = None
    async for chunk in stream:
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                if call.id:
                    assert call.index not in ids
                    ids[call.index] = call.id
                assert call.function is not None
                if call.function.name:
                    names[call.index] = call.function.name
                arguments[call.index] = arguments.get(call.index, "") + (
                    call.function.arguments or ""
                )
    assert finish == "tool_calls"
    assert sorted(ids) == [0, 1, 2]
    assert len(set(ids.values())) == 3
    assert [names[at] for at in sorted(names)] == ["weather", "clock", "weather"]
    found = [json.loads(arguments[at]) for at in sorted(arguments)]
    assert found == [one["arguments"] for one in wanted]


@pytest.mark.parametrize("target", TARGETS)
def test_stream_helper_of_the_sdk(target: str, sync: OpenAI) -> None:
    """The SDK's own accumulation of a stream ends in the same message."""
    script = scripted(tools=[{"name": "weather", "arguments": {"place": "x"}}])
    with sync.chat.completions.stream(
        model=target, messages=HELLO, tools=TOOLS, extra_headers=script
    ) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"place": "x"}
    assert final.choices[0].finish_reason == "tool_calls"


CHOICES: dict[str, tuple[Any, set[str]]] = {
    "required": ("required", {"weather"}),
    "one": ({"type": "function", "function": {"name": "clock"}}, {"clock"}),
    "none": ("none", set()),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("target", TARGETS)
def test_tool_choice(target: str, choice: str, sync: OpenAI) -> None:
    """The simulator calls what it must, and only what it may."""
    given, expected = CHOICES[choice]
    chat = sync.chat.completions.create(
        model=target, messages=HELLO, tools=TOOLS, tool_choice=given
    )
    calls = chat.choices[0].message.tool_calls or []
    assert {one.function.name for one in calls if one.type == "function"} == expected


BOTH: list[ChatCompletionMessageParam] = [{"role": "user", "content": "weather and clock"}]


@pytest.mark.parametrize("target", ["claude-sonnet", "gpt-4-turbo", "llama"])
def test_one_tool_at_a_time(target: str, sync: OpenAI) -> None:
    chat = sync.chat.completions.create(
        model=target, messages=BOTH, tools=TOOLS, parallel_tool_calls=False
    )
    assert len(chat.choices[0].message.tool_calls or []) == 1


def test_one_tool_at_a_time_is_for_who_can_promise_it(sync: OpenAI, gateway: Running) -> None:
    """Gemini has no such switch: it refuses by name, and a chain goes past it."""
    with pytest.raises(openai.BadRequestError, match=r"gemini-pro.*parallel_tool_calls") as raised:
        sync.chat.completions.create(
            model="gemini-pro", messages=BOTH, tools=TOOLS, parallel_tool_calls=False
        )
    assert raised.value.code == "unsupported_parameter"
    assert gateway.asked() == []
    chat = sync.chat.completions.with_raw_response.create(
        model="gemini-pro",
        messages=BOTH,
        tools=TOOLS,
        parallel_tool_calls=False,
        extra_body={"models": ["gemini-pro", "claude-sonnet"]},
    )
    assert chat.headers["x-tollgate-target"] == "claude-sonnet"


# --- models -------------------------------------------------------------------------------


async def test_models(client: AsyncOpenAI, gateway: Running) -> None:
    listed = [one async for one in client.models.list()]
    ids = [one.id for one in listed]
    assert {"flagship", "auto", *TARGETS, *TARGETS.values()} <= set(ids)
    assert len(ids) == len(set(ids))
    owners = {one.id: one.owned_by for one in listed}
    assert (owners["flagship"], owners["claude-sonnet"]) == ("tollgate", "anthropic")
    # A name with a slash is escaped by the SDK, which Envoy takes for an attempt to leave the path.
    for name in (one for one in ids if "/" not in one):
        one = await client.models.retrieve(name)
        assert (one.id, one.object) == (name, "model")
    assert gateway.asked() == []


@pytest.mark.parametrize("name", ["auto", "flagship", "claude-sonnet", "claude-sonnet-4-5"])
def test_every_name_that_is_listed_is_served(name: str, sync: OpenAI) -> None:
    chat = sync.chat.completions.with_raw_response.create(model=name, messages=HELLO)
    assert chat.headers["x-tollgate-target"] == "claude-sonnet"


def test_models_of_a_route(sync: OpenAI) -> None:
    narrow = {"x-test-route": "narrow"}
    ids = {one.id for one in sync.models.list(extra_headers=narrow)}
    assert ids == {"auto", "pair", "gpt-4o", "fast", "llama"}
    with pytest.raises(openai.NotFoundError):
        sync.models.retrieve("flagship", extra_headers=narrow)
    chat = sync.chat.completions.with_raw_response.create(
        model="fast", messages=HELLO, extra_headers=narrow
    )
    assert chat.headers["x-tollgate-target"] == "llama"


# --- errors -------------------------------------------------------------------------------


def test_bad_request(sync: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sync.chat.completions.create(model="flagship", messages=HELLO, temperature=9)
    error = raised.value
    assert (error.status_code, error.type, error.param) == (
        400,
        "invalid_request_error",
        "temperature",
    )
    assert "temperature" in error.message


async def test_model_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await client.chat.completions.create(
            model="gpt-9", messages=HELLO, extra_headers={"x-test-route": "narrow"}
        )
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_rate_limit(target: str, stream: bool, sync: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        sync.chat.completions.create(
            model=target,
            messages=HELLO,
            stream=stream,
            extra_headers=scripted(error="rate_limit", retry_after=7),
        )
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
async def test_server_error(target: str, stream: bool, client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(
            model=target, messages=HELLO, stream=stream, extra_headers=scripted(status=500)
        )
    assert raised.value.status_code == 503
    assert raised.value.code == "no_provider_available"
    assert target in raised.value.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_error_of_the_provider(target: str, stream: bool, sync: OpenAI) -> None:
    """What the provider finds wrong with a request is the client's to read."""
    with pytest.raises(openai.BadRequestError, match="canary of the provider"):
        sync.chat.completions.create(
            model=target,
            messages=HELLO,
            stream=stream,
            extra_headers=scripted(error="invalid_request", message="canary of the provider"),
        )


@pytest.mark.parametrize("target", TARGETS)
def test_error_within_a_stream(target: str, sync: OpenAI) -> None:
    """After content has gone out an error is an event, which the SDK raises."""
    stream = sync.chat.completions.create(
        model=target,
        messages=HELLO,
        stream=True,
        extra_headers=scripted(text="one two three", events=3, error_at=2),
    )
    said: list[str] = []
    with pytest.raises(openai.APIError):
        said.extend(texts(stream))
    assert "".join(said) == "one two "


def texts(stream: Iterable[ChatCompletionChunk]) -> Iterator[str]:
    for chunk in stream:
        yield (chunk.choices[0].delta.content or "") if chunk.choices else ""


def test_an_sdk_that_retries_is_served(gateway: Running) -> None:
    """The SDK's own retries and ours go together: it tries again what no level served."""
    sequence = [{"status": 503}, {"text": "at last"}]
    with OpenAI(base_url=gateway.url, api_key="x", max_retries=1) as client:
        chat = client.chat.completions.create(
            model="gpt-4-turbo",
            messages=HELLO,
            extra_headers=scripted(sequence=sequence, id="sdk-retry"),
        )
    assert chat.choices[0].message.content == "at last"
    assert len(gateway.asked()) == 2


# --- headers ------------------------------------------------------------------------------


async def test_raw_and_streamed_responses(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="flagship", messages=HELLO)
    assert float(raw.headers["x-tollgate-cost"]) > 0
    assert raw.headers["x-tollgate-attempts"] == "1"
    async with client.chat.completions.with_streaming_response.create(
        model="flagship", messages=HELLO, stream=True
    ) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["x-tollgate-target"] == "claude-sonnet"
        lines = [line async for line in streamed.iter_lines()]
    assert any(line.startswith(": tollgate cost=") for line in lines)
    assert [line for line in lines if line][-1] == "data: [DONE]"
