"""`/v1/responses` by the OpenAI SDK: passed where the server has it, translated everywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import Json, Running
from tests.e2e.levels import (
    CALLS,
    LEVELS,
    PDF,
    PNG,
    WEATHER,
    dollars,
    nanodollars,
    said,
    scripted,
)

pytestmark = pytest.mark.e2e

TEXT = 'naïve 東京 🚦\n"quoted" \\ and\ttabbed'
NATIVE = ("gpt-five", "azure-gpt")
OTHERS = ("claude-sonnet", "vertex-claude", "bedrock-claude", "gemini-three", "vertex-gemini")
PLAIN = ("nova", "command")
"""They do not think."""
CHATTING = ("deepseek-flash", "llama")
"""They speak chat completions and no responses."""
TARGETS = (*NATIVE, *OTHERS, *PLAIN, *CHATTING)
STRICT = {**WEATHER, "required": ["place", "days"], "additionalProperties": False}
TOOLS: list[Any] = [
    {"type": "function", "name": "weather", "parameters": STRICT, "strict": True},
    {
        "type": "function",
        "name": "clock",
        "parameters": {
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": False,
        },
        "strict": True,
    },
]
ASK: Json = {"role": "user", "content": "What is it like in Łódź?"}


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


def ask(sdk: OpenAI, streamed: bool, **asked: Any) -> Any:
    if not streamed:
        return sdk.responses.create(**asked)
    with sdk.responses.stream(**asked) as events:
        for _ in events:
            pass
        return events.get_final_response()


# --- text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_text(target: str, sdk: OpenAI, gateway: Running) -> None:
    answer = sdk.responses.with_raw_response.create(
        model=target,
        instructions="Be brief.",
        input="Hello",
        max_output_tokens=99,
        extra_headers=scripted(text=TEXT),
    )
    found = answer.parse()
    assert (found.object, found.status, found.error) == ("response", "completed", None)
    assert found.id.startswith("resp_")
    assert found.output_text == TEXT
    message = found.output[-1] if found.output[-1].type == "message" else found.output[0]
    assert message.type == "message"
    (sent,) = gateway.asked()
    assert found.usage is not None
    assert found.usage.input_tokens == sent["billed"]["input"]
    assert found.usage.output_tokens == sent["billed"]["output"]
    assert found.usage.input_tokens_details.cached_tokens == sent["billed"]["cached"]
    assert found.usage.output_tokens_details.reasoning_tokens == sent["billed"]["reasoning"]
    assert answer.headers["x-tollgate-target"] == target
    assert "Be brief." in said(gateway)
    if target in LEVELS:
        cost = nanodollars(target, sent["billed"])
        assert dollars(answer.headers["x-tollgate-cost"]) == cost


@pytest.mark.parametrize("target", TARGETS)
def test_streamed(target: str, sdk: OpenAI, gateway: Running) -> None:
    stream = sdk.responses.create(
        model=target, input="Hello", stream=True, extra_headers=scripted(text=TEXT, events=6)
    )
    events: list[Any] = list(stream)
    assert [one.sequence_number for one in events] == list(range(len(events)))
    kinds = [one.type for one in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    deltas = [one.delta for one in events if one.type == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(deltas) == TEXT
    final = events[-1].response
    assert final.output_text == TEXT
    (done,) = [one for one in events if one.type == "response.output_text.done"]
    assert done.text == TEXT
    # Every item that is announced ends, in the order and the place of the whole answer.
    items = [one.item.id for one in events if one.type == "response.output_item.done"]
    assert items == [one.id for one in final.output]
    assert kinds.count("response.output_item.added") == len(items)
    (sent,) = gateway.asked()
    assert final.usage.input_tokens == sent["billed"]["input"]
    assert final.usage.output_tokens == sent["billed"]["output"]


@pytest.mark.parametrize("target", TARGETS)
def test_output_that_reaches_its_limit(target: str, sdk: OpenAI) -> None:
    asked: Any = {
        "model": target,
        "input": "Hello",
        "extra_headers": scripted(finish="length", text="one two"),
    }
    whole = sdk.responses.create(**asked)
    *_, last = sdk.responses.create(stream=True, **asked)
    assert last.type == "response.incomplete"
    for found in (whole, last.response):
        assert (found.status, found.output_text) == ("incomplete", "one two")
        assert found.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("target", ["gpt-five", "claude-sonnet", "gemini-three", "bedrock-claude"])
def test_images_and_files(target: str, sdk: OpenAI, gateway: Running) -> None:
    content = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "plan.pdf",
            "file_data": f"data:application/pdf;base64,{PDF}",
        },
    ]
    sdk.responses.create(model=target, input=[{"role": "user", "content": content}])  # type: ignore[list-item, misc]
    assert PNG in said(gateway)
    assert PDF in said(gateway)


# --- tools and thinking -------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_tools_over_two_turns(target: str, streamed: bool, sdk: OpenAI, gateway: Running) -> None:
    asked: dict[str, Any] = {"model": target, "tools": TOOLS, "store": False}
    first = ask(sdk, streamed, input=[ASK], extra_headers=scripted(tools=CALLS), **asked)
    calls = [one for one in first.output if one.type == "function_call"]
    found = [(one.name, json.loads(one.arguments)) for one in calls]
    assert found == [(one["name"], one["arguments"]) for one in CALLS]
    turns = [ASK, *handed(calls)]
    for call, result in zip(calls, ("grey", "noon"), strict=True):
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    second = ask(sdk, streamed, input=turns, extra_headers=scripted(text="Grey."), **asked)
    assert second.output_text == "Grey."
    sent = said(gateway)
    assert all(word in sent for word in ("weather", "clock", "Łódź", "grey", "noon"))


def handed(items: Any) -> list[Json]:
    """Items of an answer as an application hands them back."""
    found = [one.model_dump(exclude_none=True) for one in items]
    for one in found:
        one.pop("parsed_arguments", None)  # the SDK's own
    return found


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", [*NATIVE, *OTHERS, *CHATTING, "command-thinks"])
def test_reasoning_is_handed_back(
    target: str, streamed: bool, sdk: OpenAI, gateway: Running
) -> None:
    """Two calls one after the other; seals are checked by who gave them."""
    asked: dict[str, Any] = {
        "model": target,
        "tools": TOOLS,
        "store": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    turns = [ASK]
    for place in ("Łódź", "Kyoto"):
        call = {"name": "weather", "arguments": {"place": place, "days": 1}}
        script = scripted(thinking="First this, then that.", tools=[call])
        answer = ask(sdk, streamed, input=turns, extra_headers=script, **asked)
        kinds = [one.type for one in answer.output]
        assert kinds[0] == "reasoning"
        assert kinds[-1] == "function_call"
        summary = "".join(part.text for part in answer.output[0].summary)
        assert summary.startswith("First this, then that.")
        assert answer.output[0].encrypted_content
        result = {
            "type": "function_call_output",
            "call_id": answer.output[-1].call_id,
            "output": f"grey in {place}",
        }
        turns += [*handed(answer.output), result]
    final = ask(sdk, streamed, input=turns, extra_headers=scripted(text="Grey."), **asked)
    assert final.output_text == "Grey."
    assert "grey in Kyoto" in said(gateway)


def test_reasoning_of_one_provider_and_the_next(sdk: OpenAI) -> None:
    """A chain's levels change: what another provider sealed is left out, not refused."""
    asked: dict[str, Any] = {
        "tools": TOOLS,
        "store": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    call = {"name": "weather", "arguments": {"place": "Łódź", "days": 1}}
    for first, then in (
        ("claude-sonnet", "gemini-three"),
        ("gemini-three", "gpt-five"),
        ("gpt-five", "claude-sonnet"),
        ("claude-sonnet", "bedrock-claude"),
    ):
        script = scripted(thinking="First this.", tools=[call])
        answer = sdk.responses.create(model=first, input=[ASK], extra_headers=script, **asked)  # type: ignore[list-item]
        result = {
            "type": "function_call_output",
            "call_id": answer.output[-1].call_id,  # type: ignore[union-attr]
            "output": "grey",
        }
        turns: list[Any] = [ASK, *handed(answer.output), result]
        second = sdk.responses.create(
            model=then, input=turns, extra_headers=scripted(text="Grey."), **asked
        )
        assert second.output_text == "Grey.", (first, then)


# --- JSON ---------------------------------------------------------------------------------


class Verdict(BaseModel):
    good: bool
    reason: str


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", [*NATIVE, *OTHERS, *PLAIN, "llama"])
def test_structured_output(target: str, streamed: bool, sdk: OpenAI) -> None:
    if streamed:
        with sdk.responses.stream(model=target, input="Well?", text_format=Verdict) as events:
            for _ in events:
                pass
            found = events.get_final_response()
    else:
        found = sdk.responses.parse(model=target, input="Well?", text_format=Verdict)
    assert isinstance(found.output_parsed, Verdict)


# --- state --------------------------------------------------------------------------------


def test_going_on_from_a_response(sdk: OpenAI, gateway: Running) -> None:
    first = sdk.responses.create(model="gpt-five", input="Hello")
    second = sdk.responses.create(
        model="gpt-five",
        input="And?",
        previous_response_id=first.id,
        extra_headers=scripted(text=TEXT),
    )
    assert second.output_text == TEXT
    assert second.previous_response_id == first.id
    before = len(gateway.asked())
    for target in (*OTHERS, *PLAIN, *CHATTING, "groq-oss", "router-gpt"):
        for asked in ({"previous_response_id": first.id}, {"conversation": "conv_1"}):
            (name,) = asked
            with pytest.raises(openai.BadRequestError, match=f"{target}.*{name}") as raised:
                sdk.responses.create(model=target, input="And?", **asked)  # type: ignore[call-overload]
            assert (raised.value.code, raised.value.param) == ("unsupported_parameter", name)
    assert len(gateway.asked()) == before
