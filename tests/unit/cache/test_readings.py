"""What is remembered of requests stands for the same request alone."""

from __future__ import annotations

from dataclasses import replace

from extproc.cache.fingerprint import Place, asked, fields
from extproc.cache.readings import LONGEST, MOST, Reading, Readings
from extproc.cache.replay import Asker
from extproc.cache.rules import Rules, rules
from extproc.policy import CachePolicy

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}'
PLACE = Place(format="chat", route="r", scope=b"a" * 32)


def made(mode: str = "exact") -> Rules:
    found = rules(CachePolicy(mode=mode), None)  # type: ignore[arg-type]
    assert found is not None
    return found


def reading(place: Place = PLACE) -> Reading:
    return Reading(asked(fields(BODY), place), Asker(), "default")


def test_the_same_request_is_read_once() -> None:
    readings, policy, found = Readings(), made(), reading()
    readings.keep(BODY, policy, PLACE, found)
    assert readings.of(bytes(bytearray(BODY)), policy, replace(PLACE)) is found


def test_another_scope_namespace_or_route_is_another_request() -> None:
    readings, policy = Readings(), made()
    readings.keep(BODY, policy, PLACE, reading())
    others = (
        replace(PLACE, scope=b"b" * 32),
        replace(PLACE, namespace="n"),
        replace(PLACE, route="s"),
        replace(PLACE, seed="1"),
        replace(PLACE, key="k"),
        replace(PLACE, beside=(("anthropic-beta", "x"),)),
        replace(PLACE, format="messages"),
        replace(PLACE, replaces=True),
    )
    assert not [one for one in others if readings.of(BODY, policy, one) is not None]


def test_a_body_that_differs_in_a_byte_is_read_anew() -> None:
    readings, policy = Readings(), made()
    readings.keep(BODY, policy, PLACE, reading())
    assert readings.of(BODY.replace(b"Hello", b"hello"), policy, PLACE) is None


def test_rules_that_were_changed_read_anew() -> None:
    readings = Readings()
    readings.keep(BODY, made(), PLACE, reading())
    assert readings.of(BODY, made(), PLACE) is None


def test_long_bodies_and_old_ones_are_not_kept() -> None:
    readings, policy = Readings(), made()
    long = BODY + b" " * LONGEST
    readings.keep(long, policy, PLACE, reading())
    assert readings.of(long, policy, PLACE) is None
    readings.keep(BODY, policy, PLACE, reading())
    for number in range(MOST):
        readings.keep(b"%d" % number, policy, PLACE, reading())
    assert readings.of(BODY, policy, PLACE) is None
    assert readings.of(b"0", policy, PLACE) is not None
