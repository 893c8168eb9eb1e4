"""Cohere's whole answers."""

from __future__ import annotations

from msgspec import UNSET

from extproc.dialects import BadAnswerError, Reply, errors
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    ReplyMessage,
    ToolCall,
)
from extproc.dialects.cohere.received import (
    ANSWER,
    BROKEN,
    FINISH,
    MESSAGE,
    Received,
    cites,
    plan,
    probabilities,
    string,
    thinking,
    usage_of,
)


def translate(body: bytes, created: int, reply: Reply) -> Completion:
    """A whole answer. Raises BadAnswerError, or what msgspec raises."""
    answer = ANSWER.decode(body)
    if bytes(answer.message)[:1] != b"{":
        if said := string(answer.message):
            raise BadAnswerError(errors.bounded(said))
        raise BadAnswerError("not an answer: " + errors.plain(200, body))
    if answer.finish_reason in BROKEN:
        raise BadAnswerError(f"the model ended with {answer.finish_reason}")
    message = MESSAGE.decode(answer.message)
    said = "".join(string(one.text) for one in message.content or ())
    calls = _calls(message)
    if reply.json_tool is not None:
        said += "".join(
            one.function.arguments for one in calls if one.function.name == reply.json_tool
        )
        calls = [one for one in calls if one.function.name != reply.json_tool]
    thought = "".join(string(one.thinking) for one in message.content or ())
    planned = string(message.tool_plan)
    details = [made(one) for made, one in ((thinking, thought), (plan, planned)) if one]
    finish = FINISH.get(answer.finish_reason or "", "stop")
    if finish == "tool_calls" and not calls:
        finish = "stop"
    cited = [one for citation in message.citations or () for one in cites(citation)]
    choice = Choice(
        index=0,
        message=ReplyMessage(
            content=said or (None if calls or finish == "content_filter" else ""),
            tool_calls=calls or UNSET,
            reasoning_content=thought + planned or UNSET,
            reasoning_details=details or UNSET,
            annotations=cited or UNSET,
        ),
        logprobs=probabilities(answer.logprobs) if answer.logprobs else None,
        finish_reason=finish,
    )
    return Completion(
        id=f"chatcmpl-{answer.id or ''}",
        created=created,
        model=reply.model,
        choices=[choice],
        usage=usage_of(answer.usage),
        refused=finish == "content_filter" and not said and not calls,
    )


def _calls(message: Received) -> list[ToolCall]:
    return [
        ToolCall(
            id=one.id or "",
            function=CalledFunction(
                (one.function.name if one.function else None) or "",
                (string(one.function.arguments) if one.function else "") or "{}",
            ),
        )
        for one in message.tool_calls or ()
    ]
