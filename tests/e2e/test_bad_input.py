"""What is wrong with a request is said in OpenAI's shape; nothing goes up, nothing is billed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Running
from tests.e2e.figures import billed
from tests.e2e.sockets import CHAT, GOOD, Reply, chunked, error_of, exchange, request

pytestmark = pytest.mark.e2e

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
LIMIT = (32 << 20) + (8 << 10)
"""Bytes: what is promised, and a little more that is not."""
Json = dict[str, Any]


def reached(gateway: Running) -> list[Json]:
    """What the simulator got that is no health check."""
    return [one for one in gateway.received() if one["method"] != "GET"]


@pytest.fixture
def untouched(gateway: Running) -> Iterator[Running]:
    """A gateway that afterwards has asked nobody and billed nothing, and still serves."""
    before = billed(gateway)
    yield gateway
    assert reached(gateway) == []
    assert billed(gateway) == before
    assert gateway.chat("gpt-4-turbo").status_code == 200


def refused(answer: httpx.Response, status: int, param: str | None, said: str = "") -> None:
    error = error_of(answer)
    assert answer.status_code == status, error
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param, error
    assert said in error["message"]
    assert len(answer.headers["x-tollgate-request-id"]) == 32


# --- JSON that has no reading, or two -----------------------------------------------------

DEEP = b'{"model":"a",%b,"metadata":' % MESSAGES
JSON: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, "no body"),
    "blank": (b" \n\t ", None, "empty"),
    "array": (b"[]", None, "expected an object"),
    "array of requests": (b"[%b]" % GOOD, None, "expected an object"),
    "null": (b"null", None, "expected an object"),
    "number": (b"1", None, "expected an object"),
    "text": (b'"model"', None, "expected an object"),
    "bare words": (b"model=a&messages=b", None, "at byte 0"),
    "single quotes": (b"{'model':'a'}", None, "at byte 1"),
    "cut": (GOOD[:-1], None, f"at byte {len(GOOD) - 1}"),
    "cut in a string": (b'{"model":"a', None, "unterminated string"),
    "trailing comma": (b'{"model":"a",%b,}' % MESSAGES, None, "at byte"),
    "comment": (b'{"model":"a",/* */%b}' % MESSAGES, None, "at byte"),
    "trailing bytes": (GOOD + b"x", None, f"extra data at byte {len(GOOD)}"),
    "trailing NUL": (GOOD + b"\0", None, f"extra data at byte {len(GOOD)}"),
    "two documents": (GOOD + GOOD, None, "extra data"),
    "two lines of documents": (GOOD + b"\n" + GOOD, None, "extra data"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, None, "byte order mark"),
    "UTF-16": (GOOD.decode().encode("utf-16"), None, "UTF-8 at byte 0"),
    "UTF-32 without a mark": (GOOD.decode().encode("utf-32-le"), None, "at byte 1"),
    "bad UTF-8": (b'{"model":"\xff",%b}' % MESSAGES, None, "invalid UTF-8 at byte 10"),
    "overlong UTF-8": (b'{"model":"\xc0\xaf",%b}' % MESSAGES, None, "invalid UTF-8"),
    "surrogate as UTF-8": (b'{"model":"\xed\xa0\x80",%b}' % MESSAGES, None, "invalid UTF-8"),
    "cut UTF-8": (b'{"model":"\xe6\x9d",%b}' % MESSAGES, None, "invalid UTF-8"),
    "lone surrogate": (b'{"model":"a","user":"\\ud800",%b}' % MESSAGES, "user", "surrogate"),
    "lone low surrogate": (
        b'{"model":"a","messages":[{"role":"user","content":"x\\udc00"}]}',
        "messages[0].content",
        "surrogate",
    ),
    "lone surrogate in a key": (b'{"model":"a","\\ud800":1,%b}' % MESSAGES, None, "surrogate"),
    "raw newline": (b'{"model":"a\nb",%b}' % MESSAGES, None, "control character"),
    "raw NUL": (b'{"model":"a\0b",%b}' % MESSAGES, None, "control character"),
    "bad escape": (b'{"model":"\\x41",%b}' % MESSAGES, None, "escape"),
    "NaN": (b'{"model":"a",%b,"temperature":NaN}' % MESSAGES, "temperature", "NaN"),
    "Infinity": (b'{"model":"a",%b,"top_p":Infinity}' % MESSAGES, "top_p", "Infinity"),
    "minus Infinity": (b'{"model":"a",%b,"logit_bias":{"1":-Infinity}}' % MESSAGES,
                       "logit_bias.1", "Infinity"),
    "1e400": (b'{"model":"a",%b,"seed":1e400}' % MESSAGES, "seed", "out of range"),
    "400 digits": (b'{"model":"a",%b,"seed":%b}' % (MESSAGES, b"1" * 400), "seed", "range"),
    "leading zero": (b'{"model":"a",%b,"seed":01}' % MESSAGES, None, "at byte"),
    "hexadecimal": (b'{"model":"a",%b,"seed":0x10}' % MESSAGES, None, "at byte"),
    "duplicate key": (b'{"model":"a","model":"b",%b}' % MESSAGES, "model", 'duplicate key "model"'),
    "duplicate key, escaped": (b'{"model":"a","\\u006dodel":"b",%b}' % MESSAGES, "model", "model"),
    "duplicate messages": (b'{"model":"a",%b,%b}' % (MESSAGES, MESSAGES), "messages", "messages"),
    "duplicate role": (
        b'{"model":"a","messages":[{"role":"user","content":"x","role":"system"}]}',
        "messages[0].role",
        'duplicate key "role" in messages[0]',
    ),
    "duplicate key, deep": (
        DEEP + b'{"a":' * 60 + b'{"k":1,"k":2}' + b"}" * 61,
        ("metadata" + ".a" * 60 + ".k")[:160],
        'duplicate key "k"',
    ),
    "duplicate key in a field nobody knows": (
        b'{"model":"a",%b,"zzz":[0,{"k":1,"k":1}]}' % MESSAGES,
        "zzz[1].k",
        'duplicate key "k"',
    ),
    "65 arrays deep": (DEEP + b"[" * 64 + b"]" * 64 + b"}", None, "deeper than 64"),
    "65 objects deep": (DEEP + b'{"a":' * 64 + b"1" + b"}" * 65, None, "deeper than 64"),
    "bomb": (DEEP + b"[" * 500_000, None, "deeper than 64"),
    "whole bomb": (DEEP + b"[" * 200_000 + b"]" * 200_000 + b"}", None, "deeper than 64"),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_json(case: str, untouched: Running) -> None:
    body, param, said = JSON[case]
    answer = untouched.raw(body)
    refused(answer, 400, param, said)
    assert error_of(answer)["code"] == ("invalid_json" if body else None)


def test_json_is_refused_as_strictly_when_it_is_large(untouched: Running) -> None:
    text = b"x" * 1_000_000
    body = b'{"model":"a","messages":[{"role":"user","content":"%b","role":"user"}]}' % text
    refused(untouched.raw(body), 400, "messages[0].role", "duplicate key")


def test_64_deep_is_not_too_deep(gateway: Running) -> None:
    """The limit is where it is said to be."""
    schema: Json = {"type": "object"}
    while depth(schema) < 61:  # the body, response_format and json_schema stand around it
        schema = {"type": "object", "properties": {"a": schema}}
    form: Json = {"type": "json_schema", "json_schema": {"name": "deep", "schema": schema}}
    answer = gateway.chat("patient", response_format=form)
    assert answer.status_code == 200, answer.text
    form["json_schema"]["schema"] = {"type": "array", "items": schema}
    refused(gateway.chat("patient", response_format=form), 400, None, "deeper than 64")


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


# --- fields -------------------------------------------------------------------------------

USER: Json = {"role": "user", "content": "hi"}
TOOL: Json = {"type": "function", "function": {"name": "look"}}
ABSENT = object()
CALL = {"type": "function", "function": {"name": "a", "arguments": "{}"}}

FIELDS: list[tuple[str, Json]] = [
    ("model", {"model": ABSENT}),
    ("model", {"model": None}),
    ("model", {"model": ""}),
    ("model", {"model": 1}),
    ("model", {"model": ["flagship"]}),
    ("models", {"models": "flagship"}),
    ("models", {"models": ["flagship"] * 9}),
    ("models[1]", {"models": ["flagship", 2]}),
    ("model", {"Model": "flagship"}),
    ("messages", {"MESSAGES": []}),
    ("messages", {"messages": ABSENT}),
    ("messages", {"messages": None}),
    ("messages", {"messages": []}),
    ("messages", {"messages": {}}),
    ("messages", {"messages": "hi"}),
    ("messages[0]", {"messages": ["hi"]}),
    ("messages[0].role", {"messages": [{"content": "hi"}]}),
    ("messages[0].role", {"messages": [{"role": "wizard", "content": "hi"}]}),
    ("messages[1].role", {"messages": [USER, {"role": 1, "content": "hi"}]}),
    ("messages[0].content", {"messages": [{"role": "user"}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": None}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": 1}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": {"text": "hi"}}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"text": "x"}]}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "x"}]}]}),
    (
        "messages[0].content[0].text",
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    ),
    ("messages[1].tool_call_id", {"messages": [USER, {"role": "tool", "content": "x"}]}),
    ("messages[0].tool_calls[0].id", {"messages": [{"role": "assistant", "tool_calls": [CALL]}]}),
    ("temperature", {"temperature": 3}),
    ("temperature", {"temperature": -0.1}),
    ("temperature", {"temperature": "1"}),
    ("temperature", {"temperature": True}),
    ("top_p", {"top_p": 1.5}),
    ("n", {"n": 0}),
    ("n", {"n": 129}),
    ("n", {"n": 1.5}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": -1}),
    ("max_tokens", {"max_tokens": "5"}),
    ("max_tokens", {"max_tokens": 5, "max_completion_tokens": 5}),
    ("max_completion_tokens", {"max_completion_tokens": 1.5}),
    ("stream", {"stream": "yes"}),
    ("stream", {"stream": 1}),
    ("stream_options", {"stream_options": {"include_usage": True}}),
    ("stream_options", {"stream": True, "stream_options": True}),
    ("stream_options.include_usage", {"stream": True, "stream_options": {"include_usage": 1}}),
    ("stop", {"stop": ["a", "b", "c", "d", "e"]}),
    ("stop[1]", {"stop": ["a", 2]}),
    ("presence_penalty", {"presence_penalty": 3}),
    ("frequency_penalty", {"frequency_penalty": -3}),
    ("seed", {"seed": "a"}),
    ("seed", {"seed": 1.5}),
    ("logprobs", {"logprobs": 1}),
    ("top_logprobs", {"top_logprobs": 3}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
    ("user", {"user": 1}),
    ("metadata", {"metadata": "x"}),
    ("metadata", {"metadata": {f"k{n}": "v" for n in range(17)}}),
    ("tools", {"tools": []}),
    ("tools", {"tools": {}}),
    ("tools[0].type", {"tools": [{"function": {"name": "a"}}]}),
    ("tools[0].type", {"tools": [{"type": "gadget", "gadget": {}}]}),
    ("tools[0].function", {"tools": [{"type": "function"}]}),
    ("tools[1].function.name", {"tools": [TOOL, {"type": "function", "function": {}}]}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": "always"}),
    ("tool_choice", {"tool_choice": "required"}),
    (
        "tool_choice",
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "leap"}}},
    ),
    ("parallel_tool_calls", {"parallel_tool_calls": True}),
    ("response_format", {"response_format": "json"}),
    ("response_format.type", {"response_format": {"type": "xml"}}),
    ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
    ("reasoning_effort", {"reasoning_effort": 1}),
]


@pytest.mark.parametrize(("param", "change"), FIELDS)
def test_field(param: str, change: Json, untouched: Running) -> None:
    body = {"model": "flagship", "messages": [USER], **change}
    sent = {name: value for name, value in body.items() if value is not ABSENT}
    refused(untouched.raw(json.dumps(sent).encode()), 400, param)


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "gpt-9"}, "model"),
        ({"model": "claude-sonnet"}, "model"),  # exists, but not on this route
        ({"model": "GPT-4O"}, "model"),
        ({"model": "gpt-4o "}, "model"),
        ({"model": "../gpt-4o"}, "model"),
        ({"model": "x" * 100_000}, "model"),
        ({"model": "gpt-4o", "models": ["gpt-4o", "gpt-9"]}, "models[1]"),
        ({"models": ["gpt-9"]}, "models[0]"),
    ],
)
def test_model_that_does_not_exist(body: Json, param: str, untouched: Running) -> None:
    sent = json.dumps({"messages": [USER], **body}).encode()
    answer = untouched.raw(sent, **{"x-test-route": "narrow"})
    refused(answer, 404, param, "does not exist")
    assert error_of(answer)["code"] == "model_not_found"
    assert len(answer.content) < 1000


def test_model_that_is_not_listed(untouched: Running) -> None:
    answer = untouched.http.get(f"{untouched.url}/models/gpt-9")
    refused(answer, 404, "model", "gpt-9")


UNKNOWN = [
    *("/", "/v1", "/v1/", "/v2/chat/completions", "/V1/chat/completions", "/v1/chat/completion"),
    *("/v1/chat/completions/", "/v1/chat/completions/x", "/v1/chat/completions;x", "/chat"),
    *("/v1/files", "/v1/responses/resp_1", "/v1/responsesx", "/v1/modelsx", "/v1/chat/%zz"),
    *("//v1/chat/completions", "/v1//chat/completions", "/v1/chat//completions", "//"),
    *("/v1/../../etc/passwd", "/v1/chat/completions/..", "/v1/%2e%2e/admin", "/v1/chat/../.."),
    *("/%2e%2e/stats", "/v1/chat/completions%20", "/_sim/requests", "/metrics", "/?model=a"),
]


@pytest.mark.parametrize("path", UNKNOWN)
def test_path_that_does_not_exist(path: str, untouched: Running) -> None:
    answer = exchange(untouched.port, request(path))
    assert answer is not None
    assert answer.status == 404, answer
    error = error_of(answer)
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert error["code"] in {"unknown_url", "not_found"}


MALFORMED = [
    *("/v1/chat%2Fcompletions", "/v1/chat%2fcompletions", "/v1/chat%5Ccompletions"),
    *("/v1%2f..%2fadmin", "/v1/chat/completions%00", "/v1/chat/completions#part"),
    *("v1/chat/completions", "?", "/v1/chat/compl\xe9tions", "/v1/models/a%2Fb"),
]


@pytest.mark.parametrize("path", MALFORMED)
def test_path_that_is_malformed(path: str, untouched: Running) -> None:
    answer = exchange(untouched.port, request(path))
    assert answer is not None
    assert answer.status == 400, answer
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/v1/chat/completions",
        "http://gateway/v1/chat/completions",
        "https://api.openai.com/v1/chat/completions",
        "http://target-gpt-4-turbo/v1/chat/completions",
        "http://provider-openai/v1/chat/completions",
        "ftp://gateway/v1/chat/completions",
        "*",
    ],
)
def test_absolute_uri(uri: str, untouched: Running) -> None:
    """No proxy: neither to the world nor, by a name that Envoy knows, around the gateway."""
    answer = exchange(untouched.port, request(uri))
    assert answer is not None
    assert 400 <= answer.status < 500
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize("host", ["target-gpt-4-turbo", "provider-openai", "openai.com", "[::1"])
def test_no_host_leads_around_the_gateway(host: str, gateway: Running) -> None:
    line = b"host: " + host.encode()
    answer = exchange(gateway.port, request().replace(b"host: gateway", line))
    assert answer is not None
    if answer.status == 200:
        assert answer.headers["x-tollgate-target"] == "gpt-4-turbo"
        assert len(gateway.asked()) == 1
    else:
        assert 400 <= answer.status < 500
        error_of(answer)
        assert gateway.asked() == []


@pytest.mark.parametrize("path", ["/v1/x/../chat/completions", "/v1/./chat/completions"])
def test_a_path_that_resolves_is_what_it_resolves_to(path: str, gateway: Running) -> None:
    answer = exchange(gateway.port, request(path))
    assert answer is not None
    assert answer.status == 200
    (sent,) = gateway.asked()
    assert sent["path"] == CHAT


# --- methods, encodings, types ------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"])
@pytest.mark.parametrize("body", [b"", GOOD])
def test_method(method: str, body: bytes, untouched: Running) -> None:
    answer = exchange(untouched.port, request(CHAT, body, method=method), method=method)
    assert answer is not None
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert error_of(answer)["code"] == "method_not_supported"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/flagship"])
def test_method_of_models(method: str, path: str, untouched: Running) -> None:
    answer = untouched.http.request(method, f"{untouched.root}{path}")
    refused(answer, 405, None, "GET")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("method", ["post", "FETCH", "PO ST", "CONNECT", ""])
def test_method_that_is_none(method: str, untouched: Running) -> None:
    answer = exchange(untouched.port, request(method=method))
    assert answer is not None
    assert answer.status == 400
    error_of(answer)


def test_connect(untouched: Running) -> None:
    asked = b"CONNECT api.openai.com:443 HTTP/1.1\r\nhost: api.openai.com:443\r\n\r\n"
    answer = exchange(untouched.port, asked, method="GET")
    assert answer is not None
    assert answer.status == 404
    assert error_of(answer)["code"] == "not_found"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip"])
def test_encoded_body(encoding: str, untouched: Running) -> None:
    answer = untouched.raw(gzip.compress(GOOD), **{"content-encoding": encoding})
    refused(answer, 415, "content-encoding")


def test_encoded_body_that_does_not_say_so(untouched: Running) -> None:
    refused(untouched.raw(gzip.compress(GOOD)), 400, None, "UTF-8")


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
        *("application/xml", "application/jsonx", "application/json, text/plain", "json"),
    ],
)
def test_content_type(kind: str, untouched: Running) -> None:
    refused(untouched.raw(GOOD, **{"content-type": kind}), 415, "content-type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", "application/json; charset=utf-8"]
)
def test_content_type_that_is_json(kind: str, gateway: Running) -> None:
    assert gateway.raw(GOOD, **{"content-type": kind}).status_code == 200


# --- size ---------------------------------------------------------------------------------


def test_body_over_the_limit(untouched: Running) -> None:
    body = GOOD + b" " * (LIMIT - len(GOOD))
    answer = exchange(untouched.port, request(CHAT, body))
    assert answer is not None
    too_large(answer)


def test_body_over_the_limit_in_chunks(untouched: Running) -> None:
    """Nobody says beforehand how much is coming."""
    pieces = [GOOD, *[b" " * (1 << 20)] * 33]
    line = "transfer-encoding: chunked"
    answer = exchange(untouched.port, request(CHAT, chunked(*pieces), line, length=False))
    assert answer is not None
    too_large(answer)


@pytest.mark.usefixtures("untouched")
async def test_body_over_the_limit_from_an_sdk(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        await client.chat.completions.create(
            model="flagship", messages=[{"role": "user", "content": "x" * (LIMIT + 1)}]
        )
    assert raised.value.status_code == 413
    assert raised.value.type == "invalid_request_error"
    assert "32 MiB" in raised.value.message


def too_large(answer: Reply) -> None:
    assert answer.status == 413
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "request_too_large"
    assert "32 MiB" in error["message"]


# --- HTTP that is none --------------------------------------------------------------------

ODD: dict[str, tuple[bytes, int]] = {
    "HTTP/1.0": (request(version="HTTP/1.0"), 426),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", 426),
    "HTTP/2.0 in a line": (request(version="HTTP/2.0"), 426),
    "HTTP/9.9": (request(version="HTTP/9.9"), 426),
    "no version": (request(version=""), 426),
    "no host": (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
    "no length": (request(length=False), 400),
    "chunked, no body": (
        request(CHAT, chunked(), "transfer-encoding: chunked", length=False),
        400,
    ),
    "chunked and a length": (request(CHAT, chunked(GOOD), "transfer-encoding: chunked"), 400),
    "two lengths": (request(CHAT, GOOD, "content-length: 3"), 400),
    "negative length": (request(CHAT, GOOD, "content-length: -1", length=False), 400),
    "signed length": (request(CHAT, GOOD, f"content-length: +{len(GOOD)}", length=False), 400),
    "hexadecimal length": (request(CHAT, GOOD, "content-length: 0x10", length=False), 400),
    "huge length": (request(CHAT, GOOD, f"content-length: {'9' * 30}", length=False), 400),
    # RFC 9112, 6.1: a coding that the server does not know is 501.
    "unknown coding": (request(CHAT, GOOD, "transfer-encoding: gzip", length=False), 501),
    "space before a colon": (request(CHAT, GOOD, "x-a : b"), 400),
    "no colon": (request(CHAT, GOOD, "x-a"), 400),
    "no name": (request(CHAT, GOOD, ": b"), 400),
    "NUL in a header": (request(CHAT, GOOD, "x-a: b\0c"), 400),
    "header of 100 kB": (request(CHAT, GOOD, f"x-a: {'b' * 100_000}"), 431),
    "path of 100 kB": (request(f"/{'a' * 100_000}"), 431),
    "1,000 headers": (request(CHAT, GOOD, *[f"x-{n}: b" for n in range(1000)]), 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),
    "noise": (bytes(range(256)) * 4, 400),
    "words": (b"hello\r\n\r\n", 400),
    "websocket": (
        request(
            CHAT,
            b"",
            *("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            method="GET",
            length=False,
        ),
        403,
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_request(case: str, untouched: Running) -> None:
    sent, status = ODD[case]
    answer = exchange(untouched.port, sent)
    assert answer is not None
    assert answer.status == status
    error = error_of(answer)
    assert error["type"] == ("server_error" if status == 501 else "invalid_request_error")


@pytest.mark.parametrize(
    "sent",
    [
        request(CHAT, b"zz\r\n", "transfer-encoding: chunked", length=False),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"no frames" * 10,
    ],
    ids=["malformed chunk", "HTTP/2 that is none"],
)
def test_body_that_cannot_be_framed(sent: bytes, untouched: Running) -> None:
    """There may be no way to answer then: the connection is closed."""
    answer = exchange(untouched.port, sent)
    if answer is not None:
        assert 400 <= answer.status < 500
        error_of(answer)
