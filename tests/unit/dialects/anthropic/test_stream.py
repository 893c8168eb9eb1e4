"""What answers and streams carry beyond text, calls and thinking text: the same in both."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion_message import ChatCompletionMessage

from extproc.dialects import BadAnswerError
from extproc.dialects.anthropic import Anthropic
from tests.unit.dialects.anthropic.sending import MODEL, sent
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import (
    A_START,
    A_STOP,
    FEATURES,
    USER,
    WEATHER,
    Run,
    a_block,
    a_delta,
    a_message,
    a_stream,
    a_text,
    a_tool,
    body,
    completion,
    joined,
    run,
    sse,
    usage,
)

FORMAT = "anthropic-claude-v1"


def level(**fields: Any) -> Level:
    """After a request of these fields."""
    found = Level(Anthropic(clock=lambda: 1_700_000_000.0), model=MODEL)
    found.request(body(**fields))
    return found


def streamed(*events: dict[str, Any], **fields: Any) -> Run:
    return run(level(**fields).stream(), a_stream(A_START, *events, A_STOP))


def whole(*blocks: dict[str, Any], reason: str = "end_turn", **more: Any) -> ChatCompletionMessage:
    return completion(level().answer(a_message(list(blocks), reason, **more))).choices[0].message


def extra(got: Run, name: str) -> list[Any]:
    """What chunks say under a name that OpenAI does not have."""
    return [
        one
        for chunk in got.chunks()
        for choice in chunk.choices
        for one in (choice.delta.model_extra or {}).get(name, ())
    ]


# --- thinking -----------------------------------------------------------------------------

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "eHh4"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}


def a_thought(index: int, text: str, signature: str) -> list[dict[str, Any]]:
    deltas = [{"type": "thinking_delta", "thinking": text}] if text else []
    return a_block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        *deltas,
        {"type": "signature_delta", "signature": signature[:2]},
        {"type": "signature_delta", "signature": signature[2:]},
    )


def again(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of an answer that is sent back in the next turn."""
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "grey"}
    fields = {
        "messages": [USER, message, result],
        "tools": [WEATHER],
        "reasoning_effort": "low",
        "web_search_options": {},
    }
    blocks: list[dict[str, Any]] = sent(fields)[0]["messages"][1]["content"]
    return blocks


def test_a_whole_answers_thinking_comes_back_as_it_was() -> None:
    more = {**THINKING, "thinking": " So.", "signature": "c2"}
    blocks: list[dict[str, Any]] = [THINKING, REDACTED, more, USE]
    message = whole(*blocks, reason="tool_use")
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Hm. So."
    assert again(message.model_dump(exclude_none=True)) == blocks


def test_a_streams_thinking_comes_back_as_it_was() -> None:
    got = streamed(
        *a_thought(0, "Hm.", "c2ln"),
        *a_block(1, REDACTED),
        *a_thought(2, " So.", "c2ln"),
        *a_thought(3, "", "AAAA"),
        *a_tool(4, "get_weather", '{"city":"Paris"}'),
        a_delta("tool_use"),
    )
    details = extra(got, "reasoning_details")
    assert details == [
        {"type": "reasoning.text", "signature": "c2ln", "format": FORMAT, "index": 0},
        {"type": "reasoning.encrypted", "data": "eHh4", "format": FORMAT, "index": 1},
        {
            "type": "reasoning.text",
            "text": " So.",
            "signature": "c2ln",
            "format": FORMAT,
            "index": 2,
        },
        {"type": "reasoning.text", "text": "", "signature": "AAAA", "format": FORMAT, "index": 3},
    ]
    message = joined(got.chunks())
    assert message.reasoning == "Hm. So."
    call = message.calls[0]
    function = {"name": call["name"], "arguments": call["arguments"]}
    sent_back = {
        "role": "assistant",
        "content": message.text,
        "reasoning_content": message.reasoning,
        "reasoning_details": details,
        "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
    }
    assert again(sent_back) == [
        THINKING,
        REDACTED,
        {**THINKING, "thinking": " So."},
        {**THINKING, "thinking": "", "signature": "AAAA"},
        USE,
    ]


def test_thinking_whose_text_is_kept_back_still_has_its_seal() -> None:
    message = whole({**THINKING, "thinking": ""}, USE, reason="tool_use")
    assert message.model_extra is not None
    assert "reasoning_content" not in message.model_extra
    assert again(message.model_dump(exclude_none=True))[0] == {**THINKING, "thinking": ""}


# --- web search ---------------------------------------------------------------------------

QUERY = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "Paris"},
}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "url": "https://example.com",
            "title": "Paris",
            "encrypted_content": "eA==",
            "page_age": None,
        }
    ],
}
CITED = {
    "type": "web_search_result_location",
    "url": "https://example.com",
    "title": "Paris",
    "encrypted_index": "eA==",
    "cited_text": "It is grey.",
}
ANNOTATION = {
    "type": "url_citation",
    "url_citation": {
        "start_index": 3,
        "end_index": 10,
        "title": "Paris",
        "url": "https://example.com",
        "content": "It is grey.",
    },
}


def test_citations_are_annotations() -> None:
    message = whole(
        {"type": "text", "text": "So"},
        {"type": "text", "text": "é"},
        {"type": "text", "text": "it \U0001f30d is", "citations": [CITED]},
        {"type": "text", "text": "."},
    )
    assert message.content is not None
    assert [one.to_dict() for one in message.annotations or ()] == [ANNOTATION]
    assert message.content[3:10] == "it \U0001f30d is"


@pytest.mark.parametrize("escaped", [False, True])
def test_citations_of_a_stream_are_annotations(escaped: bool) -> None:
    events = [
        A_START,
        *a_text(0, "So"),
        *a_text(1, "é"),
        *a_block(
            2,
            {"type": "text", "text": "", "citations": []},
            {"type": "citations_delta", "citation": CITED},
            {"type": "text_delta", "text": "it \U0001f30d"},
            {"type": "text_delta", "text": " is"},
        ),
        *a_text(3, "."),
        a_delta("end_turn"),
        A_STOP,
    ]
    stream = a_stream(*events) if escaped else compact(*events)
    got = run(level().stream(), stream)
    assert extra(got, "annotations") == [ANNOTATION]
    assert joined(got.chunks()).text[3:10] == "it \U0001f30d is"


@pytest.mark.parametrize(
    ("citation", "url", "places"),
    [
        (
            {
                "type": "page_location",
                "document_index": 1,
                "document_title": "a.pdf",
                "start_page_number": 3,
                "end_page_number": 4,
            },
            "document:1#page=3",
            {"document_index": 1, "start_page_number": 3, "end_page_number": 4},
        ),
        (
            {
                "type": "char_location",
                "document_index": 0,
                "document_title": "a.pdf",
                "file_id": "file_1",
                "start_char_index": 5,
                "end_char_index": 9,
            },
            "file:file_1#char=5,9",
            {"document_index": 0, "file_id": "file_1", "start_char_index": 5, "end_char_index": 9},
        ),
        (
            {
                "type": "search_result_location",
                "source": "https://example.com/x",
                "title": "a.pdf",
                "start_block_index": 0,
                "end_block_index": 1,
            },
            "https://example.com/x",
            {"start_block_index": 0, "end_block_index": 1},
        ),
    ],
)
def test_documents_are_cited_in_the_same_shape(
    citation: dict[str, Any], url: str, places: dict[str, Any]
) -> None:
    given = {**citation, "cited_text": "c"}
    message = whole({"type": "text", "text": "Grey.", "citations": [given]})
    [made] = message.annotations or []
    assert made.to_dict()["url_citation"] == {
        "start_index": 0,
        "end_index": 5,
        "title": "a.pdf",
        "url": url,
        "content": "c",
        **places,
    }


def test_searches_go_back_with_the_turn_they_were_made_in() -> None:
    message = whole(THINKING, QUERY, FOUND, USE, reason="tool_use").model_dump(exclude_none=True)
    assert again(message) == [THINKING, QUERY, FOUND, USE]
    # Without the tool the provider would not know them.
    fields = {"messages": [USER, message, USER], "tools": [WEATHER]}
    blocks = sent(fields)[0]["messages"][1]["content"]
    assert [one["type"] for one in blocks] == ["tool_use"]


def test_searches_of_a_stream_go_back_too() -> None:
    got = streamed(
        *a_block(
            0,
            {**QUERY, "input": {}},
            {"type": "input_json_delta", "partial_json": '{"query": '},
            {"type": "input_json_delta", "partial_json": '"Paris"}'},
        ),
        *a_block(1, FOUND),
        *a_tool(2, "get_weather", '{"city":"Paris"}'),
        a_delta("tool_use"),
    )
    details = extra(got, "reasoning_details")
    assert [json.loads(one["data"]) for one in details] == [QUERY, FOUND]
    function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_details": details,
        "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
    }
    assert again(message) == [QUERY, FOUND, USE]


def test_a_search_without_its_result_does_not_go_back() -> None:
    more = {**QUERY, "id": "srvtoolu_2"}
    message = whole(QUERY, FOUND, more, {"type": "text", "text": "x"}, reason="pause_turn")
    fields = {
        "messages": [USER, message.model_dump(exclude_none=True)],
        "web_search_options": {},
    }
    turns = sent(fields, "claude-opus-4-6")[0]["messages"]
    assert turns[1]["content"] == [QUERY, FOUND, {"type": "text", "text": "x"}]
    assert turns[2]["content"] == [{"type": "text", "text": "Continue."}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "x", "citations": [{"type": "new", "url": 5}, 7]},
        {"type": "text", "text": "x", "citations": "none"},
    ],
)
def test_a_citation_of_a_form_that_is_not_known_is_none(block: dict[str, Any]) -> None:
    message = whole(block)
    assert (message.content, message.annotations) == ("x", None)
    delta = {"type": "citations_delta", "citation": block["citations"][0]}
    got = streamed(*a_block(0, block, delta), a_delta("end_turn"))
    assert got.failure is None
    assert extra(got, "annotations") == []


def test_a_block_that_is_not_known_may_hold_anything() -> None:
    future = {"type": "text_of_the_future", "text": [1], "name": {}, "data": 5}
    assert whole(future, {"type": "text", "text": "x"}).content == "x"
    got = streamed(*a_block(0, future), *a_text(1, "x"), a_delta("end_turn"))
    assert joined(got.chunks()).text == "x"
    with pytest.raises(BadAnswerError):
        whole({"type": "text", "text": "x", "name": {}})


@pytest.mark.parametrize(
    "data",
    [
        "{",
        '{"type":"tool_use"}',
        '{"type":"server_tool_use","id":"a","tool_use_id":"a"}x',
        '{"type":"server_tool_use","type":"x"}',
        "{" * 500,
    ],
)
def test_what_is_no_search_does_not_go_back(data: str) -> None:
    detail = {"type": "reasoning.encrypted", "data": data, "format": FORMAT}
    message = {
        "role": "assistant",
        "content": "x",
        "reasoning_details": [detail],
    }
    tree, _ = sent({"messages": [USER, message, USER], "web_search_options": {}})
    assert [one["type"] for one in tree["messages"][1]["content"]] == ["text"]


# --- JSON by a tool -----------------------------------------------------------------------

JSON: dict[str, Any] = FEATURES["json_object"]
JSON_USE = {"type": "tool_use", "id": "toolu_9", "name": "json", "input": {"a": [1.50]}}


def test_the_input_of_the_tool_is_the_answer() -> None:
    found = level(**JSON)
    [choice] = completion(found.answer(a_message([JSON_USE], "tool_use"))).choices
    assert (choice.message.content, choice.finish_reason) == ('{"a":[1.5]}', "stop")
    assert choice.message.tool_calls is None
    chatty: list[dict[str, Any]] = [{"type": "text", "text": "Here:"}, JSON_USE, JSON_USE]
    [choice] = completion(found.answer(a_message(chatty, "tool_use"))).choices
    assert choice.message.content == '{"a":[1.5]}'
    [choice] = completion(found.answer(a_message([JSON_USE], "max_tokens"))).choices
    assert choice.finish_reason == "length"
    plain = [{"type": "text", "text": '{"a":2}'}]
    [choice] = completion(found.answer(a_message(plain))).choices
    assert (choice.message.content, choice.finish_reason) == ('{"a":2}', "stop")


@pytest.mark.parametrize(
    ("events", "text", "finish"),
    [
        ([*a_tool(0, "json", "", '{"a":', " 1}"), a_delta("tool_use")], '{"a": 1}', "stop"),
        ([*a_tool(0, "json", given={"a": 1}), a_delta("tool_use")], '{"a":1}', "stop"),
        ([*a_tool(0, "json"), a_delta("tool_use")], "{}", "stop"),
        (
            [*a_text(0, "Here:"), *a_tool(1, "json", '{"a": 1}'), a_delta("tool_use")],
            '{"a": 1}',
            "stop",
        ),
        (
            [
                *a_tool(0, "json", '{"a": 1}'),
                *a_text(1, "Done."),
                *a_tool(2, "json", "{}"),
                a_delta("tool_use"),
            ],
            '{"a": 1}',
            "stop",
        ),
        ([*a_text(0, '{"a"', ": 2}"), a_delta("end_turn")], '{"a": 2}', "stop"),
        ([*a_tool(0, "json", '{"a":'), a_delta("max_tokens")], '{"a":', "length"),
    ],
)
def test_the_input_of_the_tool_is_the_streams_text(
    events: list[dict[str, Any]], text: str, finish: str
) -> None:
    message = joined(streamed(*events, **JSON).chunks())
    assert (message.text, message.finish, message.calls) == (text, finish, [])


def test_a_call_beside_the_answer_is_a_call() -> None:
    found = level(**JSON, tools=[WEATHER])
    [choice] = completion(found.answer(a_message([USE, JSON_USE], "tool_use"))).choices
    assert choice.finish_reason == "tool_calls"
    assert len(choice.message.tool_calls or ()) == 1
    got = streamed(
        *a_text(0, "Let me look."),
        *a_tool(1, "get_weather", "{}"),
        a_delta("tool_use"),
        **JSON,
        tools=[WEATHER],
    )
    message = joined(got.chunks())
    assert (message.text, message.finish) == ("Let me look.", "tool_calls")
    assert [call["name"] for call in message.calls] == ["get_weather"]


def test_a_stream_that_is_cut_keeps_the_text_that_was_held_back() -> None:
    stream = a_stream(A_START, *a_text(0, '{"a"'))
    got = run(level(**JSON).stream(), stream)
    assert got.content
    assert not got.finished
    assert joined(got.chunks()).text == '{"a"'


# --- the rest -----------------------------------------------------------------------------


def test_the_stop_sequence_is_told() -> None:
    answer = a_message([{"type": "text", "text": "x"}], "stop_sequence", stop_sequence="END")
    [choice] = completion(level().answer(answer)).choices
    assert (choice.finish_reason, (choice.model_extra or {})["stop_sequence"]) == ("stop", "END")
    got = streamed(*a_text(0, "x"), a_delta("stop_sequence", stop_sequence="END"))
    last = [choice for chunk in got.chunks() for choice in chunk.choices][-1]
    assert (last.finish_reason, (last.model_extra or {})["stop_sequence"]) == ("stop", "END")
    [plain] = completion(level().answer(a_message([]))).choices
    assert "stop_sequence" not in (plain.model_extra or {})


BILLED = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
    "output_tokens": 12,
    "output_tokens_details": {"thinking_tokens": 7},
    "service_tier": "priority",
}


def test_usage_of_every_kind() -> None:
    message = json.loads(a_message([{"type": "text", "text": "x"}]))
    answer = completion(level().answer(json.dumps({**message, "usage": BILLED}).encode()))
    start = {**A_START, "message": {**A_START["message"], "usage": BILLED}}
    stream = a_stream(start, *a_text(0, "x"), a_delta("end_turn"), A_STOP)
    chunks = run(level().stream(), stream).chunks()
    assert answer.service_tier == chunks[-1].service_tier == "priority"
    for found in (answer.usage, usage(chunks)):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens) == (60, 12)
        assert found.prompt_tokens_details is not None
        assert found.prompt_tokens_details.to_dict() == {
            "cached_tokens": 30,
            "cache_write_tokens": 20,
            "cache_write_1h_tokens": 15,
        }
        assert found.completion_tokens_details is not None
        assert found.completion_tokens_details.reasoning_tokens == 7


def compact(*events: dict[str, Any], pad: str = "") -> bytes:
    """Events as Anthropic writes them, which pads them with blanks."""
    return b"".join(
        f"event: {event['type']}\ndata: {line[:-1]}{pad}}}\n\n".encode()
        for event in events
        for line in [json.dumps(event, separators=(",", ":"), ensure_ascii=False)]
    )


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4)


@given(TEXTS, st.sampled_from(["", "     "]), st.booleans())
def test_plain_events_are_read_as_the_decoder_reads_them(
    texts: list[str], pad: str, together: bool
) -> None:
    """The same stream with other white space between its tokens is nobody's commonest event."""
    events = [
        A_START,
        *a_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            *({"type": "thinking_delta", "thinking": one} for one in texts),
        ),
        *a_text(1, *texts),
        *a_tool(2, "f", *texts),
        a_delta("tool_use"),
        A_STOP,
    ]
    found = level()
    plain = [compact(event, pad=pad) for event in events]
    got = run(found.stream(), *([b"".join(plain)] if together else plain))
    other = run(found.stream(), sse(*events, named=True))
    assert got.failure is None
    assert joined(got.chunks()) == joined(other.chunks())
    assert joined(got.chunks()).text == "".join(texts)
    assert (
        run(found.stream(), *(plain[0][at : at + 1] for at in range(len(plain[0]))), *plain[1:])
        == got
    )


@pytest.mark.parametrize(
    "bad",
    [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\xff"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\nb"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\x"}}',
        b'{"type":"content_block_delta","index":00,"delta":{"type":"text_delta","text":"x"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}',
    ],
)
def test_an_event_that_is_no_json_is_a_failure(bad: bytes) -> None:
    stream = a_stream(A_START, *a_text(0, "x")[:1])
    got = run(level().stream(), stream, b"event: content_block_delta\ndata: " + bad + b"\n\n")
    assert got.failure is not None


def test_a_delta_before_the_message_is_a_failure() -> None:
    [delta] = [one for one in a_text(0, "x") if one["type"] == "content_block_delta"]
    assert run(level().stream(), compact(delta)).failure is not None
