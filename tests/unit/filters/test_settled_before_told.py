"""What a client has whole is on record before it knows so, whatever dies a moment later."""

from __future__ import annotations

import pytest

from extproc.filters.exchange import Emit
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import STREAMS, chat
from tests.unit.filters.test_gateway import SERVED, Gateway


@pytest.fixture
async def whole() -> tuple[Gateway, Envoy]:
    """A stream whose last event went by, while the provider keeps the connection open."""
    gateway = Gateway()
    envoy, _ = await gateway.ask(chat(stream=True))
    await envoy.head(200, SERVED)
    assert not gateway.ledger.settled
    await envoy.chunks([STREAMS["openai"]], end=False)
    assert envoy.body.endswith(b"data: [DONE]\n\n")
    return gateway, envoy


async def test_a_stream_is_settled_with_its_last_event(whole: tuple[Gateway, Envoy]) -> None:
    gateway, envoy = whole
    ((record, _),) = gateway.ledger.settled
    assert (record.error_type, record.aborted) == (None, False)
    assert record.usage is not None
    assert (record.usage.input, record.usage.output, record.usage.estimated) == (100, 7, False)
    await envoy.chunk(b"", end=True)
    await envoy.handler.gone()
    assert len(gateway.ledger.settled) == len(gateway.records.kept) == 1


async def test_a_provider_that_does_not_hang_up_spoils_no_whole_answer(
    whole: tuple[Gateway, Envoy],
) -> None:
    gateway, envoy = whole
    actions = await envoy.handler.ring()
    assert [(one.data, one.end) for one in actions if isinstance(one, Emit)] == [(b"", True)]
    assert envoy.handler.alarm is None
    assert len(gateway.ledger.settled) == 1


async def test_a_client_that_leaves_with_the_whole_has_not_aborted(
    whole: tuple[Gateway, Envoy],
) -> None:
    gateway, envoy = whole
    await envoy.handler.gone()
    ((record, _),) = gateway.ledger.settled
    assert not record.aborted
