"""Turns: what was said stays in order as far as chat messages can keep it, and none is lost."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.chat import decode
from extproc.dialects.clients.messages import thoughts
from tests.unit.dialects.clients.messages.driver import (
    CACHED,
    CLAUDE,
    GEMINI,
    assistant,
    body,
    chat,
    decoded,
    refused,
    text,
    user,
)


def plain(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The chat messages, as an OpenAI body has them."""
    request = chat(*messages, **fields)
    encoded = msgspec.json.encode(request)
    assert msgspec.json.encode(decode(encoded)) == encoded
    found: list[dict[str, Any]] = json.loads(encoded)["messages"]
    return found


def result(id_: str, content: Any = ..., **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": id_, "content": content, **more}
    return {name: one for name, one in block.items() if one is not ...}


def use(id_: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {}, **more}


def test_text_of_every_side() -> None:
    assert plain(
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        user(text("You?")),
        assistant(text("Fine, "), text("thanks.")),
        {"role": "user", "content": "Good."},
        system="Be brief.",
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "You?"},
        {"role": "assistant", "content": "Fine, thanks."},
        {"role": "user", "content": "Good."},
    ]


def test_marks_for_the_cache_stay_where_they_are() -> None:
    assert plain(
        user(text("Long.", cache_control=CACHED), text("Short.")),
        assistant(text("Yes.", cache_control=CACHED), use("t1", cache_control=CACHED)),
        user(result("t1", "x", cache_control=CACHED)),
        system=[text("Be brief."), text("Be kind.", cache_control=CACHED)],
    ) == [
        {
            "role": "system",
            "content": [text("Be brief."), text("Be kind.", cache_control=CACHED)],
        },
        {"role": "user", "content": [text("Long.", cache_control=CACHED), text("Short.")]},
        {
            "role": "assistant",
            "content": [text("Yes.", cache_control=CACHED)],
            "tool_calls": [
                {
                    "type": "function",
                    "id": "t1",
                    "function": {"name": "f", "arguments": "{}"},
                    "cache_control": CACHED,
                }
            ],
        },
        {"role": "tool", "content": "x", "tool_call_id": "t1", "cache_control": CACHED},
    ]


def test_results_come_first_in_a_turn() -> None:
    messages = plain(
        user(text("Go.")),
        assistant(text("I will."), use("t1"), use("t2")),
        user(text("Here:"), result("t1", "one"), result("t2", [text("two")], is_error=True)),
    )
    assert messages[2:] == [
        {"role": "tool", "content": "one", "tool_call_id": "t1"},
        {"role": "tool", "content": "two", "tool_call_id": "t2", "is_error": True},
        {"role": "user", "content": "Here:"},
    ]


def test_messages_of_one_side_are_one_turn() -> None:
    messages = plain(
        user(text("Go.")),
        assistant(use("t1")),
        assistant(use("t2")),
        user(result("t1", "one"), text("And")),
        user(result("t2", "two")),
    )
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [one["id"] for one in messages[1]["tool_calls"]] == ["t1", "t2"]


def test_results_may_hold_images_documents_or_nothing() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    messages = plain(
        assistant(use("t1"), use("t2")),
        user(result("t1", [text("a"), image, {"type": "document", "source": pdf}]), result("t2")),
    )
    assert [part["type"] for part in messages[1]["content"]] == ["text", "image_url", "file"]
    assert messages[2]["content"] == ""


def test_arguments_keep_their_digits() -> None:
    given = body(assistant(use("t1"))).replace(b'"input": {}', b'"input": {"a": 1.50, "b": [ ]}')
    call = json.loads(msgspec.json.encode(_chat_of(given)))["messages"][0]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"a":1.50,"b":[]}'


def _chat_of(given: bytes) -> Any:
    from tests.unit.dialects.clients.messages.driver import FORMAT  # noqa: PLC0415 - used once

    FORMAT.parse(given)
    return FORMAT.decode(given).chat


# --- thinking -----------------------------------------------------------------------------


def test_claudes_thinking() -> None:
    message: Any = chat(
        assistant(
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "c2Vj"},
            text("Paris."),
        )
    ).messages[0]
    assert message.reasoning_content == "Hm."
    assert [one.format for one in message.reasoning_details] == [CLAUDE, CLAUDE]
    assert message.reasoning_details[0].signature == "c2ln"
    assert message.reasoning_details[1].data == "c2Vj"


def test_thinking_alone_is_a_turn() -> None:
    (message,) = plain(assistant({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}))
    assert message["content"] == ""
    assert message["reasoning_content"] == "Hm."


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
@pytest.mark.parametrize("end", ["!", "e30", "bm8=", "W10="])
def test_a_seal_that_was_changed_is_refused(kind: str, end: str) -> None:
    content = thoughts.seal([GEMINI])[:11] + end
    block = {"type": kind, "thinking": "x", "signature": content, "data": content}
    name = "signature" if kind == "thinking" else "data"
    assert refused(body(assistant(text("x"), block))) == (
        f"messages.0.content.1.{name}: Invalid `signature` in `thinking` block"
    )


def test_web_searches_of_claude_go_along_for_claude() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    request = decoded(assistant(search, found, text("Paris.", citations=[])))
    assert request.native_only is None
    assert request.chat is not None
    message: Any = request.chat.messages[0]
    assert [json.loads(one.data) for one in message.reasoning_details] == [search, found]
    assert message.content == "Paris."


# --- instructions between turns -----------------------------------------------------------


def test_instructions_between_turns() -> None:
    said = {"role": "system", "content": [text("Now in French.")]}
    gone = {"role": "system", "content": "Shout.", "clear_at": "next_user_message"}
    hi = {"role": "user", "content": "Hi"}
    request = decoded(hi, gone, {"role": "assistant", "content": "HELLO"}, hi, said, gone)
    assert request.chat is not None
    assert [(type(one).__name__, one.content) for one in request.chat.messages] == [
        ("UserMessage", "Hi"),
        ("AssistantMessage", "HELLO"),
        ("UserMessage", "Hi"),
        ("SystemMessage", "Now in French."),
        ("SystemMessage", "Shout."),
    ]


def test_effort_for_a_turn_is_dropped() -> None:
    hi = {"role": "user", "content": "Hi"}
    request = decoded(hi, {"role": "system", "output_config": {"effort": "low"}})
    assert request.dropped == ("messages.output_config",)


# --- what only native targets know --------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "compaction", "content": "Earlier: …"},
        {"type": "mcp_tool_use", "id": "m1", "name": "n", "server_name": "s", "input": {}},
        {"type": "code_execution_tool_result", "tool_use_id": "s1", "content": {}},
        {"type": "server_tool_use", "id": "s1", "name": "code_execution", "input": {}},
        {"type": "advisor_tool_result", "tool_use_id": "s1", "content": {}},
        use("t1", toolset_name="browser"),
        {"type": "image", "source": {"type": "url", "url": "https://x"}},
    ],
)
def test_blocks_that_only_native_targets_know(block: dict[str, Any]) -> None:
    request = decoded(assistant(block))
    assert request.native_only is not None
    assert request.native_only.startswith(
        "hosted_items: only a target that speaks the Messages API "
    )
    assert "hosted_items" in request.uses


def test_blocks_that_only_native_targets_know_in_a_result() -> None:
    block = result("t1", [{"type": "tool_reference", "tool_name": "f"}])
    assert (decoded(user(block)).native_only or "").startswith("hosted_items: ")


def test_tools_that_come_and_go_are_for_native_targets() -> None:
    change = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}
    request = decoded({"role": "user", "content": "x"}, {"role": "system", "content": [change]})
    assert (request.native_only or "").endswith("knows what a tool_removal is")


def test_how_an_answer_came_about_is_dropped() -> None:
    request = decoded(assistant({"type": "fallback", "from": {}, "to": {}}, text("x")))
    assert request.dropped == ("messages (fallback blocks)",)
    assert request.native_only is None


# --- whatever stands in a conversation ----------------------------------------------------

WORDS = st.text(min_size=1, max_size=6)
BLOCKS = st.one_of(
    st.builds(text, WORDS),
    st.builds(use, st.sampled_from(["t1", "t2"])),
    st.builds(result, st.sampled_from(["t1", "t2"]), WORDS),
    st.just({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}),
    st.just({"type": "image", "source": {"type": "url", "url": "https://x"}}),
)
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        st.one_of(WORDS, st.lists(BLOCKS, min_size=1, max_size=4)),
    ),
    min_size=1,
    max_size=5,
)


@given(MESSAGES)
def test_what_is_read_can_be_said_to_openai(messages: list[dict[str, Any]]) -> None:
    request = decoded(*messages)
    assert request.chat is not None
    if request.native_only is None and request.chat.messages:
        encoded = msgspec.json.encode(request.chat)
        assert msgspec.json.encode(decode(encoded)) == encoded
