"""Streams that a provider cuts anywhere: the same comes out restored, byte for byte."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Json
from tests.e2e.guard_gateways import (
    EMAIL,
    LETTER,
    LETTER_UP,
    PERSON,
    Guarded,
    chat_text,
    events,
    guarded_gateway,
    leaks,
    scripted,
)
from tests.e2e.wire import many, stream

pytestmark = pytest.mark.e2e

PAUSE: Final = 0.001
"""Seconds between two writes, so that Envoy reads them apart."""
AT_ONCE: Final = 6
TOOL_UP = {"to": "<EMAIL_ADDRESS_1>", "note": 'for "<PERSON_1>"\n<no>'}
TOOL = {"to": EMAIL, "note": f'for "{PERSON}"\n<no>'}
SCHEMA: Json = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "note": {"type": "string"}},
    "required": ["to", "note"],
    "additionalProperties": False,
}


@dataclass
class Raw:
    """A provider that answers with bytes it was given, cut where a request says (`x-cuts`)."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    got: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                lines = [one.partition(":") for one in head.decode().split("\r\n")[1:]]
                fields = {name.lower(): value.strip() for name, _, value in lines}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                if "x-answer" not in fields:  # Envoy asks after its health
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    continue
                self.got.append(head + body)
                await self._answer(writer, self.answers[fields["x-answer"]], fields["x-cuts"])

    async def _answer(self, writer: asyncio.StreamWriter, data: bytes, cuts: str) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        places = range(1, len(data)) if cuts == "all" else map(int, filter(None, cuts.split(",")))
        for start, end in pairwise([0, *places, len(data)]):
            writer.write(b"%x\r\n%s\r\n" % (end - start, data[start:end]))
            await writer.drain()
            await asyncio.sleep(PAUSE)
        writer.write(b"0\r\n\r\n")


@contextmanager
def raw_provider() -> Iterator[Raw]:
    """One that listens."""
    found, loop, ready = Raw(), asyncio.new_event_loop(), threading.Event()

    async def main() -> None:
        server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        found.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class Cut:
    """The gateway, and the provider behind it."""

    guarded: Guarded
    raw: Raw


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    with (
        raw_provider() as raw,
        guarded_gateway(tmp_path_factory.mktemp("cuts"), raw=raw.port) as guarded,
    ):
        yield Cut(guarded, raw)


# --- what is asked, and what is read from the answers -------------------------------------

PATHS: Final = {
    "chat": "chat/completions",
    "completions": "completions",
    "responses": "responses",
    "messages": "messages",
}
MODELS: Final = {
    "chat": ("raw", "gpt-4o"),
    "completions": ("raw-instruct", "gpt-3.5-turbo-instruct"),
    "responses": ("raw-azure", "gpt-4o"),
    "messages": ("raw-claude", "claude-haiku-4-5"),
}
"""The gateway's name, and the simulator's."""


def question(format_: str, text: str, *, tools: bool) -> Json:
    turn = [{"role": "user", "content": text}]
    match format_:
        case "completions":
            return {"prompt": text, "max_tokens": 900, "stream": True}
        case "responses":
            tool: Json = {"type": "function", "name": "write", "parameters": SCHEMA, "strict": True}
            found: Json = {"input": text, "stream": True}
        case "messages":
            tool = {"name": "write", "input_schema": SCHEMA}
            found = {"messages": turn, "max_tokens": 900, "stream": True}
        case _:
            tool = {"type": "function", "function": {"name": "write", "parameters": SCHEMA}}
            found = {"messages": turn, "stream": True}
    return {**found, "tools": [tool]} if tools else found


def recorded(cut: Cut, format_: str, script: Json, *, tools: bool) -> bytes:
    """A stream as the simulator writes it when it is asked itself."""
    port = cut.guarded.gateway.simulator
    body = {"model": MODELS[format_][1], **question(format_, "Hello", tools=tools)}
    if format_ in ("chat", "completions"):
        body["stream_options"] = {"include_usage": True}
    head = {"authorization": "Bearer x", "anthropic-version": "2023-06-01", **scripted(**script)}
    url = f"http://127.0.0.1:{port + (format_ == 'messages')}/v1/{PATHS[format_]}"
    answer = cut.guarded.gateway.http.post(url, json=body, headers=head)
    assert answer.status_code == 200, answer.text
    return answer.content


def request(cut: Cut, format_: str, text: str, name: str, cuts: str, *, tools: bool) -> Any:
    return {
        "url": f"{cut.guarded.gateway.url}/{PATHS[format_]}",
        "json": {"model": MODELS[format_][0], **question(format_, text, tools=tools)},
        "headers": {
            **cut.guarded.head(), "x-answer": name, "x-cuts": cuts,
            **({"anthropic-version": "2023-06-01"} if format_ == "messages" else {}),
        },
    }  # fmt: skip


def text_of(format_: str, data: bytes) -> str:
    """The text in the pieces of a stream."""
    if format_ == "chat":
        return chat_text(events(data))
    found = ""
    for one in events(data):
        match format_:
            case "completions":
                found += "".join(c["text"] for c in one["choices"])
            case "responses":
                found += one["delta"] if one["type"] == "response.output_text.delta" else ""
            case _:
                found += one.get("delta", {}).get("text", "")
    return found


def arguments_of(format_: str, data: bytes) -> Json:
    """The arguments in the pieces of a stream's only call."""
    found = ""
    for one in events(data):
        match format_:
            case "chat":
                for choice in one["choices"]:
                    for call in choice["delta"].get("tool_calls", ()):
                        found += call["function"].get("arguments", "")
            case "responses":
                wanted = one["type"] == "response.function_call_arguments.delta"
                found += one["delta"] if wanted else ""
            case _:
                found += one.get("delta", {}).get("partial_json", "")
    return dict(json.loads(found))


# --- every byte ---------------------------------------------------------------------------


@pytest.mark.parametrize("format_", PATHS)
def test_byte_by_byte(format_: str, cut: Cut) -> None:
    """A provider that writes one byte after the other, and one that writes all at once."""
    tools = format_ != "completions"
    script: Json = {"text": "Ask <PERSON_1>.", "events": 3}
    if tools:
        script["tools"] = [{"name": "write", "arguments": TOOL_UP}]
    cut.raw.answers[format_] = recorded(cut, format_, script, tools=tools)
    cut.raw.got.clear()
    found = {}
    for cuts in ("", "all"):
        asked = request(cut, format_, LETTER, format_, cuts, tools=tools)
        answer = cut.guarded.gateway.http.post(**asked)
        assert answer.status_code == 200, answer.text
        found[cuts] = answer.content
    assert text_of(format_, found["all"]) == f"Ask {PERSON}."
    assert not tools or arguments_of(format_, found["all"]) == TOOL
    assert found["all"] == found[""]
    assert len(cut.raw.got) == 2
    assert leaks(b"".join(cut.raw.got)) == []


async def each_cut(cut: Cut, format_: str, *, tools: bool) -> set[bytes]:
    """What comes out for each place where the stream can be cut in two."""
    data = cut.raw.answers[format_]
    free = asyncio.Semaphore(AT_ONCE)

    async def one(client: httpx.AsyncClient, place: int) -> bytes:
        async with free:
            asked = request(cut, format_, LETTER, format_, str(place), tools=tools)
            answer = await client.post(**asked)
            assert answer.status_code == 200, answer.text
            return answer.content

    async with many() as client:
        return set(await asyncio.gather(*(one(client, place) for place in range(1, len(data)))))


def shortened(data: bytes) -> bytes:
    """A chat stream without what does not matter here, so that it has fewer places."""
    kept = []
    for event in events(data):
        choices = [
            {
                name: value
                for name, value in one.items()
                if name in ("index", "delta", "finish_reason")
            }
            for one in event["choices"]
        ]
        kept.append({"id": "a", "object": "chat.completion.chunk", "choices": choices})
    lines = [json.dumps(one, separators=(",", ":")) for one in kept if one["choices"]]
    return "".join(f"data: {one}\n\n" for one in [*lines, "[DONE]"]).encode()


async def test_cut_in_two_at_every_byte(cut: Cut) -> None:
    script = {"text": "Ask <PERSON_1>.", "events": 3}
    cut.raw.answers["chat"] = shortened(recorded(cut, "chat", script, tools=False))
    (found,) = await each_cut(cut, "chat", tools=False)
    assert text_of("chat", found) == f"Ask {PERSON}."


async def test_arguments_cut_in_two_at_every_byte(cut: Cut) -> None:
    script = {"tools": [{"name": "write", "arguments": '{"to":"<EMAIL_ADDRESS_1>"}'}]}
    cut.raw.answers["chat"] = shortened(recorded(cut, "chat", script, tools=True))
    (found,) = await each_cut(cut, "chat", tools=True)
    assert arguments_of("chat", found) == {"to": EMAIL}


def test_pieces_come_when_they_can(cut: Cut) -> None:
    """What cannot be a placeholder does not wait for what comes later."""
    script = {"text": f"Well, well. {LETTER_UP}", "events": 6, "rate": 10}
    found = stream(
        cut.guarded.gateway, "gpt", text=LETTER, script=script, headers=cut.guarded.head()
    )
    assert found.text == f"Well, well. {LETTER}"
    assert found.first < found.ended - 0.2
