"""A level: refuse, or translate there and back; held until content comes."""

from __future__ import annotations

import json
from base64 import b64decode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import dialects
from extproc.errors import Reason
from extproc.filters.large import Large
from extproc.filters.target import Rooms, TargetExchange, TargetFilter
from extproc.filters.verdict import decode
from extproc.state.memory import MemoryNotes
from extproc.telemetry import Telemetry
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import DIALECTS, STREAMS, chat, event, gate, inner, openai_chunk

SSE = {"content-type": "text/event-stream", "content-length": "9"}
JSON = {"content-type": "application/json"}
ROOMS = Rooms(dialects.load(), dialects.formats(), MemoryNotes(), Telemetry(), Large(), gate())
FILTER = TargetFilter(ROOMS)
HEADERS = {"x-tollgate-i-id": "id-1", "x-tollgate-feature": "f", "x-sim-script": "{}"}


async def level(
    dialect: str, *, stream: bool = True, walk: bool = False, **target: Any
) -> tuple[Envoy, TargetExchange]:
    handler = FILTER.open()
    envoy = Envoy(handler)
    flags = {"x-tollgate-i-stream": "1" if stream else "0"}
    if walk:
        flags["x-tollgate-i-walk"] = "content"
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    await envoy.request({**HEADERS, **flags}, chat(**more), inner(dialect, **target))
    return envoy, handler


def refusal(envoy: Envoy) -> str | None:
    if envoy.answer is None:
        return None
    return dict(envoy.answer.headers).get("x-tollgate-i-refusal")


def text_of(stream: bytes) -> str:
    lines = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    chunks = [json.loads(line) for line in lines]
    return "".join(c["delta"].get("content") or "" for x in chunks for c in x["choices"])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_goes_up_is_the_providers_and_nobody_elses(dialect: str) -> None:
    envoy, _ = await level(dialect, stream=False)
    assert not [name for name in envoy.headers if name.startswith(("x-tollgate-", "x-sim-"))]
    assert envoy.headers["content-length"] == str(len(envoy.body))
    assert envoy.headers["accept-encoding"] == "identity"
    if dialect != "gemini":
        assert json.loads(envoy.body)["model"] == DIALECTS[dialect][1]


async def test_a_body_that_is_ready_goes_by() -> None:
    envoy = Envoy(FILTER.open())
    ready = {"x-tollgate-i-stream": "0", "x-tollgate-i-ready": "t-openai"}
    await envoy.request_head({**HEADERS, **ready}, inner("openai", base_path="/openai/v1"))
    assert envoy.headers[":path"] == "/openai/v1/chat/completions"
    assert envoy.headers["accept-encoding"] == "identity"
    assert not [name for name in envoy.headers if name.startswith("x-tollgate-")]


async def test_the_simulators_script_passes_only_to_the_simulator() -> None:
    envoy, _ = await level("openai", simulator=True)
    assert envoy.headers["x-sim-script"] == "{}"


def whole(dialect: str, pieces: list[bytes]) -> Any:
    async def run() -> bytes:
        envoy, _ = await level(dialect)
        await envoy.head(200, SSE)
        await envoy.chunks(pieces)
        assert envoy.answer is None
        return envoy.body

    return run()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_arrives_whole_and_says_done(dialect: str) -> None:
    out = await whole(dialect, [STREAMS[dialect]])
    assert text_of(out) == "Grüße, 東京"
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_byte_by_byte_is_the_same(dialect: str) -> None:
    stream = STREAMS[dialect]
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert _timeless(await whole(dialect, pieces)) == _timeless(await whole(dialect, [stream]))


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
async def test_any_cutting_gives_the_same(dialect: str, data: st.DataObject) -> None:
    stream = STREAMS[dialect]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert _timeless(await whole(dialect, pieces)) == _timeless(await whole(dialect, [stream]))


def _timeless(stream: bytes) -> list[Any]:
    # Translated chunks carry the second of their making.
    lines = [line for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return [{**json.loads(line[6:]), "created": 0} for line in lines]


async def test_a_target_in_the_clients_dialect_is_left_after_the_first_content() -> None:
    envoy, handler = await level("openai")
    await envoy.head(200, SSE)
    await envoy.chunk(b": hi\n\n")
    await envoy.chunk(openai_chunk({"role": "assistant", "content": ""}))
    assert not envoy.passed[2:], "held: a role is no content"
    assert not envoy.left
    await envoy.chunk(openai_chunk({"content": "x"}))
    assert handler.alarm is None
    assert "content-length" not in envoy.headers
    assert envoy.headers["x-tollgate-i-target"] == "t-openai"
    await envoy.chunk(b"anything", end=True)
    assert envoy.body.endswith(b"anything"), "the rest flows by"


async def test_a_json_answer_in_the_clients_dialect_is_left_after_its_head() -> None:
    envoy, _ = await level("openai", stream=False)
    sent = {**JSON, "content-length": "9", "set-cookie": "a=b", "x-tollgate-i-target": "forged"}
    await envoy.head(200, sent)
    assert envoy.left
    assert envoy.headers["x-tollgate-i-target"] == "t-openai"
    assert "set-cookie" not in envoy.headers


async def test_a_head_without_a_length_promises_nothing() -> None:
    # Some providers send it at once, and blanks while their model thinks.
    envoy, handler = await level("openai", stream=False)
    await envoy.head(200, JSON)
    await envoy.chunk(b"\n")
    assert not envoy.left
    assert handler.alarm is not None
    await envoy.ring()
    assert refusal(envoy) == "timeout"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_silence_is_refused_when_the_time_is_over(dialect: str) -> None:
    envoy, handler = await level(dialect)
    await envoy.head(200, SSE)
    await envoy.chunk(b": still here\n\n")
    assert handler.alarm is not None
    await envoy.ring()
    assert refusal(envoy) == "timeout"
    assert envoy.answer is not None
    assert envoy.answer.status == 504


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
async def test_trailers_carry_what_the_last_chunk_could_not(dialect: str) -> None:
    envoy, _ = await level(dialect)
    await envoy.head(200, SSE)
    await envoy.chunks([STREAMS[dialect]], end=False)
    rest = (await envoy.trailers()).get("x-tollgate-i-rest", "")
    whole_body = envoy.body + b64decode(rest)
    assert text_of(whole_body) == "Grüße, 東京"
    assert whole_body.endswith(b"data: [DONE]\n\n")


async def test_trailers_after_a_whole_answer_change_nothing() -> None:
    envoy, _ = await level("anthropic", stream=False)
    await envoy.head(200, JSON)
    said = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "stop_reason": "end_turn",
    }
    usage = {"input_tokens": 1, "output_tokens": 1}
    answer = {**said, "content": [{"type": "text", "text": "Hi"}], "usage": usage}
    await envoy.chunks([json.dumps(answer).encode()], end=False)
    await envoy.trailers()
    assert json.loads(envoy.body)["choices"][0]["message"]["content"] == "Hi"


ERRORS = {
    "openai": event({"error": {"message": "boom", "type": "server_error"}}),
    "anthropic": event(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"
    ),
    "gemini": event({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_as_first_event_is_refused(dialect: str) -> None:
    envoy, _ = await level(dialect)
    await envoy.head(200, SSE)
    await envoy.chunk(ERRORS[dialect])
    assert refusal(envoy) == "bad_answer"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_without_content_is_refused(dialect: str) -> None:
    envoy, _ = await level(dialect)
    await envoy.head(200, SSE)
    await envoy.chunks([b": nothing\n\n"])
    assert refusal(envoy) == "bad_answer"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_html_in_a_200_is_refused(dialect: str, *, stream: bool) -> None:
    envoy, _ = await level(dialect, stream=stream)
    await envoy.head(200, {"content-type": "text/html"})
    await envoy.chunks([b"<html><title>Welcome</title>"])
    assert refusal(envoy) == "bad_answer"


async def test_a_content_refusal_is_walked_on_from_only_where_the_route_says_so() -> None:
    refused = openai_chunk({}, "content_filter")
    for walk, expected in ((True, "content_policy"), (False, None)):
        envoy, _ = await level("openai", walk=walk)
        await envoy.head(200, SSE)
        await envoy.chunk(refused)
        assert refusal(envoy) == expected


async def test_a_refusal_leaves_a_note() -> None:
    await ROOMS.notes.take("id-1")
    envoy, _ = await level("openai")
    await envoy.head(429, {**JSON, "retry-after": "7"})
    await envoy.chunks([b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'])
    (note,) = decode(await ROOMS.notes.take("id-1"))
    assert (note.target, note.reason, note.retry_after) == ("t-openai", Reason.CAPACITY, 7)


async def test_the_providers_word_about_the_request_goes_to_the_client() -> None:
    envoy, _ = await level("anthropic")
    await envoy.head(400, JSON)
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such role"}}
    await envoy.chunks([json.dumps(said).encode()])
    assert envoy.answer is not None
    assert refusal(envoy) is None
    assert envoy.answer.status == 400
    assert json.loads(envoy.answer.body)["error"]["message"] == "no such role"


# --- callers' own keys --------------------------------------------------------------------

KEY_HEADERS = [
    ("openai", "authorization", "Bearer sk-theirs"),
    ("anthropic", "x-api-key", "sk-theirs"),
    ("gemini", "x-goog-api-key", "sk-theirs"),
]


async def own_key(dialect: str, key: str, header: str | None, *, stream: bool = False) -> Envoy:
    """A request on a route that passes callers' keys on, as it comes to a level."""
    envoy = Envoy(FILTER.open())
    ready = {"x-tollgate-i-ready": f"t-{dialect}"}
    flags = {"x-tollgate-i-stream": str(int(stream)), "x-tollgate-i-credential": key, **ready}
    more = {"stream": True} if stream else {}
    policy = inner(dialect, key_header=header) if header else inner(dialect)
    await envoy.request({**HEADERS, **flags}, chat(**more), policy)
    return envoy


@pytest.mark.parametrize(("dialect", "header", "value"), KEY_HEADERS)
async def test_a_callers_key_goes_where_the_provider_takes_it(
    dialect: str, header: str, value: str
) -> None:
    envoy = await own_key(dialect, "sk-theirs", header)
    assert {name: one for name, one in envoy.headers.items() if "theirs" in one} == {header: value}


async def test_a_caller_without_a_key_asks_without_one() -> None:
    envoy = await own_key("openai", "-", "authorization")
    assert envoy.answer is None
    assert "authorization" not in envoy.headers


async def test_a_target_that_takes_no_key_of_a_callers_is_walked_past() -> None:
    envoy = await own_key("openai", "sk-theirs", None)
    assert refusal(envoy) == "feature"
    assert "sk-theirs" not in str(envoy.answer)


BLAMED = {
    401: {"error": {"message": "Incorrect API key provided: sk-th**rs", "code": "invalid_api_key"}},
    403: {"error": {"message": "Your project may not use it"}},
}


@pytest.mark.parametrize("status", BLAMED)
async def test_what_a_provider_says_of_a_callers_key_is_for_the_caller(status: int) -> None:
    envoy = await own_key("openai", "sk-theirs", "authorization")
    await envoy.head(status, JSON)
    await envoy.chunk(json.dumps(BLAMED[status]).encode(), end=True)
    assert envoy.answer is not None
    assert (envoy.answer.status, refusal(envoy)) == (status, None), "no other level is asked"
    assert json.loads(envoy.answer.body)["error"]["message"] == BLAMED[status]["error"]["message"]


async def test_of_our_own_key_the_caller_hears_nothing() -> None:
    envoy, _ = await level("openai", stream=False)
    await envoy.head(401, JSON)
    await envoy.chunk(json.dumps(BLAMED[401]).encode(), end=True)
    assert refusal(envoy) == "credentials"
    assert envoy.answer is not None
    assert b"sk-th" not in envoy.answer.body


async def test_a_stream_may_begin_with_a_word_about_the_callers_key() -> None:
    envoy = await own_key("anthropic", "sk-theirs", "x-api-key", stream=True)
    await envoy.head(200, SSE)
    said = {"type": "authentication_error", "message": "invalid x-api-key"}
    await envoy.chunk(event({"type": "error", "error": said}, "error"))
    assert envoy.answer is not None
    assert (envoy.answer.status, refusal(envoy)) == (401, None)
