import numpy as np
import pytest

from extproc.cache.verifier.features import WIDTH
from extproc.cache.verifier.told import Resumption, Told, packed, told, unpacked


def test_a_label_is_read_as_it_was_told() -> None:
    row = np.linspace(-1.0, 1.0, WIDTH)
    said = Told(
        b"12345678", 7, 2, features=packed(row), right=True, allowed=0.02, requests=9, would=4,
        served=[packed(row)], same=[3, 4], resumed=Resumption([0.5] * WIDTH, 0.9),
    )  # fmt: skip
    heard = told(said.encoded())
    assert heard == said
    assert unpacked(heard.features) == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize("raw", [b"", b"\xc0", b"\x91\x01", b"not a label", b"\x80"])
def test_what_is_no_label_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="label"):
        told(raw)


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="features"):
        unpacked(packed(np.zeros(WIDTH + 1)))
