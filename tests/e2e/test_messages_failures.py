"""The Anthropic SDK when something fails; and its counting of tokens and list of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import pytest
from anthropic import Anthropic

from tests.e2e.conftest import Json, Running
from tests.e2e.figures import billed
from tests.e2e.levels import headers, post, said, scripted

pytestmark = pytest.mark.e2e

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASKED: Json = {"max_tokens": 100, "messages": HELLO}
TARGETS = (
    "claude-sonnet",
    "vertex-claude",
    "gpt-five",
    "gemini-three",
    "bedrock-claude",
    "command",
)


@pytest.fixture
def sdk(gateway: Running) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.root, api_key="any", max_retries=0) as found:
        yield found


def fails(sdk: Anthropic, target: str, **script: Any) -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as raised:
        sdk.messages.create(model=target, extra_headers=scripted(**script), **ASKED)
    body: Any = raised.value.body
    assert body["type"] == "error"
    assert set(body["error"]) <= {"type", "message", "details"}
    return raised.value


@pytest.mark.parametrize("target", TARGETS)
def test_errors_of_a_provider(target: str, sdk: Anthropic) -> None:
    """Whoever it was: Anthropic's types, so that the SDK's classes and retries are right."""
    limited = fails(sdk, target, error="rate_limit", retry_after=9)
    assert isinstance(limited, anthropic.RateLimitError)
    assert limited.type == "rate_limit_error"
    assert limited.response.headers["retry-after"] == "9"
    bad = fails(sdk, target, error="invalid_request", message="canary")
    assert isinstance(bad, anthropic.BadRequestError)
    assert bad.type == "invalid_request_error"
    assert "canary" in bad.message
    large = fails(sdk, target, error="too_large")
    assert (large.status_code, large.type) == (413, "request_too_large")
    for error in ("overloaded", "server", "unavailable"):
        away = fails(sdk, target, error=error)
        assert isinstance(away, anthropic.InternalServerError)
        assert away.status_code == 503
        assert away.type == "overloaded_error"
        assert target in away.message
    key = fails(sdk, target, error="authentication", message="canary")
    assert (key.status_code, key.type) == (502, "api_error")
    assert "canary" not in key.message
    for garbage in ("html", "empty", "truncated_json", "binary"):
        broken = fails(sdk, target, garbage=garbage)
        assert isinstance(broken, anthropic.InternalServerError)
        assert broken.type in ("overloaded_error", "api_error")


@pytest.mark.parametrize("target", TARGETS)
def test_streams_that_fail(target: str, sdk: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError):
        sdk.messages.create(
            model=target, stream=True, extra_headers=scripted(error="rate_limit"), **ASKED
        )
    for script, kind in (
        ({"error_at": 2}, "api_error"),
        ({"silence": 2}, "timeout_error"),
        ({"stop_early": 2}, "api_error"),
    ):
        told: list[str] = []
        headers = scripted(text="one two three four", **script)
        with (
            pytest.raises(anthropic.APIStatusError) as raised,
            sdk.messages.stream(model=target, extra_headers=headers, **ASKED) as stream,
        ):
            told.extend(stream.text_stream)
        assert "".join(told).split() == ["one", "two"]
        assert raised.value.type == kind


def test_the_next_level_serves(sdk: Anthropic, gateway: Running) -> None:
    for streamed in (False, True):
        gateway.forget()
        script = scripted(by={"anthropic": {"error": "overloaded"}})
        asked: Json = {"model": "flagship", "extra_headers": script, **ASKED}
        if streamed:
            with sdk.messages.stream(**asked) as stream:
                assert stream.get_final_text()
                served = stream.response.headers["x-tollgate-target"]
        else:
            answer = sdk.messages.with_raw_response.create(**asked)
            assert answer.parse().stop_reason == "end_turn"
            served = answer.headers["x-tollgate-target"]
        assert served == "gpt-4-turbo"
        assert [one["port"] for one in gateway.asked()] == ["anthropic", "openai"]
        assert not [one for one in headers(gateway.asked()[1]) if one.startswith("anthropic-")]


BAD: dict[str, Json] = {
    "role": {"messages": [{"role": "robot", "content": "x"}]},
    "max_tokens": {"max_tokens": "many"},
    "no messages": {"messages": []},
    "block": {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    "temperature": {"temperature": 9},
}


@pytest.mark.parametrize("case", BAD)
def test_input_that_is_wrong(case: str, gateway: Running) -> None:
    before = billed(gateway)
    answer = post(gateway, "/v1/messages", {"model": "claude-sonnet", **ASKED, **BAD[case]})
    assert answer.status_code == 400
    error = answer.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert error["error"]["message"]
    assert gateway.asked() == []
    assert billed(gateway) == before


def test_what_never_reaches_a_provider(sdk: Anthropic, gateway: Running) -> None:
    """Refused by Envoy or the gateway, and told in Anthropic's words."""
    with pytest.raises(anthropic.NotFoundError) as unknown:
        sdk.messages.create(model="nope", extra_headers={"x-test-route": "narrow"}, **ASKED)
    assert unknown.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="reasoning"):
        sdk.messages.create(
            model="gpt-4-turbo",
            thinking={"type": "enabled", "budget_tokens": 1024},
            **{**ASKED, "max_tokens": 3000},
        )
    large = [{"role": "user", "content": "x" * (33 << 20)}]
    with pytest.raises(anthropic.APIStatusError) as too_large:
        sdk.messages.create(model="claude-sonnet", max_tokens=9, messages=large)  # type: ignore[arg-type]
    assert (too_large.value.status_code, too_large.value.type) == (413, "request_too_large")
    told: list[httpx.Response] = [
        gateway.http.get(f"{gateway.url}/messages"),
        gateway.http.post(f"{gateway.url}/messages", content=b"{"),
        gateway.http.post(f"{gateway.url}/messages", content=b"", headers={"content-type": "a/b"}),
        gateway.http.post(f"{gateway.url}/messages/nothing", json={}),
    ]
    assert [one.status_code for one in told] == [405, 400, 415, 404]
    assert {one.json()["type"] for one in told} == {"error"}
    assert gateway.asked() == []


# --- counting and models ------------------------------------------------------------------

COUNTING = {
    "claude-sonnet": "/v1/messages/count_tokens",
    "vertex-claude": "count-tokens:rawPredict",
    "gemini-three": ":countTokens",
    "vertex-gemini": ":countTokens",
    "bedrock-claude": "/count-tokens",
}
"""They are asked; for the others there is an estimate, and it is said that it is one."""


@pytest.mark.parametrize("target", [*COUNTING, "gpt-five", "nova", "command", "llama"])
def test_counting_tokens(target: str, sdk: Anthropic, gateway: Running) -> None:
    before = billed(gateway)
    tools: list[Any] = [{"name": "weather", "input_schema": {"type": "object"}}]
    answer = sdk.messages.with_raw_response.count_tokens(
        model=target, system="Be brief.", messages=HELLO, tools=tools
    )
    assert answer.parse().input_tokens > 0
    warned = answer.headers.get("x-tollgate-warning")
    if target in COUNTING:
        assert warned is None
        (sent,) = gateway.asked()
        assert COUNTING[target] in sent["path"]
        assert "Hello" in said(gateway)
    else:
        assert warned is not None
        assert "estimated" in warned
        assert gateway.asked() == []
    tokens = [one for one in billed(gateway) if one not in before and "_tokens" in one]
    assert tokens == []


def test_counting_more(sdk: Anthropic) -> None:
    """An estimate grows with what is said."""
    counts = [
        sdk.messages.count_tokens(
            model="llama", messages=[{"role": "user", "content": "word " * times}]
        ).input_tokens
        for times in (10, 1000)
    ]
    assert counts[1] > 50 * counts[0]


def test_models(sdk: Anthropic, gateway: Running) -> None:
    listed = list(sdk.models.list())
    ids = {one.id for one in listed}
    assert {"flagship", "claude-sonnet", "claude-sonnet-4-5", "gpt-five"} <= ids
    assert {one.type for one in listed} == {"model"}
    assert sdk.models.retrieve("claude-sonnet").display_name
    with pytest.raises(anthropic.NotFoundError):
        sdk.models.retrieve("flagship", extra_headers={"x-test-route": "narrow"})
    # OpenAI's SDK still gets OpenAI's list.
    assert gateway.http.get(f"{gateway.url}/models").json()["object"] == "list"
    assert gateway.asked() == []
