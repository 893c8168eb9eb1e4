"""Streams of every client format, as providers send them, and what a client reads from them."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any

import pydantic
from anthropic.types import RawMessageStreamEvent
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from extproc.guard.placeholders import Mapping
from extproc.guard.streams import Review, Stream

FORMATS = ("chat", "completions", "responses", "messages")
VALUES = {
    "PERSON_1": "Ada Lovelace",
    "EMAIL_ADDRESS_1": "ada@example.com",
    "EMAIL_ADDRESS_12": "grace@example.com",
    "IBAN_CODE_1": "DE89370400440532013000",
}
MAPPING = Mapping(VALUES)
ESCAPED = Mapping({**VALUES, "STREET_ADDRESS_1": '1 "Main" Street\nSpringfield'})
"""With a value that JSON has to escape."""

Pieces = list[tuple[str, str]]
"""What is said, in order: which text (`content`, `reasoning`, `call 0`), and a piece of it."""
Said = dict[str, str]
"""Text by name, as a client puts it together."""


def data(tree: Any) -> bytes:
    return b"data: " + json.dumps(tree, ensure_ascii=False).encode() + b"\n\n"


def named(tree: Any) -> bytes:
    return f"event: {tree['type']}\n".encode() + data(tree)


# --- chat and completions -------------------------------------------------------------------------

CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chat(pieces: Pieces, finish: str | None = "stop") -> list[bytes]:
    def chunk(delta: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data({**CHUNK, "choices": [choice], "usage": None, "obfuscation": "xY"})

    events = [chunk({"role": "assistant", "content": "", "refusal": None})]
    begun = set()
    for name, text in pieces:
        if not name.startswith("call "):
            events.append(chunk({name: text}))
            continue
        call: dict[str, Any] = {"index": int(name[5:]), "function": {"arguments": text}}
        if name not in begun:
            begun.add(name)
            call |= {"id": f"call_{name[5:]}", "type": "function"}
            call["function"]["name"] = "find"
        events.append(chunk({"tool_calls": [call]}))
    if finish is not None:
        events.append(chunk({}, finish))
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return [*events, data({**CHUNK, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]


def completions(pieces: Pieces) -> list[bytes]:
    def chunk(text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return data({**CHUNK, "object": "text_completion", "choices": [choice]})

    return [*(chunk(text) for _, text in pieces), chunk("", "stop"), b"data: [DONE]\n\n"]


def read_chat(events: list[Any]) -> Said:
    said: Said = defaultdict(str)
    for event in events:
        for choice in event["choices"]:
            delta = choice.get("delta", choice)
            for name in ("content", "refusal", "reasoning", "reasoning_content", "text"):
                said[name] += delta.get(name) or ""
            for call in delta.get("tool_calls") or ():
                said[f"call {call['index']}"] += call["function"]["arguments"]
    return {("content" if name == "text" else name): text for name, text in said.items() if text}


# --- responses ------------------------------------------------------------------------------------

RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1.0, "status": "in_progress",
    "model": "m", "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    "temperature": 1.0, "top_p": 1.0, "error": None, "incomplete_details": None,
    "instructions": None, "metadata": {},
}  # fmt: skip
USAGE = {
    "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 3,
}  # fmt: skip


def responses(pieces: Pieces, **echo: Any) -> list[bytes]:
    """A text is one item; its parts come one after the other."""
    trees: list[dict[str, Any]] = [{"type": "response.created", "response": {**RESPONSE, **echo}}]
    output: list[Any] = []
    item: dict[str, Any]
    done: dict[str, Any]
    order = list(dict.fromkeys(name for name, _ in pieces))
    whole = {name: "".join(text for one, text in pieces if one == name) for name in order}
    for at, name in enumerate(order):
        where: dict[str, Any] = {"item_id": f"it_{at}", "output_index": at}
        if name.startswith("call "):
            item = {"type": "function_call", "id": f"it_{at}", "call_id": f"call_{at}",
                    "name": "find", "arguments": "", "status": "in_progress"}  # fmt: skip
            kind, done = "response.function_call_arguments", {"arguments": whole[name]}
            full = {**item, "arguments": whole[name], "status": "completed"}
        elif name == "reasoning":
            item = {"type": "reasoning", "id": f"it_{at}", "summary": [], "encrypted_content": "<>"}
            where |= {"summary_index": 0}
            kind, done = "response.reasoning_summary_text", {"text": whole[name]}
            full = {**item, "summary": [{"type": "summary_text", "text": whole[name]}]}
        else:
            item = {"type": "message", "id": f"it_{at}", "role": "assistant", "content": [],
                    "status": "in_progress"}  # fmt: skip
            where |= {"content_index": 0}
            kind, done = "response.output_text", {"text": whole[name], "logprobs": []}
            part = {"type": "output_text", "text": whole[name], "annotations": []}
            full = {**item, "content": [part], "status": "completed"}
        trees.append({"type": "response.output_item.added", "output_index": at, "item": item})
        for one, text in pieces:
            if one == name:
                trees.append({"type": f"{kind}.delta", **where, "delta": text, "obfuscation": "x"})
                if name == "content":
                    trees[-1]["logprobs"] = []
        extra = {"name": "find"} if name.startswith("call ") else {}
        trees.append({"type": f"{kind}.done", **where, **done, **extra})
        if name == "content":
            trees.append({"type": "response.content_part.done", **where, "part": part})
        trees.append({"type": "response.output_item.done", "output_index": at, "item": full})
        output.append(full)
    last = {**RESPONSE, **echo, "output": output, "status": "completed", "usage": USAGE}
    trees.append({"type": "response.completed", "response": last})
    return [named({**tree, "sequence_number": at}) for at, tree in enumerate(trees)]


def read_responses(events: list[Any]) -> Said:
    """From the deltas; the whole texts must say the same."""
    said: Said = {}
    names = {}
    calls = itertools.count()
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            item = event["item"]
            names[event["output_index"]] = {
                "function_call": "call", "reasoning": "reasoning", "message": "content",
            }[item["type"]]  # fmt: skip
            if item["type"] == "function_call":
                names[event["output_index"]] = f"call {next(calls)}"
        elif kind.endswith(".delta"):
            name = names[event["output_index"]]
            said[name] = said.get(name, "") + event["delta"]
        elif kind.endswith("_part.done"):
            assert event["part"]["text"] == said[names[event["output_index"]]]
        elif kind == "response.output_item.done":
            assert of_item(event["item"]) == said[names[event["output_index"]]]
        elif kind.endswith(".done"):
            whole = event["arguments"] if "arguments" in event else event["text"]
            assert whole == said[names[event["output_index"]]]
        elif kind == "response.completed":
            for at, item in enumerate(event["response"]["output"]):
                assert of_item(item) == said[names[at]]
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(len(events)))
    return {name: text for name, text in said.items() if text}


def of_item(item: Any) -> str:
    match item["type"]:
        case "function_call":
            text = item["arguments"]
        case "reasoning":
            text = item["summary"][0]["text"]
        case _:
            text = item["content"][0]["text"]
    assert isinstance(text, str)
    return text


# --- messages -------------------------------------------------------------------------------------


def messages(pieces: Pieces, finish: str | None = "end_turn") -> list[bytes]:
    """A text is one block."""
    message: dict[str, Any] = {
               "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m",
               "stop_reason": None, "stop_sequence": None,
               "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    events = [named({"type": "message_start", "message": message}), named({"type": "ping"})]
    for at, (name, group) in enumerate(itertools.groupby(pieces, lambda piece: piece[0])):
        member = "text"
        block: dict[str, Any] = {"type": "text", "text": ""}
        kind = "text_delta"
        if name.startswith("call "):
            block = {"type": "tool_use", "id": f"toolu_{at}", "name": "find", "input": {}}
            member, kind = "partial_json", "input_json_delta"
        elif name == "reasoning":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            member, kind = "thinking", "thinking_delta"
        start = {"type": "content_block_start", "index": at, "content_block": block}
        events.append(named(start))
        for _, text in group:
            delta = {"type": kind, member: text}
            events.append(named({"type": "content_block_delta", "index": at, "delta": delta}))
        if name == "reasoning":
            delta = {"type": "signature_delta", "signature": "c2ln"}
            events.append(named({"type": "content_block_delta", "index": at, "delta": delta}))
        events.append(named({"type": "content_block_stop", "index": at}))
    last = {"type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": None},
            "usage": {"output_tokens": 2}}  # fmt: skip
    return [*events, named(last), named({"type": "message_stop"})]


def read_messages(events: list[Any]) -> Said:
    said: Said = {}
    names: dict[int, str] = {}
    calls = itertools.count()
    for event in events:
        if event["type"] == "content_block_start":
            match event["content_block"]["type"]:
                case "tool_use":
                    names[event["index"]] = f"call {next(calls)}"
                case "thinking":
                    names[event["index"]] = "reasoning"
                case _:
                    names[event["index"]] = "content"
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            text = delta.get("text") or delta.get("partial_json") or delta.get("thinking") or ""
            name = names[event["index"]]  # fails for a block that is closed
            said[name] = said.get(name, "") + text
        elif event["type"] == "content_block_stop":
            said.setdefault(names[event["index"]], "")
            names[event["index"]] = "closed"
    assert "closed" not in said
    return {name: text for name, text in said.items() if text}


WRITERS: dict[str, Any] = {
    "chat": chat,
    "completions": completions,
    "responses": responses,
    "messages": messages,
}
READERS: dict[str, Any] = {
    "chat": read_chat,
    "completions": read_chat,
    "responses": read_responses,
    "messages": read_messages,
}
TYPES: dict[str, Any] = {
    "chat": pydantic.TypeAdapter(ChatCompletionChunk),
    "completions": pydantic.TypeAdapter(Completion),
    "responses": pydantic.TypeAdapter(ResponseStreamEvent),
    "messages": pydantic.TypeAdapter(RawMessageStreamEvent),
}
"""What the SDKs take an event for."""


def stream(format_: str, pieces: Pieces) -> bytes:
    return b"".join(WRITERS[format_](pieces))


async def flow(stream_: Stream, pieces: Iterable[bytes]) -> bytes:
    return b"".join([await stream_.feed(piece) for piece in pieces]) + await stream_.end()


def run(
    format_: str,
    *pieces: bytes,
    mapping: Mapping | None = MAPPING,
    review: Review | None = None,
) -> bytes:
    going: Coroutine[Any, None, bytes] = flow(Stream(format_, mapping, review), pieces)
    try:
        going.send(None)  # nothing in it waits: no loop is needed, and making one is slow
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("something waits")


def events(format_: str, out: bytes) -> list[Any]:
    """The data of plain events; every one is what its SDK takes."""
    found = []
    for event in out.split(b"\n\n"):
        lines = [line for line in event.split(b"\n") if line.startswith(b"data: ")]
        if not lines or lines[0] == b"data: [DONE]":
            continue
        tree = json.loads(lines[0][6:])
        if tree.get("type") != "ping":
            TYPES[format_].validate_python(expected(format_, tree))
        found.append(tree)
    return found


def expected(format_: str, tree: Any) -> Any:
    """A piece of a completion tells no reason, which the SDK's type, made for whole ones, must."""
    if format_ != "completions":
        return tree
    choices = [{**one, "finish_reason": one["finish_reason"] or "stop"} for one in tree["choices"]]
    return {**tree, "choices": choices}


def said(format_: str, out: bytes) -> Said:
    found: Said = READERS[format_](events(format_, out))
    return found


def spoken(format_: str, pieces: Pieces) -> Said:
    """What `said` finds in the stream of `pieces`."""
    return said(format_, stream(format_, pieces))


def cut(text: str, *places: int) -> list[str]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def cut_bytes(whole: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(whole) + 1) for place in places}), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges)]
