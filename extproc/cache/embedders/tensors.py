"""Tensors of a `.safetensors` file, mapped into memory: processes that map the same file share one
copy, and what nobody looks up is never read. (The library of that name copies every tensor.)

The format: eight bytes, little-endian, with the length of a header; the header, JSON that names
each tensor's type, shape and place; the tensors (huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

_TYPES: Final = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}
_LONGEST: Final = 100_000_000
"""Bytes of a header; the library's own bound."""


class TensorError(ValueError):
    """A file that is no such file, or whose header lies."""


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_HEADER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TENSOR: Final = msgspec.json.Decoder(_Tensor)


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors by name, read-only. Raises OSError and TensorError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _LONGEST:
            raise TensorError(f"{path}: no safetensors file")
        header = file.read(length)
    try:
        found = {
            name: _TENSOR.decode(raw)
            for name, raw in _HEADER.decode(header).items()
            if name != "__metadata__"
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TensorError(f"{path}: no safetensors file") from None
    # A plain array over the mapping: a memmap's own indexing costs five times as much.
    data = np.asarray(np.memmap(path, mode="r"))[8 + length :]
    return {name: _view(path, data, one) for name, one in found.items()}


def _view(path: Path, data: NDArray[np.uint8], one: _Tensor) -> NDArray[Any]:
    start, end = one.data_offsets
    type_ = _TYPES.get(one.dtype)
    if type_ is None:
        raise TensorError(f"{path}: a tensor of type {one.dtype}")
    size = math.prod(one.shape) * np.dtype(type_).itemsize
    if not 0 <= start <= end <= len(data) or end - start != size or min(one.shape, default=0) < 0:
        raise TensorError(f"{path}: a tensor lies outside the file")
    return data[start:end].view(type_).reshape(one.shape)
