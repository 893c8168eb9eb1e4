"""Values are back in every text of a stream, however it is cut."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard.placeholders import LONGEST_BODY, Mapping
from extproc.guard.restore import restore
from extproc.guard.streams import Stream
from tests.unit.guard.streams.flowing import (
    CHUNK,
    ESCAPED,
    FORMATS,
    MAPPING,
    Pieces,
    Said,
    chat,
    cut,
    cut_bytes,
    data,
    events,
    flow,
    named,
    responses,
    run,
    said,
    spoken,
    stream,
)

TEXT = (
    "Dear <PERSON_1>, <EMAIL_ADDRESS_12> is not <EMAIL_ADDRESS_1>; a < b, <PERSON_2>, "
    "**<person\\_1>** &lt;PERSON_1&gt; <PER"
)
CALL = '{"to": "<EMAIL_ADDRESS_1>", "text": "a \\"<PERSON_1>\\" \\u003cPERSON_1\\u003e"}'
KINDS = {
    "chat": ["reasoning_content", "content", "call 0", "call 1"],
    "completions": ["content"],
    "responses": ["reasoning", "content", "call 0", "call 1"],
    "messages": ["reasoning", "content", "call 0", "call 1"],
}


def pieces(format_: str, size: int, text: str = TEXT, call: str = CALL) -> Pieces:
    """Every kind of text, in pieces of so many characters."""
    found: Pieces = []
    for name in KINDS[format_]:
        whole = call if name.startswith("call") else text
        found += [(name, whole[at : at + size]) for at in range(0, len(whole), size)]
    return found


def restored(format_: str, texts: Said, mapping: Mapping = MAPPING) -> Said:
    """What a client should read. Thinking in messages is signed."""
    return {
        name: text
        if (format_, name) == ("messages", "reasoning")
        else restore(text, mapping, json=name.startswith("call"))
        for name, text in texts.items()
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1000])
@pytest.mark.parametrize("format_", FORMATS)
def test_all_texts_have_their_values_back(format_: str, size: int) -> None:
    told = pieces(format_, size)
    out = run(format_, stream(format_, told))
    assert said(format_, out) == restored(format_, spoken(format_, told))
    assert said(format_, out)["content"].startswith("Dear Ada Lovelace, grace@example.com is not")


@pytest.mark.parametrize("format_", FORMATS)
def test_cut_at_every_byte(format_: str) -> None:
    told = pieces(format_, 8, "a <PERSON_1>, <PER", '{"a": "<PERSON_1>"}')
    whole = stream(format_, [one for one in told if one[0] in ("content", "call 0")])
    out = run(format_, whole)
    assert run(format_, *(whole[at : at + 1] for at in range(len(whole)))) == out
    for at in range(len(whole) + 1):
        assert run(format_, whole[:at], whole[at:]) == out


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
@pytest.mark.parametrize("format_", FORMATS)
def test_ends_of_line_of_any_kind(format_: str, end: bytes) -> None:
    whole = stream(format_, pieces(format_, 5)).replace(b"\n", end)
    out = run(format_, whole)
    assert run(format_, *(whole[at : at + 1] for at in range(len(whole)))) == out
    assert run(format_, whole.replace(end, b"\n")) == out.replace(end, b"\n")


texts = st.lists(
    st.sampled_from(
        ["<", "<PERSON", "_1>", "<PERSON_1>", "&lt;", "&", "\\", "\\u003c", "n", "\uff1c",
         "\uff1e", ">", " a", "\n", "<EMAIL_ADDRESS_1", "2>", "<person 1>", '"', "é", "{", "["]
    ),
    max_size=12,
).map("".join)  # fmt: skip
NOISE = st.sampled_from(
    [b": ping\n\n", b"\n", b"data: nonsense <\n\n", b"data: 5\n\n", b"event: x\ndata: {}\n\n",
     b"id: 1\n\n", b'data: {"choices": 5}\n\n', b"data: {", b"\r\n\r\n", b"x" * 99 + b"\n\n",
     b'data: {"type": "content_block_delta", "delta": 3}\n\n',
     b'data: {"type": "response.output_text.delta", "delta": "<"}\n\n',
     b'id: 7\n: c <\ndata: {"choices": [{"delta":\ndata: {"content": "<PERSON_1> <"}}]}\n\n',
     b'data: {"error": {"message": "x"}}\n\n', b'event: error\ndata: {"type": "error"}\n\n',
     b"data: [DONE]\n\n"]
)  # fmt: skip


@given(
    format_=st.sampled_from(FORMATS),
    told=st.lists(st.tuples(st.sampled_from(["content", "reasoning", "call 0"]), texts)),
    noise=st.lists(st.tuples(st.integers(0, 40), NOISE), max_size=4),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    places=st.lists(st.integers(0, 20000), max_size=12),
    mapping=st.sampled_from([MAPPING, ESCAPED]),
    cap=st.sampled_from([1 << 20, 90]),
)
@settings(max_examples=300)
def test_any_cutting_of_any_stream_gives_the_same(
    *,
    format_: str,
    told: Pieces,
    noise: list[tuple[int, bytes]],
    end: bytes,
    places: list[int],
    mapping: Mapping,
    cap: int,
) -> None:
    if format_ == "completions":
        told = [("content", text) for _, text in told]
    parts = stream(format_, told).split(b"\n\n")
    frames = [part + b"\n\n" for part in parts[:-1]]
    for at, one in noise:
        frames.insert(at, one)
    whole = b"".join(frames).replace(b"\n", end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extproc.guard.streams.events.Cutter.cap", cap)
        out = run(format_, whole, mapping=mapping)
        assert run(format_, *cut_bytes(whole, places), mapping=mapping) == out
        assert run(format_, *(bytes([one]) for one in whole), mapping=mapping) == out


@given(
    format_=st.sampled_from(FORMATS),
    text=texts,
    places=st.lists(st.integers(0, 200), max_size=8),
)
def test_a_text_is_restored_however_its_server_cut_it(
    format_: str, text: str, places: list[int]
) -> None:
    told = [("content", piece) for piece in cut(text, *places)]
    out = said(format_, run(format_, stream(format_, told)))
    assert out.get("content", "") == restore(text, MAPPING)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_needs_no_reading_passes_as_it_is(format_: str) -> None:
    whole = stream(format_, [(name, 'a > b, é, "x"\n') for name in KINDS[format_]])
    assert run(format_, whole) == whole
    assert run(format_, *(whole[at : at + 1] for at in range(len(whole)))) == whole
    unknown = stream(format_, [("content", "<PERSON_7> <b> a&b \\ <")])
    assert said(format_, run(format_, unknown)) == said(format_, unknown)
    for mapping in (None, Mapping()):
        told = stream(format_, pieces(format_, 4))
        assert run(format_, told, mapping=mapping) == told


def test_no_more_waits_than_a_placeholder_is_long() -> None:
    async def check() -> None:
        for text in ("<" * 500, "<PERSON" + " " * 500 + "_1>", TEXT * 3, "<" + "*" * 300):
            flowing = Stream("chat", MAPPING, None)
            for one in chat([("content", sign) for sign in text]):
                await flowing.feed(one)
                assert flowing.held <= LONGEST_BODY + 2
            assert not flowing.held

    asyncio.run(check())


@pytest.mark.parametrize("format_", FORMATS)
def test_text_without_a_sign_is_never_late(format_: str) -> None:
    async def check() -> None:
        flowing = Stream(format_, MAPPING, None)
        for one in stream(format_, [("content", "one "), ("content", "two, three")]).split(b"\n\n")[
            :-1
        ]:
            assert await flowing.feed(one + b"\n\n") == one + b"\n\n"

    asyncio.run(check())


# --- the ends of texts ----------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["", "finish", "done", "error"])
def test_what_waits_in_a_chat_comes_before_its_end(rest: str) -> None:
    *told, finish, usage, done = chat([("content", "a <PER"), ("reasoning", "<")])
    ends = {
        "": [],
        "finish": [finish, usage, done],
        "done": [done],
        "error": [data({"error": {"message": "no", "type": "server_error"}})],
    }
    out = run("chat", *told, *ends[rest])
    assert said("chat", out.partition(b'data: {"error"')[0]) == {
        "content": "a <PER",
        "reasoning": "<",
    }
    assert out.endswith(b"".join(ends[rest][-1:]))
    if rest == "finish":  # in the chunk that says why
        assert events("chat", out)[-2]["choices"][0]["delta"] == {
            "content": "<PER",
            "reasoning": "<",
        }


def test_choices_do_not_mix() -> None:
    def chunk(*texts: str) -> bytes:
        choices = [
            {"index": at, "delta": {"content": text}, "finish_reason": None}
            for at, text in enumerate(texts)
        ]
        return data({**CHUNK, "choices": choices})

    out = run("chat", chunk("<PER", "<EMAIL"), chunk("SON_1>", "_ADDRESS_1>"), chunk("", "!"))
    whole = ["", ""]
    for event in events("chat", out):
        for choice in event["choices"]:
            whole[choice["index"]] += choice["delta"]["content"]
    assert whole == ["Ada Lovelace", "ada@example.com!"]


def test_a_chunk_in_which_nothing_is_left_goes_unless_it_says_something_else() -> None:
    assert (
        run("chat", data({**CHUNK, "choices": [{"index": 0, "delta": {"content": "<"}}]})).count(
            b"data:"
        )
        == 1
    )

    def said_of(**more: Any) -> bytes:
        choice = {"index": 0, "delta": {"content": "<PER"}, "finish_reason": None}
        return data({**CHUNK, "choices": [choice], **more})

    async def first(event: bytes) -> bytes:
        return await Stream("chat", MAPPING, None).feed(event)

    assert asyncio.run(first(said_of())) == b""
    assert b'"usage":{"n":1}' in asyncio.run(first(said_of(usage={"n": 1})))
    assert b'"content":""' in asyncio.run(first(said_of(citations=["x"])))


@pytest.mark.parametrize("where", ["audio", "function_call", "parts", "thinking", "custom"])
def test_other_texts_of_a_chat(where: str) -> None:
    def delta(text: str) -> Any:
        return {
            "audio": {"audio": {"id": "a", "transcript": text}},
            "function_call": {"function_call": {"name": "f", "arguments": text}},
            "parts": {"content": [{"type": "text", "text": text}]},
            "thinking": {"content": [{"type": "thinking", "thinking": [{"text": text}]}]},
            "custom": {"tool_calls": [{"index": 3, "type": "custom", "custom": {"input": text}}]},
        }[where]  # fmt: skip

    def chunk(text: str) -> bytes:
        return data({**CHUNK, "choices": [{"index": 0, "delta": delta(text)}]})

    finish = data({**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    out = run("chat", chunk("a <PER"), chunk("SON_1> "), chunk("<"), finish)
    whole = "".join(
        texts_in(json.loads(one[6:])["choices"][0]["delta"]) for one in out.split(b"\n\n")[:-1]
    )
    assert whole == "a Ada Lovelace <"


def texts_in(tree: Any) -> str:
    if isinstance(tree, list):
        return "".join(map(texts_in, tree))
    if isinstance(tree, dict):
        return "".join(
            inner if key in ("text", "transcript", "arguments", "input") else texts_in(inner)
            for key, inner in tree.items()
        )
    return ""


def test_numbers_of_a_response_have_no_gap_when_an_event_is_added() -> None:
    told: Pieces = [("content", "a <PER"), ("call 0", '{"a": "<'), ("reasoning", "<PER")]
    whole = stream("responses", told)

    async def check() -> None:
        flowing = Stream("responses", MAPPING, None)
        out = await flow(flowing, [whole])
        assert said("responses", out) == spoken("responses", told)
        assert flowing.events == 3

    asyncio.run(check())


def test_what_echoes_the_request_has_its_values_back() -> None:
    echo = {"instructions": "Write to <PERSON_1>", "metadata": {"id": "<EMAIL_ADDRESS_1>"}}
    out = events("responses", run("responses", *responses([("content", "hi")], **echo)))
    for event in (out[0], out[-1]):
        assert event["response"]["instructions"] == "Write to Ada Lovelace"
        assert event["response"]["metadata"] == {"id": "ada@example.com"}


def test_signed_thinking_stays_to_the_letter() -> None:
    told: Pieces = [("reasoning", "<PERSON_1> and <PER"), ("content", "<PERSON_1>")]
    out = said("messages", run("messages", stream("messages", told)))
    assert out == {"reasoning": "<PERSON_1> and <PER", "content": "Ada Lovelace"}


def test_blocks_that_begin_with_something_and_citations() -> None:
    def block(**members: Any) -> bytes:
        return named({"type": "content_block_start", "index": 0, "content_block": members})

    def delta(**members: Any) -> bytes:
        return named({"type": "content_block_delta", "index": 0, "delta": members})

    stop = named({"type": "content_block_stop", "index": 0})
    out = run(
        "messages", block(type="text", text="<PER"), delta(type="text_delta", text="SON_1> <"), stop
    )
    assert out.count(b"Ada Lovelace") == 1
    assert b'"text_delta","text":"<"' in out
    cited = {"type": "char_location", "cited_text": "<PERSON_1>", "document_index": 0}
    out = run(
        "messages", block(type="text", text=""), delta(type="citations_delta", citation=cited)
    )
    assert b'"cited_text":"Ada Lovelace"' in out
    out = run("messages", block(type="tool_use", id="t", name="f", input={"id": "<PERSON_1>"}))
    assert b'"input":{"id":"Ada Lovelace"}' in out


def test_what_an_event_has_beside_its_data_stays() -> None:
    beside = b"id: 5\n: hello\nevent: x\n"
    one = b'data: {"choices": [{"delta":\ndata: {"content": "<PERSON_1>"}, "f": 1.50}]}\n\n'
    out = b'data: {"choices":[{"delta":{"content":"Ada Lovelace"},"f":1.50}]}\n\n'
    assert run("chat", beside + one) == beside + out


def test_half_of_a_surrogate_pair() -> None:
    one = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d <PERSON_1>"}}]}\n\n'
    assert (
        run("chat", one)
        == b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d Ada Lovelace"}}]}\n\n'
    )


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_an_answer_in_json_stays_json(format_: str, size: int) -> None:
    text = ' [ {"name": "<PERSON_1>", "to": "<STREET_ADDRESS_1>"}]'
    told: Pieces = [("content", text[at : at + size]) for at in range(0, len(text), size)]
    out = said(format_, run(format_, stream(format_, told), mapping=ESCAPED))["content"]
    assert json.loads(out) == [{"name": "Ada Lovelace", "to": ESCAPED.values["STREET_ADDRESS_1"]}]
    for text in ("[1] <STREET_ADDRESS_1>", "a {<STREET_ADDRESS_1>}", "["):
        told = [("content", text[at : at + size]) for at in range(0, len(text), size)]
        out = said(format_, run(format_, stream(format_, told), mapping=ESCAPED))["content"]
        assert out == restore(text, ESCAPED)


def test_formats_without_streams() -> None:
    with pytest.raises(KeyError):
        Stream("embeddings", MAPPING, None)
