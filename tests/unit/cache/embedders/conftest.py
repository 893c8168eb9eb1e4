import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from extproc.cache.embedders import building
from extproc.cache.embedders.minilm import FILE


@pytest.fixture(scope="session")
def graph() -> bytes:
    """The model that TOLLGATE_MODELS names, else one that is built."""
    if find_spec("onnxruntime") is None:
        pytest.skip("needs the extra minilm")
    folder = os.environ.get("TOLLGATE_MODELS")
    if folder and Path(folder, FILE).exists():
        return Path(folder, FILE).read_bytes()
    if find_spec("onnx") is None or find_spec(building.PACKAGE) is None:
        pytest.skip("the model is not built, and what builds it is not installed")
    return building.build(None, print).graph
