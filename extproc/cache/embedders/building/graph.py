"""The transformer as an ONNX graph with int8 weights.

Weights are int8 with a scale for each output. What they are multiplied with is made uint8 as it
comes, with a scale for each token: with one for the whole batch, a text's vector would depend on
its neighbours. Weights use 7 bits (-63 to 63), for x86 without VNNI adds two products of 8 bits in
16 with saturation (VPMADDUBSW): so every machine computes the same integers, and vectors made by
different machines may be compared. That costs nothing that can be measured: on 1,200 questions of
banking77 the nearest neighbour has the same intent as often as with full precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from extproc.cache.embedders.building.reference import EPSILON, HEADS, LAYERS
from extproc.cache.embedders.minilm import (
    FORMAT,
    FORMAT_KEY,
    IDS,
    MASK,
    TOKENIZER_KEY,
    TOKENS,
    VECTORS,
)

Weights = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]

OPSET: Final = 20
"""The first with Gelu."""
IR: Final = 9
"""Of the ONNX release that brought opset 20."""
WEIGHT: Final = 63
"""Greatest int8 weight: 255 x 63 x 2 fits 16 bits."""
EMBEDDING: Final = 127
"""Greatest int8 of the table of words, which is looked up and not multiplied."""
GELU_LEAST: Final = 0.17
"""GELU is never below -0.17 (its minimum is -0.16997, at -0.7518): shifted by that much, it uses
all of a uint8."""
MASKED: Final = 10_000.0
"""Taken from the score of a token that is not there."""


def graph(weights: Weights, tokenizer: str) -> bytes:
    """The model's bytes, with its tokenizer in them."""
    return _Graph(weights).bytes(tokenizer)


class _Graph:
    """Nodes and constants as they come to be."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def bytes(self, tokenizer: str) -> bytes:
        mask = self._node("Cast", MASK, to=TensorProto.FLOAT)
        x = self._embeddings()
        bias = self._bias(mask)
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x, bias)
        self._pool(x, mask)
        width = len(self._weights["embeddings.LayerNorm.weight"])
        value = helper.make_tensor_value_info
        shape = ["texts", "tokens"]
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "minilm",
                [value(IDS, TensorProto.INT64, shape), value(MASK, TensorProto.INT64, shape)],
                [value(VECTORS, TensorProto.FLOAT, ["texts", width])],
                list(self._constants.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="tollgate",
        )
        helper.set_model_props(model, {FORMAT_KEY: FORMAT, TOKENIZER_KEY: tokenizer})
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)

    # --- the model -----------------------------------------------------------------------

    def _embeddings(self) -> str:
        table = self._weights["embeddings.word_embeddings.weight"]
        words, scales = _quantised(table, axis=1, most=EMBEDDING)
        found = self._node("Gather", self._constant("words", words), IDS)
        found = self._node("Cast", found, to=TensorProto.FLOAT)
        scale = self._node("Gather", self._constant("words.scale", scales), IDS)
        found = self._node("Mul", found, scale)
        places = self._weights["embeddings.position_embeddings.weight"][:TOKENS]
        # There is one kind of text, so that its vector can be in all places'.
        places = places + self._weights["embeddings.token_type_embeddings.weight"][0]
        count = self._node("Slice", self._node("Shape", IDS), self._ints(1), self._ints(2))
        near = self._node("Slice", self._constant("places", places), self._ints(0), count)
        return self._norm("embeddings.LayerNorm", self._node("Add", found, near))

    def _bias(self, mask: str) -> str:
        """0 for a token, far below 0 for none, for each head and each token that looks."""
        wide = self._node("Unsqueeze", mask, self._ints(1, 2))
        absent = self._node("Sub", wide, self._number("one", 1))
        return self._node("Mul", absent, self._number("masked", MASKED))

    def _layer(self, name: str, x: str, bias: str) -> str:
        attended = self._attention(f"{name}.attention.self", x, bias)
        dense = self._linear(f"{name}.attention.output.dense", attended)
        x = self._norm(f"{name}.attention.output.LayerNorm", self._node("Add", x, dense))
        inner = self._node("Gelu", self._linear(f"{name}.intermediate.dense", x))
        dense = self._linear(f"{name}.output.dense", inner, least=GELU_LEAST)
        return self._norm(f"{name}.output.LayerNorm", self._node("Add", x, dense))

    def _attention(self, name: str, x: str, bias: str) -> str:
        """Queries, keys and values by one multiplication; queries are scaled beforehand."""
        parts = [f"{name}.{one}" for one in ("query", "key", "value")]
        weight: list[Floats] = [self._weights[f"{one}.weight"] for one in parts]
        offset: list[Floats] = [self._weights[f"{one}.bias"] for one in parts]
        width = len(offset[0])
        size = width // HEADS
        scale = np.float32(1 / math.sqrt(size))
        weight[0], offset[0] = weight[0] * scale, offset[0] * scale
        every = self._multiplied(name, x, np.concatenate(weight), np.concatenate(offset))
        split = self._node("Reshape", every, self._ints(0, 0, 3 * HEADS, size))
        split = self._node("Transpose", split, perm=[0, 2, 1, 3])
        query, key, value = self._several(
            3, "Split", split, self._ints(HEADS, HEADS, HEADS), axis=1
        )
        scores = self._node("MatMul", query, self._node("Transpose", key, perm=[0, 1, 3, 2]))
        shares = self._node("Softmax", self._node("Add", scores, bias), axis=-1)
        joined = self._node("Transpose", self._node("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self._node("Reshape", joined, self._ints(0, 0, width))

    def _pool(self, x: str, mask: str) -> None:
        """The sum over tokens, of length 1; the mean has the same direction."""
        present = self._node("Mul", x, self._node("Unsqueeze", mask, self._ints(-1)))
        total = self._node("ReduceSum", present, self._ints(1), keepdims=0)
        length = self._node("ReduceL2", total, self._ints(-1), keepdims=1)
        self._nodes.append(helper.make_node("Div", [total, length], [VECTORS]))

    def _norm(self, name: str, x: str) -> str:
        scale = self._constant(f"{name}.weight", self._weights[f"{name}.weight"])
        shift = self._constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._node("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)

    # --- multiplication in integers --------------------------------------------------------

    def _linear(self, name: str, x: str, least: float | None = None) -> str:
        weight, offset = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return self._multiplied(name, x, weight, offset, least)

    def _multiplied(
        self, name: str, x: str, weight: Floats, offset: Floats, least: float | None = None
    ) -> str:
        """The product of `x` and the weights, and the offset. `least`: x is never below -least;
        None: it is about as far below 0 as above."""
        whole, scales = _quantised(weight.T, axis=0, most=WEIGHT)
        if least is None:
            bytes_, scale, zero = self._signed(x)
        else:
            bytes_, scale, zero = self._shifted(x, least)
            # (x + least) W is x W + least (the sums of W's columns).
            offset = offset - np.float32(least) * (whole * scales).sum(axis=0)
        weights = self._constant(f"{name}.int8", whole)
        nothing = self._constant("nothing", np.int8(0))
        product = self._node("MatMulInteger", bytes_, weights, zero, nothing)
        product = self._node("Cast", product, to=TensorProto.FLOAT)
        product = self._node("Mul", product, scale)
        product = self._node("Mul", product, self._constant(f"{name}.scale", scales))
        return self._node("Add", product, self._constant(f"{name}.offset", offset))

    def _signed(self, x: str) -> tuple[str, str, str]:
        """As uint8 around 128, with a scale for each token."""
        most = self._node("ReduceMax", self._node("Abs", x), self._ints(-1), keepdims=1)
        most = self._node("Max", most, self._number("tiny", 1e-9))
        scale = self._node("Div", most, self._number("half", 127))
        whole = self._node("Round", self._node("Div", x, scale))
        whole = self._node("Add", whole, self._number("middle", 128))
        bytes_ = self._node("Cast", whole, to=TensorProto.UINT8)
        return bytes_, scale, self._constant("middle.uint8", np.uint8(128))

    def _shifted(self, x: str, least: float) -> tuple[str, str, str]:
        """As uint8 from -least on, with a scale for each token."""
        x = self._node("Add", x, self._number("least", least))
        # `least` and more where x is 0 or above, so that the scale is above 0.
        most = self._node("ReduceMax", x, self._ints(-1), keepdims=1)
        most = self._node("Max", most, self._number("tiny", 1e-9))
        scale = self._node("Div", most, self._number("full", 255))
        whole = self._node("Round", self._node("Div", x, scale))
        whole = self._node("Max", whole, self._number("zero", 0))
        bytes_ = self._node("Cast", whole, to=TensorProto.UINT8)
        return bytes_, scale, self._constant("none.uint8", np.uint8(0))

    # --- nodes -----------------------------------------------------------------------------

    def _node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self._several(1, op, *inputs, **attributes)[0]

    def _several(self, count: int, op: str, *inputs: str, **attributes: Any) -> list[str]:
        made = [f"{op}.{len(self._nodes)}.{number}" for number in range(count)]
        self._nodes.append(helper.make_node(op, inputs, made, **attributes))
        return made

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        if name not in self._constants:
            whole = np.ascontiguousarray(value).reshape(np.shape(value))
            self._constants[name] = numpy_helper.from_array(whole, name)
        return name

    def _number(self, name: str, value: float) -> str:
        return self._constant(name, np.float32(value))

    def _ints(self, *values: int) -> str:
        name = "ints." + ".".join(map(str, values))
        return self._constant(name, np.array(values, np.int64))


def _quantised(weight: Floats, *, axis: int, most: int) -> tuple[NDArray[np.int8], Floats]:
    """Integers from -most to most, and their scales: one for each place along the other axis; where
    the axis is the last one, the scales keep it, of width 1."""
    greatest = np.abs(weight).max(axis=axis, keepdims=True)
    scales = np.where(greatest > 0, greatest / np.float32(most), np.float32(1)).astype(np.float32)
    whole = np.rint(weight / scales).astype(np.int8)
    kept: Sequence[int] = scales.shape if axis else scales.shape[1:]
    return whole, scales.reshape(kept)
