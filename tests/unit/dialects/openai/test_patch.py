import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.openai import OpenAI
from extproc.dialects.openai.patch import patched
from tests.unit.dialects.level import Level


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + (
        b"data: [DONE]\n\n"
    )


def chunk(delta: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "provider": "X", "choices": [{"index": 0, "delta": delta}]}


OPENROUTER = sse(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]}),
    chunk({"content": "Four."}),
)
PARTS = [
    {"type": "thinking", "thinking": [{"text": "2 + "}, {"type": "text", "text": "2"}]},
    {"type": "text", "text": "Four."},
]  # fmt: skip


def events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(one[6:]) for one in stream.split(b"\n\n") if one.startswith(b"data: {")]


def test_thinking_is_where_clients_look_for_it() -> None:
    reader = Level(OpenAI(), server="openrouter").stream()
    made = events(reader.feed(OPENROUTER) + reader.end())
    before = events(OPENROUTER)
    assert made[0] == before[0]
    assert made[2] == before[2]
    delta = made[1]["choices"][0]["delta"]
    assert delta == {**before[1]["choices"][0]["delta"], "reasoning_content": "hm"}
    assert reader.finished
    assert reader.content


def test_content_of_parts_becomes_text() -> None:
    made = json.loads(patched(json.dumps({"choices": [{"message": {"content": PARTS}}]}).encode()))
    message = made["choices"][0]["message"]
    assert message == {"content": "Four.", "reasoning_content": "2 + 2"}


def test_what_has_no_thinking_keeps_its_bytes() -> None:
    body = b'{"choices": [{"message": {"content": "a"}}], "x": 1.0}'
    assert patched(body) is body
    assert patched(b'"reasoning" {') == b'"reasoning" {'


def test_an_error_in_the_stream_is_seen_and_not_passed() -> None:
    reader = Level(OpenAI(), server="groq").stream()
    out = reader.feed(b'data: {"error":{"message":"no","type":"invalid_request_error"}}\n\n')
    assert out == b""
    assert reader.failure is not None
    assert reader.failure.message == "no"


@given(st.lists(st.integers(0, len(OPENROUTER)), max_size=6))
def test_any_cutting_gives_the_same(cuts: list[int]) -> None:
    whole = Level(OpenAI(), server="openrouter").stream()
    expected = whole.feed(OPENROUTER) + whole.end()
    reader = Level(OpenAI(), server="openrouter").stream()
    places = [0, *sorted(cuts), len(OPENROUTER)]
    out = b"".join(reader.feed(OPENROUTER[a:b]) for a, b in itertools.pairwise(places))
    assert out + reader.end() == expected
