"""Every key of a script, over the wire."""

import asyncio
import time
from typing import Any

import pytest

from extproc.simulator import Simulator
from extproc.simulator.chat import KINDS
from tests.unit.simulator.talk import KEYS, OPENAI, Talk, chat

DIALECTS = ("openai", "anthropic", "gemini")
TERMINAL = {
    "openai": b"data: [DONE]\n\n",
    "anthropic": b'data: {"type":"message_stop"}\n\n',
    "gemini": b'"finishReason"',
}


def texts(dialect: str, events: list[Any]) -> list[str]:
    """The text of each content event."""
    found: list[str] = []
    for event in events:
        if dialect == "openai":
            found += [c["delta"].get("content") or "" for c in event.get("choices", ())]
        elif dialect == "anthropic":
            found.append(event.get("delta", {}).get("text", ""))
        else:
            parts = event.get("candidates", [{}])[0].get("content", {}).get("parts", ())
            found += [part.get("text", "") for part in parts]
    return [one for one in found if one]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_text_is_cut_into_as_many_events_as_asked(talk: Talk, dialect: str) -> None:
    script = {"text": "abcdefghij", "events": 5}
    heard = await talk.chat(dialect, stream=True, script=script)
    assert texts(dialect, heard.events) == ["ab", "cd", "ef", "gh", "ij"]
    assert TERMINAL[dialect] in heard.body
    assert talk.last().events == 5


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_latency_ttft_and_rate_set_the_pace(talk: Talk, dialect: str) -> None:
    script = {"latency": 0.05, "ttft": 0.1, "rate": 100, "events": 6}
    heard = await talk.chat(dialect, stream=True, script=script)
    assert 0.04 < heard.head_at < heard.ended_at
    assert heard.ended_at > 0.1 + 5 / 100 - 0.01
    whole = await talk.chat(dialect, script=script)
    assert whole.head_at > 0.04
    assert whole.ended_at > 0.1 + 5 / 100 - 0.01


# kind → status of each dialect
STATUS = {
    "invalid_request": (400, 400, 400),
    "authentication": (401, 401, 400),
    "billing": (402, 402, 400),
    "permission": (403, 403, 403),
    "not_found": (404, 404, 404),
    "model_not_found": (404, 404, 404),
    "too_large": (413, 413, 400),
    "unprocessable": (422, 422, 400),
    "context_length": (400, 400, 400),
    "content_filter": (400, 400, 400),
    "rate_limit": (429, 429, 429),
    "quota": (429, 400, 429),
    "overloaded": (503, 529, 503),
    "unavailable": (503, 503, 503),
    "server": (500, 500, 500),
    "timeout": (504, 504, 504),
}


def shaped(dialect: str, body: Any) -> bool:
    """Whether it is the dialect's error object."""
    error = body["error"]
    match dialect:
        case "openai":
            return set(error) == {"message", "type", "param", "code"}
        case "anthropic":
            return body["type"] == "error" and set(error) == {"type", "message"}
        case _:
            return isinstance(error["code"], int) and error["status"].isupper()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_error_in_the_providers_shape(
    talk: Talk, dialect: str, kind: str
) -> None:
    for stream in (False, True):
        heard = await talk.chat(dialect, stream=stream, script={"error": kind})
        assert heard.status == STATUS[kind][DIALECTS.index(dialect)]
        assert shaped(dialect, heard.json)
        assert talk.last().outcome == "error"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 413, 418, 429, 500, 502, 503, 504, 529]
)
async def test_a_bare_status(talk: Talk, dialect: str, status: int) -> None:
    heard = await talk.chat(dialect, script={"status": status})
    assert heard.status == status
    assert shaped(dialect, heard.json)


async def test_anthropics_error_types(talk: Talk) -> None:
    expected = {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
    for status, name in expected.items():
        heard = await talk.chat("anthropic", script={"status": status})
        assert heard.json["error"]["type"] == name


async def test_geminis_status_words(talk: Talk) -> None:
    expected = {
        "invalid_request": "INVALID_ARGUMENT",
        "billing": "FAILED_PRECONDITION",
        "permission": "PERMISSION_DENIED",
        "not_found": "NOT_FOUND",
        "rate_limit": "RESOURCE_EXHAUSTED",
        "server": "INTERNAL",
        "unavailable": "UNAVAILABLE",
        "timeout": "DEADLINE_EXCEEDED",
    }
    for kind, word in expected.items():
        heard = await talk.chat("gemini", script={"error": kind})
        assert heard.json["error"]["status"] == word


async def test_self_hosted_errors_have_vllms_shape(talk: Talk) -> None:
    heard = await talk.chat("local", script={"error": "context_length"})
    assert heard.json["error"]["type"] == "BadRequestError"
    assert heard.json["error"]["code"] == 400
    heard = await talk.chat("local", model="llama", foo=1)
    assert heard.json["error"]["type"] == "BadRequestError"
    assert "foo" in heard.json["error"]["message"]


async def test_own_error_body_message_and_unknown_kind(talk: Talk) -> None:
    heard = await talk.chat("openai", script={"status": 502, "error": {"any": ["thing"]}})
    assert (heard.status, heard.json) == (502, {"any": ["thing"]})
    heard = await talk.chat("openai", script={"status": 500, "message": "mine"})
    assert heard.json["error"]["message"] == "mine"
    heard = await talk.chat("openai", script={"error": "no_such"})
    assert (heard.status, "no_such" in heard.json["error"]["message"]) == (400, True)


async def test_retry_after_in_each_dialects_way(talk: Talk) -> None:
    script = {"status": 429, "retry_after": 7}
    assert (await talk.chat("openai", script=script)).headers["retry-after"] == "7"
    assert (await talk.chat("anthropic", script=script)).headers["retry-after"] == "7"
    heard = await talk.chat("gemini", script=script)
    assert "retry-after" not in heard.headers
    assert heard.json["error"]["details"][-1] == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": "7s",
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_are_set_over_the_usual_ones(talk: Talk, *, stream: bool) -> None:
    script = {"headers": {"X-RateLimit-Remaining-Requests": "0", "x-more": "yes"}}
    heard = await talk.chat("openai", stream=stream, script=script)
    assert heard.headers["x-ratelimit-remaining-requests"] == "0"
    assert heard.headers["x-more"] == "yes"
    assert heard.headers["x-ratelimit-limit-requests"] == "10000"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_reset_before_anything(talk: Talk, dialect: str, *, stream: bool) -> None:
    heard = await talk.chat(dialect, stream=stream, script={"reset": "before"})
    assert heard.status == 0
    assert isinstance(heard.broken, OSError)
    assert talk.last().outcome == "reset"
    assert talk.last().billed.input == 0


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_reset_after_the_head(talk: Talk, dialect: str, *, stream: bool) -> None:
    heard = await talk.chat(dialect, stream=stream, script={"reset": "after_headers"})
    assert (heard.status, heard.body) == (200, b"")
    assert heard.broken is not None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("count", [0, 1, 3, 8])
async def test_reset_after_events(talk: Talk, dialect: str, count: int) -> None:
    heard = await talk.chat(dialect, stream=True, script={"reset": count})
    assert heard.status == 200
    assert heard.broken is not None
    assert len(texts(dialect, heard.events)) == count
    assert TERMINAL[dialect] not in heard.body
    assert talk.last().events == count


async def test_a_reset_is_a_reset(sim: Simulator) -> None:
    """ECONNRESET, not a close: a client must be able to tell."""
    host, _, port = sim.url("local").removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b'x-sim-script: {"reset": 2}\r\ncontent-length: %d\r\n\r\n' % len(body) + body
    )
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)
    writer.close()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("silence", ["before_head", "after_head", 0, 3])
async def test_silence_holds_the_connection(talk: Talk, dialect: str, silence: Any) -> None:
    heard = await talk.chat(dialect, stream=True, script={"silence": silence}, patience=0.15)
    assert isinstance(heard.broken, TimeoutError)
    assert (heard.status == 0) == (silence == "before_head")
    expected = silence if isinstance(silence, int) else 0
    assert len(texts(dialect, heard.events)) == expected
    record = await talk.ended()
    assert record.outcome == "gone"
    assert record.disconnected is not None
    assert 0.1 < record.disconnected < 0.15 + 0.1


async def test_silence_of_a_whole_answer(talk: Talk) -> None:
    heard = await talk.chat("openai", script={"silence": "after_head"}, patience=0.1)
    assert (heard.status, heard.body) == (200, b"")
    assert isinstance(heard.broken, TimeoutError)


async def test_pings_break_no_silence(talk: Talk) -> None:
    for dialect in DIALECTS:
        script = {"silence": "after_head", "ping_every": 0.02}
        heard = await talk.chat(dialect, stream=True, script=script, patience=0.15)
        assert heard.body.count(b"ping" if dialect == "anthropic" else b": keep-alive") >= 4


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_stop_early_ends_properly_without_a_terminal_event(talk: Talk, dialect: str) -> None:
    heard = await talk.chat(dialect, stream=True, script={"stop_early": 2})
    assert heard.broken is None
    assert len(texts(dialect, heard.events)) == 2
    assert TERMINAL[dialect] not in heard.body
    assert talk.last().outcome == "cut"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("script", "before"), [({"first_event_error": True}, 0), ({"error_at": 3}, 3)]
)
async def test_error_within_a_stream(
    talk: Talk, dialect: str, script: dict[str, Any], before: int
) -> None:
    heard = await talk.chat(dialect, stream=True, script=script | {"error": "overloaded"})
    assert heard.status == 200
    assert heard.broken is None
    assert len(texts(dialect, heard.events)) == before
    assert shaped(dialect, heard.events[-1])
    assert TERMINAL[dialect] not in heard.body


@pytest.mark.parametrize("stream", [False, True])
async def test_garbage(talk: Talk, *, stream: bool) -> None:
    html = await talk.chat("openai", stream=stream, script={"garbage": "html"})
    assert html.headers["content-type"] == "text/html"
    assert b"<html>" in html.body
    binary = await talk.chat("openai", stream=stream, script={"garbage": True})
    assert (binary.status, len(binary.body)) == (200, 256)
    cut = await talk.chat("openai", stream=stream, script={"garbage": "truncated_json"})
    with pytest.raises(ValueError, match=r"truncated|malformed"):
        _ = cut.events if stream else cut.json
    assert cut.broken is None
    empty = await talk.chat("openai", stream=stream, script={"garbage": "empty"})
    assert (empty.status, empty.body) == (200, b"")


async def test_load_balancers_page_with_its_status(talk: Talk) -> None:
    heard = await talk.chat("gemini", script={"status": 502, "garbage": "html"})
    assert (heard.status, heard.headers["content-type"]) == (502, "text/html")


async def test_slow_bytes_arrive_whole_and_slowly(talk: Talk) -> None:
    script = {"slow_bytes": 100, "slow_delay": 0.005, "events": 4, "text": "abcd"}
    heard = await talk.chat("openai", stream=True, script=script)
    assert texts("openai", heard.events) == ["a", "b", "c", "d"]
    assert TERMINAL["openai"] in heard.body
    assert heard.ended_at > len(heard.body) / 100 * 0.005


async def test_comment_first(talk: Talk) -> None:
    heard = await talk.chat("openai", stream=True, script={"comment_first": True})
    assert heard.body.startswith(b": ")
    assert TERMINAL["openai"] in heard.body


@pytest.mark.parametrize(
    ("dialect", "finish", "shown"),
    [
        ("openai", "length", '"finish_reason":"length"'),
        ("openai", "content_filter", '"finish_reason":"content_filter"'),
        ("anthropic", "length", '"stop_reason":"max_tokens"'),
        ("anthropic", "content_filter", '"stop_reason":"refusal"'),
        ("anthropic", "pause_turn", '"stop_reason":"pause_turn"'),
        ("gemini", "length", '"finishReason":"MAX_TOKENS"'),
        ("gemini", "content_filter", '"finishReason":"SAFETY"'),
        ("gemini", "RECITATION", '"finishReason":"RECITATION"'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_finish(talk: Talk, dialect: str, finish: str, shown: str, *, stream: bool) -> None:
    heard = await talk.chat(dialect, stream=stream, script={"finish": finish})
    assert shown.encode() in heard.body


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_scripted_tools_after_text_with_arguments_that_are_no_json(
    talk: Talk, dialect: str
) -> None:
    script = {
        "text": "so:",
        "tools": [{"name": "f", "arguments": {"a": [1]}}, {"name": "g", "arguments": '{"b": '}],
    }
    heard = await talk.chat(dialect, stream=True, script=script)
    assert texts(dialect, heard.events) == ["so:"]
    assert heard.body.count(b'"name":"f"') == 1
    assert heard.body.count(b'"name":"g"') == 1


async def test_no_usage(talk: Talk) -> None:
    assert "usage" not in (await talk.chat("local", script={"usage": "none"})).json


async def test_thinking(talk: Talk) -> None:
    script = {"thinking": "well now", "text": "yes"}
    assert (
        b'"reasoning_content":"well"' in (await talk.chat("local", stream=True, script=script)).body
    )
    whole = (await talk.chat("anthropic", script=script)).json
    assert whole["content"][0]["thinking"] == "well now"
    parts = (await talk.chat("gemini", script=script)).json["candidates"][0]["content"]["parts"]
    assert parts[0] == {"text": "well now", "thought": True}


# who gets which script


async def test_by_port_and_model(talk: Talk) -> None:
    script = {
        "by": {"openai": {"status": 503}, "claude-haiku-4-5": {"status": 529}, "*": {"text": "x"}}
    }
    assert (await talk.chat("openai", script=script)).status == 503
    assert (await talk.chat("anthropic", script=script)).status == 200
    assert (await talk.chat("anthropic", script=script, model="claude-haiku-4-5")).status == 529
    assert (await talk.chat("gemini", script=script)).status == 200


async def test_sequence_counts_requests_of_one_script(talk: Talk) -> None:
    script = {"id": "a", "sequence": [{"status": 503}, {"status": 429}, {}]}
    found = [(await talk.chat("openai", script=script)).status for _ in range(4)]
    assert found == [503, 429, 200, 200]
    assert (await talk.chat("openai", script=script | {"id": "b"})).status == 503
    assert (await talk.chat("local", script=script)).status == 503


async def test_config_at_run_time_and_the_header_goes_before(talk: Talk) -> None:
    incident = {"openai": {"status": 503}, "*": {"text": "fine"}}
    put = await talk.send("openai", "/_sim/config", incident, method="PUT")
    assert put.status == 200
    assert (await talk.chat("openai")).status == 503
    assert (await talk.chat("openai", script={})).status == 200
    assert (await talk.chat("anthropic")).json["content"][0]["text"] == "fine"
    assert (await talk.send("openai", "/_sim/config", method="GET")).json == incident
    models = await talk.send("openai", "/v1/models", method="GET")
    assert models.status == 503
    await talk.send("openai", "/_sim/config", {}, method="PUT")
    assert (await talk.chat("openai")).status == 200


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("{", "x-sim-script is not JSON"),
        ("[]", "'script' should be an object"),
        ({"foo": 1}, "unknown key 'script.foo'"),
        ({"latency": "long"}, "'script.latency' should be"),
        ({"latency": -1}, "'script.latency' should be"),
        ({"reset": "later"}, "script.reset"),
        ({"garbage": "plastic"}, "script.garbage"),
        ({"tools": [{"name": "f", "foo": 1}]}, "unknown key 'script.tools.0.foo'"),
        ({"usage": {"input": 1}}, "missing key 'script.usage.output'"),
        ({"usage": {"input": 1, "output": 1, "cached": 2}}, "script.usage"),
        ({"by": {"openai": {"foo": 1}}}, "unknown key 'script.by.openai.foo'"),
        ({"by": {}, "text": "x"}, "'script.text' does not stand beside 'by'"),
        ({"sequence": []}, "'script.sequence' should be a list"),
        ({"sequence": [{}], "text": "x"}, "'script.text' does not stand beside 'sequence'"),
        ({"sequence": [{}, {"foo": 1}]}, "unknown key 'script.sequence.1.foo'"),
    ],
)
async def test_a_wrong_script_is_400_naming_the_key(talk: Talk, script: Any, words: str) -> None:
    heard = await talk.chat("openai", script=script)
    assert heard.status == 400
    assert words in heard.json["error"]["message"]


async def test_wrong_config_changes_nothing(talk: Talk) -> None:
    talk.sim.configure({"openai": {"status": 503}})
    put = await talk.send("openai", "/_sim/config", {"openai": {"foo": 1}}, method="PUT")
    assert put.status == 400
    assert "config.openai.foo" in put.json["error"] or "foo" in put.json["error"]
    assert (await talk.chat("openai")).status == 503


async def test_a_script_hides_no_mistake_of_the_gateway(talk: Talk) -> None:
    """A wrong request is refused however the provider would have failed."""
    heard = await talk.send("openai", OPENAI, {"model": "m"}, script={"status": 503})
    assert heard.status == 400


async def test_a_thousand_streams_at_once(sim: Simulator) -> None:
    path, body = chat("openai", stream=True)
    async with Talk(sim) as talk:
        talk.unlimited()
        script = {"events": 20, "rate": 100, "text": "x" * 20}
        began = time.monotonic()
        found = await asyncio.gather(
            *(talk.send("openai", path, body, script=script, patience=60) for _ in range(1000))
        )
        took = time.monotonic() - began
    assert all(texts("openai", one.events) == ["x"] * 20 for one in found)
    assert all(one.body.endswith(TERMINAL["openai"]) for one in found)
    assert took < 30
    assert sim.totals()["openai"].ended == 1000


async def test_keyless_port_ignores_keys(talk: Talk) -> None:
    path, body = chat("local")
    heard = await talk.send("local", path, body, headers=KEYS["openai"])
    assert heard.status == 200


async def test_a_script_may_hold_any_text(talk: Talk) -> None:
    script = '{"text": "naïve 東京 🚦"}'
    heard = await talk.chat("local", script=script)
    assert heard.json["choices"][0]["message"]["content"] == "naïve 東京 🚦"


async def test_a_client_that_does_not_read_holds_no_memory(sim: Simulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", sim.ports["local"], limit=1024)
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b'x-sim-script: {"events": 500000}\r\ncontent-length: %d\r\n\r\n' % len(body) + body
    )
    talk = Talk(sim)
    await talk.sent(100)
    seen = -1
    while seen != talk.last().events:
        seen = talk.last().events
        await asyncio.sleep(0.05)
    assert seen < 100_000
    writer.transport.abort()
    assert (await talk.ended()).outcome == "gone"
