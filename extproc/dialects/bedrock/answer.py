"""Bedrock's whole answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from extproc.dialects import BadAnswerError, Reply, errors
from extproc.dialects.bedrock import models
from extproc.dialects.bedrock.received import (
    ANSWER,
    BROKEN,
    SERVERS_OWN,
    Block,
    Reasoning,
    Use,
    annotation,
    finish_of,
    picture,
    sealed,
    stop_of,
    usage_of,
)
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
)
from extproc.dialects.tool_arguments import as_text


class _Whole:
    """Gathers the blocks of one message."""

    def __init__(self, json_tool: str | None, format_: str) -> None:
        self._json_tool = json_tool
        self._format = format_
        self.text: list[str] = []
        self.size = 0
        self.thinking: list[str] = []
        self.details: list[ReasoningDetail] = []
        self.calls: list[ToolCall] = []
        self.annotations: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    def add(self, block: Block) -> None:
        if block.text:
            self._say(block.text)
        elif block.tool_use is not None:
            self._call(block.tool_use)
        elif block.reasoning_content is not None:
            self._think(block.reasoning_content)
        elif block.image is not None:
            if block.image.source and block.image.source.bytes:
                url = picture(block.image.format, block.image.source.bytes)
                self.images.append({"type": "image_url", "image_url": {"url": url}})
        elif block.citations_content is not None:
            start = self.size
            for said in block.citations_content.content or ():
                self._say(said.text or "")
            cited = block.citations_content.citations or ()
            self.annotations += [annotation(one, start, self.size) for one in cited]

    def _say(self, said: str) -> None:
        self.text.append(said)
        self.size += len(said)

    def _call(self, use: Use) -> None:
        if use.type == SERVERS_OWN:
            return
        if use.name == self._json_tool and use.name is not None:
            self._say(as_text(use.input))
            return
        function = CalledFunction(use.name or "", as_text(use.input))
        self.calls.append(ToolCall(id=use.tool_use_id or "", function=function))

    def _think(self, thought: Reasoning) -> None:
        said = thought.reasoning_text
        if said is not None:
            self.thinking.append(said.text or "")
            if said.signature:
                self.details.append(
                    ReasoningDetail(
                        type="reasoning.text",
                        text=said.text,
                        signature=said.signature,
                        format=self._format,
                    )
                )
        if thought.redacted_content:
            self.details.append(sealed(thought.redacted_content, self._format))


def translate(body: bytes, created: int, mint: Callable[[], str], reply: Reply) -> Completion:
    """A whole answer. Raises BadAnswerError, or what msgspec raises."""
    answer = ANSWER.decode(body)
    if answer.output is None or answer.output.message is None:
        if said := errors.text(answer.message):
            raise BadAnswerError(errors.bounded(said))
        raise BadAnswerError("not an answer: " + errors.plain(200, body))
    whole = _Whole(reply.json_tool, models.of(reply.model).format)
    for block in answer.output.message.content or ():
        whole.add(block)
    said = "".join(whole.text)
    if answer.stop_reason in BROKEN and not said and not whole.calls:
        raise BadAnswerError(f"the model ended with {answer.stop_reason}")
    finish = finish_of(answer.stop_reason, called=bool(whole.calls))
    empty = not (said or whole.calls or whole.images)
    choice = Choice(
        index=0,
        message=ReplyMessage(
            content=said or (None if whole.calls or finish == "content_filter" else ""),
            tool_calls=whole.calls or UNSET,
            reasoning_content="".join(whole.thinking) or UNSET,
            reasoning_details=whole.details or UNSET,
            annotations=whole.annotations or UNSET,
            images=whole.images or UNSET,
        ),
        finish_reason=finish,
        stop_sequence=stop_of(answer.additional_model_response_fields) or UNSET,
    )
    return Completion(
        id=f"chatcmpl-{mint()}",
        created=created,
        model=reply.model,
        choices=[choice],
        usage=usage_of(answer.usage),
        refused=finish == "content_filter" and empty,
        service_tier=answer.service_tier.type if answer.service_tier else None,
    )
