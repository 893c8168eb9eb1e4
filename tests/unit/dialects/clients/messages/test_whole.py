"""Whole answers: the SDK's own types take them, and nothing that has a place is lost."""

from typing import Any

import pytest

from extproc.dialects.chat.completion import Completion, ReasoningDetail, Usage
from tests.unit.dialects.clients.messages.driver import (
    CLAUDE,
    GEMINI,
    SIGNED,
    answer,
    assistant,
    call,
    chat,
    shapes,
    whole,
)


def web(start: int, end: int, **more: Any) -> dict[str, Any]:
    found = {"start_index": start, "end_index": end, "title": "T", "url": "https://x", **more}
    return {"type": "url_citation", "url_citation": found}


def test_text() -> None:
    made = whole(answer(content="Hello ☃"))
    assert (made.id, made.model, made.role) == ("msg_a-1", "m-1", "assistant")
    assert shapes(made) == [{"type": "text", "text": "Hello ☃", "citations": None}]
    assert (made.stop_reason, made.stop_sequence, made.stop_details) == ("end_turn", None, None)


def test_usage_counts_what_was_cached_beside_the_input() -> None:
    usage = whole(answer(content="x")).usage
    assert usage.input_tokens == 12
    assert usage.cache_read_input_tokens == 5
    assert usage.cache_creation_input_tokens == 3
    assert usage.cache_creation is not None
    assert usage.cache_creation.ephemeral_1h_input_tokens == 1
    assert usage.cache_creation.ephemeral_5m_input_tokens == 2
    assert usage.output_tokens == 7
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 2


@pytest.mark.parametrize(
    ("tier", "told"),
    [("default", "standard"), ("flex", "batch"), ("priority", "priority"), ("scale", None)],
)
def test_service_tier(tier: str, told: str | None) -> None:
    completion = Completion(
        id="x", created=0, model="m", choices=[], usage=Usage(), service_tier=tier
    )
    assert whole(completion).usage.service_tier == told


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("unheard_of", "end_turn"),
    ],
)
def test_finish_reasons(finish: str, reason: str) -> None:
    assert whole(answer(finish, content="x")).stop_reason == reason


def test_stop_sequence() -> None:
    made = whole(answer("stop", "END", content="x"))
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", "END")


def test_a_refusal_in_words() -> None:
    made = whole(answer("stop", refusal="I cannot."))
    assert made.content == []
    assert made.stop_reason == "refusal"
    assert made.stop_details is not None
    assert made.stop_details.explanation == "I cannot."


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_tool_calls(finish: str) -> None:
    made = whole(
        answer(
            finish,
            content="Let me see.",
            tool_calls=[call("t1", "f", '{"a": 1.50}'), call("x.y:1", "g", "")],
        )
    )
    assert made.stop_reason == "tool_use"
    text, first, second = shapes(made)
    assert text["text"] == "Let me see."
    assert first == {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.5}}
    assert second["input"] == {}
    assert second["id"].startswith("x_y_1_")


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "null", "no"])
def test_arguments_that_are_no_object_are_handed_over_as_they_are(arguments: str) -> None:
    made = whole(answer("tool_calls", tool_calls=[call("t", "f", arguments)]))
    assert shapes(made)[0]["input"] == {"INVALID_JSON": arguments}


# --- thinking -----------------------------------------------------------------------------


def test_claudes_thinking_keeps_its_blocks() -> None:
    secret = ReasoningDetail(type="reasoning.encrypted", data="c2VjcmV0", format=CLAUDE)
    made = whole(
        answer(content="Paris.", reasoning_content="So: Paris.", reasoning_details=[SIGNED, secret])
    )
    assert shapes(made)[:2] == [
        {"type": "thinking", "thinking": "So: Paris.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
    ]


def test_claudes_web_search_keeps_its_blocks() -> None:
    data = '{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}'
    kept = ReasoningDetail(type="reasoning.encrypted", data=data, format=CLAUDE)
    strange = ReasoningDetail(type="reasoning.encrypted", data='{"type":"x"}', format=CLAUDE)
    broken = ReasoningDetail(type="reasoning.encrypted", data="{", format=CLAUDE)
    made = whole(answer(content="x", reasoning_details=[kept, strange, broken]))
    assert [one.type for one in made.content] == ["web_search_tool_result", "text"]


@pytest.mark.parametrize("text", ["Hm.", ""])
def test_thinking_of_others_comes_back_as_it_was(text: str) -> None:
    extra = {"google": {"thought_signature": "Z2Vt"}}
    made = whole(
        answer(
            "tool_calls",
            reasoning_content=text,
            reasoning_details=[GEMINI],
            tool_calls=[call("a:1", "f", "{}", extra_content=extra)],
        )
    )
    blocks = shapes(made)
    kind = "thinking" if text else "redacted_thinking"
    assert [one["type"] for one in blocks] == [kind, "tool_use"]
    message: Any = chat(assistant(*blocks)).messages[0]
    assert message.reasoning_details == [GEMINI]
    assert message.reasoning_content == (text or None)
    assert message.tool_calls[0].extra_content == extra


def test_thinking_without_anything_to_hand_back() -> None:
    (block, _) = shapes(whole(answer(content="x", reasoning_content="Hm.")))
    assert block["thinking"] == "Hm."
    message: Any = chat(assistant(block)).messages[0]
    assert message.reasoning_content == "Hm."
    assert not message.reasoning_details


def test_thinking_that_only_its_details_hold() -> None:
    detail = ReasoningDetail(type="reasoning.summary", summary="Hm.", format="x")
    assert shapes(whole(answer(reasoning_details=[detail])))[0]["thinking"] == "Hm."


# --- citations ----------------------------------------------------------------------------


def test_citations_cut_the_text_where_they_are() -> None:
    made = whole(answer(content="It is Paris, they say.", annotations=[web(6, 11, content="C")]))
    blocks = shapes(made)
    assert [one["text"] for one in blocks] == ["It is ", "Paris", ", they say."]
    assert blocks[1]["citations"] == [
        {
            "type": "web_search_result_location",
            "cited_text": "C",
            "encrypted_index": blocks[1]["citations"][0]["encrypted_index"],
            "title": "T",
            "url": "https://x",
        }
    ]


@pytest.mark.parametrize("annotations", [[web(0, 9), web(5, 11)], [web(0, 99)], [{"type": "x"}]])
def test_citations_that_cannot_be_placed_are_about_all_of_it(annotations: list[Any]) -> None:
    (block,) = shapes(whole(answer(content="It is Paris.", annotations=annotations)))
    assert len(block["citations"]) == len(annotations)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ({"start_char_index": 0, "end_char_index": 5}, "char_location"),
        ({"start_page_number": 1, "end_page_number": 2}, "page_location"),
        ({"start_block_index": 0, "end_block_index": 1}, "content_block_location"),
    ],
)
def test_places_in_documents(place: dict[str, Any], kind: str) -> None:
    annotation = web(0, 5, document_index=1, file_id="file_1", content="C", **place)
    (block,) = shapes(whole(answer(content="Paris", annotations=[annotation])))
    assert block["citations"] == [
        {
            "type": kind,
            "cited_text": "C",
            "document_index": 1,
            "document_title": "T",
            "file_id": "file_1",
            **place,
        }
    ]


def test_images_of_a_model_have_no_place() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}
    assert whole(answer(content="x", images=[image])).content[0].type == "text"
