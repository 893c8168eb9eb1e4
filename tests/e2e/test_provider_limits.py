"""Rate limits, waits and error bodies of every provider, in OpenAI's words."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Running
from tests.e2e.levels import LEVELS, post

pytestmark = pytest.mark.e2e

OWN = ("gpt-4-turbo", "groq-oss", "deepseek-flash", "router-gpt")
"""They tell their limits in OpenAI's names themselves."""
DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h))+")
"""As OpenAI writes a time: 6ms, 1m30s."""


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", OWN)
def test_limits_pass(target: str, streamed: bool, gateway: Running) -> None:
    told = {"x-ratelimit-remaining-requests": "17", "x-ratelimit-reset-tokens": "6m0s"}
    answer = gateway.chat(target, stream=streamed, script={"headers": told})
    assert told.items() <= dict(answer.headers).items()
    assert answer.headers["x-ratelimit-limit-requests"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_limits_of_anthropic(path: str, streamed: bool, gateway: Running) -> None:
    """Its own names stay, for those who know them."""
    told = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "17",
        "anthropic-ratelimit-tokens-limit": "90000",
        "anthropic-ratelimit-tokens-remaining": "1234",
        "anthropic-organization-id": "our-account",
    }
    body = {"model": "claude-sonnet", "stream": streamed}
    if path == "/v1/responses":
        body["input"] = "Hello"
    else:
        body |= {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 99}
    answer = post(gateway, path, body, headers=told)
    assert answer.status_code == 200, answer.text
    found = answer.headers
    assert found["x-ratelimit-limit-requests"] == "50"
    assert found["x-ratelimit-remaining-requests"] == "17"
    assert found["x-ratelimit-limit-tokens"] == "90000"
    assert found["x-ratelimit-remaining-tokens"] == "1234"
    assert DURATION.fullmatch(found["x-ratelimit-reset-requests"])
    assert found["anthropic-ratelimit-requests-remaining"] == "17"
    assert "our-account" not in str(found)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEVELS)
def test_how_long_to_wait(target: str, streamed: bool, gateway: Running) -> None:
    """In a header, in milliseconds, or in the body, as each provider tells it."""
    script = {"error": "rate_limit", "retry_after": 9}
    answer = gateway.chat(target, stream=streamed, script=script)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "9"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


def test_the_shortest_wait(gateway: Running) -> None:
    waits = {"cohere": 30, "bedrock": 7, "vertex": 12}
    script = {
        "by": {port: {"error": "rate_limit", "retry_after": wait} for port, wait in waits.items()}
    }
    chain = ["command", "nova", "vertex-gemini"]
    answer = gateway.chat("command", models=chain, script=script)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert all(one in answer.json()["error"]["message"] for one in chain)


CODES = {
    400: (503, "no_provider_available"),
    403: (502, "provider_credentials"),
    404: (503, "no_provider_available"),
    413: (413, "request_too_large"),
    429: (429, "rate_limit_exceeded"),
    500: (503, "no_provider_available"),
    529: (503, "no_provider_available"),
}
"""What becomes of a status whose body is none of the provider's: the page of a load balancer."""


@pytest.mark.parametrize("garbage", ["html", "empty", "truncated_json", "binary"])
@pytest.mark.parametrize("target", LEVELS)
def test_error_bodies_that_are_none(target: str, garbage: str, gateway: Running) -> None:
    for status, expected in CODES.items():
        for streamed in (False, True):
            script = {"status": status, "garbage": garbage}
            answer = gateway.chat(target, stream=streamed, script=script)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == expected
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"]
            assert "<" not in error["message"]


@pytest.mark.parametrize("target", LEVELS)
def test_answers_that_are_none(target: str, gateway: Running) -> None:
    """A 200 that cannot be read is walked past."""
    for garbage in ("html", "empty", "binary", "truncated_json"):
        for streamed in (False, True):
            gateway.forget()
            script = {"by": {LEVELS[target].port: {"garbage": garbage}}}
            answer = gateway.chat(target, models=[target, "llama"], stream=streamed, script=script)
            native = target in OWN or target == "azure-gpt"
            if native and not streamed and answer.status_code == 502:
                # It said that it was JSON and how long: it passed without a look.
                assert answer.json()["error"]["code"] == "bad_answer"
                continue
            assert answer.status_code == 200, (garbage, streamed, answer.text)
            assert answer.headers["x-tollgate-target"] == "llama"
            assert len(gateway.asked()) == 2
