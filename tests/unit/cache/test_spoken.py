import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.spoken import Spoken, spoken
from tests.unit.cache.replay import samples


def said(format_: str, **answer: Any) -> Spoken | None:
    return spoken(json.dumps(answer).encode(), format_)


def chat(**message: Any) -> Spoken | None:
    whole = {"role": "assistant", "content": None, **message}
    return said("chat", choices=[{"index": 0, "message": whole, "finish_reason": "stop"}])


def function(name: str, arguments: str, id_: str = "call_1") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


WORDS: dict[str, dict[str, Any]] = {
    "chat": {"choices": [{"message": {"content": "Paris."}}]},
    "completions": {"choices": [{"text": "Paris.", "finish_reason": "stop"}]},
    "messages": {"content": [{"type": "text", "text": "Paris."}], "stop_reason": "end_turn"},
    "responses": {
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"text": "France, so"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "Paris."}]},
        ],
    },
}


@pytest.mark.parametrize("format_", WORDS)
def test_every_format_says_the_same_words(format_: str) -> None:
    assert said(format_, **WORDS[format_]) == Spoken("Paris.", b"")


def test_thoughts_are_not_said() -> None:
    assert chat(content="Paris.", reasoning_content="The user…", reasoning="…") == Spoken(
        "Paris.", b""
    )
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Paris."},
    ]
    assert said("messages", content=blocks) == Spoken("Paris.", b"")


def test_a_sentence_with_sources_is_one_sentence() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "It opens at "},
        {"type": "text", "text": "nine", "citations": [{"url": "https://a"}]},
        {"type": "text", "text": "."},
    ]
    assert said("messages", content=blocks) == Spoken("It opens at nine.", b"")


def test_calls_are_the_same_whatever_their_ids_and_the_order_of_arguments() -> None:
    one = chat(tool_calls=[function("weather", '{"city": "Paris", "days": 3}', "call_a")])
    two = chat(tool_calls=[function("weather", '{"days":3,"city":"Paris"}', "call_b")])
    assert one is not None
    assert one == two
    assert one.calls == b'[{"arguments":{"city":"Paris","days":3},"name":"weather"}]'


@pytest.mark.parametrize(
    "other",
    [
        function("weather", '{"city": "Lyon"}'),
        function("forecast", '{"city": "Paris"}'),
        function("weather", '{"city": "Paris", "city": "Lyon"}'),
        function("weather", "Paris"),
        function("weather", ""),
        {"id": "c", "type": "custom", "custom": {"name": "weather", "input": '{"city": "Paris"}'}},
        {"id": "c", "type": "novelty", "novelty": {}},
    ],
)
def test_another_call_is_another_answer(other: dict[str, Any]) -> None:
    one = chat(tool_calls=[function("weather", '{"city": "Paris"}')])
    two = chat(tool_calls=[other])
    assert one is not None
    assert two is not None
    assert one.calls != two.calls


def test_one_call_is_not_two_and_their_order_counts() -> None:
    a, b = function("on", "{}"), function("off", "{}")
    found = [chat(tool_calls=calls) for calls in ([a], [a, a], [a, b], [b, a])]
    assert len({one.calls for one in found if one}) == 4


def test_calls_of_messages_and_responses() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
    item = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "status": "completed",
        "name": "weather",
        "arguments": '{"city":"Paris"}',
    }
    one = said("messages", content=[block])
    assert one is not None
    assert one.calls
    assert (
        one
        == said("responses", output=[item])
        == chat(tool_calls=[function("weather", '{"city":"Paris"}')])
    )


def test_what_a_connector_was_told_to_do_counts_and_what_it_found_does_not() -> None:
    def call(arguments: str, output: str) -> Spoken | None:
        item = {"type": "mcp_call", "id": output, "name": "close", "server_label": "tickets"}
        return said("responses", output=[{**item, "arguments": arguments, "output": output}])

    assert call('{"id": 1}', "done") == call('{"id":1}', "closed before")
    assert call('{"id": 1}', "done") != call('{"id": 2}', "done")


def test_pictures_and_unknown_parts_are_told_apart() -> None:
    def drawn(result: str) -> Spoken | None:
        item = {"type": "image_generation_call", "id": "i", "result": result}
        return said("responses", output=[item])

    assert drawn("AAAA") != drawn("BBBB")
    assert said("messages", content=[{"type": "new", "x": 1}]) != said(
        "messages", content=[{"type": "new", "x": 2}]
    )
    voice = {"id": "audio_1", "data": "AAAA", "transcript": "Paris."}
    assert chat(audio=voice) == Spoken("Paris.", b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": " \\n"}}]}',
        b'{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}',
        b'{"choices": [{"message": {"content": "a", "tool_calls": [{}]}}]}',
        b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"error": {"message": "no"}}',
    ],
)
def test_what_says_nothing_or_cannot_be_read_is_nothing(answer: bytes) -> None:
    assert spoken(answer, "chat") is None


def test_arguments_as_deep_as_they_like_do_no_harm() -> None:
    assert chat(tool_calls=[function("f", "[" * 100_000)]) is not None


def test_formats_without_words_say_nothing() -> None:
    assert said("embeddings", data=[{"embedding": [0.1]}]) is None
    assert said("count_tokens", input_tokens=3) is None


@given(samples.chats(samples.functions | samples.customs, most=1))
def test_every_chat_answer_is_read(answer: dict[str, Any]) -> None:
    message = answer["choices"][0]["message"]
    found = said("chat", **answer)
    words = (message.get("content") or "") + (message.get("refusal") or "")
    audio = message.get("audio") or {}
    words += audio.get("transcript") or ""
    calls = [*(message.get("tool_calls") or ()), *filter(None, [message.get("function_call")])]
    if words.strip() or calls:
        assert found is not None
        assert found.text == words
        assert bool(found.calls) >= bool(calls)


@given(
    st.sampled_from(["chat", "completions", "messages", "responses", "embeddings", ""]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["text", "message"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "output", "type", "text"]), inner
            )
        ),
    ),
)
def test_nothing_makes_it_fail(format_: str, answer: object) -> None:
    spoken(json.dumps(answer).encode(), format_)
