"""What Gemini answers with: parts, candidates, grounding, probabilities and usage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from extproc.simulator.chat import NOTHING, Ask, Reply, Usage
from extproc.simulator.signatures import seal

BLOCKED = "prompt_blocked"
"""A finish of scripts: the prompt is blocked, and there is no candidate."""
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
}
_SAFETY = [
    {"category": f"HARM_CATEGORY_{one}", "probability": "NEGLIGIBLE"}
    for one in ("SEXUALLY_EXPLICIT", "HATE_SPEECH", "HARASSMENT", "DANGEROUS_CONTENT")
]
_PROBABILITY = -0.25


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What only Gemini knows of a request. `method` is what stands behind the colon."""

    method: str = "generateContent"
    alternatives: int | None = None
    """How many tokens to tell beside each one chosen; None: no probabilities at all."""
    searches: bool = False
    reads_urls: bool = False
    modalities: tuple[str, ...] = ()
    """What the prompt is made of: `TEXT`, `IMAGE`, `AUDIO`, `VIDEO`, `DOCUMENT`."""
    prompt: str = ""
    texts: tuple[str, ...] = ()
    """What to embed."""
    size: int = 0
    """Numbers of an embedding."""
    on_vertex: bool = False


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """A `GenerateContentResponse`."""
    if reply.finish == BLOCKED:
        return _blocked(ask, reply)
    candidates = []
    for n in range(ask.choices):
        made = _candidate(_parts(reply), _finish(reply))
        _extend(made, ask, reply, reply.pieces)
        candidates.append({**made, "index": n})
    return _response(ask, reply, candidates, reply.usage)


def events(ask: Ask, reply: Reply, total: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """The responses of a stream, and whether each has content. The last one has the finish
    reason, and nothing more: there is no other terminal event."""
    if reply.finish == BLOCKED:
        yield _blocked(ask, reply), False
        return
    parts = list(_stream_parts(reply))
    sent = 0
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        for index in range(ask.choices):
            sent += not last
            candidate = _candidate([part], _finish(reply) if last else None)
            if last:
                _extend(candidate, ask, reply, ())
            elif "text" in part and "thought" not in part:
                candidate.update(_probabilities(ask, (part["text"],)))
            candidate["index"] = index
            usage = reply.usage
            if usage is not None and not (last and index == ask.choices - 1):
                usage = usage.after(max(sent, 1), total)
            yield _response(ask, reply, [candidate], usage), not last


def count(ask: Ask, reply: Reply) -> int:
    """How many of `events` have content."""
    if reply.finish == BLOCKED:
        return 0
    return ask.choices * (len(reply.thinking) + len(reply.pieces) + len(reply.calls))


def usage_of(ask: Ask, usage: Usage) -> dict[str, Any]:
    """Gemini counts thoughts beside `candidatesTokenCount`, not within; zeros are left out."""
    visible = usage.output - usage.reasoning
    found: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": visible,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": details(ask, usage),
    }
    if usage.cached:
        found["cachedContentTokenCount"] = usage.cached
        found["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached}]
    if usage.reasoning:
        found["thoughtsTokenCount"] = usage.reasoning
    if not visible:
        del found["candidatesTokenCount"]
    if ask.own.on_vertex:
        found["trafficType"] = "ON_DEMAND"
    return found


def details(ask: Ask, usage: Usage) -> list[dict[str, Any]]:
    """The prompt's tokens by modality."""
    others = [one for one in ask.own.modalities if one != "TEXT"]
    if usage.audio_input:
        share = {"AUDIO": usage.audio_input}
    else:
        share = dict.fromkeys(others, usage.input // (len(others) + 1))
    share = {"TEXT": usage.input - sum(share.values())} | share
    return [{"modality": one, "tokenCount": tokens} for one, tokens in share.items()]


def _blocked(ask: Ask, reply: Reply) -> dict[str, Any]:
    body = _response(ask, reply, [], None)
    del body["candidates"]
    tokens = (reply.usage or NOTHING).input
    usage = {"promptTokenCount": tokens, "totalTokenCount": tokens}
    ratings = [{**one, "probability": "HIGH", "blocked": True} for one in _SAFETY[:1]]
    feedback = {"blockReason": "SAFETY", "safetyRatings": ratings}
    return {"promptFeedback": feedback, "usageMetadata": usage, **body}


def _signed(reply: Reply) -> bool:
    """Whether the model signs its thoughts: Gemini 3 always, 2.5 when it has thought."""
    if re.match(r"gemini-[3-9]", reply.model):
        return True
    return bool(re.match(r"gemini-2\.5", reply.model) and reply.usage and reply.usage.reasoning)


def _parts(reply: Reply) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if reply.thinking:
        parts.append({"text": "".join(reply.thinking), "thought": True})
    if reply.pieces:
        part: dict[str, Any] = {"text": reply.text}
        if _signed(reply) and not reply.calls:
            part["thoughtSignature"] = seal(reply.id, "thought")
        parts.append(part)
    return parts + _calls(reply)


def _calls(reply: Reply) -> list[dict[str, Any]]:
    """The first call of a turn is signed; Gemini 3 wants the signature back."""
    found = []
    for n, call in enumerate(reply.calls):
        function: dict[str, Any] = {"name": call.name, "args": _args(call.arguments)}
        if re.match(r"gemini-[3-9]", reply.model):
            function["id"] = call.id
        part: dict[str, Any] = {"functionCall": function}
        if n == 0 and _signed(reply):
            part["thoughtSignature"] = seal(reply.id, "thought")
        found.append(part)
    return found


def _args(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {"_raw": arguments}


def _stream_parts(reply: Reply) -> Iterator[dict[str, Any]]:
    """One part an event; the last is empty, but for the signature of a text."""
    for one in reply.thinking:
        yield {"text": one, "thought": True}
    for one in reply.pieces:
        yield {"text": one}
    yield from _calls(reply)
    last: dict[str, Any] = {"text": ""}
    if _signed(reply) and reply.pieces and not reply.calls:
        last["thoughtSignature"] = seal(reply.id, "thought")
    yield last


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.finish, reply.finish)


def _candidate(parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
        if finish in ("SAFETY", "PROHIBITED_CONTENT"):
            candidate["safetyRatings"] = _SAFETY
            if not any(part.get("text") or "functionCall" in part for part in parts):
                del candidate["content"]
    return candidate


def _response(ask: Ask, reply: Reply, candidates: list[Any], usage: Usage | None) -> dict[str, Any]:
    body: dict[str, Any] = {"candidates": candidates}
    if usage is not None:
        body["usageMetadata"] = usage_of(ask, usage)
    return body | {"modelVersion": reply.model, "responseId": reply.id}


def _extend(candidate: dict[str, Any], ask: Ask, reply: Reply, pieces: Sequence[str]) -> None:
    """What stands beside the content of a finished candidate."""
    candidate.update(_probabilities(ask, pieces))
    if ask.own.alternatives is not None and reply.pieces:
        candidate["avgLogprobs"] = _PROBABILITY
    if ask.own.searches and reply.pieces:
        candidate["groundingMetadata"] = _grounding(ask, reply)
    if ask.own.reads_urls and reply.pieces:
        read = {"retrievedUrl": _URI, "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}
        candidate["urlContextMetadata"] = {"urlMetadata": [read]}


def _probabilities(ask: Ask, pieces: Sequence[str]) -> dict[str, Any]:
    """A token a piece; its alternatives are its own letters turned around."""
    if ask.own.alternatives is None or not pieces:
        return {}
    chosen = [_token(one, _PROBABILITY) for one in pieces]
    found: dict[str, Any] = {"chosenCandidates": chosen}
    if ask.own.alternatives:
        others = range(1, ask.own.alternatives)
        found["topCandidates"] = [
            {"candidates": [_token(one, _PROBABILITY)]}
            if ask.own.alternatives == 1
            else {
                "candidates": [
                    _token(one, _PROBABILITY),
                    *(_token(f"{one[::-1]}{n}", _PROBABILITY - n) for n in others),
                ]
            }
            for one in pieces
        ]
    return {"logprobsResult": found}


def _token(text: str, probability: float) -> dict[str, Any]:
    return {"token": text, "tokenId": sum(text.encode()), "logProbability": probability}


_URI = "https://vertexaisearch.cloud.google.com/grounding-api-redirect/simulated"


def _grounding(ask: Ask, reply: Reply) -> dict[str, Any]:
    """The first words, found on one page. Indices count bytes."""
    text = "".join(reply.pieces[:2])
    web = {"uri": _URI, "title": "example.com", "domain": "example.com"}
    segment = {"startIndex": 0, "endIndex": len(text.encode()), "text": text}
    return {
        "searchEntryPoint": {"renderedContent": '<div class="container">simulated</div>'},
        "groundingChunks": [{"web": web}],
        "groundingSupports": [
            {"segment": segment, "groundingChunkIndices": [0], "confidenceScores": [0.9]}
        ],
        "webSearchQueries": [ask.own.prompt[:80]],
    }
