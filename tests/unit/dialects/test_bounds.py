"""The bound on a request's input tokens."""

import base64
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import bounds
from extproc.dialects.bounds import DOCUMENT, IMAGE, MESSAGE, REQUEST, SPELLED, TOOLS
from tests.unit.dialects.level import FORMATS

PIXELS = base64.b64encode(bytes(300_000)).decode()
PNG = f"data:image/png;base64,{PIXELS}"
LINK = "https://example.com/a"
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
HERE = {"type": "text", "text": "hi"}
BASE: dict[str, dict[str, Any]] = {
    "chat": {"model": "m"},
    "responses": {"model": "m"},
    "messages": {"model": "m", "max_tokens": 9},
    "count_tokens": {"model": "m"},
    "completions": {"model": "m", "prompt": "hi"},
    "embeddings": {"model": "m", "input": "hi"},
}


def encoded(format_: str, **fields: Any) -> bytes:
    return json.dumps({**BASE[format_], **fields}, ensure_ascii=False).encode()


def bound(format_: str, **fields: Any) -> int | None:
    given = encoded(format_, **fields)
    return FORMATS[format_].parse(given).bound(given)


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def said(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def claude(*tools: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "tools": list(tools), **fields}


@pytest.mark.parametrize(
    ("format_", "fields", "beside"),
    [
        ("chat", {"messages": [{"role": "user", "content": "hi"}]}, MESSAGE),
        ("messages", {"messages": [{"role": "user", "content": "hi"}]}, MESSAGE),
        ("count_tokens", {"messages": [{"role": "user", "content": "hi"}]}, MESSAGE),
        ("responses", {"input": "hi"}, MESSAGE),
        ("completions", {}, MESSAGE),
        ("completions", {"prompt": ["a", "b"]}, 2 * MESSAGE),
        ("completions", {"prompt": [[1, 2], [3]]}, 2 * MESSAGE),
        ("embeddings", {"input": ["a", "b"]}, 2 * MESSAGE),
        ("chat", user(HERE, HERE), 3 * MESSAGE),
        ("messages", user({"type": "document", "source": {
            "type": "text", "media_type": "text/plain", "data": "hi"}}), MESSAGE + DOCUMENT),
    ],
)  # fmt: skip
def test_text_is_bounded_by_the_length_of_the_body(
    format_: str, fields: dict[str, Any], beside: int
) -> None:
    assert bound(format_, **fields) == len(encoded(format_, **fields)) + REQUEST + beside


def test_tools_and_schemas_are_written_out() -> None:
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    length = len(encoded("chat", **asked, tools=[FUNCTION]))
    spelled = (SPELLED - 1) * len(json.dumps([FUNCTION], separators=(",", ":")))
    expected = length + REQUEST + MESSAGE + TOOLS + MESSAGE + spelled
    assert bound("chat", **asked, tools=[FUNCTION]) == expected


@pytest.mark.parametrize(
    ("format_", "fields"),
    [
        ("chat", user({"type": "image_url", "image_url": {"url": PNG}})),
        ("messages", user({"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": PIXELS}})),
        ("responses", said({"type": "input_image", "image_url": PNG})),
        ("messages", user({"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "image", "source": {
                "type": "base64", "media_type": "image/png", "data": PIXELS}}]})),
    ],
)  # fmt: skip
def test_an_image_costs_what_images_do_and_not_its_base64(
    format_: str, fields: dict[str, Any]
) -> None:
    found = bound(format_, **fields)
    assert found is not None
    assert IMAGE < found < IMAGE + REQUEST + 500


def test_a_file_of_text_is_text() -> None:
    data = "data:text/plain;base64," + base64.b64encode(b"x" * 30).decode()
    for format_, fields in (
        ("chat", user({"type": "file", "file": {"file_data": data, "filename": "a"}})),
        ("responses", said({"type": "input_file", "file_data": data})),
    ):
        assert (bound(format_, **fields) or 0) > len(encoded(format_, **fields))


PDF = "data:application/pdf;base64,JVBERi0="
SOURCE = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


@pytest.mark.parametrize(
    "fields",
    [
        user({"type": "image_url", "image_url": {"url": LINK}}),
        user({"type": "image_url", "image_url": {"url": "data:video/mp4;base64,AA=="}}),
        user({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
        user({"type": "file", "file": {"file_id": "file-1"}}),
        user({"type": "file", "file": {"file_url": LINK}}),
        user({"type": "file", "file": {"file_data": PDF}}),
        user({"type": "file", "file": {"file_data": LINK}}),
        {**user(HERE), "web_search_options": {}, "x": 1, "y": {}},
        {**user(HERE), "web_search_options": {"search_context_size": "low"}},
        {**user(HERE), "prediction": {"type": "content", "content": "x"}},
        {**user(HERE), "plugins": [{"id": "web"}]},
        {**user(HERE), "enable_search": True},
        {**user(HERE), "tools": [{"type": "openrouter:web_search"}]},
        {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
        {"messages": [{"role": "assistant", "content": "x", "images": [{"image_url": LINK}]}]},
        {"messages": [{"role": "assistant", "content": "x", "images": [{}]}]},
    ],
)
def test_chats_that_nobody_can_bound(fields: dict[str, Any]) -> None:
    assert bound("chat", **fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        user({"type": "image", "source": {"type": "url", "url": LINK}}),
        user({"type": "image", "source": {"type": "file", "file_id": "f"}}),
        user({"type": "document", "source": SOURCE}),
        user({"type": "document", "source": {"type": "url", "url": LINK}}),
        user({"type": "container_upload", "file_id": "f"}),
        user({"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "image", "source": {"type": "url", "url": LINK}}]}),
        claude({"type": "web_search_20250305", "name": "web_search"}),
        claude({"type": "bash_20250124", "name": "bash"}),
        claude(mcp_servers=[{"type": "url", "url": LINK, "name": "x"}]),
        claude(context_management={"edits": [{"type": "compact_20260112"}]}),
        claude(container="c"),
        claude(brand_new={"a": 1}),
    ],
)  # fmt: skip
def test_messages_that_nobody_can_bound(fields: dict[str, Any]) -> None:
    assert bound("messages", **fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "x", "previous_response_id": "r"},
        {"input": "x", "conversation": "c"},
        {"input": "x", "prompt": {"id": "p"}},
        {"input": [{"type": "item_reference", "id": "i"}]},
        {"input": "x", "tools": [{"type": "web_search"}]},
        {"input": "x", "tools": [{"type": "mcp", "server_label": "a", "server_url": LINK}]},
        said({"type": "input_image", "image_url": LINK}),
        said({"type": "input_image", "file_id": "f"}),
        said({"type": "input_file", "file_url": LINK}),
        said({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}),
        {"input": [{"type": "web_search_call", "id": "w", "status": "completed"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [
            {"type": "input_image", "image_url": LINK}]}]},
        {"input": "x", "brand_new": "a"},
    ],
)  # fmt: skip
def test_responses_that_nobody_can_bound(fields: dict[str, Any]) -> None:
    assert bound("responses", **fields) is None


def test_fields_that_are_numbers_bring_nothing_in() -> None:
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    assert bound("chat", **asked, min_p=0.1, repetition_penalty=2, gone=None) is not None
    assert bound("completions", suffix="x", min_p=0.1) is not None
    assert bound("completions", grounding={"search": True}) is None


@pytest.mark.parametrize("text", ["\ufdfa" * 50, "\U0001d160" * 50, "e\u0301" * 50])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_tokenizers_that_normalize_may_make_text_longer(text: str, ascii_only: bool) -> None:
    given = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=ascii_only
    ).encode()
    found = FORMATS["chat"].parse(given).bound(given)
    assert found is not None
    for form in ("NFC", "NFKC"):
        assert found >= len(unicodedata.normalize(form, text).encode()) + REQUEST


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.lists(st.dictionaries(TEXT, st.integers() | TEXT, max_size=3), max_size=2),
    st.booleans(),
)
def test_no_text_is_longer_than_its_bound(
    texts: list[str], schemas: list[dict[str, Any]], ascii_only: bool
) -> None:
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": schema}} for schema in schemas
    ]
    asked: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": text} for text in texts],
    }
    if tools:
        asked["tools"] = tools
    given_ = json.dumps(asked, ensure_ascii=ascii_only).encode()
    request = FORMATS["chat"].parse(given_)
    found = request.bound(given_)
    spelled = json.dumps(tools, indent=4) if tools else ""
    length = sum(len(unicodedata.normalize("NFKC", text).encode()) for text in texts)
    assert found is not None
    assert found >= length + len(spelled.split()) + 12 * len(texts)
    assert found >= 3 * sum(request.text) / 4


def test_every_format_has_one() -> None:
    assert set(bounds._READERS) == set(FORMATS)
