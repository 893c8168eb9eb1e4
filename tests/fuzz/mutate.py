"""Mutations that keep an input's outer shape: random bytes seldom make JSON, and never a checksum.

A shape is `json`, `sse`, `event_stream` (the payloads of both are JSON) or `text`. The first
`prefix` bytes of an input are choices of the target (where to cut, which options).
"""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final
from zlib import crc32

Fallback = Callable[[bytes, int], bytes]

_RAW: Final = 0.2
"""The share of inputs that are mutated as bytes."""
_MOST: Final = 4
"""Changes of one mutation."""

_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.0,
    0.5,
    -0.0,
    1e16,
    1e308,
    2**31,
    2**53,
    2**63,
    2**64,
    -(2**63) - 1,
    10**300,
    "",
    " ",
    "a",
    "text",
    "\0",
    "\n\n",
    "ü€😀",
    "\u2028\ufeff",
    "data: [DONE]\n\n",
    "<b>&amp;</b>",
    "{}",
    "[]",
    '{"a":',
    '{"a": 1}',
    "null",
    "data:image/png;base64,iVBORw0KGgo=",
    "https://example.com/a.png",
    "YQ==",
    "x" * 200,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"type": "text", "text": "x"},
)


class Mutator:
    """Mutates inputs of one shape; `samples` are what keys and values are borrowed from."""

    def __init__(self, shape: str, prefix: int, samples: Iterable[bytes]) -> None:
        self._prefix = prefix
        self._shape = shape
        self._keys: list[str] = []
        self._values: list[Any] = list(_VALUES)
        self._pairs: list[tuple[str, Any]] = []
        for sample in samples:
            for tree in self._trees(sample[prefix:]):
                self._learn(tree)
        self._keys = sorted({key for key, _ in self._pairs}) or ["a"]

    def __call__(self, data: bytes, most: int, seed: int, fallback: Fallback) -> bytes:
        """The next input, at most `most` bytes."""
        chance = random.Random(seed)
        made = self._made(data, chance)
        if made is None or len(made) > most:
            return fallback(data, most)
        return made

    def _made(self, data: bytes, chance: random.Random) -> bytes | None:
        if chance.random() < _RAW:
            return None
        head, body = bytearray(data[: self._prefix]), data[self._prefix :]
        head += bytes(self._prefix - len(head))
        if head and chance.random() < 0.3:
            head[chance.randrange(len(head))] = chance.randrange(256)
        if self._shape == "json":
            made = self._json(body, chance)
        elif self._shape == "sse":
            made = self._events(body, chance)
        elif self._shape == "event_stream":
            made = self._messages(body, chance)
        else:
            return None
        return None if made is None else bytes(head) + made

    # --- shapes

    def _trees(self, body: bytes) -> list[Any]:
        if self._shape == "json":
            payloads = [body]
        elif self._shape == "sse":
            payloads = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
        elif self._shape == "event_stream":
            payloads = [payload for _, payload in frames(body)]
        else:
            return []
        return [tree for tree in map(_parsed, payloads) if tree is not None]

    def _json(self, body: bytes, chance: random.Random) -> bytes | None:
        tree = _parsed(body)
        if tree is None:
            return None
        for _ in range(chance.randint(1, _MOST)):
            tree = self._changed(tree, chance)
        return _written(tree, chance)

    def _events(self, body: bytes, chance: random.Random) -> bytes | None:
        blocks = [block for block in body.split(b"\n\n") if block]
        if not blocks:
            return None
        for _ in range(chance.randint(1, _MOST)):
            _reordered(blocks, chance)
            at = chance.randrange(len(blocks))
            head, mark, data = blocks[at].rpartition(b"data: ")
            changed = self._json(data, chance) if mark else None
            if changed is not None:
                blocks[at] = head + mark + changed
        end = chance.choice([b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\r"])
        return end.join(blocks) + chance.choice([end, end, end, b"", b"\n"])

    def _messages(self, body: bytes, chance: random.Random) -> bytes | None:
        found = frames(body)
        if not found:
            return None
        for _ in range(chance.randint(1, _MOST)):
            _reordered(found, chance)
            at = chance.randrange(len(found))
            headers, payload = found[at]
            changed = self._json(payload, chance)
            if chance.random() < 0.2:
                headers = _bytes(headers, chance)
            found[at] = headers, payload if changed is None else changed
        return b"".join(framed(headers, payload) for headers, payload in found)

    # --- trees

    def _learn(self, tree: Any) -> None:
        if isinstance(tree, dict):
            for key, value in tree.items():
                self._pairs.append((key, value))
                self._learn(value)
        elif isinstance(tree, list):
            for value in tree:
                self._learn(value)
        elif isinstance(tree, str):
            self._learn(_parsed(tree.encode("utf-8", "replace")))
        if tree is not None:
            self._values.append(tree)

    def _value(self, chance: random.Random) -> Any:
        return copy.deepcopy(chance.choice(self._values))

    def _changed(self, tree: Any, chance: random.Random) -> Any:
        """The tree with one change, at a place where values are small more often than not."""
        parents = [place for place in _places(tree) if place]
        if not parents or chance.random() < 0.02:
            return self._scalar(tree, chance)
        place = chance.choice(parents)
        if isinstance(place, dict):
            self._object(place, chance)
        else:
            self._array(place, chance)
        return tree

    def _object(self, place: dict[str, Any], chance: random.Random) -> None:
        key = chance.choice(list(place))
        match chance.randrange(6):
            case 0:
                del place[key]
            case 1 if self._pairs:
                name, value = chance.choice(self._pairs)
                place[name] = copy.deepcopy(value)
            case 2:
                place[chance.choice(self._keys)] = place.pop(key)
            case 3:
                place[key] = self._value(chance)
            case 4:
                same = [value for name, value in self._pairs if name == key]
                if same:
                    place[key] = copy.deepcopy(chance.choice(same))
            case _:
                place[key] = self._scalar(place[key], chance)

    def _array(self, place: list[Any], chance: random.Random) -> None:
        at = chance.randrange(len(place))
        match chance.randrange(5):
            case 0:
                del place[at]
            case 1:
                place.insert(chance.randrange(len(place) + 1), copy.deepcopy(place[at]))
            case 2:
                chance.shuffle(place)
            case 3:
                place[at] = self._value(chance)
            case _:
                place[at] = self._scalar(place[at], chance)

    def _scalar(self, value: Any, chance: random.Random) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + chance.choice([-1, 1, 7, -100, 2**31])
        if isinstance(value, float):
            return chance.choice([-value, value * 2, value / 3, round(value, 1)])
        if isinstance(value, str) and chance.random() < 0.7:
            inner = _parsed(value.encode("utf-8", "replace"))
            if isinstance(inner, dict) and inner:
                return json.dumps(self._changed(inner, chance))
            return _bytes(value.encode("utf-8", "replace"), chance).decode("utf-8", "replace")
        return self._value(chance)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _written(tree: Any, chance: random.Random) -> bytes:
    compact = chance.random() < 0.7
    text = json.dumps(
        tree,
        ensure_ascii=chance.random() < 0.5,
        separators=(",", ":") if compact else None,
    )
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> list[Any]:
    found: list[Any] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.append(one)
            waiting.extend(one.values())
        elif isinstance(one, list):
            found.append(one)
            waiting.extend(one)
    return found


def _reordered(items: list[Any], chance: random.Random) -> None:
    at = chance.randrange(len(items))
    match chance.randrange(6):
        case 0 if len(items) > 1:
            del items[at]
        case 1:
            items.insert(chance.randrange(len(items) + 1), items[at])
        case 2:
            other = chance.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        case 3 if len(items) > 1:
            del items[at + 1 :]
        case _:
            pass


def _bytes(text: bytes, chance: random.Random) -> bytes:
    made = bytearray(text)
    at = chance.randrange(len(made) + 1)
    match chance.randrange(4):
        case 0:
            del made[at : at + chance.randint(1, 8)]
        case 1:
            made[at:at] = chance.randbytes(chance.randint(1, 4))
        case 2 if made:
            made[at % len(made)] ^= 1 << chance.randrange(8)
        case _:
            made[at:at] = made[: chance.randint(1, 8)]
    return bytes(made)


# --- Amazon's framing ---------------------------------------------------------------------


def frames(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Headers and payload of each message, with no regard to checksums."""
    found = []
    while len(stream) >= 16:
        total, headers = struct.unpack_from(">II", stream)
        if not 16 <= total <= len(stream) or headers > total - 16:
            break
        found.append((stream[12 : 12 + headers], stream[12 + headers : total - 4]))
        stream = stream[total:]
    return found


def framed(headers: bytes, payload: bytes) -> bytes:
    """One message, with its checksums."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))
