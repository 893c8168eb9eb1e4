import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from extproc.simulator import Simulator
from tests.unit.simulator.talk import GEMINI, GEMINI_STREAM, Talk

MODEL = "gemini-2.5-flash"

# The SDK subclasses aiohttp's session.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

WEATHER = types.FunctionDeclaration(
    name="get_weather",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={"city": types.Schema(type=types.Type.STRING)},
        required=["city"],
    ),
)
CLOCK = types.FunctionDeclaration(
    name="get_time",
    parameters_json_schema={"type": "object", "properties": {"zone": {"type": "string"}}},
)
TOOLS: Any = [types.Tool(function_declarations=[WEATHER, CLOCK])]


def options(script: Any) -> types.HttpOptions:
    return types.HttpOptions(headers={"x-sim-script": json.dumps(script)})


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    made = genai.Client(
        api_key="k",
        http_options=types.HttpOptions(base_url=sim.url("gemini"), retry_options=None),
    )
    async with made.aio as one:
        yield one
    made.close()


async def test_sdk_reads_a_whole_answer_with_thoughts_beside_candidates(
    client: genai.client.AsyncClient,
) -> None:
    figures = {"input": 1000, "output": 50, "cached": 600, "reasoning": 20}
    answer = await client.models.generate_content(
        model=MODEL,
        contents="hello",
        config=types.GenerateContentConfig(
            system_instruction="be brief",
            temperature=0.5,
            stop_sequences=["END"],
            http_options=options({"text": "naïve 東京", "usage": figures}),
        ),
    )
    assert answer.text == "naïve 東京"
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage is not None
    assert usage.prompt_token_count == 1000
    assert usage.cached_content_token_count == 600
    assert usage.candidates_token_count == 30
    assert usage.thoughts_token_count == 20
    assert usage.total_token_count == 1050


async def test_sdk_streams(client: genai.client.AsyncClient) -> None:
    stream = await client.models.generate_content_stream(
        model=MODEL,
        contents="hello",
        config=types.GenerateContentConfig(
            http_options=options({"text": "one two", "usage": {"input": 9, "output": 4}})
        ),
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == "one two"
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert last.usage_metadata.total_token_count == 13


async def test_tools_whole_and_streamed_and_their_results(client: genai.client.AsyncClient) -> None:
    prompt = types.Content(role="user", parts=[types.Part(text="use get_weather and get_time")])
    config = types.GenerateContentConfig(
        tools=TOOLS,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    whole = await client.models.generate_content(model=MODEL, contents=[prompt], config=config)
    assert [call.name for call in whole.function_calls or []] == ["get_weather", "get_time"]
    stream = await client.models.generate_content_stream(
        model=MODEL, contents=[prompt], config=config
    )
    calls = [call async for chunk in stream for call in chunk.function_calls or []]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert isinstance((calls[0].args or {})["city"], str)
    results = [
        types.Part.from_function_response(name=call.name or "", response={"result": 1})
        for call in calls
    ]
    answer = await client.models.generate_content(
        model=MODEL,
        contents=[
            prompt,
            types.Content(role="model", parts=[types.Part(function_call=one) for one in calls]),
            types.Content(role="user", parts=results),
        ],
        config=config,
    )
    assert answer.text


async def test_gemini_3_wants_its_signature_back(client: genai.client.AsyncClient) -> None:
    prompt = types.Content(role="user", parts=[types.Part(text="use get_weather")])
    config = types.GenerateContentConfig(
        tools=TOOLS,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    model = "gemini-3-flash-preview"
    first = await client.models.generate_content(model=model, contents=[prompt], config=config)
    assert first.candidates is not None
    turn = first.candidates[0].content
    assert turn is not None
    assert turn.parts is not None
    result = types.Content(
        role="user", parts=[types.Part.from_function_response(name="get_weather", response={})]
    )
    await client.models.generate_content(
        model=model, contents=[prompt, turn, result], config=config
    )
    turn.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await client.models.generate_content(
            model=model, contents=[prompt, turn, result], config=config
        )


async def test_calling_mode_any_forces_an_allowed_tool(
    client: genai.client.AsyncClient,
) -> None:
    answer = await client.models.generate_content(
        model=MODEL,
        contents="hello",
        config=types.GenerateContentConfig(
            tools=TOOLS,
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["get_time"]
                )
            ),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    )
    assert [call.name for call in answer.function_calls or []] == ["get_time"]


async def test_models(client: genai.client.AsyncClient) -> None:
    pager = await client.models.list()
    assert f"models/{MODEL}" in [model.name async for model in pager]
    assert (await client.models.get(model=MODEL)).name == f"models/{MODEL}"


async def test_blocked_for_safety(client: genai.client.AsyncClient) -> None:
    answer = await client.models.generate_content(
        model=MODEL,
        contents="x",
        config=types.GenerateContentConfig(
            http_options=options({"finish": "content_filter", "events": 0})
        ),
    )
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.SAFETY
    assert answer.text is None


async def test_keys(talk: Talk) -> None:
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    missing = await talk.send("gemini", GEMINI, body, keyed=False)
    assert (missing.status, missing.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    wrong = await talk.send(
        "gemini", GEMINI, body, keyed=False, headers={"x-goog-api-key": "wrong"}
    )
    assert wrong.status == 400
    assert wrong.json["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    queried = await talk.send("gemini", f"{GEMINI}?key=abc", body, keyed=False)
    assert queried.status == 200


async def test_a_stream_without_sse_is_a_json_array(talk: Talk) -> None:
    path = GEMINI_STREAM.partition("?")[0]
    heard = await talk.send("gemini", path, {"contents": [{"parts": [{"text": "x"}]}]})
    texts = [one["candidates"][0]["content"]["parts"][0]["text"] for one in heard.json]
    assert len(texts) > 2
    assert heard.headers["content-type"].startswith("application/json")


async def test_snake_case_is_taken_too(talk: Talk) -> None:
    body = {
        "contents": [{"parts": [{"text": "x"}]}],
        "generation_config": {"max_output_tokens": 3},
        "system_instruction": {"parts": [{"text": "y"}]},
    }
    heard = await talk.send("gemini", GEMINI, body)
    assert heard.json["candidates"][0]["finishReason"] == "MAX_TOKENS"


USER: Any = {"role": "user", "parts": [{"text": "x"}]}
CALL: Any = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
RESPONSE: Any = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"foo": 1}, 'Unknown name "foo": Cannot find field.'),
        (
            {"generationConfig": {"foo": 1}},
            "Unknown name \"foo\" at 'generation_config': Cannot find field.",
        ),
        (
            {"contents": [{"parts": [{"text": "x", "cacheControl": {}}]}]},
            "Unknown name \"cacheControl\" at 'contents[0].parts[0]': Cannot find field.",
        ),
        (
            {"generationConfig": {"temperature": "hot"}},
            "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
        ),
        ({"generationConfig": {"temperature": 3}}, "temperature must be in the range [0.0, 2.0]"),
        ({"contents": []}, "contents is not specified"),
        (
            {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]},
            "valid role: user, model",
        ),
        ({"contents": [{"parts": []}]}, "contents.parts must not be empty"),
        ({"contents": [{"parts": [{}]}]}, "required oneof field 'data'"),
        ({"contents": [USER, RESPONSE]}, "function response turn comes immediately after"),
        ({"contents": [USER, CALL, {**RESPONSE, "parts": RESPONSE["parts"] * 2}]}, "number of fu"),
        (
            {
                "tools": [
                    {
                        "functionDeclarations": [
                            {
                                "name": "f",
                                "parameters": {
                                    "type": "OBJECT",
                                    "properties": {"a": {"type": "STRING"}},
                                    "additionalProperties": False,
                                },
                            }
                        ]
                    }
                ]
            },
            'Unknown name "additionalProperties" at \'tools[0].function_declarations[0].param',
        ),
        (
            {
                "tools": [
                    {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}
                ]
            },
            "should be non-empty for OBJECT type",
        ),
        ({"tools": [{"functionDeclarations": [{"name": "2 x"}]}]}, "Invalid function name"),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
            "no function_declarations are provided",
        ),
        ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, "response_mime_type"),
        ({"generationConfig": {"stopSequences": ["a"] * 6}}, "at most 5 stop sequences"),
    ],
)
async def test_refuses_as_gemini_does(talk: Talk, body: Any, words: str) -> None:
    heard = await talk.send("gemini", GEMINI, {"contents": [USER]} | body)
    assert heard.status == 400
    assert heard.json["error"]["status"] == "INVALID_ARGUMENT"
    assert words in heard.json["error"]["message"]


async def test_unknown_model_is_404(talk: Talk) -> None:
    path = "/v1beta/models/gemini-unknown:generateContent"
    heard = await talk.send("gemini", path, {"contents": [USER]})
    assert (heard.status, heard.json["error"]["status"]) == (404, "NOT_FOUND")
    assert "gemini-unknown" in heard.json["error"]["message"]
