import json
from datetime import UTC, datetime, timedelta

import pytest

from extproc.dialects import Fault
from extproc.dialects.anthropic import Anthropic
from extproc.dialects.anthropic.problems import limits

ANTHROPIC = Anthropic()


def soon(seconds: float) -> str:
    """RFC 3339, a little later, so that rounding up gives the same second."""
    then = datetime.now(UTC) + timedelta(seconds=seconds - 0.2)
    return then.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("status", "kind", "code", "fault"),
    [
        (429, "rate_limit_error", "contract_spend_limit_reached", Fault.BILLING),
        (429, "rate_limit_error", "enforced_spend_limit_reached", Fault.BILLING),
        (402, "billing_error", "linked_organization_spend_limit_reached", Fault.BILLING),
        (429, "rate_limit_error", "ramp_limit_exceeded", Fault.RATE_LIMIT),
        (400, "invalid_request_error", "organization_on_hold", Fault.PERMISSION),
        (400, "invalid_request_error", "cmek_key_disabled", Fault.PERMISSION),
        (503, "api_error", "cmek_key_unreachable", Fault.SERVER),
        (400, "invalid_request_error", "image_dimensions_too_large", Fault.INVALID),
        (404, "not_found_error", "file_expired", Fault.INVALID),
        (413, "request_too_large", "request_body_too_large_after_decoding", Fault.TOO_LARGE),
        (400, "invalid_request_error", ["x"], Fault.INVALID),
    ],
)
def test_error_codes_say_whom_they_blame(
    status: int, kind: str, code: object, fault: Fault
) -> None:
    error = {"type": kind, "message": "No.", "details": {"error_code": code}}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
    found = ANTHROPIC.failure(status, {}, body)
    assert (found.fault, found.status, found.message) == (fault, status, "No.")


def test_limits_have_openais_names() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": soon(1),
        "anthropic-ratelimit-tokens-limit": "90000",
        "anthropic-ratelimit-tokens-remaining": "80000",
        "anthropic-ratelimit-tokens-reset": soon(360),
        "anthropic-ratelimit-input-tokens-remaining": "1",
    }
    assert limits(headers) == [
        ("x-ratelimit-limit-requests", "50"),
        ("x-ratelimit-remaining-requests", "49"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-limit-tokens", "90000"),
        ("x-ratelimit-remaining-tokens", "80000"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]
    assert ANTHROPIC.limits(headers) == limits(headers)


def test_the_limit_of_tokens_that_is_nearest_to_its_end() -> None:
    headers = {
        "anthropic-ratelimit-input-tokens-limit": "100000",
        "anthropic-ratelimit-input-tokens-remaining": "90000",
        "anthropic-ratelimit-input-tokens-reset": soon(3),
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "100",
        "anthropic-ratelimit-output-tokens-reset": soon(3690),
    }
    assert limits(headers) == [
        ("x-ratelimit-limit-tokens", "8000"),
        ("x-ratelimit-remaining-tokens", "100"),
        ("x-ratelimit-reset-tokens", "1h1m30s"),
    ]


@pytest.mark.parametrize("value", ["", "-1", "x", "1\r\ny: z", "²"])
def test_limits_that_are_none_are_left_out(value: str) -> None:
    names = ("limit", "remaining", "reset")
    headers = {
        f"anthropic-ratelimit-{kind}-{name}": value
        for kind in ("requests", "tokens", "input-tokens")
        for name in names
    }
    assert limits(headers) == []
    assert limits({}) == []
