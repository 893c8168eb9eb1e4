"""Counting tokens: the same prompt, and a number."""

import json
from typing import Any

import pytest
from anthropic.types import MessageTokensCount

from extproc.dialects import BadAnswerError, Counted, formats
from extproc.dialects.clients.count_tokens import CountTokens
from extproc.errors import ClientError

FORMAT = CountTokens()
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x"}}


def body(**fields: Any) -> bytes:
    given = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], **fields}
    return json.dumps(given).encode()


@pytest.mark.parametrize("read", [FORMAT.parse, FORMAT.decode])
def test_both_filters_know_how_much_text_it_is(read: Any) -> None:
    request = read(body(system="Be brief."))
    assert request.text == (len("Hello?Be brief."), 0)
    assert request.messages == 2
    assert request.chat is not None
    assert (request.needs, request.stream) == (frozenset(), False)


def test_what_is_wrong_is_told_with_its_path() -> None:
    with pytest.raises(ClientError) as caught:
        FORMAT.parse(body(messages=[{"role": "user"}]))
    assert json.loads(FORMAT.error(caught.value)) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "messages.0.content: Field required",
        },
    }
    assert b"Field required" in FORMAT.error_event(caught.value, 0)


def test_what_only_claude_can_read_is_not_counted_elsewhere() -> None:
    tools = [{"type": "code_execution_20250825", "name": "code_execution"}]
    assert (FORMAT.parse(body(tools=tools)).native_only or "").startswith("hosted_tools: ")


def test_vision_is_not_needed_to_be_counted() -> None:
    request = FORMAT.parse(body(messages=[{"role": "user", "content": [IMAGE]}]))
    assert request.needs == frozenset()


def test_a_model_is_named_in_the_body() -> None:
    given = body()
    request = FORMAT.parse(given)
    assert FORMAT.forwarded(request, given, None) is None
    made = FORMAT.forwarded(request, given, "m-2")
    assert made is not None
    assert json.loads(made)["model"] == "m-2"


def test_the_answer_is_a_number() -> None:
    made = FORMAT.whole(Counted(17), FORMAT.decode(body()))
    assert MessageTokensCount.model_validate_json(made, strict=True).input_tokens == 17
    assert FORMAT.look(made) is False


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"input_tokens":"x"}',
        b'{"\xff":1,"input_tokens":3}',
        b'{"type":"error","error":{"type":"api_error","message":"no"}}',
    ],
)
def test_what_is_no_number(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        FORMAT.look(data)


def test_counts_are_not_streamed() -> None:
    with pytest.raises(NotImplementedError):
        FORMAT.writer(FORMAT.decode(body()))
    reader = FORMAT.watch()
    reader.feed(b'{"input_tokens":17}')
    reader.end()
    assert reader.failure is not None


def test_it_is_known() -> None:
    assert isinstance(formats()["count_tokens"], CountTokens)
