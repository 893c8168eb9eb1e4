"""Which entries share an answer: how many wordings led to it, and which of two answers turned out
to be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from extproc.cache import Neighbour

MOST: Final = 100_000
"""Answers that are counted and answers that are merged, at most; beyond it they stay as they
are."""


class Answers(Struct):
    """Only what is out of the ordinary is kept: answers of several entries, and merged ones."""

    entries: dict[int, int] = {}
    same: dict[int, int] = {}

    def support(self, answer: int) -> int:
        """How many entries share it, 1 at least."""
        return self.entries.get(self.root(answer), 1)

    def root(self, answer: int) -> int:
        """The answer that stands for it."""
        while (up := self.same.get(answer)) is not None:
            answer = up
        return answer

    def sound(self) -> bool:
        """No answer stands for itself by way of others."""
        known: set[int] = set()
        for answer in self.same:
            way: set[int] = set()
            at: int | None = answer
            while at is not None and at not in known:
                if at in way:
                    return False
                way.add(at)
                at = self.same.get(at)
            known |= way
        return True

    def resolved(self, one: Neighbour) -> Neighbour:
        """The neighbour with the answer that stands for its own."""
        root = self.root(one.answer)
        return one if root == one.answer else Neighbour(one.entry, one.score, root)

    def entered(self, answer: int) -> None:
        """An entry joined others that share `answer`; not called for the first of them."""
        root = self.root(answer)
        if root in self.entries or len(self.entries) < MOST:
            self.entries[root] = self.entries.get(root, 1) + 1

    def left(self, answer: int) -> None:
        """An entry with this answer is gone."""
        root = self.root(answer)
        many = self.entries.get(root, 1) - 1
        if many > 1:
            self.entries[root] = many
        else:
            self.entries.pop(root, None)

    def merged(self, answers: Sequence[int]) -> int | None:
        """These answers say the same; the one that stands for them from now on, the first. None of
        none."""
        roots = list(dict.fromkeys(self.root(one) for one in answers))
        if not roots:
            return None
        for other in roots[1:]:
            if len(self.same) >= MOST:
                break
            self.entries[roots[0]] = self.support(roots[0]) + self.support(other)
            self.entries.pop(other, None)
            self.same[other] = roots[0]
        return roots[0]
