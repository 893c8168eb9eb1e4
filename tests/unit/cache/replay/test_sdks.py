"""Kept answers before the SDKs' own clients: a stream says in the end what the whole says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from openai import OpenAI

from extproc.cache.replay import Asker, events, fold, kept, whole

Tree = dict[str, Any]
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 7,
    "total_tokens": 16,
    "completion_tokens_details": {"reasoning_tokens": 3},
    "prompt_tokens_details": {"cached_tokens": 2},
}
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
LONG = "Paris is the capital of France, \u6771\u4eac that of Japan \U0001f642.\n\n" * 4


class Gateway:
    """Answers every request of an SDK with a kept entry: as events when it asks for a stream."""

    def __init__(self, format_: str, entry: bytes) -> None:
        self._format = format_
        self._entry = entry

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        given = json.loads(request.content)
        asker = Asker.of(self._format, given)
        if not given.get("stream"):
            body, kind = whole(self._entry, self._format, asker), "application/json"
        else:
            body, kind = events(self._entry, self._format, asker), "text/event-stream"
        return httpx2.Response(200, content=body, headers={"content-type": kind})


def openai(format_: str, entry: bytes) -> OpenAI:
    http = httpx2.Client(transport=httpx2.MockTransport(Gateway(format_, entry)))
    return OpenAI(api_key="k", base_url="http://g/v1", http_client=http)


def anthropic(entry: bytes) -> Anthropic:
    http = httpx2.Client(transport=httpx2.MockTransport(Gateway("messages", entry)))
    return Anthropic(api_key="k", base_url="http://g", http_client=http)


def entries(answer: Tree, format_: str) -> Iterator[bytes]:
    """The entry of an answer that came whole, and of the same that came as a stream."""
    entry = kept(answer, format_)
    yield entry
    streamed = fold(events(entry, format_, Asker(usage=True)), format_)
    assert streamed is not None
    yield kept(streamed, format_)


def bare(found: Any) -> Any:
    """Without what the SDKs put beside what they read: parsed arguments, places in the stream, and
    nothing where there is nothing."""
    if isinstance(found, dict):
        made = {name: bare(one) for name, one in found.items()}
        return {
            name: one
            for name, one in made.items()
            if name not in ("parsed", "parsed_arguments", "parsed_output", "index")
            and one not in (None, [])
        }
    return [bare(one) for one in found] if isinstance(found, list) else found


def tree(found: Any) -> Any:
    return bare(json.loads(found.to_json(warnings=False)))


# --- chat ---------------------------------------------------------------------------------


def chat(finish: str = "stop", logprobs: Tree | None = None, **message: Any) -> Tree:
    said = {"role": "assistant", "content": None, "refusal": None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m-1",
        "choices": [{"index": 0, "message": said, "logprobs": logprobs, "finish_reason": finish}],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def call(number: int, arguments: str) -> Tree:
    function = {"name": f"f{number}", "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 5, "title": "T", "url": "https://x.example"},
}
CHATS = {
    "text": chat(content=LONG),
    "calls": chat("tool_calls", tool_calls=[call(0, '{"a": [1.0, "b"]}'), call(1, "{}")]),
    "text and a call": chat("tool_calls", content="Let me see.", tool_calls=[call(0, "")]),
    "refusal": chat(refusal="I cannot help with that."),
    "annotations": chat(content="Paris.", annotations=[CITED, CITED]),
    "thoughts": chat(content="Paris.", reasoning_content="France, so " * 9),
    "details": chat(
        content="Paris.",
        reasoning="So.",
        reasoning_details=[{"type": "reasoning.text", "text": "So.", "index": 0}],
    ),
    "chances": chat(content="HiHi", logprobs={"content": [TOKEN, TOKEN], "refusal": None}),
    "chances of a refusal": chat(refusal="Hi", logprobs={"content": None, "refusal": [TOKEN]}),
    "function": chat("function_call", function_call={"name": "f", "arguments": '{"a": 1}'}),
    "empty": chat(content=""),
}


@pytest.mark.parametrize("name", list(CHATS))
def test_a_chat(name: str) -> None:
    for entry in entries(CHATS[name], "chat"):
        client = openai("chat", entry)
        plain = client.chat.completions.create(model="m", messages=MESSAGES)
        assert tree(plain) == bare(CHATS[name])
        options: Any = {"include_usage": True}
        with client.chat.completions.stream(
            model="m", messages=MESSAGES, stream_options=options
        ) as stream:
            final = stream.get_final_completion()
        assert tree(final) == tree(plain)


def test_a_chat_that_did_not_ask_for_usage_gets_none() -> None:
    for entry in entries(CHATS["text"], "chat"):
        chunks = openai("chat", entry).chat.completions.create(
            model="m", messages=MESSAGES, stream=True
        )
        found = list(chunks)
        assert all(one.usage is None and one.choices for one in found)
        assert "".join(one.choices[0].delta.content or "" for one in found) == LONG


def test_calls_of_a_tool_that_takes_text() -> None:
    custom = {"id": "call_0", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    answer = chat("tool_calls", tool_calls=[custom])
    for entry in entries(answer, "chat"):
        found = openai("chat", entry).chat.completions.create(model="m", messages=MESSAGES)
        assert tree(found) == bare(answer)


# --- legacy completions -------------------------------------------------------------------


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {
            "tokens": ["Pa", "ris"],
            "token_logprobs": [-0.5, -1.0],
            "top_logprobs": [],
            "text_offset": [0, 2],
        },
    ],
)
def test_a_completion(logprobs: Tree | None) -> None:
    choice = {"index": 0, "text": LONG, "logprobs": logprobs, "finish_reason": "stop"}
    answer = {
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [choice], "usage": USAGE,
    }  # fmt: skip
    for entry in entries(answer, "completions"):
        client = openai("completions", entry)
        plain = client.completions.create(model="m", prompt="Hi")
        assert tree(plain) == bare(answer)
        chunks = list(
            client.completions.create(
                model="m", prompt="Hi", stream=True, stream_options={"include_usage": True}
            )
        )
        said = [one for chunk in chunks for one in chunk.choices]
        assert "".join(one.text for one in said) == LONG
        assert said[-1].finish_reason == "stop"
        assert tree(said[-1]).get("logprobs") == bare(choice).get("logprobs")
        assert chunks[-1].usage is not None
        assert tree(chunks[-1])["usage"] == bare(USAGE)


# --- messages -----------------------------------------------------------------------------


def message(stop: str, *content: Tree, **more: Any) -> Tree:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "output_tokens": 7,
            "cache_creation_input_tokens": 4,
            "cache_read_input_tokens": 5,
            "service_tier": "standard",
        },
        **more,
    }


TEXT = {"type": "text", "text": LONG}
SOURCE = {
    "type": "char_location",
    "cited_text": "Paris",
    "document_index": 0,
    "document_title": "T",
    "start_char_index": 0,
    "end_char_index": 5,
}
FOUND = {
    "type": "web_search_result",
    "title": "T",
    "url": "https://x.example",
    "encrypted_content": "e",
    "page_age": None,
}
MESSAGE = {
    "text": message("end_turn", TEXT),
    "stop sequence": message("stop_sequence", TEXT, stop_sequence="END"),
    "citations": message("end_turn", {**TEXT, "citations": [SOURCE, SOURCE]}),
    "thoughts": message(
        "end_turn",
        {"type": "thinking", "thinking": "France, so " * 9, "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        TEXT,
    ),
    "tools": message(
        "tool_use",
        TEXT,
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1.5, {"b": None}]}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ),
    "search": message(
        "end_turn",
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [FOUND]},
        TEXT,
    ),
}


@pytest.mark.parametrize("name", list(MESSAGE))
def test_a_message(name: str) -> None:
    for entry in entries(MESSAGE[name], "messages"):
        client = anthropic(entry)
        plain = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        assert tree(plain) == bare(MESSAGE[name])
        with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            final = stream.get_final_message()
        assert tree(final) == tree(plain)


# --- responses ----------------------------------------------------------------------------


def response(*output: Tree, **more: Any) -> Tree:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_001,
        "status": "completed",
        "model": "m-1",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 16,
        },
        **more,
    }


def said(*parts: Tree, number: int = 1) -> Tree:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": list(parts),
    }


PART = {"type": "output_text", "text": LONG, "annotations": []}
LINK = {
    "type": "url_citation",
    "start_index": 0,
    "end_index": 5,
    "title": "T",
    "url": "https://x.example",
}
FUNCTION = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a": [1.0]}',
    "status": "completed",
}
RESPONSE = {
    "text": response(said(PART)),
    "annotations": response(said({**PART, "annotations": [LINK, LINK]})),
    "chances": response(said({**PART, "text": "HiHi", "logprobs": [TOKEN, TOKEN]})),
    "refusal": response(said({"type": "refusal", "refusal": "I cannot help with that."})),
    "calls": response(FUNCTION, {**FUNCTION, "id": "fc_2", "call_id": "call_2", "arguments": ""}),
    "a tool that takes text": response(
        {
            "id": "ct_1",
            "type": "custom_tool_call",
            "call_id": "call_1",
            "name": "sql",
            "input": "select 1",
        }
    ),
    "thoughts": response(
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "France, so " * 9}],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
            "encrypted_content": "ZQ==",
            "status": "completed",
        },
        said(PART),
    ),
    "search": response(
        {
            "id": "ws_1",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "x"},
        },
        said(PART),
        said({**PART, "text": "And more."}, number=2),
    ),
}


@pytest.mark.parametrize("name", list(RESPONSE))
def test_a_response(name: str) -> None:
    for entry in entries(RESPONSE[name], "responses"):
        client = openai("responses", entry)
        plain = client.responses.create(model="m", input="Hi")
        assert tree(plain) == bare(RESPONSE[name])
        with client.responses.stream(model="m", input="Hi") as stream:
            final = stream.get_final_response()
        assert tree(final) == tree(plain)


def test_a_response_says_of_its_asker_what_this_one_said() -> None:
    answer = response(said(PART), user="alice", metadata={"of": "alice"}, prompt_cache_key="alice")
    for entry in entries(answer, "responses"):
        client = openai("responses", entry)
        plain = client.responses.create(model="m", input="Hi", user="bob", metadata={"of": "bob"})
        with client.responses.stream(model="m", input="Hi", user="bob") as stream:
            final = stream.get_final_response()
        assert (plain.user, plain.metadata, plain.prompt_cache_key) == ("bob", {"of": "bob"}, None)
        assert (final.user, final.metadata) == ("bob", {})
