from collections.abc import AsyncIterator

import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import Talk


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def talk(sim: Simulator) -> AsyncIterator[Talk]:
    async with Talk(sim) as talking:
        yield talking
