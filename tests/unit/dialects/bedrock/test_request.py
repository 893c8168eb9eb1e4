import json
from typing import Any

import pytest

from extproc.errors import ClientError
from tests.unit.dialects.bedrock.samples import (
    CLAUDE,
    CLAUDE_37,
    GPT,
    LLAMA,
    NOVA,
    NOVA_2,
    PROFILE,
    lacks,
    level,
    sent,
    text,
    user,
)
from tests.unit.dialects.samples import CALLS, RESULTS, TIME, USER, WEATHER, body

EVERY = (CLAUDE, CLAUDE_37, NOVA, NOVA_2, GPT, LLAMA, PROFILE)
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {
    "name": "sky",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"colour": {"type": "string"}},
        "required": ["colour"],
        "additionalProperties": False,
    },
}
FORMAT = {"type": "json_schema", "json_schema": SCHEMA}


# --- the conversation ---------------------------------------------------------------------


def test_messages_become_turns() -> None:
    tree, warnings = sent(
        messages=[
            {"role": "system", "content": "Be brief."},
            USER,
            {"role": "assistant", "content": "Grey."},
            {"role": "user", "content": [text("And"), text("tomorrow?")]},
        ]
    )
    assert tree["system"] == [{"text": "Be brief."}]
    assert tree["messages"] == [
        {"role": "user", "content": [{"text": USER["content"]}]},
        {"role": "assistant", "content": [{"text": "Grey."}]},
        {"role": "user", "content": [{"text": "And"}, {"text": "tomorrow?"}]},
    ]
    assert warnings == ()


@pytest.mark.parametrize("model", EVERY)
def test_calls_and_results(model: str) -> None:
    tree, _ = sent(model, messages=[USER, CALLS, *RESULTS], tools=[WEATHER, TIME])
    assert tree["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {
                    "toolUse": {
                        "toolUseId": "call_1",
                        "name": "get_weather",
                        "input": {"city": "Paris", "days": 1.0},
                    }
                },
                {"toolUse": {"toolUseId": "call_2", "name": "get_time", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "call_1",
                        "content": [{"text": '{"sky": "grey", "t": 11.50}'}],
                    }
                },
                {"toolResult": {"toolUseId": "call_2", "content": [{"text": "noon"}]}},
            ],
        },
    ]


def test_results_that_failed_are_empty_or_have_long_ids() -> None:
    ids = ["a" * 90, "b" * 64]
    calls = [
        {"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids
    ]
    results = [
        {"role": "tool", "tool_call_id": ids[0], "content": "no", "is_error": True},
        {"role": "tool", "tool_call_id": ids[1], "content": [text("  ")]},
    ]
    tree, _ = sent(messages=[USER, {"role": "assistant", "tool_calls": calls}, *results])
    used = [one["toolUse"]["toolUseId"] for one in tree["messages"][1]["content"]]
    found = [one["toolResult"] for one in tree["messages"][2]["content"]]
    assert [one["toolUseId"] for one in found] == used
    assert used[1] == ids[1]
    assert len(used[0]) == 64
    assert found[0]["status"] == "error"
    assert found[1]["content"] == [{"text": "."}]


def test_the_assistants_own_words_at_the_end() -> None:
    said = [USER, {"role": "assistant", "content": "The sky"}]
    assert sent(CLAUDE, messages=said)[0]["messages"][-1]["role"] == "assistant"
    assert sent(NOVA, messages=said)[0]["messages"][-1]["role"] == "assistant"
    for model in (LLAMA, GPT, "us.anthropic.claude-opus-4-6-v1:0"):
        last = sent(model, messages=said)[0]["messages"][-1]
        assert last == {"role": "user", "content": [{"text": "Continue."}]}


def test_a_model_without_instructions_gets_them_from_the_user() -> None:
    messages = [{"role": "system", "content": "Be brief."}, USER]
    tree, warnings = sent("mistral.mistral-7b-instruct-v0:2", messages=messages)
    assert "system" not in tree
    assert tree["messages"][0]["content"] == [{"text": "Be brief."}, {"text": USER["content"]}]
    assert warnings == ("system (said by the user)",)


# --- caching ------------------------------------------------------------------------------


def test_cache_points_stand_behind_what_is_marked() -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    calls = {"role": "assistant", "tool_calls": CALLS["tool_calls"][:1]}
    result = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": [{**text("grey"), "cache_control": EPHEMERAL}],
    }
    tree, warnings = sent(
        messages=[
            {"role": "system", "content": [{**text("long"), "cache_control": hour}]},
            {"role": "user", "content": [{**text("q"), "cache_control": EPHEMERAL}, text("r")]},
            calls,
            result,
        ],
        tools=[{**WEATHER, "cache_control": hour}],
    )
    long = {"cachePoint": {"type": "default", "ttl": "1h"}}
    short = {"cachePoint": {"type": "default"}}
    assert tree["toolConfig"]["tools"][1] == long
    assert tree["system"][1] == long
    assert tree["messages"][0]["content"] == [{"text": "q"}, short, {"text": "r"}]
    assert tree["messages"][2]["content"][1] == short
    assert warnings == ()


def test_the_mark_of_the_whole_request_stands_at_its_end() -> None:
    tree, _ = sent(cache_control={"type": "ephemeral", "ttl": "1h"})
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert tree["messages"][-1]["content"] == [{"text": USER["content"]}, point]


@pytest.mark.parametrize("model", [LLAMA, GPT, "anthropic.claude-3-haiku-20240307-v1:0"])
def test_models_without_a_cache_are_not_asked_for_one(model: str) -> None:
    tree, warnings = sent(
        model, messages=user({**text("q"), "cache_control": EPHEMERAL}), cache_control=EPHEMERAL
    )
    assert tree["messages"][0]["content"] == [{"text": "q"}]
    assert warnings == ("cache_control",)


def test_nova_caches_no_tools() -> None:
    tree, warnings = sent(NOVA, tools=[{**WEATHER, "cache_control": EPHEMERAL}])
    assert len(tree["toolConfig"]["tools"]) == 1
    assert warnings == ("cache_control",)


# --- parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", EVERY)
def test_parameters(model: str) -> None:
    tree, warnings = sent(
        model, max_completion_tokens=77, temperature=0.5, stop=["END"], service_tier="flex"
    )
    assert tree["inferenceConfig"] == {
        "maxTokens": 77,
        "temperature": 0.5,
        "stopSequences": ["END"],
    }
    assert tree["serviceTier"] == {"type": "flex"}
    assert warnings == ()
    paths = tree.get("additionalModelResponseFieldPaths")
    assert paths == (["/stop_sequence"] if "claude" in model else None)


def test_only_claude_is_told_a_bound() -> None:
    assert sent(CLAUDE)[0]["inferenceConfig"] == {"maxTokens": 4096}
    assert sent(NOVA)[0]["inferenceConfig"] == {}


def test_what_is_left_out_is_said() -> None:
    fields: dict[str, Any] = {"seed": 7, "presence_penalty": 0.5, "user": "u", "verbosity": "low"}
    tree, warnings = sent(NOVA, **fields, service_tier="scale", temperature=1.5)
    assert set(warnings) == {
        "seed",
        "presence_penalty",
        "user",
        "verbosity",
        "service_tier",
        "temperature (above 1: 1 was sent)",
    }
    assert set(tree) == {"messages", "inferenceConfig"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (CLAUDE, {"top_k": 9}),
        (NOVA, {"inferenceConfig": {"topK": 9}}),
        ("mistral.mistral-large-2407-v1:0", {"top_k": 9}),
        (LLAMA, None),
    ],
)
def test_top_k_is_a_field_of_the_models_own(model: str, expected: Any) -> None:
    tree, warnings = sent(model, top_k=9)
    assert tree.get("additionalModelRequestFields") == expected
    assert warnings == (() if expected else ("top_k",))


# --- tools --------------------------------------------------------------------------------


def test_tools_choice_and_strictness() -> None:
    strict = {
        "type": "function",
        "function": {"name": "f", "parameters": SCHEMA["schema"], "strict": True},
    }
    tree, warnings = sent(tools=[strict, TIME], tool_choice="auto")
    assert tree["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "f",
                    "inputSchema": {"json": SCHEMA["schema"]},
                    "strict": True,
                }
            },
            {
                "toolSpec": {
                    "name": "get_time",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                }
            },
        ],
        "toolChoice": {"auto": {}},
    }
    assert warnings == ()
    _, warnings = sent(NOVA, tools=[strict])
    assert warnings == ("tools.function.strict",)


NAMED = {"type": "function", "function": {"name": "get_time"}}


def test_a_tool_that_must_be_called() -> None:
    for model in (CLAUDE, NOVA, PROFILE):
        config = sent(model, tools=[WEATHER, TIME], tool_choice="required")[0]["toolConfig"]
        assert config["toolChoice"] == {"any": {}}
        config = sent(model, tools=[WEATHER, TIME], tool_choice=NAMED)[0]["toolConfig"]
        assert config["toolChoice"] == {"tool": {"name": "get_time"}}
    # Converse names tools to Claude and Nova alone; others have no choice but the one tool.
    mistral = "mistral.mistral-large-2407-v1:0"
    config = sent(mistral, tools=[WEATHER, TIME], tool_choice=NAMED)[0]["toolConfig"]
    assert config["toolChoice"] == {"any": {}}
    assert [one["toolSpec"]["name"] for one in config["tools"]] == ["get_time"]
    tree, warnings = sent(LLAMA, tools=[WEATHER, TIME], tool_choice=NAMED)
    assert "toolChoice" not in tree["toolConfig"]
    assert "get_time" in tree["system"][0]["text"]
    assert warnings == ("tool_choice (asked for in words)",)


def test_one_call_at_a_time() -> None:
    tree, _ = sent(tools=[WEATHER], parallel_tool_calls=False)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert tree["additionalModelRequestFields"] == {"tool_choice": choice}
    assert "toolChoice" not in tree["toolConfig"]
    said = lacks(NOVA, tools=[WEATHER], parallel_tool_calls=False)
    assert said == "parallel_tool_calls: Bedrock can hold only Claude to one call at a time"


def test_no_call_at_all() -> None:
    tree, _ = sent(tools=[WEATHER], tool_choice="none")
    assert tree["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert "toolConfig" not in sent(NOVA, tools=[WEATHER], tool_choice="none")[0]
    messages = [USER, CALLS, *RESULTS]
    said = lacks(NOVA, messages=messages, tools=[WEATHER, TIME], tool_choice="none")
    assert said == "tools: Bedrock can keep only Claude from calling a tool that was called before"


def test_calls_of_before_need_tools() -> None:
    messages = [USER, CALLS, *RESULTS]
    tree, _ = sent(messages=messages)
    assert tree["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    tree, warnings = sent(NOVA, messages=messages)
    assert len(tree["toolConfig"]["tools"]) == 2
    assert warnings == ("tools (those called before were sent, without a word against them)",)


@pytest.mark.parametrize("model", ["us.deepseek.r1-v1:0", "meta.llama3-8b-instruct-v1:0"])
def test_models_without_tools(model: str) -> None:
    assert lacks(model, tools=[WEATHER]) == "tools: this model of Bedrock calls none"


# --- JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_a_schema_is_native_where_there_is_one(model: str) -> None:
    tree, warnings = sent(model, response_format=FORMAT)
    format_ = tree["outputConfig"]["textFormat"]
    assert format_["type"] == "json_schema"
    assert json.loads(format_["structure"]["jsonSchema"]["schema"]) == SCHEMA["schema"]
    assert warnings == ()


@pytest.mark.parametrize("model", [CLAUDE_37, NOVA, PROFILE])
def test_and_a_forced_tool_elsewhere(model: str) -> None:
    for format_ in (FORMAT, {"type": "json_object"}):
        tree, warnings = sent(model, response_format=format_)
        config = tree["toolConfig"]
        name = config["tools"][0]["toolSpec"]["name"]
        if model == CLAUDE_37:
            choice = tree["additionalModelRequestFields"]["tool_choice"]
            assert choice["name"] == name
        else:
            assert config["toolChoice"] == {"tool": {"name": name}}
        assert warnings == ("response_format (by a forced tool)",)


# --- thinking -----------------------------------------------------------------------------


def test_claude_thinks_by_a_budget_or_an_effort() -> None:
    tree, _ = sent(CLAUDE_37, reasoning_effort="low", max_tokens=20_000)
    more = tree["additionalModelRequestFields"]
    assert more == {"thinking": {"type": "enabled", "budget_tokens": 4000}}
    tree, _ = sent("us.anthropic.claude-opus-4-6-v1:0", reasoning_effort="low")
    assert tree["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert tree["outputConfig"] == {"effort": "low"}


def test_nova_thinks_by_an_effort() -> None:
    tree, warnings = sent(NOVA_2, reasoning_effort="low", temperature=0.5)
    config = {"type": "enabled", "maxReasoningEffort": "low"}
    assert tree["additionalModelRequestFields"] == {"reasoningConfig": config}
    assert tree["inferenceConfig"] == {"temperature": 0.5}
    assert warnings == ()
    tree, warnings = sent(NOVA_2, reasoning_effort="high", temperature=0.5)
    assert tree["inferenceConfig"] == {}
    assert warnings == ("temperature (not with effort high)",)
    tree, warnings = sent(NOVA_2, reasoning_effort="high", max_tokens=99)
    config = {"type": "enabled", "maxReasoningEffort": "medium"}
    assert tree["additionalModelRequestFields"] == {"reasoningConfig": config}
    assert tree["inferenceConfig"] == {"maxTokens": 99}
    assert warnings == ("reasoning_effort (effort medium was sent: high takes no max_tokens)",)


def test_other_models_think_in_their_own_way() -> None:
    tree, warnings = sent(GPT, reasoning={"max_tokens": 1024})
    assert tree["additionalModelRequestFields"] == {"reasoning_effort": "low"}
    assert warnings == ("reasoning (effort low was sent)",)
    assert sent("us.deepseek.r1-v1:0", reasoning_effort="high")[1] == ()
    assert sent("qwen.qwen3-32b-v1:0", reasoning_effort="high")[1] == ("reasoning_effort",)
    assert sent(NOVA_2, reasoning_effort="none")[1] == ()
    expected = ("reasoning_effort (the model itself decides)",)
    assert sent(GPT, reasoning_effort="none")[1] == expected
    said = "reasoning: this model of Bedrock does not think"
    assert lacks(NOVA, reasoning_effort="low") == said
    assert lacks("anthropic.claude-3-haiku-20240307-v1:0", reasoning_effort="low") == said


def thought(format_: str) -> list[dict[str, Any]]:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": format_},
        {"type": "reasoning.encrypted", "data": "eHh4", "format": format_},
    ]
    said = {"role": "assistant", "content": "Grey.", "reasoning_details": details}
    return [USER, said, {"role": "user", "content": "Sure?"}]


@pytest.mark.parametrize(
    ("model", "format_", "kept"),
    [
        (CLAUDE, "anthropic-claude-v1", True),
        (CLAUDE, "aws-bedrock-v1", False),
        (NOVA_2, "aws-bedrock-v1", True),
        (NOVA_2, "anthropic-claude-v1", False),
        (GPT, "google-gemini-v1", False),
    ],
)
def test_thinking_goes_back_to_who_thought_it(model: str, format_: str, *, kept: bool) -> None:
    found = level(model).request(body(messages=thought(format_), reasoning_effort="low"))
    content = json.loads(found.body)["messages"][1]["content"]
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eHh4"}},
    ]
    assert content == [*(blocks if kept else ()), {"text": "Grey."}]


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"logit_bias": {"1": 1}},
        {"web_search_options": {}},
        {"tools": [{"type": "custom", "custom": {"name": "sql"}}]},
        {"tools": [{"type": "openrouter:web_search"}]},
        {"stop": [" \n"]},
        {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "x"}},
        {"messages": [USER, {"role": "assistant", "audio": {"id": "a"}}, USER]},
        {"messages": user({"type": "file", "file": {"file_id": "f"}})},
        {"messages": user({"type": "image_url", "image_url": {"url": "https://e.com/a.png"}})},
    ],
)
@pytest.mark.parametrize("model", [CLAUDE, NOVA])
def test_what_is_refused_names_bedrock_and_is_not_written(
    model: str, fields: dict[str, Any]
) -> None:
    given = body(**fields)
    said = level(model).lacks(given)
    assert said is not None
    assert "Bedrock" in said
    assert "Anthropic" not in said
    with pytest.raises(ClientError) as error:
        level(model).request(given)
    assert error.value.message == said
