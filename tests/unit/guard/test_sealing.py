from __future__ import annotations

import pytest

from extproc.guard.placeholders import Mapping
from extproc.guard.sealing import seal, unseal

KEY = b"k" * 32
MAPPING = Mapping({"PERSON_1": "Ann Lee", "SECRET_1": "a\ud800"})


def test_only_the_key_and_the_place_open_it() -> None:
    sealed = seal(MAPPING, KEY, context=b"session 1")
    assert b"Ann" not in sealed
    assert unseal(sealed, KEY, context=b"session 1") == MAPPING
    for key, context in ((b"x" * 32, b"session 1"), (KEY, b"session 2"), (KEY, b"")):
        with pytest.raises(ValueError, match="another key"):
            unseal(sealed, key, context=context)


def test_no_two_sealings_are_alike() -> None:
    assert seal(MAPPING, KEY) != seal(MAPPING, KEY)


def test_damaged_bytes_do_not_open() -> None:
    sealed = seal(MAPPING, KEY)
    for at in range(len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(ValueError, match="sealed"):
            unseal(broken, KEY)
        with pytest.raises(ValueError, match="sealed"):
            unseal(sealed[:at], KEY)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        seal(MAPPING, b"short")
