"""Bodies of every size, there and back, unchanged where they should be."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from tests.e2e.conftest import Running
from tests.e2e.sockets import CHAT, chunked, exchange, request

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
WIDE = {
    "wide-claude": "claude-haiku-4-5",
    "wide-gpt": "gpt-4o-2024-11-20",
    "wide-gemini": "gemini-2.5-flash",
    "wide-llama": "llama-3.3-70b-instruct",
}
SIZES = {"300 kB": 300_000, "10 MB": 10_000_000}
MB = 1_000_000


@cache
def prompt(size: int) -> str:
    """Text of so many bytes that no two parts of it are alike, with characters of every width."""
    line = '{:09d} naïve 東京 🚦 \\ "quoted" and plain text\n'
    count = size // len(line.format(0).encode()) + 1
    text = "".join(line.format(number) for number in range(count)).encode()[:size]
    return text.decode(errors="ignore")


def texts(body: Json) -> str:
    """What the user said, in any of the three formats."""
    if "contents" in body:
        return "".join(part["text"] for one in body["contents"] for part in one["parts"])
    found = []
    for one in body["messages"]:
        content = one["content"]
        found.append(content if isinstance(content, str) else "".join(p["text"] for p in content))
    return "".join(found)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def arrived(gateway: Running, *, model: str | None = None) -> Json:
    """The last body that a provider got."""
    one = gateway.asked()[-1]
    if model is not None:
        assert one["model"] == model
    body: Json = one["body"]
    return body


# --- prompts ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", WIDE)
def test_long_prompt(target: str, size: str, gateway: Running) -> None:
    text = prompt(SIZES[size])
    answer = gateway.chat(target, text)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["x-tollgate-target"] == target
    assert digest(texts(arrived(gateway, model=WIDE[target]))) == digest(text)


@pytest.mark.parametrize("target", WIDE)
def test_long_prompt_of_a_stream(target: str, gateway: Running) -> None:
    text = prompt(300_000)
    answer = gateway.chat(target, text, stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert digest(texts(arrived(gateway, model=WIDE[target]))) == digest(text)


@pytest.mark.parametrize(
    ("target", "fault", "size"),
    [
        *((target, fault, "300 kB") for target in WIDE for fault in ("refusal", "500")),
        ("wide-llama", "silence", "300 kB"),
        *(("wide-gemini", fault, "10 MB") for fault in ("refusal", "500", "silence")),
        ("wide-claude", "500", "10 MB"),
        ("wide-gpt", "refusal", "10 MB"),
    ],
)
def test_long_prompt_walks_on(target: str, fault: str, size: str, gateway: Running) -> None:
    """The next level gets the client's body, whole, and not what the first one made of it."""
    text = prompt(SIZES[size])
    first = "wide-gpt" if target == "wide-claude" else "wide-claude"
    failing: Json = {"error": "rate_limit"} if fault == "refusal" else {"status": 500}
    if fault == "silence":
        first, failing = "wide-briefly", {"silence": "before_head"}
    model = WIDE.get(first, "gpt-4o-2024-08-06")
    began = time.monotonic()
    answer = gateway.chat(
        first, text, models=[first, target], script={"by": {model: failing, "*": {}}}
    )
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["x-tollgate-target"] == target
    assert answer.headers["x-tollgate-attempts"] == "2"
    one, two = gateway.asked()
    assert (one["model"], two["model"]) == (model, WIDE[target])
    for sent in (one["body"], two["body"]):
        assert digest(texts(sent)) == digest(text)
    if fault == "silence":
        assert time.monotonic() - began > 1.9


@pytest.mark.parametrize("target", ["wide-claude", "wide-gpt"])
def test_the_largest_prompt(target: str, gateway: Running) -> None:
    text = prompt(30 * MB)
    answer = gateway.chat(target, text)
    assert answer.status_code == 200, answer.text[:500]
    assert digest(texts(arrived(gateway))) == digest(text)


def test_a_prompt_that_only_the_provider_finds_too_large(gateway: Running) -> None:
    """Gemini takes 20 MB."""
    answer = gateway.chat("wide-gemini", prompt(30 * MB))
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "20971520" in error["message"]
    assert len(gateway.asked()) == 1


def test_the_largest_prompts_starve_nobody(gateway: Running) -> None:
    """While the service is busy with them, Envoy must not take it for dead."""
    message = {"role": "user", "content": prompt(30 * MB)}
    body = json.dumps({"model": "wide-claude", "messages": [message]}, ensure_ascii=False).encode()
    with ThreadPoolExecutor(4) as pool:
        large = [pool.submit(gateway.raw, body) for _ in range(4)]
        small = []
        while not all(one.done() for one in large):
            small.append(gateway.chat("llama").status_code)
    assert {one.result().status_code for one in large} == {200}
    assert set(small) == {200}


@pytest.mark.parametrize("stream", [b"", b',"stream":true'])
def test_a_body_of_exactly_the_limit(stream: bytes, gateway: Running) -> None:
    """What the gateway itself adds (the model's name, the wish for usage) does not count."""
    head = b'{"model":"wide-gpt"%b,"messages":[{"role":"user","content":"' % stream
    body = head + b"x" * ((32 << 20) - len(head) - 4) + b'"}]}'
    assert len(body) == 32 << 20
    answer = exchange(gateway.port, request(CHAT, body), within=60)
    assert answer is not None
    assert answer.status == 200
    assert len(texts(arrived(gateway))) == len(body) - len(head) - 4


def test_long_prompt_in_chunks(gateway: Running) -> None:
    text = prompt(1 * MB)
    message = {"role": "user", "content": text}
    body = json.dumps({"model": "wide-claude", "messages": [message]}).encode()
    pieces = [body[at : at + 9973] for at in range(0, len(body), 9973)]
    line = "transfer-encoding: chunked"
    answer = exchange(gateway.port, request(CHAT, chunked(*pieces), line, length=False))
    assert answer is not None
    assert answer.status == 200
    assert digest(texts(arrived(gateway))) == digest(text)


@pytest.mark.parametrize("target", WIDE)
def test_a_thousand_messages(target: str, gateway: Running) -> None:
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": f"turn {number}"}
        for number in range(999)
    ]
    answer = gateway.chat(target, messages=[{"role": "system", "content": "Be brief."}, *turns])
    assert answer.status_code == 200, answer.text[:500]
    body = arrived(gateway)
    found = texts(
        {**body, "messages": [one for one in body.get("messages", []) if one["role"] != "system"]}
    )
    assert found == "".join(str(one["content"]) for one in turns)
    assert "Be brief." in json.dumps(body)


# --- values -------------------------------------------------------------------------------

VALUES = (
    b'{"top_k" : 40, "model":"wide-llama",'
    b' "min_p":1.0,"repetition_penalty":1e0,"length_penalty":0.10000000000000000555,'
    b'"messages":[{"content":"caf\\u00e9 \\/ \xe6\x9d\xb1 \\ud83d\\udea6","role":"user"}],'
    b'"seed":12345678901234567890123,"temperature":5E-1,"top_p":1,'
    b'"chat_template_kwargs":{"z":1,"a":-0.0,"m":[1.0,1,1e2,10000000000000000000000.0],"":null},'
    b'"stop_token_ids":[ 1 ,2],"nobody knows":{"this":[true,false,null,1E+2,-0]}, "n":1 }'
)

SPELLINGS = [
    *(b"12345678901234567890123", b"1e0", b"5E-1", b"-0.0", b"0.10000000000000000555"),
    *(b"caf\\u00e9 \\/ \xe6\x9d\xb1", b"\\ud83d\\udea6", b"[true,false,null,1E+2,-0]"),
]


def members(body: bytes) -> list[tuple[str, str]]:
    """Every member of an object, in order, with its value's own characters (and no spaces)."""
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: pairs, parse_float=str, parse_int=str
    )
    return [(name, repr(value)) for name, value in decoder.decode(body.decode())]


@pytest.mark.parametrize("stream", [b"", b'"stream":true,'])
def test_values_reach_an_openai_provider_as_they_are(stream: bytes, gateway: Running) -> None:
    """Big integers, 1.0 and 1, exponents, escapes, unknown fields and their order."""
    body = VALUES.replace(b'"n":1', stream + b'"n":1')
    gateway.raw(body)  # a field that nobody knows: the simulator says 400, having received it
    (one,) = gateway.asked()
    sent = gateway.sent_body(one)
    known = dict(members(body))
    found = members(sent)
    if stream:
        assert found.pop() == ("stream_options", repr([("include_usage", True)]))
    assert [name for name, _ in found] == list(known)
    for name, value in found:
        assert value == (repr("llama-3.3-70b-instruct") if name == "model" else known[name]), name
    for text in SPELLINGS:
        assert text in sent


def test_values_survive_a_walk(gateway: Running) -> None:
    """The second level gets them as well, with its own model."""
    body = (
        b'{"model":"wide-gpt","models":["wide-gpt","wide-llama"],"temperature":5E-1,'
        b'"messages":[{"content":"caf\\u00e9 \\/","role":"user"}],"seed":12345678901234567890123}'
    )
    failing = {"by": {"gpt-4o-2024-11-20": {"status": 500}, "*": {}}}
    answer = gateway.raw(body, **{"x-sim-script": json.dumps(failing)})
    assert answer.headers["x-tollgate-target"] == "wide-llama"
    one, two = (dict(members(gateway.sent_body(sent))) for sent in gateway.asked())
    assert (one.pop("model"), two.pop("model")) == (
        "'gpt-4o-2024-11-20'",
        f"{WIDE['wide-llama']!r}",
    )
    assert one == two
    first = dict(members(body))
    assert one == {name: first[name] for name in ("temperature", "messages", "seed")}


def test_a_stream_option_that_nobody_knows_survives(gateway: Running) -> None:
    body = (
        b'{"model":"wide-llama","stream":true,"stream_options":{"zzz":1.0,"include_usage":false},'
        b'"messages":[{"role":"user","content":"hi"}]}'
    )
    gateway.raw(body)
    (one,) = gateway.asked()
    assert b'{"zzz":1.0,"include_usage":true}' in gateway.sent_body(one).replace(b" ", b"")


def test_models_of_a_request_are_for_us_alone(gateway: Running) -> None:
    answer = gateway.chat("wide-gpt", models=["wide-gpt", "wide-llama"])
    assert answer.status_code == 200
    assert "models" not in arrived(gateway)


# --- answers ------------------------------------------------------------------------------


@pytest.fixture
def behaving(gateway: Running) -> Iterator[Running]:
    """For scripts too long for a header."""
    yield gateway
    gateway.behave({})


@pytest.mark.parametrize("target", WIDE)
def test_large_answer(target: str, behaving: Running) -> None:
    text = prompt(8 * MB)
    behaving.behave({WIDE[target]: {"text": text, "events": 1}})
    answer = behaving.chat(target)
    assert answer.status_code == 200, answer.text[:500]
    said = answer.json()["choices"][0]["message"]["content"]
    assert len(said) == len(text)
    assert digest(said) == digest(text)
    (sent,) = behaving.asked()
    assert answer.json()["usage"]["prompt_tokens"] == sent["usage"]["input"]
    assert "x-tollgate-cost" in answer.headers


@pytest.mark.parametrize("events", [1, 20_000])
@pytest.mark.parametrize("target", WIDE)
def test_large_stream(target: str, events: int, behaving: Running) -> None:
    """One event of 500 kB; and 4 MB in small ones, arriving faster than anyone reads."""
    text = prompt(500_000 if events == 1 else 4 * MB)
    behaving.behave({WIDE[target]: {"text": text, "events": events}})
    answer = behaving.chat(target, stream=True)
    assert answer.status_code == 200, answer.text[:500]
    payloads = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert payloads.pop() == "[DONE]"
    chunks = [json.loads(one) for one in payloads]
    said = "".join(
        choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]
    )
    assert digest(said) == digest(text)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("target", WIDE)
def test_large_tool_call(target: str, behaving: Running) -> None:
    arguments = {"text": prompt(1 * MB), "number": 12345678901234567890}
    behaving.behave({WIDE[target]: {"tools": [{"name": "keep", "arguments": arguments}]}})
    tool = {"type": "function", "function": {"name": "keep", "parameters": {"type": "object"}}}
    answer = behaving.chat(target, tools=[tool])
    assert answer.status_code == 200, answer.text[:500]
    (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == arguments
