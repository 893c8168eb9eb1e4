import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import Fault, Reply
from extproc.dialects.chat.completion import Chunks
from tests.unit.dialects.gemini.samples import (
    GEMINI,
    IMAGE,
    INLINE,
    candidate,
    event,
    run,
    stream,
)
from tests.unit.dialects.gemini.test_answer import BLOCKED, CALL, FINISHES, LOGPROBS, detail

TEXT = stream(
    event(candidate({"text": "Grey, "}), usageMetadata={"promptTokenCount": 60}),
    event(candidate({"text": "11 °C."}, finish="STOP")),
)
TOOLS = stream(
    event(candidate({"text": "Let me look."})),
    event(
        candidate(
            {**CALL, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "get_time", "args": {}}},
            finish="STOP",
        )
    ),
)
THINKING = stream(
    event(candidate({"text": "Paris is ", "thought": True})),
    event(candidate({"text": "in France.", "thought": True})),
    event(candidate({"text": "Gré", "thoughtSignature": "c2ln"})),
    event(candidate({"text": 'y \\ "it"\n'}), usageMetadata=None),
    event(candidate({"text": "", "thoughtSignature": "eA=="}, finish="STOP")),
)
SEARCHED = stream(
    event(candidate({"text": "Grü: "})),
    event(
        candidate(
            {"text": "wet."},
            finish="STOP",
            groundingMetadata={
                "groundingChunks": [{"web": {"uri": "https://a.example", "title": "a"}}],
                "groundingSupports": [
                    {
                        "segment": {"startIndex": 6, "endIndex": 10, "text": "wet."},
                        "groundingChunkIndices": [0],
                    }
                ],
            },
        )
    ),
)
DRAWN = stream(
    event(candidate({"text": "Look:"})),
    event(candidate({**INLINE, "thoughtSignature": "c2ln"})),
    event(candidate(INLINE, finish="STOP")),
)
TOLD = stream(
    event(candidate({"text": "Gré"}, logprobsResult=LOGPROBS)),
    event(candidate(finish="STOP", logprobsResult={"chosenCandidates": [{"token": "."}]})),
)
STREAMS = [TEXT, TOOLS, THINKING, SEARCHED, DRAWN, TOLD, stream(BLOCKED)]


def test_text() -> None:
    got = run(TEXT)
    chunks = got.chunks()
    assert got.out.endswith(b"data: [DONE]\n\n")
    assert got.finished
    assert {one.id for one in chunks} == {"chatcmpl-r-1"}
    assert {one.model for one in chunks} == {"gemini-2.5-pro"}
    assert [one.choices[0].delta.content for one in chunks[:3]] == ["", "Grey, ", "11 °C."]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1].choices == []


def test_tools() -> None:
    found = run(TOOLS).message()
    assert found.text == "Let me look."
    assert found.finish == "tool_calls"
    assert [(one["name"], one["arguments"]) for one in found.calls] == [
        ("get_weather", '{"city":"Paris"}'),
        ("get_time", "{}"),
    ]
    assert len({one["id"] for one in found.calls}) == 2
    assert found.calls[0]["extra"] == {"google": {"thought_signature": "c2ln"}}
    assert found.details == [{**detail("c2ln", found.calls[0]["id"]), "index": 0}]


def test_thinking() -> None:
    found = run(THINKING).message()
    assert (found.reasoning, found.text) == ("Paris is in France.", 'Gréy \\ "it"\n')
    assert found.details == [
        {**detail("c2ln", "text:0:3"), "index": 0},
        {**detail("eA==", "text:12:12"), "index": 1},
    ]


def test_images() -> None:
    found = run(DRAWN).message()
    assert found.images == [IMAGE, IMAGE]
    assert found.details == [{**detail("c2ln", "image:0:5"), "index": 0}]


def test_an_image_may_be_large() -> None:
    blob = {"inlineData": {"mimeType": "image/png", "data": "A" * (3 << 20)}}
    [image] = run(stream(event(candidate(blob, finish="STOP")))).message().images
    assert len(image["image_url"]["url"]) > 3 << 20


def test_logprobs() -> None:
    found = run(TOLD).message()
    assert found.text == "Gré"
    assert [(one["token"], one["logprob"]) for one in found.logprobs] == [
        ("Gr", -0.5),
        ("é", -1.25),
        (".", 0.0),
    ]
    assert found.logprobs[0]["top_logprobs"][1]["token"] == "W"


def test_sources() -> None:
    [found] = run(SEARCHED).message().annotations
    assert found == {
        "type": "url_citation",
        "url_citation": {
            "start_index": 5,
            "end_index": 9,
            "title": "a",
            "url": "https://a.example",
        },
    }


def test_json_by_a_forced_tool_is_text() -> None:
    call = {"functionCall": {"name": "answer_in_json", "args": {"a": 'x"'}}}
    got = run(
        stream(event(candidate(call, finish="STOP"))), reply=Reply(json_tool="answer_in_json")
    )
    assert got.message().text == '{"a":"x\\""}'
    assert got.message().finish == "stop"
    assert got.message().calls == []


def test_a_search_of_its_own_is_kept_for_the_next_turn() -> None:
    call = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s"}, "thoughtSignature": "c2ln"}
    found = run(stream(event(candidate(call)), event(candidate({"text": "x"}, finish="STOP"))))
    [kept] = found.message().details
    assert (kept["id"], json.loads(kept["data"])) == ("part:0", call)


def test_n() -> None:
    got = run(
        stream(
            event(candidate({"text": "Gr"}), candidate({"text": "W"}, index=1)),
            event(candidate({"text": "e"})),
            event(candidate({"text": "et"}, index=1)),
            event(candidate({"text": "y."}, finish="STOP")),
            event(candidate({"text": "."}, finish="MAX_TOKENS", index=1)),
        )
    )
    assert got.finished
    assert (got.message().text, got.message().finish) == ("Grey.", "stop")
    assert (got.message(1).text, got.message(1).finish) == ("Wet.", "length")
    half = event(candidate({"text": "Gr"}, finish="STOP"), candidate({"text": "W"}, index=1))
    assert not run(stream(half)).finished


@pytest.mark.parametrize(("reason", "finish"), FINISHES.items())
def test_finish_reasons(reason: str, finish: str) -> None:
    one = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
    got = run(stream(one))
    assert got.message().finish == finish
    assert got.finished
    assert not got.refused


def test_a_model_that_failed_gave_no_answer() -> None:
    got = run(stream(event(candidate(finish="MALFORMED_FUNCTION_CALL"))))
    assert got.failure is not None
    assert got.failure.fault is Fault.BAD_ANSWER
    assert not got.content


def test_usage_counts_thoughts_as_completion() -> None:
    found = run(TEXT).usage()
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (60, 12, 72)


def test_usage_may_leave_out_what_it_had_before() -> None:
    full = {
        "promptTokenCount": 60,
        "candidatesTokenCount": 1,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 30,
        "serviceTier": "flex",
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}],
    }
    got = run(
        stream(
            {"candidates": [candidate({"text": "a"})], "usageMetadata": full},
            {"candidates": [candidate({"text": "b"})], "usageMetadata": {"promptTokenCount": 60}},
            {
                "candidates": [candidate({"text": "c"}, finish="STOP")],
                "usageMetadata": {"candidatesTokenCount": 9},
            },
        )
    )
    found = got.usage()
    assert (found.prompt_tokens, found.completion_tokens) == (60, 13)
    assert found.prompt_tokens_details is not None
    assert found.prompt_tokens_details.cached_tokens == 30
    assert found.prompt_tokens_details.audio_tokens == 7
    assert got.chunks()[-1].service_tier == "flex"


def test_refusal() -> None:
    got = run(stream(BLOCKED))
    assert got.refused
    assert got.finished
    assert (got.message().refusal, got.message().finish) == ("No.", "content_filter")
    safety = candidate(finish="SAFETY", finishMessage="Unsafe.")
    assert run(stream(event(safety))).refused
    assert not run(stream(event(candidate({"text": "So"})), event(safety))).refused


def test_text_goes_out_as_it_comes() -> None:
    reader = GEMINI.stream(Chunks(), Reply())
    assert b"Grey" in reader.feed(stream(event(candidate({"text": "Grey"}))))
    assert b"wet" in reader.feed(stream(event(candidate({"text": "wet"}))))


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (candidate(), False),
        (candidate({"text": ""}), False),
        (candidate({"text": "x"}), True),
        (candidate({"text": "x", "thought": True}), True),
        (candidate(CALL), True),
        (candidate(INLINE), True),
        (candidate(finish="STOP"), True),
    ],
)
def test_a_stream_knows_its_first_content_event(given: dict[str, Any], content: bool) -> None:
    reader = GEMINI.stream(Chunks(), Reply())
    reader.feed(stream(event(given)))
    assert reader.content is content


def test_a_stream_cut_short_has_no_clean_end() -> None:
    got = run(TEXT.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert got.content
    assert not got.finished
    assert got.failure is None
    assert b"[DONE]" not in got.out
    assert got.usage().prompt_tokens == 60


def test_a_stream_may_leave_out_the_last_blank_line() -> None:
    assert run(TEXT.rstrip(b"\r\n")).finished


BUSY = {"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    ("data", "fault", "status"),
    [
        (stream(BUSY), Fault.OVERLOADED, 503),
        (json.dumps(BUSY).encode(), Fault.OVERLOADED, 503),
        (json.dumps([BUSY], indent=2).encode(), Fault.OVERLOADED, 503),
        (b'data: {"error":{"message":"?"}}\n\n', Fault.SERVER, 502),
        (b"<html><h1>502</h1></html>", Fault.BAD_ANSWER, 502),
        (b"", Fault.BAD_ANSWER, 502),
        (b"data: garbage\n\n", Fault.BAD_ANSWER, 502),
        (b"data: " + b"x" * (33 << 20), Fault.BAD_ANSWER, 502),
    ],
    ids=["event", "body", "list", "bare", "html", "empty", "garbage", "endless"],
)
def test_a_stream_that_fails_says_why(data: bytes, fault: Fault, status: int) -> None:
    got = run(data)
    assert got.failure is not None
    assert (got.failure.fault, got.failure.status) == (fault, status)
    assert got.failure.message
    assert not got.finished
    assert got.out == b""


@pytest.mark.parametrize("bad", [BUSY, {"candidates": [{"content": {"parts": [{"text": 5}]}}]}])
def test_a_stream_that_fails_after_content_keeps_what_came(bad: dict[str, Any]) -> None:
    got = run(stream(event(candidate({"text": "Grey"})), bad, event(candidate({"text": "x"}))))
    assert got.content
    assert got.failure is not None
    assert got.message().text == "Grey"


def singly(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def by_event(data: bytes, end: bytes = b"\r\n\r\n") -> list[bytes]:
    return [one + end for one in data.split(b"\r\n\r\n")[:-1]]


@pytest.mark.parametrize("data", STREAMS)
def test_every_cut_gives_the_same(data: bytes) -> None:
    whole = run(data)
    assert run(*singly(data)) == whole
    assert run(*by_event(data)) == whole
    assert run(*by_event(data, b"\n\n")) == whole
    for at in range(len(data)):
        assert run(data[:at], data[at:]) == whole


PIECES = st.sampled_from(
    [
        event(candidate({"text": "a"})),
        event(candidate({"text": "é\\\n"}), usageMetadata=None),
        event(candidate({"text": "b", "thought": True})),
        event(candidate({"text": "c", "thoughtSignature": "c2ln"})),
        event(candidate({"text": "d"}, {"text": "e"})),
        event(candidate({"text": "f"}, index=1)),
        event(candidate({"text": ""})),
        event(candidate(CALL)),
        event(candidate(INLINE)),
        event(candidate({"text": "g"}, finish="STOP")),
        event(),
        {"candidates": [{"content": {"parts": [{"text": None}]}}]},
        {"candidates": [{"content": {"role": "model"}}]},
        {"usageMetadata": {"promptTokenCount": 1}},
        {"x": 1},
        BUSY,
    ]
)


@given(st.lists(PIECES, max_size=6), st.data())
def test_any_stream_is_the_same_however_it_is_cut(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = stream(*events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert run(*pieces) == run(body) == run(*by_event(body))


@given(st.binary(max_size=80))
def test_any_bytes_end_in_a_failure_or_nothing(data: bytes) -> None:
    got = run(data)
    assert got.failure is not None or not got.finished
    run(b"data: " + data + b"\n\n")
