"""Which values have been seen, in memory that is all there from the start.

A set of Python's takes 50 to 150 bytes a hash, and moves into another of twice or four times the
size when it fills up. Here a hash takes four bytes of one array, laid out by open addressing with
linear probing (Knuth, TAOCP volume 3, section 6.4).
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Final

_BITS: Final = 32
_LOW: Final = (1 << _BITS) - 1


class Seen:
    """Values of several sorts, so many of each.

    A value is known by the place of its hash and by 32 more bits of it, random per process. One
    that shares them with another is taken for known: that is one more than was meant to be kept
    apart, about once in a thousand million values that are new. What is known is never forgotten.
    """

    __slots__ = ("_counts", "_mask", "_slots", "held")

    def __init__(self, most: int) -> None:
        """`most`: values of all sorts together, 0 or more. Takes 6 to 12 bytes for each."""
        size = 1 << (max(2, most) * 3 // 2).bit_length()
        self._slots = array("I", [0]) * size
        """Nothing (0) or the upper half of a hash."""
        self._mask = size - 1
        self._counts: dict[Hashable, int] = {}
        self.held = 0
        """Values in memory."""

    def room(self, sort: Hashable, value: Hashable, most: int) -> bool:
        """Whether a value is known among those of its sort, or there is room for it, which it then
        takes: `most` values have it in their sort."""
        slots, mask = self._slots, self._mask
        found = hash((sort, value))
        mark = found >> _BITS & _LOW or 1
        place = found & mask
        while there := slots[place]:
            if there == mark:
                return True
            place = place + 1 & mask
        count = self._counts.get(sort, 0)
        # The second is never so while the sorts keep to what was said at first: probing must find
        # an empty place.
        if count >= most or self.held * 3 > mask * 2:
            return False
        slots[place] = mark
        self._counts[sort] = count + 1
        self.held += 1
        return True
