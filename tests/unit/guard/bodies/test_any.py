"""What holds for any body of any format."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.bodies import read_answer, read_request
from extproc.guard.bodies.reading import MOST_TEXTS
from tests.unit.guard.bodies.looking import FORMATS, values

KEYS = st.sampled_from(
    [
        "model",
        "messages",
        "role",
        "content",
        "type",
        "text",
        "input",
        "arguments",
        "function",
        "tool_calls",
        "name",
        "id",
        "source",
        "data",
        "image_url",
        "url",
        "file",
        "file_data",
        "signature",
        "thinking",
        "parameters",
        "properties",
        "enum",
        "output",
        "summary",
        "encrypted_content",
        "choices",
        "message",
        "logprobs",
        "usage",
        "metadata",
        "reasoning_details",
        "tools",
    ]
)
STRINGS = (
    st.text()
    | KEYS
    | st.sampled_from(
        [
            "tollgate.1.eyJkZXRhaWxzIjpbeyJ0ZXh0IjoiYSJ9XX0=",
            "data:text/plain;base64,aGVsbG8=",
            "data:text/plain,hello%20world",
            "data:image/png;base64,aGVsbG8=",
            '{"a": "b", "c": [1234567, "\\u00e9"]}',
            "1234567890",
            "aGVsbG8=",
        ]
    )
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=5)
    ),
    max_leaves=25,
)
BODIES = st.dictionaries(KEYS | st.text(), TREES | TREES.map(json.dumps), max_size=6)
READ = st.sampled_from([read_request, read_answer])
FORMAT = st.sampled_from(FORMATS)


@given(BODIES, FORMAT, READ, st.booleans(), st.sampled_from([None, 1]))
def test_the_same_values_are_the_same_bytes(
    tree: Any, format_: str, read: Any, ascii_: bool, indent: int | None
) -> None:
    data = json.dumps(tree, ensure_ascii=ascii_, indent=indent).encode()
    body = read(data, format_)
    assert body.written(values(body)) is data
    assert all(values(body))


@given(BODIES, FORMAT, READ)
def test_changed_values_are_read_again_as_they_were_written(
    tree: Any, format_: str, read: Any
) -> None:
    body = read(json.dumps(tree).encode(), format_)
    marks = [f"⟦{index}⟧" for index in range(len(body.texts))]
    again = read(body.written([f"x {mark}" for mark in marks]), format_)
    found = " ".join(values(again))
    assert [found.count(mark) for mark in marks] == [1] * len(marks)
    back = again.written([_unmarked(one, body) for one in values(again)])
    assert _unnumbered(json.loads(back)) == _unnumbered(tree)


def _unmarked(value: str, body: Any) -> str:
    start, end = value.find("⟦"), value.find("⟧")
    return value if start < 0 else body.texts[int(value[start + 1 : end])].value


def _unnumbered(tree: Any) -> Any:
    """Without what comes back in another form: numbers as strings, JSON and base64 in strings,
    keys with a number behind them."""
    if isinstance(tree, dict):
        return [_unnumbered(one) for one in tree.values()]
    if isinstance(tree, list):
        return [_unnumbered(one) for one in tree]
    return None


@given(BODIES, FORMAT, READ, st.data())
def test_one_change_changes_nothing_else(
    tree: Any, format_: str, read: Any, data: st.DataObject
) -> None:
    body = read(json.dumps(tree, indent=1).encode(), format_)
    if not body.texts:
        return
    index = data.draw(st.integers(0, len(body.texts) - 1))
    new = data.draw(st.text())
    before = values(body)
    old = body.written(before)
    written = body.written([*before[:index], new, *before[index + 1 :]])
    json.loads(written)
    start = next((i for i, (a, b) in enumerate(zip(old, written, strict=False)) if a != b), None)
    if start is not None:
        # One token: what is before it and behind it stays byte for byte.
        assert old[:start] == written[:start]
        tail = len(old) - old.rfind(b"\n")
        assert old[-tail:] == written[-tail:]


@given(BODIES, FORMAT, READ)
def test_places_show_nothing_but_names(tree: Any, format_: str, read: Any) -> None:
    body = read(json.dumps({**tree, "+49 151 1234": {"a@b.c": "x"}}).encode(), format_)
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]*$")
    for one in [*body.texts, *body.media]:
        assert set(one.place) <= allowed
        assert "a@b.c" not in one.place


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":{"b":"x","b":"y"}}', b"[" * 5000]
)
def test_what_is_no_json_or_has_two_readings_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not JSON|duplicate key"):
        read_request(data, "chat")


def test_more_texts_than_anybody_says_are_told() -> None:
    few = b",".join([b'"ab"'] * MOST_TEXTS)
    assert len(read_request(b'{"stop":[%b]}' % few, "chat").texts) == MOST_TEXTS
    with pytest.raises(ValueError, match="too many texts"):
        read_request(b'{"stop":[%b,"ab"]}' % few, "chat")
    # In a string they are one.
    inner = json.dumps(f"[{few.decode()}]").encode()
    body = read_request(b'{"messages":[{"role":"user","content":%b}]}' % inner, "chat")
    assert len(body.texts) == 1


def test_many_numbers_are_written_in_one_pass() -> None:
    numbers = [100000 + at for at in range(50000)]
    tree = {"messages": [{"content": [{"type": "tool_use", "input": {"n": numbers}}]}]}
    body = read_request(json.dumps(tree).encode(), "messages")
    made = json.loads(body.written([f"<{one}>" for one in values(body)]))
    assert made["messages"][0]["content"][0]["input"]["n"] == [f"<{one}>" for one in numbers]


def test_another_number_of_values_is_refused() -> None:
    body = read_request(b'{"a":"b"}', "chat")
    with pytest.raises(ValueError, match="2 values for 1 texts"):
        body.written(["b", "c"])


def nested(depth: int) -> bytes:
    return b'{"metadata":' + b'{"a":' * (depth - 1) + b'"x y"' + b"}" * depth


def test_depth() -> None:
    body = read_request(nested(64), "chat")
    assert values(body) == ["x y"]
    with pytest.raises(ValueError, match="too deep"):
        read_request(nested(65), "chat")


def test_keys_that_become_alike_stay_apart() -> None:
    given_ = b'{"model":"m","metadata":{"a@b.c":"1","d@e.f":"2","k x":{"a@b.c":"3"}}}'
    body = read_request(given_, "chat")
    made = json.loads(body.written(["***" if "@" in one else one for one in values(body)]))
    assert made["metadata"] == {"***": "1", "***_2": "2", "k x": {"***": "3"}}


@pytest.mark.parametrize(
    "piece",
    [
        b'{"role":"user","content":"%s"}' % (b"1" * 1000),
        b'{"role":"user","content":"%s"}' % (rb"\n" * 500),
        b'{"role":"user","content":[{"type":"text","text":"hi you"}]}',
        rb'{"tool_calls":[{"function":{"arguments":"{\"a\":[123456,1234567],\"b b\":\"c\"}"}}]}',
    ],
)
def test_time_is_linear(piece: bytes) -> None:
    def took(count: int) -> float:
        data = b'{"model":"m","messages":[' + b",".join([piece] * count) + b"]}"
        times = []
        for _ in range(3):
            start = time.process_time()
            body = read_request(data, "chat")
            body.written([one + "x" for one in values(body)])
            times.append(time.process_time() - start)
        return min(times)

    assert took(4000) < 30 * max(took(400), 1e-3)
