"""What Envoy writes down of a request, and what it says when it answers by itself."""

from __future__ import annotations

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
    "feature",
    "team",
    "user_hash",
    "ttft_ms",
    "refusals",
)
"""Dynamic metadata of the service, in the namespace `tollgate`."""


_ENVOYS_OWN = "!response.code_details.startsWith('tg_')"


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


def local_replies(max_body: int) -> Node:
    """Envoy's own answers as OpenAI's error object; the first mapper that matches counts.

    The service's own answers carry details that begin with `tg_` and match none.
    """
    down = (
        "response.code_details.startsWith('ext_proc_error') || "
        "response.code_details.startsWith('grpc_error')"
    )
    return {
        "mappers": [
            _mapper(
                down,
                status=503,
                text="gateway policy service unavailable",
                kind="server_error",
                code="service_unavailable",
            ),
            _mapper(
                f"response.code == 413 && {_ENVOYS_OWN}",
                text=f"the request body is larger than {_size(max_body)}",
                code="request_too_large",
            ),
            _mapper(
                f"response.code == 431 && {_ENVOYS_OWN}",
                text="the request headers are too large",
                code="request_headers_too_large",
            ),
            _mapper("response.code_details == 'direct_response'", code="not_found"),
            # The rest Envoy says before there is a request; it has no words of its own then.
            _mapper(
                f"response.code == 404 && {_ENVOYS_OWN}",
                text="no route of this gateway takes the request",
                code="not_found",
            ),
            _mapper(
                f"response.code == 400 && {_ENVOYS_OWN}",
                text="the request is not well-formed HTTP",
            ),
            _mapper(
                f"response.code == 403 && {_ENVOYS_OWN}",
                text="the connection cannot be upgraded",
            ),
            _mapper(
                f"response.code >= 500 && {_ENVOYS_OWN}",
                kind="server_error",
            ),
            _mapper(_ENVOYS_OWN),
        ]
    }


def _mapper(
    expression: str,
    *,
    status: int | None = None,
    text: str | None = None,
    kind: str = "invalid_request_error",
    code: str = "%RESPONSE_CODE_DETAILS%",
) -> Node:
    node: Node = {
        "filter": {
            "extension_filter": extension(
                "cel",
                "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                {"expression": expression},
            )
        }
    }
    if status is not None:
        node["status_code"] = status
    if text is not None:
        node["body"] = {"inline_string": text}
    error = {"message": "%LOCAL_REPLY_BODY%", "type": kind, "param": None, "code": code}
    node["body_format_override"] = {
        "content_type": "application/json",
        "json_format": {"error": error},
    }
    return node


def _size(count: int) -> str:
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step and count % step == 0:
            return f"{count // step} {unit}"
    return f"{count} bytes"
