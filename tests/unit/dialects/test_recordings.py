"""Every recorded chat exchange with a real provider of one of our formats."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from google.genai import types
from pydantic import TypeAdapter

from extproc.dialects import chat
from tests.unit.dialects import recordings
from tests.unit.dialects.recordings import Exchange
from tests.unit.dialects.samples import DIALECTS, completion, drain, joined, run, usage

EXCHANGES = recordings.load()
ANSWERS = [one for one in EXCHANGES if one.status < 400 and not one.streamed]
STREAMS = [one for one in EXCHANGES if one.status < 400 and one.streamed]
ERRORS = [one for one in EXCHANGES if one.status >= 400]
REQUESTS = [one for one in EXCHANGES if one.dialect == "openai" and one.status < 400]
PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsBase)

pytestmark = pytest.mark.skipif(not EXCHANGES, reason="no recordings (TOLLGATE_CASES)")


def name(one: Exchange) -> str:
    return one.name


def test_there_are_recordings_of_every_dialect() -> None:
    counts = Counter((one.dialect, "streamed" if one.streamed else "whole") for one in EXCHANGES)
    print(*(f"{dialect} {mode}: {n}" for (dialect, mode), n in counts.items()), sep="\n")  # noqa: T201
    for dialect in DIALECTS:
        assert counts[dialect, "whole"]
        assert counts[dialect, "streamed"]


@pytest.mark.parametrize("one", ANSWERS, ids=name)
def test_answer_says_what_was_recorded(one: Exchange) -> None:
    answer = DIALECTS[one.dialect].answer(one.response)
    if one.dialect == "openai":
        assert answer.body == one.response
        return
    made = completion(answer)
    choice = made.choices[0]
    calls = [
        (call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
        if call.type == "function"
    ]
    expected = EXPECTED[one.dialect]([json.loads(one.response)])
    assert (choice.message.content or "", calls) == (expected.text, expected.calls)
    assert choice.finish_reason == expected.finish
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == expected.tokens


@pytest.mark.parametrize("one", STREAMS, ids=name)
def test_stream_says_what_was_recorded_however_it_is_cut(one: Exchange) -> None:
    dialect = DIALECTS[one.dialect]
    whole = run(dialect.stream(), one.response)
    singly = (one.response[at : at + 1] for at in range(len(one.response)))
    assert run(dialect.stream(), *singly) == whole
    step = max(1, len(one.response) // 400)
    for at in range(0, len(one.response), step):
        assert run(dialect.stream(), one.response[:at], one.response[at:]) == whole
    assert whole.content
    assert whole.finished or whole.failure
    if one.dialect == "openai":
        assert whole.out == one.response
        return
    chunks = whole.chunks()
    message = joined(chunks)
    expected = EXPECTED[one.dialect](events(one.response))
    calls = [(call["name"], json.loads(call["arguments"])) for call in message.calls]
    assert (message.text, calls, message.finish) == (
        expected.text,
        expected.calls,
        expected.finish,
    )
    found = usage(chunks)
    assert (found.prompt_tokens, found.completion_tokens) == expected.tokens


@pytest.mark.parametrize("one", ERRORS, ids=name)
def test_error_is_read(one: Exchange) -> None:
    found = DIALECTS[one.dialect].failure(one.status, one.headers, one.response)
    assert found.status == one.status
    assert found.message == json.loads(one.response)["error"]["message"].strip()


@pytest.mark.parametrize("one", REQUESTS, ids=name)
def test_request_is_taken_and_translates_or_is_refused(one: Exchange) -> None:
    given = json.dumps(one.request).encode()
    parsed = chat.parse(given)
    for dialect, model in (("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-pro")):
        if refusal := DIALECTS[dialect].lacks(parsed):
            assert refusal.partition(":")[0] in parsed.uses()
            continue
        made = DIALECTS[dialect].request(given, model, base_path=None, output_cap=None).body
        tree = json.loads(made)
        if dialect == "anthropic":
            drain(PARAMS.validate_python(tree))
        else:
            for content in tree["contents"]:
                types.Content.model_validate(content)


@dataclass
class Expected:
    """Read off the recording by the plainest means."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    finish: str | None = None
    tokens: tuple[int, int] = (0, 0)


def events(stream: bytes) -> list[dict[str, Any]]:
    lines = stream.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]


FINISH = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "pause_turn": "stop",
}


def anthropic(trees: list[dict[str, Any]]) -> Expected:
    found = Expected()
    counted: dict[str, int] = {}
    pieces: dict[int, tuple[str, str]] = {}
    if trees[0]["type"] == "message":
        trees = [{"type": "message_start", "message": trees[0]}]
    for tree in trees:
        kind = tree["type"]
        head = tree.get("message", {}) if kind == "message_start" else tree.get("delta", {})
        for block in head.get("content", []):
            if block["type"] == "text":
                found.text += block["text"]
            elif block["type"] == "tool_use":
                found.calls.append((block["name"], block["input"]))
        if kind == "content_block_start" and tree["content_block"]["type"] == "tool_use":
            pieces[tree["index"]] = (tree["content_block"]["name"], "")
        elif kind == "content_block_delta":
            found.text += head["text"] if head["type"] == "text_delta" else ""
            if head["type"] == "input_json_delta" and tree["index"] in pieces:
                called, so_far = pieces[tree["index"]]
                pieces[tree["index"]] = (called, so_far + head["partial_json"])
        if reason := head.get("stop_reason"):
            found.finish = FINISH[reason]
        reported = head.get("usage") or (tree.get("usage") if kind == "message_delta" else None)
        counted.update({k: v for k, v in (reported or {}).items() if isinstance(v, int)})
    found.calls += [(n, json.loads(text or "{}")) for n, text in pieces.values()]
    cached = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    found.tokens = (sum(counted.get(key, 0) for key in cached), counted["output_tokens"])
    return found


def gemini(trees: list[dict[str, Any]]) -> Expected:
    found = Expected()
    counted: dict[str, int] = {}
    reasons: list[str] = []
    for tree in trees:
        for candidate in tree.get("candidates", []):
            for part in candidate.get("content", {}).get("parts", []):
                if "functionCall" in part:
                    call = part["functionCall"]
                    found.calls.append((call["name"], call.get("args", {})))
                elif not part.get("thought"):
                    found.text += part.get("text", "")
            reasons.append(candidate.get("finishReason"))
        counted.update({k: v for k, v in tree["usageMetadata"].items() if isinstance(v, int)})
    kinds = {"STOP": "tool_calls" if found.calls else "stop", "MAX_TOKENS": "length"}
    found.finish = kinds.get(reasons[-1], "content_filter")
    written = counted.get("candidatesTokenCount", 0) + counted.get("thoughtsTokenCount", 0)
    found.tokens = (counted["promptTokenCount"], written)
    return found


EXPECTED = {"anthropic": anthropic, "gemini": gemini}
