"""What a reader knows by sight means what the decoder makes of it."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.anthropic import Anthropic
from extproc.dialects.bedrock import Bedrock
from extproc.dialects.cohere import Cohere
from extproc.dialects.openai import OpenAI
from tests.unit.dialects.bedrock.samples import frame
from tests.unit.dialects.level import Level

Events = list[bytes]
Shape = Callable[[bytes, bytes, int], bytes]
"""An event of a kind (text, thinking, arguments) around a literal, for a block or choice."""

EVIL = [
    *(b"a", b"\\", b'"', b"\n", b"\r", b"\x01", b"\x7f", b"\\u", b"d83d", b"\\ud83d\\ude00"),
    *(
        b"\xc3",
        b"\xa9",
        b"}",
        b"{",
        b'"}',
        b'":',
        b',"p":"x"',
        b'},"logprobs":null',
        b"\\n",
        b"\\/",
    ),
]
LITERALS = st.one_of(
    st.text().map(lambda text: json.dumps(text).encode()),
    st.text(st.characters(codec="utf-8")).map(
        lambda text: json.dumps(text, ensure_ascii=False).encode()
    ),
    st.lists(st.sampled_from(EVIL)).map(lambda pieces: b'"' + b"".join(pieces) + b'"'),
    st.sampled_from([b'""', b"null", b"1", b'" "', b"{}"]),
)
KINDS = st.sampled_from([b"text", b"text", b"text", b"thinking", b"arguments"])
INDEXES = st.sampled_from([0, 0, 1, 2])
BLANKS = st.sampled_from([b"", b"", b" ", b"  "])


def named(kind: bytes, data: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: " + data + b"\n\n"


def anthropic(kind: bytes, literal: bytes, index: int) -> bytes:
    delta = {
        b"text": b'"type":"text_delta","text":',
        b"thinking": b'"type":"thinking_delta","thinking":',
        b"arguments": b'"type":"input_json_delta","partial_json":',
    }[kind]
    data = b'{"type":"content_block_delta","index":%d,"delta":{%b%b}}' % (index, delta, literal)
    return named(b"content_block_delta", data)


def cohere(kind: bytes, literal: bytes, index: int) -> bytes:
    if kind == b"arguments":
        inner = b'{"tool_calls":{"function":{"arguments":%b}}}' % literal
        data = b'{"type":"tool-call-delta","index":%d,"delta":{"message":%b}}' % (index, inner)
        return named(b"tool-call-delta", data)
    inner = b'{"content":{"%b":%b}}' % (kind, literal)
    data = b'{"type":"content-delta","index":%d,"delta":{"message":%b}}' % (index, inner)
    return named(b"content-delta", data)


def openai(kind: bytes, literal: bytes, index: int) -> bytes:
    delta = {
        b"text": b'"content":%b',
        b"thinking": b'"content":null,"reasoning_content":%b',
        b"arguments": b'"tool_calls":[{"index":0,"function":{"arguments":%b}}]',
    }[kind]
    choice = b'{"index":%d,"delta":{%b},"finish_reason":null}' % (index, delta % literal)
    return b'data: {"id":"c","created":1,"model":"m","choices":[%b],"usage":null}\n\n' % choice


def bedrock(kind: bytes, literal: bytes, index: int) -> bytes:
    delta = {
        b"text": b'{"text":%b}',
        b"thinking": b'{"reasoningContent":{"text":%b}}',
        b"arguments": b'{"toolUse":{"input":%b}}',
    }[kind]
    padding = {0: b',"p":"abc"', 1: b"", 2: b',"p":"cba"'}[index]
    data = b'{"contentBlockIndex":%d,"delta":%b%b}' % (index, delta % literal, padding)
    return framed("contentBlockDelta", data)


def framed(kind: str, data: bytes) -> bytes:
    return frame(data, event_type=kind, content_type="application/json", message_type="event")


def a_block(index: int, block: dict[str, Any]) -> bytes:
    event = {"type": "content_block_start", "index": index, "content_block": block}
    return named(b"content_block_start", json.dumps(event).encode())


ANTHROPIC_BEGUN = [
    named(b"message_start", b'{"type":"message_start","message":{"id":"m","model":"c"}}'),
    a_block(0, {"type": "text", "text": ""}),
    a_block(1, {"type": "thinking", "thinking": ""}),
    a_block(2, {"type": "tool_use", "id": "t", "name": "f", "input": {}}),
]
COHERE_BEGUN = [
    named(b"message-start", b'{"type":"message-start","id":"c"}'),
    named(
        b"tool-call-start",
        b'{"type":"tool-call-start","index":2,"delta":{"message":{"tool_calls":'
        b'{"id":"t","function":{"name":"f","arguments":""}}}}}',
    ),
]
BEDROCK_BEGUN = [
    framed("messageStart", b'{"role":"assistant"}'),
    framed(
        "contentBlockStart",
        b'{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}',
    ),
]
READERS: dict[str, tuple[Level, Shape, Events]] = {
    f"{name} for {format_}": (Level(dialect, format_), shape, begun)
    for name, dialect, shape, begun in (
        ("anthropic", Anthropic(clock=lambda: 1.0), anthropic, ANTHROPIC_BEGUN),
        ("cohere", Cohere(clock=lambda: 1.0), cohere, COHERE_BEGUN),
        ("bedrock", Bedrock(clock=lambda: 1.0, mint=lambda: "id"), bedrock, BEDROCK_BEGUN),
        ("openai", OpenAI(clock=lambda: 1.0), openai, []),
    )
    for format_ in ("chat", "responses", "messages")
    if (name, format_) not in {("openai", "chat"), ("anthropic", "messages")}
}


def read(level: Level, pieces: Events, *, skims: bool) -> tuple[Any, ...]:
    reader: Any = level.stream()
    if not skims:
        reader.skim = lambda data, at, out: at  # noqa: ARG005 - nothing is known by sight
    written = b"".join([reader.feed(one) for one in pieces])
    state = (reader.content, reader.finished, reader.refused, reader.failure)
    return written, state, written + reader.end(), reader.failure


def cut(whole: bytes, places: list[int]) -> Events:
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]


def changed(data: st.DataObject, event: bytes) -> bytes:
    """The event, perhaps written otherwise, or with a member more."""
    if data.draw(st.booleans()):
        return event
    found = [
        event.replace(b'":', b'": '),
        event.replace(b",", b", "),
        event.replace(b"}}\n", b"}" + data.draw(BLANKS) + b"}" + data.draw(BLANKS) + b"\n"),
        event.replace(b"}\n\n", b',"obfuscation":"aB3"}\n\n'),
        event.replace(b"}\n\n", b',"obfuscation":"a\\n"}\n\n'),
        event.replace(b"}\n\n", b',"error":{"message":"no"}}\n\n'),
        event.replace(b"}\n\n", b',"usage":{"prompt_tokens":3}}\n\n'),
        event.replace(b"}\n\n", b',"service_tier":"flex"}\n\n'),
        event.replace(b'"finish_reason":null', b'"finish_reason":"stop"'),
        event.replace(b'"finish_reason":null', b'"finish_reason":null,"logprobs":{"content":[]}'),
        event.replace(b'"delta":{', b'"delta":{"content":"0","refusal":null,'),
        event.replace(b'"delta":{', b'"delta":{"role":"assistant","refusal":"no",'),
        event.replace(b'"id":"c"', b'"id":"\\"content\\":\\"a\\""'),
        event.replace(b'"id":"c"', b'"content":"a","id":"c"'),
        event.replace(b"\n", b"\r\n"),
        event.replace(b"\n\n", b"\n"),
        event.replace(b"data: ", b"data:"),
        b": ping\n\n" + event,
        b"id: 1\n" + event,
    ]
    return data.draw(st.sampled_from(found))


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None)
@given(data=st.data())
def test_means_what_the_decoder_makes_of_it(name: str, data: st.DataObject) -> None:
    level, shape, begun = READERS[name]
    events = list(begun) if data.draw(st.integers(0, 9)) else []
    for kind, literal, index in data.draw(
        st.lists(st.tuples(KINDS, LITERALS, INDEXES), max_size=8)
    ):
        made = shape(kind, literal, index)
        events.append(made if "bedrock" in name else changed(data, made))
    whole = b"".join(events)
    places = data.draw(st.lists(st.integers(0), max_size=6))
    for sent in (events, [whole], cut(whole, places)):
        assert read(level, sent, skims=True) == read(level, sent, skims=False)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", [b"text", b"thinking", b"arguments"])
def test_is_the_same_for_a_run_of_one_kind(name: str, kind: bytes) -> None:
    level, shape, begun = READERS[name]
    texts = ["a", "é", "\n", "😀", '"', "\\", "b" * 9]
    run = [shape(kind, json.dumps(one, ensure_ascii=False).encode(), 2) for one in texts]
    for pieces in ([*begun, *run], [b"".join([*begun, *run])]):
        fast, slow = read(level, pieces, skims=True), read(level, pieces, skims=False)
        assert fast == slow
        assert fast[0]


@pytest.mark.parametrize("name", READERS)
def test_knows_text_by_sight(name: str) -> None:
    """Without this the rest would compare one way with itself."""
    level, shape, begun = READERS[name]
    reader: Any = level.stream()
    first, *run = [shape(b"text", b'"%d"' % number, 0) for number in range(20)]
    # Without the call: an open one keeps text waiting in messages.
    for piece in [*begun[:-1], first]:
        reader.feed(piece)
    reader.event = None
    assert b'"1"' in reader.feed(run[0])
    assert b'"9"' in reader.feed(b"".join(run[1:]) + run[0][:20])
    assert reader.failure is None
