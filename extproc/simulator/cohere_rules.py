"""What Cohere refuses although every field is well typed."""

from __future__ import annotations

from extproc.simulator import cohere_request as wire


def broken_rule(body: wire.Chat) -> str | None:
    """The message of the first rule that the request breaks."""
    return _messages(body) or _pairs(body) or _tools(body) or _format(body) or _model(body)


def _messages(body: wire.Chat) -> str | None:
    if not body.messages:
        return "invalid request: list of messages must not be empty"
    if not isinstance(body.messages[-1], wire.User | wire.ToolMessage):
        return "invalid request: last message must be from a user or contain tool results"
    for n, message in enumerate(body.messages):
        if isinstance(message, wire.Assistant):
            if not message.content and not message.tool_calls:
                return (
                    f"invalid request: messages[{n}]: assistant message must have either content "
                    "or tool_calls"
                )
        elif not message.content:
            return (
                "invalid request: message must be at least 1 token long or tool results must be "
                "specified."
            )
    return None


def _pairs(body: wire.Chat) -> str | None:
    """Tool results answer the calls of the assistant's message before them, all of them."""
    waiting: list[str] = []
    for n, message in enumerate(body.messages):
        if isinstance(message, wire.ToolMessage):
            if message.tool_call_id not in waiting:
                return (
                    f"invalid request: messages[{n}]: tool call id {message.tool_call_id} not "
                    "found in previous tool calls"
                )
            waiting.remove(message.tool_call_id)
            continue
        if waiting:
            return (
                "invalid request: all tool calls must have tool results; missing ids: "
                f"{', '.join(waiting)}"
            )
        if isinstance(message, wire.Assistant):
            waiting = [call.id for call in message.tool_calls or ()]
    if waiting:
        return (
            "invalid request: all tool calls must have tool results; missing ids: "
            f"{', '.join(waiting)}"
        )
    return None


def _tools(body: wire.Chat) -> str | None:  # noqa: PLR0911 - one return for each rule
    names = [one.function.name for one in body.tools or () if one.function is not None]
    if len(names) != len(body.tools or ()):
        return "invalid request: tools must have a function"
    if len(set(names)) != len(names):
        return "invalid request: tool names must be unique"
    for one in body.tools or ():
        schema = one.function.parameters if one.function is not None else {}
        if schema.get("type") != "object":
            return "invalid request: tool parameters must be of type object"
        if body.strict_tools and not schema.get("required"):
            return (
                "invalid request: when strict_tools is enabled, each tool must have at least one "
                "required parameter"
            )
    if body.tool_choice is not None and not names:
        return "invalid request: tool_choice can only be specified together with tools"
    if body.strict_tools and not names:
        return "invalid request: strict_tools can only be specified together with tools"
    return None


def _format(body: wire.Chat) -> str | None:
    form = body.response_format
    if isinstance(form, wire.JSONFormat):
        if body.tools or body.documents:
            return (
                "invalid request: response_format is not supported in combination with documents "
                "or tools"
            )
        schema = form.json_schema or form.schema
        if schema is not None:
            if schema.get("type") != "object":
                return "invalid request: the top level of json_schema must be of type object"
            if not schema.get("required"):
                return "invalid request: json_schema must have at least one required field"
    if body.safety_mode not in (None, "OFF") and (body.tools or body.documents):
        return (
            "invalid request: safety_mode is not configurable in combination with tools and "
            "documents"
        )
    return None


def _model(body: wire.Chat) -> str | None:
    asks = body.thinking is not None and body.thinking.type == "enabled"
    if asks and "reasoning" not in body.model and "plus" not in body.model:
        return f"invalid request: thinking is not supported with model '{body.model}'"
    if "vision" in body.model or "plus" in body.model:
        return None
    for message in body.messages:
        if isinstance(message, wire.User) and any(
            isinstance(part, wire.Image) for part in message.content
        ):
            return f"invalid request: image content is not supported with model '{body.model}'"
    return None
