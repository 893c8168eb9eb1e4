"""Two frameworks that people use, as they use them: LangChain's ChatOpenAI and pydantic-ai."""

from __future__ import annotations

import functools
import json
import operator
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.e2e.conftest import Running
from tests.e2e.levels import said, scripted

pytestmark = pytest.mark.e2e

TARGETS = ("gpt-five", "claude-sonnet", "gemini-three", "bedrock-claude", "azure-gpt", "command")
TEXT = "naïve 東京 🚦 and more words"


class Verdict(BaseModel):
    """What to think of it."""

    good: bool
    reason: str


@tool
def weather(place: str, days: int = 1) -> str:
    """The weather of a place."""
    return f"grey in {place} for {days}"


CALL = {"name": "weather", "arguments": {"place": "Łódź", "days": 3}}
VERDICT = {"good": True, "reason": "naïve"}


def steps(*scripts: dict[str, Any]) -> dict[str, str]:
    """Headers for a conversation: the nth request is answered by the nth script."""
    return scripted(id=uuid.uuid4().hex, sequence=list(scripts))


# --- LangChain ----------------------------------------------------------------------------


def langchain(gateway: Running, target: str, headers: dict[str, str], **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=target,
        base_url=gateway.url,
        api_key=SecretStr("any"),
        max_retries=0,
        default_headers=headers,
        **more,
    )


APIS = {"chat": {}, "responses": {"use_responses_api": True}}


def together(pieces: list[Any]) -> AIMessageChunk:
    """What LangChain makes of a stream."""
    whole: AIMessageChunk = functools.reduce(operator.add, pieces)
    return whole


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("target", TARGETS)
def test_langchain_text(target: str, api: str, gateway: Running) -> None:
    model = langchain(gateway, target, scripted(text=TEXT), **APIS[api])
    answer = model.invoke("Hello")
    assert answer.text == TEXT
    usage = gateway.asked()[0]["billed"]
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == usage["input"]
    assert answer.usage_metadata["output_tokens"] == usage["output"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("target", TARGETS)
def test_langchain_stream(target: str, api: str, gateway: Running) -> None:
    model = langchain(gateway, target, scripted(text=TEXT), stream_usage=True, **APIS[api])
    pieces = list(model.stream("Hello"))
    assert len([one for one in pieces if one.text]) > 3
    whole = together(pieces)
    assert whole.text == TEXT
    usage = gateway.asked()[0]["billed"]
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] == usage["input"]
    assert whole.usage_metadata["output_tokens"] == usage["output"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("target", TARGETS)
def test_langchain_tools(target: str, api: str, streamed: bool, gateway: Running) -> None:
    script = steps({"tools": [CALL, CALL]}, {"text": "Grey."})
    model = langchain(gateway, target, script, **APIS[api]).bind_tools([weather])
    turns: list[BaseMessage] = [HumanMessage("What is it like?")]

    def ask() -> AIMessage:
        return together([*model.stream(turns)]) if streamed else model.invoke(turns)

    asked = ask()
    assert [one["args"] for one in asked.tool_calls] == [CALL["arguments"]] * 2
    turns += [asked, *(weather.invoke(one) for one in asked.tool_calls)]
    assert ask().text == "Grey."
    assert said(gateway).count("grey in") == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("target", TARGETS)
def test_langchain_structured_output(target: str, method: Any, gateway: Running) -> None:
    answer = {"tools": [{"name": "Verdict", "arguments": VERDICT}]}
    script = scripted(**answer) if method == "function_calling" else {}
    model = langchain(gateway, target, script).with_structured_output(Verdict, method=method)
    assert isinstance(model.invoke("Well?"), Verdict)


# --- pydantic-ai --------------------------------------------------------------------------

MODELS = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


@pytest.fixture
async def provider(gateway: Running) -> AsyncIterator[OpenAIProvider]:
    async with AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0) as client:
        yield OpenAIProvider(openai_client=client)


def agent(provider: OpenAIProvider, api: str, target: str, **more: Any) -> Agent[None, Any]:
    found: Agent[None, Any] = Agent(
        MODELS[api](target, provider=provider), instructions="Be brief.", **more
    )

    @found.tool_plain
    def weather(place: str, days: int = 1) -> str:
        """The weather of a place."""
        return f"grey in {place} for {days}"

    return found


@pytest.mark.parametrize("api", MODELS)
@pytest.mark.parametrize("target", TARGETS)
async def test_agent_with_a_tool(
    target: str, api: str, provider: OpenAIProvider, gateway: Running
) -> None:
    headers = steps({"tools": [CALL], "thinking": "First this."}, {"text": TEXT})
    result = await agent(provider, api, target).run(
        "What is it like?", model_settings={"extra_headers": headers}
    )
    assert result.output == TEXT
    used = result.usage
    asked = gateway.asked()
    assert len(asked) == 2
    assert used.input_tokens == sum(one["billed"]["input"] for one in asked)
    assert used.output_tokens == sum(one["billed"]["output"] for one in asked)
    sent = said(gateway)
    assert "Be brief." in sent
    assert "grey in Łódź for 3" in json.dumps(json.loads(sent), ensure_ascii=False)


@pytest.mark.parametrize("api", MODELS)
@pytest.mark.parametrize("target", TARGETS)
async def test_agent_that_streams(
    target: str, api: str, provider: OpenAIProvider, gateway: Running
) -> None:
    headers = steps({"tools": [CALL]}, {"text": TEXT})
    async with agent(provider, api, target).run_stream(
        "What is it like?", model_settings={"extra_headers": headers}
    ) as result:
        pieces = [one async for one in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == TEXT
    assert len(pieces) > 3
    assert len(gateway.asked()) == 2


@pytest.mark.parametrize("kind", [ToolOutput, NativeOutput, PromptedOutput])
@pytest.mark.parametrize("api", MODELS)
@pytest.mark.parametrize("target", TARGETS)
async def test_agent_with_structured_output(
    target: str, api: str, kind: Any, provider: OpenAIProvider
) -> None:
    found: Agent[None, Any] = Agent(
        MODELS[api](target, provider=provider), output_type=kind(Verdict)
    )
    script: dict[str, str] = {}
    if kind is ToolOutput:
        script = scripted(tools=[{"name": "final_result", "arguments": VERDICT}])
    if kind is PromptedOutput:
        script = scripted(text=json.dumps(VERDICT))
    result = await found.run("Well? JSON.", model_settings={"extra_headers": script})
    assert isinstance(result.output, Verdict)
    if script:
        assert result.output.model_dump() == VERDICT


@pytest.mark.parametrize("api", MODELS)
@pytest.mark.parametrize("target", ["claude-sonnet", "gemini-three", "bedrock-claude", "gpt-five"])
async def test_agent_that_thinks(
    target: str, api: str, provider: OpenAIProvider, gateway: Running
) -> None:
    """The framework keeps what was thought, and hands it back in its own way."""
    settings: Any = {
        "extra_headers": steps({"tools": [CALL], "thinking": "First this."}, {"text": TEXT}),
        "openai_reasoning_effort": "low",
    }
    if api == "responses":
        settings["openai_reasoning_summary"] = "auto"
    result = await agent(provider, api, target).run("What is it like?", model_settings=settings)
    assert result.output == TEXT
    assert len(gateway.asked()) == 2
    if (target, api) != ("gpt-five", "chat"):  # OpenAI's chat completions do not tell
        parts = [part for message in result.all_messages() for part in message.parts]
        thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
        assert any("First this." in one.content for one in thoughts)


@pytest.mark.parametrize("api", MODELS)
async def test_agent_and_errors(api: str, provider: OpenAIProvider) -> None:
    for target in ("gpt-five", "claude-sonnet"):
        headers = scripted(error="rate_limit", retry_after=9)
        with pytest.raises(ModelHTTPError) as raised:
            await agent(provider, api, target).run("Hi", model_settings={"extra_headers": headers})
        assert raised.value.status_code == 429
