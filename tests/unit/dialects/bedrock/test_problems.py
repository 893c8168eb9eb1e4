import json

import pytest

from extproc.dialects import Fault
from extproc.dialects.bedrock import Bedrock

BEDROCK = Bedrock()


@pytest.mark.parametrize(
    ("status", "name", "fault"),
    [
        (403, "AccessDeniedException", Fault.PERMISSION),
        (500, "InternalServerException", Fault.SERVER),
        (424, "ModelErrorException", Fault.SERVER),
        (429, "ModelNotReadyException", Fault.OVERLOADED),
        (408, "ModelTimeoutException", Fault.TIMEOUT),
        (404, "ResourceNotFoundException", Fault.NOT_FOUND),
        (400, "ServiceQuotaExceededException", Fault.RATE_LIMIT),
        (503, "ServiceUnavailableException", Fault.OVERLOADED),
        (429, "ThrottlingException", Fault.RATE_LIMIT),
        (400, "ValidationException", Fault.INVALID),
        (403, "ExpiredTokenException", Fault.AUTHENTICATION),
        (403, "UnrecognizedClientException", Fault.AUTHENTICATION),
        (403, "InvalidSignatureException", Fault.AUTHENTICATION),
        (403, "MissingAuthenticationTokenException", Fault.AUTHENTICATION),
    ],
)
def test_errors_by_their_names(status: int, name: str, fault: Fault) -> None:
    body = json.dumps({"message": "No."}).encode()
    for said in (name, f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"):
        found = BEDROCK.failure(status, {"x-amzn-errortype": said}, body)
        assert (found.fault, found.status, found.message) == (fault, status, "No.")
    typed = json.dumps({"__type": f"com.amazon.coral.service#{name}", "Message": "No."}).encode()
    found = BEDROCK.failure(status, {}, typed)
    assert (found.fault, found.message) == (fault, "No.")


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("Input is too long for requested model.", Fault.CONTEXT),
        ("Input Tokens Exceeded: Number of input tokens exceeds maximum length.", Fault.CONTEXT),
        ("The model returned the following errors: prompt is too long: 9 > 8", Fault.CONTEXT),
        ("The provided model identifier is invalid.", Fault.NOT_FOUND),
        (
            "Invocation of model ID a.b with on-demand throughput isn\u2019t supported.",
            Fault.NOT_FOUND,
        ),
        ("The input may violate our content filters.", Fault.CONTENT),
        ("Malformed input request: #: extraneous key [x] is not permitted", Fault.INVALID),
    ],
)
def test_what_a_validation_error_means(message: str, fault: Fault) -> None:
    body = json.dumps({"message": message}).encode()
    found = BEDROCK.failure(400, {"x-amzn-errortype": "ValidationException"}, body)
    assert found.fault is fault


@pytest.mark.parametrize("body", [b"", b"<html><h1>502</h1></html>", b"[]", b"\xff", b"null"])
def test_bodies_that_are_not_bedrocks(body: bytes) -> None:
    assert BEDROCK.failure(502, {}, body).fault is Fault.SERVER
    assert BEDROCK.failure(400, {}, body).fault is Fault.BAD_ANSWER


def test_when_to_come_back() -> None:
    assert BEDROCK.failure(429, {"retry-after": "7"}, b"{}").retry_after == 7
