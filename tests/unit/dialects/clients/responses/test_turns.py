from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.chat import parse
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.clients.responses import for_native
from extproc.errors import ClientError
from tests.unit.dialects.clients.responses.driver import (
    FORMAT,
    SIGNED,
    answer,
    body,
    call,
    decoded,
    ended,
    events,
    lit,
    stream,
)

USER = {"role": "user", "content": "Hello?"}
CALL = {"type": "function_call", "call_id": "c0", "name": "f", "arguments": '{"a": 1.0}'}
OUTPUT = {"type": "function_call_output", "call_id": "c0", "output": "noon"}
CHAT_CALL = {"type": "function", "id": "c0", "function": {"name": "f", "arguments": '{"a": 1.0}'}}
CHAT_OUTPUT = {"role": "tool", "content": "noon", "tool_call_id": "c0"}


def messages(*items: dict[str, Any]) -> list[dict[str, Any]]:
    found = decoded(input=list(items))
    assert found.native_only is None
    written = msgspec.json.encode(found.chat)
    parse(written)
    made: list[dict[str, Any]] = json.loads(written)["messages"]
    return made


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (
            {"type": "input_image", "image_url": "https://e/c.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://e/c.png", "detail": "low"}},
        ),
        (
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AA==",
                "filename": "a",
            },
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a"},
            },
        ),
        (
            {"type": "input_file", "file_url": "https://e/a.pdf"},
            {"type": "file", "file": {"file_url": "https://e/a.pdf"}},
        ),
        (
            {"type": "input_file", "file_id": "file-1"},
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        ),
        (
            {
                "type": "input_text",
                "text": "long",
                "prompt_cache_breakpoint": {"mode": "explicit"},
            },
            {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}},
        ),
        (
            {
                "type": "input_text",
                "text": "long",
                "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"},
            },
            {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
    ],
)
def test_parts(part: dict[str, Any], made: dict[str, Any]) -> None:
    assert messages(user(part)) == [{"role": "user", "content": [made]}]


def test_messages_of_every_role() -> None:
    text = {"type": "input_text", "text": "a"}
    assert messages(
        {"role": "system", "content": "s"},
        {"type": "message", "role": "developer", "content": [text, text]},
        user(text),
        {"role": "assistant", "content": "b"},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "c", "annotations": []},
                {"type": "refusal", "refusal": "d"},
            ],
        },
    ) == [
        {"role": "system", "content": "s"},
        {
            "role": "developer",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "a"}],
        },
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "c"}, {"type": "refusal", "refusal": "d"}],
        },
    ]


def test_what_the_model_did_in_one_turn_is_one_message() -> None:
    other = {**CALL, "call_id": "c1"}
    assert messages(USER, {"role": "assistant", "content": "Let me see."}, CALL, other, OUTPUT) == [
        USER,
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c1"}],
        },
        CHAT_OUTPUT,
    ]


def test_calls_one_after_the_other() -> None:
    assert messages(USER, CALL, OUTPUT, CALL, OUTPUT) == [
        USER,
        {"role": "assistant", "tool_calls": [CHAT_CALL]},
        CHAT_OUTPUT,
        {"role": "assistant", "tool_calls": [CHAT_CALL]},
        CHAT_OUTPUT,
    ]


def test_text_between_a_call_and_its_result_stays_before_the_result() -> None:
    assert messages(USER, CALL, {"role": "assistant", "content": "x"}, OUTPUT) == [
        USER,
        {"role": "assistant", "content": "x", "tool_calls": [CHAT_CALL]},
        CHAT_OUTPUT,
    ]


def test_results_with_images_and_files() -> None:
    result = {
        **OUTPUT,
        "output": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "https://e/c.png"},
            {"type": "input_file", "file_url": "https://e/a.pdf"},
        ],
    }
    assert messages(USER, CALL, result)[2] == {
        "role": "tool",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://e/c.png"}},
            {"type": "file", "file": {"file_url": "https://e/a.pdf"}},
        ],
        "tool_call_id": "c0",
    }


def test_custom_calls() -> None:
    made = messages(
        USER,
        {"type": "custom_tool_call", "call_id": "c0", "name": "sql", "input": "SELECT 1"},
        {"type": "custom_tool_call_output", "call_id": "c0", "output": "1"},
    )
    assert made[1:] == [
        {
            "role": "assistant",
            "tool_calls": [
                {"type": "custom", "id": "c0", "custom": {"name": "sql", "input": "SELECT 1"}}
            ],
        },
        {"role": "tool", "content": "1", "tool_call_id": "c0"},
    ]


def test_openais_own_thinking() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAAA",
    }
    assert not decoded(input=[USER, thought]).sealed
    (_, said, _) = messages(USER, thought, {"role": "assistant", "content": "b"}, USER)
    assert said["reasoning_content"] == "Hm."
    assert said["content"] == "b"
    own = {"id": "rs_1", "format": "openai-responses-v1"}
    assert said["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "Hm.", **own},
        {"type": "reasoning.encrypted", "data": "gAAAA", **own},
    ]


def test_open_weights_thinking() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    }
    (_, said) = messages(USER, thought)
    assert said["reasoning_content"] == "Hm."


def test_thinking_of_another_provider_comes_back_as_it_was() -> None:
    """A conversation of two turns with a client that sends back what it got."""
    extra = {"google": {"thought_signature": "sig"}}
    first = answer(
        "tool_calls",
        content="Let me see.",
        reasoning_content="So: Paris.",
        reasoning_details=[SIGNED],
        tool_calls=[call("c0", "f", '{"a": 1.0}', extra_content=extra)],
    )
    output = json.loads(FORMAT.whole(first, decoded()))["output"]
    assert decoded(input=[USER, *output, OUTPUT]).sealed
    said = messages(USER, *output, OUTPUT)[1]
    assert said == {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "So: Paris.",
        "reasoning_details": [json.loads(msgspec.json.encode(SIGNED))],
        "tool_calls": [{**CHAT_CALL, "extra_content": extra}],
    }


def test_thinking_of_a_stream_comes_back_as_it_was() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    signature = msgspec.structs.replace(SIGNED, text=None)
    out = stream(
        lambda w: [
            w.reasoning(lit("So: ")),
            w.reasoning(lit("Paris.")),
            w.detail(signature),
            w.text(lit("Let me see.")),
            w.call(0, call("c0", "f", '{"a": 1.0}', extra_content=extra)),
            *ended(w, "tool_calls"),
        ]
    )
    output = [one.to_dict() for one in events(out)[-1].response.output]
    assert decoded(input=[USER, *output, OUTPUT]).sealed
    said = messages(USER, *output, OUTPUT)[1]
    assert said == {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "So: Paris.",
        "reasoning_details": [json.loads(msgspec.json.encode(SIGNED))],
        "tool_calls": [{**CHAT_CALL, "extra_content": extra}],
    }


def test_thinking_that_nobody_wants_back_is_nobodys() -> None:
    first = answer(content="b", reasoning_content="Hm.")
    output = json.loads(FORMAT.whole(first, decoded()))["output"]
    assert messages(USER, *output, USER)[1] == {
        "role": "assistant",
        "content": "b",
        "reasoning_content": "Hm.",
    }
    sent = json.dumps({"model": "m", "input": [USER, *output]}).encode()
    assert [one.get("role") for one in json.loads(for_native(sent))["input"]] == [
        "user",
        "assistant",
    ]


def test_an_answer_that_was_cut_into_items_is_one_message_again() -> None:
    mark = ReasoningDetail(type="reasoning.encrypted", data="1", id="text:0:4", format="f")
    signature = msgspec.structs.replace(SIGNED, text=None)
    out = stream(
        lambda w: [
            w.text(lit("Gr")),
            w.detail(mark),
            w.reasoning(lit("So: Paris.")),
            w.detail(signature),
            w.text(lit("ey")),
            w.call(0, call("c0", "f", '{"a": 1.0}')),
            w.text(lit(" sky")),
            w.detail(mark),
            *ended(w, "tool_calls"),
        ]
    )
    output = [one.to_dict() for one in events(out)[-1].response.output]
    (_, said, _) = messages(USER, *output, OUTPUT)
    details = [json.loads(msgspec.json.encode(one)) for one in (mark, SIGNED, mark)]
    assert said == {
        "role": "assistant",
        "content": "Grey sky",
        "reasoning_content": "So: Paris.",
        "reasoning_details": details,
        "tool_calls": [CHAT_CALL],
    }


def test_images_that_the_model_made() -> None:
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA=="}
    (_, said, _) = messages(USER, image, USER)
    assert said["images"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    ]


def test_a_search_of_the_past_is_left_out_and_said() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    found = decoded(input=[USER, search, search, {"role": "assistant", "content": "b"}])
    assert found.native_only is None
    assert found.dropped == ("input (web_search_call items)",)


HOSTED = "hosted_items: only a target that speaks the Responses API "


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"id": "msg_1"}, "item_reference: only a target that keeps items can look one up"),
        (
            {"type": "item_reference", "id": "msg_1"},
            "item_reference: only a target that keeps items can look one up",
        ),
        (
            {"type": "computer_call_output", "call_id": "c", "output": {"type": "x"}},
            HOSTED + "knows what a computer_call_output is",
        ),
        ({"type": "compaction", "encrypted_content": "x"}, HOSTED + "knows what a compaction is"),
        ({"type": "sögen\n"}, HOSTED + "knows what a s?gen? is"),
        ({**CALL, "namespace": "n"}, HOSTED + "has tools in namespaces"),
        (
            {"type": "function_call_output", "output": "x"},
            HOSTED + "takes a result without a call's id",
        ),
        (
            {
                **OUTPUT,
                "output": [{"type": "input_audio", "input_audio": {"data": "", "format": "x"}}],
            },
            "audio: only a target that speaks the Responses API takes speech as a tool's result",
        ),
        (
            user({"type": "input_image", "file_id": "file-1"}),
            "vision: only a target that keeps files has an image by its id",
        ),
        (
            user({"type": "computer_screenshot", "file_id": "file-1"}),
            HOSTED + "takes screenshots of a computer",
        ),
        (
            {"role": "system", "content": [{"type": "input_image", "image_url": "https://e"}]},
            (
                "system: only a target that speaks the Responses API takes what is no text as "
                "instructions"
            ),
        ),
        (
            {"role": "assistant", "content": [{"type": "input_image", "image_url": "https://e"}]},
            HOSTED + "takes what is no text from the model",
        ),
    ],
)
def test_items_that_only_a_native_target_knows(item: dict[str, Any], why: str) -> None:
    assert decoded(input=[item, USER]).native_only == why


def test_an_input_that_says_nothing_goes_to_a_native_target() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert decoded(input=[search]).native_only == HOSTED + "takes an input that says nothing"


def test_sealed_thinking_that_was_changed_is_refused() -> None:
    thought = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "tollgate.1.AA"}
    with pytest.raises(ClientError) as found:
        FORMAT.parse(body(input=[USER, thought]))
    assert found.value.param == "input[1].encrypted_content"
    assert found.value.code == "invalid_encrypted_content"


# --- any conversation -----------------------------------------------------------------------

TEXT = st.text(max_size=5)
PART = st.one_of(
    st.builds(lambda text: {"type": "input_text", "text": text}, TEXT),
    st.just({"type": "input_image", "image_url": "https://e/c.png"}),
    st.just({"type": "input_image", "file_id": "f"}),
    st.just({"type": "input_file", "file_id": "f"}),
)
ITEM = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "system", "developer"]),
        st.one_of(TEXT, st.lists(PART, max_size=3)),
    ),
    st.builds(
        lambda text, sealed: {
            "type": "reasoning",
            "id": "r",
            "summary": [{"type": "summary_text", "text": text}],
            "encrypted_content": sealed,
        },
        TEXT,
        st.sampled_from([None, "gAAA"]),
    ),
    st.just(CALL),
    st.just(OUTPUT),
    st.builds(
        lambda kind: {"type": kind, "id": "x"}, st.sampled_from(["mcp_call", "web_search_call"])
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=6))
def test_any_accepted_request_translates_or_says_why_not(items: list[dict[str, Any]]) -> None:
    found = decoded(input=items)
    if found.native_only is not None:
        assert ": only a target that " in found.native_only
        return
    assert found.chat is not None
    texts = []
    for item in items:
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        texts += (
            [content] if isinstance(content, str) else [p["text"] for p in parts if "text" in p]
        )
    made = json.dumps(json.loads(msgspec.json.encode(found.chat)))
    for text in texts:
        assert json.dumps(text)[1:-1] in made
