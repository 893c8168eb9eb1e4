"""What a model says of its own is looked through as it streams by, and nothing gets out early."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.guard import BlockedError, Detector, Finding, StoppedError
from extproc.guard.default import DefaultDetector
from extproc.guard.placeholders import Mapping
from extproc.guard.streams import Stream
from extproc.guard.streams.window import BOUND, CONTEXT, KEPT, STEP, Window
from tests.unit.guard.streams.flowing import (
    FORMATS,
    MAPPING,
    Pieces,
    chat,
    cut,
    cut_bytes,
    events,
    flow,
    run,
    said,
    spoken,
    stream,
)


class Codes:
    """Finds `SECRET-…` and e-mail."""

    def find(self, text: str) -> list[Finding]:
        return [
            Finding(*one.span(), "BLOCKED" if one[0].startswith("S") else "MAIL", 1.0)
            for one in re.finditer(r"SECRET-\w+|\b\w+@\w+\.\w+", text)
        ]


class Replacing:
    """Puts `[TYPE]` in the place of what a detector finds, or blocks."""

    def unread(self) -> None:
        """Whatever goes by unread may."""

    def __init__(self, detector: Detector | None = None, block: str = "") -> None:
        self.detector = detector or Codes()
        self.block = block
        self.characters = 0
        self.counted: list[str] = []
        self.places: set[str] = set()

    async def review(self, text: str, place: str) -> list[Finding]:
        self.characters += len(text)
        self.places.add(place)
        return self.detector.find(text)

    def act(self, text: str, findings: Sequence[Finding], place: str) -> str:
        out: list[str] = []
        at = 0
        for one in findings:
            if one.type == self.block:
                raise BlockedError(one.type, place)
            self.counted.append(text[one.start : one.end])
            out += (text[at : one.start], f"[{one.type}]")
            at = one.end
        return "".join((*out, text[at:]))


FILLING = "Nothing of this is secret, it is said only to fill some room. " * 6
MAIL = "ada@example.com"


async def until_blocked(flowing: Stream, pieces: list[bytes]) -> tuple[bytes, int, BlockedError]:
    """What went out, how many events came, and why no more went."""
    out = b""
    came = 0
    for piece in pieces:
        came += piece.count(b"\n\n")
        try:
            out += await flowing.feed(piece)
        except StoppedError as stopped:
            if isinstance(stopped.cause, BlockedError):
                return out + stopped.sent, came, stopped.cause
            raise
    raise AssertionError("nothing was blocked")


def told(format_: str, text: str, size: int, call: str = "{}") -> Pieces:
    names = {"completions": ["content"]}.get(format_, ["reasoning", "content", "call 0"])
    found: Pieces = []
    for name in names:
        whole = call if name == "call 0" else text
        found += [(name, whole[at : at + size]) for at in range(0, len(whole), size)]
    return found


@pytest.mark.parametrize("size", [1, 3, 40, 3000])
@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_found_is_replaced_in_every_text(format_: str, size: int) -> None:
    text = f"{FILLING}Write to {MAIL}, {FILLING}<PERSON_1> {MAIL}"
    call = json.dumps({"to": MAIL, "text": f'"{FILLING}\n{MAIL}"', "name": "<PERSON_1>"})
    review = Replacing()
    whole = stream(format_, told(format_, text, size, call))
    out = run(format_, whole, review=review)
    texts = said(format_, out)
    changed = text.replace(MAIL, "[MAIL]").replace("<PERSON_1>", "Ada Lovelace")
    for name, one in texts.items():
        if name == "call 0":
            assert json.loads(one) == {
                "to": "[MAIL]",
                "text": f'"{FILLING}\n[MAIL]"',
                "name": "Ada Lovelace",
            }
        elif (format_, name) == ("messages", "reasoning"):
            assert one == text  # it is signed
        else:
            assert one == changed
    assert len(review.counted) == 2 * len(texts)  # once each, though told more than once
    if format_ != "messages":
        assert MAIL.encode() not in out
    assert (
        run(format_, *(whole[at : at + 1] for at in range(len(whole))), review=Replacing()) == out
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_of_what_is_blocked_gets_out(format_: str) -> None:
    text = f"{FILLING}{FILLING}The code is SECRET-abcdef, {FILLING}"

    async def check() -> None:
        flowing = Stream(format_, MAPPING, Replacing(block="BLOCKED"))
        frames = stream(format_, told(format_, text, 3)).split(b"\n\n")
        sent, _, error = await until_blocked(flowing, [one + b"\n\n" for one in frames])
        assert error.type == "BLOCKED"
        assert "abcdef" not in error.place
        assert b"fill" in sent
        assert b"SECRET" not in sent
        if format_ == "responses":  # an event that tells of it goes on counting
            numbers = [one["sequence_number"] for one in events(format_, sent)]
            assert numbers == list(range(len(numbers)))

    asyncio.run(check())


def test_after_a_block_numbers_go_on_from_what_went_out() -> None:
    text = f"{FILLING}SECRET-abcdef {FILLING}"
    whole = stream("responses", [("content", text[at : at + 4]) for at in range(0, len(text), 4)])
    frames = [one + b"\n\n" for one in whole.split(b"\n\n")[:-1]]

    async def check(pieces: list[bytes]) -> bytes:
        flowing = Stream("responses", None, Replacing(block="BLOCKED"))
        out, came, error = await until_blocked(flowing, pieces)
        assert error.place == "output[0].content[0].text"
        assert came + flowing.events == len(events("responses", out))
        return out

    single = asyncio.run(check(frames))
    assert b"response.created" in single
    assert asyncio.run(check([b"".join(frames)])) == single
    assert asyncio.run(check([b"".join(frames[:50]), b"".join(frames[50:])])) == single


texts = st.lists(
    st.sampled_from(
        [MAIL, "ada@", "example.com ", "SECRET-", "x1 ", " ", "\n", "word ", "w" * 50, "日本語。",
         FILLING, "{", '"', "\\", "<PERSON_1>", "<PER"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@given(text=texts, places=st.lists(st.integers(0, 9000), max_size=20), as_json=st.booleans())
def test_a_text_gives_the_same_however_it_came(
    *, text: str, places: list[int], as_json: bool
) -> None:
    async def through(pieces: list[str]) -> str:
        window = Window(Replacing(), "p", json=as_json)
        out = []
        for piece in pieces:
            out.append(await window.take(piece))
            assert window.held < BOUND
        return "".join(out) + await window.end()

    text = json.dumps(text) if as_json else text
    whole = asyncio.run(through([text]))
    assert asyncio.run(through(cut(text, *places))) == whole
    assert asyncio.run(through(list(text))) == whole
    if as_json:
        json.loads(whole)


@given(
    format_=st.sampled_from(FORMATS),
    spoken_=st.lists(
        st.tuples(st.sampled_from(["content", "reasoning", "call 0"]), texts), max_size=5
    ),
    places=st.lists(st.integers(0, 20000), max_size=12),
)
@settings(max_examples=60)
def test_any_cutting_of_any_stream_gives_the_same(
    format_: str, spoken_: Pieces, places: list[int]
) -> None:
    if format_ == "completions":
        spoken_ = [("content", text) for _, text in spoken_]
    whole = stream(format_, spoken_)
    out = run(format_, whole, review=Replacing())
    said(format_, out)  # deltas and whole texts say the same, numbers have no gap
    assert run(format_, *cut_bytes(whole, places), review=Replacing()) == out


@pytest.mark.parametrize("format_", FORMATS)
def test_what_holds_nothing_says_the_same(format_: str) -> None:
    pieces = told(format_, FILLING, 5, json.dumps({"a": FILLING}))
    out = run(format_, stream(format_, pieces), review=Replacing())
    assert said(format_, out) == spoken(format_, pieces)


@pytest.mark.parametrize("format_", ["chat", "messages"])
def test_texts_come_in_the_order_they_were_said(format_: str) -> None:
    pieces = [("reasoning", "first"), ("content", "second"), ("call 0", "{}"), ("call 1", "{}")]
    out = run(format_, stream(format_, pieces), review=Replacing())
    places = [out.index(one) for one in (b"first", b"second", b'"{}"')]
    assert places == sorted(places)


def test_text_goes_on_its_way_when_it_is_settled() -> None:
    async def check() -> None:
        window = Window(Replacing(), "p")
        came = went = 0
        for _ in range(40):
            for sign in FILLING:
                came += 1
                went += len(await window.take(sign))
                assert came - went <= KEPT + STEP + 20  # and the rest of a word

    asyncio.run(check())


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "word " * 20_000, "日本語" * 30_000, "QUJD\n" * 20_000, "1" * 100_000,
     '"\\' * 50_000, "\\n" * 50_000, "a@" * 50_000],
    ids=lambda text: text[:12].encode("unicode_escape").decode(),
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_every_character_is_looked_at_a_few_times(text: str, *, as_json: bool) -> None:
    async def check() -> None:
        review = Replacing()
        window = Window(review, "p", json=as_json)
        out = []
        for at in range(0, len(text), 7):
            out.append(await window.take(text[at : at + 7]))
            assert window.held < BOUND
        assert "".join(out) + await window.end() == text
        assert review.characters < len(text) * (2 + (CONTEXT + KEPT + STEP) / STEP)

    asyncio.run(check())


def test_a_key_that_is_longer_than_what_waits_is_replaced_to_its_end() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 400
    text = f"{FILLING}{key}-----END PRIVATE KEY-----\n{FILLING}"

    async def check() -> None:
        window = Window(Replacing(DefaultDetector()), "p")
        out = ""
        for at in range(0, len(text), 5):
            out += await window.take(text[at : at + 5])
        out += await window.end()
        assert "MIIE" not in out
        assert out.startswith(FILLING)
        assert out.rstrip().endswith(FILLING.rstrip())

    asyncio.run(check())


def test_what_the_default_detector_finds_in_the_whole_it_finds_in_pieces() -> None:
    text = (
        f"{FILLING}Call John Smith at +49 30 901820 or write to him: john.smith@acme.org. {FILLING}"
        f"My card is 4111 1111 1111 1111, the IBAN DE89 3704 0044 0532 0130 00, thanks.\n{FILLING}"
        f"He lives at 1600 Pennsylvania Avenue NW, Washington, DC 20500. {FILLING}"
        f"The password: hunter2hunter2. {FILLING}"
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
        "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U "
    )
    detector = DefaultDetector()
    found = detector.find(text)
    assert len(found) > 5
    whole = Replacing(detector).act(text, found, "")
    for size in (1, 4, 100):
        pieces = [("content", text[at : at + size]) for at in range(0, len(text), size)]
        out = run("chat", stream("chat", pieces), mapping=None, review=Replacing(detector))
        assert said("chat", out) == {"content": whole}


def test_a_broken_stream_says_what_waited() -> None:
    *pieces, _, _, _ = chat([("content", "one two"), ("reasoning", f"{MAIL} x")])
    out = asyncio.run(flow(Stream("chat", Mapping(), Replacing()), pieces))
    assert said("chat", out) == {"content": "one two", "reasoning": "[MAIL] x"}
    error = b'data: {"error": {"message": "no"}}\n\n'
    out = asyncio.run(flow(Stream("chat", None, Replacing()), [*pieces, error]))
    assert out.endswith(error)
    assert out.index(b"[MAIL] x") < out.index(error)


@pytest.mark.parametrize("format_", ["chat", "completions", "responses"])
def test_the_tokens_of_what_is_replaced_do_not_get_out(format_: str) -> None:
    whole = stream(format_, [("content", f"{FILLING} "), ("content", MAIL)]).decode()
    tokens = f'"logprobs": {{"content": [{{"token": "{MAIL}"}}]}}'
    if format_ == "responses":
        tokens = f'"logprobs": [{{"token": "{MAIL}", "logprob": -1.0}}]'
    whole = whole.replace('"logprobs": null', tokens).replace('"logprobs": []', tokens)
    assert tokens in whole
    out = run(format_, whole.encode(), review=Replacing())
    assert MAIL.encode() not in out
    assert said(format_, out) == {"content": f"{FILLING} [MAIL]"}


def test_places_say_where_a_client_would_look() -> None:
    for format_, places in {
        "chat": {"choices[0].message.reasoning", "choices[0].message.content",
                 "choices[0].message.tool_calls[0].function.arguments"},
        "completions": {"choices[0].text"},
        "responses": {"output[0].summary[0].text", "output[1].content[0].text",
                      "output[2].arguments"},
        "messages": {"content[0].thinking", "content[1].text", "content[2].input"},
    }.items():  # fmt: skip
        review = Replacing()
        run(format_, stream(format_, told(format_, FILLING, 9, '{"a": 1}')), review=review)
        assert places <= review.places
