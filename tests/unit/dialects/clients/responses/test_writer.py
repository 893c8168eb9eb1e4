from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from extproc.dialects.chat.completion import ReasoningDetail, Writer
from extproc.dialects.clients.responses.sealed import unseal
from extproc.errors import ClientError
from tests.unit.dialects.clients.responses.driver import (
    FORMAT,
    SQL,
    USAGE,
    WEATHER,
    accumulated,
    call,
    client,
    ended,
    events,
    final,
    lit,
    stream,
    writer,
)


def types(out: bytes) -> list[str]:
    return [one.type.removeprefix("response.") for one in events(out)]


def test_text() -> None:
    out = stream(lambda w: [w.text(lit("Grey, ")), w.text(lit('with "é" \n')), *ended(w)])
    assert types(out) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = final(out)
    assert response.output_text == 'Grey, with "é" \n'
    assert response.id == "resp_a1"
    assert response.usage is not None
    assert response.usage.to_dict() == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 27,
    }
    assert accumulated(out).output_text == response.output_text
    assert b"[DONE]" not in out


class City(BaseModel):
    city: str


def test_structured_output_is_parsed_by_the_sdk() -> None:
    out = stream(lambda w: [w.text(lit('{"city":')), w.text(lit('"Paris"}')), *ended(w)])
    with client(out).responses.stream(model="m", input="x", text_format=City) as found:
        assert found.get_final_response().output_parsed == City(city="Paris")


def test_a_call_whose_arguments_are_no_object_stays_open() -> None:
    out = stream(
        lambda w: [
            w.call(0, call("c0", "get_weather", "1")),
            w.text(lit("x")),
            w.arguments(0, lit("2")),
            *ended(w),
        ],
        tools=[WEATHER],
    )
    first = final(out).output[0]
    assert first.type == "function_call"
    assert first.arguments == "12"


def test_tool_calls() -> None:
    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("Let me look.")),
            w.call(0, call("c0", "get_weather", "")),
            w.arguments(0, lit('{"city": ')),
            w.arguments(0, lit('"Paris"}')),
            w.call(1, call("c1", "get_weather", '{"city": "Oslo"}')),
            *ended(w, "tool_calls"),
        ]

    out = stream(drive, tools=[WEATHER])
    text, first, second = final(out).output
    assert text.type == "message"
    assert first.type == second.type == "function_call"
    assert (first.call_id, first.arguments) == ("c0", '{"city": "Paris"}')
    assert (second.call_id, second.arguments) == ("c1", '{"city": "Oslo"}')
    assert first.status == second.status == "completed"
    got = accumulated(out).output
    assert [one.type for one in got] == ["message", "function_call", "function_call"]
    # A call is done as soon as its arguments are whole, not only with the answer.
    order = types(out)
    assert order.index("function_call_arguments.done") < order.index("completed") - 4


def test_calls_that_come_side_by_side() -> None:
    def drive(w: Writer) -> list[bytes]:
        return [
            w.call(0, call("c0", "get_weather", "")),
            w.call(1, call("c1", "get_weather", "")),
            w.arguments(1, lit('{"city":"Oslo"}')),
            w.arguments(0, lit('{"city":"Paris"}')),
            w.text(lit("and text")),
            *ended(w, "tool_calls"),
        ]

    first, second, text = final(stream(drive, tools=[WEATHER])).output
    assert first.type == second.type == "function_call"
    assert (first.arguments, second.arguments) == ('{"city":"Paris"}', '{"city":"Oslo"}')
    assert text.type == "message"


def test_custom_tool_calls() -> None:
    def drive(w: Writer) -> list[bytes]:
        return [
            w.call(0, call("c0", "sql", "")),
            w.arguments(0, lit("SELECT")),
            w.arguments(0, lit(" 1")),
            *ended(w, "tool_calls"),
        ]

    out = stream(drive, tools=[SQL])
    (found,) = final(out).output
    assert found.type == "custom_tool_call"
    assert (found.name, found.call_id, found.input) == ("sql", "c0", "SELECT 1")
    accumulated(out)


def test_thinking_goes_along_sealed() -> None:
    def drive(w: Writer) -> list[bytes]:
        return [
            w.reasoning(lit("One")),
            w.reasoning(lit(' "two"')),
            w.detail(ReasoningDetail(type="reasoning.text", signature="s1", format="x")),
            w.reasoning(lit(" three")),
            w.detail(ReasoningDetail(type="reasoning.text", signature="s2", format="x")),
            w.detail(ReasoningDetail(type="reasoning.encrypted", data="zzz", format="x")),
            w.text(lit("Done.")),
            *ended(w),
        ]

    out = stream(drive)
    thought, message = final(out).output
    assert thought.type == "reasoning"
    assert [one.text for one in thought.summary] == ['One "two" three']
    assert message.type == "message"
    found = unseal(thought.encrypted_content or "", "x").details
    assert [(one.type, one.text, one.signature, one.data) for one in found] == [
        ("reasoning.text", 'One "two"', "s1", None),
        ("reasoning.text", " three", "s2", None),
        ("reasoning.encrypted", None, None, "zzz"),
    ]
    order = types(out)
    assert order[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
    ]
    assert accumulated(out).output_text == "Done."


def test_what_belongs_to_the_text_does_not_cut_it() -> None:
    """Some providers sign places in a text: their answer is still one message."""
    first = ReasoningDetail(type="reasoning.encrypted", data="1", id="text:0:4", format="f")
    second = ReasoningDetail(type="reasoning.encrypted", data="2", id="c0", format="f")

    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("Grey")),
            w.detail(first),
            w.text(lit(" sky")),
            w.call(0, call("c0", "get_weather", "{}")),
            w.detail(second),
            *ended(w, "tool_calls"),
        ]

    out = stream(drive, tools=[WEATHER])
    message, found, thought = final(out).output
    assert final(out).output_text == "Grey sky"
    assert [message.type, found.type, thought.type] == ["message", "function_call", "reasoning"]
    assert thought.type == "reasoning"
    assert unseal(thought.encrypted_content or "", "x").details == [first, second]
    accumulated(out)


def test_what_a_call_must_take_back_stands_before_it() -> None:
    extra = {"google": {"thought_signature": "sig"}}

    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("Hm.")),
            w.call(0, call("c0", "get_weather", "{}", extra_content=extra)),
            *ended(w, "tool_calls"),
        ]

    _, sealed, found = final(stream(drive, tools=[WEATHER])).output
    assert sealed.type == "reasoning"
    assert found.type == "function_call"
    assert unseal(sealed.encrypted_content or "", "x").calls == {"c0": extra}


def test_refusal() -> None:
    out = stream(lambda w: [w.refusal(lit("I ")), w.refusal(lit("cannot.")), *ended(w)])
    (message,) = final(out).output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "refusal"
    assert part.refusal == "I cannot."
    accumulated(out)


def test_text_then_refusal_are_two_parts() -> None:
    out = stream(lambda w: [w.text(lit("Well")), w.refusal(lit("no")), *ended(w)])
    (message,) = final(out).output
    assert message.type == "message"
    assert [one.type for one in message.content] == ["output_text", "refusal"]
    accumulated(out)


def test_citations() -> None:
    url = {"url": "https://e.org", "title": "E", "start_index": 0, "end_index": 4}

    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("Grey")),
            w.annotations([{"type": "url_citation", "url_citation": url}]),
            w.annotations([{"type": "url_citation", "url_citation": {"url": "https://f.org"}}]),
            *ended(w),
        ]

    out = stream(drive)
    (message,) = final(out).output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    first, second = message.content[0].annotations
    assert first.to_dict() == {"type": "url_citation", **url}
    assert second.type == "url_citation"
    added = [one for one in events(out) if one.type.endswith("annotation.added")]
    assert [one.annotation_index for one in added] == [0, 1]
    accumulated(out)


def test_logprobs() -> None:
    token = {"token": "é", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    top = {"token": "h", "logprob": -0.1, "bytes": [104], "top_logprobs": []}
    second = {**top, "top_logprobs": [{"token": "x", "logprob": -3.0, "bytes": None}]}

    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("é"), logprobs=json.dumps({"content": [token]}).encode()),
            w.text(lit("h"), logprobs=json.dumps({"content": [second]}).encode()),
            *ended(w),
        ]

    out = stream(drive, include=["message.output_text.logprobs"], top_logprobs=1)
    (message,) = final(out).output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    found = message.content[0].logprobs
    assert found is not None
    assert [(one.token, one.bytes, len(one.top_logprobs)) for one in found] == [
        ("é", [195, 169], 0),
        ("h", [104], 1),
    ]
    deltas = [one for one in events(out) if one.type == "response.output_text.delta"]
    assert [one.logprobs[0].token for one in deltas] == ["é", "h"]


def test_images() -> None:
    out = stream(
        lambda w: [w.image("data:image/png;base64,AAAA"), w.text(lit("There.")), *ended(w)]
    )
    image, message = final(out).output
    assert image.type == "image_generation_call"
    assert (image.status, image.result, image.output_format) == ("completed", "AAAA", "png")
    assert message.type == "message"
    accumulated(out)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_a_cut_answer_is_incomplete(finish: str, reason: str) -> None:
    out = stream(lambda w: [w.text(lit("Gre")), *ended(w, finish)])
    last = events(out)[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details.reason == reason
    (message,) = final(out).output
    assert message.type == "message"
    assert message.status == "incomplete"


def test_a_stream_that_fails_says_why_and_what_was_used() -> None:
    error = ClientError(503, "server_error", "provider_overloaded", "Overloaded")

    def drive(w: Writer) -> list[bytes]:
        return [
            w.text(lit("Gr")),
            w.call(0, call("c0", "get_weather", '{"ci')),
            w.usage(USAGE),
            w.error(error),
        ]

    *_, said, last = events(stream(drive, tools=[WEATHER]))
    assert said.type == "error"
    assert (said.code, said.message) == ("provider_overloaded", "Overloaded")
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error.message == "Overloaded"
    assert last.response.usage.total_tokens == 27
    assert [one.status for one in last.response.output] == ["completed", "incomplete"]


def test_an_error_before_anything_is_one_event() -> None:
    (said,) = events(writer().error(ClientError(500, "server_error", None, "No")))
    assert (said.type, said.code, said.sequence_number) == ("error", "server_error", 0)


def test_error_event_is_numbered_by_its_place() -> None:
    out = FORMAT.error_event(ClientError(429, "rate_limit_error", "r", "Slow", param="x"), 41)
    assert out.startswith(b"event: error\ndata: ")
    assert json.loads(out[19:]) == {
        "type": "error",
        "code": "r",
        "message": "Slow",
        "param": "x",
        "sequence_number": 41,
    }


def test_only_the_first_answer_is_written() -> None:
    def drive(w: Writer) -> list[bytes]:
        return [
            w.choice(1),
            w.text(lit("a")),
            w.text(lit("b"), 1),
            w.call(0, call("c", "f", "{}"), 1),
            w.arguments(0, lit("x"), 1),
            w.reasoning(lit("x"), 1),
            w.refusal(lit("x"), 1),
            w.finish("length", 1),
            *ended(w),
        ]

    assert final(stream(drive)).output_text == "a"


def test_what_was_asked_is_repeated_in_every_snapshot() -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "tools": [WEATHER, SQL],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "metadata": {"team": "blue"},
        "temperature": 0.5,
        "max_output_tokens": 77,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"},
        "service_tier": "flex",
    }
    out = stream(lambda w: [w.text(lit("x")), *ended(w)], **asked)
    for event in (events(out)[0], events(out)[1], events(out)[-1]):
        tree = event.response.to_dict()
        assert {name: tree[name] for name in asked if name not in {"text", "tools"}} == {
            name: one for name, one in asked.items() if name not in {"text", "tools"}
        }
        assert tree["text"] == {"format": {"type": "text"}, "verbosity": "low"}
        assert tree["tools"][0] == WEATHER


# --- anything a reader may do ---------------------------------------------------------------

TEXT = st.text(max_size=6)
STEP = st.one_of(
    st.tuples(st.just("text"), TEXT),
    st.tuples(st.just("reasoning"), TEXT),
    st.tuples(st.just("refusal"), TEXT),
    st.tuples(st.just("detail"), st.sampled_from(["reasoning.text", "reasoning.encrypted"])),
    st.tuples(st.just("call"), st.sampled_from(["", "{}", '{"a"'])),
    st.tuples(st.just("arguments"), TEXT),
    st.tuples(st.just("annotations"), TEXT),
    st.tuples(st.just("image"), st.just("data:image/png;base64,AA==")),
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEP, max_size=14),
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
def test_any_answer_is_a_sequence_that_the_sdk_takes(
    steps: list[tuple[str, str]], finish: str
) -> None:
    def drive(w: Writer) -> list[bytes]:
        out, calls = [], 0
        for step, given_ in steps:
            if step in {"text", "reasoning", "refusal"}:
                out.append(getattr(w, step)(lit(given_)))
            elif step == "detail":
                out.append(w.detail(ReasoningDetail(type=given_, signature="s", format="f")))
            elif step == "call":
                out.append(w.call(calls, call(f"c{calls}", "get_weather", given_)))
                calls += 1
            elif step == "arguments":
                out.append(w.arguments(calls - 1, lit(given_)))
            elif step == "annotations":
                out.append(w.annotations([{"type": "url_citation", "url": given_}]))
            else:
                out.append(w.image(given_))
        return [*out, *ended(w, finish)]

    out = stream(drive, tools=[WEATHER])
    response = final(out)
    texts = "".join(given_ for step, given_ in steps if step == "text")
    assert response.output_text == texts
    if response.status == "completed":
        assert accumulated(out).output_text == texts
