import json
from typing import Any

import pytest

from extproc.dialects import Wire
from tests.unit.dialects.gemini.samples import (
    INLINE,
    PIXEL,
    VERTEX,
    asked,
    at_vertex,
    check,
    lacks,
    sent,
    user,
)

FILES = "https://generativelanguage.googleapis.com/v1beta/files/abc-1"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def sound(format_: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": format_}}


def inline(kind: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": data}}


def by_uri(uri: str, kind: str | None = None) -> dict[str, Any]:
    return {"fileData": {"fileUri": uri, **({"mimeType": kind} if kind else {})}}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (image(f"data:image/png;base64,{PIXEL}"), INLINE),
        (image("data:image/webp;x=y;base64,AAAA"), inline("image/webp", "AAAA")),
        (image("data:image/svg+xml,%3Csvg/%3E"), inline("image/svg+xml", "PHN2Zy8+")),
        (
            image("https://example.com/Cat.PNG?w=1"),
            by_uri("https://example.com/Cat.PNG?w=1", "image/png"),
        ),
        (image("https://example.com/cat"), by_uri("https://example.com/cat")),
        (image("gs://bucket/cat.jpeg"), by_uri("gs://bucket/cat.jpeg", "image/jpeg")),
        (sound("wav"), inline("audio/wav", "UklGRg==")),
        (sound("mp3"), inline("audio/mp3", "UklGRg==")),
        (sound("FLAC"), inline("audio/flac", "UklGRg==")),
        (sound("pcm16"), inline("audio/l16;rate=24000", "UklGRg==")),
        (sound("amr"), inline("audio/amr", "UklGRg==")),
        (
            file(filename="a.pdf", file_data="data:application/pdf;base64,JVBERg=="),
            inline("application/pdf", "JVBERg=="),
        ),
        (file(filename="a.csv", file_data="YSxi"), inline("text/csv", "YSxi")),
        (file(file_data="JVBERg=="), inline("application/pdf", "JVBERg==")),
        (
            file(filename="a.mp4", file_data="data:application/octet-stream;base64,AAAA"),
            inline("video/mp4", "AAAA"),
        ),
        (file(file_data="data:,hi"), inline("text/plain", "aGk=")),
        (
            file(file_url="https://example.com/a.pdf"),
            by_uri("https://example.com/a.pdf", PDF := "application/pdf"),
        ),
        (
            file(file_data="https://example.com/x", filename="x.pdf"),
            by_uri("https://example.com/x", PDF),
        ),
        (file(file_url="https://youtu.be/x"), by_uri("https://youtu.be/x", "video/mp4")),
        (file(file_id="files/abc-1"), by_uri(FILES)),
        (file(file_id="files/abc-1", filename="a.mov"), by_uri(FILES, "video/mov")),
        (file(file_id=FILES), by_uri(FILES)),
        (file(file_id="gs://b/a.pdf"), by_uri("gs://b/a.pdf", PDF)),
    ],
)
def test_parts(part: dict[str, Any], expected: dict[str, Any]) -> None:
    text = {"type": "text", "text": "See:"}
    assert sent(messages=[user(text, part)])["contents"] == [
        {"parts": [{"text": "See:"}, expected], "role": "user"}
    ]


@pytest.mark.parametrize(
    ("part", "refusal"),
    [
        (image("ftp://example.com/a.png"), "vision: Gemini takes data:, https: and gs: URLs only"),
        (image("cat.png"), "vision: Gemini takes data:, https: and gs: URLs only"),
        (image("data:image/png;base64"), "vision: a data: URL without data"),
        (image("data:image/png;base64,"), "vision: a data: URL without data"),
        (image("https://[/a.png"), "vision: a URL that cannot be read"),
        (file(file_id="file-abc"), "files: 'file-abc' is no file of Gemini's"),
        (file(filename="a.pdf"), "files: a file part without file_data, file_id or file_url"),
    ],
)
def test_refusals(part: dict[str, Any], refusal: str) -> None:
    assert lacks(messages=[user(part)]) == refusal


def test_models_before_2_5_fetch_nothing() -> None:
    url = image("https://example.com/a.png")
    assert lacks("gemini-2.0-flash", messages=[user(url)]) == (
        "vision: gemini-2.0-flash takes no files by URL"
    )
    uploaded = [user(file(file_id="files/abc-1"), image("gs://a/b.png"))]
    assert lacks("gemini-2.0-flash", messages=uploaded) is None


def test_vertex_fetches_for_all_and_wants_a_type() -> None:
    content = [image("https://example.com/cat"), file(file_url="https://example.com/a.pdf")]
    found = VERTEX.write(asked(messages=[user(*content)]), b"", at_vertex("gemini-2.0-flash"))
    assert isinstance(found, Wire)
    tree = json.loads(found.body)
    check(tree)
    assert tree["contents"][0]["parts"] == [
        by_uri("https://example.com/cat", "image/jpeg"),
        by_uri("https://example.com/a.pdf", "application/pdf"),
    ]
    untold = asked(messages=[user(file(file_url="https://example.com/a"))])
    assert VERTEX.lacks(untold, at_vertex()) == (
        "files: Vertex AI needs a type, which the URL does not tell"
    )
    uploaded = asked(messages=[user(file(file_id="files/abc-1"))])
    assert VERTEX.lacks(uploaded, at_vertex()) == ("files: 'files/abc-1' is no file of Vertex AI's")
