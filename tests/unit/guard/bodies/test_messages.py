from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.guard import Kind, Text
from extproc.sealed import unwrap, wrap
from tests.unit.guard.bodies.looking import answer, at, changed, media, places, request, values

DATA = "JVBERi0xLjQKJcOkw7zDtsOfCg=="


def messages(*blocks: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": role, "content": list(blocks)}], **more}


def test_settings() -> None:
    body = request(
        {
            "model": "claude-sonnet-4-5",
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "pre"}],
            "metadata": {"user_id": "a@b.c"},
            "stop_sequences": ["END"],
            "thinking": {"type": "enabled", "budget_tokens": 1234567},
            "tool_choice": {"type": "tool", "name": "f"},
            "tools": [
                {
                    "name": "f",
                    "description": "d",
                    "input_schema": {"type": "object", "properties": {"x": {"description": "e"}}},
                    "input_examples": [{"name": "Ann", "n": 1234567}],
                },
                {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["x.y"]},
            ],
            "mcp_servers": [{"type": "url", "name": "n", "url": "https://a:b@c"}],
            "container": {"id": "c", "skills": [{"type": "custom", "skill_id": "s"}]},
        },
        "messages",
    )
    assert places(body) == {
        "system[0].text": "s",
        "messages[0].content": "u",
        "messages[1].content": "pre",
        "metadata.user_id": "a@b.c",
        "stop_sequences[0]": "END",
        "tools[0].description": "d",
        "tools[0].input_schema.properties.x.description": "e",
        "tools[0].input_examples[0].name": "Ann",
        "tools[0].input_examples[0].n": "1234567",
        "tools[1].allowed_domains[0]": "x.y",
        "mcp_servers[0].url": "https://a:b@c",
    }


def test_a_call_and_its_result() -> None:
    call = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "f",
        "input": {"type": "x", "a b": [1234567, {"id": "y"}, 2, 7654321], "deep": {"n": 1e2}},
    }
    inner = [
        {"type": "text", "text": '{"q": "J\\u00fc"}'},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": inner}
    told = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "rain"}
    body = request(messages(call, result, told), "count_tokens")
    before = "messages[0].content[0].input."
    assert body.texts == [
        Text("x", before + "type", "type"),
        Text("a b", before + "*"),
        Text("1234567", before + "*[0]", "a b"),
        Text("y", before + "*[1].id", "id"),
        Text("7654321", before + "*[3]", "a b"),
        Text("Jü", "messages[0].content[1].content[0].text.q", "q"),
        Text("rain", "messages[0].content[2].content"),
    ]
    assert media(body) == [("image", "messages[0].content[1].content[1].source.data")]
    made = changed(body, lambda value: f"<{value}>" if value.isdigit() else value)
    assert made["messages"][0]["content"][0]["input"] == {
        "type": "x",
        "a b": ["<1234567>", {"id": "y"}, 2, "<7654321>"],
        "deep": {"n": 100.0},
    }


@pytest.mark.parametrize(
    ("source", "found", "files"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "SGVsbG8="}, ["SGVsbG8="], 0),
        ({"type": "base64", "media_type": "application/pdf", "data": DATA}, [], 1),
        ({"type": "base64", "media_type": "text/plain", "data": "YSBi"}, ["a b"], 0),
        ({"type": "base64", "media_type": "application/pdf", "data": "a b c"}, ["a b c"], 1),
        ({"type": "url", "url": "https://x/a@b.c"}, ["https://x/a@b.c"], 1),
        ({"type": "file", "file_id": "file_1"}, [], 1),
        ({"type": "content", "content": [{"type": "text", "text": "t"}]}, ["t"], 0),
        ({"type": "content", "content": "t"}, ["t"], 0),
    ],
)
def test_documents(source: Any, found: list[str], files: int) -> None:
    block = {"type": "document", "source": source, "title": "T", "context": "C"}
    body = request(messages(block), "messages")
    assert values(body) == [*found, "T", "C"]
    assert [kind for kind, _ in media(body)] == ["file"] * files


def test_search_results_and_citations() -> None:
    block = {
        "type": "search_result",
        "source": "https://x",
        "title": "T",
        "content": [{"type": "text", "text": "t"}],
        "citations": {"enabled": True},
    }
    cited = {
        "type": "text",
        "text": "x",
        "citations": [
            {
                "type": "web_search_result_location",
                "cited_text": "c",
                "url": "https://y",
                "title": "t",
                "encrypted_index": "Eo8B==",
            }
        ],
    }
    body = request(messages(block, cited), "messages")
    assert values(body) == ["https://x", "T", "t", "x", "c", "https://y", "t"]
    assert not body.media


def test_server_tools() -> None:
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {"type": "web_search_result", "url": "https://x", "encrypted_content": "Eo8B/+=="}
        ],
    }
    ran = {
        "type": "code_execution_tool_result",
        "tool_use_id": "srvtoolu_2",
        "content": {"type": "code_execution_result", "stdout": "out", "content": []},
    }
    upload = {"type": "container_upload", "file_id": "file_1"}
    body = request(messages(found, ran, upload), "messages")
    assert values(body) == ["https://x", "out"]
    assert media(body) == [("file", "messages[0].content[2].file_id")]


SEALED = wrap(
    json.dumps(
        {
            "details": [
                {"type": "reasoning.text", "text": "a@b.c", "signature": "Ev/+="},
                {"type": "reasoning.encrypted", "data": "gAAA", "format": "x"},
            ],
            "calls": {"call_1": {"google": {"thought_signature": "AA=="}}},
        }
    ).encode()
)


def test_thinking() -> None:
    blocks = [
        {"type": "thinking", "thinking": "signed", "signature": "EuYBCkQ="},
        {"type": "thinking", "thinking": "open", "signature": ""},
        {"type": "thinking", "thinking": "sealed", "signature": SEALED},
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "redacted_thinking", "data": SEALED},
        {"type": "redacted_thinking", "data": "my words"},
    ]
    body = request(messages(*blocks, role="assistant"), "messages")
    before = "messages[0].content"
    assert body.texts == [
        Text("signed", before + "[0].thinking", "thinking", Kind.THINKING),
        Text("open", before + "[1].thinking", "thinking"),
        Text("sealed", before + "[2].thinking", "thinking", Kind.THINKING),
        Text("a@b.c", before + "[2].signature.details[0].text", "text", Kind.THINKING),
        Text("a@b.c", before + "[4].data.details[0].text", "text", Kind.THINKING),
        Text("my words", before + "[5].data"),
    ]
    made = changed(body, lambda value: "<E>" if "@" in value else value)
    sealed = made["messages"][0]["content"][2]["signature"]
    assert unwrap(sealed) == unwrap(SEALED).replace(b"a@b.c", b"<E>")


def test_sealed_content_with_two_readings_is_looked_into_by_the_one_that_counts() -> None:
    sealed = wrap(b'{"details":[],"details":[{"type":"reasoning.text","text":"a@b.c"}]}')
    body = request(messages({"type": "redacted_thinking", "data": sealed}), "messages")
    assert values(body) == ["a@b.c"]
    made = changed(body, lambda _: "<E>")
    again = request(made, "messages")
    assert values(again) == ["<E>"]


@pytest.mark.parametrize("sealed", ["tollgate.1.", "tollgate.1.a b", wrap(b"{"), wrap(b"\xff")])
def test_sealed_content_that_cannot_be_read_is_text(sealed: str) -> None:
    body = request(messages({"type": "redacted_thinking", "data": sealed}), "messages")
    assert values(body) == [sealed]


def test_arguments_that_could_not_be_read() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"INVALID_JSON": '{"a": "b'}}
    body = request(messages(block), "messages")
    assert [(one.value, one.kind) for one in body.texts] == [('{"a": "b', Kind.JSON)]


def test_an_answer() -> None:
    tree = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "Eu=="},
            {"type": "text", "text": "<PERSON_1>"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"to": "<EMAIL_ADDRESS_1>"}},
        ],
        "stop_reason": "stop_sequence",
        "stop_sequence": "<PERSON_1>",
        "usage": {"input_tokens": 1234567, "service_tier": "standard"},
    }
    body = answer(tree, "messages")
    assert places(body) == {
        "content[0].thinking": "hm",
        "content[1].text": "<PERSON_1>",
        "content[2].input.to": "<EMAIL_ADDRESS_1>",
        "stop_sequence": "<PERSON_1>",
    }
    assert at(body, "content[0].thinking").kind is Kind.THINKING
    assert not answer({"input_tokens": 1234567}, "count_tokens").texts
