"""The guard through Envoy with real clients: what a provider gets holds no value, what the client
gets holds them all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Json
from tests.e2e.guard_gateways import (
    EMAIL,
    EVERYTHING,
    EVERYTHING_UP,
    FORMATS,
    LETTER,
    LETTER_UP,
    PERSON,
    VALUES,
    Guarded,
    chat_text,
    events,
    guarded_gateway,
    leaks,
    missing,
    say,
    scripted,
)
from tests.e2e.levels import PDF

pytestmark = pytest.mark.e2e

TALKING = [one for one in FORMATS if one[0] != "completions"]
streamed = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
KEY = VALUES["PRIVATE_KEY"][1]
PARAMETERS: Json = {
    "type": "object",
    "properties": {one: {"type": "string"} for one in ("to", "key", "note")},
    "required": ["to", "key", "note"],
    "additionalProperties": False,
}
ARGUMENTS = {"to": EMAIL, "key": KEY, "note": f'"{PERSON}" says\n<no>'}
ARGUMENTS_UP = {
    "to": "<EMAIL_ADDRESS_1>",
    "key": "<PRIVATE_KEY_1>",
    "note": '"<PERSON_1>" says\n<no>',
}


@pytest.fixture(scope="module")
def guarded_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_gateway(tmp_path_factory.mktemp("guarded")) as found:
        yield found


@pytest.fixture
def guarded(guarded_one: Guarded) -> Guarded:
    """The gateway, with the simulator's record empty."""
    guarded_one.gateway.forget()
    return guarded_one


# --- text ---------------------------------------------------------------------------------


def test_without_a_guard_everything_goes_up(guarded: Guarded) -> None:
    """So that what is asserted below could fail."""
    answer = guarded.chat(EVERYTHING, "unguarded", said=EVERYTHING_UP)
    assert leaks(guarded.sent()) == list(VALUES)
    assert answer.json()["choices"][0]["message"]["content"] == EVERYTHING_UP


@streamed
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_text(format_: str, model: str, streams: bool, guarded: Guarded) -> None:
    """Small pieces cut placeholders anywhere."""
    script = {"text": EVERYTHING_UP, "events": 350}
    found = say(guarded, format_, model, EVERYTHING, script, streams=streams)
    assert missing(found) == []
    assert found == EVERYTHING
    sent = guarded.sent()
    assert leaks(sent) == []
    assert len(guarded.gateway.asked()) == 1
    for line in EVERYTHING_UP.splitlines():
        assert json.dumps(line, ensure_ascii=False)[1:-1].encode() in sent


@pytest.mark.parametrize("model", ["vectors", "gemini-vectors"])
def test_embeddings(model: str, guarded: Guarded) -> None:
    with guarded.openai() as sdk:
        one = sdk.embeddings.create(model=model, input=[EVERYTHING, MAIL_TWICE])
        same = sdk.embeddings.create(model=model, input=[EVERYTHING_UP.replace("<", "(")])
    assert len(one.data) == 2
    assert len(same.data) == 1
    assert leaks(guarded.sent()) == []
    assert b"<EMAIL_ADDRESS_1> and <EMAIL_ADDRESS_1>" in guarded.sent()


MAIL_TWICE = f"{EMAIL} and {EMAIL}"


def test_counting_tokens(guarded: Guarded) -> None:
    with guarded.anthropic() as sdk:
        counted = sdk.messages.count_tokens(
            model="claude", system=LETTER, messages=[{"role": "user", "content": EVERYTHING}]
        )
    assert counted.input_tokens > 0
    assert leaks(guarded.sent()) == []
    assert LETTER_UP.encode() in guarded.sent()


def test_what_comes_back_is_the_clients_again(guarded: Guarded) -> None:
    """A response tells what it was asked with: instructions, tools and metadata as they were."""
    with guarded.openai() as sdk:
        found = sdk.responses.create(
            model="gpt-five",
            instructions=LETTER,
            input="Hello",
            metadata={"about": LETTER},
            tools=[{"type": "function", "name": "write", "description": LETTER,
                    "parameters": PARAMETERS, "strict": True}],
        )  # fmt: skip
    assert leaks(guarded.sent()) == []
    assert found.instructions == LETTER
    assert found.metadata == {"about": LETTER}
    (tool,) = found.tools
    assert tool.type == "function"
    assert tool.description == LETTER


# --- every place --------------------------------------------------------------------------


def _call(name: str = "call_1") -> Json:
    return {
        "id": name,
        "type": "function",
        "function": {"name": "write", "arguments": json.dumps(ARGUMENTS)},
    }


CHAT: Json = {
    "messages": [
        {"role": "system", "content": EVERYTHING, "name": "system"},
        {"role": "user", "content": [{"type": "text", "text": EVERYTHING}]},
        {"role": "assistant", "content": LETTER, "tool_calls": [_call()]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"said": EVERYTHING})},
        {"role": "user", "content": "Well?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "write",
                "description": EVERYTHING,
                "parameters": {
                    "type": "object",
                    "description": LETTER,
                    "properties": {"to": {"type": "string", "enum": [EMAIL], "default": EMAIL}},
                },
            },
        }
    ],
    "stop": [EMAIL],
    "user": EMAIL,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "found",
            "description": LETTER,
            "schema": {"type": "object", "properties": {"a": {"const": EMAIL}}},
        },
    },
}
MESSAGES: Json = {
    "max_tokens": 100,
    "system": [{"type": "text", "text": EVERYTHING}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": EVERYTHING}]},
        {"role": "assistant", "content": [
            {"type": "text", "text": LETTER},
            {"type": "tool_use", "id": "toolu_1", "name": "write", "input": ARGUMENTS},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1",
             "content": [{"type": "text", "text": EVERYTHING}]},
            {"type": "document", "title": LETTER, "context": LETTER,
             "source": {"type": "text", "media_type": "text/plain", "data": EVERYTHING}},
        ]},
    ],
    "tools": [{"name": "write", "description": EVERYTHING, "input_schema": PARAMETERS}],
    "stop_sequences": [EMAIL],
    "metadata": {"user_id": EMAIL},
}  # fmt: skip
RESPONSES: Json = {
    "instructions": EVERYTHING,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": EVERYTHING}]},
        {"type": "function_call", "call_id": "call_1", "name": "write",
         "arguments": json.dumps(ARGUMENTS)},
        {"type": "function_call_output", "call_id": "call_1", "output": EVERYTHING},
    ],
    "tools": [{"type": "function", "name": "write", "description": EVERYTHING,
               "parameters": PARAMETERS, "strict": True}],
    "metadata": {"about": LETTER},
    "user": EMAIL,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("chat/completions", "gpt", CHAT),
        ("chat/completions", "claude", CHAT),
        ("chat/completions", "gemini", CHAT),
        ("messages", "claude", MESSAGES),
        ("messages", "gpt", {**MESSAGES, "stop_sequences": ["x"]}),
        ("responses", "gpt-five", RESPONSES),
        ("responses", "claude", RESPONSES),
        ("responses", "gemini", RESPONSES),
    ],
)
def test_every_place(path: str, model: str, body: Json, guarded: Guarded) -> None:
    """Histories, tools and their results, schemas, file names: no value goes up from anywhere."""
    answer = guarded.post(path, {"model": model, **body})
    assert answer.status_code == 200, answer.text
    assert len(guarded.gateway.asked()) == 1
    assert leaks(guarded.sent()) == []


def test_names_of_files(guarded: Guarded) -> None:
    part = {"filename": f"{EMAIL}.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    content = [{"type": "file", "file": part}, {"type": "text", "text": "What is in it?"}]
    body = {"model": "gpt", "messages": [{"role": "user", "content": content}]}
    answer = guarded.post("chat/completions", body)
    assert answer.status_code == 200, answer.text
    assert leaks(guarded.sent()) == []
    assert PDF.encode() in guarded.sent()


def test_what_a_client_says_of_itself_does_not_go_up(guarded: Guarded) -> None:
    head = guarded.head(user=EMAIL, session=PERSON, team=EMAIL, feature=EMAIL)
    answer = guarded.gateway.chat("gpt", "Hello", headers={**head, "x-tollgate-metadata": EMAIL})
    assert answer.status_code == 200, answer.text
    assert leaks(guarded.sent()) == []


# --- tool calls ---------------------------------------------------------------------------


def called(guarded: Guarded, format_: str, model: str, *, streams: bool) -> Json:
    """The arguments of the call that the model makes, as an SDK reads them."""
    text = f"{LETTER}\n{VALUES['PRIVATE_KEY'][0].format(KEY)}\nUse write."
    head = scripted(tools=[{"name": "write", "arguments": ARGUMENTS_UP}])
    turn: Any = [{"role": "user", "content": text}]
    if format_ == "messages":
        tools: Any = [{"name": "write", "input_schema": PARAMETERS}]
        with guarded.anthropic() as claude:
            asked: Any = {"model": model, "max_tokens": 900, "messages": turn, "tools": tools}
            if not streams:
                blocks = claude.messages.create(**asked, extra_headers=head).content
            else:
                with claude.messages.stream(**asked, extra_headers=head) as found:
                    blocks = found.get_final_message().content
        (use,) = [one for one in blocks if one.type == "tool_use"]
        return dict(use.input)
    function = {"name": "write", "parameters": PARAMETERS}
    with guarded.openai() as sdk:
        if format_ == "chat":
            tools = [{"type": "function", "function": function}]
            if not streams:
                chat: Any = sdk.chat.completions.create(
                    model=model, messages=turn, tools=tools, extra_headers=head
                )
            else:
                with sdk.chat.completions.stream(
                    model=model, messages=turn, tools=tools, extra_headers=head
                ) as found:
                    chat = found.get_final_completion()
            (call,) = chat.choices[0].message.tool_calls
            return dict(json.loads(call.function.arguments))
        tools = [{"type": "function", "strict": True, **function}]
        asked = {"model": model, "input": text, "tools": tools, "extra_headers": head}
        if not streams:
            items = sdk.responses.create(**asked).output
        else:
            deltas = ""
            with sdk.responses.stream(**asked) as said:
                for one in said:
                    if one.type == "response.function_call_arguments.delta":
                        deltas += one.delta
                items = said.get_final_response().output
            assert json.loads(deltas) == ARGUMENTS
        (made,) = [one for one in items if one.type == "function_call"]
        return dict(json.loads(made.arguments))


@streamed
@pytest.mark.parametrize(("format_", "model"), TALKING)
def test_tool_calls(format_: str, model: str, streams: bool, guarded: Guarded) -> None:
    """Values come back into arguments, written as JSON wants them."""
    assert called(guarded, format_, model, streams=streams) == ARGUMENTS
    assert leaks(guarded.sent()) == []


def test_a_loop_of_tools(guarded: Guarded) -> None:
    """What the client hands back with values put back goes up as the model knows it."""
    ask: Any = {"role": "user", "content": f"{LETTER} Use write."}
    tools: Any = [{"type": "function", "function": {"name": "write", "parameters": PARAMETERS}}]
    up = {"to": "<EMAIL_ADDRESS_1>", "key": "none", "note": "<PERSON_1>"}
    with guarded.openai() as sdk:
        first: Any = sdk.chat.completions.create(
            model="claude", messages=[ask], tools=tools,
            extra_headers=scripted(tools=[{"name": "write", "arguments": up}]),
        )  # fmt: skip
        message = first.choices[0].message
        (call,) = message.tool_calls
        assert json.loads(call.function.arguments)["to"] == EMAIL
        result = {"role": "tool", "tool_call_id": call.id, "content": f"sent to {EMAIL}"}
        second: Any = sdk.chat.completions.create(
            model="claude",
            messages=[ask, message.model_dump(exclude_none=True), result],  # type: ignore[list-item]
            tools=tools,
            extra_headers=scripted(text="Told <EMAIL_ADDRESS_1>, <PERSON_1>."),
        )
    assert second.choices[0].message.content == f"Told {EMAIL}, {PERSON}."
    assert leaks(guarded.sent()) == []
    turns = guarded.gateway.asked()[-1]["body"]["messages"]
    (use,) = [one for one in turns[1]["content"] if one["type"] == "tool_use"]
    assert use["input"] == up
    assert "sent to <EMAIL_ADDRESS_1>" in json.dumps(turns[2])


# --- thinking -----------------------------------------------------------------------------


@streamed
@pytest.mark.parametrize("model", ["claude", "gemini"])
def test_signed_thinking_goes_round(model: str, streams: bool, guarded: Guarded) -> None:
    """Its provider takes it back only to the letter, so no value is put into it; the simulator
    refuses any other."""
    turns: list[Any] = [{"role": "user", "content": f"{LETTER} Use write."}]
    asked: Any = {
        "model": model,
        "max_tokens": 3000,
        "tools": [{"name": "write", "input_schema": PARAMETERS}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    thought = "So <PERSON_1> has <EMAIL_ADDRESS_1>."
    with guarded.anthropic() as sdk:
        for _ in range(2):
            head = scripted(thinking=thought, tools=[{"name": "write", "arguments": ARGUMENTS_UP}])
            if not streams:
                found = sdk.messages.create(messages=turns, extra_headers=head, **asked)
            else:
                with sdk.messages.stream(messages=turns, extra_headers=head, **asked) as events_:
                    found = events_.get_final_message()
            thinking, use = found.content
            assert thinking.type == "thinking"
            assert thinking.thinking == thought
            assert use.type == "tool_use"
            assert use.input["to"] == EMAIL
            result = {"type": "tool_result", "tool_use_id": use.id, "content": f"{EMAIL}: sent"}
            turns += [
                {
                    "role": "assistant",
                    "content": [one.model_dump(exclude_none=True) for one in found.content],
                },
                {"role": "user", "content": [result]},
            ]
        last = sdk.messages.create(messages=turns, extra_headers=scripted(text=LETTER_UP), **asked)
    assert last.content[-1].type == "text"
    assert last.content[-1].text == LETTER
    assert leaks(guarded.sent()) == []
    if model == "claude":
        assert thought.encode() in guarded.gateway.sent_body(guarded.gateway.asked()[-1])


@streamed
def test_reasoning_without_a_seal_is_text(streams: bool, guarded: Guarded) -> None:
    """OpenAI's summaries of reasoning are for people to read."""
    asked: Any = {
        "model": "gpt-five",
        "input": LETTER,
        "reasoning": {"summary": "auto"},
        "extra_headers": scripted(thinking=LETTER_UP, text=LETTER_UP),
    }
    with guarded.openai() as sdk:
        if not streams:
            answer = sdk.responses.create(**asked)
        else:
            with sdk.responses.stream(**asked) as found:
                answer = found.until_done().get_final_response()
    (reasoning,) = [one for one in answer.output if one.type == "reasoning"]
    assert reasoning.summary[0].text == LETTER
    assert answer.output_text == LETTER


# --- large --------------------------------------------------------------------------------


def test_a_long_prompt(guarded: Guarded) -> None:
    """Values at both ends and throughout."""
    middle = "\n".join(f"{n}: guest{n}.quill@posteo-mail.example" for n in range(4000))
    text = f"{EVERYTHING}\n{middle}\n{EVERYTHING}"
    said = "<EMAIL_ADDRESS_1> <EMAIL_ADDRESS_2> <EMAIL_ADDRESS_4001>"
    answer = guarded.chat(text, model="gemini", said=said)
    assert answer.status_code == 200, answer.text
    read = answer.json()["choices"][0]["message"]["content"]
    assert read == f"{EMAIL} guest0.quill@posteo-mail.example guest3999.quill@posteo-mail.example"
    sent = guarded.sent()
    assert leaks(sent) == []
    assert b".quill@" not in sent


# --- placeholders that are none, or were changed ------------------------------------------


@streamed
@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Ask <person_1> or **<PERSON\\_1>**.", f"Ask {PERSON} or **{PERSON}**."),
        ("Ask &lt;PERSON_1&gt; or < PERSON_1 >.", f"Ask {PERSON} or {PERSON}."),
        ("Ask <PERSON_2>, <PERSON_1_2>, <NOBODY_1>.", "Ask <PERSON_2>, <PERSON_1_2>, <NOBODY_1>."),
        ("x < 1 and <PERSON_1", "x < 1 and <PERSON_1"),
        ("<PERSON_1><PERSON_1><EMAIL_ADDRESS_1>", f"{PERSON}{PERSON}{EMAIL}"),
    ],
)
def test_as_models_write_them(said: str, read: str, streams: bool, guarded: Guarded) -> None:
    script = {"text": said, "events": len(said)}
    assert say(guarded, "chat", "gpt", LETTER, script, streams=streams) == read


@streamed
def test_a_text_with_placeholders_of_its_own(streams: bool, guarded: Guarded) -> None:
    """They are values like others: nobody's values are told apart from them by their look."""
    text = f"What is <PERSON_1>? Dear Mrs {PERSON}, <EMAIL_ADDRESS_7>"
    guarded.chat(text)
    up = guarded.prompt()
    assert leaks(guarded.sent()) == []
    assert "<EMAIL_ADDRESS_7>" not in up
    script = {"text": up, "events": len(up)}
    assert say(guarded, "chat", "gpt", text, script, streams=streams) == text


# --- the next provider --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "streams"),
    [
        ({"status": 500}, False),
        ({"status": 500}, True),
        ({"reset": "before"}, False),
        ({"reset": "after_headers"}, True),
        ({"first_event_error": True}, True),
        ({"stop_early": 0}, True),
    ],
)
@pytest.mark.parametrize("chain", ["walk", "back"])
def test_the_next_provider(chain: str, failure: Json, streams: bool, guarded: Guarded) -> None:
    """It gets no value either, and its answer is restored."""
    first = {"walk": "openai", "back": "anthropic"}[chain]
    said = {"text": EVERYTHING_UP, "events": 90}
    found = say(
        guarded, "chat", chain, EVERYTHING, {"by": {first: failure, "*": said}}, streams=streams
    )
    assert found == EVERYTHING
    asked = guarded.gateway.asked()
    assert asked[0]["port"] == first
    assert len({one["port"] for one in asked}) == 2
    assert leaks(guarded.sent()) == []


def test_a_provider_that_stops_within_a_placeholder(guarded: Guarded) -> None:
    """What was held back comes out as it is; the client is told that it is not whole."""
    script = {"text": LETTER_UP, "events": len(LETTER_UP), "stop_early": len("Dear Mrs <PERS")}
    head = {**guarded.head(), **scripted(**script)}
    body = {"model": "gpt", "messages": [{"role": "user", "content": LETTER}], "stream": True}
    url = f"{guarded.gateway.url}/chat/completions"
    answer = guarded.gateway.http.post(url, json=body, headers=head)
    chunks = events(answer.content)
    assert chat_text(chunks) == "Dear Mrs <PERS"
    assert [one["error"]["code"] for one in chunks if "error" in one] == ["provider_cut"]
