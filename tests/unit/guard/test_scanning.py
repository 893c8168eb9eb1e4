"""Texts are looked through in this process, and not twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard import Finding, GuardError, Scan, Text
from extproc.guard.default import DefaultDetector, DetectorPolicy
from extproc.guard.local import INLINE, LARGE, LocalScanner, RememberingScan
from extproc.guard.named import findings
from extproc.guard.remembered import Remembered
from extproc.guard.scanning import scanner

MAIL = "Write to a@example.com about the delivery of the second part of the order, please."


@pytest.fixture
async def local() -> AsyncIterator[LocalScanner]:
    made = LocalScanner()
    yield made
    await made.close()


def remembering(scan: Scan) -> RememberingScan:
    assert isinstance(scan, RememberingScan)
    return scan


def text(value: str, under: str = "") -> Text:
    return Text(value, "messages[0].content", under)


def found(value: str, under: str = "") -> list[tuple[str, str]]:
    all_ = findings(DefaultDetector(), text(value, under))
    return [(one.type, value[one.start : one.end]) for one in all_]


# --- what a field's name tells ------------------------------------------------------------


@pytest.mark.parametrize(
    ("under", "value", "type_"),
    [
        ("password", "hunter", "PASSWORD"),
        ("password", "correct horse battery staple", "PASSWORD"),
        ("accessToken", "ab93kd0a9s8d7f6g", "SECRET"),
        ("dateOfBirth", "1980-01-02", "DATE_OF_BIRTH"),
        ("date_of_birth", "03/04/1985", "DATE_OF_BIRTH"),
        ("phoneNumber", "5551234567", "PHONE_NUMBER"),
        ("ssn", "219099999", "US_SSN"),
        ("passport_number", "C01X00T47", "PASSPORT"),
    ],
)
def test_a_value_is_known_by_its_fields_name(under: str, value: str, type_: str) -> None:
    assert found(value) != [(type_, value)]
    assert found(value, under) == [(type_, value)]


@pytest.mark.parametrize(
    ("under", "value"),
    [
        ("type", "string"),
        ("description", "The password of the user"),
        ("token", "null"),
        ("key", "name"),
        ("password", ""),
        ("x" * 1000, "hello"),
    ],
)
def test_a_name_makes_no_finding_of_what_is_none(under: str, value: str) -> None:
    assert found(value, under) == []


def test_what_is_found_without_the_name_is_found_with_it() -> None:
    assert found(MAIL, "password") == [("EMAIL_ADDRESS", "a@example.com")]
    long = MAIL * 100
    assert len(found(long, "note")) == 100


@given(st.text(max_size=40), st.text(max_size=700))
@settings(deadline=None, max_examples=50)
def test_findings_are_within_the_value_and_apart(under: str, value: str) -> None:
    end = 0
    for one in findings(DefaultDetector(), text(value, under)):
        assert end <= one.start < one.end <= len(value)
        end = one.end


# --- what comes again ---------------------------------------------------------------------


async def test_a_text_that_comes_again_is_not_looked_through_again(local: LocalScanner) -> None:
    scan = remembering(local.scan(DetectorPolicy()))
    history = [text(f"{MAIL} ({number})") for number in range(10)]
    first = await scan.find(history)
    assert (scan.memory.hits, scan.memory.misses) == (0, 10)
    again = await scan.find([*history, text("My card is 4111 1111 1111 1111. " + MAIL)])
    assert (scan.memory.hits, scan.memory.misses) == (10, 11)
    assert again[:10] == first
    assert [one.type for one in again[10]] == ["CREDIT_CARD", "EMAIL_ADDRESS"]


async def test_the_same_text_under_another_name_is_another(local: LocalScanner) -> None:
    scan = local.scan(DetectorPolicy())
    value = "k" + "3jH4k5" * 12
    for _ in range(2):
        plain, secret = await scan.find([text(value, "note"), text(value, "password")])
        assert plain == []
        assert [one.type for one in secret] == ["PASSWORD"]
        # Where the name ends is not a matter of taste.
        shifted = await scan.find([text("password" + value)])
        assert shifted == [[]]


async def test_routes_do_not_share_what_they_remember(local: LocalScanner) -> None:
    all_ = local.scan(DetectorPolicy())
    none = local.scan(DetectorPolicy(types=frozenset({"IBAN_CODE"})))
    assert await all_.find([text(MAIL)]) != [[]]
    assert await none.find([text(MAIL)]) == [[]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "password", "phone"]), st.text(max_size=100)), max_size=8
    ),
    st.integers(0, 20),
)
@settings(deadline=None, max_examples=50)
def test_hits_equal_misses(given_: list[tuple[str, str]], most: int) -> None:
    texts = [text(f"{value} 030 1234567 {value} a@example.com {value} x x", under)
             for under, value in given_]  # fmt: skip
    fresh = [findings(DefaultDetector(), one) for one in texts]

    async def run() -> None:
        made = LocalScanner()
        memory = Remembered(b"k" * 32, texts=most, findings=4 * most)
        scan = RememberingScan(made.looking(DetectorPolicy()), memory, made.threads)
        for _ in range(3):
            assert await scan.find(texts) == fresh
        await made.close()

    asyncio.run(run())


def test_memory_is_bounded_and_holds_no_text() -> None:
    memory = Remembered(b"k" * 32, texts=3, findings=40)
    one = Finding(0, 5, "PERSON", 0.5)
    keys = memory.keys([text(f"{number} {MAIL}") for number in range(9)])
    for key in keys[:5]:
        memory.put(key, [one])
    assert len(memory) == 3
    assert memory.get(keys[0]) is None
    assert memory.get(keys[4]) == [one]
    memory.put(keys[5], [one] * 11)  # more than a quarter of all
    assert memory.get(keys[5]) is None
    for key in keys[6:9]:
        memory.put(key, [one] * 10)
    assert len(memory) == 3
    memory.put(keys[0], [one] * 10)
    memory.put(keys[1], [one] * 10)
    assert sum(len(memory.get(key) or []) for key in keys) <= 40
    assert "example" not in repr(vars(memory))


def test_another_process_has_other_keys() -> None:
    once, other = (Remembered(key * 32).keys([text(MAIL)]) for key in (b"a", b"b"))
    assert once != other
    assert Remembered(b"a" * 32).keys([text(MAIL), text("short")]) == [*once, None]


# --- where it is done ---------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_large_body_is_looked_through(local: LocalScanner) -> None:
    scan = local.scan(DetectorPolicy())
    await scan.find([text("warm")])
    large = asyncio.ensure_future(scan.find([text("lorem ipsum dolor 4711 " * 40_000)]))
    turns = 0
    while not large.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert await large == [[]]
    assert turns > 5


async def test_a_large_body_does_not_hold_up_others(local: LocalScanner) -> None:
    scan = local.scan(DetectorPolicy())
    await scan.find([text("warm")])
    order = []

    async def look(name: str, value: str) -> None:
        await scan.find([text(value)])
        order.append(name)

    word = "lorem ipsum dolor 4711 "
    middle = word * (3 * INLINE // len(word))
    await asyncio.gather(
        look("large", word * (4 * LARGE // len(word))),
        look("large too", "x " + word * (4 * LARGE // len(word))),
        look("middle", middle),
        look("small", "hello"),
    )
    assert order[:2] == ["small", "middle"]


async def test_many_small_texts_are_no_small_body(local: LocalScanner) -> None:
    scan = local.scan(DetectorPolicy())
    texts = [text("ann", "name") for _ in range(400)]
    looking = asyncio.ensure_future(scan.find(texts))
    await asyncio.sleep(0)
    assert not looking.done()
    assert len(await looking) == 400


async def test_closed_it_says_so() -> None:
    made = LocalScanner()
    scan = made.scan(DetectorPolicy())
    await made.ping()
    await made.close()
    assert await scan.find([text(MAIL)]) != [[]]  # what needs no thread needs none
    with pytest.raises(GuardError, match="closed"):
        await scan.find([text(MAIL * 100)])


async def test_who_is_gone_does_not_keep_others_waiting(local: LocalScanner) -> None:
    scan = local.scan(DetectorPolicy())
    word = "lorem ipsum 4711 "
    waiting = [
        asyncio.ensure_future(scan.find([text(f"{at} " + word * (2 * LARGE // len(word)))]))
        for at in range(6)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for one in waiting[1:]:
        one.cancel()
    start = time.perf_counter()
    await scan.find([text(word * (2 * LARGE // len(word)))])
    assert waiting[0].done()
    assert time.perf_counter() - start < 10
    await asyncio.gather(*waiting, return_exceptions=True)


# --- which ---------------------------------------------------------------------------------


async def test_the_default_needs_nothing() -> None:
    made = scanner("default", None, {})
    assert isinstance(made, LocalScanner)
    await made.close()


@pytest.mark.parametrize(
    ("name", "url", "environ", "said"),
    [
        ("default", "http://host/", {}, "--guard-url goes with --guard http"),
        ("presidio", "http://host/", {}, "--guard-url goes with --guard http"),
        ("http", None, {}, "--guard http needs --guard-url"),
        ("http", "ftp://host/", {}, "must be http:// or https:// with a host"),
        ("http", "http://[", {}, "must be http:// or https:// with a host"),
        ("http", "http://host/", {"TOLLGATE_GUARD_TOKEN": "a\nb"}, "must be printable ASCII"),
        ("other", None, {}, "--guard is one of default, presidio, http"),
    ],
)
def test_what_cannot_be_is_said(
    name: str, url: str | None, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        scanner(name, url, environ)


def test_without_presidio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.guard.presidio.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'tollgate\[presidio\]'"):
        scanner("presidio", None, {})
