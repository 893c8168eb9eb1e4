"""Legacy completions and embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.guard.bodies.looking import answer, media, places, request, values


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a b", ["a b"]),
        (["a", "b"], ["a", "b"]),
        ([50256, 1234567], []),
        ([[50256, 1234567], [7]], []),
    ],
)
def test_prompts_and_inputs(prompt: Any, found: list[str]) -> None:
    assert values(request({"model": "m", "prompt": prompt}, "completions")) == found
    assert values(request({"model": "m", "input": prompt}, "embeddings")) == found


def test_the_rest_of_a_completion() -> None:
    more = {"suffix": "s", "stop": "t", "user": "u"}
    body = request({"model": "m", "prompt": "p", **more}, "completions")
    assert places(body) == {"prompt": "p", "suffix": "s", "stop": "t", "user": "u"}


def test_the_rest_of_embeddings() -> None:
    body = request(
        {"model": "m", "input": ["a"], "encoding_format": "float", "user": "u"}, "embeddings"
    )
    assert places(body) == {"input[0]": "a", "user": "u"}


def test_a_picture_to_embed() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    body = request({"model": "m", "input": [part]}, "embeddings")
    assert not body.texts
    assert media(body) == [("image", "input[0].image_url.url")]


def test_answers() -> None:
    choice = {"text": "x", "index": 0, "logprobs": {"tokens": ["x"]}, "finish_reason": "stop"}
    tree: dict[str, Any] = {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": "m",
        "choices": [choice],
    }
    assert places(answer(tree, "completions")) == {"choices[0].text": "x"}
    vectors = [{"object": "embedding", "index": 0, "embedding": one} for one in ([1.5], "AAAA=")]
    tree = {"object": "list", "data": vectors, "model": "m", "usage": {"total_tokens": 1}}
    assert not answer(tree, "embeddings").texts
