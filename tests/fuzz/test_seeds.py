import pytest

from tests.fuzz import corpus, findings, targets
from tests.fuzz.target import Target


@pytest.mark.parametrize(
    "target", [pytest.param(one, id=name) for name, one in targets.every().items()]
)
def test_what_the_fuzzers_kept_is_passed(target: Target) -> None:
    for sample in target.samples:
        target.check(sample)
    for path in corpus.kept(target.name):
        met = findings.failure(target.check, path.read_bytes())
        assert met is None, f"{path}: {met}"


def test_what_is_kept_is_small_and_has_a_target() -> None:
    every = targets.every()
    for folder in corpus.SEEDS.iterdir():
        assert folder.name in every
        found = corpus.kept(folder.name)
        assert len(found) <= corpus.MOST + 10
        assert all(one.stat().st_size <= corpus.LARGEST for one in found)
