"""What Envoy writes down of a request, and what it says when it answers by itself."""

from __future__ import annotations

from typing import NamedTuple

from extproc.config.parts import Node, extension

_OURS = (
    "route",
    "target",
    "model",
    "provider",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_nanousd",
    "estimated",
    "cache",
    "cache_entry",
    "cache_score",
    "saved_nanousd",
    "identity",
    "key",
    "tenant",
    "feature",
    "team",
    "user_hash",
    "ttft_ms",
    "refusals",
    "guard",
)
"""Dynamic metadata of the service, in the namespace `tollgate`."""


_SERVICES = "response.code_details.startsWith('tg_')"
_WORDS = "%LOCAL_REPLY_BODY%"
MESSAGES = "/v1/messages"
"""Requests in Anthropic's format, the count of their tokens too."""


def access_log(path: str) -> list[Node]:
    """One line of JSON a request. No prompt, no key, no query string."""
    fields = {
        "start_time": "%START_TIME%",
        "request_id": "%DYNAMIC_METADATA(tollgate:request_id)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "upstream_cluster": "%UPSTREAM_CLUSTER%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        **{name: f"%DYNAMIC_METADATA(tollgate:{name})%" for name in _OURS},
    }
    return [
        extension(
            "envoy.access_loggers.file",
            "extensions.access_loggers.file.v3.FileAccessLog",
            {"path": path, "log_format": {"json_format": fields}},
        )
    ]


class _Reply(NamedTuple):
    """One kind of Envoy's own answers, in the words of both formats that a client may speak."""

    expression: str
    kind: str
    anthropic: str
    code: str = "%RESPONSE_CODE_DETAILS%"
    text: str | None = None
    """None: Envoy's own words."""
    status: int | None = None


def _replies(max_body: int) -> tuple[_Reply, ...]:
    """The first that matches counts."""
    invalid = ("invalid_request_error", "invalid_request_error")
    missing = ("invalid_request_error", "not_found_error")
    server = ("server_error", "api_error")
    down = (
        "(response.code_details.startsWith('ext_proc_error') || "
        "response.code_details.startsWith('grpc_error'))"
    )
    no_route = "no route of this gateway takes the request"
    return (
        _Reply(
            down, *server, "service_unavailable", "gateway policy service unavailable", status=503
        ),
        _Reply(
            "response.code == 413",
            "invalid_request_error",
            "request_too_large",
            "request_too_large",
            f"the request body is larger than {_size(max_body)}",
        ),
        _Reply(
            "response.code == 431",
            *invalid,
            "request_headers_too_large",
            "the request headers are too large",
        ),
        _Reply("response.code_details == 'direct_response'", *missing, "not_found"),
        # The rest Envoy says before there is a request; it has no words of its own then.
        _Reply("response.code == 404", *missing, "not_found", no_route),
        _Reply(
            "response.code == 400",
            *invalid,
            text="the request is not well-formed HTTP",
        ),
        _Reply(
            "response.code == 403",
            "invalid_request_error",
            "permission_error",
            text="the connection cannot be upgraded",
        ),
        _Reply("response.code == 504", "server_error", "timeout_error"),
        _Reply("response.code >= 500", *server),
        _Reply("true", *invalid),
    )


def local_replies(max_body: int) -> Node:
    """Envoy's own answers as OpenAI's error object, or as Anthropic's where a client speaks that.

    The service's own answers carry details that begin with `tg_` and pass as they are: they match
    the first, and so are held against no other.
    """
    replies = _replies(max_body)
    anthropic = [
        _mapper(
            one,
            f"request.path.startsWith('{MESSAGES}') && {one.expression}",
            {"type": "error", "error": {"type": one.anthropic, "message": _WORDS}},
        )
        for one in replies
    ]
    openai = [
        _mapper(
            one,
            one.expression,
            {"error": {"message": _WORDS, "type": one.kind, "param": None, "code": one.code}},
        )
        for one in replies
    ]
    return {"mappers": [{"filter": _cel(_SERVICES)}, *anthropic, *openai]}


def _mapper(reply: _Reply, expression: str, body: Node) -> Node:
    node: Node = {"filter": _cel(expression)}
    if reply.status is not None:
        node["status_code"] = reply.status
    if reply.text is not None:
        node["body"] = {"inline_string": reply.text}
    node["body_format_override"] = {"content_type": "application/json", "json_format": body}
    return node


def _cel(expression: str) -> Node:
    kind = "extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": extension("cel", kind, {"expression": expression})}


def _size(count: int) -> str:
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step and count % step == 0:
            return f"{count // step} {unit}"
    return f"{count} bytes"
