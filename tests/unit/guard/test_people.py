# ruff: noqa: RUF001 - signs of many scripts
from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard.people import people

DATA = Path(__file__).parents[4] / "shared" / "data"


def values(text: str) -> list[tuple[str, str]]:
    return [(one.type, text[one.start : one.end]) for one in people(text)]


def of_type(text: str, kind: str) -> list[str]:
    return [value for found, value in values(text) if found == kind]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("My name is Zorblax.", ["Zorblax"]),
        ("my name is naomi ryan and i need help", ["naomi ryan"]),
        ("tell ms johnson and ms alba that mr smith is late", ["johnson", "alba", "smith"]),
        ("call\nmr smith", ["smith"]),
        ("Why is Katrine so impulsive?", ["Katrine"]),
        ("Please tell Dr. Zorblax Quux about it", ["Zorblax Quux"]),
        ("Dear Ms. Müller-Lüdenscheidt,", ["Müller-Lüdenscheidt"]),
        ("I spoke with Szabina J. Gelencsér today", ["Szabina J. Gelencsér"]),
        ("It was painted by Vincent van Gogh in Arles", ["Vincent van Gogh"]),
        ("Thanks,\nBest regards,\nXiomar Quent", ["Xiomar Quent"]),
        ("Ich heiße Jürgen Vogelsang und suche Rat", ["Jürgen Vogelsang"]),
        ("Je m'appelle Thérèse Lefèvre.", ["Thérèse Lefèvre"]),
        ("Me llamo José Ángel Hernández", ["José Ángel Hernández"]),
        ("Меня зовут Дмитрий Иванов, помогите", ["Дмитрий Иванов"]),
        ("你好，我叫王小明，请帮我写信。", ["王小明"]),
        ("JOHN SMITH called twice", ["JOHN SMITH"]),
        ("Mark Johnson mailed Will Smith", ["Mark Johnson", "Will Smith"]),
        ("Faina Yefremova sang. Later Yefremova left.", ["Faina Yefremova", "Yefremova"]),
        ("Hello John, Peter's mother called", ["John", "Peter"]),
        ("She is Ann O'Brien's daughter", ["Ann O'Brien"]),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert of_type(text, "PERSON") == names


@pytest.mark.parametrize(
    "text",
    [
        "Will you mark the April report in May? Grace matters.",
        "Write a Python function for the Fibonacci numbers.",
        "The Bank of England and the University of Oxford",
        "I will travel from Germany to New York on Monday",
        "what is my balance at the bank of america",
        "Please call me back tomorrow",
        "The Robert Bosch Foundation",
        "I am tired. I'm Happy!",
        "name is required; user_name: string",
        "@John #Mary user/Peter",
        "HTTP GET /users/Anna?id=3",
        "",
        "A",
        "X Æ Y Z",
    ],
)
def test_no_names(text: str) -> None:
    assert of_type(text, "PERSON") == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("I live at 1600 Pennsylvania Avenue.", "1600 Pennsylvania Avenue"),
        (
            "Ship it to 12 Main St, Apt. 4\nSpringfield, IL 62704 please",
            "12 Main St, Apt. 4\nSpringfield, IL 62704",
        ),
        ("Send it to 10 Downing Street, London SW1A 2AA", "10 Downing Street, London SW1A 2AA"),
        ("Ich wohne Hauptstraße 5a, 10115 Berlin.", "Hauptstraße 5a, 10115 Berlin"),
        ("12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris"),
        ("Vivo en Calle Mayor 15", "Calle Mayor 15"),
        ("Abito in Via Garibaldi 7, 20121 Milano", "Via Garibaldi 7, 20121 Milano"),
        ("Keizersgracht 123, 1015 CJ Amsterdam", "Keizersgracht 123, 1015 CJ Amsterdam"),
        ("PO Box 1234 it is", "PO Box 1234"),
        ("Meet me at PSC 1437, Box 3833\nAPO AA 66791", "PSC 1437, Box 3833\nAPO AA 66791"),
        ("> Ann Lee\n> 228 Ringvej 144\n> Apt. 902", "228 Ringvej 144\n> Apt. 902"),
        ("my address is 27 moss lane, thanks", "27 moss lane"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    found = of_type(text, "STREET_ADDRESS")
    assert len(found) == 1
    assert found[0].rstrip(".") == address


@pytest.mark.parametrize(
    "text",
    [
        "Figure 3 shows 12 Monkeys and Chapter 5",
        "In 1990 Berlin had 3 million people",
        "Windows 11, iPhone 15 Pro and Python 3",
        "Add 2 Cups of flour; bake 20 Minutes",
        "Room 5 is free, see page 12",
        "On 5 May 2020 we met",
    ],
)
def test_no_addresses(text: str) -> None:
    assert of_type(text, "STREET_ADDRESS") == []


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("She was born on 2/8/1935.", "2/8/1935"),
        ("DOB: 1980-07-28", "1980-07-28"),
        ("date of birth is March 12th, 1980", "March 12th, 1980"),
        ("geboren am 12. März 1980 in Köln", "12. März 1980"),
        ("née le 3 février 1999", "3 février 1999"),
        ("fecha de nacimiento: 04/05/1971", "04/05/1971"),
        ("出生日期：1990年5月12日", "1990年5月12日"),
        ("12.03.1975 (DOB)", "12.03.1975"),
        (f"née {57 * '-'}born 1.2.1990", "1.2.1990"),
    ],
)
def test_dates_of_birth(text: str, date: str) -> None:
    assert of_type(text, "DATE_OF_BIRTH") == [date]


@pytest.mark.parametrize("text", ["It is 2/8/1935", "a newborn in room 3", "Born in the USA 1984"])
def test_other_dates(text: str) -> None:
    assert of_type(text, "DATE_OF_BIRTH") == []


PIECES = st.sampled_from(
    [
        "John",
        "Smith",
        "Dr.",
        "my name is ",
        " ",
        "\n",
        "12 ",
        "Main St",
        ", ",
        "Apt. 4",
        "İ",
        "ß",
        "born ",
        "1/2/1990",
        "O'",
        "-",
        "de ",
        "12345",
        "Box 5",
        "address: ",
        "Ж",
        "我叫王明。",
        "A.",
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=20).map("".join))
@settings(deadline=None, max_examples=300)
def test_findings_are_places_in_order(text: str) -> None:
    at = 0
    for one in people(text):
        assert at <= one.start < one.end <= len(text)
        assert 0 < one.confidence <= 1
        at = one.end


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "Ab ",
        "A",
        "Hello World 12 ",
        "12 Main ",
        "born 1 ",
        "my name is ",
        "\n",
        " ",
        "John, ",
        "a b",
        "12 Aa Bb Cc Dd,\n",
        "1/",
        "Dr. ",
        "O'Ab-",
        "Box 1 ",
        "İ",
        "Aaaa",
    ],
)
def test_time_is_linear(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    begin = time.process_time()
    people(text)
    assert time.process_time() - begin < 6  # 200 kB: what grows with the square takes minutes


def test_what_is_before_a_long_word_is_not_read() -> None:
    text = ("x" * 60 + " Zorb") * 60_000
    begin = time.process_time()
    people(text)
    assert time.process_time() - begin < 6  # 4 MB: to copy what stands in front takes a minute


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('"street": "Kyrkovägen 891", "city"', "Kyrkovägen 891"),
        ("<street>Lorenz-Maier-Straße 46</street>", "Lorenz-Maier-Straße 46"),
        ("Er zog in den Zoltan-Ebert-Ring 4.", "Zoltan-Ebert-Ring 4."),
        ("elle habite avenue de Duroux 6, dit-on", "avenue de Duroux 6"),
        ("I moved from 219 Michael Burg to 8007 Brown Flats.", "219 Michael Burg"),
        ("Strada Florea Nr. 27, Cluj", "Strada Florea Nr. 27"),
        ("e-mail,street\nx@firm.example,plac Szarych Szeregów 616", "plac Szarych Szeregów 616"),
        ("Anschrift: Paierring 6, 7917 Klosterneuburg", "Paierring 6, 7917 Klosterneuburg"),
        ("your delivery arrives at 26, Vyas Chowk between 2 and 4", "26, Vyas Chowk"),
    ],
)
def test_addresses_beside_marks_and_of_many_countries(text: str, address: str) -> None:
    assert address in of_type(text, "STREET_ADDRESS")


@pytest.mark.parametrize(
    "text",
    [
        "rotate 3 Star Hills levels; 2 Golden Lakes, and 30 Green Parks",
        "Das war im Mai 2024 und am Montag 12 Uhr",
        "connect via Port 8080",
    ],
)
def test_so_many_of_something_is_no_address(text: str) -> None:
    assert of_type(text, "STREET_ADDRESS") == []


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("La señora Ruiz nació el 8 December 2003.", "8 December 2003"),
        ("A senhora Lima nasceu em 25.11.1985", "25.11.1985"),
        ("Herr Vogt hat am 02/11/1956 Geburtstag", "02/11/1956"),
    ],
)
def test_dates_of_birth_in_other_languages(text: str, date: str) -> None:
    assert of_type(text, "DATE_OF_BIRTH") == [date]


@pytest.mark.skipif(not DATA.exists(), reason="the data are not part of the project")
def test_recall_and_false_alarms_on_public_data() -> None:
    total: dict[str, int] = {"PERSON": 0, "STREET_ADDRESS": 0}
    seen = dict(total)
    for sample in json.loads((DATA / "presidio" / "synth_first750.json").read_text()):
        found = people(sample["full_text"])
        for span in sample["spans"]:
            kind, start, end = span["entity_type"], span["start_position"], span["end_position"]
            if kind in total:
                total[kind] += 1
                covered = sum(
                    max(0, min(end, one.end) - max(start, one.start))
                    for one in found
                    if one.type == kind
                )
                seen[kind] += 2 * covered >= end - start
    assert seen["PERSON"] / total["PERSON"] >= 0.7
    assert seen["STREET_ADDRESS"] / total["STREET_ADDRESS"] >= 0.7
    parts = json.loads((DATA / "clinc150" / "train_val.json").read_text())
    prompts = [prompt for part in parts.values() for prompt, _ in part]
    for line in (DATA / "mt_bench" / "mt_bench_question.jsonl").read_text().splitlines():
        prompts += json.loads(line)["turns"]
    assert sum(bool(people(prompt)) for prompt in prompts) / len(prompts) <= 0.01
