import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dialects.gemini.samples import (
    IMAGE,
    INLINE,
    NEW,
    USER,
    answer,
    candidate,
    lacks,
    message,
    parts,
    read,
    sent,
    turn,
)
from tests.unit.dialects.samples import CALLS, RESULTS, TIME, WEATHER


def contents(*messages: dict[str, Any], model: str = "gemini-2.5-pro") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(model, messages=list(messages))["contents"]
    return found


def test_system_and_developer_messages_come_first() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    ]
    tree = sent(messages=messages)
    assert tree["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert [one["role"] for one in tree["contents"]] == ["user"]


def test_instructions_alone_are_said_by_the_user() -> None:
    assert sent(messages=[{"role": "developer", "content": "Hello"}]) == {
        "contents": [turn("user", "Hello")]
    }


def test_multi_turn() -> None:
    assert contents(
        USER,
        {"role": "assistant", "content": "Grey."},
        {"role": "user", "content": "And tomorrow?"},
    ) == [turn("user", USER["content"]), turn("model", "Grey."), turn("user", "And tomorrow?")]


def test_empty_text_is_left_out_and_neighbours_meet() -> None:
    assert contents(
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "c"}]},
    ) == [turn("user", "a", "b"), turn("model", "c")]
    assert contents({"role": "user", "content": ""}) == [turn("user", ".")]


def test_the_first_turn_is_the_users() -> None:
    assert contents({"role": "assistant", "content": "How can I help?"}, USER)[0] == turn(
        "user", "."
    )


def test_tool_results() -> None:
    after = {"role": "user", "content": "And?"}
    tree = sent(messages=[USER, CALLS, *RESULTS, after], tools=[WEATHER, TIME])
    args = {"city": "Paris", "days": 1.0}
    assert tree["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "get_weather", "args": args, "id": "call_1"}},
                {"functionCall": {"name": "get_time", "args": {}, "id": "call_2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                response("get_weather", "call_1", {"sky": "grey", "t": 11.5}),
                response("get_time", "call_2", {"output": "noon"}),
                {"text": "And?"},
            ],
        },
    ]


def response(name: str, id_: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": given, "id": id_, **more}}


@pytest.mark.parametrize("content", ["[1]", "{broken", "", "11", '{"a":1} tail'])
def test_a_result_that_is_no_object_goes_under_output(content: str) -> None:
    results = [{**RESULTS[0], "content": content}, RESULTS[1]]
    [first, _] = contents(USER, CALLS, *results)[-1]["parts"]
    assert first["functionResponse"]["response"] == {"output": content}


def test_a_result_that_is_an_error_goes_under_error() -> None:
    results = [{**RESULTS[0], "content": '{"no": 1}', "is_error": True}, RESULTS[1]]
    [first, _] = contents(USER, CALLS, *results)[-1]["parts"]
    assert first["functionResponse"]["response"] == {"error": '{"no": 1}'}


SEEN = [
    {**RESULTS[0], "content": [{"type": "text", "text": "see"}, IMAGE]},
    RESULTS[1],
]


def test_images_in_results_are_parts_of_them_from_gemini_3_on() -> None:
    [first, second] = contents(USER, CALLS, *SEEN, model=NEW)[-1]["parts"]
    assert first == response("get_weather", "call_1", {"output": "see"}, parts=[INLINE])
    assert second == response("get_time", "call_2", {"output": "noon"})


def test_images_in_results_follow_all_of_them_before() -> None:
    after = {"role": "user", "content": "And?"}
    found = contents(USER, CALLS, *SEEN, after)[-1]["parts"]
    assert found == [
        response("get_weather", "call_1", {"output": "see"}),
        response("get_time", "call_2", {"output": "noon"}),
        INLINE,
        {"text": "And?"},
    ]
    assert contents(USER, CALLS, *SEEN)[-1]["parts"][-1] == INLINE


def test_functions_of_old() -> None:
    call = {"name": "get_time", "arguments": "{}"}
    found = contents(
        USER,
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "get_time", "content": "noon"},
    )
    assert found[1]["parts"] == [{"functionCall": {"name": "get_time", "args": {}}}]
    assert found[2]["parts"] == [
        {"functionResponse": {"name": "get_time", "response": {"output": "noon"}}}
    ]


@pytest.mark.parametrize("bad", ["{", "[]", "null", '"x"', "{} {}", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_by_name(bad: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": bad}}
    assert lacks(messages=[USER, {"role": "assistant", "tool_calls": [call]}]) == (
        "tools: messages[1].tool_calls[0].function.arguments is not a JSON object"
    )


def test_a_result_of_no_call_is_refused_by_name() -> None:
    assert lacks(messages=[USER, RESULTS[0]]) == (
        "tools: messages[1].tool_call_id answers no earlier tool call"
    )


# --- thinking, handed back ----------------------------------------------------------------

SIGNED = {**CALLS["tool_calls"][0], "extra_content": {"google": {"thought_signature": "c2ln"}}}
CALLED = {**CALLS, "tool_calls": [SIGNED, CALLS["tool_calls"][1]]}


def detail(data: str, id_: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "reasoning.encrypted",
        "data": data,
        "id": id_,
        "format": "google-gemini-v1",
        **more,
    }


def signatures(*messages: dict[str, Any], model: str = NEW) -> list[str | None]:
    return [one.get("thoughtSignature") for one in contents(*messages, model=model)[1]["parts"]]


def test_signatures_of_calls_come_back_to_them() -> None:
    assert signatures(USER, CALLED, *RESULTS) == ["c2ln", None]


def test_signatures_of_calls_come_back_from_reasoning_details_too() -> None:
    said = {**CALLS, "reasoning_details": [detail("c2ln", "call_1")]}
    assert signatures(USER, said, *RESULTS) == ["c2ln", None]


def test_calls_of_other_models_carry_the_documented_dummy_from_gemini_3_on() -> None:
    dummy = "skip_thought_signature_validator"
    for model in ("gemini-3-pro-preview", "models/gemini-3.5-flash", "gemini-flash-latest"):
        assert signatures(USER, CALLS, *RESULTS, model=model) == [dummy, None]
    assert signatures(USER, CALLS, *RESULTS, model="gemini-2.5-pro") == [None, None]


def said(text: str | None, *details: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The parts of a message of the model's, as it goes back."""
    turn = {"role": "assistant", "content": text, "reasoning_details": list(details), **more}
    return parts(1, NEW, messages=[USER, turn, USER])


def test_a_signature_goes_back_to_its_piece_of_the_text() -> None:
    assert said("Grey, é 11 °C.", detail("c2ln", "text:6:7"), detail("eA==", "text:14:14")) == [
        {"text": "Grey, "},
        {"text": "é", "thoughtSignature": "c2ln"},
        {"text": " 11 °C."},
        {"text": "", "thoughtSignature": "eA=="},
    ]


@pytest.mark.parametrize(
    "id_", [None, "reasoning_1", "text:1", "text:-1:2", "text:a:b", "image:0:0", "text:0:1:2"]
)
def test_a_signature_of_an_unknown_place_goes_to_the_end(id_: str | None) -> None:
    assert said("Grey.", detail("c2ln", id_)) == [
        {"text": "Grey."},
        {"text": "", "thoughtSignature": "c2ln"},
    ]


def test_places_beyond_a_text_that_the_client_has_shortened() -> None:
    assert said("Gr", detail("c2ln", "text:0:99"), detail("eA==", "text:50:60")) == [
        {"text": "Gr", "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "eA=="},
    ]


def test_signatures_of_images_go_back_to_them() -> None:
    found = said("Look: nice?", detail("c2ln", "image:0:6"), images=[IMAGE, IMAGE])
    assert found == [
        {"text": "Look: "},
        {**INLINE, "thoughtSignature": "c2ln"},
        {"text": "nice?"},
        INLINE,
    ]


def test_an_image_of_a_kind_that_nobody_knows_is_left_out() -> None:
    assert said("x", images=[{"type": "other"}, {"image_url": {"url": "ftp://x"}}]) == [
        {"text": "x"}
    ]


def test_searches_go_back_as_they_were() -> None:
    call = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["x"]}, "id": "s"}}
    assert said("Grey.", detail(json.dumps(call), "part:0")) == [call, {"text": "Grey."}]


def test_signed_thoughts_go_back_as_thoughts() -> None:
    found = said("Grey.", detail("c2ln", "thought"), reasoning_content="Hm.")
    assert found == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "Grey."},
    ]
    assert said("Grey.", detail("c2ln", "thought")) == [{"text": "Grey."}]


def test_thinking_of_others_is_left_out() -> None:
    foreign = detail("c2ln", "text:0:1", format="anthropic-claude-v1")
    text = {"type": "reasoning.text", "text": "Hm.", "signature": "x", "format": "google-gemini-v1"}
    assert said("Grey.", foreign, text, reasoning_content="Hm.") == [{"text": "Grey."}]


CALL = {"functionCall": {"name": "get_time", "args": {}, "id": "c1"}, "thoughtSignature": "Y2Fs"}
ANSWERS: list[list[dict[str, Any]]] = [
    [{"text": "Grey.", "thoughtSignature": "c2ln"}],
    [{"text": "Grey, "}, {"text": "é", "thoughtSignature": "c2ln"}, {"text": " 11 °C."}],
    [{"text": "Grey."}, {"text": "", "thoughtSignature": "c2ln"}],
    [{"text": "Look."}, CALL],
    [CALL],
    [{"text": "🌧 "}, {**INLINE, "thoughtSignature": "aW1n"}, {"text": "Nice?"}, INLINE],
    [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s"}, "thoughtSignature": "c2ln"},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s", "response": {"a": [1.50]}}},
        {"text": "Grey."},
    ],
]


@pytest.mark.parametrize("said", ANSWERS)
def test_what_was_answered_goes_back_as_it_was(said: list[dict[str, Any]]) -> None:
    found = {key: value for key, value in message(*said).items() if value is not None}
    assert parts(1, NEW, messages=[USER, found, USER]) == said


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
            st.sampled_from([None, "c2ln", "eA=="]),
        ),
        max_size=6,
    )
)
def test_any_text_goes_back_with_its_signatures_in_place(
    pieces: list[tuple[str, str | None]],
) -> None:
    said = [
        {"text": text, **({"thoughtSignature": signature} if signature else {})}
        for text, signature in pieces
    ]
    choice = read(answer(candidate(*said, finish="STOP"))).choices[0]
    found = json.loads(msgspec.json.encode(choice.message))
    found = {key: value for key, value in found.items() if value is not None}
    back = parts(1, NEW, messages=[USER, found, USER]) if found.get("content") else []
    if found.get("content"):
        assert merged(back) == merged(said)


def merged(parts_: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Neighbours without signature are one text."""
    found: list[tuple[str, str | None]] = []
    for part in parts_:
        signature = part.get("thoughtSignature")
        if signature is None and found and found[-1][1] is None:
            found[-1] = (found[-1][0] + part["text"], None)
        elif signature is not None or part["text"]:
            found.append((part["text"], signature))
    return found
