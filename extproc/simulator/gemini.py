"""Gemini `generateContent`, as the Developer API speaks it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from extproc.simulator import gemini_answer, gemini_methods, problems
from extproc.simulator import gemini_request as wire
from extproc.simulator.chat import Ask, Failure, Frame, PromptCache, RejectedError, Reply, Tool
from extproc.simulator.gemini_rules import broken_rule

MODELS = (
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gemini-embedding-001",
)
BODY_LIMIT = 20 * 1024 * 1024
"""Bytes of a request with everything inline, by the API's documentation."""
_CACHED = 4096
"""Tokens of any cached content."""
_PATH = re.compile(r"/models/([^/:]+):(\w+)")

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
_TYPES = {
    "float": "TYPE_FLOAT",
    "int": "TYPE_INT32",
    "str": "TYPE_STRING",
    "bool": "TYPE_BOOL",
}


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
    on_vertex = False
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
        model, method = (found[1], found[2]) if found else ("", "")
        if re.search(r"gone|unknown|nonexistent|does-not-exist", model) or (
            hosted
            and not re.match(r"gemini-|gemma-|learnlm-|text-(multilingual-)?embedding-", model)
        ):
            raise RejectedError(self.no_model(model, path))
        if method in gemini_methods.DECODERS:
            other = _decode(body, gemini_methods.DECODERS[method], _KINDS[method])
            made = gemini_methods.understood(other, model, method, on_vertex=self.on_vertex)
            if isinstance(made, str):
                raise rejected(made)
            return made
        asked = _decode(body, wire.BODY, wire.Body)
        wrong = broken_rule(asked, model, on_vertex=self.on_vertex)
        if wrong is not None:
            raise rejected(*wrong)
        stream = method == "streamGenerateContent"
        sse = parse_qs(query).get("alt", [""])[0] == "sse"
        return _ask(asked, model, stream=stream, sse=sse, on_vertex=self.on_vertex)

    def no_model(self, model: str, path: str) -> Failure:  # noqa: ARG002 - Vertex wants it
        """404 for a model that is not there."""
        words = _ERRORS["model_not_found"][2].replace("gemini-gone", model)
        return Failure(404, body_of(404, "NOT_FOUND", words))

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
        """A `GenerateContentResponse`, or what another method gives."""
        if ask.silent:
            return msgspec.json.encode(gemini_methods.answer(ask, reply))
        return msgspec.json.encode(gemini_answer.whole(ask, reply))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`GenerateContentResponse` events."""
        total = self.content_events(ask, reply)
        before, between, after = (b"data: ", b"", b"\r\n\r\n") if ask.sse else (b"[", b",\r\n", b"")
        for response, content in gemini_answer.events(ask, reply, total):
            yield before + msgspec.json.encode(response) + after, content
            before = before if ask.sse else between
        if not ask.sse:
            yield b"]", False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Text pieces, thoughts and whole calls, for each candidate."""
        return 1 if ask.silent else gemini_answer.count(ask, reply)

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
                "supportedGenerationMethods": ["generateContent", "countTokens"]
                if name.startswith("gemini-") and "embedding" not in name
                else ["embedContent", "batchEmbedContents"],
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


_KINDS: dict[str, Any] = {
    "countTokens": gemini_methods.CountRequest,
    "embedContent": gemini_methods.EmbedRequest,
    "batchEmbedContents": gemini_methods.BatchRequest,
    "predict": gemini_methods.PredictRequest,
}


def _decode(body: bytes, decoder: msgspec.json.Decoder[Any], kind: type[Any]) -> Any:
    try:
        return problems.decode(decoder, body)
    except problems.InvalidError as error:
        first = error
    if first.problem.kind == "unknown" and "_" in str(first.problem.path[-1]):
        document = wire.camel(first.document)
        try:
            return problems.convert(document, kind, ())
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
        span = "Minute" if kind == "rate_limit" else "Day"
        details.append(
            {
                "@type": f"{at}QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/"
                        "generate_content_free_tier_requests",
                        "quotaId": f"GenerateRequestsPer{span}PerProjectPerModel-FreeTier",
                        "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                        "quotaValue": "250",
                    }
                ],
            }
        )
    if retry_after is not None:
        details.append({"@type": f"{at}RetryInfo", "retryDelay": f"{retry_after:g}s"})
    return details


def _ask(asked: wire.Body, model: str, *, stream: bool, sse: bool, on_vertex: bool) -> Ask:
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
    prompt = "" if answered else " ".join(part.text for part in last if part.text)
    searches = any(
        tool.google_search is not None or tool.google_search_retrieval is not None
        for tool in asked.tools or ()
    )
    reads = any(tool.url_context is not None for tool in asked.tools or ())
    return Ask(
        model=model,
        stream=stream,
        sse=sse,
        tools=tuple(tool for tool in tools if not allowed or tool.name in allowed),
        required=calling.mode == "ANY",
        tools_off=calling.mode == "NONE",
        max_tokens=config.max_output_tokens,
        choices=config.candidate_count or 1,
        prompt=prompt,
        json_schema=config.response_json_schema or _plain(config.response_schema),
        json_mode=config.response_mime_type == "application/json",
        thinks=thinking.include_thoughts is True,
        reasons=bool(re.match(r"gemini-(2\.5|[3-9])", model)) and thinking.thinking_budget != 0,
        logprobs=config.response_logprobs is True,
        stops=tuple(config.stop_sequences or ()),
        prompt_cache=PromptCache(_CACHED) if asked.cached_content else None,
        own=gemini_answer.Own(
            alternatives=(config.logprobs or 0) if config.response_logprobs else None,
            searches=searches,
            reads_urls=reads,
            modalities=tuple(sorted(_modalities(asked.contents or []))),
            prompt=prompt,
            on_vertex=on_vertex,
        ),
    )


def _modalities(contents: list[wire.Content]) -> set[str]:
    """What the prompt is made of."""
    found = {"TEXT"}
    for content in contents:
        for part in content.parts or ():
            given = part.inline_data or part.file_data
            kind = (given.mime_type or "") if given is not None else "text/plain"
            name = kind.partition("/")[0].upper()
            found.add(name if name in ("TEXT", "IMAGE", "AUDIO", "VIDEO") else "DOCUMENT")
    return found


def _plain(schema: wire.Schema | None) -> Any:
    return None if schema is None else msgspec.to_builtins(schema)
