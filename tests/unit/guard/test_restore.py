# ruff: noqa: RUF001 - signs of many scripts
from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard.placeholders import LONGEST_BODY, Mapping, Redactor
from extproc.guard.restore import Restorer, restore
from tests.unit.guard.test_placeholders import TEXTS, found

MAPPING = Mapping(
    {
        "PERSON_1": 'Ann "A" Lee\\',
        "PERSON_12": "Bob",
        "PERSON_1_2": "ann lee",
        "CUSTOM_X_1": "<PERSON_1>\n",
        "PHONE_NUMBER_1": "+1 \ud83d",
    }
)
PLAIN = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "\\",
            "\\\\",
            "&lt;",
            "&gt;",
            "&#60;",
            "&#x3E;",
            "&l",
            "\\u003c",
            "\\u003e",
            "\\u00",
            "PERSON",
            "per",
            "son",
            "_",
            "1",
            "2",
            "**",
            " ",
            "\\n",
            "\\_",
            "a",
            "<PERSON_1>",
            "\\<PERSON\\_1\\>",
            "\\\\<PERSON\\\\_12\\\\>",
            "<CUSTOM_X_1",
            "＜phone-number 1＞",
            "é",
        ]
    ),
    max_size=16,
).map("".join)


def streamed(text: str, cuts: list[int], mapping: Mapping, *, as_json: bool) -> str:
    restorer = Restorer(mapping, json=as_json)
    out = []
    at = 0
    for cut in [*sorted(cuts), len(text)]:
        out.append(restorer.feed(text[at:cut]))
        assert restorer.held <= LONGEST_BODY + 16
        at = max(at, cut)
    return "".join(out) + restorer.end()


@pytest.mark.parametrize("as_json", [False, True])
@given(PLAIN, st.lists(st.integers(0, 60), max_size=6))
@settings(deadline=None, max_examples=400)
def test_any_cutting_gives_the_same(as_json: bool, text: str, cuts: list[int]) -> None:
    whole = restore(text, MAPPING, json=as_json)
    assert streamed(text, [min(cut, len(text)) for cut in cuts], MAPPING, as_json=as_json) == whole
    assert streamed(text, list(range(len(text))), MAPPING, as_json=as_json) == whole


@given(found(), st.booleans())
@settings(deadline=None, max_examples=300)
def test_tool_arguments_come_back_as_they_were(
    given_text: tuple[str, list[object]], ascii_only: bool
) -> None:
    text, findings = given_text
    redactor = Redactor()
    redacted = redactor.redact(text, findings)  # type: ignore[arg-type]
    arguments = json.dumps({"to": [redacted, 1]}, ensure_ascii=ascii_only)
    restored = streamed(arguments, list(range(len(arguments))), redactor.mapping, as_json=True)
    assert json.loads(restored) == {"to": [text, 1]}


@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_restored_arguments_stay_json(text: str) -> None:
    arguments = json.dumps({"a": text})
    decoded = json.loads(restore(arguments, MAPPING, json=True))
    assert set(decoded) == {"a"}
    escaped = arguments.replace("<", "\\u003c").replace(">", "\\u003e")
    assert json.loads(restore(escaped, MAPPING, json=True)) == decoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**<PERSON_12>**", "**Bob**"),
        ("`<PERSON_12>`", "`Bob`"),
        ("<**PERSON_12**>", "Bob"),
        ("<PERSON_**12**>", "Bob"),
        ("&lt;PERSON_12&gt;", "Bob"),
        ("&#60;PERSON_12&#x3e;", "Bob"),
        ("<person_12>", "Bob"),
        ("< Person_12 >", "Bob"),
        ("<PERSON 12>", "Bob"),
        ("<PERSON-12>", "Bob"),
        ("\\<PERSON\\_12\\>", "Bob"),
        ("\\<PERSON\\_12>", "Bob"),
        ("\\<PERSON_12>", "\\Bob"),
        ("<PERSON\\_12>", "Bob"),
        ("\\u003cPERSON_12\\u003e", "Bob"),
        ("<PER\u200bSON_12>", "Bob"),
        ("＜PERSON_12＞", "Bob"),
        ("<<PERSON_12>>", "<Bob>"),
        ("<PERSON_12><PERSON_12>", "BobBob"),
        ("<PERSON_12", "<PERSON_12"),
        ("<PERSON_2>", "<PERSON_2>"),
        ("<PERSON_012>", "<PERSON_012>"),
        ("<PERSON_121>", "<PERSON_121>"),
        ("</PERSON_12>", "</PERSON_12>"),
        ("<b>PERSON_12</b>", "<b>PERSON_12</b>"),
        ("<CUSTOM_X_1>", "<PERSON_1>\n"),
    ],
)
def test_what_models_make_of_placeholders(text: str, expected: str) -> None:
    assert restore(text, MAPPING) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "<PERSON_1>"}', 'Ann "A" Lee\\'),
        ('{"a": "\\u003cPERSON_1\\u003e"}', 'Ann "A" Lee\\'),
        ('{"a": "\\\\<PERSON\\\\_12\\\\>"}', "Bob"),
        ('{"a": "\\\\u003cPERSON_12>"}', "\\u003cPERSON_12>"),
        ('{"a": "\\\\\\u003cPERSON_12>"}', "\\Bob"),
        ('{"a": "\\n<PERSON_12\\n>"}', "\nBob"),
        ('{"a": "<CUSTOM_X_1>"}', "<PERSON_1>\n"),
        ('{"a": "<PHONE_NUMBER_1>"}', "+1 \ud83d"),
    ],
)
def test_values_go_into_json_strings(text: str, expected: str) -> None:
    assert json.loads(restore(text, MAPPING, json=True)) == {"a": expected}


def test_only_what_could_be_one_is_held() -> None:
    restorer = Restorer(MAPPING)
    assert restorer.feed("if a < b and ") == "if a < b and "
    assert restorer.feed("see <PER") == "see "
    assert restorer.feed("iod>, <div class=") == "<PERiod>, <div class="
    assert restorer.feed("<person_1") == ""
    assert restorer.held == len("<person_1")
    assert restorer.feed("2") == ""
    assert restorer.feed(">!") == "Bob!"
    assert restorer.feed("x &") == "x "
    assert restorer.feed(" y") == "& y"
    assert restorer.end() == ""
    assert Restorer(Mapping()).feed("<PERSON_1") == "<PERSON_1"


def test_a_restorer_shows_no_values() -> None:
    restorer = Restorer(MAPPING)
    restorer.feed("<PERSON_1")
    assert "Ann" not in repr(restorer)


@pytest.mark.parametrize(
    "text", ["<" * 50_000, "<PERSON_" * 10_000, "\\" * 50_000, "&lt;" * 20_000, "<P" + " " * 90_000]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_text_takes_linear_time(text: str, as_json: bool) -> None:
    begin = time.process_time()
    assert restore(text, MAPPING, json=as_json) == text
    assert time.process_time() - begin < 5
