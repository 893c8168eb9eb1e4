"""A process that reserves and settles as fast as it can and says what was accepted; to be killed.

`python -m tests.unit.accounting.ledger.flood FOLDER FIRST`
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.unit.accounting.ledger.fakes import FakeStore, ledger, record, reservation


async def main(folder: Path, first: int) -> None:
    store = FakeStore()
    store.away = True
    one = ledger(folder, store, limit=64 * 1024 * 1024)
    await one.start()
    for of in range(first, first + 100_000):
        if one.reserve(reservation(of)):
            os.write(1, b"r%d\n" % of)
        if of >= first + 20 and one.settle(record(of - 20)):
            os.write(1, b"s%d\n" % (of - 20))
        if of % 50 == 0:
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
