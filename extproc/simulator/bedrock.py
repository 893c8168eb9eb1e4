"""Amazon Bedrock's Converse API, as the service speaks it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from extproc.simulator import bedrock_request as wire
from extproc.simulator import event_stream, problems
from extproc.simulator.bedrock_rules import broken_rule, cache_blocks, schema_text, thinking_of
from extproc.simulator.bedrock_signature import broken, claimed
from extproc.simulator.chat import (
    NOTHING,
    Ask,
    Failure,
    Frame,
    RejectedError,
    Reply,
    Tool,
    Usage,
    bearer,
)
from extproc.simulator.prompt_cache import Memory
from extproc.simulator.signatures import seal, sign

_PATH = re.compile(
    r".*/model/(?P<model>[^/]+)/(?P<operation>converse|converse-stream|count-tokens)"
)
_MODEL = re.compile(
    r"arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:([0-9]{12})?:[a-z-]+/[a-zA-Z0-9_.:/-]+"
    r"|([a-z]{2,6}(-gov)?\.)?(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|"
    r"nvidia|openai|qwen|writer|zai)\.[a-zA-Z0-9.:_-]+"
)
BODY_LIMIT = 20 * 1024 * 1024
"""Bytes of a request, by the service's quotas for inline content."""

# kind: status, exception, message
_ERRORS: dict[str, tuple[int, str, str]] = {
    "invalid_request": (400, "ValidationException", "The request is invalid."),
    "authentication": (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    "billing": (
        403,
        "AccessDeniedException",
        (
            "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument "
            "must be provided."
        ),
    ),
    "permission": (
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    ),
    "not_found": (404, "ResourceNotFoundException", "The specified resource was not found."),
    "model_not_found": (
        404,
        "ResourceNotFoundException",
        "This model version has reached the end of its life.",
    ),
    "too_large": (413, "RequestEntityTooLargeException", "The request body is too large."),
    "unprocessable": (424, "ModelErrorException", "The model could not process the request."),
    "context_length": (400, "ValidationException", "Input is too long for requested model."),
    "content_filter": (
        400,
        "ValidationException",
        "The request was blocked by our content filters.",
    ),
    "rate_limit": (
        429,
        "ThrottlingException",
        "Too many requests, please wait before trying again.",
    ),
    "quota": (
        429,
        "ThrottlingException",
        "Too many tokens per day, please wait before trying again.",
    ),
    "overloaded": (
        503,
        "ServiceUnavailableException",
        "Bedrock is unable to process your request.",
    ),
    "unavailable": (
        503,
        "ServiceUnavailableException",
        "The service isn't currently available. Try again later.",
    ),
    "server": (
        500,
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    "timeout": (408, "ModelTimeoutException", "Model has timed out in processing the request."),
}
_OF_STATUS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_IN_STREAM = {
    "InternalServerException": "internalServerException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "ThrottlingException": "throttlingException",
    "ValidationException": "validationException",
}
"""The exceptions that a stream knows; all others are errors of the model."""
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
}
_PIECE = 12
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Own(msgspec.Struct, frozen=True):
    """What only Bedrock knows of a request."""

    counting: bool = False
    guarded: bool = False
    redacts: bool = False
    """The prompt holds the word that makes a model hide its reasoning."""
    trace: bool = False
    response_fields: tuple[str, ...] = ()
    citations: tuple[dict[str, Any], ...] = ()
    """What the text will cite."""


def failure(status: int, kind: str, message: str) -> Failure:
    """An error answer: its kind stands in a header."""
    body = msgspec.json.encode({"message": message})
    return Failure(status, body, (("x-amzn-errortype", kind),))


def _invalid(message: str) -> RejectedError:
    return RejectedError(failure(400, "ValidationException", message))


def complaint(error: problems.InvalidError) -> str:  # noqa: PLR0911 - one return a kind
    """Bedrock's words for a problem."""
    problem = error.problem
    where = ".".join(
        f"{step + 1}.member" if isinstance(step, int) else step for step in problem.path
    )
    start = f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
    match problem.kind:
        case "json":
            return f"The request body is not valid JSON: {problem.got}"
        case "unknown":
            path = "/".join(str(step) for step in problem.path[:-1])
            return (
                f"Malformed input request: #{'/' + path if path else ''}: extraneous key "
                f"[{problem.path[-1]}] is not permitted, please reformat your input and try again."
            )
        case "missing":
            return f"{start}Member must not be null"
        case "type":
            return f"{start}Member must have type {problem.expected}, not {problem.got}"
        case "range":
            return f"{start}Member must satisfy {problem.expected}"
        case _ if problem.got == wire.ONE_MEMBER:
            return f"{start}Member must have exactly one field set"
        case _:
            return f"{start}Member must satisfy enum value set or encoding, not '{problem.got}'"


class Bedrock:
    """Bedrock's side of the wire. With an access key and its secret it checks signatures."""

    name = "bedrock"
    keepalive = b""

    def __init__(self, key: str | None = None, secret: str | None = None) -> None:
        self._key = key or os.environ.get("AWS_ACCESS_KEY_ID", "")
        self._secret = secret or os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        self._memory = Memory()

    def authenticate(  # noqa: PLR0911 - one return for each mistake
        self,
        headers: Mapping[str, str],
        query: str,  # noqa: ARG002
    ) -> Failure | None:
        """403 as AWS says it: a signature or a bearer token is needed."""
        given = headers.get("authorization", "")
        if not given:
            return failure(
                403, "MissingAuthenticationTokenException", "Missing Authentication Token"
            )
        if bearer(headers):
            if "wrong" not in given:
                return None
            words = "Authentication failed: Please make sure your API Key is valid."
            return failure(403, "AccessDeniedException", words)
        claim = claimed(given)
        if claim is None:
            words = (
                "Authorization header requires 'Credential' parameter. Authorization header "
                "requires 'Signature' parameter. Authorization header requires 'SignedHeaders' "
                f"parameter. Authorization={given[:40]}"
            )
            return failure(403, "IncompleteSignatureException", words)
        if claim.service != "bedrock":
            words = (
                f"Credential should be scoped to correct service: 'bedrock'. Got {claim.service}"
            )
            return failure(403, "InvalidSignatureException", words)
        if "wrong" in claim.key or (self._secret and claim.key != self._key):
            status, kind, words = _ERRORS["authentication"]
            return failure(status, kind, words)
        return None

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Check the signature, and validate as Bedrock does. Raises RejectedError."""
        if hosted:
            self._verify(body, headers, path, query)
        if len(body) > BODY_LIMIT:
            raise RejectedError(self.error("too_large"))
        found = _PATH.fullmatch(path)
        model = unquote(found["model"]) if found else ""
        operation = found["operation"] if found else ""
        gone = re.search(r"gone|unknown|nonexistent|does-not-exist", model)
        if gone or (hosted and not _MODEL.fullmatch(model)):
            raise _invalid("The provided model identifier is invalid.")
        try:
            if operation == "count-tokens":
                return self._count(body, model)
            asked = problems.decode(wire.BODY, body)
        except problems.InvalidError as error:
            raise _invalid(complaint(error)) from None
        stream = operation == "converse-stream"
        wrong = broken_rule(asked, model, stream=stream)
        if wrong is not None:
            raise _invalid(wrong)
        return self._ask(asked, model, stream=stream)

    def _verify(self, body: bytes, headers: Mapping[str, str], path: str, query: str) -> None:
        claim = claimed(headers.get("authorization", ""))
        if claim is None or not self._secret:
            return
        wrong = broken(claim, self._secret, path=path, query=query, headers=headers, body=body)
        if wrong is not None:
            raise RejectedError(failure(403, "InvalidSignatureException", wrong))

    def _count(self, body: bytes, model: str) -> Ask:
        asked = problems.decode(wire.COUNT_BODY, body).input
        if asked.converse is not None:
            one = asked.converse
            whole = wire.Body(
                messages=one.messages,
                system=one.system,
                tool_config=one.tool_config,
                additional_model_request_fields=one.additional_model_request_fields,
            )
            wrong = broken_rule(whole, model, stream=False)
            if wrong is not None:
                raise _invalid(wrong)
        return Ask(model=model, silent=True, free=True, own=Own(counting=True))

    def _ask(self, body: wire.Body, model: str, *, stream: bool) -> Ask:
        offered = body.tool_config.tools if body.tool_config is not None else []
        choice = body.tool_config.tool_choice if body.tool_config is not None else None
        last = (body.messages or [wire.Message(role="user", content=[])])[-1].content
        answered = any(block.tool_result for block in last)
        schema = schema_text(body)
        guard = body.guardrail_config
        prompt = "" if answered else " ".join(block.text for block in last if block.text)
        return Ask(
            model=model,
            stream=stream,
            tools=tuple(
                Tool(one.tool_spec.name, one.tool_spec.input_schema.json)
                for one in offered
                if one.tool_spec is not None
            ),
            forced=choice.tool.name if choice is not None and choice.tool is not None else None,
            required=choice is not None and choice.any is not None,
            max_tokens=body.inference_config.max_tokens if body.inference_config else None,
            prompt=prompt,
            json_schema=msgspec.json.decode(schema) if schema is not None else None,
            thinks=thinking_of(body) is not None,
            writes_cache=True,
            prompt_cache=self._memory.look(model, cache_blocks(body)),
            own=Own(
                guarded=bool(guard is not None and guard.guardrail_identifier),
                redacts="ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING" in prompt,
                trace=guard is not None and guard.trace not in (None, "disabled"),
                response_fields=tuple(body.additional_model_response_field_paths or ()),
                citations=tuple(_citations(body)),
            ),
        )

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """AWS's words for a kind of error."""
        del hosted
        usual, name, words = _ERRORS[kind]
        if status is not None and status != usual:
            usual = status
            name = _OF_STATUS.get(status, name)
        made = failure(usual, name, message or words)
        if retry_after is None:
            return made
        after = ("retry-after", f"{max(1, round(retry_after))}")
        return Failure(made.status, made.body, (*made.headers, after))

    def not_found(self, method: str, path: str) -> Failure:  # noqa: ARG002
        """404 as AWS says it."""
        body = b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},'
        body += b'"Version":"1.0"}'
        return Failure(404, body, (("x-amzn-errortype", "UnknownOperationException"),))

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `ConverseResponse`, or the count of `CountTokens`."""
        usage = reply.usage or NOTHING
        if ask.own.counting:
            return msgspec.json.encode({"inputTokens": usage.input})
        content: list[dict[str, Any]] = []
        if reply.thinking:
            content.append({"reasoningContent": _reasoning(ask, "".join(reply.thinking))})
        if reply.pieces and ask.own.citations:
            cited = {"citations": list(ask.own.citations), "content": [{"text": reply.text}]}
            content.append({"citationsContent": cited})
        elif reply.pieces:
            content.append({"text": reply.text})
        content += [
            {
                "toolUse": {
                    "input": _input(call.arguments),
                    "name": call.name,
                    "toolUseId": f"tooluse_{call.id}",
                }
            }
            for call in reply.calls
        ]
        body = {
            "metrics": {"latencyMs": 100},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": _stop(ask, reply),
            "usage": _usage(usage),
            **_response_fields(ask),
            **_trace(ask),
        }
        return msgspec.json.encode(body)

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`messageStart` … `messageStop` and `metadata`."""
        yield _event("messageStart", {"role": "assistant"}), False
        for n, (start, deltas) in enumerate(_blocks(ask, reply)):
            at = {"contentBlockIndex": n}
            if start is not None:
                yield _event("contentBlockStart", {**at, "start": start}), True
            for delta in deltas:
                yield _event("contentBlockDelta", {**at, "delta": delta}), _is_content(delta)
            yield _event("contentBlockStop", at), False
        stop = {"stopReason": _stop(ask, reply), **_response_fields(ask)}
        yield _event("messageStop", stop), False
        metadata = {
            "metrics": {"latencyMs": 100},
            "usage": _usage(reply.usage or NOTHING),
            **_trace(ask),
        }
        yield _event("metadata", metadata), False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Pieces of text and reasoning, starts of calls and pieces of their input."""
        if ask.own.counting:
            return 1
        return sum(
            (start is not None) + sum(map(_is_content, deltas))
            for start, deltas in _blocks(ask, reply)
        )

    def error_event(self, failure: Failure) -> bytes:
        """An exception message."""
        named = dict(failure.headers).get("x-amzn-errortype", _OF_STATUS.get(failure.status, ""))
        kind = _IN_STREAM.get(named)
        if kind is not None:
            return event_stream.exception(kind, failure.body)
        body: Any = msgspec.json.decode(failure.body)
        words = body.get("message") if isinstance(body, dict) else None
        payload = {"message": words, "originalStatusCode": failure.status, "originalMessage": words}
        return event_stream.exception("modelStreamErrorException", msgspec.json.encode(payload))

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of Bedrock's answers."""
        kind = "application/vnd.amazon.eventstream" if stream else "application/json"
        digits = reply_id.ljust(32, "0")
        request = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
        return [("content-type", kind), ("x-amzn-requestid", request)]

    def models(self, model: str | None) -> bytes | None:  # noqa: ARG002
        """The runtime has no list of models."""
        return None


def _reasoning(ask: Ask, text: str) -> dict[str, Any]:
    if ask.own.redacts:
        return {"redactedContent": seal(text, "redacted")}
    return {"reasoningText": {"signature": sign(text), "text": text}}


def _blocks(ask: Ask, reply: Reply) -> Iterator[tuple[dict[str, Any] | None, list[dict[str, Any]]]]:
    """Each content block: how it starts (only calls say so), and its deltas."""
    if reply.thinking and ask.own.redacts:
        hidden = seal("".join(reply.thinking), "redacted")
        yield None, [{"reasoningContent": {"redactedContent": hidden}}]
    elif reply.thinking:
        deltas: list[dict[str, Any]] = [
            {"reasoningContent": {"text": one}} for one in reply.thinking
        ]
        deltas.append({"reasoningContent": {"signature": sign("".join(reply.thinking))}})
        yield None, deltas
    if reply.pieces:
        cited = [{"citation": one} for one in ask.own.citations]
        yield None, [*({"text": one} for one in reply.pieces), *cited]
    for call in reply.calls:
        text = call.arguments
        pieces = [text[n : n + _PIECE] for n in range(0, len(text), _PIECE)] or [""]
        start = {"toolUse": {"name": call.name, "toolUseId": f"tooluse_{call.id}"}}
        yield start, [{"toolUse": {"input": one}} for one in pieces]


def _is_content(delta: dict[str, Any]) -> bool:
    return "citation" not in delta and "signature" not in delta.get("reasoningContent", {})


def _citations(body: wire.Body) -> Iterator[dict[str, Any]]:
    """A citation of each document that may be cited."""
    documents = [
        block.document
        for message in body.messages or ()
        for block in message.content
        if block.document is not None
    ]
    for n, one in enumerate(documents):
        if one.citations is None or not one.citations.enabled:
            continue
        at = {"documentIndex": n, "start": 0, "end": 1}
        source = one.source
        kind = "documentChunk" if source.content else "documentChar"
        text = source.content[0].text if source.content else source.text
        if text is None:
            kind, text = "documentPage", "The first page."
        elif kind == "documentChar":
            text = text[:40]
            at["end"] = len(text)
        yield {"title": one.name, "sourceContent": [{"text": text}], "location": {kind: at}}


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    """An event, padded as Bedrock pads them, so that sizes do not tell what is said."""
    padding = _PADDING[: 3 + len(str(fields)) * 7 % 56]
    return event_stream.event(kind, {**fields, "p": padding})


def _input(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {"_raw": arguments}


def _stop(ask: Ask, reply: Reply) -> str:
    if reply.finish in ("content_filter", "refusal") and ask.own.guarded:
        return "guardrail_intervened"
    return _FINISH.get(reply.finish, reply.finish)


def _usage(usage: Usage) -> dict[str, Any]:
    """Bedrock counts cached tokens beside `inputTokens`, and all in `totalTokens`."""
    found: dict[str, Any] = {
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_write,
        "inputTokens": usage.input - usage.cached - usage.cache_write,
        "outputTokens": usage.output,
        "serverToolUsage": {},
        "totalTokens": usage.input + usage.output,
    }
    if usage.cache_write:
        kept = (("5m", usage.cache_write - usage.cache_write_1h), ("1h", usage.cache_write_1h))
        found["cacheDetails"] = [
            {"inputTokens": tokens, "ttl": ttl} for ttl, tokens in kept if tokens
        ]
    return found


def _response_fields(ask: Ask) -> dict[str, Any]:
    """What `additionalModelResponseFieldPaths` asks for: the stop sequence, here always none."""
    wanted = {path.removeprefix("/") for path in ask.own.response_fields}
    return {"additionalModelResponseFields": dict.fromkeys(sorted(wanted))} if wanted else {}


def _trace(ask: Ask) -> dict[str, Any]:
    """What the guardrail says it looked at."""
    if not (ask.own.guarded and ask.own.trace):
        return {}
    return {"trace": {"guardrail": {"inputAssessment": {}, "outputAssessments": {}}}}
