"""Logs as one JSON object a line, without prompts and without keys."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

LONGEST: Final = 8192
"""Characters of one logged text; beyond it something is logged that should not be."""
HIDDEN: Final = "[redacted]"

_SECRET: Final = re.compile(
    r"(?i:\b(bearer|basic)\s+)[\w.~+/=-]{4,}"
    r"|\b(?:sk|tg|pk|rk|xai|gsk)-[\w-]{6,}"
    r"|\bAIza[\w-]{20,}"
    r"|(?i:((?:x-api-key|api[-_]?key|x-goog-api-key|authorization)[\"']?+\s*+[:=]\s*+[\"']?+))"
    r"(?!(?i:bearer|basic)\b)[^\s\"',;&]{4,}"
)
_SECRET_NAME: Final = re.compile(
    r"(?i)^(?:.*[-_])?(?:authorization|api[-_]?key|token|secret|password|cookie)$"
)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """The text with everything that looks like a key replaced."""
    return _SECRET.sub(
        lambda found: f"{found[1] + ' ' if found[1] else found[2] or ''}{HIDDEN}", text
    )


class JSONFormatter(logging.Formatter):
    """`ts` (UTC, ISO 8601), `level`, `logger`, `message`, then whatever `extra` brought."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, always valid JSON, never raising for what it is given."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(_message(record)),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = _clean(value, name)
        if record.exc_info:
            line["exception"] = _text(self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=_text).decode()


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs to standard error, or `stream`, as JSON. Raises ValueError: no such level."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit the format
        return str(record.msg)


def _text(value: object) -> str:
    text = redact(value if isinstance(value, str) else repr(value))
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _clean(value: object, name: str = "") -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if _SECRET_NAME.match(name):
        return HIDDEN
    if isinstance(value, dict):
        return {str(key): _clean(one, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(one) for one in value]
    return _text(value)
