import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Heard, Talk

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
RUN: Any = {"type": "custom", "name": "run"}
SEARCH: Any = {"type": "web_search"}
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=sim.url("openai") + "/v1", api_key="any", max_retries=0
    ) as made:
        yield made


async def send(talk: Talk, script: Any = None, port: str = "openai", **more: Any) -> Heard:
    body = {"model": "gpt-4o", "input": "hello"} | more
    return await talk.send(port, "/v1/responses", body, script=script)


def told(heard: Heard) -> list[Any]:
    """The events, each of the SDK's types, numbered without a gap, named as their data is."""
    names = [line[7:].decode() for line in heard.body.split(b"\n") if line.startswith(b"event: ")]
    assert names == [one["type"] for one in heard.events]
    assert [one["sequence_number"] for one in heard.events] == list(range(len(names)))
    for one in heard.events:
        EVENT.validate_python(one)
    return heard.events


async def test_whole_answer_is_of_the_sdks_type_and_tells_the_request(talk: Talk) -> None:
    usage = {"input": 100, "output": 20, "cached": 60, "cache_write": 10, "reasoning": 5}
    heard = await send(
        talk,
        {"text": "naïve 東京", "usage": usage},
        instructions="be brief",
        metadata={"a": "b"},
        max_output_tokens=50,
        temperature=0.5,
        service_tier="flex",
        tools=[WEATHER],
        text={"verbosity": "medium"},
    )
    answer = Response.model_validate(heard.json)
    assert answer.output_text == "naïve 東京"
    assert answer.status == "completed"
    assert (answer.instructions, answer.metadata) == ("be brief", {"a": "b"})
    assert (answer.max_output_tokens, answer.temperature) == (50, 0.5)
    assert answer.service_tier == "flex"
    assert heard.json["tools"] == [WEATHER | {"description": None}]
    assert heard.json["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }


async def test_events_in_order_and_the_last_holds_the_whole(talk: Talk) -> None:
    script = {"text": "one two", "usage": {"input": 3, "output": 2}}
    events = told(await send(talk, script, stream=True))
    assert [one["type"].removeprefix("response.") for one in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["output"] == []
    assert events[0]["response"]["usage"] is None
    last = events[-1]["response"]
    assert last["output"] == [events[-2]["item"]]
    assert last["output"][0]["content"][0]["text"] == "one two"
    assert last["usage"]["total_tokens"] == 5
    assert (await talk.ended()).billed.output == 2


async def test_every_kind_of_item_streamed_is_as_in_the_whole_answer(talk: Talk) -> None:
    script = {
        "text": "found it",
        "thinking": "hm well",
        "tools": [
            {"name": "get_weather", "arguments": {"city": "Zürich"}},
            {"name": "run", "arguments": "ls -l"},
        ],
    }
    more: Any = {
        "model": "gpt-5",
        "input": "search for it",
        "tools": [WEATHER, RUN, SEARCH],
        "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
    }
    whole = (await send(talk, script, **more)).json
    events = told(await send(talk, script, **more, stream=True))
    kinds = ["reasoning", "web_search_call", "message", "function_call", "custom_tool_call"]
    assert [one["type"] for one in whole["output"]] == kinds
    done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert [one["type"] for one in done] == kinds

    def joined(kind: str) -> str:
        return "".join(one["delta"] for one in events if one["type"] == f"response.{kind}.delta")

    assert joined("reasoning_summary_text") == done[0]["summary"][0]["text"] == "hm well"
    assert joined("output_text") == "found it"
    assert joined("function_call_arguments") == done[3]["arguments"] == '{"city":"Zürich"}'
    assert joined("custom_tool_call_input") == done[4]["input"] == "ls -l"
    assert done[0]["encrypted_content"]
    assert done[1]["action"]["sources"][0]["url"].startswith("https://")
    (cited,) = done[2]["content"][0]["annotations"]
    assert (cited["type"], cited["end_index"]) == ("url_citation", len("found it"))


async def test_sdk_reads_the_stream(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(
        model="gpt-4o", input="use get_weather", tools=[WEATHER]
    ) as stream:
        answer = await stream.get_final_response()
    (call,) = answer.output
    assert call.type == "function_call"
    assert json.loads(call.arguments)["city"]


class City(pydantic.BaseModel):
    name: str
    people: int | None
    twins: list["City"]


async def test_structured_outputs(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.parse(model="gpt-4o", input="a city", text_format=City)
    assert isinstance(answer.output_parsed, City)


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("failed", "failed", None),
    ],
)
async def test_how_it_may_end(talk: Talk, finish: str, status: str, reason: str | None) -> None:
    script = {"finish": finish, "text": "half a"}
    whole = (await send(talk, script)).json
    Response.model_validate(whole)
    assert whole["status"] == status
    assert (whole["incomplete_details"] or {}).get("reason") == reason
    assert (whole["error"] is None) is (status != "failed")
    events = told(await send(talk, script, stream=True))
    assert events[-1]["type"] == f"response.{status}"
    assert events[-1]["response"]["status"] == status


async def test_refusals(talk: Talk) -> None:
    script = {"finish": "refusal", "text": "I will not."}
    whole = (await send(talk, script)).json
    assert whole["output"][0]["content"] == [{"type": "refusal", "refusal": "I will not."}]
    events = told(await send(talk, script, stream=True))
    assert [one["refusal"] for one in events if one["type"] == "response.refusal.done"] == [
        "I will not."
    ]


async def test_an_error_event_is_numbered_after_what_was_sent(talk: Talk) -> None:
    heard = await send(talk, {"error_at": 1, "error": "rate_limit"}, stream=True)
    events = told(heard)
    assert events[-1]["type"] == "error"
    assert events[-1]["code"] == "rate_limit_exceeded"
    assert events[-2]["type"] == "response.output_text.delta"


async def test_reasoning_shows_when_asked_for(talk: Talk) -> None:
    plain = (await send(talk, model="gpt-5")).json
    shown = (await send(talk, model="gpt-5", reasoning={"summary": "auto"})).json
    none = (await send(talk, model="gpt-5.2", reasoning={"effort": "none"})).json
    assert plain["output"][0]["summary"] == []
    assert plain["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
    assert shown["output"][0]["summary"][0]["text"]
    assert shown["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert [one["type"] for one in none["output"]] == ["message"]
    assert none["usage"]["output_tokens_details"]["reasoning_tokens"] == 0


async def test_self_hosted_servers_show_reasoning_as_it_is(talk: Talk) -> None:
    events = told(await send(talk, {"thinking": "hm"}, "local", stream=True))
    assert "response.reasoning_text.delta" in [one["type"] for one in events]
    item = events[-1]["response"]["output"][0]
    assert item["content"] == [{"type": "reasoning_text", "text": "hm"}]


async def test_a_stream_from_the_background_begins_in_the_queue(talk: Talk) -> None:
    events = told(await send(talk, stream=True, background=True))
    names = [one["type"].removeprefix("response.") for one in events]
    assert names[:3] == ["created", "queued", "in_progress"]
    assert [one["response"]["status"] for one in events[:3]] == ["queued", "queued", "in_progress"]
    assert names[-1] == "completed"


async def test_log_probabilities(talk: Talk) -> None:
    include = ["message.output_text.logprobs"]
    script = {"text": "a b"}
    whole = (await send(talk, script, include=include, top_logprobs=2)).json
    shown = whole["output"][0]["content"][0]["logprobs"]
    assert [(one["token"], len(one["top_logprobs"])) for one in shown] == [("a", 2), (" b", 2)]
    events = told(await send(talk, script, include=include, top_logprobs=2, stream=True))
    deltas = [one for one in events if one["type"] == "response.output_text.delta"]
    assert [one["logprobs"][0] for one in deltas] == shown


@pytest.mark.parametrize(
    ("choice", "kinds"),
    [
        ("required", ["function_call"]),
        ({"type": "function", "name": "get_weather"}, ["function_call"]),
        ({"type": "custom", "name": "run"}, ["custom_tool_call"]),
        ("none", ["message"]),
        ({"type": "web_search"}, ["web_search_call", "message"]),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, ["function_call"]),
    ],
)
async def test_tool_choice(talk: Talk, choice: Any, kinds: list[str]) -> None:
    heard = await send(talk, tools=[WEATHER, RUN, SEARCH], tool_choice=choice)
    assert [one["type"] for one in heard.json["output"]] == kinds
