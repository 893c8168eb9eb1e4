import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import strict_json
from extproc.errors import ClientError

TEXT = st.text()
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)


def refused(body: bytes) -> ClientError:
    with pytest.raises(ClientError) as caught:
        strict_json.load(body)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    json.loads(caught.value.openai())
    return caught.value


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "empty", None),
        (b"  \n", "empty", None),
        (b"[]", "expected an object", None),
        (b'"text"', "expected an object", None),
        (b"null", "expected an object", None),
        (b"{", "at byte 1", None),
        (b'{"a":1,}', "at byte", None),
        (b"{'a':1}", "at byte 1", None),
        (b'{"a":01}', "at byte", None),
        (b'{"a":.5}', "at byte", None),
        (b'{"a":+1}', "at byte", None),
        (b'{"a":1} x', "extra data at byte 8", None),
        (b'{"a":1}{"a":2}', "extra data at byte 7", None),
        (b'{"a":1}\0', "extra data at byte 7", None),
        (b'{"a":"\n"}', "at byte 6", None),
        (b'{"a":"\t"}', "at byte 6", None),
        (b'{"a":"\\x"}', "at byte 6", None),
        (b'{"a":"\xff"}', "invalid UTF-8 at byte 6", None),
        (b'{"a":"\xc0\xaf"}', "invalid UTF-8 at byte 6", None),
        (b'{"a":"\xed\xa0\x80"}', "invalid UTF-8 at byte 6", None),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark", None),
        ('{"a":1}'.encode("utf-16"), "invalid UTF-8", None),
        ('{"a":1}'.encode("utf-16-le"), "at byte", None),
        (b'{"a":1,"a":1}', 'duplicate key "a"', "a"),
        (b'{"a":1,"\\u0061":2}', 'duplicate key "a"', "a"),
        (b'{"m":[{"x":0},{"r":1,"c":2,"r":3}]}', 'duplicate key "r" in m[1]', "m[1].r"),
        (b'{"m":{"n":{"d":1,"d":1}}}', 'duplicate key "d" in m.n', "m.n.d"),
        (b'{"t":NaN}', "NaN is not JSON in t", "t"),
        (b'{"t":[1,Infinity]}', "Infinity is not JSON in t[1]", "t[1]"),
        (b'{"t":-Infinity}', "-Infinity is not JSON in t", "t"),
        (b'{"t":1e400}', "number out of range in t", "t"),
        (b'{"t":-1e400}', "number out of range in t", "t"),
        (b'{"t":' + b"9" * 400 + b"}", "number out of range in t", "t"),
        (b'{"t":' + b"9" * 9000 + b"}", "number out of range in t", "t"),
        (b'{"t":"\\ud800"}', "lone surrogate in t", "t"),
        (b'{"t":["ok","\\udc00x"]}', "lone surrogate in t[1]", "t[1]"),
        (b'{"t":"\\udc00\\ud800"}', "lone surrogate in t", "t"),
        (b'{"\\ud800":1}', "lone surrogate in a key", None),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64", None),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper than 64", None),
        (b'{"a":' + b"[" * 200_000, "nested deeper than 64", None),
        (b'{"a":' * 200_000, "nested deeper than 64", None),
    ],
)
def test_refuses_what_two_parsers_could_read_differently(
    body: bytes, says: str, param: str | None
) -> None:
    error = refused(body)
    assert says in error.message
    assert error.param == param
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' {"a" : [ 1 , 2 ] } \r\n\t',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\\\\ud800"}',
        b'{"a":"[[[[{{{{"}',
        b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
        b'{"a":[' + b",".join([b"{}"] * 500) + b"]}",
        b'{"a":123456789012345678901234567890,"b":1e-400,"c":-0.0,"d":1E5}',
        '{"a":"ï»¿ é 中 😀"}'.encode(),
    ],
)
def test_takes_valid_json(body: bytes) -> None:
    assert strict_json.load(body) == json.loads(body)


@given(OBJECTS)
def test_reads_what_was_written(tree: dict[str, Any]) -> None:
    assert strict_json.load(json.dumps(tree).encode()) == tree
    assert strict_json.load(json.dumps(tree, ensure_ascii=False).encode()) == tree


@given(st.binary(max_size=200))
def test_any_bytes_give_a_tree_or_one_typed_error(body: bytes) -> None:
    try:
        tree = strict_json.load(body)
    except ClientError:
        return
    assert json.loads(body) == tree == msgspec.json.decode(body)


@given(OBJECTS, st.text(alphabet='{}[]",:\\u0019dDeE.+-nulltrefas \n' + "é", max_size=40))
def test_what_is_accepted_reads_the_same_elsewhere(tree: dict[str, Any], noise: str) -> None:
    text = json.dumps(tree)
    middle = len(text) // 2
    body = (text[:middle] + noise + text[middle:]).encode()
    try:
        found = strict_json.load(body)
    except ClientError:
        return
    assert found == msgspec.json.decode(body)


@given(TEXT, VALUES, VALUES, st.lists(TEXT, max_size=5))
def test_a_duplicate_is_found_at_any_depth(key: str, one: Any, two: Any, way: list[str]) -> None:
    pair = f"{json.dumps(key)}:{json.dumps(one)},{json.dumps(key)}:{json.dumps(two)}"
    text = "{" + pair + "}"
    for step in way:
        text = f"{{{json.dumps(step)}:[{text}]}}"
    assert "duplicate key" in refused(text.encode()).message


BODY = (
    b'{ "model" : "a", "n":1.0, "big":12345678901234567890123, '
    b'"t":[1e2, "\\u00e9"], "z":{"k": 0.10} }'
)


def test_splice_replaces_in_place_and_keeps_the_bytes_of_the_rest() -> None:
    made = strict_json.splice(BODY, {"model": "b"})
    assert made == (
        b'{"model":"b","n":1.0,"big":12345678901234567890123,"t":[1e2, "\\u00e9"],"z":{"k": 0.10}}'
    )


def test_splice_adds_at_the_end_and_removes() -> None:
    made = strict_json.splice(BODY, {"stream_options": {"include_usage": True}}, remove=("t", "no"))
    assert made == (
        b'{"model":"a","n":1.0,"big":12345678901234567890123,"z":{"k": 0.10},'
        b'"stream_options":{"include_usage":true}}'
    )


@given(OBJECTS, st.dictionaries(TEXT, VALUES, max_size=3), st.lists(TEXT, max_size=3))
def test_splice_changes_only_what_is_named(
    tree: dict[str, Any], replace: dict[str, Any], remove: list[str]
) -> None:
    # msgspec writes integers of at most 64 bits; replacements are ours and small.
    replace = {k: v for k, v in replace.items() if isinstance(v, str)}
    made = strict_json.splice(json.dumps(tree).encode(), replace, remove=remove)
    expected = {k: v for k, v in tree.items() if k not in remove} | replace
    assert strict_json.load(made) == expected
    assert list(strict_json.load(made)) == list(expected)
    assert strict_json.keys(made) == list(expected)


def test_time_grows_with_the_size_and_not_its_square() -> None:
    def seconds(size: int) -> float:
        text = json.dumps({"messages": [{"role": "user", "content": 'a "b" é\n' * size}]})
        body = text.encode()
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            strict_json.load(body)
            strict_json.splice(body, {"model": "x"})
            best = min(best, time.perf_counter() - start)
        return best

    # Eight times the size: a quadratic step would cost 64 times the time.
    assert seconds(400_000) < 24 * seconds(50_000)
