import json

import pytest

from extproc.dialects import ClientRequest, Counted, Reply, Wire
from extproc.dialects.anthropic import Anthropic
from extproc.dialects.anthropic.request import body_for_vertex, native_for_vertex
from extproc.dialects.chat import decode
from tests.unit.dialects.anthropic.sending import PARAMS
from tests.unit.dialects.level import policy
from tests.unit.dialects.samples import FEATURES, WEATHER, body, drain

ANTHROPIC = Anthropic()
TARGET = policy("anthropic", model="claude-sonnet-4-5")
NATIVE = (
    b'{"max_tokens": 9, "model":"flagship","x": 1.50, "messages":[{"role":"user","content":"hi"}]}'
)


@pytest.mark.parametrize(
    ("format_", "path"),
    [("messages", "/v1/messages"), ("count_tokens", "/v1/messages/count_tokens")],
)
def test_its_own_formats_pass(format_: str, path: str) -> None:
    request = ClientRequest(format=format_, model="flagship")
    assert ANTHROPIC.native(format_, TARGET)
    assert ANTHROPIC.lacks(request, TARGET) is None
    wire = ANTHROPIC.write(request, NATIVE, TARGET)
    assert isinstance(wire, Wire)
    assert wire.path == ANTHROPIC.endpoint(format_, TARGET) == path
    assert b"1.50" in wire.body
    assert json.loads(wire.body) == {**json.loads(NATIVE), "model": "claude-sonnet-4-5"}
    assert wire.headers == (("content-type", "application/json"),)
    assert wire.defaults == (("anthropic-version", "2023-06-01"),)
    assert wire.warnings == ()
    # The version may have to be set, so no body goes by unseen.
    assert not ANTHROPIC.ready(request, TARGET)


@pytest.mark.parametrize("format_", ["chat", "completions", "embeddings", "responses"])
def test_other_formats_are_translated(format_: str) -> None:
    assert not ANTHROPIC.native(format_, TARGET)


def test_a_count_of_tokens() -> None:
    read = ANTHROPIC.read(b'{"input_tokens": 2095}', Reply(kind="count_tokens"))
    assert read == Counted(2095)


def test_body_for_vertex() -> None:
    chat = decode(body(stream=True, tools=[WEATHER], **FEATURES["system"]))
    made = body_for_vertex(chat, "claude-sonnet-4-5", 100)
    tree = json.loads(made.body)
    assert tree.pop("anthropic_version") == "vertex-2023-10-16"
    assert "model" not in tree
    assert tree["stream"] is True
    drain(PARAMS.validate_python({**tree, "model": "m"}))


def test_native_body_for_vertex() -> None:
    tree = json.loads(native_for_vertex(NATIVE))
    assert tree.pop("anthropic_version") == "vertex-2023-10-16"
    expected = json.loads(NATIVE)
    del expected["model"]
    assert tree == expected
