"""A whole answer as a response object."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from extproc.dialects.chat.completion import Choice, Completion, ReplyMessage
from extproc.dialects.clients.responses import output, sealed
from extproc.dialects.clients.responses.frame import Frame, stem
from extproc.dialects.clients.responses.request import Parts, ResponsesRequest

_encode: Final = msgspec.json.encode

_NOTHING: Final = Choice(index=0, message=ReplyMessage(content=None), finish_reason="stop")
REASONS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a response is incomplete, by chat completions' finish reason."""


def custom_tools(parts: Parts) -> frozenset[str]:
    """Names of the tools that take free text."""
    return frozenset(tool.name for tool in parts.tools if tool.type == "custom" and tool.name)


def response(answer: Completion, said: ResponsesRequest, parts: Parts, now: int) -> bytes:
    """The response. `now` in seconds since the epoch."""
    of = stem(answer.id)
    frame = Frame(said, parts, f"resp_{of}", answer.created, answer.model)
    # The API gives one answer a request.
    choice = answer.choices[0] if answer.choices else _NOTHING
    reason = REASONS.get(choice.finish_reason)
    status = "completed" if reason is None else "incomplete"
    items = _items(choice.message, choice.logprobs, of, status, custom_tools(parts))
    return frame.object(
        status,
        b",".join(items),
        usage=answer.usage,
        reason=reason,
        completed=now if reason is None else None,
        tier=answer.service_tier,
    )


def _items(
    message: ReplyMessage,
    logprobs: dict[str, Any] | None,
    of: str,
    status: str,
    custom: Collection[str],
) -> list[bytes]:
    """The items in OpenAI's order; only the last one was cut if the answer was."""
    last, whole = _encode(status), b'"completed"'
    calls = [] if message.tool_calls is UNSET else message.tool_calls
    items = []
    if (thought := _reasoning(message, _id("rs", of, 0))) is not None:
        items.append(thought)
    items += [
        output.image(_id("ig", of, len(items) + number), _url(image))
        for number, image in enumerate([] if message.images is UNSET else message.images)
    ]
    if (content := _content(message, logprobs)) or not (calls or items):
        id_ = _id("msg", of, len(items))
        items.append(output.message(id_, whole if calls else last, content))
    for number, call in enumerate(calls):
        is_custom = call.type == "custom" or call.function.name in custom
        items.append(
            output.call(
                _id("ctc" if is_custom else "fc", of, len(items)),
                call,
                last if number == len(calls) - 1 else whole,
                _encode(call.function.arguments),
                custom=is_custom,
            )
        )
    return items


def _id(kind: str, of: str, number: int) -> bytes:
    return b'"%b_%b%d"' % (kind.encode(), of.encode(), number)


def _reasoning(message: ReplyMessage, id_: bytes) -> bytes | None:
    text = "" if message.reasoning_content is UNSET else message.reasoning_content
    details = [] if message.reasoning_details is UNSET else message.reasoning_details
    if not text:
        text = "".join(detail.text or detail.summary or "" for detail in details)
    extra = {
        call.id: call.extra_content
        for call in (() if message.tool_calls is UNSET else message.tool_calls)
        if call.extra_content is not UNSET
    }
    if not (text or details or extra):
        return None
    content = _encode(sealed.seal([Raw(_encode(one)) for one in details], extra))
    return output.reasoning(id_, output.summary_part(_encode(text)) if text else b"", content)


def _content(message: ReplyMessage, logprobs: dict[str, Any] | None) -> bytes:
    parts = []
    if message.content:
        found = [] if message.annotations is UNSET else message.annotations
        citations = _encode([output.annotation(one) for one in found])[1:-1]
        tokens = output.logprobs(logprobs)
        parts.append(output.text_part(_encode(message.content), citations, tokens))
    if message.refusal:
        parts.append(output.refusal_part(_encode(message.refusal)))
    return b",".join(parts)


def _url(image: dict[str, Any]) -> str:
    found = image.get("image_url")
    url = found.get("url") if isinstance(found, dict) else None
    return url if isinstance(url, str) else ""
