"""Noise: whatever comes in, it is answered, or refused in OpenAI's shape, and the gateway lives."""

from __future__ import annotations

import json
import random

import pytest

from tests.e2e.conftest import Running
from tests.e2e.sockets import CHAT, GOOD, error_of, exchange, request

pytestmark = pytest.mark.e2e

SPICE = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b"\xc3", b"\\u0000", b"NaN"),
    *(b"null", b"-1", b"1e999", b'"model"', b'"messages":', b"\\ud83d", b" ", b"\n", b"true"),
]


def mutated(body: bytes, dice: random.Random) -> bytes:
    """The body with a few bytes cut, doubled, flipped or put in."""
    found = bytearray(body)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(found) + 1)
        until = min(len(found), at + dice.randrange(1, 12))
        action = dice.randrange(5)
        if action == 0:
            del found[at:until]
        elif action == 1:
            found[at:at] = found[at:until]
        elif action == 2 and at < len(found):
            found[at] ^= 1 << dice.randrange(8)
        elif action == 3:
            del found[at:]
        else:
            found[at:at] = dice.choice(SPICE)
    return bytes(found)


WHOLE = json.dumps(
    {
        "model": "gpt-4-turbo",
        "messages": [{"role": "system", "content": "é"}, {"role": "user", "content": "hi 🚦"}],
        "temperature": 0.5,
        "max_tokens": 7,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "metadata": {"a": "b"},
    }
).encode()


def test_noise_in_the_body(gateway: Running) -> None:
    """Whatever the body: an answer, or a 4xx in OpenAI's shape; what is refused went nowhere."""
    dice = random.Random(20261123)
    served = 0
    for _ in range(300):
        body = mutated(WHOLE, dice)
        answer = gateway.raw(body)
        if answer.status_code == 200 or "x-tollgate-target" in answer.headers:
            served += 1
        else:
            assert 400 <= answer.status_code < 500, (body, answer.text)
            error_of(answer)
    assert len(gateway.asked()) == served
    assert served < 150
    assert gateway.chat("gpt-4-turbo").status_code == 200


def test_noise_in_the_head(gateway: Running) -> None:
    """Whatever the head: an answer, a 4xx in OpenAI's shape, or a closed connection."""
    dice = random.Random(20261124)
    head, _, _ = request(CHAT, GOOD, "authorization: Bearer x", "x-tollgate-user: u").partition(
        b"\r\n\r\n"
    )
    answered = 0
    for _ in range(200):
        # A length that grew would leave the gateway waiting, rightly: nothing to learn from it.
        sent = mutated(head, dice)
        if sent.lower().count(b"content-length: %d\r\n" % len(GOOD)) != 1:
            continue
        answer = exchange(gateway.port, sent + b"\r\n\r\n" + GOOD + b"\r\n\r\n" * 2)
        if answer is None:
            continue
        answered += 1
        assert answer.status in {200, 501} or 400 <= answer.status < 500, (sent, answer)
        if answer.status != 200 and answer.body:
            error_of(answer)
    assert answered > 50
    assert gateway.chat("gpt-4-turbo").status_code == 200
