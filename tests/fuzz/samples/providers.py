"""Answers of each provider."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.samples.clients import CHAT_ANSWERS, CHUNKS, EMBEDDED
from tests.fuzz.samples.messages import ANSWERS as MESSAGES_ANSWERS
from tests.fuzz.samples.messages import COUNTED
from tests.fuzz.samples.messages import STREAMS as MESSAGES_STREAMS
from tests.fuzz.samples.responses import RESPONSES
from tests.fuzz.samples.shapes import Provider, body, message, named, unnamed

_HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_PLAIN: Final = (b"", _HTML, b"upstream connect error", b"null", b"[]", b'{"detail": "x"}')

# --- OpenAI and Azure ---------------------------------------------------------------------


def _openai_error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


_OPENAI_ERRORS: Final = (
    *body(
        _openai_error("maximum context length is 10", code="context_length_exceeded", param=None),
        _openai_error("no model", code="model_not_found", param="model"),
        _openai_error("You exceeded your quota", type="insufficient_quota", code=None),
        _openai_error(
            "filtered",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
        ),
        {"error": "model is loading", "estimated_time": 20.0},
        {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400},
        {"detail": [{"loc": ["body", "n"], "msg": "too many", "type": "value_error"}]},
    ),
    *_PLAIN,
)
_OPENAI_HEADERS: Final = (
    b"x-ratelimit-limit-requests: 60\nx-ratelimit-reset-requests: 1s\nretry-after-ms: 20",
    b"retry-after: Wed, 21 Oct 2026 07:28:00 GMT",
)
_OPENAI: Final = Provider(
    (*CHAT_ANSWERS, *EMBEDDED, *RESPONSES.answers), CHUNKS, _OPENAI_ERRORS, _OPENAI_HEADERS
)

# --- Anthropic ----------------------------------------------------------------------------


def _anthropic_error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}


_ANTHROPIC: Final = Provider(
    (*MESSAGES_ANSWERS, *COUNTED),
    MESSAGES_STREAMS,
    (
        *body(
            _anthropic_error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            _anthropic_error("rate_limit_error", "slow down"),
            _anthropic_error("overloaded_error", "Overloaded"),
            _anthropic_error("authentication_error", "invalid x-api-key"),
        ),
        *_PLAIN,
    ),
    (
        b"anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 49",
        b"anthropic-ratelimit-tokens-reset: 2026-11-23T12:00:00Z\nretry-after: 3",
    ),
)

# --- Gemini and Vertex --------------------------------------------------------------------

_GEMINI_USAGE: Final = {
    "promptTokenCount": 12,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 1,
    "totalTokenCount": 17,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
}


def _gemini(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}, **more}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _GEMINI_USAGE,
        "modelVersion": "m-1",
        "responseId": "r1",
    }


_CALLED: Final = {
    "functionCall": {"id": "c1", "name": "f", "args": {"a": 1.0}},
    "thoughtSignature": "c2ln",
}
_GROUNDING: Final = {
    "webSearchQueries": ["q"],
    "groundingChunks": [{"web": {"uri": "https://example.com", "title": "t"}}],
    "groundingSupports": [
        {"segment": {"startIndex": 0, "endIndex": 3, "text": "See"}, "groundingChunkIndices": [0]}
    ],
}
_BLOCKED: Final = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
    "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
}
_GEMINI_ANSWERS: Final = body(
    _gemini({"text": "Grey."}),
    _gemini({"text": "Hm.", "thought": True}, {"text": ""}, _CALLED),
    _gemini({"text": "See"}, finish="MAX_TOKENS", groundingMetadata=_GROUNDING),
    _gemini({"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}, finish="SAFETY"),
    _gemini(
        {"text": "x"},
        avgLogprobs=-0.1,
        logprobsResult={
            "chosenCandidates": [{"token": "x", "tokenId": 1, "logProbability": -0.1}],
            "topCandidates": [{"candidates": [{"token": "x", "logProbability": -0.1}]}],
        },
    ),
    _BLOCKED,
    {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1]}]},
    {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 3}}}]},
    {"totalTokens": 14},
)
_GEMINI: Final = Provider(
    _GEMINI_ANSWERS,
    (
        unnamed(_gemini({"text": "Gr\u00fc"}, finish=None), _gemini({"text": "n."}), done=False),
        unnamed(
            _gemini({"text": "Hm.", "thought": True}, finish=None),
            _gemini(_CALLED, finish=None),
            _gemini({"text": "", "thoughtSignature": "c2ln"}),
            done=False,
        ),
        unnamed(_gemini({"text": "See"}, groundingMetadata=_GROUNDING), done=False),
        unnamed(
            _BLOCKED, {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}, done=False
        ),
    ),
    (
        *body(
            {
                "error": {
                    "code": 429,
                    "message": "quota",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [
                        {
                            "@type": "type.googleapis.com/google.rpc.RetryInfo",
                            "retryDelay": "3.5s",
                        }
                    ],
                }
            },
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (9) exceeds the maximum",
                    "status": "INVALID_ARGUMENT",
                }
            },
            [{"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}],
        ),
        *_PLAIN,
    ),
    (b"retry-after: 3",),
)
_VERTEX: Final = Provider(
    (*_GEMINI_ANSWERS, *MESSAGES_ANSWERS),
    (*_GEMINI.streams, *MESSAGES_STREAMS),
    (*_GEMINI.errors, *_ANTHROPIC.errors),
    _GEMINI.headers,
)

# --- Bedrock ------------------------------------------------------------------------------

_BEDROCK_USAGE: Final = {
    "inputTokens": 6,
    "outputTokens": 5,
    "totalTokens": 17,
    "cacheReadInputTokens": 4,
    "cacheWriteInputTokens": 2,
}


def _converse(*content: dict[str, Any], stop: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop,
        "usage": _BEDROCK_USAGE,
        "metrics": {"latencyMs": 10},
    }


def _event(type_: str, tree: dict[str, Any]) -> bytes:
    return message("event", type_, {**tree, "p": "abcdefg"})


def _delta(index: int, **delta: Any) -> bytes:
    return _event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})


_BEDROCK: Final = Provider(
    body(
        _converse({"text": "Grey."}, stop="end_turn"),
        _converse(
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
            {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "input": {"a": 1}}},
            stop="tool_use",
        ),
        _converse(
            {
                "citationsContent": {
                    "content": [{"text": "See"}],
                    "citations": [
                        {
                            "title": "t",
                            "sourceContent": [{"text": "x"}],
                            "location": {
                                "documentChar": {"documentIndex": 0, "start": 0, "end": 1}
                            },
                        }
                    ],
                }
            },
            stop="guardrail_intervened",
        ),
        {"embedding": [0.5, -0.25], "inputTextTokenCount": 3},
        {"inputTokens": 14},
    ),
    (
        _event("messageStart", {"role": "assistant"})
        + _delta(0, text="Gr\u00fc")
        + _delta(0, text="n.")
        + _event("contentBlockStop", {"contentBlockIndex": 0})
        + _event("messageStop", {"stopReason": "end_turn"})
        + _event("metadata", {"usage": _BEDROCK_USAGE, "metrics": {"latencyMs": 10}}),
        _event("messageStart", {"role": "assistant"})
        + _delta(0, reasoningContent={"text": "Hm."})
        + _delta(0, reasoningContent={"signature": "c2ln"})
        + _event("contentBlockStop", {"contentBlockIndex": 0})
        + _event(
            "contentBlockStart",
            {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}},
        )
        + _delta(1, toolUse={"input": '{"a"'})
        + _delta(1, toolUse={"input": ": 1}"})
        + _event("contentBlockStop", {"contentBlockIndex": 1})
        + _event("messageStop", {"stopReason": "tool_use"})
        + _event("metadata", {"usage": _BEDROCK_USAGE}),
        _event("messageStart", {"role": "assistant"})
        + _delta(0, text="x")
        + message("exception", "throttlingException", {"message": "slow down"}),
        message("exception", "validationException", {"message": "Input is too long"}),
    ),
    (
        *body(
            {"message": "Too many requests"},
            {"Message": "Input is too long for requested model."},
            {"__type": "ValidationException", "message": "bad"},
        ),
        *_PLAIN,
    ),
    (b"x-amzn-errortype: ThrottlingException:http://internal.amazon.com/\nretry-after: 1",),
)

# --- Cohere -------------------------------------------------------------------------------

_COHERE_USAGE: Final = {
    "billed_units": {"input_tokens": 6, "output_tokens": 5},
    "tokens": {"input_tokens": 12, "output_tokens": 5},
    "cached_tokens": 4,
}
_COHERE_CALL: Final = {
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a": 1}'},
}
_CITATION: Final = {
    "start": 0,
    "end": 3,
    "text": "See",
    "content_index": 0,
    "type": "TEXT_CONTENT",
    "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "t"}}],
}


def _cohere(finish: str, **message_: Any) -> dict[str, Any]:
    return {
        "id": "co-1",
        "finish_reason": finish,
        "message": {"role": "assistant", **message_},
        "usage": _COHERE_USAGE,
    }


def _co(type_: str, index: int | None = None, **message_: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": type_}
    if index is not None:
        found["index"] = index
    if message_:
        found["delta"] = {"message": message_}
    return found


def _co_end(finish: str) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": finish, "usage": _COHERE_USAGE}}


_CO_START: Final = {
    "type": "message-start",
    "id": "co-1",
    "delta": {
        "message": {
            "role": "assistant",
            "content": [],
            "tool_plan": "",
            "tool_calls": [],
            "citations": [],
        }
    },
}
_COHERE: Final = Provider(
    body(
        _cohere("COMPLETE", content=[{"type": "text", "text": "Grey."}]),
        _cohere("TOOL_CALL", tool_plan="Hm.", tool_calls=[_COHERE_CALL]),
        _cohere(
            "MAX_TOKENS",
            content=[{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "See"}],
            citations=[_CITATION],
        ),
        _cohere("ERROR", content=[]),
        {
            "id": "e1",
            "embeddings": {"float": [[0.5, -0.25], [1]]},
            "texts": ["a", "b"],
            "meta": {"billed_units": {"input_tokens": 3}},
        },
    ),
    (
        named(
            _CO_START,
            _co("content-start", 0, content={"type": "text", "text": ""}),
            _co("content-delta", 0, content={"text": "Gr\u00fc"}),
            _co("content-delta", 0, content={"text": "n."}),
            _co("content-end", 0),
            _co_end("COMPLETE"),
        ),
        named(
            _CO_START,
            _co("content-start", 0, content={"type": "thinking", "thinking": ""}),
            _co("content-delta", 0, content={"thinking": "Hm."}),
            _co("content-end", 0),
            _co("tool-plan-delta", tool_plan="Hm."),
            _co("tool-call-start", 0, tool_calls={**_COHERE_CALL, "function": {"name": "f"}}),
            _co("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"a": 1}'}}),
            _co("tool-call-end", 0),
            _co_end("TOOL_CALL"),
        )
        + b"data: [DONE]\n\n",
        named(
            _CO_START,
            _co("content-start", 0, content={"type": "text", "text": "See"}),
            _co("citation-start", 0, citations=_CITATION),
            _co("citation-end", 0),
            _co_end("ERROR"),
        ),
    ),
    (
        *body(
            {"id": "x", "message": "too many tokens: the total number of tokens"},
            {"message": "invalid api token"},
        ),
        *_PLAIN,
    ),
    (b"x-endpoint-monthly-call-limit: 1000\nx-trial-endpoint-call-remaining: 5\nretry-after: 1",),
)

PROVIDERS: Final[dict[str, Provider]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
    "vertex": _VERTEX,
    "bedrock": _BEDROCK,
    "cohere": _COHERE,
}
