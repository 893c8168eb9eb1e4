import json
from pathlib import Path

import numpy as np
import pytest

from extproc.cache.embedders.tensors import TensorError, mapped


def written(path: Path, header: object, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_tensors_are_read(tmp_path: Path) -> None:
    first, second = np.arange(6, dtype="<f4").reshape(2, 3), np.ones(2, "<f2")
    header = {
        "__metadata__": {"format": "pt"},
        "a": tensor([2, 3], 0, 24),
        "b": tensor([2], 24, 28, "F16"),
    }
    found = mapped(written(tmp_path / "x", header, first.tobytes() + second.tobytes()))
    assert found.keys() == {"a", "b"}
    assert np.array_equal(found["a"], first)
    assert np.array_equal(found["b"], second)
    assert not found["a"].flags.writeable


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{",
        b'{"a": 1}',
        b"\xff",
        b'{"a":' * 5000,
        {"a": tensor([3], 0, 8)},
        {"a": tensor([3], 0, 12)},
        {"a": tensor([1], -4, 0)},
        {"a": tensor([-1, -1], 0, 4)},
        {"a": tensor([1], 4, 0)},
        {"a": tensor([1], 0, 4, "F8")},
    ],
)
def test_a_file_that_lies_is_refused(tmp_path: Path, header: object) -> None:
    with pytest.raises(TensorError):
        mapped(written(tmp_path / "x", header, b"12345678"))


@pytest.mark.parametrize("data", [b"", b"123", b"\xff" * 9])
def test_a_file_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(TensorError):
        mapped(path)
