"""Gemini `generateContent`, as the Developer API speaks it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from extproc.simulator import gemini_request as wire
from extproc.simulator import problems
from extproc.simulator.chat import Ask, Failure, Frame, RejectedError, Reply, Tool, Usage
from extproc.simulator.gemini_rules import broken_rule

MODELS = (
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
)
BODY_LIMIT = 20 * 1024 * 1024
"""Bytes of a request with everything inline, by the API's documentation."""
_PATH = re.compile(r"/models/([^/:]+):")

# kind: HTTP status, google.rpc code, message
_ERRORS: dict[str, tuple[int, str, str]] = {
    "invalid_request": (
        400,
        "INVALID_ARGUMENT",
        "Request contains an invalid argument.",
    ),
    "authentication": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "billing": (
        400,
        "FAILED_PRECONDITION",
        (
            "Gemini API free tier is not available in your country. Please enable billing on your "
            "project in Google AI Studio."
        ),
    ),
    "permission": (403, "PERMISSION_DENIED", "The caller does not have permission"),
    "not_found": (404, "NOT_FOUND", "Requested entity was not found."),
    "model_not_found": (
        404,
        "NOT_FOUND",
        (
            "models/gemini-gone is not found for API version v1beta, or is not supported for "
            "generateContent. Call ListModels to see the list of available models and their "
            "supported methods."
        ),
    ),
    "too_large": (
        400,
        "INVALID_ARGUMENT",
        "Request payload size exceeds the limit: 20971520 bytes.",
    ),
    "unprocessable": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "context_length": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1180042) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "content_filter": (400, "INVALID_ARGUMENT", "The prompt was blocked for safety reasons."),
    "rate_limit": (
        429,
        "RESOURCE_EXHAUSTED",
        (
            "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
        ),
    ),
    "quota": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "unavailable": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "server": (
        500,
        "INTERNAL",
        (
            "An internal error has occurred. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting"
        ),
    ),
    "timeout": (
        504,
        "DEADLINE_EXCEEDED",
        "Deadline expired before operation could complete.",
    ),
}
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
}
_TYPES = {
    "float": "TYPE_FLOAT",
    "int": "TYPE_INT32",
    "str": "TYPE_STRING",
    "bool": "TYPE_BOOL",
}
_SIGNATURE = base64.b64encode(b"simulated-thought-signature").decode()
_SAFETY = [
    {"category": f"HARM_CATEGORY_{one}", "probability": "NEGLIGIBLE"}
    for one in ("SEXUALLY_EXPLICIT", "HATE_SPEECH", "HARASSMENT", "DANGEROUS_CONTENT")
]


def _status_word(status: int) -> str:
    words = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    words |= {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
    return words.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")  # noqa: PLR2004


def body_of(status: int, word: str, message: str, details: list[Any] | None = None) -> bytes:
    """A `google.rpc.Status` in JSON, laid out as Google does."""
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if details:
        error["details"] = details
    return msgspec.json.format(msgspec.json.encode({"error": error}), indent=2) + b"\n"


def rejected(message: str, field: str | None = None) -> RejectedError:
    """400 INVALID_ARGUMENT; with a field it comes with its violation."""
    details = None
    if field is not None:
        violation = {"description": message} | ({"field": field} if field else {})
        details = [
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
        ]
    return RejectedError(Failure(400, body_of(400, "INVALID_ARGUMENT", message, details)))


def _snake(path: problems.Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        name = re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[1].lower(), step)
        text += f".{name}" if text else name
    return text


def complaint(error: problems.InvalidError) -> tuple[str, str | None]:
    """Google's message and field for a problem."""
    problem = error.problem
    if problem.kind == "json":
        return f"Invalid JSON payload received. {problem.got}", None
    if problem.kind == "unknown":
        where = _snake(problem.path[:-1])
        name = problem.path[-1]
        at = f" at '{where}'" if where else ""
        words = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
        return words, where
    where = _snake(problem.path)
    value = msgspec.json.encode(problems.value_at(error.document, problem.path)).decode()[:80]
    kinds = problem.expected.split(" | ")
    kind = next((_TYPES[one] for one in kinds if one in _TYPES), "Message")
    if problem.kind == "value":
        kind = "Enum"
    return f"Invalid value at '{where}' ({kind}), {value}", where


class Gemini:
    """Gemini's side of the wire."""

    name = "gemini"
    keepalive = b": keep-alive\r\n\r\n"

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:
        """403 without a key, 400 API_KEY_INVALID with a wrong one."""
        key = headers.get("x-goog-api-key", "") or parse_qs(query).get("key", [""])[0]
        if not key and not headers.get("authorization"):
            message = (
                "Method doesn't allow unregistered callers (callers without established "
                "identity). Please use API Key or other form of API consumer identity to call "
                "this API."
            )
            return Failure(403, body_of(403, "PERMISSION_DENIED", message))
        if "wrong" in key or "wrong" in headers.get("authorization", ""):
            return self.error("authentication")
        return None

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as Gemini does. Raises RejectedError."""
        del headers
        if len(body) > BODY_LIMIT:
            raise RejectedError(self.error("too_large"))
        found = _PATH.search(path)
        model = found[1] if found else ""
        if re.search(r"gone|unknown|nonexistent|does-not-exist", model) or (
            hosted and not re.match(r"gemini-|gemma-|learnlm-", model)
        ):
            words = _ERRORS["model_not_found"][2].replace("gemini-gone", model)
            raise RejectedError(Failure(404, body_of(404, "NOT_FOUND", words)))
        asked = _decode(body)
        wrong = broken_rule(asked, model)
        if wrong is not None:
            raise rejected(*wrong)
        stream = ":streamGenerateContent" in path
        sse = parse_qs(query).get("alt", [""])[0] == "sse"
        return _ask(asked, model, stream=stream, sse=sse)

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """Google's words for a kind of error."""
        del hosted
        usual, word, words = _ERRORS[kind]
        if status is not None and status != usual:
            usual, word = status, _status_word(status)
        return Failure(
            usual, body_of(usual, word, message or words, _details(kind, retry_after)), ()
        )

    def not_found(self, method: str, path: str) -> Failure:  # noqa: ARG002
        """404 as Google says it."""
        return Failure(404, body_of(404, "NOT_FOUND", "Requested entity was not found."))

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `GenerateContentResponse`."""
        candidates = [
            {**_candidate(_parts(reply), _finish(reply)), "index": n} for n in range(ask.choices)
        ]
        return msgspec.json.encode(_response(reply, candidates, reply.usage))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`GenerateContentResponse` events; the last has the finish reason. There is no other
        terminal event."""
        total = self.content_events(ask, reply)
        parts = list(_events(reply))
        sent = 0
        before, between, after = (b"data: ", b"", b"\r\n\r\n") if ask.sse else (b"[", b",\r\n", b"")
        for n, part in enumerate(parts):
            for index in range(ask.choices):
                sent += part is not None
                last = n == len(parts) - 1
                candidate = _candidate(
                    [{"text": ""} if part is None else part], _finish(reply) if last else None
                )
                candidate["index"] = index
                usage = reply.usage
                if usage is not None and not (last and index == ask.choices - 1):
                    usage = usage.after(max(sent, 1), total)
                data = msgspec.json.encode(_response(reply, [candidate], usage))
                yield before + data + after, part is not None
                before = before if ask.sse else between
        if not ask.sse:
            yield b"]", False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Text pieces, thoughts and whole calls, for each candidate."""
        return ask.choices * (len(reply.thinking) + len(reply.pieces) + len(reply.calls))

    def error_event(self, failure: Failure) -> bytes:
        """Google sends the status object as an event."""
        return b"data: " + failure.body.replace(b"\n", b" ").strip() + b"\r\n\r\n"

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of Gemini's answers."""
        return [
            (
                "content-type",
                "text/event-stream" if stream else "application/json; charset=UTF-8",
            ),
            ("vary", "Origin, X-Origin, Referer"),
            ("server", "scaffolding on HTTPServer2"),
            ("server-timing", "gfet4t7; dur=42"),
            ("x-gemini-request", reply_id),
        ]

    def models(self, model: str | None) -> bytes | None:
        """`GET /v1beta/models`."""
        listed = [
            {
                "name": f"models/{name}",
                "version": "001",
                "displayName": name,
                "description": "Simulated.",
                "inputTokenLimit": 1048576,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
                "temperature": 1,
                "topP": 0.95,
                "topK": 64,
                "maxTemperature": 2,
                "thinking": True,
            }
            for name in MODELS
            if model in (None, name)
        ]
        if model is None:
            return msgspec.json.encode({"models": listed})
        return msgspec.json.encode(listed[0]) if listed else None


def _decode(body: bytes) -> wire.Body:
    try:
        return problems.decode(wire.BODY, body)
    except problems.InvalidError as error:
        first = error
    if first.problem.kind == "unknown" and "_" in str(first.problem.path[-1]):
        document = wire.camel(first.document)
        try:
            return problems.convert(document, wire.Body, ())
        except problems.InvalidError as error:
            first = problems.InvalidError(error.problem, document)
    raise rejected(*complaint(first))


def _details(kind: str, retry_after: float | None) -> list[dict[str, Any]]:
    at = "type.googleapis.com/google.rpc."
    if kind == "authentication":
        return [
            {
                "@type": f"{at}ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            },
            {
                "@type": f"{at}LocalizedMessage",
                "locale": "en-US",
                "message": "API key not valid. Please pass a valid API key.",
            },
        ]
    details: list[dict[str, Any]] = []
    if kind in ("rate_limit", "quota"):
        details.append(
            {
                "@type": f"{at}QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/"
                        "generate_content_free_tier_requests",
                        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                        "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                        "quotaValue": "250",
                    }
                ],
            }
        )
    if retry_after is not None:
        details.append({"@type": f"{at}RetryInfo", "retryDelay": f"{retry_after:g}s"})
    return details


def _ask(asked: wire.Body, model: str, *, stream: bool, sse: bool) -> Ask:
    config = asked.generation_config or wire.GenerationConfig()
    tools = tuple(
        Tool(one.name or "", one.parameters_json_schema or _plain(one.parameters))
        for tool in asked.tools or ()
        for one in tool.function_declarations or ()
    )
    calling = asked.tool_config.function_calling_config if asked.tool_config else None
    calling = calling or wire.FunctionCallingConfig()
    allowed = calling.allowed_function_names or []
    thinking = config.thinking_config or wire.ThinkingConfig()
    last = (asked.contents or [wire.Content()])[-1].parts or []
    answered = any(part.function_response is not None for part in last)
    return Ask(
        model=model,
        stream=stream,
        sse=sse,
        tools=tuple(tool for tool in tools if not allowed or tool.name in allowed),
        required=calling.mode == "ANY",
        tools_off=calling.mode == "NONE",
        max_tokens=config.max_output_tokens,
        choices=config.candidate_count or 1,
        prompt="" if answered else " ".join(part.text for part in last if part.text),
        json_schema=config.response_json_schema or _plain(config.response_schema),
        json_mode=config.response_mime_type == "application/json",
        thinks=thinking.include_thoughts is True,
        reasons=bool(re.match(r"gemini-(2\.5|[3-9])", model)) and thinking.thinking_budget != 0,
    )


def _plain(schema: wire.Schema | None) -> Any:
    return None if schema is None else msgspec.to_builtins(schema)


def _parts(reply: Reply) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if reply.thinking:
        parts.append({"text": "".join(reply.thinking), "thought": True})
    if reply.pieces:
        parts.append({"text": reply.text})
    return parts + _calls(reply)


def _calls(reply: Reply) -> list[dict[str, Any]]:
    """Gemini 3 signs the first call of a turn and wants the signature back."""
    later = bool(re.match(r"gemini-[3-9]", reply.model))
    found = []
    for n, call in enumerate(reply.calls):
        function: dict[str, Any] = {"name": call.name, "args": _args(call.arguments)}
        if later:
            function["id"] = call.id
        part: dict[str, Any] = {"functionCall": function}
        if later and n == 0:
            part["thoughtSignature"] = _SIGNATURE
        found.append(part)
    return found


def _args(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {"_raw": arguments}


def _events(reply: Reply) -> Iterator[dict[str, Any] | None]:
    """One part an event. The last event, which carries the finish reason, has no content of its
    own when the text would be cut by it."""
    for one in reply.thinking:
        yield {"text": one, "thought": True}
    for one in reply.pieces:
        yield {"text": one}
    yield from _calls(reply)
    yield None


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


def _response(reply: Reply, candidates: list[Any], usage: Usage | None) -> dict[str, Any]:
    body: dict[str, Any] = {"candidates": candidates}
    if usage is not None:
        body["usageMetadata"] = _usage(usage)
    return body | {"modelVersion": reply.model, "responseId": reply.id}


def _usage(usage: Usage) -> dict[str, Any]:
    """Gemini counts thoughts beside `candidatesTokenCount`, not within; zeros are left out."""
    visible = usage.output - usage.reasoning
    found: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": visible,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    if usage.cached:
        found["cachedContentTokenCount"] = usage.cached
        found["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached}]
    if usage.reasoning:
        found["thoughtsTokenCount"] = usage.reasoning
    if not visible:
        del found["candidatesTokenCount"]
    return found
