"""What decides whether one answer is another's, and what it goes by: words, numbers, stored
states."""

from __future__ import annotations

import msgspec
import numpy as np

from extproc.cache import Neighbour
from extproc.cache.answers import Answers
from extproc.cache.core import Kind, Partition, Rules, State
from extproc.cache.equality import same
from extproc.cache.guards import REASONS, differs
from extproc.cache.index.filling import packed, unpacked
from extproc.cache.kinds import BUILT_IN, Kinds
from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.labels import Saved
from extproc.cache.verifier.told import Resumption, Told
from extproc.state.answer_frames import DamagedError, Frames
from extproc.state.answers import Entry, Head
from tests.fuzz.target import Door, Target

_DIM = 8


def _texts(data: bytes) -> tuple[str, str]:
    one, _, other = data.decode("utf-8", "surrogateescape").partition("\x00")
    return one, other


def guards(data: bytes) -> None:
    """Two questions differ for a known reason or not, whichever stands first; one does not differ
    from itself."""
    one, other = _texts(data)
    found = differs(one, other)
    assert found is None or found in REASONS
    assert (differs(other, one) is None) == (found is None)
    assert differs(one, one) is None


def equality(data: bytes) -> None:
    """Two answers are the same or not, whichever stands first; nearer ones more so."""
    one, other = _texts(data)
    found = [same(one, other, near) for near in (None, 0.0, 0.6, 0.95)]
    assert found == [same(other, one, near) for near in (None, 0.0, 0.6, 0.95)]
    assert found[1] <= found[2] <= found[3]
    assert same(one, one, None)


def kinds(data: bytes) -> None:
    """Every text is of one known kind, whatever words a policy has."""
    word, text = _texts(data)
    assert Kinds().of(text) in BUILT_IN
    own = Kinds({"own": (word,), "dynamic": (word,)})
    assert own.of(text) in own.names


def index(data: bytes) -> None:
    """Stored bytes are a vector of length 1 or none."""
    row = unpacked(data, _DIM)
    if row is None:
        return
    assert row.shape == (_DIM,)
    assert abs(float(np.dot(row, row)) - 1.0) < 1e-3
    again = unpacked(packed(row), _DIM)
    assert again is not None
    assert np.allclose(again, row, atol=1e-2)


# --- stored entries -----------------------------------------------------------------------


def _entry() -> Entry:
    head = Head(
        id=7, exact=b"e" * 32, family=b"f" * 32, scope=b"s" * 32, route="r", model="m",
        kind="default", tags=("a",), created=1.0, expires=2.0, answer=7, target="t",
        provider_model="a", cost=3,
    )  # fmt: skip
    return Entry(head, b'{"a": 1}')


def frames(data: bytes) -> None:
    """Bytes that are not what was written are told to be damaged, whether a byte of them was
    changed or somebody without the secret made them."""
    keyed, entry = Frames(b"secret"), _entry()
    sealed = keyed.body(entry)
    _damaged(keyed, data)
    forged = Frames(b"other")
    _damaged(keyed, forged.body(entry))
    if data:
        at, flip = int.from_bytes(data[:2]) % len(sealed), data[-1] or 1
        changed = bytearray(sealed)
        changed[at] ^= flip
        _damaged(keyed, bytes(changed))
        _damaged(keyed, sealed[:at])
    # Whoever writes with the secret may still be another version.
    for salt in (b"b", b"h", b"v"):
        _read(keyed, keyed.seal((7).to_bytes(8, "big") + salt, data))
    assert keyed.read_body(7, sealed, entry.head.exact) == entry


def _damaged(frames_: Frames, sealed: bytes) -> None:
    assert not _read(frames_, sealed)


def _read(frames_: Frames, sealed: bytes) -> bool:
    """Whether any reading takes it."""
    taken = False
    for read in (
        lambda: frames_.read_body(7, sealed, b"e" * 32),
        lambda: frames_.read_head(7, sealed),
        lambda: frames_.read_vector(7, sealed),
    ):
        try:
            read()
        except DamagedError:
            continue
        taken = True
    return taken


# --- partitions ---------------------------------------------------------------------------

_NEAR = (Neighbour(1, 0.99, 1), Neighbour(2, 0.97, 2), Neighbour(3, 0.8, 1))


def partition(data: bytes) -> None:
    """Stored bytes are no state of a partition, or one that goes on deciding and learning, with a
    prior or without."""
    rules = Rules(audit=0.5)
    for family in ("http", "static"):
        try:
            made = Partition(rules, family, draw=lambda: 0.7, saved=data)
        except ValueError:
            return
        _goes_on(made)
        _goes_on(Partition(rules, family, saved=made.saved()))


def heard(data: bytes) -> None:
    """What another worker is said to have learned is no label, or is taken in."""
    made = Partition(Rules(), "http", draw=lambda: 0.7)
    try:
        made.heard(data)
    except ValueError:
        return
    _goes_on(made)


def _goes_on(made: Partition) -> None:
    question = {1: "What is a cat?", 2: "What is a dog?", 3: "What are cats?"}.get
    for text in ("what is a cat", "What is a bird?", ""):
        decision = made.decide(text, _NEAR, question)
        if decision.kind is not Kind.HIT:
            made.learn(decision, {1})
    due = made.refit()
    if due is not None:
        made.adopt(due())
    assert isinstance(made.halted, bool)
    made.saved()


def _states() -> tuple[bytes, ...]:
    features = np.zeros((2, WIDTH), "<f4")
    rows = Saved(
        features.tobytes(), b"\1\0", b"\1\1", np.ones(2, "<f4").tobytes(), np.arange(2).tobytes()
    )
    answers = Answers({1: 2}, {2: 1})
    some = State(rows=rows, answers=answers, lookups=9, labels=2, halted=True, epoch=1, line=0.5)
    told = Told(
        b"source01", 1, 0, WIDTH, features[0].tobytes(), right=True, allowed=0.1, requests=3,
        would=1, served=[features[1].tobytes()], same=[1, 2],
        resumed=Resumption([0.0] * WIDTH, 0.5),
    )  # fmt: skip
    encode = msgspec.msgpack.encode
    return encode(some), encode(State()), b"", encode(told)


_PAIRS = tuple(
    f"{one}\0{other}".encode()
    for one, other in (
        ("What is 100 USD in euro?", "What is 1,000 USD in euro?"),
        ("May I work remotely?", "May I not work remotely?"),
        ("Flights from Paris to Rome on 3 May", "Flights from Rome to Paris on May 4th"),
        ("Yes. The total is #### 62.50", "No, it is \\boxed{1/2} [3] <<2*3=6>>"),
        ("Wie hoch ist 5 km\u00b2?", "\u0665 \u6771\u4eac \U0001f642 e\u0301 \ufb01"),
        ("price of v2.4.1 today", "What's the latest price?"),
    )
)


def every() -> list[Target]:
    """The targets of this module."""
    states = _states()
    one = np.zeros(_DIM, np.float32)
    one[0] = 1.0
    vectors = (packed(one), one.tobytes(), b"\x00\x7e" * _DIM)
    return [
        Target("cache.guards", (Door(guards, "text", 0, _PAIRS),)),
        Target("cache.equality", (Door(equality, "text", 0, _PAIRS),)),
        Target("cache.kinds", (Door(kinds, "text", 0, _PAIRS),)),
        Target("cache.index", (Door(index, "text", 0, vectors),)),
        Target("cache.frames", (Door(frames, "text", 0, (b"x", b"\x00\x10\x01")),)),
        Target(
            "cache.partition",
            (Door(partition, "text", 0, states), Door(heard, "text", 0, states)),
        ),
    ]
