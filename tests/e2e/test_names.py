"""What a client's `model` and `models` mean on each route."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Running
from tests.e2e.wire import PORTS, many, ports, stream_async

pytestmark = pytest.mark.e2e


async def test_a_level_shared_by_weight(gateway: Running) -> None:
    async with many() as client:
        answers = await asyncio.gather(
            *(stream_async(client, gateway, "shared-level") for _ in range(80))
        )
    served = Counter(one.target for one in answers)
    # 3 to 1: 60 and 20, with a standard deviation of 3.9.
    assert set(served) == {"gpt-4-turbo", "patient"}
    assert 42 <= served["gpt-4-turbo"] <= 76


def test_a_shared_level_fails_as_one(gateway: Running) -> None:
    for _ in range(8):
        answer = gateway.chat("shared-level", script={"by": {"openai": {"status": 500}}})
        assert answer.headers["x-tollgate-target"] == "llama"
        assert answer.headers["x-tollgate-attempts"] == "2"


@pytest.mark.parametrize(
    ("model", "models", "expected"),
    [
        ("llama", ["gemini-pro", "gpt-4-turbo"], ["llama", "gemini-pro", "gpt-4-turbo"]),
        ("gemini-pro", ["gemini-pro", "pair"], ["gemini-pro", "gpt-4-turbo", "llama"]),
        ("pair", ["pair", "flagship"], ["gpt-4-turbo", "llama", "claude-sonnet", "gemini-pro"]),
    ],
)
def test_the_chain_from_the_request(
    model: str, models: list[str], expected: list[str], gateway: Running
) -> None:
    last = expected[-1]
    scripts = {"by": {PORTS[name]: {"status": 500} for name in expected[:-1]}}
    answer = gateway.chat(model, script=scripts, models=models)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == last
    assert ports(gateway.asked()) == [PORTS[name] for name in expected]
    assert all("models" not in one["body"] for one in gateway.asked())


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("flagship", "claude-sonnet"),
        ("pair", "gpt-4-turbo"),
        ("gemini-pro", "gemini-pro"),
        ("llama-3.1-8b-instruct", "llama"),
        ("gemini-2.5-pro", "gemini-pro"),
        ("auto", "claude-sonnet"),
        ("whatever/anybody-says:free", "claude-sonnet"),
    ],
)
def test_names(model: str, target: str, gateway: Running) -> None:
    answer = gateway.chat(model)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == target
    assert ports(gateway.asked()) == [PORTS[target]]


NARROW = {"x-test-route": "narrow"}


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-4o", "gpt-4-turbo"),
        ("fast", "llama"),
        ("pair", "gpt-4-turbo"),
        ("llama", "llama"),
        ("auto", "gpt-4-turbo"),
    ],
)
def test_names_of_a_narrow_route(model: str, target: str, gateway: Running) -> None:
    answer = gateway.chat(model, headers=NARROW)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-target"] == target


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["flagship", "claude-sonnet", "gpt-4-turbo", "nothing", "*"])
def test_a_name_the_route_does_not_allow(model: str, streamed: bool, gateway: Running) -> None:
    answer = gateway.chat(model, headers=NARROW, stream=streamed)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert error["type"] == "invalid_request_error"
    assert gateway.asked() == []


def test_a_name_in_models_the_route_does_not_allow(gateway: Running) -> None:
    answer = gateway.chat("fast", models=["fast", "claude-sonnet"], headers=NARROW)
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "models[1]"
    assert gateway.asked() == []


async def test_models_of_a_route(client: AsyncOpenAI, gateway: Running) -> None:
    every = {one.id async for one in client.models.list()}
    assert {"flagship", "pair", "claude-sonnet", "claude-sonnet-4-5", "auto"} <= every
    assert "*" not in every
    narrow = {one.id async for one in client.models.list(extra_headers=NARROW)}
    assert narrow == {"gpt-4o", "fast", "pair", "llama", "auto"}
    one = await client.models.retrieve("claude-sonnet")
    assert (one.id, one.owned_by, one.object) == ("claude-sonnet", "anthropic", "model")
    url = f"{gateway.url}/models/claude-sonnet"
    missing = gateway.http.get(url, headers=NARROW)
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"
    assert gateway.asked() == []
