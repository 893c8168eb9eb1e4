"""Gemini's answers, at both of Google's endpoints."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.dialects.wire.said import COUNTED, PLAIN, Said, Used, pieces

SAYS = PLAIN | {"thinking", "sealed", "refusal", "tier", "logprobs", "cited", "image", "others"}
COUNTS = COUNTED | {"cached", "reasoning", "audio_prompt", "audio_completion"}
TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}
FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def whole(said: Said) -> bytes:
    others = [
        _candidate([{"text": text}], "STOP", index) for index, text in enumerate(said.others, 1)
    ]
    first = _candidate(list(_parts(said, 1 << 20)), FINISH[said.finish], **_end(said))
    return json.dumps(_answer([first, *others], said)).encode()


def stream(said: Said, size: int = 4) -> bytes:
    events = [_answer([_candidate([part])], said) for part in _parts(said, size)]
    events += [
        _answer([_candidate([{"text": text}], "STOP", index)], said)
        for index, text in enumerate(said.others, 1)
    ]
    end = _candidate([{"text": ""}], FINISH[said.finish], **_end(said))
    events.append(_answer([end], said))
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in events)


def error(status: int, kind: str, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message, "status": kind}}).encode()


def _parts(said: Said, size: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"text": one, "thought": True} for one in pieces(said.thinking, size)
    ]
    found += [{"text": one} for one in pieces(said.text, size)]
    if said.image:
        kind, data = said.image.removeprefix("data:").split(";base64,")
        found.append({"inlineData": {"mimeType": kind, "data": data}})
    for call in said.calls:
        called = {"id": call.id, "name": call.name, "args": call.arguments}
        found.append({"functionCall": called})
    if said.sealed:
        found.append({"text": "", "thoughtSignature": said.sealed})
    return found


def _candidate(
    parts: list[dict[str, Any]], finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
    return {**found, **({"finishReason": finish} if finish else {}), **more}


def _end(said: Said) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if said.refusal:
        found["finishMessage"] = said.refusal
    if said.logprobs:
        chosen = [{"token": one, "logProbability": value} for one, value in said.logprobs]
        found["logprobsResult"] = {"chosenCandidates": chosen}
    if said.cited:
        segments = [
            {
                "segment": {
                    "startIndex": len(said.text[:start].encode()),
                    "endIndex": len(said.text[:end].encode()),
                    "text": said.text[start:end],
                },
                "groundingChunkIndices": [number],
            }
            for number, (start, end, _, _) in enumerate(said.cited)
        ]
        chunks = [{"web": {"uri": url, "title": title}} for _, _, url, title in said.cited]
        found["groundingMetadata"] = {"groundingChunks": chunks, "groundingSupports": segments}
    return found


def _answer(candidates: list[Any], said: Said) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": _usage(said),
        "modelVersion": "gemini",
        "responseId": "r-1",
    }


def _usage(said: Said) -> dict[str, Any]:
    used: Used = said.used
    found: dict[str, Any] = {
        "promptTokenCount": used.prompt,
        "cachedContentTokenCount": used.cached,
        "candidatesTokenCount": used.completion - used.reasoning,
        "thoughtsTokenCount": used.reasoning,
        "totalTokenCount": used.prompt + used.completion,
    }
    if used.audio_prompt:
        found["promptTokensDetails"] = [{"modality": "AUDIO", "tokenCount": used.audio_prompt}]
    if used.audio_completion:
        heard = [{"modality": "AUDIO", "tokenCount": used.audio_completion}]
        found["candidatesTokensDetails"] = heard
    if said.tier is not None:
        found["serviceTier"] = TIERS[said.tier]
    return found
