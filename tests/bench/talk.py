"""Conversations as applications hold them, in every client's format, and answers as every provider
streams them. The same words in all."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

import msgspec

_encode: Final = msgspec.json.encode

_PARAGRAPHS: Final = (
    (
        "Good morning. I ordered a kettle on the 3rd and it has not come. The tracking page says "
        'that the parcel was "returned to the sender" because the address was incomplete.'
    ),
    (
        "I have moved in the meantime: the new address is in my account, but the order still shows "
        "the old one.\n\nCould you send it again, and can I have it without paying 4,90 € twice?"
    ),
    (
        "def total(lines: list[Line]) -> Decimal:\n    return sum((one.price * one.count for one "
        "in lines), Decimal(0))\n"
    ),
    (
        "Vielen Dank für die schnelle Antwort! Die Straße heißt „Am Mühlbach“, Hausnummer 7b, und "
        "der Name an der Klingel ist Weiß."
    ),
    (
        "The warehouse packs orders until noon; what comes in later leaves on the next working "
        "day. Parcels to islands take two days more, and heavy ones go by freight."
    ),
)
_DESCRIPTION: Final = "Looks up one thing in the shop's systems and returns it as JSON."
_WORDS: Final = (" I", " have", " changed", " the", " order", " to", " the", " new", " address,")


def _paragraphs() -> Iterator[str]:
    return itertools.cycle(_PARAGRAPHS)


def _schema(number: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            f"order_{number}": {"type": "string", "description": "The order's number."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            "fields": {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}},
        },
        "required": [f"order_{number}"],
        "additionalProperties": False,
    }


class Talk:
    """What is said: a system prompt, tools, and rounds of question, call, result and answer."""

    def __init__(self, size: int, *, long: bool) -> None:
        """About `size` bytes. `long`: nearly all of it is one user's text."""
        self.tools = 1 if size < 10_000 else 5 if size < 100_000 else 20
        text = _paragraphs()
        self.system = next(text)
        self.rounds: list[tuple[str, str, str]] = []
        """Question, result of a tool, answer."""
        left = size - 400 * self.tools - 250
        if long:
            question = ""
            while len(question) < left - 300:
                question += next(text) + "\n"
            self.question = question
            return
        self.question = next(text)
        left -= len(self.question)
        while left > 900:
            self.rounds.append((next(text), next(text), next(text)))
            left -= sum(map(len, self.rounds[-1])) + 330


# --- requests -----------------------------------------------------------------------------


def _arguments(number: int) -> dict[str, Any]:
    return {"order_0": f"A-{number}", "limit": 10, "fields": ["a", "c"]}


def chat(talk: Talk) -> dict[str, Any]:
    """OpenAI chat completions."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": talk.system}]
    for number, (question, result, answer) in enumerate(talk.rounds):
        call = {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": "look_up_0",
                "arguments": _encode(_arguments(number)).decode(),
            },
        }
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": result},
            {"role": "assistant", "content": answer},
        ]
    messages.append({"role": "user", "content": [{"type": "text", "text": talk.question}]})
    return {
        "model": "flagship",
        "messages": messages,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": f"look_up_{number}",
                    "description": _DESCRIPTION,
                    "parameters": _schema(number),
                },
            }
            for number in range(talk.tools)
        ],
        "temperature": 0.2,
        "max_tokens": 800,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def completions(talk: Talk) -> dict[str, Any]:
    """OpenAI completions: one prompt."""
    said = itertools.chain.from_iterable(talk.rounds)
    prompt = "\n\n".join([talk.system, *said, talk.question])
    return {"model": "flagship", "prompt": prompt, "max_tokens": 800, "stream": True}


def embeddings(talk: Talk) -> dict[str, Any]:
    """OpenAI embeddings: as many inputs as there are paragraphs."""
    said = itertools.chain.from_iterable(talk.rounds)
    return {"model": "vectors", "input": [talk.system, *said, talk.question]}


def responses(talk: Talk) -> dict[str, Any]:
    """OpenAI responses."""
    items: list[dict[str, Any]] = []
    for number, (question, result, answer) in enumerate(talk.rounds):
        call = {"call_id": f"call_{number}", "name": "look_up_0"}
        items += [
            {"role": "user", "content": question},
            {"type": "function_call", **call, "arguments": _encode(_arguments(number)).decode()},
            {"type": "function_call_output", "call_id": f"call_{number}", "output": result},
            {"role": "assistant", "content": [{"type": "output_text", "text": answer}]},
        ]
    items.append({"role": "user", "content": [{"type": "input_text", "text": talk.question}]})
    return {
        "model": "flagship",
        "instructions": talk.system,
        "input": items,
        "tools": [
            {
                "type": "function",
                "name": f"look_up_{number}",
                "description": _DESCRIPTION,
                "parameters": _schema(number),
                "strict": True,
            }
            for number in range(talk.tools)
        ],
        "max_output_tokens": 800,
        "store": False,
        "stream": True,
    }


def messages(talk: Talk) -> dict[str, Any]:
    """Anthropic messages."""
    cached = {"cache_control": {"type": "ephemeral"}}
    turns: list[dict[str, Any]] = []
    for number, (question, result, answer) in enumerate(talk.rounds):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look_up_0"}
        told = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": result}
        turns += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": [{**call, "input": _arguments(number)}]},
            {"role": "user", "content": [told]},
            {"role": "assistant", "content": answer},
        ]
    turns.append({"role": "user", "content": [{"type": "text", "text": talk.question, **cached}]})
    return {
        "model": "flagship",
        "max_tokens": 800,
        "system": [{"type": "text", "text": talk.system, **cached}],
        "messages": turns,
        "tools": [
            {
                "name": f"look_up_{number}",
                "description": _DESCRIPTION,
                "input_schema": _schema(number),
            }
            for number in range(talk.tools)
        ],
        "stream": True,
    }


def count_tokens(talk: Talk) -> dict[str, Any]:
    """Anthropic's counting: the same without what asks for an answer."""
    asked = messages(talk)
    return {name: asked[name] for name in ("model", "system", "messages", "tools")}


REQUESTS: Final = {
    "chat": chat,
    "completions": completions,
    "embeddings": embeddings,
    "responses": responses,
    "messages": messages,
    "count_tokens": count_tokens,
}
"""By client format."""


def body(name: str, size: int, *, long: bool) -> bytes:
    """A request of about `size` bytes in a client format."""
    wanted = size
    for _ in range(4):
        made = _encode(REQUESTS[name](Talk(wanted, long=long)))
        wanted = max(wanted + size - len(made), 1)
    return made


# --- streams ------------------------------------------------------------------------------


def _words(count: int) -> Iterator[str]:
    return itertools.islice(itertools.cycle(_WORDS), count)


def _chunks(count: int) -> list[dict[str, Any]]:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "flagship-2026",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], "usage": None}

    used = {"prompt_tokens": 100, "completion_tokens": count, "total_tokens": 100 + count}
    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": word}) for word in _words(count - 3)),
        chunk({}, "stop"),
        {**head, "choices": [], "usage": used},
    ]


def _texts(count: int) -> list[dict[str, Any]]:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "flagship-2026"}
    return [
        {
            **head,
            "choices": [{"text": word, "index": 0, "logprobs": None, "finish_reason": None}],
        }
        for word in _words(count)
    ]


def _response_events(count: int) -> list[dict[str, Any]]:
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "in_progress",
        "model": "flagship-2026",
        "output": [],
        "usage": None,
    }
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    used = {"input_tokens": 100, "output_tokens": count, "total_tokens": 100 + count}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        *({"type": "response.output_text.delta", **where, "delta": w} for w in _words(count - 2)),
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "usage": used},
        },
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _anthropic_events(count: int) -> list[dict[str, Any]]:
    usage = {"input_tokens": 100, "cache_read_input_tokens": 0, "output_tokens": 1}
    started: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "flagship-2026",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    delta = {"type": "content_block_delta", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({**delta, "delta": {"type": "text_delta", "text": w}} for w in _words(count - 5)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": count}},
        {"type": "message_stop"},
    ]


def _gemini_events(count: int) -> list[dict[str, Any]]:
    found = []
    for number, word in enumerate(_words(count), 1):
        candidate: dict[str, Any] = {
            "content": {"parts": [{"text": word}], "role": "model"},
            "index": 0,
        }
        if number == count:
            candidate["finishReason"] = "STOP"
        used = {
            "promptTokenCount": 100,
            "candidatesTokenCount": number,
            "totalTokenCount": 100 + number,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
        }
        found.append(
            {
                "candidates": [candidate],
                "usageMetadata": used,
                "modelVersion": "flagship-2026",
                "responseId": "r1",
            }
        )
    return found


def _bedrock_events(count: int) -> list[dict[str, Any]]:
    used = {"inputTokens": 100, "outputTokens": count, "totalTokens": 100 + count}
    padding = "abcdefghijklmnop"
    return [
        {"type": "messageStart", "role": "assistant", "p": padding},
        *(
            {
                "type": "contentBlockDelta",
                "contentBlockIndex": 0,
                "delta": {"text": word},
                "p": padding,
            }
            for word in _words(count - 4)
        ),
        {"type": "contentBlockStop", "contentBlockIndex": 0, "p": padding},
        {"type": "messageStop", "stopReason": "end_turn", "p": padding},
        {"type": "metadata", "usage": used, "metrics": {"latencyMs": 900}, "p": padding},
    ]


def _cohere_events(count: int) -> list[dict[str, Any]]:
    used = {
        "billed_units": {"input_tokens": 100, "output_tokens": count},
        "tokens": {"input_tokens": 100, "output_tokens": count},
    }
    began = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    delta = {"type": "content-delta", "index": 0}
    return [
        {"type": "message-start", "id": "co-1", "delta": {"message": began}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        *({**delta, "delta": {"message": {"content": {"text": w}}}} for w in _words(count - 4)),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": used}},
    ]


def _unnamed(event: dict[str, Any]) -> tuple[bytes, bytes]:
    data = _encode(event)
    return data, b"data: " + data + b"\n\n"


def _named(event: dict[str, Any]) -> tuple[bytes, bytes]:
    data = _encode(event)
    return data, b"event: " + event["type"].encode() + b"\ndata: " + data + b"\n\n"


def _framed(event: dict[str, Any]) -> tuple[bytes, bytes]:
    """A message of Amazon's event streams."""
    data = _encode({name: value for name, value in event.items() if name != "type"})
    told = (
        (b":event-type", event["type"].encode()),
        (b":content-type", b"application/json"),
        (b":message-type", b"event"),
    )
    headers = b"".join(
        bytes([len(name)]) + name + b"\7" + struct.pack(">H", len(value)) + value
        for name, value in told
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    begun = prelude + struct.pack(">I", crc32(prelude)) + headers + data
    return data, begun + struct.pack(">I", crc32(begun))


STREAMS: Final = {
    "chat": (_chunks, _unnamed),
    "completions": (_texts, _unnamed),
    "responses": (_response_events, _named),
    "messages": (_anthropic_events, _named),
    "openai": (_chunks, _unnamed),
    "azure": (_chunks, _unnamed),
    "anthropic": (_anthropic_events, _named),
    "gemini": (_gemini_events, _unnamed),
    "vertex": (_gemini_events, _unnamed),
    "bedrock": (_bedrock_events, _framed),
    "cohere": (_cohere_events, _named),
}
"""By client format, for bytes that pass, and by provider dialect."""

_DONE: Final = frozenset({"chat", "completions", "openai", "azure"})


def stream(name: str, count: int) -> tuple[list[bytes], list[bytes]]:
    """JSON of each event of a stream of `count` events, and the events as they are sent."""
    events, frame = STREAMS[name]
    data, sent = zip(*map(frame, events(count)), strict=True)
    end = [b"data: [DONE]\n\n"] if name in _DONE else []
    return list(data), [*sent, *end]
