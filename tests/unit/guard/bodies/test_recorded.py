"""Bodies of recorded exchanges with real providers; skipped where there are none."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from extproc.dialects import formats
from extproc.errors import ClientError
from extproc.guard.bodies import Body, read_answer, read_request
from tests.unit.dialects.recorded.recordings import Exchange, load
from tests.unit.guard.bodies.looking import FORMATS, leaves, values

EXCHANGES = [one for one in load() if one.asked in FORMATS]
STRUCTURE = re.compile(
    r"(.*\.)?(type|id|role|name|object|model|models|status|phase|format|voice|effort|summary|mode|"
    r"context|finish_reason|native_finish_reason|stop_reason|service_tier|system_fingerprint|ranker|"
    r"tool_call_id|call_id|tool_use_id|tool_name|file_id|encoding_format|prompt_cache_retention|"
    r"truncation|verbosity|tool_choice|search_context_size|required|modalities|include|"
    r"vector_store_ids|\$ref|conversation|container|expires_at|inference_geo|"
    r"signature|encrypted_content|data|embedding)(\[\d+\])*"
)


def bodies() -> list[Any]:
    found = []
    for one in EXCHANGES:
        found.append(pytest.param(one, read_request, json.dumps(one.request).encode(), id=one.name))
        if one.status == 200 and not one.streamed:
            found.append(pytest.param(one, read_answer, one.response, id=f"{one.name}-answer"))
    return found


pytestmark = pytest.mark.skipif(not EXCHANGES, reason="no recorded exchanges here")


def is_seen(place: str, body: Body) -> bool:
    """It is a text, or read as a document."""
    return any(
        text.place == place or text.place.startswith((place + ".", place + "["))
        for text in body.texts
    )


@pytest.mark.parametrize(("one", "read", "data"), bodies())
def test_every_string_is_a_text_or_structure(one: Exchange, read: Any, data: bytes) -> None:
    body = read(data, one.asked)
    unseen = [
        (place, value[:40])
        for place, value in leaves(json.loads(data))
        if value not in {"", "{}"}
        and not STRUCTURE.fullmatch(place)
        and not place.startswith("usage.")
        and not is_seen(place, body)
    ]
    assert unseen == []


@pytest.mark.parametrize(("one", "read", "data"), bodies())
def test_writing(one: Exchange, read: Any, data: bytes) -> None:
    body = read(data, one.asked)
    assert body.written(values(body)) is data
    written = body.written([value.upper() for value in values(body)])
    again = read(written, one.asked)
    assert values(again) == [value.upper() for value in values(body)]


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in EXCHANGES])
def test_a_request_with_other_words_is_still_accepted(one: Exchange) -> None:
    client = formats()[one.asked]
    data = json.dumps(one.request).encode()
    try:
        client.parse(data)
    except ClientError:
        pytest.skip("not accepted as it is")
    body = read_request(data, one.asked)
    client.parse(body.written([f"<PERSON_1> {value}" for value in values(body)]))
