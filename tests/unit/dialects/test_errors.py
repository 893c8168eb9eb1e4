import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import BadAnswerError, Failure, Fault, errors
from tests.unit.dialects.cells import DIALECTS as NAMES
from tests.unit.dialects.samples import DIALECTS, run
from tests.unit.dialects.wire import WRITERS, bedrock, frames
from tests.unit.dialects.wire.said import Said

OPENAI = DIALECTS["openai"]
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


BODIES_OF_OTHERS: list[tuple[int, bytes, Fault, str]] = [
    (502, NGINX, Fault.SERVER, "502 Bad Gateway"),
    (503, NGINX, Fault.OVERLOADED, "502 Bad Gateway"),
    (429, b"slow\n down", Fault.RATE_LIMIT, "slow down"),
    (400, NGINX, Fault.BAD_ANSWER, "502 Bad Gateway"),
    (404, b"<h1>Not here</h1>", Fault.BAD_ANSWER, "Not here"),
    (404, b"<p>Not <b>here</b> &amp; not there</p>", Fault.BAD_ANSWER, "Not here & not there"),
    (401, b"", Fault.AUTHENTICATION, "the provider answered 401 with an empty body"),
    (500, b"\xff\xfe", Fault.SERVER, "��"),
    (500, b"[]", Fault.SERVER, "[]"),
    (500, b'"text"', Fault.SERVER, "text"),
    (500, b"[" * 100_000, Fault.SERVER, "[[["),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_is_not_the_providers_own(name: str) -> None:
    for status, body, fault, message in BODIES_OF_OTHERS:
        found = DIALECTS[name].failure(status, {"retry-after": "2"}, body)
        assert (found.fault, found.status) == (fault, status)
        assert message in found.message
        assert "\n" not in found.message
        assert found.retry_after == 2


# --- the providers' own, as each documents them ---------------------------------------------

OWN: dict[str, list[tuple[int, str, str, Fault]]] = {
    "openai": [
        (400, "invalid_request_error", "Invalid 'messages'", Fault.INVALID),
        (401, "invalid_request_error", "Incorrect API key", Fault.AUTHENTICATION),
        (403, "", "Country not supported", Fault.PERMISSION),
        (404, "invalid_request_error", "The model `x` is unknown", Fault.NOT_FOUND),
        (408, "", "Too slow", Fault.TIMEOUT),
        (422, "", "Unprocessable", Fault.UNPROCESSABLE),
        (429, "requests", "Rate limit reached", Fault.RATE_LIMIT),
        (429, "insufficient_quota", "You exceeded your quota", Fault.BILLING),
        (500, "server_error", "The server had an error", Fault.SERVER),
        (503, "server_error", "The engine is overloaded", Fault.OVERLOADED),
    ],
    "anthropic": [
        (400, "invalid_request_error", "max_tokens: Field required", Fault.INVALID),
        (400, "invalid_request_error", "Your credit balance is too low", Fault.BILLING),
        (401, "authentication_error", "invalid x-api-key", Fault.AUTHENTICATION),
        (402, "billing_error", "Payment is due", Fault.BILLING),
        (403, "permission_error", "Not yours", Fault.PERMISSION),
        (404, "not_found_error", "model: claude-9", Fault.NOT_FOUND),
        (413, "request_too_large", "Request exceeds the maximum size", Fault.TOO_LARGE),
        (429, "rate_limit_error", "Over the rate limit", Fault.RATE_LIMIT),
        (500, "api_error", "Internal server error", Fault.SERVER),
        (504, "timeout_error", "Took too long", Fault.TIMEOUT),
        (529, "overloaded_error", "Overloaded", Fault.OVERLOADED),
    ],
    "gemini": [
        (400, "INVALID_ARGUMENT", "Invalid JSON payload", Fault.INVALID),
        (401, "UNAUTHENTICATED", "No credentials", Fault.AUTHENTICATION),
        (403, "PERMISSION_DENIED", "Not yours", Fault.PERMISSION),
        (404, "NOT_FOUND", "models/gemini-9 is not found", Fault.NOT_FOUND),
        (429, "RESOURCE_EXHAUSTED", "Quota exceeded", Fault.RATE_LIMIT),
        (500, "INTERNAL", "An internal error has occurred", Fault.SERVER),
        (503, "UNAVAILABLE", "The model is overloaded", Fault.OVERLOADED),
        (504, "DEADLINE_EXCEEDED", "Deadline expired", Fault.TIMEOUT),
    ],
    "bedrock": [
        (400, "ValidationException", "Malformed input request", Fault.INVALID),
        (403, "AccessDeniedException", "You don't have access", Fault.PERMISSION),
        (403, "UnrecognizedClientException", "The token is invalid", Fault.AUTHENTICATION),
        (404, "ResourceNotFoundException", "Could not resolve the model", Fault.NOT_FOUND),
        (408, "ModelTimeoutException", "Processing timed out", Fault.TIMEOUT),
        (424, "ModelErrorException", "The model failed", Fault.SERVER),
        (429, "ThrottlingException", "Too many requests", Fault.RATE_LIMIT),
        (429, "ModelNotReadyException", "Not ready for inference", Fault.OVERLOADED),
        (500, "InternalServerException", "An error occurred", Fault.SERVER),
        (503, "ServiceUnavailableException", "Try again", Fault.OVERLOADED),
    ],
    "cohere": [
        (400, "", "invalid request: message must be at least 1 token long", Fault.INVALID),
        (401, "", "invalid api token", Fault.AUTHENTICATION),
        (402, "", "Payment Required", Fault.BILLING),
        (404, "", "model 'command-x' not found", Fault.NOT_FOUND),
        (422, "", "Unprocessable", Fault.UNPROCESSABLE),
        (429, "", "You are using a Trial key", Fault.RATE_LIMIT),
        (498, "", "invalid token", Fault.AUTHENTICATION),
        (499, "", "request cancelled", Fault.TIMEOUT),
        (500, "", "internal server error", Fault.SERVER),
        (503, "", "Service unavailable", Fault.OVERLOADED),
        (504, "", "Gateway timeout", Fault.TIMEOUT),
    ],
}
OWN["azure"], OWN["vertex"] = OWN["openai"], OWN["gemini"]
TOO_LONG = {
    "openai": ("invalid_request_error", "This model's maximum context length is 8192 tokens."),
    "anthropic": ("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "gemini": (
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "bedrock": ("ValidationException", "Input is too long for requested model."),
    "cohere": ("", "too many tokens: total number of tokens in the prompt cannot exceed 256000"),
}
TOO_LONG["azure"], TOO_LONG["vertex"] = TOO_LONG["openai"], TOO_LONG["gemini"]


def own(name: str, status: int, kind: str, message: str, **headers: str) -> Failure:
    named = {"x-amzn-errortype": f"{kind}:http://amazon.com/"} if name == "bedrock" else {}
    body = WRITERS[name].error(status, kind, message)
    return DIALECTS[name].failure(status, {**named, **headers}, body)


@pytest.mark.parametrize("name", NAMES)
def test_own_errors_by_status(name: str) -> None:
    for status, kind, message, fault in OWN[name]:
        found = own(name, status, kind, message)
        assert (found.fault, found.status, found.message) == (fault, status, message), kind
        told = errors.client_error(found)
        assert 400 <= told.status < 600


@pytest.mark.parametrize("name", NAMES)
def test_own_error_of_a_prompt_that_is_too_long(name: str) -> None:
    kind, message = TOO_LONG[name]
    found = own(name, 400, kind, message)
    assert found.fault is Fault.CONTEXT
    assert errors.client_error(found).code == "context_length_exceeded"


@pytest.mark.parametrize("name", NAMES)
def test_retry_after_is_told(name: str) -> None:
    status, kind, message, _ = next(one for one in OWN[name] if one[3] is Fault.RATE_LIMIT)
    for headers, wait in (({"retry-after": "3"}, 3), ({"retry-after-ms": "1500"}, 1.5)):
        found = own(name, status, kind, message, **headers)
        assert found.retry_after == wait
        assert errors.client_error(found).retry_after == wait


LEFT = {
    "openai": {"x-ratelimit-remaining-requests": "49", "x-ratelimit-limit-requests": "50"},
    "azure": {"x-ratelimit-remaining-requests": "49", "x-ratelimit-limit-requests": "50"},
    "anthropic": {
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-limit": "50",
    },
}


@pytest.mark.parametrize("name", LEFT)
def test_rate_limits_have_openais_names(name: str) -> None:
    added = dict(DIALECTS[name].dialect.limits(LEFT[name]))
    seen = {key: value for key, value in {**LEFT[name], **added}.items() if key[:2] == "x-"}
    assert seen == LEFT["openai"]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_in_a_200(name: str) -> None:
    body = WRITERS[name].error(503, "overloaded_error", "The engine is tired")
    with pytest.raises(BadAnswerError, match="The engine is tired"):
        DIALECTS[name].answer(body)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_instead_of_a_stream(name: str) -> None:
    got = run(DIALECTS[name].stream(), WRITERS[name].error(503, "x", "The engine is tired"))
    assert got.failure is not None
    assert "The engine is tired" in got.failure.message
    assert not got.content
    assert not got.finished


BREAKS = {
    "openai": b'data: {"error":{"message":"broke","type":"server_error"}}\n\n',
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
    b'"message":"broke"}}\n\n',
    "gemini": b'data: {"error":{"code":500,"message":"broke","status":"INTERNAL"}}\r\n\r\n',
    "bedrock": bedrock.broken("internalServerException", "broke"),
    "cohere": b'data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"broke"}}\n\n',
}
BREAKS["azure"], BREAKS["vertex"] = BREAKS["openai"], BREAKS["gemini"]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_within_a_stream(name: str) -> None:
    """What was said before goes out; after it there is no clean end."""
    events = frames(name, WRITERS[name].stream(Said(text="Grey and wet.")))
    last = next(number for number, one in enumerate(events) if b"Grey" in one)
    said = b"".join(events[: last + 1])
    got = run(DIALECTS[name].stream(), said, BREAKS[name])
    assert got.failure is not None
    assert (got.failure.fault, got.failure.message) == (Fault.SERVER, "broke")
    assert got.content
    assert not got.finished
    assert b"Grey" in got.out
    assert b"[DONE]" not in got.out
    again = run(DIALECTS[name].stream(), BREAKS[name])
    assert again.failure == got.failure
    assert not again.content


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_bounded_and_carry_no_keys(name: str) -> None:
    key = "sk-proj-abcdefghij1234567890"
    message = f"Incorrect API key provided: {key}. " + "x" * 5000
    body = json.dumps({"error": {"message": message, "type": "t", "status": "s"}}).encode()
    found = DIALECTS[name].failure(500, {}, body)
    assert len(found.message) == 500
    assert key not in found.message
    assert "sk-" not in found.message


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
def test_client_error(fault: Fault, status: int, kind: str, code: str) -> None:
    told = errors.client_error(Failure(fault, 499, "words", "own", "messages", 3.0))
    assert (told.status, told.type, told.code) == (status, kind, code)
    assert (told.param, told.retry_after) == ("messages", 3.0)
    ours = fault in {Fault.AUTHENTICATION, Fault.PERMISSION, Fault.BILLING}
    assert ("words" in told.message) is not ours
    assert json.loads(told.openai())["error"]["code"] == code


def test_every_fault_has_an_answer() -> None:
    for fault in Fault:
        errors.client_error(Failure(fault, 500, ""))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "type",
                    "code",
                    "status",
                    "details",
                    "retryDelay",
                    "violations",
                ]
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
    json.loads(errors.client_error(found).openai())


def test_a_hostile_body_costs_little() -> None:
    for pattern in (b"<script", b"<title>", b"<", b"exceeds the ", b"input token count "):
        body = (pattern * 200_000)[: 1 << 20]
        for dialect in DIALECTS.values():
            dialect.failure(500, {}, body)
            dialect.failure(400, {}, json.dumps({"error": {"message": body.decode()}}).encode())
