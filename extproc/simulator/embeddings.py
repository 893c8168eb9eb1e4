"""OpenAI's embeddings: for each text a vector that the text alone decides."""

from __future__ import annotations

import array
import base64
import hashlib
import math
import random
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Ask, Reply
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_rules import unknown_model
from extproc.simulator.openai_service import Endpoint

_LENGTHS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_USUAL = 1536
_MOST = 2048
"""Inputs in one request."""
_MOST_TOKENS = 8192
"""Tokens in one input."""


class Body(wire.Strict):
    """The whole body."""

    input: Any
    """Text, texts, tokens or lists of tokens; `_inputs` tells them apart."""
    model: str
    dimensions: int | UnsetType = UNSET
    encoding_format: Literal["float", "base64"] | UnsetType = UNSET
    user: str | UnsetType = UNSET


class AzureBody(Body):
    """The path names the model. `input_type` is Azure's own."""

    model: str = ""
    input_type: str | UnsetType = UNSET


class _Own(msgspec.Struct, frozen=True):
    """What to embed, and how to write it."""

    inputs: tuple[str, ...]
    length: int
    base64: bool


class Embeddings(Endpoint):
    """`POST …/embeddings`."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as OpenAI does. Raises RejectedError."""
        named = self.service.admit(path, query)
        self.require_json(headers, hosted=hosted)
        sent = self.decode(AzureBody if named else Body, body, hosted=hosted)
        model = named or sent.model
        inputs = _inputs(sent.input)
        wrong = inputs if isinstance(inputs, Wrong) else unknown_model(model, hosted=hosted)
        wrong = wrong or _dimensions(sent, model, hosted=hosted)
        if wrong is not None:
            raise self.refused(wrong, hosted=hosted)
        assert not isinstance(inputs, Wrong)  # noqa: S101 - refused above
        length = _LENGTHS.get(model, _USUAL) if sent.dimensions is UNSET else sent.dimensions
        own = _Own(inputs, length, sent.encoding_format == "base64")
        return Ask(model=model, silent=True, own=own)

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A list of embeddings."""
        own: _Own = ask.own
        data = [
            {"object": "embedding", "index": n, "embedding": _written(one, own)}
            for n, one in enumerate(own.inputs)
        ]
        body: dict[str, Any] = {"object": "list", "data": data, "model": reply.model}
        if reply.usage is not None:
            used = reply.usage.input
            body["usage"] = {"prompt_tokens": used, "total_tokens": used}
        return msgspec.json.encode(body)


def vector(text: str, length: int) -> list[float]:
    """A unit vector of `length` numbers that the text decides: normal draws, seeded by its hash,
    so that different texts are nearly orthogonal. A shorter vector of the same text is the
    beginning of the longer one, made unit length again, as with OpenAI's models."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    draw = random.Random(seed)
    made = [draw.gauss(0.0, 1.0) for _ in range(length)]
    norm = math.sqrt(math.fsum(one * one for one in made)) or 1.0
    return [one / norm for one in made]


def _written(text: str, own: _Own) -> list[float] | str:
    """The vector as numbers, or in base64 as little-endian 32-bit floats."""
    numbers = vector(text, own.length)
    if not own.base64:
        return numbers
    packed = array.array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


def _inputs(value: Any) -> tuple[str, ...] | Wrong:  # noqa: PLR0911 - one return for each kind
    """Each input as text that stands for it."""
    if isinstance(value, str):
        return (value,) if value else _empty("")
    if not isinstance(value, list):
        return Wrong(
            "Invalid type for 'input': expected one of a string or array, but got "
            f"{_kind(value)} instead.",
            "input",
            "invalid_type",
        )
    if not value:
        return Wrong(
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "input",
            "empty_array",
        )
    if all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        return _tokens([value])
    if len(value) > _MOST:
        return Wrong(
            f"Invalid 'input': array too long. Expected an array with maximum length {_MOST}, but "
            f"got an array with length {len(value)} instead.",
            "input",
            "array_above_max_length",
        )
    if all(isinstance(one, str) for one in value):
        empty = next((n for n, one in enumerate(value) if not one), None)
        return tuple(value) if empty is None else _empty(f"[{empty}]")
    if all(isinstance(one, list) and one for one in value) and all(
        isinstance(token, int) and not isinstance(token, bool) for one in value for token in one
    ):
        return _tokens(value)
    return Wrong("'$.input' is invalid. Please check the API reference.", None)


def _tokens(lists: list[list[int]]) -> tuple[str, ...] | Wrong:
    longest = max(map(len, lists))
    if longest > _MOST_TOKENS:
        return Wrong(
            f"This model's maximum context length is {_MOST_TOKENS} tokens, however you requested "
            f"{longest} tokens ({longest} in your prompt; 0 for the completion). Please reduce "
            "your prompt; or completion length.",
            None,
        )
    if any(token < 0 for one in lists for token in one):
        return Wrong("Invalid 'input': tokens are integers from 0 on.", "input", "invalid_value")
    return tuple(" ".join(map(str, one)) for one in lists)


def _empty(where: str) -> Wrong:
    return Wrong(f"Invalid 'input{where}': input cannot be an empty string.", f"input{where}")


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a decimal", dict: "an object"}
    return names.get(type(value), "null")


def _dimensions(sent: Body, model: str, *, hosted: bool) -> Wrong | None:
    if sent.dimensions is UNSET:
        return None
    if sent.dimensions < 1:
        return Wrong(f"{sent.dimensions} is less than the minimum of 1 - 'dimensions'")
    if "ada-002" in model and hosted:
        return Wrong("This model does not support specifying dimensions.", "dimensions")
    most = _LENGTHS.get(model, _LENGTHS["text-embedding-3-large"])
    if sent.dimensions > most:
        return Wrong(
            f"Invalid value for 'dimensions' = {sent.dimensions}. Must be less than or equal to "
            f"{most}.",
            "dimensions",
        )
    return None
