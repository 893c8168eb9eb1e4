"""What a chat completion may hold beside its text."""

import base64
import json
from typing import Any, Literal

import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.unit.simulator.talk import Heard, Talk

RUN = {"type": "custom", "custom": {"name": "run"}}


async def both(talk: Talk, script: Any = None, **more: Any) -> tuple[Any, list[Any]]:
    """The message of the whole answer and the chunks of the stream, both held to the SDK's
    types."""
    whole = await talk.chat("openai", script=script, **more)
    stream = await talk.chat("openai", script=script, stream=True, **more)
    assert (whole.status, stream.status) == (200, 200), whole.body + stream.body
    ChatCompletion.model_validate(whole.json, strict=True)
    for event in stream.events:
        if b'"custom"' in stream.body:
            break  # the SDK's type of a chunk knows no custom calls
        ChatCompletionChunk.model_validate(event, strict=True)
    return whole.json, stream.events


def deltas(events: list[Any], key: str) -> list[Any]:
    return [
        choice["delta"][key]
        for event in events
        for choice in event["choices"]
        if choice["delta"].get(key) is not None
    ]


async def test_custom_tools_are_called_with_text(talk: Talk) -> None:
    turn = {"role": "user", "content": "use run"}
    whole, events = await both(talk, messages=[turn], tools=[RUN])
    (call,) = whole["choices"][0]["message"]["tool_calls"]
    assert call["custom"] == {"name": "run", "input": 'print("naïve")'}
    pieces = [one[0] for one in deltas(events, "tool_calls")]
    assert pieces[0]["type"] == "custom"
    assert "".join(one["custom"]["input"] for one in pieces) == 'print("naïve")'
    back = [
        turn,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "done"},
    ]
    assert (await talk.chat("openai", messages=back, tools=[RUN])).status == 200


async def test_scripted_calls_of_custom_tools_are_custom(talk: Talk) -> None:
    script = {"tools": [{"name": "run", "arguments": "ls"}]}
    whole, _ = await both(talk, script, tools=[RUN])
    assert whole["choices"][0]["message"]["tool_calls"][0]["custom"]["input"] == "ls"


async def test_the_old_way_of_functions(talk: Talk) -> None:
    functions = [{"name": "look", "parameters": {"type": "object", "properties": {}}}]
    turn = {"role": "user", "content": "use look"}
    whole, events = await both(talk, messages=[turn], functions=functions)
    assert whole["choices"][0]["message"]["function_call"] == {"name": "look", "arguments": "{}"}
    assert whole["choices"][0]["finish_reason"] == "function_call"
    assert deltas(events, "function_call")[0]["name"] == "look"


async def test_search_models_cite(talk: Talk) -> None:
    whole, events = await both(
        talk, {"text": "found it"}, model="gpt-4o-search-preview", web_search_options={}
    )
    (cited,) = whole["choices"][0]["message"]["annotations"]
    assert cited["url_citation"]["end_index"] == len("found it")
    assert deltas(events, "annotations") == [[cited]]
    refused = await talk.chat("openai", web_search_options={})
    assert refused.json["error"]["message"] == "Web search options not supported with this model."


async def test_spoken_answers(talk: Talk) -> None:
    spoken = {
        "model": "gpt-4o-audio-preview",
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "pcm16"},
    }
    usage = {"input": 10, "output": 9, "audio_input": 4, "audio_output": 7}
    whole, events = await both(talk, {"text": "good day", "usage": usage}, **spoken)
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["audio"]["transcript"] == "good day"
    assert whole["usage"]["completion_tokens_details"]["audio_tokens"] == 7
    assert whole["usage"]["prompt_tokens_details"]["audio_tokens"] == 4
    heard = deltas(events, "audio")
    assert "".join(one.get("transcript", "") for one in heard) == "good day"
    assert b"".join(base64.b64decode(one.get("data", "")) for one in heard)
    assert deltas(events, "content") == [""]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"modalities": ["audio"], "audio": {"voice": "a", "format": "mp3"}}, "modalities"),
        ({"modalities": ["audio"], "model": "gpt-audio"}, "audio"),
        (
            {
                "modalities": ["audio"],
                "model": "gpt-audio",
                "audio": {"voice": "a", "format": "mp3"},
                "stream": True,
            },
            "audio.format",
        ),
        ({"verbosity": "low"}, "verbosity"),
    ],
)
async def test_what_only_some_models_do(talk: Talk, more: dict[str, Any], param: str) -> None:
    stream = more.pop("stream", False)
    heard = await talk.chat("openai", stream=stream, **more)
    assert (heard.status, heard.json["error"]["param"]) == (400, param)


async def test_log_probabilities_with_alternatives(talk: Talk) -> None:
    whole, events = await both(talk, {"text": "a b"}, logprobs=True, top_logprobs=2)
    shown = whole["choices"][0]["logprobs"]["content"]
    assert [one["token"] for one in shown] == ["a", " b"]
    assert [len(one["top_logprobs"]) for one in shown] == [2, 2]
    streamed = [one["choices"][0]["logprobs"] for one in events if one["choices"][0]["logprobs"]]
    assert [one["content"][0] for one in streamed] == shown


async def test_refusals(talk: Talk) -> None:
    whole, events = await both(talk, {"finish": "refusal", "text": "I will not."})
    message = whole["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I will not.")
    assert "".join(deltas(events, "refusal")) == "I will not."
    assert whole["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("asked", "told"), [(None, "default"), ("auto", "default"), ("flex", "flex")]
)
async def test_service_tier_is_told(talk: Talk, asked: str | None, told: str) -> None:
    whole, events = await both(talk, service_tier=asked)
    assert whole["service_tier"] == told
    assert {one["service_tier"] for one in events} == {told}


async def test_predictions_and_moderation(talk: Talk) -> None:
    whole, events = await both(
        talk,
        {"usage": {"input": 5, "output": 20}},
        prediction={"type": "content", "content": "x"},
        moderation={"model": "omni-moderation-latest"},
    )
    details = whole["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] + details["rejected_prediction_tokens"] == 5
    assert whole["moderation"]["input"]["results"][0]["flagged"] is False
    assert sum("moderation" in one for one in events) == 1


class Leaf(pydantic.BaseModel):
    kind: Literal["leaf", "bud"]
    size: float


class Branch(pydantic.BaseModel):
    name: str
    leaves: list[Leaf]
    parent: "Branch | None"
    alive: bool


async def test_json_fits_the_schema(talk: Talk) -> None:
    schema = Branch.model_json_schema()
    form = {"type": "json_schema", "json_schema": {"name": "b", "schema": schema}}
    heard: Heard = await talk.chat("openai", response_format=form)
    Branch.model_validate_json(heard.json["choices"][0]["message"]["content"], strict=True)
    plain = await talk.chat(
        "openai",
        messages=[{"role": "user", "content": "json please"}],
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(plain.json["choices"][0]["message"]["content"]), dict)
