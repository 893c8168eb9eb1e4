"""The OpenAI SDK against every provider there is: what is said, called, counted and kept back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.conftest import Json, Running
from tests.e2e.levels import (
    CALLS,
    LEVELS,
    NATIVE,
    WEATHER,
    dollars,
    headers,
    nanodollars,
    said,
    scripted,
)
from tests.e2e.wire import stream

pytestmark = pytest.mark.e2e

TEXT = 'naïve 東京 🚦\n"quoted" \\ and\ttabbed, then some more words'
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Of a place", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}},
]


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


# --- text and figures ---------------------------------------------------------------------

USAGE = {
    "claude-sonnet": {"cached": 300, "cache_write": 200, "reasoning": 70},
    "vertex-claude": {"cached": 300, "cache_write": 200, "cache_write_1h": 150},
    "gemini-pro": {"cached": 300, "reasoning": 70, "audio_input": 100},
    "vertex-gemini": {"cached": 300, "reasoning": 70},
    "nova": {"cached": 300, "cache_write": 200},
    "bedrock-claude": {"cached": 300, "cache_write": 200, "cache_write_1h": 150},
    "command": {},
    "groq-oss": {"cached": 300},
    "deepseek-flash": {"cached": 300, "reasoning": 70},
    "azure-gpt": {"cached": 300, "reasoning": 70},
    "gpt-4-turbo": {"cached": 300},
    "router-gpt": {"cached": 300, "reasoning": 70},
}
"""What each provider tells beyond input and output."""


def figures(target: str) -> Json:
    none = dict.fromkeys(("cached", "cache_write", "cache_write_1h", "reasoning", "audio_input"), 0)
    return {"input": 1000, "output": 200, **none, **USAGE[target]}


def check(target: str, usage: openai.types.CompletionUsage | None) -> None:
    """The SDK's usage is the simulator's, in OpenAI's words."""
    assert usage is not None
    expected = figures(target)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1000, 200, 1200)
    found = {"prompt": usage.prompt_tokens_details, "completion": usage.completion_tokens_details}
    for side, names in {
        "prompt": ("cached_tokens", "cache_write_tokens"),
        "completion": ("reasoning_tokens",),
    }.items():
        for name in names:
            told = getattr(found[side], name, 0) or 0
            assert told == expected[name.removesuffix("_tokens")], name
    if expected["audio_input"]:
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.audio_tokens == expected["audio_input"]


@pytest.mark.parametrize("target", LEVELS)
def test_chat(target: str, sdk: OpenAI, gateway: Running) -> None:
    answer = sdk.chat.completions.with_raw_response.create(
        model=target, messages=HELLO, extra_headers=scripted(text=TEXT, usage=figures(target))
    )
    chat = answer.parse()
    assert chat.object == "chat.completion"
    assert chat.choices[0].message.role == "assistant"
    assert chat.choices[0].message.content == TEXT
    assert chat.choices[0].finish_reason == "stop"
    check(target, chat.usage)
    (sent,) = gateway.asked()
    assert sent["port"] == LEVELS[target].port
    assert answer.headers["x-tollgate-target"] == target
    assert "x-tollgate-warning" not in answer.headers
    assert dollars(answer.headers["x-tollgate-cost"]) == nanodollars(target, figures(target))


@pytest.mark.parametrize("target", LEVELS)
def test_stream(target: str, sdk: OpenAI, gateway: Running) -> None:
    with sdk.chat.completions.stream(
        model=target,
        messages=HELLO,
        stream_options={"include_usage": True},
        extra_headers=scripted(text=TEXT, events=9, usage=figures(target)),
    ) as events:
        deltas = [one.delta for one in events if one.type == "content.delta"]
        final = events.get_final_completion()
    assert len(deltas) > 4
    assert "".join(deltas) == final.choices[0].message.content == TEXT
    assert final.choices[0].finish_reason == "stop"
    check(target, final.usage)
    (sent,) = gateway.asked()
    assert sent["stream"] or target in ("nova", "bedrock-claude")  # there the path tells


@pytest.mark.parametrize("target", LEVELS)
def test_cost_of_a_stream(target: str, gateway: Running) -> None:
    """The same cost in the comment, the access log and the catalogue."""
    seen = stream(gateway, target, script={"usage": figures(target)})
    assert seen.done
    expected = nanodollars(target, figures(target))
    (comment,) = [one for one in seen.comments if one.startswith("tollgate")]
    words = dict(one.split("=") for one in comment.split()[1:])
    assert dollars(words["cost"]) == expected
    assert (words["input"], words["output"]) == ("1000", "200")
    assert gateway.access_log(seen.id)["cost_nanousd"] == expected


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEVELS)
def test_finish_reasons(target: str, streamed: bool, sdk: OpenAI) -> None:
    # Cohere has no word for content that is filtered.
    for finish in ("length", "content_filter") if target != "command" else ("length",):
        script = scripted(finish=finish, text="one two")
        if streamed:
            chunks = sdk.chat.completions.create(
                model=target, messages=HELLO, stream=True, extra_headers=script
            )
            found = [one.choices[0].finish_reason for one in chunks if one.choices]
            assert [one for one in found if one] == [finish]
        else:
            chat = sdk.chat.completions.create(model=target, messages=HELLO, extra_headers=script)
            assert chat.choices[0].finish_reason == finish


# --- tools --------------------------------------------------------------------------------


def called(target: str) -> list[Json]:
    """Both tools at once; this model of Groq's calls one at a time."""
    return CALLS[:1] if target == "groq-oss" else CALLS


def ask(sdk: OpenAI, target: str, streamed: bool) -> Any:
    asked: dict[str, Any] = {
        "model": target,
        "messages": HELLO,
        "tools": TOOLS,
        "extra_headers": scripted(tools=called(target)),
    }
    if not streamed:
        return sdk.chat.completions.create(**asked).choices[0]
    with sdk.chat.completions.stream(**asked) as events:
        return events.get_final_completion().choices[0]


def turn(message: Any, target: str) -> Any:
    """The SDK's message, as an application hands it back. OpenAI and its kin refuse the `index`
    that the SDK leaves in the calls of a stream; others are not shown it."""
    said = message.model_dump(exclude_none=True)
    if target in NATIVE:
        for call in said.get("tool_calls", ()):
            call.pop("index", None)
    return said


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEVELS)
def test_tools_over_two_turns(target: str, streamed: bool, sdk: OpenAI, gateway: Running) -> None:
    choice = ask(sdk, target, streamed)
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    found = [(one.function.name, json.loads(one.function.arguments)) for one in calls]
    assert found == [(one["name"], one["arguments"]) for one in called(target)]
    assert len({one.id for one in calls}) == len(calls)
    turns: list[Any] = [*HELLO, turn(choice.message, target)]
    for call, result in zip(calls, ('{"sky": "grey"}', "noon"), strict=False):
        turns.append({"role": "tool", "tool_call_id": call.id, "content": result})
    second = sdk.chat.completions.create(
        model=target,
        messages=turns,
        tools=TOOLS,
        extra_headers=scripted(text="Grey at noon."),
    )
    # The simulator takes only results that answer its calls.
    assert second.choices[0].message.content == "Grey at noon."
    sent = said(gateway)
    assert all(word in sent for word in ("weather", "clock", "Łódź", "grey"))
    assert ("noon" in sent) == (len(calls) == 2)


@pytest.mark.parametrize("target", LEVELS)
def test_a_tool_must_be_called(target: str, sdk: OpenAI) -> None:
    chat = sdk.chat.completions.create(
        model=target, messages=HELLO, tools=TOOLS, tool_choice="required"
    )
    assert chat.choices[0].finish_reason == "tool_calls"
    assert chat.choices[0].message.tool_calls


# --- what a provider gets to see ----------------------------------------------------------

SECRETS = {
    "authorization": "Bearer canary-1",
    "x-api-key": "canary-2",
    "api-key": "canary-3",
    "x-goog-api-key": "canary-4",
    "cookie": "canary=5",
    "openai-organization": "canary-6",
    "openai-project": "canary-7",
    "x-tollgate-user": "canary-8",
    "x-tollgate-feature": "canary-9",
    "x-portkey-metadata": '{"_user": "canary-10"}',
    "helicone-user-id": "canary-11",
    "x-tollgate-i-target": "canary-12",
}
VENDORS = {"anthropic-version": "2023-06-01", "anthropic-beta": "files", "openai-beta": "x"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", LEVELS)
def test_nothing_of_the_client_reaches_a_provider(
    target: str, streamed: bool, gateway: Running
) -> None:
    answer = gateway.chat(target, stream=streamed, headers={**SECRETS, **VENDORS})
    assert answer.status_code == 200, answer.text
    (sent,) = gateway.asked()
    assert "canary" not in json.dumps([sent["headers"], sent["body"], sent["path"]])
    got = headers(sent)
    own = ("x-sim-", "x-tollgate-", "x-envoy-", "x-forwarded-", "x-request-id", "x-portkey-")
    assert [name for name in got if name.startswith(own)] == []
    # What is said to a vendor goes to those who speak its format.
    assert [name for name in got if name.startswith("openai-")] == [
        name for name in VENDORS if name.startswith("openai-") and target in NATIVE[:3]
    ]
    if LEVELS[target].port == "anthropic":
        # Our own version, not what the client says it knows.
        assert (got["anthropic-version"], got.get("anthropic-beta")) == ("2023-06-01", None)
    else:
        assert [name for name in got if name.startswith("anthropic-")] == []


KEYS = {
    "anthropic": "x-api-key",
    "azure": "api-key",
    "gemini": "x-goog-api-key",
}
"""Where a provider's key goes; elsewhere `authorization`."""


@pytest.mark.parametrize("target", LEVELS)
def test_every_provider_gets_its_own_key(target: str, gateway: Running) -> None:
    assert gateway.chat(target, headers=SECRETS).status_code == 200
    got = headers(gateway.asked()[0])
    wanted = KEYS.get(LEVELS[target].port, "authorization")
    assert {*KEYS.values(), "authorization"} & got.keys() == {wanted}
    scheme = "AWS4-HMAC-SHA256 " if LEVELS[target].port == "bedrock" else "Bearer "
    assert got[wanted].startswith(scheme) == (wanted == "authorization")
