"""Embeddings, input by input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from extproc.cache.fingerprint import Place, asked, fields
from extproc.cache.vectors import Vector, inputs, joined, missing, vector, vectors

texts = st.lists(st.text(), min_size=1, max_size=6)


def answer(count: int, tokens: int = 10, **more: Any) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": [n, 0.5]} for n in range(count)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    tree = {"object": "list", "data": data, "model": "e-1", "usage": usage, **more}
    return json.dumps(tree).encode()


def kept(found: list[Vector] | None) -> list[Vector]:
    assert found is not None
    return found


@given(texts, st.integers(0, 10_000))
def test_an_answer_taken_apart_and_put_together_is_the_same(given_: list[str], tokens: int) -> None:
    found = kept(vectors(answer(len(given_), tokens), given_))
    assert len(found) == len(given_)
    again = [vector(one.entry()) for one in found]
    made = joined([one for one in again if one is not None])
    assert json.loads(made) == json.loads(answer(len(given_), tokens))
    CreateEmbeddingResponse.model_validate_json(made)


def test_an_input_has_its_share_of_the_tokens() -> None:
    found = kept(vectors(answer(2, 30), ["x" * 20, "x" * 10]))
    assert [one.tokens for one in found] == [20, 10]


def test_only_what_is_missing_is_asked_for() -> None:
    body = b'{"model":"e","input":["a","b","c"],"dimensions":2}'
    assert json.loads(missing(body, ["a", "b", "c"], [0, 2])) == {
        "model": "e",
        "input": ["a", "c"],
        "dimensions": 2,
    }
    assert json.loads(missing(b'{"input":[1,2]}', [1, 2], [0])) == {"input": [[1, 2]]}


@pytest.mark.parametrize("given_", ["a", ["a", "b"], [1, 2], [[1], [2, 3]]])
def test_inputs_are_those_that_have_keys(given_: Any) -> None:
    place = Place(format="embeddings", route="r", scope=b"s" * 32)
    found = asked(fields(json.dumps({"model": "e", "input": given_}).encode()), place)
    assert len(found.items) == len(inputs(given_))


@pytest.mark.parametrize(
    "found",
    [
        b"nonsense",
        b"{}",
        answer(1),
        answer(3),
        answer(2, data=[{"index": 0, "embedding": []}, {"index": 0, "embedding": []}]),
        answer(2, data=[{"index": 0}, {"index": 1}]),
    ],
)
def test_an_answer_that_is_not_whole_is_not_kept(found: bytes) -> None:
    assert vectors(found, ["a", "b"]) is None


def test_vectors_come_in_the_order_of_their_inputs() -> None:
    data = [{"index": 1, "embedding": "QQ=="}, {"index": 0, "embedding": "Qg=="}]
    found = kept(vectors(answer(2, data=data), ["a", "b"]))
    assert [bytes(one.embedding) for one in found] == [b'"Qg=="', b'"QQ=="']


@given(st.binary())
def test_what_was_damaged_in_the_store_is_none(entry: bytes) -> None:
    assert vector(entry[:3]) is None
