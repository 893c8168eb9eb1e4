"""Requests, answers and streams of Gemini's, and what checks them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.genai import types
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.dialects import ClientRequest, Failure, Reply, Wire
from extproc.dialects.chat.completion import Chunks, Completion
from extproc.dialects.clients.chat import Chat
from extproc.dialects.gemini import Gemini, Vertex
from extproc.policy import TargetPolicy
from extproc.simulator import gemini_request, gemini_rules

MODEL = "gemini-2.5-pro"
NEW = "gemini-3-flash-preview"
GEMINI = Gemini(clock=lambda: 1_700_000_000.0, mint=lambda: "minted")
VERTEX = Vertex(clock=lambda: 1_700_000_000.0, mint=lambda: "minted")

USER: dict[str, Any] = {"role": "user", "content": "What is the weather in Paris?"}


def target(model: str = MODEL, **more: Any) -> TargetPolicy:
    return TargetPolicy(
        provider="google", system="gcp.gemini", dialect="gemini", model=model, **more
    )


def at_vertex(model: str = MODEL, **more: Any) -> TargetPolicy:
    place = {"project": "blue", "location": "europe-west4", **more}
    return TargetPolicy(
        provider="google", system="gcp.vertex_ai", dialect="vertex", model=model, **place
    )


def asked(**fields: Any) -> ClientRequest:
    """A client's request, as the target filter has it."""
    body = json.dumps({"model": "flagship", "messages": [USER], **fields}).encode()
    Chat().parse(body)
    return Chat().decode(body)


def lacks(model: str = MODEL, **fields: Any) -> str | None:
    return GEMINI.lacks(asked(**fields), target(model))


def wire(model: str = MODEL, **fields: Any) -> Wire:
    request = asked(**fields)
    assert GEMINI.lacks(request, target(model)) is None
    found = GEMINI.write(request, b"", target(model))
    assert isinstance(found, Wire)
    assert found.headers == (("content-type", "application/json"),)
    check(json.loads(found.body), model)
    return found


def sent(model: str = MODEL, **fields: Any) -> dict[str, Any]:
    """The body as Gemini gets it."""
    tree: dict[str, Any] = json.loads(wire(model, **fields).body)
    return tree


def parts(index: int, model: str = MODEL, **fields: Any) -> list[dict[str, Any]]:
    """The parts of one content."""
    found: list[dict[str, Any]] = sent(model, **fields)["contents"][index]["parts"]
    return found


FIELDS: dict[str, Any] = {
    "systemInstruction": types.Content,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
    "serviceTier": types.ServiceTier,
}
FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "responseSchema"}
"""Whose keys are the client's own."""


STRICTER = {
    "Corrupted thought signature.",
    # Gemini 3.1 Pro has the level that 3.0 lacked.
    "Thinking level MEDIUM is not supported for this model.",
}
"""Where the simulator is: the tests' signatures are none that it gave."""


def check(tree: dict[str, Any], model: str = MODEL, *, developer: bool = True) -> None:
    """Hold a body against the SDK's types, the REST names, and the simulator's rules."""
    for name, value in tree.items():
        if name in {"contents", "tools"}:
            kind: Any = types.Content if name == "contents" else types.Tool
            for one in value:
                kind.model_validate(one)
        elif name == "serviceTier":
            assert value in {one.value for one in types.ServiceTier}
        else:
            FIELDS[name].model_validate(value)
    assert all(re.fullmatch("[a-z][a-zA-Z]*", key) for key in keys(tree))
    roles = [one["role"] for one in tree["contents"]]
    assert roles[0] == "user"
    assert set(roles) <= {"user", "model"}
    assert all(one != other for one, other in itertools.pairwise(roles))
    if developer:
        body = gemini_request.BODY.decode(json.dumps(tree))
        broken = gemini_rules.broken_rule(body, model) or ("", None)
        assert broken[0] in {"", *STRICTER}


def keys(tree: Any) -> Iterator[str]:
    if isinstance(tree, list):
        for one in tree:
            yield from keys(one)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            if key not in FREE:
                yield from keys(value)


# --- answers ------------------------------------------------------------------------------


def completion(body: bytes, reply: Reply | None = None) -> ChatCompletion:
    """A whole answer as the client gets it."""
    return ChatCompletion.model_validate_json(read(body, reply).encode())


def read(body: bytes, reply: Reply | None = None) -> Completion:
    found = GEMINI.read(body, reply or Reply())
    assert isinstance(found, Completion)
    return found


def message(*parts: dict[str, Any], reply: Reply | None = None, **more: Any) -> dict[str, Any]:
    """The message of an answer of these parts, as the client gets it."""
    body = answer(candidate(*parts, finish="STOP", **more))
    found: dict[str, Any] = json.loads(read(body, reply).encode())["choices"][0]["message"]
    return found


def candidate(
    *parts: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    return {**found, **({"finishReason": finish} if finish else {}), **more}


USAGE: dict[str, Any] = {
    "promptTokenCount": 60,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 8,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 72,
}


def event(*candidates: dict[str, Any], **more: Any) -> dict[str, Any]:
    tree = {
        "candidates": list(candidates),
        "usageMetadata": USAGE,
        "modelVersion": "gemini-2.5-pro",
        "responseId": "r-1",
        **more,
    }
    types.GenerateContentResponse.model_validate({k: v for k, v in tree.items() if k != "error"})
    return tree


def answer(*candidates: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(event(*candidates, **more)).encode()


def stream(*events: dict[str, Any]) -> bytes:
    return "".join(f"data: {json.dumps(one)}\r\n\r\n" for one in events).encode()


# --- streams ------------------------------------------------------------------------------


@dataclass
class Run:
    """What a reader made of a stream."""

    out: bytes
    content: bool
    failure: Failure | None
    finished: bool
    refused: bool

    def chunks(self) -> list[ChatCompletionChunk]:
        """The chunks, held against the SDK's type; the end marker must be last if anywhere."""
        datas = [line[6:] for line in self.out.split(b"\n") if line.startswith(b"data: ")]
        if b"[DONE]" in datas:
            assert datas.pop() == b"[DONE]"
        return [ChatCompletionChunk.model_validate_json(data) for data in datas]

    def message(self, index: int = 0) -> Message:
        found = Message()
        for chunk in self.chunks():
            for choice in chunk.choices:
                if choice.index == index:
                    found.add(choice.model_dump())
        return found

    def usage(self) -> CompletionUsage:
        [found] = [chunk.usage for chunk in self.chunks() if chunk.usage is not None]
        return found


@dataclass
class Message:
    """A stream put together again as a client would."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None

    def add(self, choice: dict[str, Any]) -> None:
        delta = choice["delta"]
        self.text += delta["content"] or ""
        self.refusal += delta["refusal"] or ""
        self.reasoning += delta.get("reasoning_content") or ""
        self.details += delta.get("reasoning_details") or []
        self.annotations += delta.get("annotations") or []
        self.images += delta.get("images") or []
        self.logprobs += (choice["logprobs"] or {}).get("content") or []
        self.finish = choice["finish_reason"] or self.finish
        for call in delta["tool_calls"] or ():
            assert call["index"] == len(self.calls)
            self.calls.append({**call["function"], "id": call["id"], **extra(call)})


def extra(call: dict[str, Any]) -> dict[str, Any]:
    return {"extra": call["extra_content"]} if "extra_content" in call else {}


def run(*pieces: bytes, reply: Reply | None = None) -> Run:
    reader = GEMINI.stream(Chunks(), reply or Reply())
    out = b"".join([reader.feed(piece) for piece in pieces]) + reader.end()
    return Run(out, reader.content, reader.failure, reader.finished, reader.refused)


# --- requests -----------------------------------------------------------------------------

PIXEL = "iVBORw0KGgo="
IMAGE: dict[str, Any] = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{PIXEL}"},
}
INLINE: dict[str, Any] = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}


def turn(role: str, *said: str) -> dict[str, Any]:
    return {"parts": [{"text": one} for one in said], "role": role}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}
