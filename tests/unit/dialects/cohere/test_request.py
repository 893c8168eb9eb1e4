from typing import Any

import pytest

from extproc.errors import ClientError
from tests.unit.dialects.cohere.sending import MODEL, SEER, THINKER, lacks, level, sent
from tests.unit.dialects.samples import (
    AUDIO,
    CALLS,
    FILE,
    IMAGE,
    RESULTS,
    TIME,
    USER,
    WEATHER,
    body,
)

SKY = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sky", "schema": SKY, "strict": True}}
LOOSE = {
    "type": "json_schema",
    "json_schema": {"name": "sky", "schema": {"type": "object", "properties": {}}},
}
OBJECT = {"type": "json_object"}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


# --- messages -----------------------------------------------------------------------------


def test_messages() -> None:
    tree, warnings = sent(
        messages=[
            {"role": "developer", "content": "Be brief."},
            USER,
            CALLS,
            *RESULTS,
            {"role": "assistant", "content": "Grey."},
            {"role": "user", "content": [text("And"), text("now?")]},
        ],
        tools=[WEATHER, TIME],
    )
    assert tree["messages"] == [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {
                "name": "get_weather", "arguments": '{"city": "Paris", "days": 1.0}'}},
            {"id": "call_2", "type": "function", "function": {
                "name": "get_time", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "grey", "t": 11.50}'},
        {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
        {"role": "assistant", "content": "Grey."},
        {"role": "user", "content": [text("And"), text("now?")]},
    ]  # fmt: skip
    assert warnings == ()


def test_functions_as_they_were() -> None:
    call = {"name": "get_time", "arguments": ""}
    tree, _ = sent(
        messages=[
            USER,
            {"role": "assistant", "function_call": call},
            {"role": "function", "name": "get_time", "content": "noon"},
        ],
        functions=[TIME["function"]],
        function_call={"name": "get_time"},
    )
    assert tree["messages"][1]["tool_calls"][0]["id"] == "get_time"
    assert tree["messages"][2]["tool_call_id"] == "get_time"
    assert tree["tool_choice"] == "REQUIRED"


def test_images() -> None:
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,YQ==", "detail": "low"},
    }
    tree, _ = sent(SEER, messages=[{"role": "user", "content": [text("q"), IMAGE, image]}])
    assert tree["messages"][0]["content"] == [text("q"), IMAGE, image]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"role": "system", "content": "x"}], [{"role": "user", "content": "x"}]),
        ([{"role": "user", "content": ""}], [{"role": "user", "content": "."}]),
        (
            [USER, {"role": "assistant", "content": "The sky"}],
            [USER, {"role": "assistant", "content": "The sky"},
             {"role": "user", "content": "Continue."}],
        ),
        (
            [USER, {"role": "system", "content": "x"}],
            [USER, {"role": "system", "content": "x"}, {"role": "user", "content": "Continue."}],
        ),
        ([{"role": "assistant", "content": ""}, USER], [USER]),
    ],
)  # fmt: skip
def test_who_has_the_last_word(messages: list[Any], expected: list[Any]) -> None:
    assert sent(messages=messages)[0]["messages"] == expected


def test_thinking_and_plans_go_back() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "format": "cohere-v2"},
        {
            "type": "reasoning.text",
            "text": "I will look.",
            "id": "tool_plan",
            "format": "cohere-v2",
        },
        {
            "type": "reasoning.text",
            "text": "No.",
            "signature": "x",
            "format": "anthropic-claude-v1",
        },
    ]
    said = {"role": "assistant", "content": "Grey.", "reasoning_details": details[:1]}
    called = {**CALLS, "reasoning_details": details}
    messages = [USER, said, USER, called, *RESULTS]
    tree, _ = sent(THINKER, messages=messages, tools=[WEATHER, TIME])
    thought = {"type": "thinking", "thinking": "Hm."}
    assert tree["messages"][1] == {"role": "assistant", "content": [thought, text("Grey.")]}
    assert tree["messages"][3]["content"] == [thought]
    assert tree["messages"][3]["tool_plan"] == "I will look."


# --- tools --------------------------------------------------------------------------------


def test_tools() -> None:
    tree, warnings = sent(tools=[WEATHER, TIME], tool_choice="auto")
    assert tree["tools"] == [
        WEATHER,
        {
            "type": "function",
            "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert "tool_choice" not in tree
    assert warnings == ()


@pytest.mark.parametrize(
    ("choice", "expected", "names"),
    [
        ("required", "REQUIRED", ["get_weather", "get_time"]),
        ("none", "NONE", ["get_weather", "get_time"]),
        ({"type": "function", "function": {"name": "get_time"}}, "REQUIRED", ["get_time"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
                {"type": "function", "function": {"name": "get_time"}}]}},
            None,
            ["get_time"],
        ),
    ],
)  # fmt: skip
def test_tool_choice(choice: Any, expected: str | None, names: list[str]) -> None:
    tree, _ = sent(tools=[WEATHER, TIME], tool_choice=choice)
    assert tree.get("tool_choice") == expected
    assert [one["function"]["name"] for one in tree["tools"]] == names


def test_strict_tools() -> None:
    strict = {"type": "function", "function": {"name": "f", "parameters": SKY, "strict": True}}
    assert sent(tools=[strict])[0]["strict_tools"] is True
    # Of each tool Cohere wants a parameter that must be given.
    tree, warnings = sent(tools=[strict, TIME])
    assert "strict_tools" not in tree
    assert warnings == ("tools.function.strict",)


# --- JSON ---------------------------------------------------------------------------------


def test_json() -> None:
    tree, warnings = sent(response_format=OBJECT)
    assert tree["response_format"] == OBJECT
    assert warnings == ()
    tree, warnings = sent(response_format=FORMAT)
    assert tree["response_format"] == {"type": "json_object", "json_schema": SKY}
    assert warnings == ()


def test_a_schema_that_demands_nothing_is_told_in_words() -> None:
    tree, warnings = sent(response_format=LOOSE)
    assert tree["response_format"] == OBJECT
    assert '{"type":"object","properties":{}}' in tree["messages"][0]["content"]
    assert warnings == ("response_format (its schema was told in words)",)


def test_json_beside_tools_is_a_tool() -> None:
    tree, warnings = sent(response_format=FORMAT, tools=[WEATHER])
    assert [one["function"]["name"] for one in tree["tools"]] == ["get_weather", "sky"]
    assert tree["tools"][1]["function"]["parameters"] == SKY
    assert tree["tool_choice"] == "REQUIRED"
    assert warnings == ("response_format (by a forced tool)",)
    tree, warnings = sent(response_format=OBJECT, tools=[WEATHER], tool_choice="required")
    assert len(tree["tools"]) == 1
    assert warnings == ()
    tree, warnings = sent(response_format=OBJECT, tools=[WEATHER], tool_choice="none")
    assert tree["response_format"] == OBJECT
    assert "tools" not in tree
    assert warnings == ()


# --- parameters ---------------------------------------------------------------------------


def test_parameters() -> None:
    tree, warnings = sent(
        max_completion_tokens=77, stop=["END"], temperature=0.5, top_p=0.9, top_k=9, seed=7,
        presence_penalty=0.5, frequency_penalty=0.25, stream=True, logprobs=True,
        service_tier="default", store=False,
    )  # fmt: skip
    del tree["messages"]
    assert tree == {
        "stream": True, "max_tokens": 77, "stop_sequences": ["END"], "temperature": 0.5,
        "p": 0.9, "k": 9, "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.25,
        "logprobs": True,
    }  # fmt: skip
    assert warnings == ()


def test_what_is_out_of_range_is_said() -> None:
    tree, warnings = sent(
        temperature=1.5, top_p=0.0, top_k=900, seed=-1, presence_penalty=-0.5,
        frequency_penalty=1.5, service_tier="flex", user="u", verbosity="low",
    )  # fmt: skip
    assert tree == {
        "messages": [USER], "stream": False, "temperature": 1.0, "p": 0.01, "k": 500,
    }  # fmt: skip
    assert set(warnings) == {
        "temperature (above 1: 1 was sent)",
        "top_p (0.01 was sent)",
        "top_k (500 was sent)",
        "seed (Cohere's are from 0 to 2^64)",
        "presence_penalty (Cohere's are from 0 to 1)",
        "frequency_penalty (Cohere's are from 0 to 1)",
        "service_tier",
        "user",
        "verbosity",
    }
    assert "p" not in sent(top_p=1)[0]


@pytest.mark.parametrize(
    ("fields", "expected", "warned"),
    [
        ({"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 1024}, ()),
        ({"reasoning_effort": "odd"}, {"type": "enabled"}, ("reasoning_effort",)),
        ({"reasoning_effort": "none"}, {"type": "disabled"}, ()),
        ({"reasoning": {"enabled": False}}, {"type": "disabled"}, ()),
        ({"reasoning": {"enabled": True}}, {"type": "enabled"}, ()),
        ({"reasoning": {"max_tokens": 99}}, {"type": "enabled", "token_budget": 99}, ()),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"type": "enabled", "token_budget": 2000},
            (),
        ),
        ({"thinking": {"type": "disabled"}}, {"type": "disabled"}, ()),
        ({}, None, ()),
    ],
)
def test_thinking(fields: dict[str, Any], expected: Any, warned: tuple[str, ...]) -> None:
    tree, warnings = sent(THINKER, **fields)
    assert (tree.get("thinking"), warnings) == (expected, warned)


def test_models_that_do_not_think() -> None:
    said = "reasoning: this model of Cohere does not think"
    for model in (MODEL, SEER, "command-r-plus-08-2024", "command-r7b-12-2024"):
        assert lacks(model, reasoning_effort="low") == said
    assert "thinking" not in sent(MODEL, reasoning_effort="none")[0]


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "n: Cohere gives one answer a request"),
        ({"logit_bias": {"1": 1}}, "logit_bias: Cohere has no logit bias"),
        (
            {"logprobs": True, "top_logprobs": 2},
            "logprobs: Cohere has none of the tokens that were not chosen (top_logprobs)",
        ),
        ({"web_search_options": {}}, "web_search: Cohere's chat searches no web"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
            "custom_tools: Cohere's tools take JSON, not free text",
        ),
        (
            {"tools": [{"type": "openrouter:web_search"}]},
            "vendor_tools: Cohere has none of another vendor's tools",
        ),
        (
            {"tools": [TIME], "parallel_tool_calls": False},
            "parallel_tool_calls: Cohere cannot be held to one call at a time",
        ),
        (
            {"messages": [{"role": "user", "content": [AUDIO]}]},
            "audio: Cohere neither hears nor speaks",
        ),
        (
            {"messages": [{"role": "user", "content": [FILE]}]},
            "files: Cohere's chat takes no files",
        ),
        (
            {"messages": [USER, CALLS, {**RESULTS[0], "content": [IMAGE]}, RESULTS[1]]},
            "vision: Cohere takes text alone as a tool's result",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "array"}}}},
            "json_schema: Cohere can be made to give objects, not 'array'",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(fields: dict[str, Any], said: str) -> None:
    assert lacks(**fields) == said
    with pytest.raises(ClientError) as error:
        level().request(body(**fields))
    assert error.value.message == said
