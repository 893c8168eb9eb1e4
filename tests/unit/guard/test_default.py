# ruff: noqa: E501, RUF001 - look-alikes are what this is about
import random
import time
from collections import Counter

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.guard import Finding
from extproc.guard.default import DefaultDetector, DetectorPolicy
from extproc.guard.plans import abroad
from tests.unit.guard import marked
from tests.unit.guard.marked import PLAIN, texts

DETECTOR = DefaultDetector()
PEOPLE = {"PERSON", "STREET_ADDRESS", "DATE_OF_BIRTH"}
"""Types with goals of their own."""


def kinds(text: str) -> list[tuple[str, str]]:
    return [
        (one.type, text[one.start : one.end])
        for one in DETECTOR.find(text)
        if one.type not in PEOPLE
    ]


def test_what_has_a_form_or_a_check_digit_is_found_and_little_else() -> None:
    marks, met, found, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for mark in texts(seed=7, each=60):
        findings = [one for one in DETECTOR.find(mark.text) if one.type not in PEOPLE]
        hits = [
            one
            for one in findings
            if one.type == mark.type and one.start < mark.end and mark.start < one.end
        ]
        marks[mark.type] += 1
        met[mark.type] += bool(hits)
        found.update(one.type for one in findings)
        right.update(one.type for one in hits)
    poor = {
        kind: (met[kind] / marks[kind], right[kind] / max(1, found[kind]))
        for kind in marks
        if met[kind] < 0.97 * marks[kind] or right[kind] < 0.95 * found[kind]
    }
    assert poor == {}


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_that_are_nobodys_are_left_alone(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("４１１１ １１１１ １１１１ １１１１", "CREDIT_CARD", None),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "CREDIT_CARD", None),
        ("4\u200b111\u200b1111\u00ad1111\u20601111", "CREDIT_CARD", None),
        ("4111\u20111111\u20131111\u22121111", "CREDIT_CARD", None),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "CREDIT_CARD", None),
        ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "CREDIT_CARD", None),
        ("4\u03361\u03361\u03361\u0336 1111 1111 1111", "CREDIT_CARD", "4\u03361\u03361\u03361\u0336 1111 1111 1111"),
        ("".join(chr(0xE0000 + ord(one)) for one in "a.b@example.com"), "EMAIL_ADDRESS", None),
        ("jоhn＠ехаmple．com", "EMAIL_ADDRESS", None),
        ("john [at] example [dot] com", "EMAIL_ADDRESS", None),
        ("john @ example . com", "EMAIL_ADDRESS", None),
        ("ＤＥ８９ ３７０４ ００４４ ０５３２ ０１３０ ００", "IBAN_CODE", None),
        ("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "IBAN_CODE", None),
        ("АКIAIOSFODNN7EXAMPLE", "API_KEY", None),
        ("sk-pr\u200boj-abcdEFGH1234567890abcdEFGH1234567890", "API_KEY", None),
        ("我的电话是13812345678。", "PHONE_NUMBER", "13812345678"),
        ("Мой телефон 8 916 123-45-67", "PHONE_NUMBER", "8 916 123-45-67"),
        ("密码: Sommer2024!", "PASSWORD", "Sommer2024!"),
    ],
)  # fmt: skip
def test_hiding_a_value_does_not_help(text: str, type_: str, value: str | None) -> None:
    assert kinds(text) == [(type_, text if value is None else value)]


@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", "41 11-", "a@", "eyJ.", "-----BEGIN RSA PRIVATE KEY-----", "api_key=", "password is ",
     "://a:", "DE89 ", "ab:12:", "1.2.3.", "4111 1111 1111 1111 ", "4\u200b", "12345678X ", "a [at] ",
     "token ab12cd34ef56gh78 ", "-----BEGIN EC PRIVATE KEY-----" + "A" * 900, "\ud800", "١"],
)  # fmt: skip
def test_four_times_the_text_takes_about_four_times_as_long(unit: str) -> None:
    def spent(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        taken = []
        for _ in range(2):
            start = time.process_time()
            DETECTOR.find(text)
            taken.append(time.process_time() - start)
        return min(taken)

    small = spent(20_000)
    assert spent(80_000) < 10 * max(small, 0.002)


@given(st.text() | st.text(alphabet="0123456789 -.+()/@:_=aAeEyYjJ\u200b\u0660\ud800\U0001d7d2"))
def test_any_text_has_findings_in_order_that_do_not_overlap(text: str) -> None:
    reached = 0
    for one in DETECTOR.find(text):
        assert reached <= one.start < one.end <= len(text)
        assert 0 < one.confidence <= 1
        reached = one.end


@given(
    st.sampled_from([one for one in texts(seed=3, each=2) if one.type in {"CREDIT_CARD", "IBAN_CODE", "API_KEY"}]),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f")), max_size=6),
)  # fmt: skip
def test_what_is_not_seen_changes_nothing_that_is_found(
    mark: marked.Marked, put: list[tuple[int, str]]
) -> None:
    text = mark.text
    for at, one in put:
        place = at % (len(text) + 1)
        text = text[:place] + one + text[place:]
    hidden = [
        (one.type, text[one.start : one.end].translate(_UNSEEN)) for one in DETECTOR.find(text)
    ]
    plain = [(one.type, mark.text[one.start : one.end]) for one in DETECTOR.find(mark.text)]
    people = PEOPLE  # which looks at the text as it is
    assert [one for one in hidden if one[0] not in people] == [
        one for one in plain if one[0] not in people
    ]


_UNSEEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f"))


def test_a_route_says_what_it_wants_to_have_found() -> None:
    text = (
        "a@example.com, support@acme.example, 4111 1111 1111 1111, project Falcon, ticket AC-1234"
    )
    policy = DetectorPolicy(
        types=frozenset({"EMAIL_ADDRESS"}),
        allow=["Support@ACME.example"],
        patterns={"ticket": r"AC-\d{4}"},
        words={"project": ["falcon"]},
    )
    found = DefaultDetector(policy).find(text)
    assert [(one.type, text[one.start : one.end]) for one in found] == [
        ("EMAIL_ADDRESS", "a@example.com"),
        ("CUSTOM:project", "Falcon"),
        ("CUSTOM:ticket", "AC-1234"),
    ]


def test_the_least_confidence_may_differ_by_type() -> None:
    text = "{} 4111111111111111 and a@example.com".format("")
    most = DetectorPolicy(least=0.9, least_of={"CREDIT_CARD": 0.995})
    assert [one.type for one in DefaultDetector(most).find(text)] == ["EMAIL_ADDRESS"]


def test_a_value_is_not_what_a_finding_shows() -> None:
    assert "4111" not in repr(Finding(0, 4, "CREDIT_CARD", 1.0))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "born 1988-08-13. Meine IBAN ist DE89370400440532013000.",
            ("IBAN_CODE", "DE89370400440532013000"),
        ),
        (
            "DE89 3704 0044 0532 0130 00 GB82 WEST 1234 5698 7654 32",
            ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
        ),
        ("phone=+44 20 7946 0958&email=kim@firm.example", ("EMAIL_ADDRESS", "kim@firm.example")),
        ("phone=+44 20 7946 0958&email=kim@firm.example", ("PHONE_NUMBER", "+44 20 7946 0958")),
        ("name,phone,city\nKim Lee,442-3366,Bern", ("PHONE_NUMBER", "442-3366")),
        ("| Id | Mobile |\n|---|---|\n| 77 | 904 33 124 |", ("PHONE_NUMBER", "904 33 124")),
        ("id;account number\n1;8837465522", ("US_BANK_NUMBER", "8837465522")),
        ("reach us: +358401234567", ("PHONE_NUMBER", "+358401234567")),
        ("<password>" + "Tr0ub4dor" + "&3</password>", ("PASSWORD", "Tr0ub4dor" + "&3")),
        ("curl -sS -u admin:" + "Tr0ub4dor" + "3 https://host", ("PASSWORD", "Tr0ub4dor" + "3")),
        ("sshpass -p " + "Tr0ub4dor" + "3 ssh host", ("PASSWORD", "Tr0ub4dor" + "3")),
        ("CREATE USER x IDENTIFIED BY '" + "Tr0ub4dor" + "3'", ("PASSWORD", "Tr0ub4dor" + "3")),
        ("token=" + "dRzDTn7qLWaY" + "yDIfIZwXeozL", ("SECRET", "dRzDTn7qLWaY" + "yDIfIZwXeozL")),
        (
            "pat" + "4kQzT7mWn2LxRb" + "." + "0f1e2d3c" * 8,
            ("API_KEY", "pat" + "4kQzT7mWn2LxRb" + "." + "0f1e2d3c" * 8),
        ),
    ],
)
def test_values_beside_others_are_found(text: str, found: tuple[str, str]) -> None:
    assert found in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "order number 9646259609 was placed, invoice INV-2026-38407",
        "1234 5678 9012 3456 7890 1234 5678 9012 3456",
        "ratio 020 7946 0958 1 22 333 4444 55555",
        "name,population,area\nBern,134591,5162",
        "if (password > minLength) return",
        "const token = await getUserToken2FromRequest(request)",
        "token=getUserToken2FromRequest",
        "connect via Port 8080 and route Alpha 3",
    ],
)
def test_what_only_looks_like_a_value_is_left_alone(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize(
    "unit",
    ["+1 212 555 0100 ", "020 7946 0958 ", "1234 ", "123-", "1 ", "Alpha Beta ", "A. ", "[at] ", " @", "-----BEGIN PRIVATE KEY-----",
     "am 1988-08-13. IB", "Box ", "PO AA 12345 ", "curl -u a:", "born 1.2.1990 ", "rue de la ", "mr ", "\U0001d7d2", "\ud800"],
)  # fmt: skip
def test_a_page_of_the_same_takes_no_more_than_some_milliseconds_a_kb(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    before = time.process_time()
    DETECTOR.find(text)
    assert time.process_time() - before < 0.04 * len(text) / 1_000


def test_a_number_is_what_the_numbering_plans_say() -> None:
    draw = random.Random(5)
    codes = draw.sample(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 60)
    for code in (1, 44, 49, 39, *codes):
        shown = phonenumbers.example_number(phonenumbers.region_code_for_country_code(code))
        if shown is None:
            continue
        for _ in range(20):
            digits = list(f"{shown.national_number}")
            digits[draw.randrange(len(digits))] = draw.choice("0123456789")
            number = f"{code}{''.join(digits)}"
            parsed = phonenumbers.parse(f"+{number}")
            asked = phonenumbers.is_valid_number(parsed), phonenumbers.is_possible_number(parsed)
            assert abroad(number) == asked, number
