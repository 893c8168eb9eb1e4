import base64
from typing import Any

import pytest

from extproc.dialects.anthropic import Anthropic
from tests.unit.dialects.anthropic.sending import betas, sent
from tests.unit.dialects.level import Level
from tests.unit.dialects.samples import CALLS, USER, body

DATA = base64.b64encode(b"abc").decode()
CACHED = {"cache_control": {"type": "ephemeral"}}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def blocks(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    tree, warned = sent(user(*parts))
    assert warned == ()
    found: list[dict[str, Any]] = tree["messages"][0]["content"]
    return found


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_image_inline(kind: str) -> None:
    made = blocks(image(f"data:image/{kind};base64,{DATA}") | CACHED)
    source = {"type": "base64", "media_type": f"image/{kind}", "data": DATA}
    assert made == [{"type": "image", "source": source, **CACHED}]


def test_image_by_url() -> None:
    url = "https://example.com/cat.png?x=1"
    assert blocks(image(url)) == [{"type": "image", "source": {"type": "url", "url": url}}]


def test_image_that_is_not_base64_is_made_so() -> None:
    [made] = blocks(image("data:image/PNG,a%62c"))
    assert made["source"] == {"type": "base64", "media_type": "image/png", "data": DATA}


def test_detail_of_an_image_is_dropped_and_said() -> None:
    url = "https://example.com/cat.png"
    assert sent(user(image(url, detail="auto")))[1] == ()
    assert sent(user(image(url, detail="low")))[1] == ("image_url.detail",)


def test_images_and_files_in_a_result() -> None:
    parts = [
        {"type": "text", "text": "here"},
        image("https://example.com/cat.png"),
        file(file_data=f"data:application/pdf;base64,{DATA}", filename="a.pdf"),
    ]
    result = {"role": "tool", "tool_call_id": "call_1", "content": parts}
    tree, _ = sent({"messages": [USER, CALLS, result]})
    content = tree["messages"][-1]["content"][0]["content"]
    assert [one["type"] for one in content] == ["text", "image", "document"]


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (
            {"file_data": f"data:application/pdf;base64,{DATA}"},
            {"type": "base64", "media_type": "application/pdf", "data": DATA},
        ),
        (
            {"file_data": DATA, "filename": "A.PDF"},
            {"type": "base64", "media_type": "application/pdf", "data": DATA},
        ),
        (
            {"file_data": "https://example.com/a.pdf"},
            {"type": "url", "url": "https://example.com/a.pdf"},
        ),
        (
            {"file_url": "https://example.com/a.pdf"},
            {"type": "url", "url": "https://example.com/a.pdf"},
        ),
        (
            {"file_data": f"data:text/markdown;charset=utf-8;base64,{DATA}"},
            {"type": "text", "media_type": "text/plain", "data": "abc"},
        ),
        (
            {"file_data": "data:,a%20b"},
            {"type": "text", "media_type": "text/plain", "data": "a b"},
        ),
        (
            {"file_data": "data:application/json;base64,e30="},
            {"type": "text", "media_type": "text/plain", "data": "{}"},
        ),
    ],
)
def test_documents(given: dict[str, Any], source: dict[str, Any]) -> None:
    [made] = blocks(file(**given))
    title = {"title": given["filename"]} if "filename" in given else {}
    assert made == {"type": "document", "source": source, **title}


def test_document_that_is_to_be_cited_from() -> None:
    part = file(file_data=f"data:application/pdf;base64,{DATA}", filename="a.pdf") | CACHED
    [made] = blocks(part | {"citations": {"enabled": True}})
    assert made["title"] == "a.pdf"
    assert made["citations"] == {"enabled": True}
    assert made["cache_control"] == {"type": "ephemeral"}


def test_file_that_was_uploaded() -> None:
    fields = user(file(file_id="file_1"), file(file_id="file_2", filename="cat.PNG"))
    tree, _ = sent(fields)
    assert tree["messages"][0]["content"] == [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_2"}},
    ]
    assert betas(fields) == "files-api-2025-04-14"
    assert betas(user(image("https://example.com/cat.png"))) is None


def test_image_as_a_file() -> None:
    [made] = blocks(file(file_data=f"data:image/webp;base64,{DATA}"))
    assert made["type"] == "image"


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (
            image("data:image/tiff;base64,AA=="),
            "vision: Anthropic takes images as JPEG, PNG, GIF or WebP, not image/tiff",
        ),
        (image("data:image/png"), "files: a data: URL without data cannot be read"),
        (
            file(file_data="data:application/zip;base64,AA=="),
            "files: Anthropic takes PDF, text and images, not application/zip",
        ),
        (file(file_data="AA=="), "files: file_data that is no data: URL cannot be read"),
        (file(), "files: file_data that is no data: URL cannot be read"),
        (
            file(file_data="data:text/plain;base64,/w=="),
            "files: a text file that is not base64 of UTF-8 cannot be read",
        ),
        (
            file(file_data="data:text/plain;base64,x"),
            "files: a text file that is not base64 of UTF-8 cannot be read",
        ),
    ],
)
def test_what_is_no_source_is_refused(part: dict[str, Any], says: str) -> None:
    level = Level(Anthropic())
    assert level.lacks(body(**user(part))) == says
    result = {"role": "tool", "tool_call_id": "call_1", "content": [part]}
    assert level.lacks(body(messages=[USER, CALLS, result])) == says
