"""Cohere's chat and embeddings, version 2, as the provider speaks them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from extproc.simulator import cohere_request as wire
from extproc.simulator import problems, vectors
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
from extproc.simulator.cohere_rules import broken_rule

MODELS = (
    "command-a-03-2025",
    "command-a-reasoning-08-2025",
    "command-a-vision-07-2025",
    "command-r-plus-08-2024",
    "command-r7b-12-2024",
    "embed-v4.0",
)
BODY_LIMIT = 20 * 1024 * 1024
_OWN = re.compile(r"command|c4ai|embed|north-|tiny-aya|[0-9a-f-]{36}-ft")
_DIMENSION = 1536
_PIECE = 12
_HELP = "For proper usage, please refer to https://docs.cohere.com/reference/chat"

# kind: status, message
_ERRORS: dict[str, tuple[int, str]] = {
    "invalid_request": (400, "invalid request"),
    "authentication": (401, "invalid api token"),
    "billing": (
        402,
        (
            "Please add or update your payment method at "
            "https://dashboard.cohere.com/billing?tab=payment"
        ),
    ),
    "permission": (403, "your api key does not have access to this resource"),
    "not_found": (404, "not found"),
    "model_not_found": (
        404,
        (
            "model 'command-gone' not found, make sure the correct model ID was used and that you "
            "have access to the model."
        ),
    ),
    "too_large": (413, "request body too large"),
    "unprocessable": (422, "unprocessable entity"),
    "context_length": (
        400,
        (
            "too many tokens: total number of tokens in the prompt cannot exceed 256000 - "
            "received 300123. Try using a shorter prompt, or enable prompt truncating."
        ),
    ),
    "content_filter": (
        400,
        "invalid request: blocked input: please adjust your prompt and try again",
    ),
    "rate_limit": (
        429,
        (
            "You are using a Trial key, which is limited to 20 API calls / minute. You can "
            "continue to use the Trial key for free or upgrade to a Production key with higher "
            "rate limits at 'https://dashboard.cohere.com/api-keys'."
        ),
    ),
    "quota": (
        429,
        "You are using a Trial key, which is limited to 1000 API calls / month.",
    ),
    "overloaded": (503, "the service is currently overloaded, please try again later"),
    "unavailable": (503, "service unavailable"),
    "server": (500, "internal server error, this has been reported to our developers."),
    "timeout": (504, "upstream timeout"),
}
_FINISH = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
    "refusal": "ERROR",
}
_TYPES = {"float": "number", "int": "integer", "str": "string", "bool": "boolean"}


class Own(msgspec.Struct, frozen=True):
    """What only Cohere knows of a request."""

    sources: tuple[dict[str, Any], ...] = ()
    """What may be cited: documents of the request, and of tools' results."""
    embed: wire.Embed | None = None


def body_of(message: str) -> bytes:
    """Cohere's error object."""
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, message))
    return msgspec.json.encode({"id": name, "message": message})


def _rejected(message: str, status: int = 400) -> RejectedError:
    return RejectedError(Failure(status, body_of(message)))


def complaint(error: problems.InvalidError) -> str:
    """Cohere's words for a problem."""
    problem = error.problem
    where = ".".join(str(step) for step in problem.path)
    match problem.kind:
        case "json":
            return f"invalid json syntax: {problem.got}"
        case "unknown":
            return f"unknown field: parameter '{where}' is not a valid field"
        case "missing":
            return f"invalid request: {where} is required. {_HELP}"
        case "type":
            wanted = " or ".join(_TYPES.get(one, one) for one in problem.expected.split(" | "))
            got = _TYPES.get(problem.got, problem.got)
            return (
                f"invalid type: parameter {where} is of type {got} but should be of type "
                f"{wanted}. {_HELP}"
            )
        case "range":
            return f"invalid request: {where} must satisfy {problem.expected}"
        case _:
            return f"invalid request: '{problem.got}' is not a valid value for {where}. {_HELP}"


class Cohere:
    """Cohere's side of the wire."""

    name = "cohere"
    keepalive = b": keep-alive\n\n"

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as Cohere says it."""
        token = bearer(headers)
        if not token:
            return Failure(401, body_of("no api key supplied"))
        return Failure(401, body_of("invalid api token")) if "wrong" in token else None

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as Cohere does. Raises RejectedError."""
        del query
        if len(body) > BODY_LIMIT:
            raise RejectedError(self.error("too_large"))
        if "application/json" not in headers.get("content-type", ""):
            raise _rejected("invalid request: content-type must be application/json")
        embeds = path.endswith("/embed")
        try:
            asked: wire.Chat | wire.Embed = (
                problems.decode(wire.EMBED, body) if embeds else problems.decode(wire.CHAT, body)
            )
        except problems.InvalidError as error:
            raise _rejected(complaint(error)) from None
        model = asked.model
        if re.search(r"gone|unknown|nonexistent|does-not-exist", model) or (
            hosted and not _OWN.match(model)
        ):
            raise _rejected(_ERRORS["model_not_found"][1].replace("command-gone", model), 404)
        if isinstance(asked, wire.Embed):
            return _embed_ask(asked)
        wrong = broken_rule(asked)
        if wrong is not None:
            raise _rejected(wrong)
        return _ask(asked)

    def error(
        self,
        kind: str,
        *,
        status: int | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        hosted: bool = True,
    ) -> Failure:
        """Cohere's words for a kind of error."""
        del hosted
        usual, words = _ERRORS[kind]
        after = () if retry_after is None else (("retry-after", f"{max(1, round(retry_after))}"),)
        return Failure(status or usual, body_of(message or words), after)

    def not_found(self, method: str, path: str) -> Failure:  # noqa: ARG002
        """404 as Cohere says it."""
        return Failure(404, body_of("not found"))

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `V2ChatResponse`, or embeddings."""
        if ask.own.embed is not None:
            return _embeddings(ask.own.embed, reply)
        message: dict[str, Any] = {"role": "assistant"}
        content: list[dict[str, Any]] = []
        if reply.thinking:
            content.append({"type": "thinking", "thinking": "".join(reply.thinking)})
        if reply.pieces and not reply.calls:
            content.append({"type": "text", "text": reply.text})
        if content:
            message["content"] = content
        if reply.calls:
            message["tool_plan"] = "".join(_plan(reply))
            message["tool_calls"] = [
                _call(call.id, call.name, call.arguments) for call in reply.calls
            ]
        citation = _citation(ask, reply)
        if citation is not None:
            message["citations"] = [citation]
        body: dict[str, Any] = {
            "id": _id(reply),
            "message": message,
            "finish_reason": _finish(reply),
            "usage": _usage(reply.usage or NOTHING),
        }
        if ask.logprobs:
            body["logprobs"] = [_logprob(piece) for piece in reply.pieces]
        return msgspec.json.encode(body)

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`message-start` … `message-end`."""
        start: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": ""}
        start |= {"tool_calls": [], "citations": []}
        yield _event("message-start", {"id": _id(reply), "delta": {"message": start}}), False
        index = 0
        if reply.thinking:
            yield from _content(index, "thinking", reply.thinking, logprobs=False)
            index += 1
        if reply.calls:
            for piece in _plan(reply):
                plan: dict[str, Any] = {"delta": {"message": {"tool_plan": piece}}}
                yield _event("tool-plan-delta", plan), True
        elif reply.pieces:
            yield from _content(index, "text", reply.pieces, logprobs=ask.logprobs)
        citation = _citation(ask, reply)
        if citation is not None:
            delta = {"index": 0, "delta": {"message": {"citations": citation}}}
            yield _event("citation-start", delta), False
            yield _event("citation-end", {"index": 0}), False
        for n, call in enumerate(reply.calls):
            yield from _call_events(n, _call(call.id, call.name, ""), call.arguments)
        end = {"finish_reason": _finish(reply), "usage": _usage(reply.usage or NOTHING)}
        yield _event("message-end", {"delta": end}), False
        yield b"data: [DONE]\n\n", False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Pieces of text, thinking and plan, starts of calls and pieces of their arguments."""
        if ask.own.embed is not None:
            return 1
        said = _plan(reply) if reply.calls else reply.pieces
        return (
            len(reply.thinking)
            + len(said)
            + sum(1 + len(_pieces(call.arguments)) for call in reply.calls)
        )

    def error_event(self, failure: Failure) -> bytes:
        """The end of a message, with an error."""
        body: Any = msgspec.json.decode(failure.body)
        words = body.get("message", "") if isinstance(body, dict) else ""
        return _event("message-end", {"delta": {"finish_reason": "ERROR", "error": words}})

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Headers of Cohere's answers."""
        return [
            ("content-type", "text/event-stream" if stream else "application/json"),
            ("x-debug-trace-id", reply_id),
            ("x-endpoint-monthly-call-limit", "1000"),
            ("x-trial-endpoint-call-limit", "20"),
            ("x-trial-endpoint-call-remaining", "19"),
        ]

    def models(self, model: str | None) -> bytes | None:
        """`GET /v1/models`."""
        listed = [
            {
                "name": name,
                "endpoints": ["embed"] if name.startswith("embed") else ["chat"],
                "finetuned": False,
                "context_length": 256000,
            }
            for name in MODELS
            if model in (None, name)
        ]
        if model is not None:
            return msgspec.json.encode(listed[0]) if listed else None
        return msgspec.json.encode({"models": listed})


def _ask(body: wire.Chat) -> Ask:
    last = body.messages[-1]
    form = body.response_format
    thinks = "reasoning" in body.model and (
        body.thinking is None or body.thinking.type == "enabled"
    )
    return Ask(
        model=body.model,
        stream=body.stream is True,
        tools=tuple(
            Tool(one.function.name, one.function.parameters)
            for one in body.tools or ()
            if one.function is not None
        ),
        required=body.tool_choice == "REQUIRED",
        tools_off=body.tool_choice == "NONE",
        max_tokens=body.max_tokens,
        prompt=_prompt(last) if isinstance(last, wire.User) else "",
        json_schema=(form.json_schema or form.schema)
        if isinstance(form, wire.JSONFormat)
        else None,
        json_mode=isinstance(form, wire.JSONFormat),
        thinks=thinks,
        logprobs=body.logprobs is True,
        stops=tuple(body.stop_sequences or ()),
        own=Own(sources=() if _silent(body) else tuple(_sources(body))),
    )


def _silent(body: wire.Chat) -> bool:
    """Whether citations are off."""
    options = body.citation_options
    return options is not None and options.mode in ("OFF", "DISABLED")


def _prompt(message: wire.User) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join(one.text for one in message.content if isinstance(one, wire.Text))


def _sources(body: wire.Chat) -> Iterator[dict[str, Any]]:
    for n, one in enumerate(body.documents or ()):
        name = one.id if isinstance(one, wire.Document) and one.id else f"doc:{n}"
        data = {"text": one} if isinstance(one, str) else one.data
        data = {"text": data} if isinstance(data, str) else data
        yield {"type": "document", "id": name, "document": {"id": name, **data}}
    last = body.messages[-1]
    if not isinstance(last, wire.ToolMessage):
        return
    if isinstance(last.content, str):
        output = {"content": last.content}
        yield {"type": "tool", "id": f"{last.tool_call_id}:0", "tool_output": output}
        return
    for n, part in enumerate(last.content):
        name = f"{last.tool_call_id}:{n}"
        if isinstance(part, wire.DocumentContent):
            data = part.document.data
            output = {"content": data} if isinstance(data, str) else data
            yield {"type": "tool", "id": part.document.id or name, "tool_output": output}
        else:
            yield {"type": "tool", "id": name, "tool_output": {"content": part.text}}


def _embed_ask(body: wire.Embed) -> Ask:
    given = [name for name in ("texts", "images", "inputs") if getattr(body, name) is not None]
    if len(given) != 1:
        raise _rejected("invalid request: exactly one of texts, images and inputs is required")
    if (body.input_type == "image") != (body.images is not None):
        raise _rejected("invalid request: input_type image goes with images, and with them only")
    if not body.model.startswith("embed"):
        raise _rejected(f"invalid request: model '{body.model}' is not supported by the embed API")
    return Ask(model=body.model, silent=True, own=Own(embed=body))


def _embeddings(body: wire.Embed, reply: Reply) -> bytes:
    """An `EmbedByTypeResponse`."""
    size = body.output_dimension or _DIMENSION
    inputs = [msgspec.json.encode(one).decode() for one in body.inputs or ()]
    rows = [vectors.vector(one, size) for one in body.texts or body.images or inputs]
    made: dict[str, list[Any]] = {}
    for kind in body.embedding_types or ("float",):
        match kind:
            case "float":
                made[kind] = rows
            case "base64":
                made[kind] = [vectors.packed(one) for one in rows]
            case "int8" | "uint8":
                made[kind] = [vectors.scaled(one, signed=kind == "int8") for one in rows]
            case _:
                made[kind] = [vectors.bits(one, signed=kind == "binary") for one in rows]
    tokens = (reply.usage or NOTHING).input
    answer: dict[str, Any] = {
        "id": _id(reply),
        "embeddings": made,
        "response_type": "embeddings_by_type",
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
    }
    if body.texts is not None:
        answer["texts"] = body.texts
    return msgspec.json.encode(answer)


def _id(reply: Reply) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, reply.id))


def _plan(reply: Reply) -> tuple[str, ...]:
    """What the model says before it calls: its text, or a plan."""
    return reply.pieces or ("I will", f" use {reply.calls[0].name}", " to find out.")


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"{name}_{call_id[:12]}", "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    if reply.stopped is not None:
        return "STOP_SEQUENCE"
    return _FINISH.get(reply.finish, reply.finish)


def _usage(usage: Usage) -> dict[str, Any]:
    """Cohere counts cached tokens within the input."""
    tokens = {"input_tokens": usage.input, "output_tokens": usage.output}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": usage.cached}


def _citation(ask: Ask, reply: Reply) -> dict[str, Any] | None:
    """The first words of the text, cited from everything there is."""
    if not ask.own.sources or not reply.pieces or reply.calls:
        return None
    text = "".join(reply.pieces[:2])
    return {
        "start": 0,
        "end": len(text),
        "text": text,
        "sources": list(ask.own.sources),
        "content_index": 1 if reply.thinking else 0,
        "type": "TEXT_CONTENT",
    }


def _logprob(piece: str) -> dict[str, Any]:
    return {"text": piece, "token_ids": [sum(piece.encode())], "logprobs": [-0.25]}


def _pieces(text: str) -> list[str]:
    return [text[n : n + _PIECE] for n in range(0, len(text), _PIECE)]


def _content(index: int, kind: str, pieces: tuple[str, ...], *, logprobs: bool) -> Iterator[Frame]:
    start = {"message": {"content": {"type": kind, kind: ""}}}
    yield _event("content-start", {"index": index, "delta": start}), False
    for piece in pieces:
        fields: dict[str, Any] = {"index": index, "delta": {"message": {"content": {kind: piece}}}}
        if logprobs:
            fields["logprobs"] = _logprob(piece)
        yield _event("content-delta", fields), True
    yield _event("content-end", {"index": index}), False


def _call_events(index: int, call: dict[str, Any], arguments: str) -> Iterator[Frame]:
    start = {"index": index, "delta": {"message": {"tool_calls": call}}}
    yield _event("tool-call-start", start), True
    for piece in _pieces(arguments):
        delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
        yield _event("tool-call-delta", {"index": index, "delta": delta}), True
    yield _event("tool-call-end", {"index": index}), False


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    data = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
