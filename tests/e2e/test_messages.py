"""The Anthropic SDK against every provider: passed to Anthropic, translated for the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.e2e.conftest import Json, Running
from tests.e2e.levels import (
    CALLS,
    LEVELS,
    PDF,
    PNG,
    WEATHER,
    dollars,
    headers,
    nanodollars,
    post,
    said,
    scripted,
)

pytestmark = pytest.mark.e2e

TEXT = 'naïve 東京 🚦\n"quoted" \\ and\ttabbed'
NATIVE = ("claude-sonnet", "vertex-claude")
THINKING = (
    *NATIVE,
    "bedrock-claude",
    "gpt-five",
    "azure-gpt",
    "gemini-three",
    "vertex-gemini",
    "command-thinks",
    "deepseek-flash",
    "groq-oss",
    "router-gpt",
)
TARGETS = (*THINKING, "gpt-4-turbo", "nova", "command", "llama")
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [
    {"name": "weather", "description": "Of a place", "input_schema": WEATHER},
    {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
]


@pytest.fixture
def sdk(gateway: Running) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.root, api_key="canary-key", max_retries=0) as found:
        yield found


def ask(sdk: Anthropic, streamed: bool, **asked: Any) -> Any:
    asked = {"max_tokens": 3000, **asked}
    if not streamed:
        return sdk.messages.create(**asked)
    with sdk.messages.stream(**asked) as events:
        return events.get_final_message()


def billed(usage: Any) -> tuple[int, int, int, int]:
    """Anthropic's figures as the simulator keeps its own: all input, output, cached, written."""
    cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return (usage.input_tokens + cached + written, usage.output_tokens, cached, written)


# --- text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_whole(target: str, sdk: Anthropic, gateway: Running) -> None:
    answer = sdk.messages.with_raw_response.create(
        model=target,
        system="Be brief.",
        max_tokens=3000,
        messages=HELLO,
        extra_headers=scripted(text=TEXT),
    )
    found = answer.parse()
    assert (found.type, found.role, found.stop_reason) == ("message", "assistant", "end_turn")
    assert found.id.startswith("msg_")
    assert "".join(block.text for block in found.content if block.type == "text") == TEXT
    (sent,) = gateway.asked()
    figures = sent["billed"]
    names = ("input", "output", "cached", "cache_write")
    assert billed(found.usage) == tuple(figures[name] for name in names)
    assert answer.headers["x-tollgate-target"] == target
    assert "Be brief." in said(gateway)
    if target in LEVELS:
        assert dollars(answer.headers["x-tollgate-cost"]) == nanodollars(target, figures)


@pytest.mark.parametrize("target", TARGETS)
def test_streamed(target: str, sdk: Anthropic, gateway: Running) -> None:
    with sdk.messages.stream(
        model=target, max_tokens=3000, messages=HELLO, extra_headers=scripted(text=TEXT, events=6)
    ) as stream:
        pieces = list(stream.text_stream)
        found = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == stream.get_final_text() == TEXT
    assert found.stop_reason == "end_turn"
    figures = gateway.asked()[0]["billed"]
    names = ("input", "output", "cached", "cache_write")
    assert billed(found.usage) == tuple(figures[name] for name in names)


@pytest.mark.parametrize("target", [one for one in TARGETS if one in LEVELS])
def test_cost_of_a_stream(target: str, gateway: Running) -> None:
    """Written for an hour, read, thought: each at its own price, in the format's own figures."""
    usage = {"input": 1000, "output": 200, "cached": 100}
    if target in (*NATIVE, "bedrock-claude"):
        usage |= {"cache_write": 200, "cache_write_1h": 150}
    asked = {"model": target, "max_tokens": 3000, "messages": HELLO, "stream": True}
    answer = post(gateway, "/v1/messages", asked, usage=usage)
    figures = gateway.asked()[0]["billed"]
    (comment,) = [one for one in answer.text.splitlines() if one.startswith(": tollgate")]
    words = dict(one.split("=") for one in comment.split()[2:])
    expected = nanodollars(target, {**figures, "cache_write_1h": usage.get("cache_write_1h", 0)})
    assert dollars(words["cost"]) == expected
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["cost_nanousd"] == expected


@pytest.mark.parametrize("target", ["claude-sonnet", "bedrock-claude", "gpt-five", "gemini-three"])
def test_images_and_files(target: str, sdk: Anthropic, gateway: Running) -> None:
    content: list[Any] = [
        {"type": "text", "text": "What?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {
            "type": "document",
            "title": "plan",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
    ]
    ask(sdk, False, model=target, messages=[{"role": "user", "content": content}])
    assert PNG in said(gateway)
    assert PDF in said(gateway)


def test_what_is_said_to_anthropic_keeps_its_bytes(gateway: Running) -> None:
    body = (
        rb'{"model":"claude-sonnet","max_tokens":100,"messages":[{"role": "user", "content" :['
        rb'{"text":"na\u00efve","type":"text","cache_control":{"type":"ephemeral","ttl":"1h"} }]}],'
        rb'"metadata":{ "user_id":"u"},"temperature":0.50}'
    )
    sent = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    sent["anthropic-beta"] = "extended-cache-ttl-2025-04-11"
    answer = gateway.http.post(f"{gateway.url}/messages", content=body, headers=sent)
    assert answer.status_code == 200, answer.text
    assert said(gateway).encode() == body.replace(b'"claude-sonnet"', b'"claude-sonnet-4-5"')
    got = headers(gateway.asked()[0])
    assert got["anthropic-version"] == "2023-06-01"
    assert got["anthropic-beta"] == "extended-cache-ttl-2025-04-11"
    for target in ("gpt-five", "gemini-three", "nova", "command"):
        gateway.http.post(
            f"{gateway.url}/messages",
            content=body.replace(b'"claude-sonnet"', b'"%b"' % target.encode()),
            headers={**sent, "x-api-key": "canary"},
        )
        got = headers(gateway.asked()[-1])
        assert [name for name in got if name.startswith("anthropic-")] == []
        assert "canary" not in str(got)


# --- tools and thinking -------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_tools_over_two_turns(
    target: str, streamed: bool, sdk: Anthropic, gateway: Running
) -> None:
    wanted = CALLS[:1] if target == "groq-oss" else CALLS
    asked: Json = {"model": target, "tools": TOOLS}
    first = ask(sdk, streamed, messages=HELLO, extra_headers=scripted(tools=wanted), **asked)
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [(one.name, one.input) for one in calls] == [
        (one["name"], one["arguments"]) for one in wanted
    ]
    results = [
        {"type": "tool_result", "tool_use_id": one.id, "content": f"result {number}"}
        for number, one in enumerate(calls)
    ]
    turns = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [*results, {"type": "text", "text": "So?"}]},
    ]
    second = ask(sdk, streamed, messages=turns, extra_headers=scripted(text="Grey."), **asked)
    assert "Grey." in [block.text for block in second.content if block.type == "text"]
    sent = said(gateway)
    for word in ("Łódź", "result 0", "So?"):
        assert word in sent


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", THINKING)
def test_thinking_goes_round(target: str, streamed: bool, sdk: Anthropic, gateway: Running) -> None:
    """Two calls of a tool one after the other; the SDK's own blocks are handed back."""
    asked: Json = {
        "model": target,
        "tools": TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    turns = list(HELLO)
    seals = []
    for place in ("Łódź", "Kyoto"):
        call = {"name": "weather", "arguments": {"place": place}}
        script = scripted(thinking="First this.", tools=[call])
        answer = ask(sdk, streamed, messages=turns, extra_headers=script, **asked)
        thought = answer.content[0]
        assert thought.type == "thinking"
        assert thought.thinking.startswith("First this.")
        assert thought.signature
        seals.append(thought.signature)
        asked_for = answer.content[-1]
        assert (asked_for.type, asked_for.input) == ("tool_use", {"place": place})
        result = {"type": "tool_result", "tool_use_id": asked_for.id, "content": f"grey in {place}"}
        turns += [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [result]},
        ]
    final = ask(sdk, streamed, messages=turns, extra_headers=scripted(text="Grey."), **asked)
    assert "Grey." in [block.text for block in final.content if block.type == "text"]
    assert "grey in Kyoto" in said(gateway)
    if target in (*NATIVE, "bedrock-claude"):
        assert all(seal in said(gateway) for seal in seals)


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_that_is_hidden(streamed: bool, sdk: Anthropic, gateway: Running) -> None:
    magic = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING use a tool"
    turns: list[Any] = [{"role": "user", "content": magic}]
    for target in (*NATIVE, "bedrock-claude"):
        asked: Json = {
            "model": target,
            "tools": TOOLS,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
        answer = ask(sdk, streamed, messages=turns, **asked)
        (hidden,) = [block for block in answer.content if block.type == "redacted_thinking"]
        result = {"type": "tool_result", "tool_use_id": answer.content[-1].id, "content": "grey"}
        again = [
            *turns,
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [result]},
        ]
        assert ask(sdk, streamed, messages=again, **asked).content
        assert hidden.data in said(gateway)


# --- prompt caches ------------------------------------------------------------------------


@pytest.mark.parametrize("target", [*NATIVE, "bedrock-claude"])
def test_a_prompt_that_is_cached(target: str, sdk: Anthropic) -> None:
    """Written by the first request, read by the second, each told and billed as such."""
    system: list[Any] = [
        {
            "type": "text",
            "text": f"The house rules of {target}. " * 400,
            "cache_control": {"type": "ephemeral"},
        }
    ]
    usages = []
    for _ in range(2):
        answer = sdk.messages.with_raw_response.create(
            model=target, max_tokens=100, system=system, messages=HELLO
        )
        usage = answer.parse().usage
        usages.append(usage)
        total, output, cached, written = billed(usage)
        figures = {"input": total, "output": output, "cached": cached, "cache_write": written}
        cost = nanodollars(target, {**figures, "reasoning": 0})
        assert dollars(answer.headers["x-tollgate-cost"]) == cost
    first, second = usages
    assert first.cache_creation_input_tokens
    assert not first.cache_read_input_tokens
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert not second.cache_creation_input_tokens


@pytest.mark.parametrize("target", ["gpt-five", "gemini-three", "command", "llama"])
def test_marks_of_a_cache_harm_nobody(target: str, sdk: Anthropic) -> None:
    """Providers that cache on their own need no marks, and are not shown any."""
    content: Any = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    answer = sdk.messages.create(
        model=target,
        max_tokens=100,
        system=content,
        messages=[{"role": "user", "content": content}],
    )
    assert isinstance(answer, anthropic.types.Message)
