from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from google import genai
from google.auth import credentials
from google.genai import errors, types

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Talk

# The SDK subclasses aiohttp's session.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

MODEL = "gemini-2.5-flash"
BASE = "/v1/projects/p/locations/us-east5/publishers"
CLAUDE = f"{BASE}/anthropic/models/claude-sonnet-4-5@20250929"
TOKEN = {"authorization": "Bearer ya29.token"}
TURN: Any = {"role": "user", "content": "hello"}


class Token(credentials.Credentials):
    """Is there, and never needs to be fetched."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = "ya29.token"

    def refresh(self, request: Any) -> None:
        raise AssertionError(request)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator({"vertex": 0}) as simulator:
        yield simulator


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    made = genai.Client(
        vertexai=True,
        project="p",
        location="us-central1",
        credentials=Token(),
        http_options=types.HttpOptions(base_url=sim.url("vertex")),
    )
    async with made.aio as one:
        yield one
    made.close()


@pytest.fixture
async def claude(sim: Simulator) -> AsyncIterator[anthropic.AsyncAnthropicVertex]:
    async with anthropic.AsyncAnthropicVertex(
        region="us-east5",
        project_id="p",
        access_token="ya29.token",
        base_url=sim.url("vertex") + "/v1",
        max_retries=0,
    ) as made:
        yield made


async def test_gemini_whole_and_streamed(client: genai.client.AsyncClient, sim: Simulator) -> None:
    answer = await client.models.generate_content(model=MODEL, contents="hello")
    assert answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.traffic_type is types.TrafficType.ON_DEMAND
    stream = await client.models.generate_content_stream(model=MODEL, contents="hello")
    assert "".join([chunk.text or "" async for chunk in stream])
    assert sim.requests()[-1].dialect == "vertex"


async def test_counting_and_embedding(client: genai.client.AsyncClient, sim: Simulator) -> None:
    counted = await client.models.count_tokens(
        model=MODEL, contents="x", config=types.CountTokensConfig(system_instruction="y")
    )
    assert counted.total_tokens
    assert sim.totals()["vertex"].input == 0
    made = await client.models.embed_content(model="text-embedding-005", contents=["a", "b"])
    assert made.embeddings is not None
    assert [len(one.values or []) for one in made.embeddings] == [768, 768]
    tokens = sum(
        int((one.statistics and one.statistics.token_count) or 0) for one in made.embeddings
    )
    assert tokens == sim.totals()["vertex"].input


async def test_a_token_is_needed(client: genai.client.AsyncClient, talk: Talk) -> None:
    path = f"{BASE}/google/models/{MODEL}:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    keyed = await talk.send("vertex", path, body, headers={"x-goog-api-key": "k"})
    assert (keyed.status, keyed.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    wrong = await talk.send("vertex", path, body, headers={"authorization": "Bearer wrong"})
    assert wrong.json["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    with pytest.raises(errors.ClientError, match="was not found"):
        await client.models.generate_content(model="gemini-gone", contents="x")


async def test_a_turn_needs_its_role(talk: Talk) -> None:
    path = f"{BASE}/google/models/{MODEL}:generateContent"
    heard = await talk.send(
        "vertex", path, {"contents": [{"parts": [{"text": "x"}]}]}, headers=TOKEN
    )
    assert heard.json["error"]["message"] == "Please use a valid role: user, model."


async def test_claude_whole_streamed_and_counted(
    claude: anthropic.AsyncAnthropicVertex, sim: Simulator
) -> None:
    model = "claude-sonnet-4-5@20250929"
    whole = await claude.messages.create(model=model, max_tokens=50, messages=[TURN])
    assert whole.content[0].type == "text"
    async with claude.messages.stream(model=model, max_tokens=50, messages=[TURN]) as stream:
        final = await stream.get_final_message()
    assert final.stop_reason == "end_turn"
    counted = await claude.messages.count_tokens(model=model, messages=[TURN])
    assert counted.input_tokens > 0
    assert [one.path.rpartition(":")[2] for one in sim.requests()] == [
        "rawPredict",
        "streamRawPredict",
        "rawPredict",
    ]
    assert {one.dialect for one in sim.requests()} == {"vertex-claude"}


@pytest.mark.parametrize(
    ("path", "more", "words"),
    [
        ("rawPredict", {"anthropic_version": "2023-06-01"}, "should be 'vertex-2023-10-16'"),
        ("rawPredict", {"anthropic_version": None}, "anthropic_version: Field required"),
        ("rawPredict", {"model": "claude-sonnet-4-5"}, "model: Extra inputs are not permitted"),
        ("streamRawPredict", {}, "stream: Input should be true"),
        ("rawPredict", {"foo": 1}, "foo: Extra inputs are not permitted"),
    ],
)
async def test_refuses_as_vertex_does(talk: Talk, path: str, more: Any, words: str) -> None:
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [TURN]} | more
    body = {name: one for name, one in body.items() if one is not None}
    heard = await talk.send("vertex", f"{CLAUDE}:{path}", body, headers=TOKEN)
    assert heard.status == 400
    assert words in heard.json["error"]["message"]
