import json

import pytest

from extproc.dialects import Fault
from extproc.dialects.cohere import Cohere

COHERE = Cohere()


@pytest.mark.parametrize(
    ("status", "message", "fault"),
    [
        (400, "invalid request: x is required", Fault.INVALID),
        (
            400,
            "too many tokens: total number of tokens in the prompt cannot exceed 9",
            Fault.CONTEXT,
        ),
        (400, "invalid request: blocked input: please adjust your prompt", Fault.CONTENT),
        (401, "invalid api token", Fault.AUTHENTICATION),
        (402, "Please add or update your payment method", Fault.BILLING),
        (403, "your api key does not have access", Fault.PERMISSION),
        (404, "model 'x' not found", Fault.NOT_FOUND),
        (422, "unprocessable entity", Fault.UNPROCESSABLE),
        (429, "You are using a Trial key", Fault.RATE_LIMIT),
        (498, "invalid token", Fault.AUTHENTICATION),
        (499, "request cancelled", Fault.TIMEOUT),
        (500, "internal server error", Fault.SERVER),
        (501, "not implemented", Fault.SERVER),
        (503, "service unavailable", Fault.OVERLOADED),
        (504, "upstream timeout", Fault.TIMEOUT),
    ],
)
def test_documented_errors(status: int, message: str, fault: Fault) -> None:
    body = json.dumps({"id": "x", "message": message}).encode()
    found = COHERE.failure(status, {"retry-after": "3"}, body)
    assert (found.fault, found.status, found.message) == (fault, status, message)
    assert found.retry_after == 3


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b'"x"', b'{"message": {}}'])
def test_bodies_that_are_not_coheres(body: bytes) -> None:
    assert COHERE.failure(503, {}, body).fault is Fault.OVERLOADED


def test_limits_have_openais_names() -> None:
    headers = {"x-trial-endpoint-call-limit": "20", "x-trial-endpoint-call-remaining": "19"}
    assert COHERE.limits(headers) == [
        ("x-ratelimit-limit-requests", "20"),
        ("x-ratelimit-remaining-requests", "19"),
    ]
    assert COHERE.limits({"x-trial-endpoint-call-limit": "a\r\nb"}) == []
