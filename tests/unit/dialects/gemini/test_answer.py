import json
from typing import Any

import pytest
from google.genai import types

from extproc.dialects import BadAnswerError, Reply
from tests.unit.dialects.gemini.samples import (
    GEMINI,
    IMAGE,
    INLINE,
    answer,
    candidate,
    completion,
    message,
    read,
)

CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
GREY = candidate({"text": "Grey."}, finish="STOP")
BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
    "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    "modelVersion": "gemini-2.5-pro",
}


def test_text() -> None:
    found = completion(answer(candidate({"text": "Grey, "}, {"text": "11 °C."}, finish="STOP")))
    assert found.id == "chatcmpl-r-1"
    assert found.created == 1_700_000_000
    assert found.model == "gemini-2.5-pro"
    [choice] = found.choices
    assert choice.message.content == "Grey, 11 °C."
    assert choice.finish_reason == "stop"


def test_an_answer_without_an_id_gets_one() -> None:
    assert completion(answer(GREY, responseId=None)).id == "chatcmpl-minted"


def test_tools() -> None:
    body = answer(
        candidate({"text": "Look."}, CALL, {"functionCall": {"name": "t"}}, finish="STOP")
    )
    [choice] = completion(body).choices
    assert choice.message.content == "Look."
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    one, two = (call.model_dump() for call in choice.message.tool_calls)
    assert json.loads(one["function"]["arguments"]) == {"city": "Paris"}
    assert two["function"] == {"name": "t", "arguments": "{}"}


def ids(body: bytes) -> list[str]:
    [choice] = completion(body).choices
    return [call.id for call in choice.message.tool_calls or ()]


def test_call_ids_are_the_same_each_time_and_differ_between_calls_and_turns() -> None:
    body = answer(candidate(CALL, CALL, finish="STOP"))
    assert ids(body) == ids(body)
    next_turn = ids(answer(candidate(CALL, CALL, finish="STOP"), responseId="r-2"))
    assert len({*ids(body), *next_turn}) == 4
    assert all(one.startswith("call_") and len(one) <= 40 for one in ids(body))


def test_call_ids_of_gemini_are_kept() -> None:
    named = {"functionCall": {**CALL["functionCall"], "id": "abc"}}
    assert ids(answer(candidate(named, finish="STOP"))) == ["abc"]


def test_signatures_of_calls_go_to_the_client() -> None:
    found = message({**CALL, "thoughtSignature": "c2ln"})
    [call] = found["tool_calls"]
    assert call["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert found["reasoning_details"] == [detail("c2ln", call["id"])]


def detail(data: str, id_: str) -> dict[str, Any]:
    return {
        "type": "reasoning.encrypted",
        "data": data,
        "id": id_,
        "format": "google-gemini-v1",
    }


def test_thinking() -> None:
    found = message(
        {"text": "Hm.", "thought": True},
        {"executableCode": {"code": "1", "language": "PYTHON"}},
        {"text": "Grey.", "thoughtSignature": "c2ln"},
    )
    assert found["content"] == "Grey."
    assert found["reasoning_content"] == "Hm."
    assert found["reasoning_details"] == [detail("c2ln", "text:0:5")]


def test_images() -> None:
    found = message({"text": "Look:"}, {**INLINE, "thoughtSignature": "c2ln"}, INLINE)
    assert found["content"] == "Look:"
    assert found["images"] == [IMAGE, IMAGE]
    assert found["reasoning_details"] == [detail("c2ln", "image:0:5")]
    completion(answer(candidate(INLINE, finish="STOP")))


def test_a_sound_is_no_image() -> None:
    found = message({"inlineData": {"mimeType": "audio/l16", "data": "AAAA"}}, {"text": "x"})
    assert "images" not in found


def test_json_by_a_forced_tool_is_text() -> None:
    call = {"functionCall": {"name": "answer_in_json", "args": {"a": 1.50}}}
    reply = Reply(json_tool="answer_in_json")
    body = answer(candidate(call, finish="STOP"))
    [choice] = completion(body, reply).choices
    assert choice.message.content == '{"a":1.5}'
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"
    both = completion(answer(candidate(call, CALL, finish="STOP")), reply).choices[0]
    assert both.finish_reason == "tool_calls"


LOGPROBS = {
    "chosenCandidates": [
        {"token": "Gr", "tokenId": 7, "logProbability": -0.5},
        {"token": "é", "logProbability": -1.25},
    ],
    "topCandidates": [
        {
            "candidates": [
                {"token": "Gr", "logProbability": -0.5},
                {"token": "W", "logProbability": -2},
            ]
        }
    ],
}


def test_logprobs() -> None:
    body = answer(candidate({"text": "Gré"}, finish="STOP", logprobsResult=LOGPROBS))
    [choice] = completion(body).choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    one, two = choice.logprobs.content
    assert (one.token, one.logprob, one.bytes) == ("Gr", -0.5, [71, 114])
    assert [(top.token, top.logprob) for top in one.top_logprobs] == [("Gr", -0.5), ("W", -2.0)]
    assert (two.token, two.bytes, two.top_logprobs) == ("é", [195, 169], [])


def test_n() -> None:
    other = candidate({"text": "Wet."}, finish="MAX_TOKENS", index=1)
    found = completion(answer(GREY, other))
    assert [(one.index, one.message.content, one.finish_reason) for one in found.choices] == [
        (0, "Grey.", "stop"),
        (1, "Wet.", "length"),
    ]


CONTENT = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
)
FINISHES = {
    **{reason.value: "stop" for reason in types.FinishReason},
    "REASON_OF_THE_FUTURE": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(CONTENT, "content_filter"),
}


@pytest.mark.parametrize(("reason", "finish"), FINISHES.items())
def test_finish_reasons(reason: str, finish: str) -> None:
    body = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
    [choice] = completion(json.dumps(body).encode()).choices
    assert choice.finish_reason == finish


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "NO_IMAGE", "IMAGE_OTHER"]
)
def test_a_model_that_failed_gave_no_answer(reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        GEMINI.read(answer(candidate(finish=reason)), Reply())


def test_usage_counts_thoughts_as_completion() -> None:
    found = completion(answer(GREY)).usage
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (60, 12, 72)
    assert found.prompt_tokens_details is not None
    assert found.prompt_tokens_details.cached_tokens == 30
    assert found.completion_tokens_details is not None
    assert found.completion_tokens_details.reasoning_tokens == 4


def test_usage_counts_prompts_of_tools() -> None:
    reported = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1}
    found = completion(answer(GREY, usageMetadata=reported)).usage
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens) == (15, 1)


def test_usage_tells_sound_from_text() -> None:
    details = [
        {"modality": "TEXT", "tokenCount": 3},
        {"modality": "AUDIO", "tokenCount": 7},
    ]
    reported = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 8,
        "promptTokensDetails": details,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
    }
    found = completion(answer(GREY, usageMetadata=reported)).usage
    assert found is not None
    assert found.prompt_tokens_details is not None
    assert found.prompt_tokens_details.audio_tokens == 7
    assert found.completion_tokens_details is not None
    assert found.completion_tokens_details.audio_tokens == 8


def test_an_answer_without_usage() -> None:
    found = completion(answer(GREY, usageMetadata=None)).usage
    assert found is not None
    assert found.total_tokens == 0


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"serviceTier": "standard"}, "default"),
        ({"serviceTier": "FLEX"}, "flex"),
        ({"serviceTier": "priority"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, "default"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, None),
        ({}, None),
    ],
)
def test_the_tier_that_served(told: dict[str, str], tier: str | None) -> None:
    body = {"candidates": [GREY], "usageMetadata": told}
    assert completion(json.dumps(body).encode()).service_tier == tier


def test_refusal() -> None:
    blocked = json.dumps(BLOCKED).encode()
    assert read(blocked).refused
    [choice] = completion(blocked).choices
    assert (choice.message.content, choice.message.refusal) == (None, "No.")
    assert choice.finish_reason == "content_filter"
    assert read(answer({"finishReason": "SAFETY", "index": 0})).refused
    assert not read(answer(candidate({"text": "So"}, finish="SAFETY"))).refused


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b"<html><title>Sorry</title></html>", "Sorry"),
        (b"[]", "not an answer"),
        (b"{}", "without candidates"),
        (b'{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}', "Busy"),
        (b'{"candidates":[{"content":5}]}', "not an answer"),
        (b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}', "not an answer"),
        (b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}', "not an answer"),
        (answer(GREY)[:-20], "not an answer"),
    ],
)
def test_an_answer_that_is_none_raises(body: bytes, says: str) -> None:
    with pytest.raises(BadAnswerError, match=says):
        GEMINI.read(body, Reply())
