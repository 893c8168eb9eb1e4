import json
from typing import Any

import pytest

from tests.unit.dialects.gemini.samples import candidate, event, message, run, stream

A = {"web": {"uri": "https://a.example", "title": "a"}}
B = {"retrievedContext": {"uri": "gs://b", "title": "b"}}
C = {"maps": {"uri": "https://maps.example"}}


def support(start: int, end: int, *chunks: int, text: str = "", **more: Any) -> dict[str, Any]:
    segment = {"startIndex": start, "endIndex": end, "text": text, **more}
    return {"segment": segment, "groundingChunkIndices": list(chunks)}


def grounded(*supports: dict[str, Any], chunks: Any = (A, B, C)) -> dict[str, Any]:
    return {
        "groundingMetadata": {"groundingChunks": list(chunks), "groundingSupports": list(supports)}
    }


def cited(*texts: str, **metadata: Any) -> list[tuple[int, int, str]]:
    """Annotations of a whole answer, which those of a stream must equal."""
    parts = [{"text": text} for text in texts]
    found = message(*parts, **metadata).get("annotations") or []
    pieces = [event(candidate(part)) for part in parts]
    last = event(candidate({"text": ""}, finish="STOP", **metadata))
    assert run(stream(*pieces, last)).message().annotations == found
    return [spot(one) for one in found]


def spot(annotation: dict[str, Any]) -> tuple[int, int, str]:
    assert annotation["type"] == "url_citation"
    found = annotation["url_citation"]
    assert isinstance(found["title"], str)
    return found["start_index"], found["end_index"], found["url"]


def test_bytes_become_characters() -> None:
    text = "Grüße 🌧 aus Köln."
    wet = len("Grüße 🌧".encode())
    found = cited(text, **grounded(support(0, wet, 0, 1), support(wet + 1, len(text.encode()), 2)))
    assert found == [
        (0, 7, "https://a.example"),
        (0, 7, "gs://b"),
        (8, len(text), "https://maps.example"),
    ]


def test_a_segment_is_told_by_its_text_where_its_offsets_are_of_a_part() -> None:
    one = support(0, 4, 0, text="wet.", partIndex=1)
    other = support(0, 4, 0, text="wet.")
    assert cited("Grü: ", "wet.", **grounded(one)) == [(5, 9, "https://a.example")]
    assert cited("Grü: ", "wet.", **grounded(other)) == [(5, 9, "https://a.example")]


def test_parts_count_without_thoughts() -> None:
    metadata = grounded(support(0, 3, 0, partIndex=2))
    parts = ({"text": "Hm, hm.", "thought": True}, {"text": "Now: "}, {"text": "wet"})
    assert [spot(one) for one in message(*parts, **metadata)["annotations"]] == [
        (5, 8, "https://a.example")
    ]


def test_offsets_beyond_the_text_end_with_it() -> None:
    assert cited("Wet.", **grounded(support(2, 99, 0), support(50, 60, 1), support(-3, 2, 2))) == [
        (2, 4, "https://a.example"),
        (4, 4, "gs://b"),
        (0, 2, "https://maps.example"),
    ]


def test_sources_of_nothing_in_particular_are_of_everything() -> None:
    assert cited("Wet.", **grounded()) == [
        (0, 4, "https://a.example"),
        (0, 4, "gs://b"),
        (0, 4, "https://maps.example"),
    ]


@pytest.mark.parametrize("name", ["citations", "citationSources"])
def test_citations(name: str) -> None:
    one = {"startIndex": 3, "endIndex": 9, "uri": "https://c.example", "license": "mit"}
    body = candidate({"text": "ü: wet…"}, finish="STOP", citationMetadata={name: [one, {}]})
    found = run(stream({"candidates": [body]})).message().annotations
    assert [spot(one) for one in found] == [(2, 7, "https://c.example")]


def test_pages_that_were_read() -> None:
    read = {"retrievedUrl": "https://d.example", "urlRetrievalStatus": SUCCESS}
    failed = {
        "retrievedUrl": "https://e.example",
        "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR",
    }
    again = {"retrievedUrl": "https://a.example", "urlRetrievalStatus": SUCCESS}
    context = {"urlContextMetadata": {"urlMetadata": [read, failed, again]}}
    assert cited("Wet.", **context, **grounded(support(0, 4, 0))) == [
        (0, 4, "https://a.example"),
        (0, 4, "https://d.example"),
    ]


SUCCESS = "URL_RETRIEVAL_STATUS_SUCCESS"


@pytest.mark.parametrize(
    "odd",
    [
        {"groundingMetadata": {}},
        {"groundingMetadata": None},
        {"groundingMetadata": {"groundingChunks": 5}},
        {"groundingMetadata": {"groundingSupports": [{"segment": None}]}},
        {"groundingMetadata": {"groundingChunks": [{}], "groundingSupports": [{}]}},
        {
            "groundingMetadata": {
                "groundingChunks": [A],
                "groundingSupports": [{"segment": {}, "groundingChunkIndices": [7, -1]}],
            }
        },
        {"citationMetadata": {"citations": "x"}},
        {"urlContextMetadata": []},
    ],
)
def test_metadata_that_says_nothing_spoils_nothing(odd: dict[str, Any]) -> None:
    one = {"content": {"parts": [{"text": "Wet."}]}, "finishReason": "STOP", **odd}
    got = run(stream({"candidates": [one]}))
    assert got.message().text == "Wet."
    assert got.message().annotations == []
    assert got.finished


def test_many_sources_cost_no_more_than_they_are_long() -> None:
    text = "ü wet. " * 20_000
    supports = [support(n * 8, n * 8 + 8, 0, text="ü wet. ") for n in range(1000)]
    one = candidate({"text": text}, finish="STOP", **grounded(*supports))
    found = run(stream({"candidates": [one]})).message().annotations
    assert len(json.dumps(found)) > 1000
    assert spot(found[-1]) == (999 * 7, 1000 * 7, "https://a.example")
