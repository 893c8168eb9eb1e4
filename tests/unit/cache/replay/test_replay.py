"""Answers that are kept, replayed as streams and folded again, before the SDKs' own types."""

from __future__ import annotations

import json
import time
import timeit
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.cache.replay import Asker, events, fold, kept, whole
from extproc.cache.replay.pieces import StreamError, data, pieces
from tests.unit.cache.replay import samples

Tree = dict[str, Any]
ANTHROPIC: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WITH = Asker(usage=True)
FEW = settings(max_examples=60, deadline=None)


def stream(answer: Tree, format_: str, asker: Asker = WITH) -> bytes:
    return events(msgspec.json.encode(answer), format_, asker)


def objects(found: bytes) -> list[Tree]:
    return [json.loads(one) for _, one in data(found) if one != b"[DONE]"]


def chat(content: str | None = "Paris is the capital of France.", **more: Any) -> Tree:
    message = {"role": "assistant", "content": content, "refusal": None, **more}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16},
    }


# --- there and back -----------------------------------------------------------------------


@FEW
@given(samples.chats(samples.functions | samples.customs))
def test_a_chat_streamed_and_folded_is_the_same(answer: Tree) -> None:
    assert fold(stream(answer, "chat"), "chat") == answer


@FEW
@given(samples.completions)
def test_a_completion_streamed_and_folded_is_the_same(answer: Tree) -> None:
    assert fold(stream(answer, "completions"), "completions") == answer


@FEW
@given(samples.messages)
def test_a_message_streamed_and_folded_is_the_same(answer: Tree) -> None:
    assert fold(stream(answer, "messages"), "messages") == answer


@FEW
@given(samples.responses)
def test_a_response_streamed_and_folded_is_the_same(answer: Tree) -> None:
    assert fold(stream(answer, "responses"), "responses") == answer


# --- before the SDKs ----------------------------------------------------------------------


@FEW
@given(samples.chats(most=1))
def test_openai_accumulates_the_same_chat(answer: Tree) -> None:
    state: Any = ChatCompletionStreamState()
    for one in objects(stream(answer, "chat")):
        ChatCompletionChunk.model_validate(one)
        list(state.handle_chunk(ChatCompletionChunk.construct(**one)))
    found = state.current_completion_snapshot.to_dict()
    expected = ChatCompletion.model_validate(answer)
    message, told = found["choices"][0]["message"], answer["choices"][0]["message"]
    for name in ("content", "refusal", "function_call", "reasoning_content"):
        assert message.get(name) == told.get(name)
    for one in message.get("tool_calls") or ():
        one.pop("index")
        one["function"].pop("parsed_arguments", None)
    assert (message.get("tool_calls") or None) == (told.get("tool_calls") or None)
    assert found["choices"][0]["finish_reason"] == expected.choices[0].finish_reason
    assert found["usage"] == answer["usage"]
    assert found["id"] == answer["id"]


@FEW
@given(samples.completions)
def test_openai_takes_every_chunk_of_a_completion(answer: Tree) -> None:
    Completion.model_validate(answer)
    found = objects(stream(answer, "completions"))
    for one in found:
        shaped = [{**choice, "finish_reason": choice["finish_reason"] or "stop"}
                  for choice in one["choices"]]  # fmt: skip
        Completion.model_validate({**one, "choices": shaped})
    for choice in answer["choices"]:
        said = [inner["text"] for one in found for inner in one["choices"]
                if inner["index"] == choice["index"]]  # fmt: skip
        assert "".join(said) == choice["text"]


@FEW
@given(samples.messages)
def test_anthropic_accumulates_the_same_message(answer: Tree) -> None:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for one in objects(stream(answer, "messages")):
        event = ANTHROPIC.validate_python(one)
        if event.type == "message_stop":
            continue
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    expected = Message.model_validate(answer).model_dump(mode="json")
    found = Message.model_validate(snapshot.to_dict(mode="json")).model_dump(mode="json")
    for block in (*found["content"], *expected["content"]):
        # What is nothing is none to the SDK as well.
        block["citations"] = block.get("citations") or None
    assert found == expected


@FEW
@given(samples.responses)
def test_openai_accumulates_the_same_response(answer: Tree) -> None:
    expected = Response.model_validate(answer)
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    numbers = []
    for one in objects(stream(answer, "responses")):
        event = RESPONSES.validate_python(one)
        numbers.append(event.sequence_number)
        last = state.handle_event(event)
    assert numbers == list(range(len(numbers)))
    assert last[-1].type == "response.completed"
    found = last[-1].response.to_dict(mode="json")
    assert Response.model_validate(found).output_text == expected.output_text
    assert found["usage"] == answer["usage"]
    assert [one["type"] for one in found["output"]] == [one["type"] for one in answer["output"]]


# --- single shapes ------------------------------------------------------------------------


def test_a_chat_begins_with_the_role_and_ends_with_done() -> None:
    found = stream(chat(), "chat")
    first, *_ = objects(found)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert found.endswith(b"data: [DONE]\n\n")


def test_the_usage_chunk_comes_only_when_it_was_asked_for() -> None:
    asked, unasked = (objects(stream(chat(), "chat", Asker(usage))) for usage in (True, False))
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["total_tokens"] == 16
    assert all(one["usage"] is None for one in asked[:-1])
    assert unasked[-1]["choices"][0]["finish_reason"] == "stop"


@given(samples.texts)
def test_pieces_are_the_text_and_end_where_words_do(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    assert all(found)


def test_a_word_is_not_cut() -> None:
    text = "The capital of France is Paris, which lies on the Seine in the north of the country."
    assert [word for piece in pieces(text) for word in piece.split()] == text.split()
    assert len(pieces(text)) > 1


def test_an_answer_goes_out_with_the_id_it_came_with() -> None:
    assert {one["id"] for one in objects(stream(chat(), "chat"))} == {"chatcmpl-1"}


@pytest.mark.parametrize("place", ["\x00here", "x"])
def test_no_field_of_an_answer_is_mistaken_for_the_place_of_text(place: str) -> None:
    answer = {**chat(), "id": place, "system_fingerprint": place}
    assert fold(stream(answer, "chat"), "chat") == answer


# --- who asked ----------------------------------------------------------------------------


def test_nothing_of_one_asker_reaches_another() -> None:
    answer = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [],
        "metadata": {"user": "alice"},
        "user": "alice",
        "safety_identifier": "alice",
        "prompt_cache_key": "alice",
        "prompt_cache_options": {"mode": "implicit", "comparison_response_id": "resp_alice"},
        "prompt_cache_retention": "24h, of alice",
        "prompt_cache_diagnostics": {"type": "cache_hit", "of": "alice"},
    }
    entry = kept(answer, "responses")
    assert b"alice" not in entry
    bob = Asker.of("responses", {"user": "bob", "metadata": {"team": "b"}, "input": "Hello"})
    found = json.loads(whole(entry, "responses", bob))
    assert found["user"] == "bob"
    assert found["metadata"] == {"team": "b"}
    assert found["safety_identifier"] is None
    assert b'"bob"' in events(entry, "responses", bob)


def test_whether_usage_is_wanted_stands_in_the_request() -> None:
    assert Asker.of("chat", {"stream_options": {"include_usage": True}}).usage
    assert not Asker.of("chat", {"stream_options": None}).usage


# --- streams as providers send them -------------------------------------------------------

OPENAI = b"""data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":17,"model":"gpt",\
"service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":\
"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,\
"obfuscation":"aB"}\r\n\r\ndata: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":17,\
"model":"gpt","choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null\
}],"usage":null}\r\n\r\n: ping\r\n\r\ndata: {"id":"chatcmpl-9","object":"chat.completion.chunk",\
"created":17,"model":"gpt","choices":[{"index":0,"delta":{"content":" you"},"logprobs":null,\
"finish_reason":null}]}\r\n\r\ndata: {"id":"chatcmpl-9","object":"chat.completion.chunk",\
"created":17,"model":"gpt","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"\
}]}\r\n\r\ndata: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":17,"model":"gpt",\
"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\r\n\r\n\
data: [DONE]\r\n\r\n"""


def test_a_providers_chunks_are_one_completion() -> None:
    found = fold(OPENAI, "chat")
    assert found is not None
    assert ChatCompletion.model_validate(found).choices[0].message.content == "Hi you"
    assert found["object"] == "chat.completion"
    assert found["usage"]["total_tokens"] == 3
    assert found["service_tier"] == "default"
    assert "obfuscation" not in found


@given(st.integers(0, len(OPENAI) - 1))
def test_a_stream_that_was_cut_is_no_answer(at: int) -> None:
    found = fold(OPENAI[:at], "chat")
    # The last event is whole without its blank line.
    assert (found is None) == (b"[DONE]" not in OPENAI[:at])


@pytest.mark.parametrize("format_", ["chat", "completions", "messages", "responses"])
@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"choices":[1]}\n\ndata: [DONE]\n\n',
        b'data: {"error":{"message":"overloaded"}}\n\ndata: [DONE]\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
        b'data: {"type":"content_block_delta","index":7,"delta":{"type":"text_delta"}}\n\n',
        b'data: {"type":"message_start","message":3}\n\n',
        b'data: {"type":"response.completed"}\n\n',
        b'data: {"choices":[{"index":"a","delta":{"tool_calls":[{}]}}]}\n\ndata: [DONE]\n\n',
        b"\xff\xfe",
    ],
)
def test_what_is_no_stream_is_no_answer(format_: str, found: bytes) -> None:
    assert fold(found, format_) is None


@given(st.binary(max_size=300), st.sampled_from(["chat", "completions", "messages", "responses"]))
def test_no_bytes_break_the_folding(found: bytes, format_: str) -> None:
    fold(found, format_)
    fold(b"data: " + found + b"\n\ndata: [DONE]\n\n", format_)


@pytest.mark.parametrize("format_", ["messages", "responses"])
@given(at=st.floats(0, 0.999), answer=st.data())
@FEW
def test_events_that_stop_early_are_no_answer(format_: str, at: float, answer: Any) -> None:
    given = answer.draw(samples.messages if format_ == "messages" else samples.responses)
    found = stream(given, format_)
    one = data(found)
    count = len(list(one)) - 1
    kept_events = [event + b"\n\n" for event in found.split(b"\n\n")][: int(count * at)]
    assert fold(b"".join(kept_events), format_) is None


def test_an_item_that_the_last_event_leaves_out_is_taken_from_before() -> None:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    last = {"type": "response.completed", "response": {"id": "r", "output": []}}
    body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in (done, last))
    assert fold(body, "responses") == {"id": "r", "output": [item]}


@pytest.mark.parametrize(
    "entry", [b"", b"\xff", b"[]", b'"a"', b'{"a":', b"{}", b'{"choices": [1]}', b"[" * 100_000]
)
@pytest.mark.parametrize("format_", ["chat", "completions", "messages", "responses"])
def test_what_was_kept_and_is_no_answer_is_not_streamed(format_: str, entry: bytes) -> None:
    with pytest.raises(StreamError):
        events(entry, format_, WITH)


def test_what_cannot_be_read_is_not_told_of_its_asker() -> None:
    with pytest.raises(StreamError):
        whole(b"{", "responses", Asker.of("responses", {"user": "bob"}))


# --- time ---------------------------------------------------------------------------------


def many(count: int, format_: str, delta: Tree, **more: Any) -> bytes:
    """A stream of so many pieces."""
    if format_ == "messages":
        one = {"type": "content_block_delta", "index": 0, "delta": delta}
        block = {"type": "text", "text": "", "citations": None}
        first = [
            {"type": "message_start", "message": {"id": "m", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": block},
        ]
        last = [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            {"type": "message_stop"},
        ]
    else:
        said = delta if format_ == "completions" else {"delta": delta}
        one = {"choices": [{"index": 0, **said, **more}]}
        first, last = [], [{"choices": [{"index": 0, "finish_reason": "stop"}]}]
    begin, end = (
        b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in part)
        for part in (first, last)
    )
    return begin + b"data: %b\n\n" % json.dumps(one).encode() * count + end + b"data: [DONE]\n\n"


CHANCES = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CITATION = {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "a"}}
DETAIL = {"type": "reasoning.text", "text": "word", "index": 0}


@pytest.mark.parametrize(
    ("format_", "delta", "more"),
    [
        ("chat", {"content": "word"}, {}),
        ("chat", {"content": "word"}, {"logprobs": {"content": [CHANCES]}}),
        ("chat", {"reasoning_details": [DETAIL]}, {}),
        ("chat", {"reasoning_details": [{"type": "a", "text": "b"}]}, {}),
        ("chat", {"tool_calls": [{"index": 0, "function": {"arguments": "word"}}]}, {}),
        ("completions", {"text": "word"}, {"logprobs": {"tokens": ["a"]}}),
        ("messages", {"type": "text_delta", "text": "word"}, {}),
        ("messages", CITATION, {}),
    ],
)
def test_a_long_stream_takes_no_longer_for_each_piece(
    format_: str, delta: Tree, more: Tree
) -> None:
    def seconds(count: int) -> float:
        found = many(count, format_, delta, **more)
        assert fold(found, format_) is not None
        # Of this process: the machine may do much else.
        return min(
            timeit.repeat(lambda: fold(found, format_), timer=time.process_time, number=1, repeat=5)
        )

    assert seconds(32_000) < 50 * seconds(2_000)


# --- servers that stream in ways of their own ---------------------------------------------


def streamed(*deltas: Tree, finish: str = "stop") -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    made = [{"index": 0, "delta": delta} for delta in deltas]
    made.append({"index": 0, "delta": {}, "finish_reason": finish})
    body = b"".join(
        b"data: " + json.dumps({**head, "choices": [one]}).encode() + b"\n\n" for one in made
    )
    return body + b"data: [DONE]\n\n"


def message(*deltas: Tree) -> Tree:
    found = fold(streamed(*deltas), "chat")
    assert found is not None
    said: Tree = found["choices"][0]["message"]
    return said


def test_a_role_in_every_chunk_is_one_role() -> None:
    found = message({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
    assert found == {"role": "assistant", "content": "ab"}


def test_a_name_in_every_piece_of_a_call_is_one_name() -> None:
    def piece(arguments: str) -> Tree:
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": arguments}}
        return {"tool_calls": [call]}

    found = message(piece("{"), piece("}"))["tool_calls"]
    assert found == [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]


def test_calls_that_cannot_be_told_apart_are_no_answer() -> None:
    one = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    other = {**one, "id": "c2"}
    assert fold(streamed({"tool_calls": [one]}, {"tool_calls": [other]}), "chat") is None
    bare = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    assert fold(streamed({"tool_calls": [bare]}), "chat") is None


def test_pieces_of_one_thought_are_one_thought() -> None:
    def piece(text: str, index: int = 0) -> Tree:
        return {"reasoning_details": [{"type": "reasoning.text", "text": text, "index": index}]}

    found = message(piece("So "), piece("far"), piece("Next", 1))["reasoning_details"]
    assert [one["text"] for one in found] == ["So far", "Next"]


def test_usage_beside_the_last_choice_counts() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    body = streamed({"content": "a"}).replace(
        b'"choices"', b'"usage": ' + json.dumps(usage).encode() + b', "choices"'
    )
    found = fold(body, "chat")
    assert found is not None
    assert found["usage"] == usage
