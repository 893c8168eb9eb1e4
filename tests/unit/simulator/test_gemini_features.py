import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google import genai
from google.genai import types

from extproc.simulator import Simulator
from tests.unit.simulator.talk import GEMINI, Talk

MODEL = "gemini-2.5-flash"
PNG = "iVBORw0K"

# The SDK subclasses aiohttp's session.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    made = genai.Client(
        api_key="k",
        http_options=types.HttpOptions(base_url=sim.url("gemini"), retry_options=None),
    )
    async with made.aio as one:
        yield one
    made.close()


async def chunks(client: genai.client.AsyncClient, **config: Any) -> list[Any]:
    stream = await client.models.generate_content_stream(
        model=MODEL, contents="hello", config=types.GenerateContentConfig(**config)
    )
    return [chunk async for chunk in stream]


async def test_images_sounds_and_files_are_counted_by_modality(
    client: genai.client.AsyncClient,
) -> None:
    parts = [
        types.Part.from_bytes(data=b"x", mime_type="image/png"),
        types.Part.from_bytes(data=b"x", mime_type="audio/wav"),
        types.Part.from_uri(file_uri="https://example.com/a.pdf", mime_type="application/pdf"),
        types.Part(text="what is this"),
    ]
    answer = await client.models.generate_content(
        model=MODEL, contents=[types.Content(role="user", parts=parts)]
    )
    assert answer.usage_metadata is not None
    counted = answer.usage_metadata.prompt_tokens_details or []
    assert {one.modality and one.modality.value for one in counted} == {
        "TEXT",
        "IMAGE",
        "AUDIO",
        "DOCUMENT",
    }
    assert sum(one.token_count or 0 for one in counted) == answer.usage_metadata.prompt_token_count


@pytest.mark.parametrize("name", ["response_schema", "response_json_schema"])
async def test_json_that_fits(client: genai.client.AsyncClient, name: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = types.GenerateContentConfig.model_validate(
        {"response_mime_type": "application/json", name: schema}
    )
    answer = await client.models.generate_content(model=MODEL, contents="x", config=config)
    assert json.loads(answer.text or "") == {"n": 7}


async def test_thoughts_and_their_signatures(client: genai.client.AsyncClient) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    answer = await client.models.generate_content(
        model="gemini-3-pro-preview",
        contents="x",
        config=types.GenerateContentConfig(thinking_config=thinking),
    )
    assert answer.candidates is not None
    content = answer.candidates[0].content
    assert content is not None
    assert content.parts is not None
    assert [bool(part.thought) for part in content.parts] == [True, False]
    assert content.parts[1].thought_signature
    user = types.Content(role="user", parts=[types.Part(text="x")])
    await client.models.generate_content(model=MODEL, contents=[user, content, user])
    content.parts[1].thought_signature = b"something else"
    with pytest.raises(genai.errors.ClientError, match="Corrupted thought signature"):
        await client.models.generate_content(model=MODEL, contents=[user, content, user])


async def test_the_documented_dummy_signature_is_taken(talk: Talk) -> None:
    call = {"functionCall": {"name": "f"}, "thoughtSignature": "skip_thought_signature_validator"}
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [call]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ]
    }
    path = "/v1beta/models/gemini-3-flash-preview:generateContent"
    assert (await talk.send("gemini", path, body)).status == 200


async def test_probabilities_whole_and_streamed(client: genai.client.AsyncClient) -> None:
    config: Any = {"response_logprobs": True, "logprobs": 3}
    answer = await client.models.generate_content(
        model=MODEL, contents="x", config=types.GenerateContentConfig(**config)
    )
    assert answer.candidates is not None
    assert answer.candidates[0].avg_logprobs == -0.25
    found = answer.candidates[0].logprobs_result
    assert found is not None
    assert "".join(one.token or "" for one in found.chosen_candidates or []) == answer.text
    assert len((found.top_candidates or [])[0].candidates or []) == 3
    tokens = [
        one.token
        for chunk in await chunks(client, **config)
        for one in (chunk.candidates[0].logprobs_result or types.LogprobsResult()).chosen_candidates
        or []
    ]
    assert len(tokens) == 8


async def test_search_brings_its_sources(client: genai.client.AsyncClient) -> None:
    tools = [types.Tool(google_search=types.GoogleSearch())]
    heard = await chunks(client, tools=tools)
    assert all(chunk.candidates[0].grounding_metadata is None for chunk in heard[:-1])
    found = heard[-1].candidates[0].grounding_metadata
    text = "".join(chunk.text or "" for chunk in heard)
    segment = found.grounding_supports[0].segment
    assert text.encode()[: segment.end_index].decode() == segment.text
    assert found.web_search_queries == ["hello"]
    assert found.grounding_chunks[0].web.uri


async def test_cached_content_is_read(client: genai.client.AsyncClient) -> None:
    answer = await client.models.generate_content(
        model=MODEL,
        contents="x",
        config=types.GenerateContentConfig(cached_content="cachedContents/x"),
    )
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.cached_content_token_count == 4096


async def test_a_blocked_prompt_has_no_candidates(client: genai.client.AsyncClient) -> None:
    options = types.HttpOptions(headers={"x-sim-script": '{"finish": "prompt_blocked"}'})
    answer = await client.models.generate_content(
        model=MODEL, contents="x", config=types.GenerateContentConfig(http_options=options)
    )
    assert answer.candidates is None
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.SAFETY
    streamed = await chunks(client, http_options=options)
    assert streamed[0].prompt_feedback is not None


async def test_counting_and_embedding(client: genai.client.AsyncClient, sim: Simulator) -> None:
    counted = await client.models.count_tokens(model=MODEL, contents="x")
    assert counted.total_tokens
    assert sim.totals()["gemini"].input == 0
    made = await client.models.embed_content(
        model="gemini-embedding-001",
        contents=["a", "b", "a"],
        config=types.EmbedContentConfig(output_dimensionality=256, task_type="CLUSTERING"),
    )
    assert made.embeddings is not None
    vectors = [one.values or [] for one in made.embeddings]
    assert [len(one) for one in vectors] == [256, 256, 256]
    assert vectors[0] == vectors[2] != vectors[1]


USER: Any = {"role": "user", "parts": [{"text": "x"}]}
TOOL: Any = {"functionDeclarations": [{"name": "f"}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "!"}}]}]},
            "Base64",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "x/y", "data": PNG}}]}]},
            "Unsupported",
        ),
        ({"generationConfig": {"logprobs": 3}}, "only allowed when response_logprobs is set"),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
            "Thinking is not supp",
        ),
        ({"tools": [TOOL, {"googleSearch": {}}]}, "cannot be combined in the same request"),
        (
            {"tools": [TOOL], "generationConfig": {"responseMimeType": "application/json"}},
            "Function calling with a response mime type: 'application/json' is unsupported",
        ),
        (
            {"cachedContent": "cachedContents/x", "systemInstruction": USER},
            "CachedContent can not be used with GenerateContent request setting",
        ),
        (
            {
                "contents": [
                    USER,
                    {"role": "model", "parts": [{"text": "x", "thoughtSignature": "AA"}]},
                ]
            },
            "Corrupted thought signature.",
        ),
        ({"labels": {"a": "b"}}, "labels are not supported"),
    ],
)
async def test_refuses_as_gemini_does(talk: Talk, body: Any, words: str) -> None:
    heard = await talk.send("gemini", GEMINI, {"contents": [USER]} | body)
    assert heard.status == 400
    assert words in heard.json["error"]["message"]


@pytest.mark.parametrize(
    ("model", "thinking", "words"),
    [
        ("gemini-2.5-pro", {"thinkingBudget": 0}, "Budget 0 is invalid"),
        ("gemini-2.5-flash", {"thinkingBudget": 99999}, "between 1 and 24576"),
        ("gemini-2.5-flash", {"thinkingLevel": "low"}, "Thinking level is not supported"),
        ("gemini-3-pro-preview", {"thinkingLevel": "medium"}, "MEDIUM is not supported"),
        ("gemini-3-pro-preview", {"thinkingLevel": "low", "thinkingBudget": 5}, "only one of"),
    ],
)
async def test_how_much_each_model_thinks(
    talk: Talk, model: str, thinking: Any, words: str
) -> None:
    body = {"contents": [USER], "generationConfig": {"thinkingConfig": thinking}}
    heard = await talk.send("gemini", f"/v1beta/models/{model}:generateContent", body)
    assert heard.status == 400
    assert words in heard.json["error"]["message"]
