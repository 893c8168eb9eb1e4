from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Talk

VERSION = "?api-version=2024-10-21"
KEY = {"api-key": "any"}
CHAT = f"/openai/deployments/dep/chat/completions{VERSION}"
TURNS: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncAzureOpenAI]:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=sim.url("openai"),
        api_key="any",
        api_version="2024-10-21",
        max_retries=0,
    ) as made:
        yield made


async def send(talk: Talk, path: str, body: Any, headers: dict[str, str] = KEY, **more: Any) -> Any:
    return await talk.send("openai", path, body, headers=headers, keyed=False, **more)


async def test_sdk_talks_to_deployments(client: openai.AsyncAzureOpenAI, talk: Talk) -> None:
    chat = await client.chat.completions.create(model="dep", messages=TURNS)
    text = await client.completions.create(model="dep", prompt="x")
    vector = await client.embeddings.create(model="dep", input="x")
    assert (chat.model, text.model, vector.model) == ("dep", "dep", "dep")
    assert talk.last().dialect == "azure"
    assert talk.last().path.startswith("/openai/deployments/dep/embeddings?api-version=")


async def test_filters_stand_in_the_answer_and_in_every_chunk(talk: Talk) -> None:
    whole = await send(talk, CHAT, {"messages": TURNS})
    assert whole.json["prompt_filter_results"][0]["prompt_index"] == 0
    found = whole.json["choices"][0]["content_filter_results"]
    assert found["violence"] == {"filtered": False, "severity": "safe"}
    stream = await send(talk, CHAT, {"messages": TURNS, "stream": True})
    first, *chunks = stream.events
    assert first["choices"] == []
    assert "prompt_filter_results" in first
    assert all("content_filter_results" in one["choices"][0] for one in chunks)


async def test_a_filtered_answer_says_what_was_found(talk: Talk) -> None:
    script = {"text": "half of", "finish": "content_filter"}
    heard = await send(talk, CHAT, {"messages": TURNS}, script=script)
    (choice,) = heard.json["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert choice["content_filter_results"]["violence"]["filtered"] is True


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (CHAT, {}, 401, "401"),
        (CHAT, {"api-key": "wrong"}, 401, "401"),
        ("/openai/deployments/dep/chat/completions", KEY, 404, "404"),
        ("/openai/deployments/dep/chat/completions?api-version=soon", KEY, 404, "404"),
        (CHAT.replace("dep/", "dep-unknown/"), KEY, 404, "DeploymentNotFound"),
        ("/openai/v1/chat/completions?api-version=2024-10-21", KEY, 400, "BadRequest"),
    ],
)
async def test_refuses_in_azures_words(
    talk: Talk, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    heard = await send(talk, path, {"model": "m", "messages": TURNS}, headers)
    assert (heard.status, heard.json["error"]["code"]) == (status, code)
    assert heard.json["error"].keys() == {"code", "message"}


async def test_a_bearer_token_will_do(talk: Talk) -> None:
    heard = await send(talk, CHAT, {"messages": TURNS}, {"authorization": "Bearer entra"})
    assert heard.status == 200


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"status": 429, "retry_after": 6}, 429, "429"),
        ({"error": "content_filter"}, 400, "content_filter"),
        ({"error": "context_length"}, 400, "context_length_exceeded"),
        ({"error": "timeout"}, 408, "Timeout"),
    ],
)
async def test_scripted_errors(talk: Talk, script: Any, status: int, code: str) -> None:
    heard = await send(talk, CHAT, {"messages": TURNS}, script=script)
    assert (heard.status, heard.json["error"]["code"]) == (status, code)
    assert ("retry-after-ms" in heard.headers) is ("retry_after" in script)
    if code == "content_filter":
        inner = heard.json["error"]["innererror"]
        assert inner["code"] == "ResponsibleAIPolicyViolation"


async def test_the_body_is_held_to_openais_rules(talk: Talk) -> None:
    heard = await send(talk, CHAT, {"messages": TURNS, "temperature": 3})
    assert heard.json["error"]["code"] == "decimal_above_max_value"
    mine = [{"type": "azure_search", "parameters": {}}]
    assert (await send(talk, CHAT, {"messages": TURNS, "data_sources": mine})).status == 200


async def test_the_v1_paths_need_no_version(talk: Talk) -> None:
    body = {"model": "dep", "messages": TURNS}
    assert (await send(talk, "/openai/v1/chat/completions", body)).status == 200
    made = await send(talk, "/openai/v1/responses", {"model": "dep", "input": "x"})
    old = await send(talk, f"/openai/responses{VERSION}", {"model": "dep", "input": "x"})
    assert (made.json["status"], old.json["status"]) == ("completed", "completed")
    assert [one["source_type"] for one in made.json["content_filters"]] == ["prompt", "completion"]
