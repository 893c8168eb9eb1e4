import json

import pytest

from extproc.dialects import BadAnswerError, Counted, Wire
from extproc.dialects.bedrock import Bedrock
from extproc.simulator import bedrock_request as wire
from tests.unit.dialects.bedrock.samples import CLAUDE, NOVA, PROFILE, level
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import USER, WEATHER, body


def test_paths() -> None:
    found = level(CLAUDE)
    path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
    assert found.request(body()).path == f"{path}/converse"
    assert found.request(body(stream=True)).path == f"{path}/converse-stream"
    assert found.request(body(), base_path="/proxy/").path == f"/proxy{path}/converse"
    assert level(PROFILE).request(body()).path == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
        "application-inference-profile%2Fabc123/converse"
    )
    assert Bedrock().stream_type == "application/vnd.amazon.eventstream"


def count(model: str) -> Wire | Counted:
    given = {"model": "m", "messages": [USER], "tools": [WEATHER], "max_tokens": 9, "stop": "x"}
    found = level(model)
    asked = found.format.decode(json.dumps(given).encode())
    return Bedrock().write_count(asked, found.target)


def test_tokens_are_counted_by_claude_itself() -> None:
    made = count(CLAUDE)
    assert isinstance(made, Wire)
    assert made.path == "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens"
    asked = wire.COUNT_BODY.decode(made.body).input.converse
    assert asked is not None
    assert asked.tool_config is not None
    assert asked.messages is not None
    assert made.reply.kind == "count_tokens"
    assert Bedrock().read(b'{"inputTokens": 9}', made.reply) == Counted(9)
    for wrong in (b"{}", b"[]", b"", b'{"inputTokens": "9"}', b'{"inputTokens": -4}'):
        with pytest.raises(BadAnswerError):
            Bedrock().read(wrong, made.reply)


@pytest.mark.parametrize("model", [NOVA, PROFILE])
def test_and_of_other_models_estimated(model: str) -> None:
    made = count(model)
    assert isinstance(made, Counted)
    assert made.estimated


def test_there_are_no_embeddings() -> None:
    said = Level(Bedrock(), model=NOVA)
    asked = Level(Bedrock(), "chat", model=NOVA).format.parse(body())
    assert said.dialect.lacks(asked, said.target) is None
    assert Bedrock().embeddings_refusal(asked, said.target) == "embeddings: Bedrock makes none"
