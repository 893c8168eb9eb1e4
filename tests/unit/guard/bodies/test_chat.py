from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc.guard import Kind, Text
from extproc.guard.bodies import read_request
from extproc.sealed import wrap
from tests.unit.guard.bodies.looking import answer, at, changed, media, places, request, values


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5.2", "messages": list(messages), **more}


def called(arguments: Any) -> dict[str, Any]:
    function = {"name": "send_mail", "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }


def test_every_message_and_part() -> None:
    body = request(
        chat(
            {"role": "system", "content": "sys"},
            {"role": "developer", "content": [{"type": "text", "text": "dev"}]},
            {"role": "user", "name": "Ann B", "content": [{"type": "text", "text": "hello"}]},
            {"role": "assistant", "content": "yes", "refusal": "no", "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "function", "name": "get_weather", "content": "sun"},
        ),
        "chat",
    )
    assert places(body) == {
        "messages[0].content": "sys",
        "messages[1].content[0].text": "dev",
        "messages[2].name": "Ann B",
        "messages[2].content[0].text": "hello",
        "messages[3].content": "yes",
        "messages[3].refusal": "no",
        "messages[3].reasoning_content": "hm",
        "messages[4].content": "rain",
        "messages[5].content": "sun",
    }
    assert at(body, "messages[2].name").under == "name"
    assert {text.kind for text in body.texts} == {Kind.TEXT}


def test_settings() -> None:
    body = request(
        chat(
            {"role": "user", "content": "x"},
            user="u@x.y",
            safety_identifier="s",
            metadata={"case": "c", "Jane Doe": "d"},
            stop=["END"],
            prediction={"type": "content", "content": "guess"},
            web_search_options={
                "search_context_size": "low",
                "user_location": {"type": "approximate", "approximate": {"city": "Bonn"}},
            },
            service_tier="auto",
            reasoning_effort="low",
            temperature=1234567.5,
            seed=123456789,
            provider={"order": ["groq"]},
            tool_choice={"type": "function", "function": {"name": "f"}},
        ),
        "chat",
    )
    assert places(body) == {
        "messages[0].content": "x",
        "user": "u@x.y",
        "safety_identifier": "s",
        "metadata.case": "c",
        "metadata.*": "d",  # and its key, of the same place
        "stop[0]": "END",
        "prediction.content": "guess",
        "web_search_options.user_location.approximate.city": "Bonn",
        "provider.order[0]": "groq",
    }
    assert Text("Jane Doe", "metadata.*") in body.texts
    assert Text("d", "metadata.*", "Jane Doe") in body.texts


def test_a_tool_call_is_read_as_json() -> None:
    arguments = json.dumps(
        {
            "type": "home",
            "name": "J\u00fcrgen",
            "to": [{"email": "a@b.c"}],
            "card": 4111111111111111,
            "amount": 99999,
            "point": 52.52001,
            "Max M": True,
        }
    )
    body = request(chat(called(arguments)), "chat")
    before = "messages[0].tool_calls[0].function.arguments."
    assert body.texts == [
        Text("home", before + "type", "type"),
        Text("Jürgen", before + "name", "name"),
        Text("a@b.c", before + "to[0].email", "email"),
        Text("4111111111111111", before + "card", "card"),
        Text("52.52001", before + "point", "point"),
        Text("Max M", before + "*"),
    ]
    made = changed(body, lambda value: "<X>" if value[0] in "4M" else value)
    assert made["messages"][0]["tool_calls"][0]["function"]["arguments"] == arguments.replace(
        "4111111111111111", '"<X>"'
    ).replace("Max M", "<X>")


@pytest.mark.parametrize("arguments", ['{"a": "b', '{"a":1,"a":"x y"}', "  ", "[" * 70 + "]" * 70])
def test_arguments_that_cannot_be_read_are_one_text(arguments: str) -> None:
    body = request(chat(called(arguments)), "chat")
    place = "messages[0].tool_calls[0].function.arguments"
    assert body.texts == [Text(arguments, place, kind=Kind.JSON)]
    made = changed(body, lambda _: "other")
    assert made["messages"][0]["tool_calls"][0]["function"]["arguments"] == "other"


def test_arguments_may_be_a_string_a_number_or_nothing() -> None:
    assert values(request(chat(called('"a@b.c"')), "chat")) == ["a@b.c"]
    assert values(request(chat(called("491511234567")), "chat")) == ["491511234567"]
    assert values(request(chat(called(""), called("{}"), called({"a": "b"})), "chat")) == ["b"]


def test_a_tools_answer_in_json_is_read_too() -> None:
    content = '{"rows": [{"name": "J\\u00fcrgen", "id": 1234567, "old": 1e2}]}'
    body = request(chat({"role": "tool", "tool_call_id": "c", "content": content}), "chat")
    assert places(body) == {
        "messages[0].content.rows[0].name": "Jürgen",
        "messages[0].content.rows[0].id": "1234567",
    }
    made = changed(body, lambda value: value.replace("Jürgen", '"<P>"'))
    assert made["messages"][0]["content"] == content.replace("J\\u00fcrgen", '\\"<P>\\"')


@pytest.mark.parametrize("content", ["{not json}", "[1", '{"a": 1, "a": "b c"}', "  {", "\n"])
def test_what_only_looks_like_json_is_a_text(content: str) -> None:
    assert values(request(chat({"role": "user", "content": content}), "chat")) == [content]


def test_tools_definitions() -> None:
    schema = {
        "type": "object",
        "title": "Mail",
        "properties": {
            "type": {"type": "string", "description": "of mail", "enum": ["to a@b.c", "home"]},
            "name": {"type": ["string", "null"], "default": "Ann", "examples": [1234567]},
            "Jane Doe": {"$ref": "#/$defs/who", "maximum": 1000000},
        },
        "required": ["type", "Jane Doe"],
        "$defs": {"who": {"type": "string", "format": "email", "pattern": "^a b$"}},
        "additionalProperties": False,
    }
    function = {"name": "mail", "description": "Sends", "parameters": schema, "strict": True}
    body = request(chat(tools=[{"type": "function", "function": function}]), "chat")
    before = "tools[0].function."
    parameters = before + "parameters."
    assert [(text.place, text.value) for text in body.texts] == [
        (before + "description", "Sends"),
        (parameters + "title", "Mail"),
        (parameters + "properties.type.description", "of mail"),
        (parameters + "properties.type.enum[0]", "to a@b.c"),
        (parameters + "properties.type.enum[1]", "home"),
        (parameters + "properties.name.default", "Ann"),
        (parameters + "properties.name.examples[0]", "1234567"),
        (parameters + "properties.*", "Jane Doe"),
        (parameters + "required[1]", "Jane Doe"),
        (parameters + "$defs.who.pattern", "^a b$"),
    ]
    assert at(body, parameters + "properties.name.default").under == "name"


@pytest.mark.parametrize(
    "model", ["a@b.c", "my model", "x" * 129, "+491511234567", "4111111111111111"]
)
def test_structure_that_is_none_is_text(model: str) -> None:
    body = request({"model": model, "messages": []}, "chat")
    assert places(body) == {"model": model}


@pytest.mark.parametrize(
    "model", ["gpt-5.2", "meta-llama/Llama-3.1-8B", "us.anthropic.claude-v1:0", "2024", ""]
)
def test_names_of_models_are_structure(model: str) -> None:
    assert values(request({"model": model, "messages": []}, "chat")) == []


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256))).decode()


def test_pictures_sound_and_files() -> None:
    link = "https://a.example/x.png?mail=a@b.c"
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": {"url": link, "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": PNG, "filename": "Ann B.pdf"}},
    ]
    body = request(chat({"role": "user", "content": parts}), "chat")
    before = "messages[0].content"
    assert places(body) == {
        before + "[1].image_url.url": link,
        before + "[4].file.filename": "Ann B.pdf",
    }
    assert media(body) == [
        ("image", before + "[0].image_url.url"),
        ("image", before + "[1].image_url.url"),
        ("image", before + "[2].input_audio.data"),
        ("file", before + "[3].file.file_id"),
        ("file", before + "[4].file.file_data"),
    ]


def file(data: str, name: str | None = None) -> dict[str, Any]:
    given = {"file_data": data} if name is None else {"file_data": data, "filename": name}
    return chat({"role": "user", "content": [{"type": "file", "file": given}]})


TEXT = "Jürgen, a@b.c"
BASED = base64.b64encode(TEXT.encode()).decode()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (f"data:text/plain;base64,{BASED}", None),
        (f"data:text/csv;charset=utf-8;base64,{BASED}", None),
        (f"data:application/json;base64,{BASED}", None),
        (f"data:application/octet-stream;base64,{BASED}", "x.CSV"),
        (BASED, "x.txt"),
        (BASED.rstrip("="), "x.txt"),
        ("data:text/plain,J%C3%BCrgen%2C%20a%40b.c", None),
    ],
)
def test_a_document_that_is_text_is_looked_into(data: str, name: str | None) -> None:
    body = request(file(data, name), "chat")
    assert values(body)[0] == TEXT
    assert not body.media
    made = changed(body, lambda value: value.replace("a@b.c", "<E>"))
    again = request(made, "chat")
    assert values(again)[0] == TEXT.replace("a@b.c", "<E>")
    assert made["messages"][0]["content"][0]["file"]["file_data"].startswith(data[:10])


@pytest.mark.parametrize(
    "data", ["my card: 4111 1111 1111 1111", "data:application/pdf;base64,mail a@b.c", "data:x"]
)
def test_what_only_says_that_it_is_base64_is_text(data: str) -> None:
    body = request(file(data), "chat")
    assert values(body) == [data]
    assert media(body) == [("file", "messages[0].content[0].file.file_data")]


def test_a_picture_in_text_is_both() -> None:
    url = "data:image/svg+xml,%3Csvg%3Ea%40b.c"
    part = {"type": "image_url", "image_url": {"url": url}}
    body = request(chat({"role": "user", "content": [part]}), "chat")
    assert values(body) == ["<svg>a@b.c"]
    assert len(body.media) == 1


def test_thinking_that_is_signed_stays_to_the_letter() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm, a@b.c", "signature": "EuYB/x+==", "index": 0},
        {"type": "reasoning.text", "text": "open", "signature": None},
        {"type": "reasoning.summary", "summary": "in short"},
        {"type": "reasoning.encrypted", "data": "gAAAAAB-_x", "format": "google-gemini-v1"},
        {"type": "reasoning.encrypted", "data": "not encrypted at all"},
        {
            "type": "reasoning.encrypted",
            "data": '{"type":"web_search_tool_result","tool_use_id":"x",'
            '"content":[{"type":"web_search_result","title":"T","encrypted_content":"Ev="}]}',
        },
    ]
    said = {"role": "assistant", "content": "x", "reasoning_details": details}
    body = request(chat(said), "chat")
    assert [(text.value, text.kind) for text in body.texts] == [
        ("x", Kind.TEXT),
        ("hm, a@b.c", Kind.THINKING),
        ("open", Kind.TEXT),
        ("in short", Kind.TEXT),
        ("not encrypted at all", Kind.TEXT),
        ("T", Kind.THINKING),
    ]


def test_what_belongs_to_a_call_for_its_provider() -> None:
    message = called("{}")
    message["tool_calls"][0]["extra_content"] = {
        "google": {"thought_signature": "AbC+/=", "note": "a b"}
    }
    assert values(request(chat(message), "chat")) == ["a b"]


def test_sealed_content_means_nothing_in_a_text() -> None:
    sealed = wrap(b'{"details":[]}')
    assert values(request(chat({"role": "user", "content": sealed}), "chat")) == [sealed]


def test_unknown_fields_are_text() -> None:
    body = request({"model": "m", "x": {"type": "a", "id": ["b", 1234567]}, "d e": "f"}, "chat")
    assert values(body) == ["a", "b", "d e", "f"]


def test_an_answer() -> None:
    message = {
        "role": "assistant",
        "content": "<PERSON_1>",
        "refusal": None,
        "reasoning": "why",
        "annotations": [
            {"type": "url_citation", "url_citation": {"url": "https://x", "title": "T"}}
        ],
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"<X_1>"}'}}
        ],
    }
    logprobs = {"content": [{"token": "<PER", "logprob": -0.0, "bytes": [1], "top_logprobs": []}]}
    tree = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1234567890,
        "model": "m",
        "choices": [
            {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1234567},
        "service_tier": "default",
    }
    body = answer(tree, "chat")
    before = "choices[0].message."
    assert places(body) == {
        before + "content": "<PERSON_1>",
        before + "reasoning": "why",
        before + "annotations[0].url_citation.url": "https://x",
        before + "annotations[0].url_citation.title": "T",
        before + "tool_calls[0].function.arguments.a": "<X_1>",
    }
    made = changed(body, lambda value: value.replace("<X_1>", 'O"Neil\n'))
    call = made["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"a": 'O"Neil\n'}


def test_a_value_does_not_break_an_answer_in_json() -> None:
    tree = {"choices": [{"message": {"content": '{"who": "<PERSON_1>", "n": 1.0}'}}]}
    made = changed(answer(tree, "chat"), lambda _: 'O"Neil')
    assert made["choices"][0]["message"]["content"] == '{"who": "O\\"Neil", "n": 1.0}'


def test_what_is_required_of_a_schema_is_what_its_properties_are_called() -> None:
    schema = {"type": "object", "properties": {"ssn-078-05-1120": {"type": "string"}, "a": {}}}
    tool = {"name": "f", "parameters": {**schema, "required": ["ssn-078-05-1120", "a"]}}
    read = read_request(json.dumps({"tools": [{"function": tool}]}).encode(), "chat")
    values = [one.value.replace("ssn-078-05-1120", "<US_SSN_1>") for one in read.texts]
    out = json.loads(read.written(values))["tools"][0]["function"]["parameters"]
    assert set(out["required"]) == set(out["properties"]) == {"<US_SSN_1>", "a"}
