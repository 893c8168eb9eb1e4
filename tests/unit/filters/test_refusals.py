"""Why a level is walked past."""

from __future__ import annotations

import pytest

from extproc.dialects import Failure, Fault
from extproc.errors import Reason
from extproc.filters.refusals import (
    left_out,
    local_refusal,
    provider_refusal,
    stream_failure,
)


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        (504, "upstream_per_try_timeout", Reason.TIMEOUT),
        (504, "response_timeout", Reason.TIMEOUT),
        (503, "no_healthy_upstream", Reason.UNHEALTHY),
        (503, "upstream_reset_before_response_started{connection_failure}", Reason.UNAVAILABLE),
    ],
)
def test_envoys_own_answers(status: int, details: str, reason: Reason) -> None:
    assert local_refusal(status, details).reason is reason


WALKED = {
    Fault.RATE_LIMIT: Reason.CAPACITY,
    Fault.AUTHENTICATION: Reason.CREDENTIALS,
    Fault.PERMISSION: Reason.CREDENTIALS,
    Fault.BILLING: Reason.CREDENTIALS,
    Fault.NOT_FOUND: Reason.MODEL,
    Fault.TIMEOUT: Reason.TIMEOUT,
    Fault.CONTEXT: Reason.CONTEXT,
    Fault.OVERLOADED: Reason.UNAVAILABLE,
    Fault.SERVER: Reason.UNAVAILABLE,
    Fault.BAD_ANSWER: Reason.UNAVAILABLE,
}
FINAL = {Fault.INVALID, Fault.TOO_LARGE, Fault.UNPROCESSABLE, Fault.CONTENT}


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_walked_on_from_or_final(fault: Fault) -> None:
    found = provider_refusal(Failure(fault, 400, "said"), walk_on_content=False)
    if fault in FINAL:
        assert found is None
    else:
        assert found is not None
        assert found.reason is WALKED[fault]


def test_our_key_is_nobodys_business() -> None:
    failure = Failure(Fault.AUTHENTICATION, 401, "Incorrect API key provided: sk-abc")
    for found in (provider_refusal(failure, walk_on_content=False), stream_failure(failure)):
        assert found is not None
        assert "sk-" not in found.detail


def test_emulation_leaves_nothing_out() -> None:
    assert left_out(("response_format (by a forced tool)",)) is None
    assert left_out(()) is None
    found = left_out(("seed", "response_format (by a forced tool)", "top_k"))
    assert found == "seed, top_k: the route is strict, and this target lacks it"
