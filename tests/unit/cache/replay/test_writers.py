"""Streams as the gateway's own translations write them, folded into what they write whole."""

from __future__ import annotations

import json
from typing import Any

from extproc.cache.replay import fold
from extproc.dialects.chat.completion import Usage, Writer
from extproc.dialects.clients.chat import Chat
from extproc.dialects.clients.completions import Completions
from tests.unit.dialects.clients.messages import driver as messages
from tests.unit.dialects.clients.responses import driver as responses

USAGE = Usage(prompt=20, completion=7)
CHAT = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
COMPLETION = b'{"model":"m","prompt":"Hi"}'
ARGUMENTS = '{"city":"Paris","days":1.0}'


def said(writer: Writer, *, call: bool, thought: bool = True) -> bytes:
    """An answer with thinking, text and a call, in pieces."""
    lit = messages.lit
    written = [writer.start("chatcmpl-a-1", 1_700_000_000, "m-1"), writer.choice()]
    if thought:
        written += [writer.reasoning(lit("Let me ")), writer.reasoning(lit("see."))]
    written += [writer.text(lit("It is ")), writer.text(lit("Paris."))]
    if call:
        written += [
            writer.call(0, messages.call("call_1", "get_weather", "")),
            writer.arguments(0, lit(ARGUMENTS[:9])),
            writer.arguments(0, lit(ARGUMENTS[9:])),
        ]
    finish = "tool_calls" if call else "stop"
    written += [writer.finish(finish), writer.usage(USAGE), writer.done()]
    return b"".join(written)


def whole(call: bool) -> Any:
    more: dict[str, Any] = {}
    if call:
        more["tool_calls"] = [messages.call("call_1", "get_weather", ARGUMENTS)]
    finish = "tool_calls" if call else "stop"
    return messages.answer(finish, content="It is Paris.", reasoning_content="Let me see.", **more)


def test_chunks() -> None:
    for call in (False, True):
        found = fold(said(Chat().writer(Chat().decode(CHAT)), call=call), "chat")
        assert found is not None
        expected = json.loads(Chat().whole(whole(call), Chat().decode(CHAT)))
        assert found["choices"] == expected["choices"]
        assert found.keys() == expected.keys()


def test_chunks_of_text() -> None:
    form = Completions()
    found = fold(said(form.writer(form.decode(COMPLETION)), call=False), "completions")
    assert found is not None
    expected = json.loads(form.whole(whole(call=False), form.decode(COMPLETION)))
    assert found["choices"] == expected["choices"]
    assert found.keys() == expected.keys()


def test_events_of_a_message() -> None:
    for call in (False, True):
        writer = messages.FORMAT.writer(messages.decoded(messages.user(messages.text("Hi"))))
        found = fold(said(writer, call=call), "messages")
        assert found is not None
        request = messages.decoded(messages.user(messages.text("Hi")))
        expected = json.loads(messages.FORMAT.whole(whole(call), request))
        assert found["content"] == expected["content"]
        assert found["stop_reason"] == expected["stop_reason"]
        assert found.keys() == expected.keys()


def test_events_of_a_response() -> None:
    for call in (False, True):
        found = fold(said(responses.writer(), call=call), "responses")
        assert found is not None
        expected = json.loads(responses.FORMAT.whole(whole(call), responses.decoded()))
        assert found["output"] == expected["output"]
        assert found.keys() == expected.keys()
