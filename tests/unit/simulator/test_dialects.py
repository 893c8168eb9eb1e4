"""What holds for every dialect: its count of content events, and each fault of a script."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from extproc.simulator import Simulator
from extproc.simulator.anthropic import Anthropic
from extproc.simulator.bedrock import Bedrock
from extproc.simulator.chat import KINDS, Dialect
from extproc.simulator.cohere import Cohere
from extproc.simulator.gemini import Gemini
from extproc.simulator.generate import Model
from extproc.simulator.script import parse
from extproc.simulator.vertex import Vertex, VertexClaude
from tests.unit.simulator.talk import Talk

USER: Any = {"role": "user", "content": "search and use f"}
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
PARTS: Any = {"contents": [{"role": "user", "parts": [{"text": "use f"}]}]}
CLAUDE: Any = {"max_tokens": 3000, "messages": [USER], "stream": True}
THINK: Any = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
SPOKEN: Any = {"messages": [{"role": "user", "content": [{"text": "use f"}]}]}
ON_VERTEX = "/v1/projects/p/locations/l/publishers"
DECLARED: Any = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}
DOCUMENT: Any = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
    "citations": {"enabled": True},
}

# dialect, path, body
STREAMS: list[tuple[Dialect, str, Any]] = [
    (Anthropic(), "/v1/messages", {"model": "claude-haiku-4-5", **CLAUDE, **THINK}),
    (
        Anthropic(),
        "/v1/messages",
        {
            "model": "claude-haiku-4-5",
            **CLAUDE,
            "tools": [
                {"name": "f", "input_schema": SCHEMA},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
        },
    ),
    (
        Anthropic(),
        "/v1/messages",
        {
            "model": "claude-sonnet-5",
            **CLAUDE,
            "messages": [{"role": "user", "content": [DOCUMENT, {"type": "text", "text": "x"}]}],
        },
    ),
    (
        VertexClaude(),
        f"{ON_VERTEX}/anthropic/models/claude-haiku-4-5:streamRawPredict",
        {"anthropic_version": "vertex-2023-10-16", **CLAUDE},
    ),
    (Gemini(), "/v1beta/models/gemini-2.5-pro:streamGenerateContent", PARTS),
    (
        Vertex(),
        f"{ON_VERTEX}/google/models/gemini-3-flash-preview:streamGenerateContent",
        {**PARTS, "tools": [DECLARED], "generationConfig": {"candidateCount": 2}},
    ),
    (Bedrock(), "/model/amazon.nova-lite-v1%3A0/converse-stream", SPOKEN),
    (
        Bedrock(),
        "/model/anthropic.claude-haiku-4-5/converse-stream",
        {
            **SPOKEN,
            "additionalModelRequestFields": THINK,
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]},
        },
    ),
    (
        Cohere(),
        "/v2/chat",
        {
            "model": "command-a-reasoning-08-2025",
            "messages": [USER],
            "stream": True,
            "documents": ["x"],
        },
    ),
    (
        Cohere(),
        "/v2/chat",
        {
            "model": "command-a-03-2025",
            "messages": [USER],
            "stream": True,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        },
    ),
]
SCRIPTS: list[Any] = [
    {},
    {"text": "one two three"},
    {"events": 0},
    {"thinking": "hm hm", "text": "x"},
    {"tools": [{"name": "g", "arguments": "no json"}, {"name": "h", "arguments": {}}]},
    {"finish": "content_filter"},
    {"finish": "prompt_blocked"},
    {"usage": "none"},
]
HEADERS = {
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
    "authorization": "Bearer key",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
@pytest.mark.parametrize("case", range(len(STREAMS)))
def test_the_content_events_are_as_many_as_said(case: int, script: Any) -> None:
    dialect, path, body = STREAMS[case]
    ask = dialect.parse(msgspec.json.encode(body), HEADERS, path, "alt=sse", hosted=True)
    one = parse(script, "k").scripts("", "")
    assert one is not None
    reply = Model(1).reply(ask, one[0])
    sent = [content for _, content in dialect.frames(ask, reply)]
    assert sum(sent) == dialect.content_events(ask, reply)
    assert dialect.answer(ask, reply)


ERRORS: list[Dialect] = [Anthropic(), Gemini(), Vertex(), VertexClaude(), Bedrock(), Cohere()]


@pytest.mark.parametrize("dialect", ERRORS, ids=lambda one: one.name)
@pytest.mark.parametrize("kind", KINDS)
def test_there_are_words_for_every_kind_of_error(dialect: Dialect, kind: str) -> None:
    failure = dialect.error(kind, message="said", retry_after=2.0)
    assert failure.status >= 400
    assert b"said" in failure.body
    assert b"said" in dialect.error_event(failure)
    assert dialect.error(kind, status=418).status == 418


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator({"bedrock": 0, "cohere": 0, "vertex": 0}) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("port", "case"), [("vertex", 3), ("vertex", 5), ("bedrock", 6), ("cohere", 8)]
)
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ({"stop_early": 2}, "cut"),
        ({"error_at": 1, "error": "overloaded"}, "error"),
        ({"first_event_error": True}, "error"),
        ({"reset": 1}, "reset"),
        ({"garbage": "truncated_json"}, "cut"),
        ({"garbage": "html"}, "cut"),
        ({"comment_first": True, "slow_bytes": 40, "slow_delay": 0}, "whole"),
    ],
    ids=str,
)
async def test_scripts_break_streams(
    talk: Talk, port: str, case: int, script: Any, outcome: str
) -> None:
    _, path, body = STREAMS[case]
    heard = await talk.send(port, f"{path}?alt=sse", body, script=script, headers=HEADERS)
    record = await talk.ended(port)
    assert (heard.status, record.outcome) == (200, outcome)
    assert (heard.broken is not None) == (outcome == "reset")


async def test_another_dialects_request_is_none_of_these(talk: Talk) -> None:
    for port, path in (
        ("vertex", f"{ON_VERTEX}/google/models/gemini-2.5-flash:batchEmbedContents"),
        ("vertex", f"{ON_VERTEX}/meta/models/llama:rawPredict"),
        ("bedrock", "/model/anthropic.claude-haiku-4-5/invoke"),
        ("cohere", "/v2/rerank"),
    ):
        heard = await talk.send(port, path, {}, headers=HEADERS)
        assert heard.status == 404, path
