import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import Failure, Fault, errors
from tests.unit.dialects.samples import DIALECTS

OPENAI = DIALECTS["openai"]
NAMES = sorted(DIALECTS)
NGINX = b"""<html>
<head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx/1.25</center></body>
</html>"""


def openai(status: int, error: Any, headers: dict[str, str] | None = None) -> Failure:
    return OPENAI.failure(status, headers or {}, json.dumps(error).encode())


ERRORS = [
    (400, "invalid_request_error", None, "Bad", Fault.INVALID),
    (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens.",
        Fault.CONTEXT,
    ),
    (400, None, "content_filter", "The response was filtered", Fault.CONTENT),
    (400, "image_generation_user_error", "content_policy_violation", "No", Fault.CONTENT),
    (400, "invalid_request_error", "invalid_prompt", "flagged", Fault.CONTENT),
    (401, "invalid_request_error", "invalid_api_key", "Incorrect API key", Fault.AUTHENTICATION),
    (402, None, None, "Insufficient Balance", Fault.BILLING),
    (403, None, "unsupported_country_region_territory", "No", Fault.PERMISSION),
    (404, "invalid_request_error", "model_not_found", "The model `x` is unknown", Fault.NOT_FOUND),
    (408, None, None, "Too slow", Fault.TIMEOUT),
    (413, None, None, "Too large", Fault.TOO_LARGE),
    (422, None, None, "Unprocessable", Fault.UNPROCESSABLE),
    (429, "requests", "rate_limit_exceeded", "Rate limit reached", Fault.RATE_LIMIT),
    (429, "insufficient_quota", "insufficient_quota", "Exceeded your quota", Fault.BILLING),
    (500, "server_error", None, "The server had an error", Fault.SERVER),
    (502, None, None, "Bad gateway", Fault.SERVER),
    (503, "server_error", None, "The engine is overloaded", Fault.OVERLOADED),
    (504, None, None, "Timeout", Fault.TIMEOUT),
    (529, None, None, "Overloaded", Fault.OVERLOADED),
    (418, None, None, "Teapot", Fault.INVALID),
    (599, None, None, "?", Fault.SERVER),
]


@pytest.mark.parametrize(("status", "kind", "code", "message", "fault"), ERRORS)
def test_errors_by_status(
    status: int, kind: str | None, code: str | None, message: str, fault: Fault
) -> None:
    error = {"message": message, "type": kind, "param": "messages", "code": code}
    found = openai(status, {"error": error}, {"retry-after": "3"})
    assert found == Failure(fault, status, message, code, "messages", 3.0)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "the request exceeds the available context size. try increasing the context size",
        "Input tokens exceed the configured limit; reduce the length of the messages",
        "Prompt contains 41000 tokens and is longer than the model's maximum",
        "input is too long for requested model",
        "The prompt (length 9000) is longer than the maximum model length of 8192",
        "Your input exceeds the context window of this model.",
    ],
)
def test_a_prompt_that_is_too_long_by_its_words(message: str) -> None:
    assert openai(400, {"error": {"message": message}}).fault is Fault.CONTEXT


def test_azure_content_policy() -> None:
    inner = {"code": "ResponsibleAIPolicyViolation"}
    error = {"message": "Filtered", "code": None, "status": 400, "innererror": inner}
    assert openai(400, {"error": error}).fault is Fault.CONTENT
    words = "The prompt triggered Azure OpenAI's content management policy. Please modify it."
    assert openai(400, {"error": {"message": words}}).fault is Fault.CONTENT


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model 'llama' not found"}, "model 'llama' not found"),
        ({"object": "error", "message": "No such model", "code": 404}, "No such model"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ({"error": {"code": 1}}, '{"error": {"code": 1}}'),
        ({"error": None}, '{"error": null}'),
        ({}, "{}"),
    ],
)
def test_shapes_of_compatible_servers(body: Any, message: str) -> None:
    found = openai(404, body)
    assert message in found.message
    assert found.fault is Fault.NOT_FOUND


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "body", "fault", "message"),
    [
        (502, NGINX, Fault.SERVER, "502 Bad Gateway"),
        (503, NGINX, Fault.OVERLOADED, "502 Bad Gateway"),
        (429, b"slow\n down", Fault.RATE_LIMIT, "slow down"),
        (400, NGINX, Fault.BAD_ANSWER, "502 Bad Gateway"),
        (404, b"<h1>Not here</h1>", Fault.BAD_ANSWER, "Not here"),
        (404, b"<p>Not <b>here</b> &amp; not there</p>", Fault.BAD_ANSWER, "Not here & not there"),
        (401, b"", Fault.AUTHENTICATION, "the provider answered 401 with an empty body"),
        (500, b"\xff\xfe", Fault.SERVER, "��"),
        (500, b"[]", Fault.SERVER, "[]"),
        (500, b'"text"', Fault.SERVER, '"text"'),
        (500, b"[" * 100_000, Fault.SERVER, "[[["),
    ],
)
def test_a_body_that_is_not_the_providers_own(
    name: str, status: int, body: bytes, fault: Fault, message: str
) -> None:
    found = DIALECTS[name].failure(status, {"retry-after": "2"}, body)
    assert found.fault is fault
    assert found.status == status
    assert message in found.message
    assert "\n" not in found.message
    assert found.retry_after == 2


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_bounded_and_carry_no_keys(name: str) -> None:
    key = "sk-proj-abcdefghij1234567890"
    message = f"Incorrect API key provided: {key}. " + "x" * 5000
    body = json.dumps({"error": {"message": message, "type": "t", "status": "s"}}).encode()
    found = DIALECTS[name].failure(500, {}, body)
    assert len(found.message) == 500
    assert key not in found.message
    assert "sk-" not in found.message


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9, 9),
        ({"retry-after": "-5"}, 0, 0),
        ({"retry-after": "1e300"}, 86_400, 86_400),
        ({"retry-after": "inf"}, 86_400, 86_400),
    ],
)
def test_retry_after(headers: dict[str, str], low: float, high: float) -> None:
    wait = errors.retry_after(headers)
    assert wait is not None
    assert low <= wait <= high


def test_retry_after_as_a_date() -> None:
    soon = errors.retry_after({"retry-after": in_seconds(60)})
    assert soon is not None
    assert 50 <= soon <= 60
    assert errors.retry_after({"retry-after": in_seconds(-60)}) == 0


@pytest.mark.parametrize("value", ["", "soon", "nan", "Mon, 99 Foo 2026", "1 2", "٣s"])
def test_retry_after_that_says_nothing(value: str) -> None:
    assert errors.retry_after({"retry-after": value}) is None
    assert errors.retry_after({}) is None


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (Fault.INVALID, 400, "invalid_request_error", "own"),
        (Fault.CONTEXT, 400, "invalid_request_error", "context_length_exceeded"),
        (Fault.CONTENT, 400, "invalid_request_error", "content_policy_violation"),
        (Fault.NOT_FOUND, 404, "invalid_request_error", "model_not_found"),
        (Fault.TOO_LARGE, 413, "invalid_request_error", "request_too_large"),
        (Fault.UNPROCESSABLE, 422, "invalid_request_error", "own"),
        (Fault.RATE_LIMIT, 429, "rate_limit_error", "rate_limit_exceeded"),
        (Fault.AUTHENTICATION, 502, "server_error", "provider_credentials"),
        (Fault.PERMISSION, 502, "server_error", "provider_credentials"),
        (Fault.BILLING, 502, "server_error", "provider_credentials"),
        (Fault.SERVER, 502, "server_error", "provider_error"),
        (Fault.OVERLOADED, 503, "server_error", "provider_overloaded"),
        (Fault.TIMEOUT, 504, "server_error", "provider_timeout"),
        (Fault.BAD_ANSWER, 502, "server_error", "bad_provider_answer"),
    ],
)
def test_as_openai(fault: Fault, status: int, kind: str, code: str) -> None:
    told = errors.as_openai(Failure(fault, 499, "words", "own", "messages", 3.0))
    assert (told.status, told.type, told.code) == (status, kind, code)
    assert (told.param, told.retry_after) == ("messages", 3.0)
    ours = fault in {Fault.AUTHENTICATION, Fault.PERMISSION, Fault.BILLING}
    assert ("words" in told.message) is not ours
    assert json.loads(told.openai())["error"]["code"] == code


def test_every_fault_has_an_answer() -> None:
    for fault in Fault:
        errors.as_openai(Failure(fault, 500, ""))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "type", "code", "status", "details", "retryDelay"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
BODIES = st.binary(max_size=100) | JSON.map(lambda tree: json.dumps(tree).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "anthropic-ratelimit-tokens-reset"]),
    st.text(max_size=30),
)


@pytest.mark.parametrize("name", NAMES)
@given(status=st.integers(100, 999), headers=HEADERS, body=BODIES)
def test_failure_never_raises(name: str, status: int, headers: dict[str, str], body: bytes) -> None:
    found = DIALECTS[name].failure(status, headers, body)
    assert 0 < len(found.message) <= 500
    assert found.retry_after is None or 0 <= found.retry_after <= 86_400
    json.loads(errors.as_openai(found).openai())


def test_a_hostile_body_costs_little() -> None:
    for pattern in (b"<script", b"<title>", b"<", b"exceeds the ", b"input token count "):
        body = (pattern * 200_000)[: 1 << 20]
        for dialect in DIALECTS.values():
            dialect.failure(500, {}, body)
            dialect.failure(400, {}, json.dumps({"error": {"message": body.decode()}}).encode())
