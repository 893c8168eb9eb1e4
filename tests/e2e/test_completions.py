"""Legacy completions by the OpenAI SDK: passed where the server has them, a chat elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import Running
from tests.e2e.levels import LEVELS, dollars, nanodollars, said, scripted

pytestmark = pytest.mark.e2e

TEXT = 'naïve 東京 🚦\n"quoted", then some more words'
NATIVE = ("instruct", "llama")
CHATTING = (
    "claude-sonnet",
    "gemini-pro",
    "vertex-claude",
    "nova",
    "command",
    "groq-oss",
    "deepseek-flash",
)
"""They are asked as in a chat."""
TARGETS = (*NATIVE, *CHATTING)


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


@pytest.mark.parametrize("target", TARGETS)
def test_whole(target: str, sdk: OpenAI, gateway: Running) -> None:
    answer = sdk.completions.with_raw_response.create(
        model=target,
        prompt="Once upon a time",
        max_tokens=99,
        temperature=0.5,
        stop=["END"],
        extra_headers=scripted(text=TEXT),
    )
    found = answer.parse()
    assert found.object == "text_completion"
    assert found.id.startswith("cmpl-")
    (choice,) = found.choices
    assert (choice.index, choice.text, choice.finish_reason) == (0, TEXT, "stop")
    (sent,) = gateway.asked()
    assert found.usage is not None
    assert found.usage.prompt_tokens == sent["billed"]["input"]
    assert found.usage.completion_tokens == sent["billed"]["output"]
    body = said(gateway)
    assert "Once upon a time" in body
    assert "END" in body
    assert ('"prompt"' in body) == (target in NATIVE)
    if target in LEVELS:
        cost = nanodollars(target, sent["billed"])
        assert dollars(answer.headers["x-tollgate-cost"]) == cost


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_streamed(target: str, usage: bool, sdk: OpenAI, gateway: Running) -> None:
    asked: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
    stream = sdk.completions.create(
        model=target,
        prompt="Once",
        stream=True,
        extra_headers=scripted(text=TEXT, events=5),
        **asked,
    )
    chunks = list(stream)
    assert {one.object for one in chunks} == {"text_completion"}
    assert len({one.id for one in chunks}) == 1
    choices = [one for chunk in chunks for one in chunk.choices]
    assert len(choices) >= 5
    assert "".join(one.text for one in choices) == TEXT
    assert [one.finish_reason for one in choices if one.finish_reason] == ["stop"]
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(told) == usage
    if usage:
        (sent,) = gateway.asked()
        assert told[0].prompt_tokens == sent["billed"]["input"]
        assert told[0].completion_tokens == sent["billed"]["output"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_cost_of_a_stream(target: str, streamed: bool, gateway: Running) -> None:
    body = {"model": target, "prompt": "Once", "stream": streamed}
    answer = gateway.http.post(f"{gateway.url}/completions", json=body)
    assert answer.status_code == 200, answer.text
    billed = gateway.asked()[0]["billed"]
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert (line["input_tokens"], line["output_tokens"]) == (billed["input"], billed["output"])
    if streamed:
        words = f"input={billed['input']} output={billed['output']}\n\ndata: [DONE]"
        assert answer.text.rstrip().endswith(words)
    if target in LEVELS:
        assert line["cost_nanousd"] == nanodollars(target, billed)


ONLY_THERE: list[dict[str, Any]] = [
    {"prompt": ["one", "two"]},
    {"prompt": [1, 2, 3]},
    {"prompt": "Once", "echo": True},
    {"prompt": "Once", "suffix": "the end"},
    {"prompt": "Once", "logprobs": 3},
    {"prompt": "Once", "best_of": 2},
]


@pytest.mark.parametrize("asked", ONLY_THERE, ids=[next(reversed(one)) for one in ONLY_THERE])
def test_what_a_chat_cannot_say(asked: dict[str, Any], sdk: OpenAI, gateway: Running) -> None:
    name = next(reversed(asked))
    served = sdk.completions.create(model="llama", **asked)
    assert served.choices
    for target in CHATTING:
        with pytest.raises(openai.BadRequestError, match=name) as raised:
            sdk.completions.create(model=target, **asked)
        assert raised.value.code == "unsupported_parameter"
    assert len(gateway.asked()) == 1
    walked = sdk.completions.with_raw_response.create(model="flagship", **asked)
    assert walked.headers["x-tollgate-target"] == "llama"


def test_several_answers(sdk: OpenAI) -> None:
    for target in ("instruct", "gemini-pro"):
        answer = sdk.completions.create(model=target, prompt="Once", n=2)
        assert [one.index for one in answer.choices] == [0, 1]


@pytest.mark.parametrize("target", TARGETS)
def test_errors(target: str, sdk: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        sdk.completions.create(
            model=target, prompt="x", extra_headers=scripted(error="rate_limit", retry_after=9)
        )
    assert limited.value.response.headers["retry-after"] == "9"
    stream = sdk.completions.create(
        model=target,
        prompt="x",
        stream=True,
        extra_headers=scripted(text="one two three", events=3, error_at=2),
    )
    told: list[str] = []
    with pytest.raises(openai.APIError):
        told.extend(one.choices[0].text for one in stream)
    assert "".join(told).split() == ["one", "two"]


def test_input_that_is_wrong(sdk: OpenAI, gateway: Running) -> None:
    for asked, param in (
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "stream_options"),
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            sdk.completions.create(model="llama", **asked)
        assert raised.value.param == param
    assert gateway.asked() == []
