"""What is common to the error answers of all providers.

An error answer may be the provider's own, a compatible server's, or a load balancer's page of
HTML; whatever it is, it becomes a `Failure`, and never an exception.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from extproc.dialects import Failure, Fault
from extproc.errors import ClientError
from extproc.retry import number, retry_after, seconds, until

MAX_MESSAGE: Final = 500
"""Characters of a provider's message that are kept."""
MAX_READ: Final = 1 << 20
"""Bytes of an error body that are looked at."""
MAX_TEXT: Final = 4096
"""Characters of an error text that are searched: patterns cost time with the text's length."""

BY_STATUS: Final[dict[int, Fault]] = {
    400: Fault.INVALID,
    401: Fault.AUTHENTICATION,
    402: Fault.BILLING,
    403: Fault.PERMISSION,
    404: Fault.NOT_FOUND,
    408: Fault.TIMEOUT,
    413: Fault.TOO_LARGE,
    422: Fault.UNPROCESSABLE,
    429: Fault.RATE_LIMIT,
    498: Fault.RATE_LIMIT,  # Groq: flex capacity exceeded
    500: Fault.SERVER,
    502: Fault.SERVER,
    503: Fault.OVERLOADED,
    504: Fault.TIMEOUT,
    520: Fault.SERVER,  # 520-524: Cloudflare, in front of several providers
    521: Fault.SERVER,
    522: Fault.TIMEOUT,
    524: Fault.TIMEOUT,
    529: Fault.OVERLOADED,
}
"""What a status means when the body does not say."""

_CONTEXT: Final = re.compile(
    r"maximum context length"  # OpenAI; vLLM; Mistral
    r"|context_length_exceeded"
    r"|exceeds? the (?:model'?s? )?(?:maximum )?context"  # Ollama; OpenAI's newer wording
    r"|exceed_context_size"  # llama.cpp's type
    r"|exceeds the available context size"  # llama.cpp
    r"|input is too long"
    r"|prompt is too long"  # Anthropic
    r"|input length and `?max_tokens`? exceed context limit"  # Anthropic
    r"|context window"
    r"|input token count.{0,40}exceeds"  # Gemini
    r"|maximum (?:number of )?(?:input )?tokens allowed"  # Gemini, Vertex
    r"|too many (?:input )?tokens"
    r"|longer than the (?:maximum )?model"  # vLLM
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)
_CONTENT: Final = re.compile(
    r"content management policy"  # Azure
    r"|content[_ ]filter(?:ing)?"  # Azure; Anthropic "blocked by content filtering policy"
    r"|content[_ ]policy"
    r"|responsible ai"
    r"|safety system"  # OpenAI
    r"|blocked for safety"  # Gemini
    r"|usage polic(?:y|ies)",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
"""What no text has: control characters that are no white space."""
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HEADING: Final = re.compile(r"<h1[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(
    r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE
)
_KEY: Final = re.compile(r"\b(?:sk-|gsk_|xai-|key-|AIza)[A-Za-z0-9_*.-]{8,}")


def parsed(body: bytes) -> Any:
    """The body as JSON, or None. A list of one (as Gemini's streams answer errors) is its item."""
    try:
        tree = msgspec.json.decode(body[:MAX_READ])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if isinstance(tree, list) and tree:
        return tree[0]
    return tree


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """The value, cut to MAX_TEXT, if it is a string with something in it."""
    return value[:MAX_TEXT] if isinstance(value, str) and not value.isspace() and value else None


def bounded(message: str) -> str:
    """One message fit to be shown: one line, without keys, at most MAX_MESSAGE characters."""
    message = " ".join(message[:MAX_TEXT].split())
    message = _KEY.sub("***", message)
    message = message.encode("utf-8", "replace").decode()
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def plain(status: int, body: bytes) -> str:
    """What a body that is no JSON object of a known shape has to say, in one line."""
    shown = body[:MAX_TEXT].decode("utf-8", "replace")
    if _CONTROL.search(shown):
        return f"the provider answered {status} with a body that is no text"
    if "<" in shown:
        found = _TITLE.search(shown) or _HEADING.search(shown)
        shown = html.unescape(_TAG.sub(" ", found[1] if found else shown))
    return bounded(shown) or f"the provider answered {status} with an empty body"


def fault_of(status: int) -> Fault:
    """What a status alone means."""
    if found := BY_STATUS.get(status):
        return found
    if status >= 500:  # noqa: PLR2004 - the class of server errors
        return Fault.SERVER
    return Fault.INVALID if status >= 400 else Fault.BAD_ANSWER  # noqa: PLR2004


def unreadable(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """A body that is not the provider's own: the status still says what it means, except that
    a status which blames the request cannot be trusted from who never read it."""
    fault = fault_of(status)
    if fault in {Fault.INVALID, Fault.UNPROCESSABLE, Fault.NOT_FOUND}:
        fault = Fault.BAD_ANSWER
    return Failure(fault, status, plain(status, body), retry_after=retry_after(headers))


def is_context(message: str) -> bool:
    """The words say that the prompt does not fit the context window."""
    return _CONTEXT.search(message) is not None


def is_content(message: str) -> bool:
    """The words say that a content policy refused the request."""
    return _CONTENT.search(message) is not None


def duration(value: str) -> float | None:
    """Seconds of a protobuf duration in JSON ("3.5s")."""
    wait = number(value.removesuffix("s"))
    return None if wait is None else seconds(wait)


def timestamp(value: str) -> float | None:
    """Seconds until an RFC 3339 time, as Anthropic's `-reset` headers give it."""
    try:
        then = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return until(then)


_AS_OPENAI: Final[dict[Fault, tuple[int, str, str | None]]] = {
    Fault.INVALID: (400, "invalid_request_error", None),
    Fault.CONTEXT: (400, "invalid_request_error", "context_length_exceeded"),
    Fault.CONTENT: (400, "invalid_request_error", "content_policy_violation"),
    Fault.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    Fault.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Fault.UNPROCESSABLE: (422, "invalid_request_error", None),
    Fault.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    Fault.AUTHENTICATION: (502, "server_error", "provider_credentials"),
    Fault.PERMISSION: (502, "server_error", "provider_credentials"),
    Fault.BILLING: (502, "server_error", "provider_credentials"),
    Fault.SERVER: (502, "server_error", "provider_error"),
    Fault.OVERLOADED: (503, "server_error", "provider_overloaded"),
    Fault.TIMEOUT: (504, "server_error", "provider_timeout"),
    Fault.BAD_ANSWER: (502, "server_error", "bad_provider_answer"),
}
_OURS: Final = frozenset({Fault.AUTHENTICATION, Fault.PERMISSION, Fault.BILLING})
_OWN_CODE: Final = frozenset({Fault.INVALID, Fault.UNPROCESSABLE})


def client_error(failure: Failure) -> ClientError:
    """What the client is told. A provider's 401, 402 or 403 is about the gateway's own key: the
    client gets 502 and not the provider's words."""
    status, kind, code = _AS_OPENAI[failure.fault]
    if failure.fault in _OURS:
        message = "The provider did not accept the gateway's credentials."
    else:
        message = failure.message
    if failure.fault in _OWN_CODE:
        code = failure.code
    return ClientError(status, kind, code, message, failure.param, failure.retry_after)
