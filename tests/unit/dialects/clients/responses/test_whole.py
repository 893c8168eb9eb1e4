from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from extproc.dialects.chat.completion import ReasoningDetail, Usage
from extproc.dialects.clients.responses.sealed import unseal
from tests.unit.dialects.clients.responses.driver import (
    FORMAT,
    NOW,
    SIGNED,
    SQL,
    WEATHER,
    answer,
    call,
    decoded,
    whole,
)


def test_text() -> None:
    found = whole(answer(content='Grey, "é".'))
    assert found.output_text == 'Grey, "é".'
    assert (found.id, found.model, found.status) == ("resp_a1", "m-1", "completed")
    assert (found.created_at, found.completed_at) == (1_700_000_000, NOW)
    assert found.error is None
    assert found.incomplete_details is None
    assert found.usage is not None
    assert found.usage.to_dict() == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 27,
    }


def test_everything_that_is_counted() -> None:
    usage = Usage(
        prompt=9, completion=8, cache_write=4, cache_write_1h=3, audio_prompt=2, audio_completion=1
    )
    made = msgspec.structs.replace(answer(content="x"), usage=usage)
    found = json.loads(FORMAT.whole(made, decoded()))["usage"]
    assert found["input_tokens_details"] == {
        "cached_tokens": 0,
        "cache_write_tokens": 4,
        "cache_write_1h_tokens": 3,
        "audio_tokens": 2,
    }
    assert found["output_tokens_details"] == {"reasoning_tokens": 0, "audio_tokens": 1}


def test_items_stand_in_openais_order() -> None:
    found = whole(
        answer(
            "tool_calls",
            content="Let me see.",
            reasoning_content="So: Paris.",
            reasoning_details=[SIGNED],
            images=[{"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}}],
            tool_calls=[call("c0", "get_weather", '{"city": "Paris"}'), call("c1", "sql", "x")],
        ),
        tools=[WEATHER, SQL],
    )
    thought, image, message, function, custom = found.output
    assert thought.type == "reasoning"
    assert [one.text for one in thought.summary] == ["So: Paris."]
    assert unseal(thought.encrypted_content or "", "x").details == [SIGNED]
    assert image.type == "image_generation_call"
    assert (image.result, image.output_format) == ("AAAA", "webp")
    assert message.type == "message"
    assert function.type == "function_call"
    assert (function.call_id, function.name, function.arguments, function.status) == (
        "c0",
        "get_weather",
        '{"city": "Paris"}',
        "completed",
    )
    assert custom.type == "custom_tool_call"
    assert (custom.call_id, custom.name, custom.input) == ("c1", "sql", "x")
    assert len({one.id for one in found.output}) == 5


def test_thinking_that_nobody_wants_back_is_known_again() -> None:
    (thought, _) = whole(answer(content="x", reasoning_content="Hm.")).output
    assert thought.type == "reasoning"
    assert unseal(thought.encrypted_content or "", "x").details == []


def test_sealed_thinking_has_no_summary() -> None:
    detail = ReasoningDetail(type="reasoning.encrypted", data="zz", format="f")
    (thought, _) = whole(answer(content="x", reasoning_details=[detail])).output
    assert thought.type == "reasoning"
    assert thought.summary == []
    assert unseal(thought.encrypted_content or "", "x").details == [detail]


def test_refusal() -> None:
    (message,) = whole(answer(refusal="I cannot.")).output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "refusal"
    assert part.refusal == "I cannot."


def test_citations() -> None:
    url = {"url": "https://e.org", "title": "E", "start_index": 0, "end_index": 4}
    found = whole(
        answer(
            content="Grey",
            annotations=[
                {"type": "url_citation", "url_citation": url},
                {"type": "file_citation", "file_citation": {"file_id": "f"}},
                {"type": "char_location", "document_title": "T"},
            ],
        )
    )
    (message,) = found.output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    first, second, third = message.content[0].annotations
    assert first.to_dict() == {"type": "url_citation", **url}
    assert second.type == "file_citation"
    assert third.type == "url_citation"


def test_logprobs() -> None:
    token = {"token": "é", "logprob": -1, "top_logprobs": [{"token": "e", "logprob": -2}]}
    found = whole(
        answer(content="é", logprobs={"content": [token]}),
        include=["message.output_text.logprobs"],
    )
    (message,) = found.output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    (made,) = message.content[0].logprobs or []
    assert (made.token, made.bytes, made.top_logprobs[0].bytes) == ("é", [195, 169], [101])


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_finish_reasons(finish: str, status: str, reason: str | None) -> None:
    found = whole(answer(finish, content="x", reasoning_content="y"))
    assert found.status == status
    details = found.incomplete_details
    assert (details.reason if details else None) == reason
    assert found.output[-1].status == status  # type: ignore[union-attr]


def test_an_answer_of_nothing_is_a_message() -> None:
    (message,) = whole(answer()).output
    assert message.type == "message"
    assert message.content == []
    nothing = msgspec.structs.replace(answer(), choices=[])
    assert whole(nothing).output_text == ""


@pytest.mark.parametrize("given_", [{"content": [{"token": 1}]}, {"content": None}, {"x": 1}])
def test_logprobs_that_are_none_are_left_out(given_: dict[str, Any]) -> None:
    assert whole(answer(content="é", logprobs=given_)).output_text == "é"


def test_what_was_asked_is_repeated() -> None:
    asked: dict[str, Any] = {
        "instructions": 'Be "brief".',
        "tools": [WEATHER, SQL, {"type": "web_search", "search_context_size": "low"}],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "custom", "name": "sql"}],
        },
        "metadata": {"team": "blue"},
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 77,
        "max_tool_calls": 4,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "x", "schema": {}, "strict": True},
            "verbosity": "low",
        },
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "top_logprobs": 2,
        "user": "u",
    }
    made = json.loads(FORMAT.whole(answer(content="x"), decoded(**asked)))
    Response.model_validate(made)
    made["text"]["format"].pop("description", None)
    assert {name: made[name] for name in asked} == asked


def test_what_was_not_asked_is_openais_default() -> None:
    made = json.loads(FORMAT.whole(answer(content="x"), decoded(store=True, truncation="auto")))
    assert {
        "instructions": None,
        "tools": [],
        "tool_choice": "auto",
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": None, "summary": None},
        "background": False,
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
    }.items() <= made.items()


@pytest.mark.parametrize(
    ("tier", "told"), [("flex", "flex"), ("standard", "default"), (None, "priority")]
)
def test_service_tier(tier: str | None, told: str) -> None:
    made = msgspec.structs.replace(answer(content="x"), service_tier=tier)
    assert whole(made, service_tier="priority").service_tier == told


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20))
def test_any_id_makes_ids_that_openai_takes_back(id_: str, text: str) -> None:
    made = msgspec.structs.replace(answer(content=text, reasoning_content="x"), id=id_)
    found = whole(made)
    for one in (found.id, *(item.id for item in found.output)):
        assert one is not None
        assert len(one) <= 64
        assert one.replace("_", "").isalnum()
    assert found.output_text == text
