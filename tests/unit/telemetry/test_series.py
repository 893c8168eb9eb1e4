import pytest

from extproc.telemetry import names
from extproc.telemetry.series import Bounded, Counter, Family, Histogram


def test_a_value_on_a_bound_belongs_below_it() -> None:
    one = Histogram({}, (1, 4, 16))
    for value in (0, 1, 2, 4, 16, 17):
        one.add(value)
    assert one.counts == [2, 2, 1, 1]
    assert one.sum == 40


def test_the_same_values_are_the_same_series() -> None:
    family = Family(names.REFUSALS, Counter)
    assert family.of("a", "capacity") is family.of("a", "capacity")
    assert family.of("a", "capacity") is not family.of("a", None)
    assert family.of("a", None).attributes == {"target": "a"}


def test_beyond_the_limit_all_share_one_marked_series() -> None:
    family = Family(names.WALKED, Counter, limit=3)
    series = {family.of(str(number)) for number in range(10)}
    assert len(family) == 3
    assert [one.attributes for one in series if names.OVERFLOW in one.attributes] == [
        {names.OVERFLOW: True}
    ]


def test_a_wrong_number_of_values_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        Family(names.WALKED, Counter).of("a", "b")


def test_a_label_tells_only_so_many_values_apart() -> None:
    label = Bounded(2, allowed=["always"])
    assert [label(one) for one in ("a", "b", "c", "a", "always", None)] == [
        "a",
        "b",
        names.OTHER,
        "a",
        "always",
        None,
    ]


def test_what_is_never_served_cannot_drive_out_what_is() -> None:
    label = Bounded(4)
    for number in range(100):
        label(f"made-up-{number}", served=False)
    assert label("real") == "real"
    assert label("made-up-99", served=False) == names.OTHER
