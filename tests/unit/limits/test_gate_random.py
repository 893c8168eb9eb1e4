"""Whatever requests ask for and however they end, nothing is lost and nothing passes its limit."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.errors import ClientError
from extproc.limits import Grant
from extproc.limits.ceilings import option_of
from extproc.policy import Ceilings, QueuePolicy
from extproc.records import Cost, Usage
from extproc.state.counters import Option
from tests.unit.limits.gating import Gating, asking, candidate, compiled

MOST = 5_000
NONE = Option("", ())
BIG = Ceilings(rpm=50, tpm=50_000, concurrent=3)
LEVELS = [
    [candidate("a", ceilings=BIG)],
    [candidate("a", ceilings=BIG), [(candidate("b", ceilings=BIG), 2), (candidate("c"), 1)]],
    [candidate("c"), candidate("b", ceilings=BIG)],
]

requests = st.fixed_dictionaries(
    {
        "input": st.integers(0, 800),
        "bound": st.integers(0, 900),
        "output": st.none() | st.integers(0, 900),
        "answers": st.integers(1, 3),
        "levels": st.sampled_from(LEVELS),
    }
)
shares = st.floats(0, 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), requests),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 50), shares, shares,
                                            st.sampled_from(["served", "failed", "gone"]))),
        st.tuples(st.just("attempt"), st.tuples(st.integers(0, 50), st.sampled_from("ab"))),
    ),
    max_size=40,
)  # fmt: skip


def strict_amount(grant: Grant, read: float, written: float) -> tuple[int, int]:
    """What a request may come to: no more than what it said and what went up as its cap."""
    asked = grant.asking
    assert asked.bound is not None
    assert grant.cap is not None
    return int(read * asked.bound), int(written * grant.cap * asked.answers)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_a_strict_limit_is_never_passed_and_nothing_stays_behind(
    walk: list[tuple[str, Any]],
) -> None:
    asyncio.run(walked(walk))


async def walked(walk: list[tuple[str, Any]]) -> None:
    gating = Gating()
    rules = compiled(
        {"user": {"tokens": {"limit": f"{MOST}/d", "strict": True}, "concurrent": 4}},
        queue=QueuePolicy(ttl=0.0),
    )
    open_: list[Grant] = []
    tried: dict[str, str] = {}
    for number, (what, given_) in enumerate(walk):
        if what == "ask":
            try:
                grant = await gating.granted(rules, f"r{number}", **given_)
            except ClientError:
                continue
            open_.append(grant)
        elif not open_:
            continue
        elif what == "attempt":
            index, name = given_
            grant = open_[index % len(open_)]
            left = {one.target.target for level in grant.asking.levels[grant.level :]
                    for one, _ in level}  # fmt: skip
            # Envoy goes down the chain and never back: a, then b or c.
            if name in left and name >= tried.get(grant.asking.id, ""):
                wanted = candidate(name, ceilings=BIG).target
                await gating.gate.attempt(grant.asking.id, gating.gate.lease(grant), wanted)
                tried[grant.asking.id] = name
        else:
            grant = open_.pop(given_[0] % len(open_))
            _, read, written, how = given_
            end(gating, grant, tried.get(grant.asking.id), (read, written), how)
        for grant in open_:
            for index in range(2):
                used = await gating.used(grant, index)
                assert 0 <= used <= MOST
    for grant in open_:
        end(gating, grant, None, (1.0, 1.0), "gone")
    assert gating.store.figures()["held"]["ids"] == 0
    at_once = [
        take.counter
        for name in "ab"
        for take in (option_of(candidate(name, ceilings=BIG), (0, 0)) or NONE).takes
        if take.counter.kind == "concurrent"
    ]
    assert [one.used for one in await gating.store.peek(at_once)] == [0, 0]


def end(
    gating: Gating, grant: Grant, tried: str | None, used: tuple[float, float], how: str
) -> None:
    """`tried`: the last level that asked for room on its own: whoever serves, it is that one."""
    tokens = strict_amount(grant, *used)
    first = grant.target or grant.asking.levels[grant.level][0][0].target.target
    last = tried or first
    if how == "served":
        gating.gate.settle(grant, Usage(*tokens), Cost(0), last, [first, last])
    elif how == "failed":
        gating.gate.settle(grant, None, None, None, [first, last])
    else:
        gating.gate.settle(grant, Usage(tokens[0], estimated=True), None, None, ())


def test_a_request_is_the_same_however_its_ids_are_reused() -> None:
    async def run() -> None:
        gating = Gating()
        rules = compiled({"user": {"tokens": "1000/d"}})
        grant = await gating.granted(rules)
        again = await gating.gate.admit(asking(), rules)
        assert await gating.used(again) == 150
        gating.served(grant)
        gating.served(again)
        assert await gating.used(again) == 150

    asyncio.run(run())
