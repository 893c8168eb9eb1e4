import json
from typing import Any

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from extproc.dialects.chat import ChatRequest, decode
from extproc.dialects.openai import OpenAI
from extproc.dialects.openai.request import effort_of, written
from extproc.dialects.openai.servers import server_of
from tests.unit.dialects.level import FORMATS, Level, policy

USER = {"role": "user", "content": "hi"}
THOUGHT = {
    "role": "assistant",
    "content": "Four.",
    "reasoning_content": "2 + 2",
    "reasoning_details": [{"type": "reasoning.text", "text": "2 + 2", "signature": "s"}],
}
CALLED = {
    "role": "assistant",
    "tool_calls": [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "x"}},
        }
    ],
}
RESULT = {
    "role": "tool",
    "tool_call_id": "a",
    "is_error": True,
    "content": [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ],
}


def body(*messages: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": messages or (USER,), **fields}).encode()


def passed(server: str | None, given: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    wire = Level(OpenAI(), server=server).request(given)
    return json.loads(wire.body), wire.warnings


def test_openai_does_not_get_what_it_would_refuse_in_a_turn() -> None:
    made, _ = passed("openai", body(USER, THOUGHT, CALLED, RESULT))
    assert made["messages"][1] == {"role": "assistant", "content": "Four."}
    assert "extra_content" not in made["messages"][2]["tool_calls"][0]
    assert "is_error" not in made["messages"][3]


def test_a_server_that_wants_its_thinking_back_gets_it() -> None:
    assert passed("openrouter", body(USER, THOUGHT, USER))[0]["messages"][1] == THOUGHT
    assert passed("deepseek", body(USER, THOUGHT, USER))[0]["messages"][1] == THOUGHT
    assert passed(None, body(USER, THOUGHT, USER))[0]["messages"][1] == THOUGHT


@pytest.mark.parametrize(
    ("server", "given", "found", "warned"),
    [
        ("openai", {"thinking": {"type": "enabled", "budget_tokens": 1500}},
         {"reasoning_effort": "low"}, ()),
        ("openai", {"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}, ()),
        ("openai", {"thinking": {"type": "disabled"}}, {}, ()),
        ("openai", {"top_k": 5}, {}, ("top_k",)),
        ("openai", {"thinking": {"type": "adaptive"}}, {}, ("thinking (left to the model)",)),
        ("openai", {"max_tokens": 5}, {"max_tokens": 5}, ()),
        ("vllm", {"top_k": 5}, {"top_k": 5}, ()),
        ("openrouter", {"thinking": {"type": "enabled", "budget_tokens": 1500}},
         {"reasoning": {"max_tokens": 1500}}, ()),
        ("openrouter", {"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}, ()),
        ("deepseek", {"reasoning": {"effort": "low"}}, {"thinking": {"type": "enabled"}}, ()),
        ("mistral", {"seed": 7}, {"random_seed": 7}, ()),
        ("mistral", {"user": "u"}, {}, ("user",)),
        ("mistral", {"reasoning": {"effort": "low"}}, {}, ("reasoning",)),
        ("mistral", {"stream": True, "stream_options": {"include_usage": True}},
         {"stream": True}, ()),
        ("groq", {"store": False, "temperature": 0.5}, {"temperature": 0.5}, ("store",)),
    ],
)  # fmt: skip
def test_parameters_are_said_as_the_server_knows_them(
    server: str, given: dict[str, Any], found: dict[str, Any], warned: tuple[str, ...]
) -> None:
    made, warnings = passed(server, body(**given))
    assert {**made, "model": "m"} == {"model": "m", "messages": [USER], **found}
    assert warnings == warned


def test_a_role_that_a_server_does_not_know() -> None:
    made, _ = passed("mistral", body({"role": "developer", "content": "Be brief."}, USER))
    assert made["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("model", ["gpt-5.2", "o3", "gpt-5-mini-2025-08-07"])
def test_a_newer_model_gets_its_own_word_for_the_bound(model: str) -> None:
    level = Level(OpenAI(), server="openai", model=model)
    made = json.loads(level.request(body(max_tokens=5)).body)
    assert made == {"model": model, "messages": [USER], "max_completion_tokens": 5}


@pytest.mark.parametrize(
    ("given", "dropped"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, ("temperature", "top_p")),
        (
            {"presence_penalty": 1, "frequency_penalty": -1},
            ("presence_penalty", "frequency_penalty"),
        ),
        ({"temperature": 1, "presence_penalty": 0}, ()),
        ({"temperature": 0.5, "reasoning_effort": "none"}, ()),
    ],
)
def test_a_model_that_thinks_takes_no_sampling(
    given: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    wire = Level(OpenAI(), server="openai", model="gpt-5.2").request(body(**given))
    assert wire.warnings == dropped
    assert set(json.loads(wire.body)) == {"model", "messages", *given} - set(dropped)
    assert OpenAI().droppable(policy(server="openai", model="gpt-5.2")) == {"penalties"}


def test_a_model_that_may_think_is_asked_as_it_knows_it() -> None:
    thinking = {"thinking": {"type": "adaptive"}, "reasoning": {"effort": "low"}}
    level = Level(OpenAI(), server="openai", model="gpt-5.2")
    assert json.loads(level.request(body(**thinking)).body)["reasoning_effort"] == "low"
    assert "reasoning" not in FORMATS["chat"].parse(body(**thinking)).uses


def test_more_stop_sequences_than_a_server_takes() -> None:
    message = {"role": "user", "content": "x"}
    given = {"model": "m", "max_tokens": 9, "messages": [message], "stop_sequences": list("abcde")}
    level = Level(OpenAI(), "messages", server="openai")
    refusal = "stop: this server takes at most 4 stop sequences"
    assert level.lacks(json.dumps(given).encode()) == refusal


def test_numbers_and_unknown_fields_survive_a_change() -> None:
    given = b'{"model":"a","messages":[{"role":"user","content":"x"}],"top_k":3,"y":1e2,"z":1.0}'
    made = Level(OpenAI(), server="openai").request(given).body
    assert b'"y":1e2,"z":1.0' in made


@pytest.mark.parametrize(
    ("server", "given", "refusal"),
    [
        ("openai", {"stop": ["a"] * 4}, None),
        ("groq", {"logprobs": True}, "logprobs: Groq has no log probabilities"),
        ("deepseek", {"n": 2}, "n: DeepSeek gives one answer a request"),
        ("openai", {"logprobs": True, "n": 2}, None),
    ],
)
def test_what_a_server_lacks_is_refused(
    server: str, given: dict[str, Any], refusal: str | None
) -> None:
    assert Level(OpenAI(), server=server).lacks(body(**given)) == refusal


@pytest.mark.parametrize(
    ("server", "given", "ready"),
    [
        ("openai", body(), True),
        ("openai", body(USER, THOUGHT, USER), False),
        ("openai", body(top_k=3), False),
        (None, body(USER, THOUGHT, USER), True),
        ("mistral", body(), False),
        ("openrouter", body(), False),
    ],
)
def test_a_body_is_ready_when_nothing_but_the_model_changes(
    server: str | None, given: bytes, ready: bool
) -> None:
    request = FORMATS["chat"].parse(given)
    assert OpenAI().ready(request, policy(server=server)) is ready


# --- written anew -------------------------------------------------------------------------

PARAMS: TypeAdapter[Any] = TypeAdapter(
    CompletionCreateParamsNonStreaming | CompletionCreateParamsStreaming
)


def anew(server: str | None, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    chat: ChatRequest = decode(body(*messages, **fields))
    made: dict[str, Any] = json.loads(written(chat, "gpt-x", server_of(server))[0])
    PARAMS.validate_python(made)
    return made


def test_written_for_openai() -> None:
    made = anew(
        "openai",
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": {}}]},
        USER,
        THOUGHT,
        CALLED,
        RESULT,
        max_tokens=5,
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 5000},
        tools=[{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "x"}}],
        metadata={"a": "b"},
    )
    assert made["model"] == "gpt-x"
    assert made["max_completion_tokens"] == 5
    assert "max_tokens" not in made
    assert made["reasoning_effort"] == "medium"
    assert made["stream_options"] == {"include_usage": True}
    assert "metadata" not in made
    text = json.dumps(made)
    for word in ("cache_control", "reasoning_content", "signature", "is_error"):
        assert word not in text


def test_images_of_a_result_come_behind_all_results() -> None:
    more = {"role": "tool", "tool_call_id": "b", "content": "x"}
    roles = [one["role"] for one in anew("openai", USER, CALLED, RESULT, more, USER)["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "user"]
    last = anew("openai", USER, CALLED, RESULT)["messages"][-1]
    assert [part["type"] for part in last["content"]] == ["text", "image_url"]
    assert "a" in last["content"][0]["text"]


@pytest.mark.parametrize(
    ("given", "effort"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, "none"),
        ({"reasoning": {"max_tokens": 9000}}, "high"),
        ({"reasoning": {"enabled": True}}, "medium"),
        ({"thinking": {"type": "adaptive"}}, "medium"),
        ({"thinking": {"type": "disabled"}}, None),
        ({"reasoning": {"enabled": False}}, None),
    ],
)
def test_effort_however_it_is_asked_for(given: dict[str, Any], effort: str | None) -> None:
    assert effort_of(decode(body(**given))) == effort
