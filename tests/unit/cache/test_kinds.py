"""How long an answer stays true, by what was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cache.kinds import Kinds

KINDS = Kinds()


@pytest.mark.parametrize(
    "text",
    [
        "What does the iPhone cost?",
        "Price of a return ticket to Rome",
        "Is the blue one in stock?",
        "What's the weather like in Berlin?",
        "latest news on the election",
        "Which version of Python should I use?",
        "Is there a bug in 3.12.4?",
        "What is the capital gains tax rate this year?",
        "What\u2019s today\u2019s date?",
        "Was kostet eine Fahrkarte nach Rom?",
        "Wie ist das Wetter morgen?",
        "Quel est le prix d'un billet ?",
        "Quelles sont les actualités aujourd\u2019hui ?",
        "¿Cuál es el precio del billete?",
        "¿Qué noticias hay hoy?",
        "Quali sono le notizie di oggi?",
    ],
)
def test_what_changes_is_kept_for_less_time(text: str) -> None:
    assert KINDS.of(text) == "dynamic"


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Tell me France's capital city",
        "Define photosynthesis.",
        "What is a monad?",
        "What is 17 * 23?",
        "square root of 1764",
        "Who wrote Hamlet?",
        "the meaning of 'ubiquitous'",
        "Was ist die Hauptstadt von Italien?",
        "Was bedeutet 'Fernweh'?",
        "Quelle est la capitale de l'Espagne ?",
        "¿Qué significa 'sobremesa'?",
        "Qual è la capitale della Francia?",
    ],
)
def test_what_stays_is_kept_long(text: str) -> None:
    assert KINDS.of(text) == "factual"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Write a poem about winter.",
        "Summarise this text for me",
        "What is my capital?",
        "What is the password?",
        "Define a schema. " + "It has a field. " * 40,
    ],
)
def test_everything_else_is_neither(text: str | None) -> None:
    assert KINDS.of(text) == "default"


def test_own_words_come_first_and_are_whole() -> None:
    kinds = Kinds({"support": ("refund", "password reset"), "code": ("def",), "dynamic": ("moon",)})
    assert kinds.of("What does a REFUND cost today?") == "support"
    assert kinds.of("how does a Password\n reset work") == "support"
    assert kinds.of("reset the password") == "default"
    assert kinds.of("Write about refundable things") == "default"
    assert kinds.of("What is the phase of the moon?") == "dynamic"
    assert {"support", "code", "default", "factual", "dynamic"} == kinds.names


def test_what_is_asked_about_a_long_text_stands_at_its_ends() -> None:
    paste = "The price is high. " * 500
    assert KINDS.of("x " * 400 + paste + "y " * 400) == "default"
    assert KINDS.of("y " * 4000 + "What does it cost?") == "dynamic"


@given(st.text(max_size=3000))
def test_any_text_is_of_some_kind(text: str) -> None:
    assert KINDS.of(text) in KINDS.names
