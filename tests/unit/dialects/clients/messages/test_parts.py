"""Images, documents and search results as parts of a chat message."""

import base64
from typing import Any

import pytest

from tests.unit.dialects.clients.messages.driver import CACHED, chat, decoded, text, user

PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def parts(*blocks: dict[str, Any]) -> list[Any]:
    content: Any = chat(user(text("See:"), *blocks)).messages[0].content
    return list(content[1:])


def native(*blocks: dict[str, Any]) -> str | None:
    return decoded(user(*blocks)).native_only


def test_images() -> None:
    (inline, linked) = parts(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://x/a.png"},
            "cache_control": CACHED,
        },
    )
    assert inline.image_url.url == "data:image/png;base64,aa"
    assert linked.image_url.url == "https://x/a.png"
    assert linked.cache_control == CACHED


def test_an_image_by_its_id_is_for_native_targets() -> None:
    block = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    assert (
        native(block) == "vision: only a target that speaks the Messages API has an image by its id"
    )


def test_how_an_image_is_scaled_is_dropped() -> None:
    block = {
        "type": "image",
        "source": {"type": "url", "url": "https://x"},
        "transformations": {"oversized_image": "error"},
    }
    assert decoded(user(block)).dropped == ("image.transformations",)


def test_pdfs() -> None:
    (named, plain) = parts(
        document(PDF, title="Report", citations={"enabled": True}, cache_control=CACHED),
        document(PDF, citations={"enabled": False}),
    )
    assert named.file.file_data == "data:application/pdf;base64,JVBE"
    assert named.file.filename == "Report"
    assert (named.citations, named.cache_control) == ({"enabled": True}, CACHED)
    assert (plain.file.filename, plain.citations) == ("document.pdf", None)


def test_documents_by_url_and_id_with_their_context() -> None:
    (linked, context, kept) = parts(
        document({"type": "url", "url": "https://x/a.pdf"}, title="A"),
        document({"type": "file", "file_id": "file_1"}, context="Old."),
    )
    assert (linked.file.file_url, linked.file.filename) == ("https://x/a.pdf", "A")
    assert context.text == "Old."
    assert kept.file.file_id == "file_1"


def test_a_text_is_text_unless_it_is_to_be_cited() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Gras ist grün."}
    (told, file) = parts(
        document(source, title="T", context="C", cache_control=CACHED),
        document(source, title="T", citations={"enabled": True}),
    )
    assert told.text == (
        "<document>\n<source>T</source>\n<context>C</context>\n"
        "<document_content>\nGras ist grün.\n</document_content>\n</document>"
    )
    assert told.cache_control == CACHED
    data = file.file.file_data.removeprefix("data:text/plain;base64,")
    assert base64.b64decode(data).decode() == "Gras ist grün."
    assert (file.file.filename, file.citations) == ("T", {"enabled": True})


def test_documents_in_blocks() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x"}}
    made = parts(
        document({"type": "content", "content": "One."}),
        document({"type": "content", "content": [text("One."), text("Two.")]}),
        document({"type": "content", "content": [text("One."), image]}, cache_control=CACHED),
    )
    assert [type(one).__name__ for one in made] == [
        "TextPart",
        "TextPart",
        "TextPart",
        "TextPart",
        "ImagePart",
        "TextPart",
    ]
    assert "One.\nTwo." in made[1].text
    assert made[-1].cache_control == CACHED


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (
            document({"type": "content", "content": "x"}, citations={"enabled": True}),
            "files: only a target that speaks the Messages API cites documents given in blocks",
        ),
        (
            document({"type": "content", "content": [{"type": "audio"}]}),
            "files: only a target that speaks the Messages API takes a audio in a document",
        ),
        (
            document({"type": "gopher"}),
            "files: only a target that speaks the Messages API knows the source gopher",
        ),
        (
            {
                "type": "search_result",
                "source": "s",
                "title": "t",
                "content": [text("x")],
                "citations": {"enabled": True},
            },
            "search_results: only a target that speaks the Messages API cites search results",
        ),
    ],
)
def test_what_only_native_targets_take(block: dict[str, Any], why: str) -> None:
    assert native(block) == why


def test_a_search_result_is_text() -> None:
    (part,) = parts(
        {
            "type": "search_result",
            "source": "https://x/?q=\u2603",
            "title": "T",
            "content": [text("One."), text("Two.")],
        }
    )
    assert part.text == (
        "<search_result>\n<title>T</title>\n<source>https://x/?q=\u2603</source>\n"
        "<content>\nOne.\nTwo.\n</content>\n</search_result>"
    )
