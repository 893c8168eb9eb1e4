from extproc.cache import known
from extproc.cache.guards import signs
from extproc.cache.known import Known
from extproc.state.answers import Head


class Times:
    """Two clocks that go when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 1_000_000.0


def head(entry: int, expires: float = 2_000_000.0) -> Head:
    key = bytes(32)
    return Head(
        id=entry, exact=key, family=b"f" * 32, scope=key, route="r", model="m", kind="default",
        created=999_000.0, expires=expires, answer=entry, target="gpt", cost=1,
    )  # fmt: skip


def made(times: Times) -> Known:
    return Known(clock=lambda: times.now, wall=lambda: times.wall)


def keep(known: Known, entry: int, text: str = "Where is it?", **more: float) -> None:
    known.keep(head(entry, **more), len(text), signs(text))


def test_it_has_what_was_read() -> None:
    known = made(Times())
    keep(known, 1, "Where is Rome?")
    found = known.of(1)
    assert found is not None
    assert found.signs == signs("Where is Rome?")
    assert (found.family, found.target, found.created) == (b"f" * 32, "gpt", 999_000.0)
    assert known.of(2) is None


def test_nothing_is_known_of_what_is_over_or_gone() -> None:
    times = Times()
    known = made(times)
    keep(known, 1, expires=times.wall + 10)
    keep(known, 2)
    times.wall += 10
    assert known.of(1) is None
    known.drop([2, 3])
    assert known.of(2) is None
    assert len(known) == 0


def test_words_are_not_held_for_long() -> None:
    times = Times()
    found = made(times)
    keep(found, 1)
    times.now += known.SECONDS
    keep(found, 2)
    assert len(found) == 1
    assert found.of(2) is not None


def test_there_are_bounds_to_what_it_holds() -> None:
    found = made(Times())
    text = "x" * known.LONGEST
    for entry in range(1, 2 * known.MOST_CHARACTERS // known.LONGEST):
        keep(found, entry, text)
    assert len(found) == known.MOST_CHARACTERS // known.LONGEST
    assert found.of(1) is None
    keep(found, 1, "x" * (known.LONGEST + 1))
    assert found.of(1) is None
