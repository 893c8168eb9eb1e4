import json
from typing import Any

import pytest
from msgspec.structs import replace

from extproc.dialects import Counted, Fault, Reply, Wire
from extproc.dialects.chat.completion import Chunks, Completion
from tests.unit.dialects.gemini.samples import (
    NEW,
    USER,
    VERTEX,
    answer,
    asked,
    at_vertex,
    candidate,
    check,
    event,
    stream,
)
from tests.unit.dialects.samples import TIME

BASE = "/v1/projects/blue/locations/europe-west4"
GOOGLE = f"{BASE}/publishers/google/models"
AT_GOOGLE = "locations/europe-west4/publishers/google/models"
CLAUDE = f"{BASE}/publishers/anthropic/models"
SONNET = "claude-sonnet-4-5@20250929"


def wire(model: str, *, of: Any = None, **where: Any) -> Wire:
    request = of or asked()
    assert VERTEX.lacks(request, at_vertex(model, **where)) is None
    found = VERTEX.write(request, b"", at_vertex(model, **where))
    assert isinstance(found, Wire)
    return found


@pytest.mark.parametrize(
    ("model", "where", "path"),
    [
        (NEW, {}, f"{GOOGLE}/{NEW}:generateContent"),
        (
            NEW,
            {"location": None},
            f"/v1/projects/blue/locations/global/publishers/google/models/{NEW}:generateContent",
        ),
        (NEW, {"project": None}, f"/v1/publishers/google/models/{NEW}:generateContent"),
        (
            NEW,
            {"base_path": "/v1beta1/"},
            f"/v1beta1/publishers/google/models/{NEW}:generateContent",
        ),
        ("endpoints/123", {}, f"{BASE}/endpoints/123:generateContent"),
        (SONNET, {}, f"{CLAUDE}/{SONNET}:rawPredict"),
        (f"publishers/anthropic/models/{SONNET}", {}, f"{CLAUDE}/{SONNET}:rawPredict"),
        (
            NEW,
            {"project": "a/../b"},
            f"/v1/projects/a%2F..%2Fb/{AT_GOOGLE}/{NEW}:generateContent",
        ),
    ],
)
def test_path(model: str, where: dict[str, Any], path: str) -> None:
    assert wire(model, **where).path == path


def test_streams_have_paths_of_their_own() -> None:
    request = asked(stream=True)
    assert wire(NEW, of=request).path == f"{GOOGLE}/{NEW}:streamGenerateContent?alt=sse"
    assert wire(SONNET, of=request).path == f"{CLAUDE}/{SONNET}:streamRawPredict"


def test_gemini_takes_the_same_body() -> None:
    found = wire(NEW, of=asked(tools=[TIME], reasoning_effort="low", service_tier="flex"))
    check(json.loads(found.body), NEW)
    made = VERTEX.read(answer(candidate({"text": "Grey."}, finish="STOP")), found.reply)
    assert isinstance(made, Completion)
    assert made.choices[0].message.content == "Grey."


def test_search_and_functions_are_two_requests() -> None:
    request = asked(web_search_options={}, tools=[TIME])
    assert VERTEX.lacks(request, at_vertex(NEW)) == (
        "web_search: Vertex AI does not search and call functions in one request"
    )


def test_tokens_are_counted() -> None:
    request = replace(asked(tools=[TIME], tool_choice="required"), format="count_tokens")
    found = wire(NEW, of=request)
    assert found.path == f"{GOOGLE}/{NEW}:countTokens"
    assert set(json.loads(found.body)) == {"contents", "tools"}
    assert VERTEX.read(b'{"totalTokens":31,"totalBillableCharacters":9}', found.reply) == (
        Counted(31)
    )


# --- Claude -------------------------------------------------------------------------------

MESSAGE: dict[str, Any] = {
    "id": "msg_vrtx_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Grey."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 3},
}


def test_claude_is_told_its_version_in_the_body() -> None:
    body = json.loads(wire(SONNET, of=asked(stream=True)).body)
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert body["messages"] == [{"role": "user", "content": USER["content"]}]
    assert body["stream"] is True
    assert "model" not in body


def test_claude_answers() -> None:
    found = wire(SONNET)
    made = VERTEX.read(json.dumps(MESSAGE).encode(), found.reply)
    assert isinstance(made, Completion)
    assert made.choices[0].message.content == "Grey."
    assert (made.usage.prompt, made.usage.completion) == (9, 3)


def test_claude_streams() -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Grey."},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ]
    data = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    reader = VERTEX.stream(Chunks(), wire(SONNET, of=asked(stream=True)).reply)
    out = reader.feed(data.encode()) + reader.end()
    assert reader.finished
    assert b'"content":"Grey."' in out
    gemini = VERTEX.stream(Chunks(), wire(NEW, of=asked(stream=True)).reply)
    gemini.feed(stream(event(candidate({"text": "Wet."}, finish="STOP"))))
    assert gemini.finished


@pytest.mark.parametrize("format_", ["messages", "count_tokens"])
def test_claudes_own_formats_pass(format_: str) -> None:
    body = b'{"model":"flagship","max_tokens":9,"messages":[{"role":"user","content":"\\u00e9"}]}'
    request = replace(asked(), format=format_, stream=format_ == "messages")
    assert VERTEX.native(format_, at_vertex(SONNET))
    assert not VERTEX.native(format_, at_vertex(NEW))
    assert not VERTEX.native("chat", at_vertex(SONNET))
    assert VERTEX.lacks(request, at_vertex(SONNET)) is None
    found = VERTEX.write(request, body, at_vertex(SONNET))
    assert isinstance(found, Wire)
    assert b'"content":"\\u00e9"' in found.body
    tree = json.loads(found.body)
    assert tree["anthropic_version"] == "vertex-2023-10-16"
    if format_ == "messages":
        assert found.path == f"{CLAUDE}/{SONNET}:streamRawPredict"
        assert "model" not in tree
    else:
        assert found.path == f"{CLAUDE}/count-tokens:rawPredict"
        assert tree["model"] == SONNET


def test_what_claude_lacks_is_refused() -> None:
    refusal = VERTEX.lacks(asked(logprobs=True), at_vertex(SONNET))
    assert refusal is not None
    assert refusal.startswith("logprobs: ")


def test_errors_of_both() -> None:
    google = b'[{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}]'
    assert VERTEX.failure(429, {}, google).fault is Fault.RATE_LIMIT
    claude = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert VERTEX.failure(529, {}, claude).fault is Fault.OVERLOADED


def test_a_reply_of_gemini_is_not_read_as_claudes() -> None:
    with pytest.raises(Exception, match="without candidates"):
        VERTEX.read(json.dumps(MESSAGE).encode(), Reply())
