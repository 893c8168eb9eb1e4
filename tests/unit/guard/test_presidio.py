"""Presidio beside the default detector: once with an engine of ours, once with the real one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest

from extproc.guard import Finding, GuardError, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.presidio import PIECE, PresidioScanner, Result, analyzer, best, pieces


@dataclass
class Found:
    entity_type: str
    start: int
    end: int
    score: float


class Engine:
    """Finds words as `AnalyzerEngine.analyze` does: by no order, some over others."""

    def __init__(self, **words: str) -> None:
        self.words = words
        self.asked: list[tuple[str, list[str] | None]] = []
        self.first: Callable[[], None] = lambda: None

    def analyze(self, text: str, language: str, *, context: list[str] | None) -> Sequence[Result]:
        assert language == "en"
        self.asked.append((text, context))
        self.first()
        found = []
        for type_, word in self.words.items():
            at = text.find(word)
            while at >= 0:
                found.append(Found(type_, at, at + len(word), 0.85))
                at = text.find(word, at + 1)
        return found[::-1]


Opened = Callable[..., PresidioScanner]


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    made: list[PresidioScanner] = []

    def open_(engine: Engine, timeout: float = 10.0) -> PresidioScanner:
        made.append(PresidioScanner(engine, timeout=timeout))
        return made[-1]

    yield open_
    for one in made:
        await one.close()


def text(value: str, under: str = "") -> Text:
    return Text(value, "messages[0].content", under)


def said(value: str, found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.type, value[one.start : one.end]) for one in found]


async def test_what_both_find_is_found(opened: Opened) -> None:
    scan = opened(Engine(PERSON="Qx", LOCATION="Berlin", US_BANK_NUMBER="4111")).scan(
        DetectorPolicy()
    )
    value = "Qx of Berlin pays with 4111 1111 1111 1111, ask qx@example.com"
    (found,) = await scan.find([text(value)])
    assert said(value, found) == [
        ("PERSON", "Qx"),
        ("CREDIT_CARD", "4111 1111 1111 1111"),
        ("EMAIL_ADDRESS", "qx@example.com"),
    ]


async def test_a_route_that_names_places_gets_them(opened: Opened) -> None:
    scan = opened(Engine(LOCATION="Berlin")).scan(DetectorPolicy(named=frozenset({"LOCATION"})))
    (found,) = await scan.find([text("in Berlin")])
    assert said("in Berlin", found) == [("LOCATION", "Berlin")]


async def test_a_fields_name_is_context(opened: Opened) -> None:
    engine = Engine()
    await opened(engine).scan(DetectorPolicy()).find([text("x", "phone_number"), text("y")])
    assert engine.asked == [("x", ["phone", "number"]), ("y", None)]


async def test_what_comes_again_is_not_analyzed_again(opened: Opened) -> None:
    engine = Engine(PERSON="Qx")
    scan = opened(engine).scan(DetectorPolicy())
    long = text("Qx writes a rather long letter to everybody who wants to read it, and to others.")
    first = await scan.find([long])
    assert await scan.find([long, text("hello")]) == [*first, []]
    assert len(engine.asked) == 2


async def test_places_in_a_long_text_are_those_of_the_text(opened: Opened) -> None:
    value = ("some words. " * 1000) + "Qx"
    engine = Engine(PERSON="Qx")
    (found,) = await opened(engine).scan(DetectorPolicy()).find([text(value)])
    assert said(value, found) == [("PERSON", "Qx")]
    assert max(len(one) for one, _ in engine.asked) <= PIECE


@pytest.mark.parametrize("value", ["", "x", "x" * 9999, "ab cd\n" * 2000, " " * 8001, "a. " * 3000])
def test_pieces_are_the_text(value: str) -> None:
    spans = list(pieces(value))
    assert "".join(value[start:end] for start, end in spans) == value
    assert all(0 < end - start <= PIECE for start, end in spans)


async def test_a_lone_surrogate_is_one_character(opened: Opened) -> None:
    value = "\ud800 Qx"
    (found,) = await opened(Engine(PERSON="Qx")).scan(DetectorPolicy()).find([text(value)])
    assert said(value, found) == [("PERSON", "Qx")]


async def test_what_goes_wrong_there_tells_no_value(opened: Opened) -> None:
    engine = Engine()

    def fail() -> None:
        raise KeyError("Qx")

    engine.first = fail
    with pytest.raises(GuardError) as raised:
        await opened(engine).scan(DetectorPolicy()).find([text("Qx")])
    assert str(raised.value) == "Presidio: KeyError"
    assert raised.value.__suppress_context__


async def test_too_slow_is_away_and_stops(opened: Opened) -> None:
    engine, go = Engine(), threading.Event()

    def wait() -> None:
        go.wait(10)

    engine.first = wait
    scanner = opened(engine, timeout=0.05)
    scan = scanner.scan(DetectorPolicy())
    with pytest.raises(GuardError, match=r"Presidio took more than 0\.05 s"):
        await scan.find([text("word " * 10_000)])
    go.set()
    engine.first = lambda: None
    patient = PresidioScanner(engine, timeout=10)
    assert await patient.scan(DetectorPolicy()).find([text("x")]) == [[]]
    await patient.close()
    await asyncio.to_thread(scanner._pool.shutdown)
    # Of what nobody waits for no second piece was looked at.
    assert [len(one) for one, _ in engine.asked][-1] == 1
    assert len(engine.asked) == 2


async def test_closed_it_says_so(opened: Opened) -> None:
    scanner = opened(Engine())
    scan = scanner.scan(DetectorPolicy())
    await scanner.ping()
    await scanner.close()
    with pytest.raises(GuardError, match="closed"):
        await scan.find([text("x")])


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([], None),
        (["de_core_news_lg"], "de_core_news_lg"),
        (["de_core_news_lg", "en_core_web_sm"], "en_core_web_sm"),
        (["en_core_web_sm", "en_core_web_lg", "en_core_web_md"], "en_core_web_lg"),
        (["en_core_web_sm", "en_other"], "en_core_web_sm"),
        (["en_core_web_lg", "en_core_web_trf"], "en_core_web_trf"),
    ],
)
def test_the_best_model_is_taken(models: list[str], chosen: str | None) -> None:
    assert best(models) == chosen


async def test_the_real_one_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("presidio_analyzer")
    asked = []
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family == socket.AF_UNIX:
            connect(self, address)  # type: ignore[arg-type]
            return
        asked.append(address)
        raise OSError("there is no network")

    def unknown(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    scanner = PresidioScanner(analyzer(), timeout=60)
    value = (
        "Bitcoin to 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ, see https://a.example.com, b@example.com"
    )
    (found,) = await scanner.scan(DetectorPolicy()).find([text(value)])
    await scanner.close()
    assert ("CRYPTO", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ") in said(value, found)
    assert ("EMAIL_ADDRESS", "b@example.com") in said(value, found)
    assert asked == []
