"""The transformer in full precision, slowly: what the graph is checked against.

BERT's encoder (Devlin et al. 2018; post-layer-norm, GELU by erf), then the mean over tokens and
length 1, as the model's card says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]

LAYERS: Final = 6
HEADS: Final = 12
EPSILON: Final = 1e-12
"""`layer_norm_eps` of the model's config."""

_erf = np.vectorize(math.erf, otypes=[np.float64])


def vector(weights: Weights, ids: Sequence[int]) -> Numbers:
    """The vector of length 1 of a text's tokens, marks among them."""
    x: Numbers = weights["embeddings.word_embeddings.weight"][list(ids)].astype(np.float64)
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    x = _norm(weights, "embeddings.LayerNorm", x)
    for layer in range(LAYERS):
        x = _layer(weights, f"encoder.layer.{layer}", x)
    mean = x.mean(axis=0)
    found: Numbers = mean / np.linalg.norm(mean)
    return found


def _layer(weights: Weights, name: str, x: Numbers) -> Numbers:
    heads = (_heads(_linear(weights, f"{name}.attention.self.{one}", x)) for one in _QKV)
    query, key, value = heads
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    context = (scores @ value).transpose(1, 0, 2).reshape(x.shape)
    x = x + _linear(weights, f"{name}.attention.output.dense", context)
    x = _norm(weights, f"{name}.attention.output.LayerNorm", x)
    inner = _linear(weights, f"{name}.intermediate.dense", x)
    inner = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)))
    x = x + _linear(weights, f"{name}.output.dense", inner)
    return _norm(weights, f"{name}.output.LayerNorm", x)


_QKV: Final = ("query", "key", "value")


def _heads(x: Numbers) -> Numbers:
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def _linear(weights: Weights, name: str, x: Numbers) -> Numbers:
    found: Numbers = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return found


def _norm(weights: Weights, name: str, x: Numbers) -> Numbers:
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    found: Numbers = x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return found
