from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.guard import Kind, Text
from extproc.sealed import wrap
from tests.unit.guard.bodies.looking import answer, changed, media, places, request, values


def responses(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": list(items), **more}


def test_settings() -> None:
    body = request(
        {
            "model": "m",
            "input": "in",
            "instructions": "be kind",
            "include": ["reasoning.encrypted_content"],
            "previous_response_id": "resp_1",
            "conversation": {"id": "conv_1"},
            "prompt": {
                "id": "pmpt_1",
                "version": "2",
                "variables": {
                    "who": "Ann",
                    "pic": {"type": "input_image", "file_id": "file-1"},
                    "doc": {"type": "input_text", "text": "t"},
                },
            },
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "n",
                    "description": "d",
                    "schema": {"type": "object", "title": "T"},
                }
            },
            "reasoning": {"effort": "low", "summary": "auto"},
            "tools": [
                {"type": "function", "name": "f", "parameters": {"description": "p"}},
                {
                    "type": "mcp",
                    "server_label": "l",
                    "server_url": "https://x",
                    "server_description": "sd",
                    "headers": {"X-Key": "k"},
                    "allowed_tools": {"tool_names": ["a"]},
                    "require_approval": {"never": {"tool_names": ["b"]}},
                },
                {
                    "type": "file_search",
                    "vector_store_ids": ["vs_1"],
                    "filters": {
                        "type": "and",
                        "filters": [{"type": "eq", "key": "who", "value": "Bob"}],
                    },
                },
                {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}},
                {"type": "custom", "name": "c", "format": {"type": "grammar", "definition": "g"}},
                {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "x"}]},
            ],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]},
            "metadata": {"k": "v"},
            "truncation": "auto",
            "prompt_cache_key": "ann",
        },
        "responses",
    )
    assert places(body) == {
        "input": "in",
        "instructions": "be kind",
        "prompt.variables.who": "Ann",
        "prompt.variables.doc.text": "t",
        "text.format.description": "d",
        "text.format.schema.title": "T",
        "tools[0].parameters.description": "p",
        "tools[1].server_url": "https://x",
        "tools[1].server_description": "sd",
        "tools[1].headers.X-Key": "k",
        "tools[2].filters.filters[0].value": "Bob",
        "tools[4].format.definition": "g",
        "metadata.k": "v",
        "prompt_cache_key": "ann",
    }
    assert media(body) == [("image", "prompt.variables.pic.file_id")]


def test_items() -> None:
    body = request(
        responses(
            {"role": "user", "content": "a"},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "content": [{"type": "output_text", "text": "b"},
                            {"type": "refusal", "refusal": "c"}],
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"e":"d"}'},
            {"type": "function_call_output", "call_id": "c", "output": '["e"]'},
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": "f"}],
            },
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "g"},
            {"type": "mcp_call", "id": "i", "name": "n", "server_label": "s",
             "arguments": '{"a":"h"}', "output": "i"},
            {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec",
             "command": ["j"], "env": {"K": "k"}}},
            {"type": "file_search_call", "id": "i", "queries": ["l"],
             "results": [{"file_id": "f", "filename": "m", "text": "n"}]},
            {"type": "code_interpreter_call", "id": "i", "container_id": "c", "code": "o",
             "outputs": [{"type": "logs", "logs": "p"}]},
            {"type": "shell_call_output", "call_id": "c",
             "output": [{"stdout": "q", "stderr": "", "outcome": {"type": "exit"}}]},
            {"type": "tool_search_call", "arguments": {"q": "r", "n": 1234567}},
            {"type": "item_reference", "id": "msg_1"},
            {"type": "apply_patch_call", "call_id": "c",
             "operation": {"type": "update_file", "path": "s", "diff": "t"}},
        ),
        "responses",
    )  # fmt: skip
    assert values(body) == [*"abcdefghijklmnopqr", "1234567", "s", "t"]


def test_pictures_and_files() -> None:
    parts = [
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/a@b.c"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_id": "file-2"},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "N"},
        {"type": "input_file", "file_data": "data:text/plain;base64,YSBi", "filename": "t.txt"},
    ]
    body = request(
        responses(
            {"role": "user", "content": parts},
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {
                    "type": "computer_screenshot",
                    "image_url": "data:image/png;base64,AA==",
                },
            },
            {"type": "image_generation_call", "id": "i", "result": "AAAA", "status": "completed"},
        ),
        "responses",
    )
    assert values(body) == ["https://x/a@b.c", "https://x/y.pdf", "N", "a b", "t.txt"]
    assert [kind for kind, _ in media(body)] == ["image"] * 3 + ["file"] * 3 + ["image"] * 2


def test_reasoning() -> None:
    sealed = wrap(b'{"details":[{"type":"reasoning.summary","summary":"hm"}]}')
    body = request(
        responses(
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAAAABo-_=",
             "summary": [{"type": "summary_text", "text": "s"}]},
            {"type": "reasoning", "encrypted_content": sealed, "summary": []},
            {"type": "compaction", "encrypted_content": "gAAAA"},
        ),
        "responses",
    )  # fmt: skip
    assert body.texts == [
        Text("s", "input[0].summary[0].text"),
        Text("hm", "input[1].encrypted_content.details[0].summary", "summary", Kind.THINKING),
    ]


def output(*items: Any, **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "model": "m",
            "output": list(items), "usage": {"input_tokens": 1}, **more}  # fmt: skip


def test_an_answer_with_what_it_repeats() -> None:
    logprobs = [{"token": "<PER", "logprob": -1.5, "bytes": [60], "top_logprobs": []}]
    part = {
        "type": "output_text",
        "text": "<PERSON_1>",
        "annotations": [{"type": "url_citation", "url": "https://x", "title": "T"}],
        "logprobs": logprobs,
    }
    body = answer(
        output(
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [part]},
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f",
             "arguments": '{"to":"<EMAIL_ADDRESS_1>"}', "status": "completed"},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "s"}],
             "encrypted_content": "gAAA"},
            instructions="<PERSON_1>",
            metadata={"who": "<PERSON_1>"},
            error=None,
        ),
        "responses",
    )  # fmt: skip
    assert places(body) == {
        "output[0].content[0].text": "<PERSON_1>",
        "output[0].content[0].annotations[0].url": "https://x",
        "output[0].content[0].annotations[0].title": "T",
        "output[1].arguments.to": "<EMAIL_ADDRESS_1>",
        "output[2].summary[0].text": "s",
        "instructions": "<PERSON_1>",
        "metadata.who": "<PERSON_1>",
    }
    made = changed(body, lambda value: value.replace("<EMAIL_ADDRESS_1>", 'a"\\@b.c'))
    assert json.loads(made["output"][1]["arguments"]) == {"to": 'a"\\@b.c'}
    assert made["output"][0]["content"][0]["logprobs"] == logprobs


@pytest.mark.parametrize("arguments", ['{"a": "<X_', "not json"])
def test_arguments_of_a_call_that_broke_off(arguments: str) -> None:
    body = answer(output({"type": "function_call", "arguments": arguments}), "responses")
    assert body.texts == [Text(arguments, "output[0].arguments", kind=Kind.JSON)]
