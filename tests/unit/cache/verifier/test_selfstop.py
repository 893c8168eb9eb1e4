import random

import msgspec
import pytest

from extproc.cache.verifier.selfstop import SelfStop


def audits_until(share: float, allowed: float, seed: int, most: int = 3_000) -> int | None:
    draw, stop = random.Random(seed), SelfStop()
    for number in range(1, most + 1):
        if stop.audited(wrong=draw.random() < share, allowed=allowed):
            return number
    return None


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("allowed", [0.012, 0.02, 0.05])
def test_it_stops_within_a_hundred_audits_after_answers_have_changed(
    share: float, allowed: float
) -> None:
    share = max(share, 6 * allowed)
    found = [audits_until(share, allowed, seed) for seed in range(200)]
    assert all(one is not None and one <= 100 for one in found)


@pytest.mark.parametrize("allowed", [0.012, 0.02, 0.05, 0.5])
def test_it_seldom_stops_what_keeps_its_promise(allowed: float) -> None:
    stopped = sum(
        audits_until(allowed * 0.6, allowed, seed, 600) is not None for seed in range(200)
    )
    assert stopped <= 20


def test_it_begins_anew_with_serving() -> None:
    stop = SelfStop()
    for _ in range(3):
        stop.audited(wrong=True, allowed=0.02)
    stop.again()
    assert stop == SelfStop()


def test_it_is_saved_as_it_is() -> None:
    stop = SelfStop()
    stop.audited(wrong=True, allowed=0.02)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stop), type=SelfStop) == stop
