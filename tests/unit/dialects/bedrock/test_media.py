import base64
from typing import Any

import pytest

from tests.unit.dialects.bedrock.samples import CLAUDE, NOVA, lacks, sent, text, user

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def file(url: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    found = {"file_data": url, "filename": name}
    given = {key: value for key, value in found.items() if value is not None}
    return {"type": "file", "file": given, **more}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def blocks(*parts: dict[str, Any], model: str = CLAUDE) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = sent(model, messages=user(*parts))[0]["messages"][0]["content"]
    return content


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_images_inline(kind: str) -> None:
    [found] = blocks(image(f"data:image/{kind};base64,YQ=="))
    assert found == {"image": {"format": kind, "source": {"bytes": "YQ=="}}}


def test_images_in_s3() -> None:
    [found] = blocks(image("s3://bucket/a/cat.JPG"), model=NOVA)
    source = {"s3Location": {"uri": "s3://bucket/a/cat.JPG"}}
    assert found == {"image": {"format": "jpeg", "source": source}}


@pytest.mark.parametrize(
    ("media_type", "format_"),
    [
        ("application/pdf", "pdf"),
        ("text/csv", "csv"),
        ("application/msword", "doc"),
        (WORD, "docx"),
        ("application/vnd.ms-excel", "xls"),
        (EXCEL, "xlsx"),
        ("text/html", "html"),
        ("text/markdown", "md"),
        ("text/plain", "txt"),
        ("text/x-python", "txt"),
        ("application/json", "txt"),
    ],
)
def test_documents(media_type: str, format_: str) -> None:
    part = file(f"data:{media_type};base64,YQ==", "My report_(1).x  y")
    document = {
        "format": format_,
        "source": {"bytes": "YQ=="},
        "name": "My report (1) x y 1",
    }
    assert blocks(text("q"), part) == [{"text": "q"}, {"document": document}]


def test_a_document_by_its_name_alone() -> None:
    data = base64.b64encode(b"a;b").decode()
    found = blocks(
        text("q"), file(data, "x.CSV"), file(f"data:application/octet-stream,{data}", "b.md")
    )
    assert [one["document"]["format"] for one in found[1:]] == ["csv", "md"]


def test_a_document_needs_a_text_beside_it() -> None:
    found = blocks(file("data:text/plain,a%20b"))
    assert found[0] == {"text": "."}
    assert found[1]["document"]["source"] == {"bytes": base64.b64encode(b"a b").decode()}


def test_no_two_documents_have_one_name() -> None:
    part = file("data:text/plain,a", "a.txt")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        *user(text("q"), part, part),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [text("see"), part, IMAGE]},
        {"role": "user", "content": [text("r"), part]},
    ]
    tree, _ = sent(messages=messages)
    [result] = [one["toolResult"] for one in tree["messages"][2]["content"] if "toolResult" in one]
    assert result["content"][0] == {"text": "see"}
    assert result["content"][2]["image"]["format"] == "png"
    found = [*tree["messages"][0]["content"], *result["content"], *tree["messages"][2]["content"]]
    names = [one["document"]["name"] for one in found if "document" in one]
    assert names == ["a txt 1", "a txt 2", "a txt 3", "a txt 4"]


IMAGE = image("data:image/png;base64,YQ==")


def test_citations_are_asked_for() -> None:
    part = file("data:application/pdf;base64,YQ==", "a.pdf", citations={"enabled": True})
    assert blocks(text("q"), part)[1]["document"]["citations"] == {"enabled": True}


def test_images_and_films_as_files() -> None:
    assert "image" in blocks(file("data:image/png;base64,YQ=="))[0]
    film = {"video": {"format": "mp4", "source": {"bytes": "YQ=="}}}
    assert blocks(text("q"), file("data:video/mp4;base64,YQ=="), model=NOVA)[1] == film
    found = blocks(text("q"), file("s3://bucket/film.mov"), model=NOVA)[1]
    assert found["video"]["source"] == {"s3Location": {"uri": "s3://bucket/film.mov"}}


def test_speech() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}
    for model in ("mistral.voxtral-mini-3b-2507", "us.amazon.nova-2-omni-v1:0"):
        [found] = blocks(part, model=model)
        assert found == {"audio": {"format": "wav", "source": {"bytes": "YQ=="}}}
    assert lacks(NOVA, messages=user(part)) == "audio: this model of Bedrock does not hear"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            image("https://e.com/a.png"),
            "vision: Bedrock takes what is inline or in S3, not by URL",
        ),
        (
            file("https://e.com/a.pdf"),
            "files: Bedrock takes what is inline or in S3, not by URL",
        ),
        (image("s3://bucket/cat"), "vision: the address in S3 does not end in a known file type"),
        (
            image("data:image/bmp;base64,YQ=="),
            "vision: Bedrock takes images as JPEG, PNG, GIF or WebP, not image/bmp",
        ),
        (
            file("data:application/zip;base64,YQ=="),
            (
                "files: Bedrock takes PDF, Word, Excel, CSV, HTML, Markdown, text, images, "
                "sound and film, not application/zip"
            ),
        ),
        (file("YQ=="), "files: file_data that is no data: URL cannot be read"),
        (file("data:text/plain"), "files: a data: URL without data cannot be read"),
        ({"type": "file", "file": {"file_id": "f"}}, "files: Bedrock keeps no files"),
        (
            {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "amr"}},
            "audio: Bedrock takes no sound of the format amr",
        ),
    ],
)
def test_what_is_refused(part: dict[str, Any], said: str) -> None:
    assert lacks("mistral.voxtral-mini-3b-2507", messages=user(part)) == said
