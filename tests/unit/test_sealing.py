import pytest

from extproc.sealing import seal, unseal

KEY = b"a secret of the tests"


def test_what_is_sealed_opens_for_its_place_alone() -> None:
    sealed = seal(b"words", KEY, purpose=b"p", context=b"c")
    assert b"words" not in sealed
    assert unseal(sealed, KEY, purpose=b"p", context=b"c") == b"words"
    wrong = [
        (sealed, b"another secret of them", b"p", b"c"),
        (sealed, KEY, b"q", b"c"),
        (sealed, KEY, b"p", b"d"),
        (sealed[:-1], KEY, b"p", b"c"),
        (b"", KEY, b"p", b"c"),
        (b"\x01", KEY, b"p", b"c"),
    ]
    for data, key, purpose, context in wrong:
        with pytest.raises(ValueError, match="sealed"):
            unseal(data, key, purpose=purpose, context=context)


def test_two_sealings_of_one_thing_have_nothing_in_common() -> None:
    one, other = (seal(b"words" * 4, KEY, purpose=b"p") for _ in range(2))
    assert one[1:] != other[1:]
    with pytest.raises(ValueError, match="at least 16"):
        seal(b"", b"short", purpose=b"p")
