import json
from typing import Any

import pytest
from msgspec.structs import replace

from extproc.dialects import Counted, Reply, Wire, load
from extproc.dialects.gemini.models import model_of
from tests.unit.dialects.gemini.samples import GEMINI, MODEL, USER, asked, check, target, turn
from tests.unit.dialects.samples import TIME


def path(model: str, *, stream: bool = False, **where: Any) -> str:
    found = GEMINI.write(asked(stream=stream), b"", target(model, **where))
    assert isinstance(found, Wire)
    return found.path


@pytest.mark.parametrize(
    ("model", "stream", "base", "expected"),
    [
        (MODEL, False, None, "/v1beta/models/gemini-2.5-pro:generateContent"),
        (MODEL, True, None, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (MODEL, False, "/v1/", "/v1/models/gemini-2.5-pro:generateContent"),
        ("tunedModels/x", False, None, "/v1beta/tunedModels/x:generateContent"),
        ("a b?c#d", False, None, "/v1beta/models/a%20b%3Fc%23d:generateContent"),
    ],
)
def test_path(model: str, stream: bool, base: str | None, expected: str) -> None:
    assert path(model, stream=stream, base_path=base) == expected


def test_it_is_among_the_dialects() -> None:
    assert load()["gemini"].stream_type == "text/event-stream"
    assert not GEMINI.native("chat", target())


def test_tokens_are_counted_of_the_whole_request() -> None:
    request = replace(
        asked(messages=[{"role": "system", "content": "Be brief."}, USER], tools=[TIME]),
        format="count_tokens",
    )
    assert GEMINI.lacks(request, target()) is None
    found = GEMINI.write(request, b"", target())
    assert isinstance(found, Wire)
    assert found.path == "/v1beta/models/gemini-2.5-pro:countTokens"
    inner = json.loads(found.body)["generateContentRequest"]
    assert inner.pop("model") == "models/gemini-2.5-pro"
    check(inner)
    assert inner["contents"] == [turn("user", USER["content"])]
    assert inner["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert inner["tools"] == [{"functionDeclarations": [{"name": "get_time"}]}]
    assert found.reply == Reply(kind="count_tokens")
    assert GEMINI.read(b'{"totalTokens":31}', found.reply) == Counted(31)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]},
        {"tools": [TIME], "web_search_options": {}},
        {"tools": [TIME], "response_format": {"type": "json_object"}},
    ],
)
def test_tokens_of_what_cannot_be_carried_are_estimated(fields: dict[str, Any]) -> None:
    found = GEMINI.write(replace(asked(**fields), format="count_tokens"), b"", target())
    assert isinstance(found, Counted)
    assert found.estimated


@pytest.mark.parametrize(
    ("name", "version", "pro", "lite"),
    [
        ("gemini-2.5-pro", (2, 5), True, False),
        ("models/gemini-2.5-flash-lite-preview-09-2025", (2, 5), False, True),
        ("gemini-3-pro-preview", (3, 0), True, False),
        ("gemini-3.1-pro-preview", (3, 1), True, False),
        ("gemini-4-argon", (4, 0), False, False),
        ("gemini-1.5-flash-8b", (1, 5), False, False),
        ("gemini-flash-latest", (999, 0), False, False),
        ("tunedModels/mine", (2, 5), False, False),
        ("gemini-30x", (2, 5), False, False),
    ],
)
def test_models_are_told_by_their_names(
    name: str, version: tuple[int, int], pro: bool, lite: bool
) -> None:
    found = model_of(name)
    assert (found.version, found.pro, found.lite) == (version, pro, lite)
