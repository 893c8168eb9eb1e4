"""The OpenAI SDK through Envoy, against each provider's dialect."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Running

pytestmark = pytest.mark.e2e

TARGETS = {
    "claude-sonnet": "claude-sonnet-4-5",
    "gpt-4-turbo": "gpt-4-turbo",
    "gemini-pro": "gemini-2.5-pro",
    "llama": "llama-3.1-8b-instruct",
}


@pytest.mark.parametrize("target", TARGETS)
async def test_chat(target: str, client: AsyncOpenAI, gateway: Running) -> None:
    answer = await client.chat.completions.with_raw_response.create(
        model=target, messages=[{"role": "user", "content": "Hello"}]
    )
    chat = answer.parse()
    assert chat.choices[0].message.content
    assert chat.choices[0].finish_reason == "stop"
    assert chat.model == TARGETS[target]
    assert answer.headers["x-tollgate-target"] == target
    (sent,) = gateway.asked()
    assert chat.usage is not None
    assert chat.usage.prompt_tokens == sent["usage"]["input"]
    assert chat.usage.completion_tokens == sent["usage"]["output"]
