from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard import Finding
from extproc.guard.placeholders import (
    Mapping,
    Redactor,
    is_name,
    keyed_hash,
    label_of,
    mask,
    name_of,
)
from extproc.guard.restore import restore

BITS = st.sampled_from(
    [
        "John",
        "john",
        "JOHN  SMITH",
        "John Smith",
        "+49 30 1234567",
        "<",
        ">",
        "\\",
        "&lt;",
        "&gt;",
        "\\u003c",
        "\\u003e",
        "PERSON",
        "person",
        "_",
        "\\_",
        "1",
        "2",
        "<PERSON_1>",
        "<PERSON_2>",
        "<person_1>",
        "< PERSON_1 >",
        "<PERSON_1_2>",
        "\\<PERSON\\_1\\>",
        "<CUSTOM_A_1>",
        "**",
        " ",
        "\n",
        "\u200b",
        "é",
        "漢字",
        "😀",
        '"',
    ]
)
TEXTS = st.lists(BITS | st.text(max_size=3), max_size=14).map("".join)
KINDS = st.sampled_from(
    ["PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS", "SECRET", "CUSTOM:a", "CUSTOM:1", "NEW", ""]
)


@st.composite
def found(draw: st.DrawFn) -> tuple[str, list[Finding]]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return text, [Finding(start, end, draw(KINDS), 0.9) for start, end in pairs]


def spotted(text: str, *values: str, kind: str = "PERSON") -> list[Finding]:
    return sorted(
        (Finding(text.index(value), text.index(value) + len(value), kind, 0.9) for value in values),
        key=lambda finding: finding.start,
    )


@given(st.lists(found(), max_size=4))
@settings(deadline=None, max_examples=300)
def test_what_is_redacted_is_restored_exactly(turns: list[tuple[str, list[Finding]]]) -> None:
    redactor = Redactor()
    redacted = [redactor.redact(text, findings) for text, findings in turns]
    for (text, _), changed in zip(turns, redacted, strict=True):
        assert restore(changed, redactor.mapping) == text


@given(st.lists(found(), max_size=4))
@settings(deadline=None, max_examples=100)
def test_a_conversation_goes_on_from_its_bytes(turns: list[tuple[str, list[Finding]]]) -> None:
    one = Redactor()
    mapping = Mapping()
    for text, findings in turns:
        other = Redactor(Mapping.from_bytes(mapping.to_bytes()))
        assert other.redact(text, findings) == one.redact(text, findings)
        mapping = other.mapping
    assert mapping == one.mapping


def test_one_value_one_placeholder() -> None:
    text = "Ann met Bob. Bob met Ann and Zoé."
    redactor = Redactor()
    assert (
        redactor.redact(text, spotted(text, "Ann", "Bob", "Zoé"))
        == "<PERSON_1> met <PERSON_2>. Bob met Ann and <PERSON_3>."
    )
    again = "Bob again"
    assert redactor.redact(again, spotted(again, "Bob")) == "<PERSON_2> again"
    assert redactor.redact("b@x.org", spotted("b@x.org", "b@x.org", kind="EMAIL_ADDRESS")) == (
        "<EMAIL_ADDRESS_1>"
    )


def test_a_known_value_is_replaced_where_it_was_not_found() -> None:
    redactor = Redactor()
    text = "Zorblax here. My name is Zorblax, not Zorblaxia; Zorblax's dog"
    start = text.index("Zorblax,")
    redacted = redactor.redact(text, [Finding(start, start + 7, "PERSON", 0.9)])
    assert redacted == ("<PERSON_1> here. My name is <PERSON_1>, not Zorblaxia; <PERSON_1>'s dog")
    number = "+49 (30) 901820"
    redactor.redact(number, spotted(number, number, kind="PHONE_NUMBER"))
    assert redactor.redact(f"call {number}!", []) == "call <PHONE_NUMBER_1>!"
    assert redactor.redact(f"call {number}00", []) == f"call {number}00"


def test_the_longest_known_value_wins() -> None:
    redactor = Redactor()
    text = "Anna / Anna Karenina"
    redactor.redact(text, spotted(text, "Anna", "Anna Karenina"))
    found_later = [Finding(7, 20, "PERSON", 0.9)]
    redactor.redact(text, found_later)
    assert redactor.redact("for Anna Karenina", []) == "for <PERSON_2>"


def test_what_a_later_message_gives_away_is_learnt_first() -> None:
    first, second = "Hi, Quux again", "My name is Quux"
    redactor = Redactor()
    findings = spotted(second, "Quux")
    redactor.learn(second, findings)
    assert redactor.redact(first, []) == "Hi, <PERSON_1> again"


def test_other_spellings_share_the_number_and_come_back_as_they_were() -> None:
    text = "Ann Lee, ANN  LEE, ann lee"
    redactor = Redactor()
    redacted = redactor.redact(text, spotted(text, "Ann Lee", "ANN  LEE", "ann lee"))
    assert redacted == "<PERSON_1>, <PERSON_1_2>, <PERSON_1_3>"
    assert restore(redacted, redactor.mapping) == text
    numbers = "+4930901820 = +49 30 90-18-20"
    redacted = redactor.redact(
        numbers, spotted(numbers, "+4930901820", "+49 30 90-18-20", kind="PHONE_NUMBER")
    )
    assert redacted == "<PHONE_NUMBER_1> = <PHONE_NUMBER_1_2>"
    keys = "sk-aB sk-Ab"
    redacted = redactor.redact(keys, spotted(keys, "sk-aB", "sk-Ab", kind="API_KEY"))
    assert redacted == "<API_KEY_1> <API_KEY_2>"


def test_text_that_looks_like_a_placeholder_gets_one_of_its_own() -> None:
    text = "Ann wrote <PERSON_1> and &lt;person_2&gt; in <item_1>"
    redactor = Redactor()
    redacted = redactor.redact(text, spotted(text, "Ann"))
    assert redacted == "<PERSON_1> wrote <PERSON_2> and <PERSON_3> in <item_1>"
    assert restore(redacted, redactor.mapping) == text
    assert restore("<PERSON_2>", redactor.mapping) == "<PERSON_1>"


def test_findings_that_do_not_fit_the_text_are_left_out() -> None:
    findings = [
        Finding(0, 3, "PERSON", 1.0),
        Finding(2, 5, "PERSON", 1.0),
        Finding(4, 4, "PERSON", 1.0),
        Finding(5, 99, "PERSON", 1.0),
    ]
    assert Redactor().redact("Ann and", findings) == "<PERSON_1> and"


def test_other_actions() -> None:
    text = "Ann pays with 4111-1111-1111-1111"
    findings = [Finding(0, 3, "PERSON", 1.0), Finding(14, 33, "CREDIT_CARD", 1.0)]
    masked = Redactor(actions={"CREDIT_CARD": "mask"})
    assert masked.redact(text, findings) == "<PERSON_1> pays with ****-****-****-1111"
    hashed = Redactor(actions={"CREDIT_CARD": "hash"}, key=b"k").redact(text, findings)
    assert (
        hashed == f"<PERSON_1> pays with {keyed_hash('4111 1111 1111 1111', 'CREDIT_CARD', b'k')}"
    )
    assert hashed != Redactor(actions={"CREDIT_CARD": "hash"}, key=b"l").redact(text, findings)
    assert "4111" not in str(masked.mapping.to_bytes())


@pytest.mark.parametrize(
    ("value", "masked"),
    [("4111111111111111", "************1111"), ("Ann", "**n"), ("secret", "***ret"), ("", "")],
)
def test_mask_leaves_four_and_never_more_than_half(value: str, masked: str) -> None:
    assert mask(value) == masked


@given(st.text())
def test_labels_are_labels(kind: str) -> None:
    label = label_of(kind)
    assert is_name(f"{label}_1")
    assert name_of(f"{label}_12_3") == f"{label}_12_3"


def test_neither_repr_nor_errors_show_a_value() -> None:
    redactor = Redactor()
    redactor.redact("hidden", [Finding(0, 6, "SECRET", 1.0)])
    shown = f"{redactor!r} {redactor.mapping!r} {redactor.mapping}"
    assert "hidden" not in shown
    data = redactor.mapping.to_bytes()
    for broken in (b"", data[:-1], data + b"x", data.replace(b"SECRET", b"secret")):
        with pytest.raises(ValueError, match="not a mapping") as caught:
            Mapping.from_bytes(broken)
        assert "hidden" not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_surrogates_survive() -> None:
    redactor = Redactor()
    text = "a\ud800b"
    redacted = redactor.redact(text, [Finding(0, 3, "SECRET", 1.0)])
    assert restore(redacted, Mapping.from_bytes(redactor.mapping.to_bytes())) == text


def test_many_values_of_one_first_word() -> None:
    numbers = [f"10.0.{n >> 8}.{n & 255}" for n in range(3000)]
    random.Random(1).shuffle(numbers)
    text = " ".join(numbers)
    findings = []
    at = 0
    for number in numbers:
        findings.append(Finding(at, at + len(number), "IP_ADDRESS", 1.0))
        at += len(number) + 1
    redactor = Redactor()
    redacted = redactor.redact(text, findings)
    assert "10.0." not in redacted
    assert redactor.redact(text, []) == redacted
    assert restore(redacted, redactor.mapping) == text


def test_a_value_of_several_words_is_known_in_other_letters_and_spaces() -> None:
    redactor = Redactor()
    text = "I am Kim Berger. Ask kim berger, KIM  BERGER or Kim\nBerger; Kim Bergers."
    out = redactor.redact(text, [Finding(5, 15, "PERSON", 0.9)])
    assert out == "I am <PERSON_1>. Ask <PERSON_1_2>, <PERSON_1_3> or <PERSON_1_4>; Kim Bergers."
    assert restore(out, redactor.mapping) == text


def test_one_word_is_known_as_it_was_written_only() -> None:
    redactor = Redactor()
    out = redactor.redact("I am Summer. Summer, summer", [Finding(5, 11, "PERSON", 0.9)])
    assert out == "I am <PERSON_1>. <PERSON_1>, summer"
