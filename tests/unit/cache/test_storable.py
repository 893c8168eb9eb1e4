"""What is never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.cache.rules import Rules, rules
from extproc.cache.storable import Unfit, unfit_answer, unfit_request
from extproc.policy import CachePolicy

Tree = dict[str, Any]


def made(**more: Any) -> Rules:
    found = rules(None, CachePolicy(mode="exact", **more))
    assert found is not None
    return found


RULES = made()


def judged(tree: Any, format_: str, found: Rules = RULES) -> Unfit | None:
    return unfit_answer(tree, format_, found)


def chat(finish: str | None = "stop", **message: Any) -> Tree:
    said = {"role": "assistant", "content": "Paris.", "refusal": None, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}


def message(stop: str | None = "end_turn", *blocks: Tree) -> Tree:
    return {
        "type": "message",
        "content": list(blocks) or [{"type": "text", "text": "Paris."}],
        "stop_reason": stop,
    }


def response(status: str = "completed", *items: Tree, **more: Any) -> Tree:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Paris."}]}
    return {"status": status, "output": list(items) or [said], **more}


CALL = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("format_", "given", "why"),
    [
        ("chat", {}, None),
        ("chat", {"temperature": 1.0, "n": 1}, None),
        ("chat", {"temperature": 1.2}, Unfit.TEMPERATURE),
        ("chat", {"n": 2}, Unfit.SEVERAL),
        ("messages", {"n": "two"}, None),
        ("responses", {"n": [2]}, None),
        ("completions", {"prompt": ["a", "b"]}, Unfit.SEVERAL),
        ("completions", {"prompt": [1, 2]}, None),
        ("completions", {"prompt": [[1], [2]]}, Unfit.SEVERAL),
        ("responses", {"background": True}, Unfit.STATEFUL),
        ("responses", {"conversation": "conv_1"}, Unfit.STATEFUL),
        ("responses", {"previous_response_id": "resp_1"}, None),
        ("messages", {"container": "c_1"}, Unfit.STATEFUL),
        ("messages", {"thread": {"type": "create"}}, Unfit.STATEFUL),
        ("embeddings", {"input": ["a", "b"]}, None),
        ("count_tokens", {}, Unfit.FORMAT),
    ],
)
def test_requests(format_: str, given: Tree, why: Unfit | None) -> None:
    assert unfit_request(given, format_, RULES) is why


def test_a_request_without_a_temperature_has_its_apis_default() -> None:
    cold = made(temperature_max=0.5)
    assert unfit_request({}, "chat", cold) is Unfit.TEMPERATURE
    assert unfit_request({"temperature": None}, "chat", cold) is Unfit.TEMPERATURE
    assert unfit_request({"temperature": 0}, "chat", cold) is None
    assert unfit_request({}, "embeddings", cold) is None


@pytest.mark.parametrize(
    ("format_", "tree", "why"),
    [
        ("chat", chat(), None),
        ("chat", chat("length"), Unfit.TRUNCATED),
        ("chat", chat("content_filter"), Unfit.REFUSED),
        ("chat", chat(None), Unfit.ABORTED),
        ("chat", chat("strange"), Unfit.ABORTED),
        ("chat", chat(refusal="No."), Unfit.REFUSED),
        ("chat", chat("tool_calls", content=None, tool_calls=CALL), Unfit.TOOL_CALLS),
        ("chat", chat("stop", tool_calls=CALL), Unfit.TOOL_CALLS),
        ("chat", chat(content=""), Unfit.EMPTY),
        ("chat", {"choices": [*chat()["choices"], *chat()["choices"]]}, Unfit.SEVERAL),
        ("chat", {"choices": []}, Unfit.UNREADABLE),
        ("chat", {"choices": [1]}, Unfit.UNREADABLE),
        ("chat", {"error": {"message": "no"}}, Unfit.STATUS),
        ("chat", None, Unfit.UNREADABLE),
        ("chat", [], Unfit.UNREADABLE),
        ("completions", {"choices": [{"text": "a", "finish_reason": "stop"}]}, None),
        ("completions", {"choices": [{"text": "", "finish_reason": "stop"}]}, Unfit.EMPTY),
        ("completions", {"choices": [{"text": "a", "finish_reason": "length"}]}, Unfit.TRUNCATED),
        ("messages", message(), None),
        ("messages", message("stop_sequence"), None),
        ("messages", message("max_tokens"), Unfit.TRUNCATED),
        ("messages", message("model_context_window_exceeded"), Unfit.TRUNCATED),
        ("messages", message("pause_turn"), Unfit.TRUNCATED),
        ("messages", message("refusal"), Unfit.REFUSED),
        ("messages", message(None), Unfit.ABORTED),
        ("messages", message("tool_use", {"type": "tool_use", "input": {}}), Unfit.TOOL_CALLS),
        ("messages", message("end_turn", {"type": "thinking", "thinking": "So"}), Unfit.EMPTY),
        ("responses", response(), None),
        ("responses", response("incomplete"), Unfit.TRUNCATED),
        (
            "responses",
            response("incomplete", incomplete_details={"reason": "content_filter"}),
            Unfit.REFUSED,
        ),
        ("responses", response("failed"), Unfit.ABORTED),
        ("responses", response("in_progress"), Unfit.ABORTED),
        ("responses", response("completed", {"type": "function_call"}), Unfit.TOOL_CALLS),
        ("responses", response("completed", {"type": "web_search_call"}), Unfit.TOOL_CALLS),
        ("responses", response("completed", {"type": "reasoning"}), Unfit.EMPTY),
        (
            "responses",
            response("completed", {"type": "message", "content": [{"type": "refusal"}]}),
            Unfit.REFUSED,
        ),
        ("embeddings", {"data": [{"embedding": [0.1]}]}, None),
        ("embeddings", {"data": []}, Unfit.EMPTY),
        ("embeddings", {"data": [{}]}, Unfit.UNREADABLE),
        ("count_tokens", {"input_tokens": 3}, Unfit.FORMAT),
    ],
)
def test_answers(format_: str, tree: Any, why: Unfit | None) -> None:
    assert judged(tree, format_) is why


@pytest.mark.parametrize("strange", [[], {}, 7, True])
def test_what_is_not_of_its_type_is_not_kept(strange: Any) -> None:
    assert judged(chat(strange), "chat") is Unfit.ABORTED
    ended = {"choices": [{"text": "a", "finish_reason": strange}]}
    assert judged(ended, "completions") is Unfit.ABORTED
    assert judged(message(strange), "messages") is Unfit.ABORTED
    assert judged({**response(), "status": strange}, "responses") is Unfit.ABORTED


@pytest.mark.parametrize("strange", [[1], 7, True])
@pytest.mark.parametrize(
    ("format_", "shape"),
    [
        ("chat", lambda one: {"choices": one}),
        ("chat", lambda one: {"choices": [{"message": one, "finish_reason": "stop"}]}),
        ("chat", lambda one: chat(tool_calls=[one])),
        ("chat", lambda one: chat(tool_calls=[{"type": one}])),
        ("chat", lambda one: chat(function_call=one)),
        ("chat", lambda one: chat(function_call={"arguments": one})),
        ("completions", lambda one: {"choices": [{"text": one, "finish_reason": "stop"}]}),
        ("messages", lambda one: {**message(), "content": one}),
        ("messages", lambda one: message("end_turn", one)),
        ("messages", lambda one: message("end_turn", {"type": one})),
        ("messages", lambda one: message("end_turn", {"type": "text", "text": one})),
        ("messages", lambda one: {**message(), "usage": [one]}),
        ("responses", lambda one: {"status": "completed", "output": one}),
        ("responses", lambda one: response("completed", one)),
        ("responses", lambda one: response("completed", {"type": one})),
        ("responses", lambda one: response("completed", {"type": "message", "content": [one]})),
        ("responses", lambda one: response("completed", {"type": "reasoning", "summary": [one]})),
        ("responses", lambda one: response("completed", {"type": "message", "summary": [one]})),
    ],
)
def test_what_cannot_be_streamed_again_is_not_kept(
    format_: str, shape: Callable[[Any], Tree], strange: Any
) -> None:
    assert judged(shape(strange), format_, made(tool_calls=True)) is Unfit.UNREADABLE


def test_calls_of_tools_are_kept_where_the_route_says_so_but_not_what_was_cut() -> None:
    calls = made(tool_calls=True)
    assert judged(chat("tool_calls", content=None, tool_calls=CALL), "chat", calls) is None
    assert judged(chat("length", tool_calls=CALL), "chat", calls) is Unfit.TRUNCATED
    block = {"type": "tool_use", "input": {}}
    assert judged(message("max_tokens", block), "messages", calls) is Unfit.TRUNCATED
    assert judged(message("tool_use", block), "messages", calls) is None
    cut = response("incomplete", {"type": "function_call"})
    assert judged(cut, "responses", calls) is Unfit.TRUNCATED
