"""What the client is told when no level serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Json, Running

pytestmark = pytest.mark.e2e

streams = pytest.mark.parametrize("streamed", [False, True])
FULL: Json = {"status": 429, "retry_after": 9}


def refused(gateway: Running, model: str, script: Json, streamed: bool, **more: Any) -> Json:
    """The error as the SDK raises it; its answer in OpenAI's shape, its attempts told."""
    text = more.pop("text", "Hello")
    with gateway.openai() as sdk, pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            stream=streamed,
            extra_headers={"x-sim-script": json.dumps(script), **more.pop("headers", {})},
            extra_body=more,
        )
    error = caught.value
    answer = error.response
    assert answer.headers["content-type"] == "application/json"
    assert not [name for name in answer.headers if name.startswith(("x-tollgate-i-", "x-envoy-"))]
    assert set(answer.json()) == {"error"}
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return {
        **body,
        "kind": type(error),
        "status": error.status_code,
        "retry_after": answer.headers.get("retry-after"),
        "attempts": answer.headers.get("x-tollgate-attempts"),
        "id": answer.headers["x-tollgate-request-id"],
    }


@streams
@pytest.mark.parametrize(
    ("by", "wait"),
    [
        ({"anthropic": 30, "openai": 20, "gemini": 7.2, "local": 12}, "8"),
        ({"anthropic": 2, "openai": 20, "gemini": 30, "local": 40}, "2"),
        ({"anthropic": 30, "openai": 20, "gemini": 40, "local": 3}, "3"),
    ],
    ids=["third", "first", "last"],
)
def test_every_level_is_full(by: Json, wait: str, streamed: bool, gateway: Running) -> None:
    # The smallest wait of all, not that of the last level, and in whole seconds rounded up.
    script = {"by": {port: {"status": 429, "retry_after": one} for port, one in by.items()}}
    error = refused(gateway, "flagship", script, streamed)
    assert (error["status"], error["kind"]) == (429, openai.RateLimitError)
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert error["retry_after"] == wait
    assert error["attempts"] == "4"
    line = gateway.access_log(error["id"])
    assert line["refusals"] == (
        "claude-sonnet:capacity,gpt-4-turbo:capacity,gemini-pro:capacity,llama:capacity"
    )
    assert line["status"] == 429
    assert line["cost_nanousd"] is None


def broken_levels() -> Iterator[tuple[str, Json, bool]]:
    """Which provider, how, and streamed or not. A whole answer of a target that passes it on has
    begun with its head, and silence costs seconds and is the same everywhere."""
    for failing, streamed in product(("anthropic", "openai", "gemini", "local"), (False, True)):
        yield failing, {"status": 500}, streamed
        yield failing, {"reset": "before"}, streamed
        if streamed or failing not in ("openai", "local"):
            yield failing, {"reset": "after_headers"}, streamed
        if failing == "anthropic":
            yield failing, {"silence": "before_head"}, streamed


@pytest.mark.parametrize(("failing", "how", "streamed"), list(broken_levels()))
def test_one_level_is_broken_and_the_others_full(
    failing: str, how: Json, streamed: bool, gateway: Running
) -> None:
    # A wait would not be the truth: who knows when the broken one is back. Wherever it stands.
    script = {"by": dict.fromkeys(("anthropic", "openai", "gemini", "local"), FULL)}
    script["by"][failing] = how
    error = refused(gateway, "flagship", script, streamed)
    assert (error["status"], error["kind"]) == (503, openai.InternalServerError)
    assert (error["type"], error["code"]) == ("server_error", "no_provider_available")
    assert error["attempts"] == "4"
    names = {"anthropic": "claude-sonnet", "openai": "gpt-4-turbo", "gemini": "gemini-pro"}
    name = names.get(failing, "llama")
    reason = "timeout" if "silence" in how else "unavailable"
    assert f"{name}: {reason}" in error["message"]


@streams
def test_a_wrong_key_beside_broken_levels(streamed: bool, gateway: Running) -> None:
    script = {"by": {"openai": {"error": "authentication"}, "local": {"status": 500}}}
    error = refused(gateway, "pair", script, streamed)
    assert error["status"] == 502
    assert error["code"] == "provider_credentials"
    assert "api key" not in error["message"].lower()
    line = gateway.access_log(error["id"])
    assert line["refusals"] == "gpt-4-turbo:credentials,llama:unavailable"


@streams
def test_every_level_is_too_small(streamed: bool, gateway: Running) -> None:
    # Known beforehand: nobody is asked.
    error = refused(gateway, "all-small", {}, streamed, text="word " * 3000)
    assert (error["status"], error["kind"]) == (400, openai.BadRequestError)
    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
    assert error["param"] == "messages"
    assert gateway.asked() == []
    assert gateway.access_log(error["id"])["refusals"] == "small:context_length"


@streams
def test_every_provider_finds_it_too_long(streamed: bool, gateway: Running) -> None:
    error = refused(gateway, "flagship", {"error": "context_length"}, streamed)
    assert error["status"] == 400
    assert error["code"] == "context_length_exceeded"
    assert error["attempts"] == "4"
    assert len(gateway.asked()) == 4


@streams
def test_some_too_small_beforehand_and_the_rest_too(streamed: bool, gateway: Running) -> None:
    script = {"error": "context_length"}
    error = refused(gateway, "small-first", script, streamed, text="word " * 2400)
    assert error["status"] == 400
    assert error["code"] == "context_length_exceeded"
    assert [one["model"] for one in gateway.asked()] == ["gpt-4o"]
    line = gateway.access_log(error["id"])
    assert line["refusals"] == "small:context_length,patient:context_length"


@streams
def test_too_small_beforehand_and_the_rest_broken(streamed: bool, gateway: Running) -> None:
    error = refused(gateway, "small-first", {"status": 500}, streamed, text="word " * 2400)
    assert error["status"] == 503


@streams
def test_too_small_beforehand_and_the_rest_full(streamed: bool, gateway: Running) -> None:
    # Waiting helps: the level with room takes it then.
    error = refused(gateway, "small-first", FULL, streamed, text="word " * 2400)
    assert error["status"] == 429
    assert error["retry_after"] == "9"


@streams
def test_every_level_refuses_the_content(streamed: bool, gateway: Running) -> None:
    script = {"error": "content_filter"}
    headers = {"x-test-route": "walk-on-content"}
    error = refused(gateway, "flagship", script, streamed, headers=headers)
    assert (error["status"], error["type"]) == (400, "invalid_request_error")
    assert error["code"] == "content_policy_violation"
    assert error["attempts"] == "4"


@streams
def test_a_missing_feature_everywhere(streamed: bool, gateway: Running) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    error = refused(gateway, "plain", {}, streamed, tools=[tool])
    assert error["status"] == 400
    assert error["code"] == "unsupported_parameter"
    assert gateway.asked() == []


@streams
@pytest.mark.parametrize(
    "script",
    [
        {"status": 500},
        {"status": 503, "garbage": "html"},
        {"reset": "before"},
        {"garbage": "html"},
        {"error": "model_not_found"},
    ],
    ids=["500", "html-503", "reset", "html-200", "404"],
)
def test_nobody_serves(script: Json, streamed: bool, gateway: Running) -> None:
    error = refused(gateway, "flagship", script, streamed)
    assert (error["status"], error["kind"]) == (503, openai.InternalServerError)
    assert (error["type"], error["code"]) == ("server_error", "no_provider_available")
    assert error["attempts"] == "4"
    for name in ("claude-sonnet", "gpt-4-turbo", "gemini-pro", "llama"):
        assert name in error["message"]
    line = gateway.access_log(error["id"])
    assert len(line["refusals"].split(",")) == 4
    assert line["target"] is None


def test_a_note_of_one_request_is_not_anothers(gateway: Running) -> None:
    for _ in range(3):
        error = refused(gateway, "pair", {"by": {"openai": FULL, "local": FULL}}, streamed=False)
        assert error["status"] == 429
        error = refused(gateway, "pair", {"status": 500}, streamed=False)
        assert error["status"] == 503
        assert gateway.chat("pair").headers["x-tollgate-attempts"] == "1"
