from pathlib import Path

import pytest

from extproc.simulator import Simulator
from extproc.simulator.replay import Library, load
from tests.unit.dialects.recorded.recordings import CASES
from tests.unit.simulator.talk import ANTHROPIC, OPENAI, Talk

VCR = """
interactions:
- request:
    headers: {content-type: [application/json]}
    method: POST
    parsed_body: {model: m, messages: [{role: user, content: one}]}
    uri: https://api.example.com/v1/messages?beta=true
  response:
    headers: {content-type: [application/json], request-id: [req_1], content-length: ['99']}
    parsed_body: {id: first}
    status: {code: 200, message: OK}
- request:
    headers: {content-type: [application/json]}
    method: POST
    parsed_body: {model: m, messages: [{role: user, content: two}]}
    uri: https://api.example.com/v1/messages
  response:
    body:
      string: "event: a\\ndata: {}\\n\\nevent: b\\ndata: {}\\n\\n"
    headers: {content-type: [text/event-stream], transfer-encoding: [chunked]}
    status: {code: 200, message: OK}
version: 1
"""
GO_VCR = """
version: 2
interactions:
- id: 0
  request:
    body: '{"messages": [], "model": "m"}'
    headers: {Content-Type: [application/json]}
    url: https://api.example.com/v1/chat/completions
    method: POST
  response:
    body: '{"error": {"message": "no"}}'
    headers: {Content-Type: [application/json]}
    status: 400 Bad Request
    code: 400
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(VCR)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "b.yml").write_text(GO_VCR)
    return tmp_path


async def test_matched_by_body_then_next_unplayed_then_simulated(folder: Path) -> None:
    async with Simulator({"local": 0}, replay=folder) as sim, Talk(sim) as talk:
        second = {"messages": [{"content": "two", "role": "user"}], "model": "m"}
        stream = await talk.send("local", ANTHROPIC, second)
        assert stream.body == b"event: a\ndata: {}\n\nevent: b\ndata: {}\n\n"
        assert stream.headers["x-sim-replay"] == "a.yaml#1"
        other = await talk.send("local", ANTHROPIC, {"anything": 1})
        assert other.json == {"id": "first"}
        assert other.headers["request-id"] == "req_1"
        again = await talk.send("local", ANTHROPIC, second)
        assert again.headers["x-sim-replay"] == "a.yaml#1"
        spent = await talk.send("local", ANTHROPIC, {"anything": 1})
        assert "x-sim-replay" not in spent.headers
        refused = await talk.send("local", OPENAI, {"model": "m", "messages": []})
        assert (refused.status, refused.json) == (400, {"error": {"message": "no"}})
        assert sim.requests()[0].replayed == "a.yaml#1"


async def test_scripts_misbehave_with_recordings_too(folder: Path) -> None:
    async with Simulator({"local": 0}, replay=folder) as sim, Talk(sim) as talk:
        second = {"messages": [{"content": "two", "role": "user"}], "model": "m"}
        heard = await talk.send("local", ANTHROPIC, second, script={"stop_early": 1})
        assert heard.body == b"event: a\ndata: {}\n\n"


def test_what_is_no_cassette_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path / "missing")
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match=r"x\.yaml: no cassette"):
        load(tmp_path)
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"x\.yaml"):
        load(tmp_path)


def published(name: str) -> Library:
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip("no folder of recordings (TOLLGATE_CASES)")
    return load(folder)


@pytest.mark.parametrize("name", ["pydantic__pydantic-ai", "envoyproxy__ai-gateway"])
def test_published_recordings_are_read(name: str) -> None:
    assert len(published(name)) > 10


async def test_a_published_recording_is_replayed_byte_for_byte() -> None:
    published("pydantic__pydantic-ai")
    folder = CASES / "pydantic__pydantic-ai"
    async with Simulator({"local": 0}, replay=folder) as sim, Talk(sim) as talk:
        heard = await talk.send("local", ANTHROPIC, {})
        assert heard.status in (200, 400)
        assert heard.body
