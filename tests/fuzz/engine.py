"""One fuzzing process: `python -m tests.fuzz.engine NAME KNOWN [libFuzzer's arguments]`.

KNOWN: places of failures that have been found, one a line, which are passed over.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzz import findings
from tests.fuzz.mutate import Mutator


def main() -> None:
    """Run until libFuzzer's arguments say that it is enough; does not return."""
    _, name, passed, *arguments = sys.argv
    known = set(passed.splitlines())
    # What is imported before this or after is not counted as coverage.
    with atheris.instrument_imports(include=["extproc"], enable_loader_override=False):
        from tests.fuzz import targets  # noqa: PLC0415

        target = targets.every()[name]
    mutators = [Mutator(door.shape, door.prefix, door.samples) for door in target.doors]

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except Exception as error:
            if findings.of(error).place not in known:
                raise

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        head, at, rest = target.split(data)
        return head + mutators[at](rest, most - len(head), seed, atheris.Mutate)

    atheris.Setup([name, *arguments], check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
