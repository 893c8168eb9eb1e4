"""Thinking over turns: the SDK hands back its own message, and the provider finds its seal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import Json, Running
from tests.e2e.levels import NATIVE, WEATHER, said, scripted
from tests.e2e.wire import stream

pytestmark = pytest.mark.e2e

THOUGHT = "First „this“, then 東京."
HELLO: list[Any] = [{"role": "user", "content": "Is it raining?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
SIGNED = (
    "claude-sonnet",
    "vertex-claude",
    "bedrock-claude",
    "gemini-pro",
    "gemini-three",
    "vertex-gemini",
)
"""Their thinking is sealed."""
THINKING = (*SIGNED, "command-thinks", "deepseek-flash", "groq-oss", "router-gpt")


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


def ask(sdk: OpenAI, target: str, streamed: bool, turns: list[Any], **script: Any) -> Any:
    """One turn of a conversation with a tool; the message that came back."""
    asked: dict[str, Any] = {
        "model": target,
        "messages": turns,
        "tools": TOOLS,
        "reasoning_effort": "low",
        "extra_headers": scripted(**script),
    }
    if not streamed:
        return sdk.chat.completions.create(**asked).choices[0].message
    with sdk.chat.completions.stream(**asked) as events:
        return events.get_final_completion().choices[0].message


def turn(message: Any, target: str) -> Json:
    """The message as it is handed back."""
    dumped: Json = message.model_dump(exclude_none=True)
    if target in NATIVE:
        for call in dumped.get("tool_calls", ()):
            call.pop("index", None)  # the SDK's own, which these servers refuse
    return dumped


def result(message: Any, content: str) -> Json:
    return {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": content}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", THINKING)
def test_thinking_goes_round(target: str, streamed: bool, sdk: OpenAI, gateway: Running) -> None:
    """Two calls of a tool one after the other, each with thinking before it, then the answer."""
    turns = list(HELLO)
    for place in ("Łódź", "Kyoto"):
        call = {"name": "weather", "arguments": {"place": place}}
        message = ask(sdk, target, streamed, turns, thinking=THOUGHT, tools=[call])
        assert message.reasoning_content.startswith(THOUGHT)
        (asked,) = message.tool_calls
        assert json.loads(asked.function.arguments) == {"place": place}
        turns += [turn(message, target), result(message, f"grey in {place}")]
    final = ask(sdk, target, streamed, turns, text="Grey.")
    assert final.content == "Grey."
    sent = said(gateway)
    assert "grey in Kyoto" in sent
    if target in SIGNED:
        # Both seals, each as it was given; the simulator would have refused any other.
        for one in turns:
            for detail in one.get("reasoning_details", ()):
                seal = detail.get("signature") or detail.get("data")
                assert seal
                assert seal in sent
    if target not in ("gemini-pro", "gemini-three", "vertex-gemini"):
        # Gemini's summaries are for reading alone.
        assert sent.count(json.dumps(THOUGHT, ensure_ascii=False)[1:-1]) >= 2


@pytest.mark.parametrize("target", SIGNED[3:])
def test_several_seals_in_one_stream(target: str, sdk: OpenAI, gateway: Running) -> None:
    """Gemini seals text and calls apart: the SDK keeps all of them, and they all go back."""
    calls = [{"name": "weather", "arguments": {"place": place}} for place in ("Łódź", "Kyoto")]
    message = ask(sdk, target, True, HELLO, thinking=THOUGHT, text="Let me look.", tools=calls)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "grey"} for call in message.tool_calls
    ]
    turns = [*HELLO, turn(message, target), *results]
    assert ask(sdk, target, True, turns, text="Grey.").content == "Grey."
    for detail in turns[1]["reasoning_details"]:
        assert detail["data"] in said(gateway)


@pytest.mark.parametrize("target", SIGNED[:3])
def test_thinking_that_is_hidden(target: str, sdk: OpenAI, gateway: Running) -> None:
    asked = {
        "role": "user",
        "content": "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING use a tool",
    }
    for streamed in (False, True):
        message = ask(sdk, target, streamed, [asked])
        details = turn(message, target)["reasoning_details"]
        (hidden,) = [one for one in details if one["type"] == "reasoning.encrypted"]
        turns = [asked, turn(message, target), result(message, "grey")]
        assert ask(sdk, target, streamed, turns, text="Grey.").content == "Grey."
        assert hidden["data"] in said(gateway)


@pytest.mark.parametrize("target", SIGNED[:3])
def test_a_seal_that_was_changed_is_refused_in_words(target: str, sdk: OpenAI) -> None:
    call = {"name": "weather", "arguments": {"place": "x"}}
    message = ask(sdk, target, False, HELLO, thinking=THOUGHT, tools=[call])
    changed = turn(message, target)
    changed["reasoning_details"][0]["signature"] = "AAAA"
    with pytest.raises(openai.BadRequestError, match=r"(?i)signature"):
        ask(sdk, target, False, [*HELLO, changed, result(message, "grey")])


PAIRS = (
    ("claude-sonnet", "gemini-pro"),
    ("gemini-three", "claude-sonnet"),
    ("claude-sonnet", "gpt-4-turbo"),
    ("gemini-pro", "command-thinks"),
    ("deepseek-flash", "bedrock-claude"),
    ("router-gpt", "gemini-three"),
    ("claude-sonnet", "azure-gpt"),
    ("bedrock-claude", "claude-sonnet"),
)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_another_provider_goes_on(
    first: str, then: str, streamed: bool, sdk: OpenAI, gateway: Running
) -> None:
    """Half a loop of tools is one provider's, and the next provider takes it over: a seal that is
    not its own is left out."""
    call = {"name": "weather", "arguments": {"place": "Łódź"}}
    message = ask(sdk, first, streamed, HELLO, thinking=THOUGHT, tools=[call])
    handed = turn(message, then)
    effort: Json = {} if then == "gpt-4-turbo" else {"reasoning_effort": "low"}
    final = sdk.chat.completions.create(
        model=then,
        messages=[*HELLO, handed, result(message, "grey")],  # type: ignore[list-item]
        tools=TOOLS,
        extra_headers=scripted(text="Grey."),
        **effort,
    )
    assert final.choices[0].message.content == "Grey."
    shared = {first, then} == {"bedrock-claude", "claude-sonnet"}
    for detail in handed.get("reasoning_details", ()):
        seal = detail.get("signature") or detail.get("data")
        assert not seal or (seal in said(gateway)) == shared


def test_how_hard_to_think(gateway: Running) -> None:
    """One word of the client's, and each provider's own way to say it."""
    found = {}
    for target in ("claude-sonnet", "gemini-pro", "gemini-three", "bedrock-claude", "azure-gpt"):
        assert gateway.chat(target, reasoning_effort="low").status_code == 200
        found[target] = gateway.asked()[-1]["body"]
    budgets = [
        found["claude-sonnet"]["thinking"]["budget_tokens"],
        found["gemini-pro"]["generationConfig"]["thinkingConfig"]["thinkingBudget"],
        found["bedrock-claude"]["additionalModelRequestFields"]["thinking"]["budget_tokens"],
    ]
    assert all(1024 <= one <= 8192 for one in budgets), budgets
    three = found["gemini-three"]["generationConfig"]["thinkingConfig"]
    assert three["thinkingLevel"].lower() == "low"
    assert found["azure-gpt"]["reasoning_effort"] == "low"


@pytest.mark.parametrize("target", THINKING)
def test_thinking_comes_first_in_a_stream(target: str, gateway: Running) -> None:
    script = {"thinking": "one two three", "text": "four five", "events": 2}
    seen = stream(gateway, target, script=script, reasoning_effort="low")
    assert seen.done
    deltas = [choice["delta"] for chunk in seen.chunks for choice in chunk["choices"]]
    thought = [one.get("reasoning_content") for one in deltas]
    told = [place for place, one in enumerate(thought) if one]
    spoken = [place for place, one in enumerate(deltas) if one.get("content")]
    assert "".join(one for one in thought if one) == "one two three"
    assert seen.text == "four five"
    assert max(told) < min(spoken)
