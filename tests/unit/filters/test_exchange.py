from __future__ import annotations

import pytest

from extproc.filters.exchange import (
    NEXT,
    Chunk,
    Phase,
    RequestBody,
    RequestHead,
    ResponseHead,
    Trailers,
    UnexpectedEventError,
    advance,
)

HEAD = RequestHead({}, {}, False)
BODY = RequestBody(b"{}")
ANSWER = ResponseHead(200, {}, {}, False)
CHUNK = Chunk(b"x", end=False)
LAST = Chunk(b"", end=True)


def walk(*events: object) -> Phase:
    phase = Phase.START
    for event in events:
        phase = advance(phase, event)  # type: ignore[arg-type]
    return phase


def test_a_whole_exchange() -> None:
    assert walk(HEAD) is Phase.HEAD
    assert walk(HEAD, BODY) is Phase.SENT
    assert walk(HEAD, BODY, ANSWER, CHUNK) is Phase.ANSWERED
    assert walk(HEAD, BODY, ANSWER, CHUNK, LAST) is Phase.DONE
    assert walk(HEAD, BODY, ANSWER, CHUNK, Trailers()) is Phase.DONE


def test_an_answer_without_a_body_is_the_end() -> None:
    assert walk(HEAD, BODY, ResponseHead(204, {}, {}, True)) is Phase.DONE


def test_a_local_reply_overtakes_the_request() -> None:
    assert walk(ANSWER) is Phase.ANSWERED
    assert walk(HEAD, ANSWER) is Phase.ANSWERED


def test_what_comes_after_the_end_is_let_be() -> None:
    assert walk(HEAD, BODY, ANSWER, LAST, LAST) is Phase.DONE


@pytest.mark.parametrize(
    "events",
    [(BODY,), (CHUNK,), (HEAD, HEAD), (HEAD, CHUNK), (HEAD, BODY, BODY), (HEAD, BODY, CHUNK)],
)
def test_what_has_no_place_is_refused(events: tuple[object, ...]) -> None:
    with pytest.raises(UnexpectedEventError):
        walk(*events)


def test_every_phase_has_its_row() -> None:
    assert set(NEXT) == set(Phase)
