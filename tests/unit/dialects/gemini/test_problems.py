import json
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from extproc.dialects import Fault
from extproc.dialects.gemini import problems
from tests.unit.dialects.gemini.samples import GEMINI


def error(status: int, name: str, message: str, *details: dict[str, Any]) -> bytes:
    found = {"code": status, "message": message, "status": name, "details": list(details)}
    return json.dumps({"error": found}).encode()


LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
DEPLETED = "Your prepayment credits are depleted. Please go to AI Studio."

ERRORS = [
    (400, "INVALID_ARGUMENT", "Unknown name", Fault.INVALID),
    (400, "INVALID_ARGUMENT", LONG, Fault.CONTEXT),
    (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid key.", Fault.AUTHENTICATION),
    (400, "INVALID_ARGUMENT", "API key expired.", Fault.AUTHENTICATION),
    (
        400,
        "FAILED_PRECONDITION",
        "User location is not supported for the API use.",
        Fault.PERMISSION,
    ),
    (400, "FAILED_PRECONDITION", "Please enable billing on your project.", Fault.PERMISSION),
    (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 9.", Fault.TOO_LARGE),
    (400, "INVALID_ARGUMENT", "It goes against the content policy.", Fault.CONTENT),
    (400, "OUT_OF_RANGE", "Beyond", Fault.INVALID),
    (413, "INVALID_ARGUMENT", "Too large", Fault.TOO_LARGE),
    (401, "UNAUTHENTICATED", "No key", Fault.AUTHENTICATION),
    (403, "PERMISSION_DENIED", "No", Fault.PERMISSION),
    (404, "NOT_FOUND", "models/nope is not found", Fault.NOT_FOUND),
    (409, "ABORTED", "Try again", Fault.OVERLOADED),
    (409, "ALREADY_EXISTS", "There", Fault.INVALID),
    (429, "RESOURCE_EXHAUSTED", "Quota exceeded", Fault.RATE_LIMIT),
    (429, "RESOURCE_EXHAUSTED", DEPLETED, Fault.BILLING),
    (499, "CANCELLED", "Cancelled", Fault.SERVER),
    (500, "INTERNAL", "Oops", Fault.SERVER),
    (500, "UNKNOWN", "Oops", Fault.SERVER),
    (500, "DATA_LOSS", "Oops", Fault.SERVER),
    (501, "UNIMPLEMENTED", "Not here", Fault.SERVER),
    (503, "UNAVAILABLE", "The model is overloaded.", Fault.OVERLOADED),
    (504, "DEADLINE_EXCEEDED", "Too slow", Fault.TIMEOUT),
    (418, "STATUS_OF_THE_FUTURE", "Hm", Fault.INVALID),
]


@pytest.mark.parametrize(("status", "name", "message", "fault"), ERRORS)
def test_errors_by_status(status: int, name: str, message: str, fault: Fault) -> None:
    body = error(status, name, message)
    found = GEMINI.failure(status, {}, body)
    assert (found.fault, found.status, found.message) == (fault, status, message)
    assert found.code == name
    assert GEMINI.failure(status, {}, b"[" + body + b"]") == found


@pytest.mark.parametrize(("status", "name", "message", "fault"), ERRORS)
def test_errors_in_a_stream_of_200(status: int, name: str, message: str, fault: Fault) -> None:
    found = GEMINI.failure(200, {}, error(status, name, message))
    assert (found.fault, found.status, found.message) == (fault, status, message)


def test_an_error_of_200_without_a_number_has_that_of_its_name() -> None:
    body = b'{"error":{"status":"UNAVAILABLE","message":"x"}}'
    assert GEMINI.failure(200, {}, body).status == 503


def test_retry_info_says_how_long_to_wait() -> None:
    details = (
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
    )
    body = error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", *details)
    assert GEMINI.failure(429, {}, body).retry_after == 34.07
    assert GEMINI.failure(429, {"retry-after": "5"}, body).retry_after == 5


def quota(quota_id: Any, delay: str | None = None) -> bytes:
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota_id}],
        }
    ]
    if delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", *details)


def test_a_quota_of_a_minute_is_there_again_in_a_minute() -> None:
    body = quota("GenerateRequestsPerMinutePerProjectPerModel")
    assert GEMINI.failure(429, {}, body).retry_after == 60


def test_a_quota_of_a_day_is_there_again_at_midnight_in_california() -> None:
    """Whatever RetryInfo says: it counts the seconds of a minute."""
    body = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "50s")
    wait = GEMINI.failure(429, {}, body).retry_after
    assert wait is not None
    then = datetime.now(UTC) + timedelta(seconds=wait + 60)
    there = then.astimezone(ZoneInfo("America/Los_Angeles"))
    assert there.time() < time(0, 2) or wait == 50


def test_without_a_table_of_time_zones_midnight_is_that_of_winter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError

    monkeypatch.setattr(problems, "ZoneInfo", missing)
    wait = GEMINI.failure(429, {}, quota("RequestsPerDay")).retry_after
    assert wait is not None
    assert (datetime.now(UTC) + timedelta(seconds=wait + 60)).hour == 8


@pytest.mark.parametrize("odd", [None, 7, ["x"], {}, ""])
def test_a_quota_that_has_no_name_says_nothing(odd: Any) -> None:
    assert GEMINI.failure(429, {}, quota(odd)).retry_after is None


@pytest.mark.parametrize(
    ("status", "name", "reason", "fault"),
    [
        (400, "INVALID_ARGUMENT", "API_KEY_INVALID", Fault.AUTHENTICATION),
        (403, "PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED", Fault.AUTHENTICATION),
        (403, "PERMISSION_DENIED", "SERVICE_DISABLED", Fault.PERMISSION),
        (403, "PERMISSION_DENIED", "BILLING_DISABLED", Fault.BILLING),
        (403, "PERMISSION_DENIED", ["odd"], Fault.PERMISSION),
        (429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", Fault.RATE_LIMIT),
    ],
)
def test_error_info_says_whose_fault_it_is(
    status: int, name: str, reason: Any, fault: Fault
) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    assert GEMINI.failure(status, {}, error(status, name, "Bad", info)).fault is fault


def test_a_bad_request_names_its_field() -> None:
    detail = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "generation_config.top_p", "description": "Bad"}],
    }
    found = GEMINI.failure(400, {}, error(400, "INVALID_ARGUMENT", "Bad", detail))
    assert found.param == "generation_config.top_p"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>502 Bad Gateway</h1></html>",
        b"{}",
        b"[]",
        b'{"error":"x"}',
        b'{"error":{"details":[5,{"fieldViolations":[]},{"fieldViolations":[3]}]}}',
    ],
)
def test_any_body_is_an_error(body: bytes) -> None:
    found = GEMINI.failure(502, {}, body)
    assert found.status == 502
    assert found.message
