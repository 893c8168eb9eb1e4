from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.guard.bodies.logprobs import dropped

TOKENS = {"content": [{"token": "Zara", "logprob": -0.1}]}
CHAT: dict[str, Any] = {
    "choices": [{"index": 0, "message": {"content": "Zara"}, "logprobs": TOKENS}],
    "usage": {"total_tokens": 12},
}
RESPONSES: dict[str, Any] = {
    "output": [{"content": [{"text": "Zara", "logprobs": [{"token": "Zara"}]}]}, {"type": "x"}]
}


@pytest.mark.parametrize(("format_", "answer"), [("chat", CHAT), ("responses", RESPONSES)])
def test_no_token_is_left(format_: str, answer: dict[str, Any]) -> None:
    out = dropped(json.dumps(answer).encode(), format_)
    assert b'token"' not in out.replace(b"total_tokens", b"")
    assert json.loads(out).keys() == answer.keys()
    assert b"Zara" in out


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": "logprobs"}, "logprobs": null}]}',
        b'{"choices": "x", "logprobs": 1}',
        b'["logprobs"]',
        b'{"logprobs": ',
        b'{"a": 1}',
    ],
)
def test_what_has_none_stays_as_it_is(body: bytes) -> None:
    assert dropped(body, "chat") is body
