from typing import Any

import pytest

from tests.unit.simulator.talk import Heard, Talk

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "5"}
USER = {"role": "user", "content": "hello"}
ASSISTANT = {"role": "assistant", "content": "hi", "id": "msg_1"}
CHANGED = {"role": "assistant", "content": "another"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAx"}


async def send(talk: Talk, **more: Any) -> Heard:
    body = {"model": "gpt-4o", "input": "hello"} | more
    return await talk.send("openai", "/v1/responses", body)


def content(*parts: Any, role: str = "user") -> list[Any]:
    return [{"role": role, "content": list(parts)}]


@pytest.mark.parametrize(
    "given",
    [
        [USER],
        [USER | {"type": "message", "status": "completed"}],
        [USER, CALL, RESULT],
        [USER, CALL, RESULT | {"output": [{"type": "input_text", "text": "5"}]}],
        content({"type": "input_image", "detail": "auto", "image_url": "https://e.com/a.png"}),
        content({"type": "input_file", "file_url": "https://e.com/a.pdf"}),
        content({"type": "output_text", "text": "x", "annotations": []}, role="assistant"),
        [USER, THOUGHT, ASSISTANT, USER],
    ],
)
async def test_takes_items(talk: Talk, given: Any) -> None:
    heard = await send(talk, input=given)
    assert heard.status == 200, heard.body


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "empty_array"),
        ({"input": [5]}, "input[0]", "invalid_type"),
        ({"input": [{"content": "x"}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"type": "odd"}]}, "input[0]", "invalid_value"),
        ({"input": [USER | {"name": "x"}]}, "input[0].name", "unknown_parameter"),
        ({"input": [USER | {"role": "tool"}]}, "input[0].role", "invalid_value"),
        (
            {"input": content({"type": "text", "text": "x"})},
            "input[0].content[0]",
            "invalid_value",
        ),
        (
            {"input": content({"type": "input_text", "text": "x"}, role="assistant")},
            "input[0].content[0]",
            "invalid_value",
        ),
        (
            {"input": content({"type": "input_image", "image_url": "x"})},
            "input[0].content[0].image_url",
            "invalid_value",
        ),
        (
            {"input": content({"type": "input_file", "filename": "a"})},
            "input[0].content[0].file_id",
            "missing_required_parameter",
        ),
        ({"input": [USER, RESULT]}, "input", None),
        ({"input": [USER, CALL]}, "input", None),
        ({"input": [THOUGHT, USER]}, "input", None),
        ({"input": [THOUGHT, CHANGED, USER]}, "input", None),
        ({"input": [THOUGHT | {"encrypted_content": "EqQB"}, ASSISTANT]}, None,
         "invalid_encrypted_content"),
        ({"messages": [USER]}, "messages", "unknown_parameter"),
        ({"max_tokens": 5}, "max_tokens", "unknown_parameter"),
        ({"max_output_tokens": 5}, "max_output_tokens", "integer_below_min_value"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", None),
        ({"include": ["everything"]}, "include[0]", "invalid_value"),
        ({"background": True, "store": False}, "background", None),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name",
         "missing_required_parameter"),
        ({"tools": [{"type": "odd"}]}, "tools[0]", "invalid_value"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"},
                        "strict": True}]},
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        ({"tool_choice": "must"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
        ({"reasoning": {"budget": 5}}, "reasoning.budget", "unknown_parameter"),
        ({"include": ["reasoning.encrypted_content"]}, "include", None),
        ({"model": "gpt-5", "temperature": 0.2}, "temperature", None),
        ({"model": "gpt-unknown"}, "model", "model_not_found"),
        ({"text": {"format": {"type": "json_object"}}}, "input", None),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "strict": True,
                                 "schema": {"type": "object", "properties": {}}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
        ({"previous_response_id": "resp_no"}, "previous_response_id",
         "previous_response_not_found"),
        ({"previous_response_id": "a", "conversation": "b"}, "previous_response_id",
         "mutually_exclusive_parameters"),
    ],
)  # fmt: skip
async def test_refuses_as_openai_does(
    talk: Talk, more: dict[str, Any], param: str | None, code: str | None
) -> None:
    heard = await send(talk, **more)
    error = heard.json["error"]
    assert heard.status == 400, error
    assert (error["param"], error["code"]) == (param, code), error
    assert error["type"] == "invalid_request_error"


async def test_what_does_not_exist_is_404(talk: Talk) -> None:
    for given in ([{"type": "item_reference", "id": "rs_x"}, ASSISTANT], [{"id": "msg_x"}]):
        heard = await send(talk, input=given)
        assert heard.status == 404
        assert "not found. Items are not persisted" in heard.json["error"]["message"]
    bare = {key: one for key, one in THOUGHT.items() if key != "encrypted_content"}
    assert (await send(talk, input=[bare, ASSISTANT])).status == 404
    assert (await send(talk, conversation="conv_x")).status == 404


async def test_an_unknown_item_is_told_what_there_is(talk: Talk) -> None:
    heard = await send(talk, input=[{"type": "odd"}])
    words = heard.json["error"]["message"]
    assert words.startswith("Invalid value: 'odd'. Supported values are: 'message', ")
    assert words.endswith(", and 'program_output'.")
