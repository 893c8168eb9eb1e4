import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import Usage, estimate_answer, read_answer
from extproc.catalogue import NEED

CHAT = {
    "content": "x" * 4,
    "reasoning_content": "x" * 4,
    "tool_calls": [{"function": {"name": "xx", "arguments": "xx"}}],
}
RESPONSE = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x" * 4}]},
    {"type": "function_call", "name": "xx", "arguments": "xx"},
    {"type": "message", "content": [{"type": "output_text", "text": "x" * 4}]},
]
MESSAGE = [
    {"type": "thinking", "thinking": "x" * 4, "signature": "s" * 100},
    {"type": "tool_use", "name": "x", "input": {"q": 1}},
    {"type": "text", "text": ""},
]


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("format_", "answer"),
    [
        ("chat", {"choices": [{"message": CHAT}]}),
        (
            "chat",
            {"choices": [{"message": {"content": "x" * 6}}, {"message": {"refusal": "x" * 6}}]},
        ),
        ("completions", {"choices": [{"text": "x" * 5}, {"text": "x" * 7}]}),
        ("responses", {"output": RESPONSE}),
        ("messages", {"content": MESSAGE}),
    ],
)
def test_all_that_the_model_produced_is_estimated(format_: str, answer: dict[str, Any]) -> None:
    assert estimate_answer(body(**answer), format_, 7) == Usage(7, 3, estimated=True)


def test_a_character_that_is_not_ascii_counts_one_token() -> None:
    answer = body(choices=[{"message": {"content": "日本"}}])
    assert estimate_answer(answer, "chat", 0) == Usage(0, 2, estimated=True)


def test_embeddings_have_no_output() -> None:
    answer = body(data=[{"embedding": [0.1, 0.2]}])
    assert estimate_answer(answer, "embeddings", 9) == Usage(9, 0, estimated=True)


def test_counting_is_free_even_without_a_count() -> None:
    assert estimate_answer(b"{}", "count_tokens", 9) == Usage(0, 0)


@pytest.mark.parametrize("format_", ["chat", "completions", "responses", "messages", "embeddings"])
@pytest.mark.parametrize(
    "strange",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"choices": 3, "output": 3, "content": 3}',
        b'{"choices": [3], "output": [3], "content": [3]}',
        b'{"choices": [{"message": 3, "text": 3}], "output": [{"content": 3}]}',
        b'{"choices": [{"message": {"tool_calls": [3], "audio": 3, "content": 3}}]}',
    ],
)
def test_what_cannot_be_read_is_estimated_by_its_input(format_: str, strange: bytes) -> None:
    assert read_answer(strange, format_) == (None, None)
    assert estimate_answer(strange, format_, 9) == Usage(9, 0, estimated=True)


names = st.sampled_from(
    [
        "choices",
        "message",
        "text",
        "content",
        "refusal",
        "reasoning",
        "tool_calls",
        "function",
        "function_call",
        "name",
        "arguments",
        "input",
        "audio",
        "transcript",
        "output",
        "summary",
        "thinking",
        "type",
        "x_groq",
        "usage",
    ]
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, trees), st.sampled_from(sorted(NEED)))
def test_no_answer_can_stop_its_settlement(answer: dict[str, Any], format_: str) -> None:
    sent = json.dumps(answer).encode()
    read_answer(sent, format_)
    found = estimate_answer(sent, format_, 9)
    assert found.estimated is (format_ != "count_tokens")
    assert 0 <= found.output <= len(sent)


@pytest.mark.parametrize("depth", [100, 500, 900, 980, 1000, 5000])
def test_a_deeply_nested_call_cannot_stop_it(depth: int) -> None:
    nested = b'{"content": [{"type": "tool_use", "input": ' + b"[" * depth + b"]" * depth + b"}]}"
    assert estimate_answer(nested, "messages", 9).input == 9
