"""Payment cards: who issued a number, how long it is, how it is written, and its check digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CARD: Final = "CREDIT_CARD"

_RANGES: Final[tuple[tuple[int, int, frozenset[int]], ...]] = (
    # First to last of the first four digits, and lengths (ISO/IEC 7812 and the schemes' tables).
    (4000, 4999, frozenset({13, 16, 19})),  # Visa
    (5100, 5599, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),  # Mastercard
    (3400, 3499, frozenset({15})),  # American Express
    (3700, 3799, frozenset({15})),  # American Express
    (3000, 3059, frozenset({14, 16})),  # Diners Club
    (3095, 3095, frozenset({14, 16})),  # Diners Club
    (3600, 3699, frozenset({14, 16, 19})),  # Diners Club
    (3800, 3999, frozenset({14, 16})),  # Diners Club
    (6011, 6011, frozenset({16, 19})),  # Discover
    (6440, 6599, frozenset({16, 19})),  # Discover
    (3500, 3599, frozenset({16, 19})),  # JCB, and what is generated as such
    (2131, 2131, frozenset({15})),  # JCB
    (1800, 1800, frozenset({15})),  # JCB
    (6200, 6299, frozenset({16, 17, 18, 19})),  # UnionPay
    (8100, 8299, frozenset({16})),  # UnionPay, RuPay
    (6000, 6099, frozenset({16})),  # RuPay, Hipercard
    (2200, 2204, frozenset({16})),  # Mir
    (9792, 9792, frozenset({16})),  # Troy
    (5000, 5099, frozenset({12, 13, 14, 15, 16, 17, 18, 19})),  # Maestro, Elo, Verve
    (5600, 5899, frozenset({12, 13, 14, 15, 16, 17, 18, 19})),  # Maestro
    (6000, 6999, frozenset({12, 13, 14, 15, 16, 17, 18, 19})),  # Maestro
)
_SIZES: Final = {
    f"{head}": frozenset().union(
        *(sizes for first, last, sizes in _RANGES if first <= head <= last)
    )
    for head in range(1800, 9793)
    if any(first <= head <= last for first, last, _ in _RANGES)
}
"""Lengths by the first four digits."""
_DOUBLED: Final = {str(one): sum(divmod(2 * one, 10)) for one in range(10)}
_USUAL: Final = frozenset({15, 16})
SHAPES: Final = frozenset(
    {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 5), (4, 5, 6), (6, 10), (8, 8)}
)
SHORTEST: Final = 12
LONGEST: Final = 19

_SURE: Final = 0.99
_SHOWN: Final = 0.9
"""A number as cards print it: one of ten others has a good check digit, but few have an issuer."""
_PLAIN: Final = 0.75
_ODD: Final = 0.4
"""Not enough alone: other long numbers have such lengths too."""
_FAR: Final = 25
_NAMED_OTHERWISE: Final = 0.3
"""What it loses when the words around it say that it is something else."""


def issued(digits: str) -> bool:
    """Whether a scheme gives out such numbers and the check digit is good."""
    sizes = _SIZES.get(digits[:4], ())
    return len(digits) in sizes and len(set(digits)) > 1 and checked(digits)


def checked(digits: str) -> bool:
    """Whether the last of ASCII digits is the check digit (ISO/IEC 7812-1, annex B)."""
    doubled = sum(map(_DOUBLED.__getitem__, digits[-2::-2]))
    return (sum(map(int, digits[::-2])) + doubled) % 10 == 0


def card(digits: str, shape: Sequence[int], near: dict[str, int]) -> float:
    """How sure it is that digits, written in groups of such lengths, are a card's; 0 for not."""
    if not SHORTEST <= len(digits) <= LONGEST or not issued(digits):
        return 0.0
    if "card" in near:
        return _SURE
    spaced = len(shape) > len(digits) // 2 - 1
    if tuple(shape) in SHAPES or spaced:
        found = _SHOWN
    elif len(shape) == 1 and len(digits) in _USUAL:
        found = _SHOWN if digits[0] in "345" else _PLAIN
    elif len(shape) == 1 and digits[:2] in {"30", "36", "38"}:
        found = _PLAIN - 0.1
    else:
        found = _ODD
    return found - _NAMED_OTHERWISE if near.get("other", _FAR) < _FAR else found
