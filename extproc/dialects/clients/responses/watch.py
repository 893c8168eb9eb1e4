"""Responses that pass as they came: is it an answer, did it fail, when did it begin?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects import BadAnswerError, Failure, Fault, errors, sse
from extproc.dialects.chat.failures import of_error
from extproc.dialects.clients.watch import Watch
from extproc.dialects.text import NONE

_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_BEFORE: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_FAILED: Final = "response.failed"

_FAULTS: Final[dict[str, Fault]] = {
    "bio_policy": Fault.CONTENT,
    "misalignment_policy_violation": Fault.CONTENT,
    "image_content_policy_violation": Fault.CONTENT,
    "data_residency_mismatch": Fault.INVALID,
    "failed_to_download_image": Fault.INVALID,
    "unsupported_image_media_type": Fault.INVALID,
    "vector_store_timeout": Fault.TIMEOUT,
}
"""Codes of failed responses that error answers do not have; those of images that cannot be used
are told by their names."""
_IMAGE: Final = ("image_", "invalid_image", "invalid_base64_image", "empty_image")


class _Incomplete(Struct):
    reason: Any = None


class _Response(Struct):
    object: Any = None
    status: Any = None
    output: list[Raw] | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None

    def refused(self) -> bool:
        """A filter ended it before anything was said."""
        details = self.incomplete_details
        return details is not None and details.reason == "content_filter" and not self.output


class _Event(Struct):
    type: str = ""
    response: Raw = NONE
    item: Raw = NONE
    delta: Any = None


class _Item(Struct):
    type: str = ""


_RESPONSE: Final = msgspec.json.Decoder(_Response)
_EVENT: Final = msgspec.json.Decoder(_Event)
_ITEM: Final = msgspec.json.Decoder(_Item)


def look(body: bytes) -> bool:
    """Judge a whole response: was the content refused? Raises BadAnswerError."""
    try:
        # What is not looked at has to be text as well: msgspec passes over it.
        str(body, "utf-8")
        found = _RESPONSE.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadAnswerError("not a response: " + errors.plain(200, body)) from None
    if found.error:
        failure = of_failed(found.error)
        if failure.fault is Fault.CONTENT and found.status == "failed":
            return True
        raise BadAnswerError(failure.message)
    if found.output is None:
        raise BadAnswerError("not a response: no output")
    if found.status in ("failed", "cancelled"):
        raise BadAnswerError(f"the response was {found.status}")
    return found.refused()


def of_failed(error: Any, body: bytes = b"") -> Failure:
    """The error of a response that failed."""
    failure = of_error(200, {"error": error}, {}, body)
    code = failure.code or ""
    fault = _FAULTS.get(code) or (Fault.INVALID if code.startswith(_IMAGE) else None)
    if fault is None:
        return failure
    return replace(failure, fault=fault, status=504 if fault is Fault.TIMEOUT else 400)


class ResponsesWatch(Watch):
    """Looks for content, errors and the end."""

    def event(self, event: sse.Event) -> bool:
        """See `Watch`."""
        if self.content and event.type and not _matters(event.type):
            return True
        try:
            found = _EVENT.decode(event.data)
            kind = found.type or event.type.decode("utf-8", "replace")
            if kind == "error":
                tree = errors.mapping(errors.parsed(event.data))
                self.fail(of_failed(tree.get("error") or tree, event.data))
            elif kind in _ENDS or kind == _FAILED:
                self._end(_RESPONSE.decode(found.response), event.data, failed=kind == _FAILED)
            elif not kind:
                return self._nameless(event.data)
            elif kind not in _BEFORE:
                self._begin(kind, found)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        return True

    def error(self, tree: dict[str, Any], body: bytes) -> Failure:
        """See `Watch`."""
        return of_error(200, tree, {}, body)

    def _begin(self, kind: str, found: _Event) -> None:
        """A message begins before there is anything in it; every other item is content itself."""
        if kind == "response.output_item.added":
            self.content = self.content or _ITEM.decode(found.item).type != "message"
        elif not kind.startswith("response.content_part."):
            self.content = True

    def _end(self, response: _Response, data: bytes, *, failed: bool) -> None:
        if failed or response.error:
            self.fail(of_failed(response.error or {}, data))
            return
        self.refused = response.refused() and not self.content
        self.finished = self.content = True

    def _nameless(self, data: bytes) -> bool:
        """An event without a type: an error, or none of these."""
        tree = errors.mapping(errors.parsed(data))
        if "error" not in tree:
            return False
        self.fail(of_error(200, tree, {}, data))
        return True


def _matters(kind: bytes) -> bool:
    """Once there is content: what ends the stream."""
    return kind in _MATTERS


_MATTERS: Final = frozenset({b"error", *(kind.encode() for kind in (*_ENDS, _FAILED))})
