from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard.bodies.encodings import Content, is_base64, is_token, read


def textual(value: str, **beside: str) -> Content:
    return read(value, beside, document=True)


@given(st.binary(min_size=3), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_base64_is_known(data: bytes, encode: object) -> None:
    assert callable(encode)
    text = encode(data).decode()
    assert is_base64(text) or text.isdigit()
    assert is_base64(text.rstrip("=")) or text.rstrip("=").isdigit()


def test_base64_in_lines_is_known() -> None:
    assert is_base64(base64.encodebytes(bytes(range(200))).decode())
    assert is_base64(base64.encodebytes(bytes(range(200))).decode().replace("\n", "\r\n"))


@pytest.mark.parametrize(
    "text", ["a b", "a@b.c", "John\nDoe", "4111111111111111", "Jürgen", "a=b", "+49 151", "x,y"]
)
def test_what_people_write_is_no_base64(text: str) -> None:
    assert not is_base64(text)


@pytest.mark.parametrize("text", ["gAAAAABo-_x=", "EuYB/x+==", "a.b.c", "c2ln~"])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["a b", "a@b.c", "4111111111111111", "naïve", "<x>"])
def test_no_tokens(text: str) -> None:
    assert not is_token(text)


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_of_other_charsets(charset: str) -> None:
    value = base64.b64encode("Jürgen, a@b.c".encode(charset)).decode()
    found = textual(value, media_type="text/plain")
    assert found.text.lstrip("\ufeff") == "Jürgen, a@b.c"
    assert found.document
    assert found.encode is not None
    made = found.encode(found.text.replace("a@b.c", "<E>"))
    assert base64.b64decode(made).decode(charset) == "Jürgen, <E>"


def test_bytes_that_are_no_text_are_looked_into_and_stay_a_file() -> None:
    data = "Jürgen\x00".encode("latin-1") + bytes(range(128, 256))
    found = textual(base64.b64encode(data).decode(), media_type="text/plain")
    assert found.text.startswith("Jürgen")
    assert not found.document
    assert found.encode is not None
    assert base64.b64decode(found.encode(found.text)) == data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            "data:application/pdf;name=Max M.pdf;base64,AAAA",
            "application/pdf;name=Max M.pdf;base64",
        ),
        ("data:text/plain;name=Max;base64,YSBi", "text/plain;name=Max;base64\na b"),
    ],
)
def test_names_in_the_head_of_a_url_are_seen(value: str, text: str) -> None:
    found = textual(value)
    assert found.text == text
    assert found.encode is not None
    assert found.encode(text) == value
    assert found.encode(text.replace("Max", "<P>")) == value.replace("Max", "<P>")


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    value = "data:text/plain;base64," + base64.b64encode(text.encode()).decode()
    found = textual(value)
    if found.encode is None:
        assert found.text == value
    else:
        assert textual(found.encode(found.text)).text == found.text
