"""What the table of client formats in docs/dialects.md says of a plain request."""

import base64
import json
import struct
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import MessageTokensCount, RawMessageStreamEvent
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.dialects import Counted, Wire
from tests.unit.dialects.cells import DIALECTS as NAMES
from tests.unit.dialects.cells import Estimated, Native, Refused, Translated
from tests.unit.dialects.level import FORMATS, PLAIN, Level
from tests.unit.dialects.samples import DIALECTS, level, run
from tests.unit.dialects.table import FORMATS as HOW
from tests.unit.dialects.wire import WRITERS
from tests.unit.dialects.wire.said import Said, Used

WHOLE: dict[str, Any] = {
    "chat": TypeAdapter(ChatCompletion),
    "completions": TypeAdapter(Completion),
    "responses": TypeAdapter(Response),
    "messages": TypeAdapter(AnthropicMessage),
    "count_tokens": TypeAdapter(MessageTokensCount),
    "embeddings": TypeAdapter(CreateEmbeddingResponse),
}
EVENT: dict[str, Any] = {
    "chat": TypeAdapter(ChatCompletionChunk),
    # The SDK's type has the reason of every chunk, which OpenAI itself gives with the last alone.
    "completions": TypeAdapter(dict),
    "responses": TypeAdapter(ResponseStreamEvent),
    "messages": TypeAdapter(RawMessageStreamEvent),
}
EMBEDDER = {
    "gemini": "gemini-embedding-001",
    "vertex": "gemini-embedding-001",
    "cohere": "embed-v4.0",
}
VECTORS: dict[str, dict[str, Any]] = {
    "gemini": {"embeddings": [{"values": [0.5, -0.25]}]},
    "vertex": {
        "predictions": [{"embeddings": {"values": [0.5, -0.25], "statistics": {"token_count": 3}}}]
    },
    "cohere": {
        "id": "e",
        "embeddings": {"float": [[0.5, -0.25]]},
        "texts": ["hi"],
        "meta": {"billed_units": {"input_tokens": 3}},
        "response_type": "embeddings_by_type",
    },
}
COUNTS = {"gemini": {"totalTokens": 7}, "bedrock": {"inputTokens": 7}}
SAID = Said(text="Grey, 11 °C.", used=Used(60, 12, cached=30))


def plain(format_: str, **fields: Any) -> bytes:
    return json.dumps({**json.loads(PLAIN[format_]), **fields}).encode()


def there(format_: str, name: str, **fields: Any) -> Level:
    target = {"model": EMBEDDER[name]} if format_ == "embeddings" and name in EMBEDDER else {}
    if format_ == "completions" and name in ("openai", "azure"):
        target = {"model": "gpt-3.5-turbo-instruct"}
    return level(name, format_, plain(format_, **fields), **target)


def cases(*kinds: type) -> pytest.MarkDecorator:
    found = [
        (format_, name)
        for format_ in HOW
        for name in NAMES
        if isinstance(HOW[format_][name], kinds)
    ]
    return pytest.mark.parametrize(("format_", "name"), found)


@cases(Native)
def test_native(format_: str, name: str) -> None:
    at = there(format_, name)
    assert at.native
    assert at.lacks(plain(format_, odd=[1.0])) is None
    wire = at.request(plain(format_, odd=[1.0]))
    named = at.target.deployment or at.target.model
    assert json.loads(wire.body) == {**json.loads(PLAIN[format_]), "odd": [1.0], "model": named}
    assert wire.warnings == ()
    assert wire.path == at.dialect.endpoint(format_, at.target)


@cases(Refused)
def test_refused(format_: str, name: str) -> None:
    cell = HOW[format_][name]
    assert isinstance(cell, Refused)
    dialect, target = DIALECTS[name].dialect, DIALECTS[name].target
    assert dialect.lacks(FORMATS[format_].parse(PLAIN[format_]), target) == cell.text


@cases(Estimated)
def test_estimated(format_: str, name: str) -> None:
    at = there(format_, name)
    assert at.lacks(PLAIN[format_]) is None
    short = at.asked(PLAIN[format_])
    turn = {"role": "user", "content": "What is the weather? " * 50}
    long = at.asked(plain(format_, messages=[turn]))
    assert isinstance(short, Counted)
    assert isinstance(long, Counted)
    assert short.estimated
    assert 200 <= long.tokens - short.tokens <= 300
    WHOLE[format_].validate_json(at.format.whole(long, at.format.decode(PLAIN[format_])))


@cases(Translated)
def test_translated(format_: str, name: str) -> None:
    at = there(format_, name)
    assert not at.native
    assert at.lacks(PLAIN[format_]) is None
    wire = at.request(PLAIN[format_])
    assert isinstance(wire, Wire)
    assert wire.warnings == ()
    assert b"hi" in wire.body
    body = answer(format_, name)
    out = at.answer(body).body
    WHOLE[format_].validate_json(out)
    assert told(format_, json.loads(out))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format_", EVENT)
def test_streamed(format_: str, name: str) -> None:
    """Native ones pass, and the provider's own is what the client reads: only those translated
    are written here."""
    if isinstance(HOW[format_][name], Native):
        return
    at = there(format_, name, stream=True)
    got = run(at.stream(), WRITERS[name].stream(SAID))
    assert got.finished
    datas = [line[6:] for line in got.out.split(b"\n") if line.startswith(b"data: ")]
    datas = [one for one in datas if one != b"[DONE]"]
    for one in datas:
        EVENT[format_].validate_json(one)
    text = "".join(piece(format_, json.loads(one)) for one in datas)
    assert text == SAID.text


def answer(format_: str, name: str) -> bytes:
    if format_ == "embeddings":
        return json.dumps(VECTORS[name]).encode()
    if format_ == "count_tokens":
        return json.dumps(COUNTS.get(name, COUNTS["gemini"])).encode()
    made: bytes = WRITERS[name].whole(SAID)
    return made


def told(format_: str, tree: dict[str, Any]) -> bool:
    """The answer is that which was given."""
    match format_:
        case "chat":
            return bool(tree["choices"][0]["message"]["content"] == SAID.text)
        case "completions":
            return bool(tree["choices"][0]["text"] == SAID.text)
        case "responses":
            return bool(tree["output"][0]["content"][0]["text"] == SAID.text)
        case "messages":
            return bool(tree["content"][0]["text"] == SAID.text)
        case "count_tokens":
            return bool(tree == {"input_tokens": 7})
    [vector] = tree["data"]
    found = vector["embedding"]
    if isinstance(found, str):
        found = list(struct.unpack("<2f", base64.b64decode(found)))
    return bool(found == [0.5, -0.25])


def piece(format_: str, event: dict[str, Any]) -> str:
    """What an event adds to the text."""
    match format_:
        case "chat":
            found = [one["delta"].get("content") for one in event["choices"]]
        case "completions":
            found = [one["text"] for one in event["choices"]]
        case "responses":
            found = [event["delta"]] if event["type"] == "response.output_text.delta" else []
        case _:
            found = [event.get("delta", {}).get("text")]
    return "".join(one or "" for one in found)
