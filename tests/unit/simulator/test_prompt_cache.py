import pytest

from extproc.simulator import prompt_cache
from extproc.simulator.chat import PromptCache
from extproc.simulator.prompt_cache import Memory


def test_nothing_marked_is_nothing_to_say() -> None:
    assert Memory().look("m", [(b"a", None), (b"b", None)]) is None


def test_each_model_has_its_own_prefixes() -> None:
    memory = Memory()
    first = memory.look("one", [(b"a", "5m"), (b"b", None)])
    assert first is not None
    assert memory.look("one", [(b"a", "5m")]) == PromptCache(read=first.write)
    other = memory.look("two", [(b"a", "5m")])
    assert other is not None
    assert other.read == 0


def test_a_changed_block_ends_the_known_prefix() -> None:
    memory = Memory()
    memory.look("m", [(b"a", "5m"), (b"b", "1h")])
    found = memory.look("m", [(b"a", "5m"), (b"c", "1h")])
    again = memory.look("m", [(b"a", "5m")])
    assert found is not None
    assert again is not None
    assert found.read == again.read
    assert (found.write, found.write_1h > 0) == (0, True)


def test_the_oldest_prefix_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_cache, "KEPT", 2)
    memory = Memory()
    for one in (b"a", b"b", b"c"):
        memory.look("m", [(one, "5m")])
    kept = [memory.look("m", [(one, "5m"), (b"x", None)]) for one in (b"c", b"b")]
    assert [one is not None and one.read > 0 for one in kept] == [True, True]
    gone = memory.look("m", [(b"a", "5m")])
    assert gone is not None
    assert gone.read == 0
