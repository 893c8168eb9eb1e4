"""A chat request as a server that speaks OpenAI's format takes it: one that came in this format
with as little changed as the server needs, any other written anew."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import structs

from extproc import strict_json
from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.request import Thinking
from extproc.dialects.openai.servers import UNKNOWN, Server

EXTENSIONS: Final = ("thinking", "reasoning", "top_k", "cache_control")
"""Fields of a chat request that are not OpenAI's but are known here."""

_OURS: Final = frozenset({"reasoning turns", "cache_control", "failed results"})
"""Features for which a message has fields that OpenAI does not know."""
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details")
_BUDGETS: Final = ((2048, "low"), (8192, "medium"))
"""Thinking budgets, in tokens, up to which an effort stands for them; beyond it is `high`.
OpenRouter maps efforts to 20, 50 and 80 % of the answer's bound, which for bounds of 8 to 16
thousand tokens is about this."""


def adjusts(chat: ChatRequest, uses: tuple[str, ...], model: str, server: Server) -> bool:
    """Whether a request that came in this format must be changed for the server. What nothing is
    known of gets it as it is."""
    if server is UNKNOWN:
        return False
    if server.strict_fields and not _OURS.isdisjoint(uses):
        return True
    if any(getattr(chat, name) is not None for name in (*EXTENSIONS, *server.renames)):
        return True
    if chat.max_tokens is not None and matches(model, server.thinkers):
        return True
    if dropping(chat, model, server):
        return True
    return not server.developer and any(type(one) is m.DeveloperMessage for one in chat.messages)


def passed(
    body: bytes, chat: ChatRequest, uses: tuple[str, ...], model: str, server: Server
) -> tuple[bytes, tuple[str, ...]]:
    """The client's own body with the model replaced, and what had to be left out."""
    if not adjusts(chat, uses, model, server):
        # `models` is OpenRouter's list, which the gateway has acted on.
        return strict_json.splice(body, {"model": model}, remove=("models",)), ()
    replace, warnings = _asked(chat, model, server)
    replace["model"] = model
    if chat.max_tokens is not None and matches(model, server.thinkers):
        replace["max_completion_tokens"] = chat.max_tokens
    remove = ["models", *(name for name in EXTENSIONS if name not in replace)]
    if server.strict_fields or not server.developer:
        tree = msgspec.json.decode(body, type=_Messages)
        replace["messages"] = [_message(one, server) for one in tree.messages]
        if tree.tools is not None:
            replace["tools"] = [_without(one, ("cache_control",)) for one in tree.tools]
    if "max_completion_tokens" in replace:
        remove.append("max_tokens")
    remove += dropping(chat, model, server)
    for name, other in server.renames.items():
        if (value := getattr(chat, name, None)) is not None:
            remove.append(name)
            replace[other] = value
    return strict_json.splice(body, replace, remove=remove), warnings


_SAMPLING: Final = (
    ("temperature", 1),
    ("top_p", 1),
    ("presence_penalty", 0),
    ("frequency_penalty", 0),
)
"""What a model that thinks takes at its default alone (OpenAI's guide to reasoning models)."""


def dropping(chat: ChatRequest, model: str, server: Server) -> list[str]:
    """Parameters that the server, or the model, answers with an error."""
    found = [name for name in server.drops if getattr(chat, name, None) is not None]
    if chat.reasoning_effort != "none" and matches(model, server.thinkers):
        found += [name for name, usual in _SAMPLING if getattr(chat, name) not in (None, usual)]
    return found


@lru_cache(maxsize=1024)
def matches(model: str, patterns: tuple[str, ...]) -> bool:
    """The model is one of those that shell patterns name."""
    return any(fnmatchcase(model, one) for one in patterns)


class _Messages(msgspec.Struct):
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None


def _asked(chat: ChatRequest, model: str, server: Server) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is known here and not OpenAI's, in the server's words, and what was dropped."""
    found: dict[str, Any] = {}
    # Usage is asked for by the gateway, and comes without being asked where it cannot be.
    warnings = [one for one in dropping(chat, model, server) if one != "stream_options"]
    if chat.top_k is not None:
        if "top_k" in server.takes:
            found["top_k"] = chat.top_k
        else:
            warnings.append("top_k")
    if chat.cache_control is not None and "cache_control" in server.takes:
        found["cache_control"] = chat.cache_control
    if chat.thinking is None and chat.reasoning is None:
        return found, tuple(warnings)
    if server.thinking == "reasoning":
        found["reasoning"] = chat.reasoning or _as_reasoning(chat.thinking)
    elif server.thinking == "thinking":
        found["thinking"] = {"type": "enabled" if chat.thinks else "disabled"}
    elif server.thinking == "reasoning_effort":
        if chat.may_think and not matches(model, server.thinkers):
            # Of these servers' models those think, and no others, that have a word of their own
            # for the answer's bound.
            warnings.append("thinking (left to the model)")
        elif (effort := effort_of(chat)) is not None:
            found["reasoning_effort"] = effort
    else:
        warnings.append("thinking" if chat.thinking else "reasoning")
    return found, tuple(warnings)


def _as_reasoning(thinking: Thinking | None) -> dict[str, Any]:
    budget = thinking.budget_tokens if thinking else None
    if thinking is not None and thinking.type == "disabled":
        return {"enabled": False}
    return {"max_tokens": budget} if budget else {"enabled": True}


def effort_of(chat: ChatRequest) -> str | None:
    """How hard to think, in OpenAI's words, however it was asked for; None if it was not, or not
    at all was meant and nothing need be said."""
    if chat.reasoning_effort is not None:
        return chat.reasoning_effort
    budget = None
    if chat.reasoning is not None:
        if chat.reasoning.effort is not None:
            return chat.reasoning.effort
        budget = chat.reasoning.max_tokens
    if chat.thinking is not None:
        budget = chat.thinking.budget_tokens or budget
    if not chat.thinks:
        return None
    if budget is None:
        return "medium"
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def _message(message: dict[str, Any], server: Server) -> dict[str, Any]:
    """One message of a client's body, for a server that minds what it does not know."""
    drop = [name for name in _THOUGHTS if name not in server.turns]
    made = (
        _without(message, (*drop, "cache_control", "is_error")) if server.strict_fields else message
    )
    if not server.developer and made.get("role") == "developer":
        made = {**made, "role": "system"}
    if server.strict_fields:
        if isinstance(made.get("content"), list):
            parts = [_without(one, ("cache_control", "citations")) for one in made["content"]]
            made = {**made, "content": parts}
        if isinstance(made.get("tool_calls"), list):
            calls = [
                _without(one, ("extra_content", "cache_control")) for one in made["tool_calls"]
            ]
            made = {**made, "tool_calls": calls}
    return made


def _without(tree: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(tree, dict):
        # In a field that a message of this role does not have: the server's to judge.
        return tree
    return {key: value for key, value in tree.items() if key not in names}


# --- written anew -------------------------------------------------------------------------


def written(chat: ChatRequest, model: str, server: Server) -> tuple[bytes, tuple[str, ...]]:
    """A request that came in another format, and what had to be left out."""
    found, warnings = _asked(chat, model, server)
    changes: dict[str, Any] = dict.fromkeys(EXTENSIONS)
    bound = chat.max_output
    changes |= {"max_tokens": None, "max_completion_tokens": None, server.max_tokens: bound}
    changes |= dict.fromkeys([*server.drops, *dropping(chat, model, server)])
    if chat.metadata is not None and not chat.store:
        changes["metadata"] = None
    changes |= {"model": model, "models": None, "messages": list(_turns(chat.messages, server))}
    if chat.tools is not None and "cache_control" not in server.takes:
        changes["tools"] = [structs.replace(one, cache_control=None) for one in chat.tools]
    if chat.stream and "stream_options" not in server.drops:
        found["stream_options"] = {"include_usage": True}
    known = {name: value for name, value in changes.items() if name in _FIELDS}
    body = msgspec.json.encode(structs.replace(chat, **known))
    renamed = {
        other: value
        for name, other in server.renames.items()
        if (value := getattr(chat, name, None)) is not None
    }
    if found or renamed:
        body = strict_json.splice(body, {**found, **renamed}, remove=list(server.renames))
    return body, warnings


_FIELDS: Final = frozenset(ChatRequest.__struct_fields__)


def _turns(messages: list[m.Message], server: Server) -> Iterator[m.Message]:
    """Messages as OpenAI has them: images of a tool's result come in a message of the user behind
    the results, since a tool's message is text alone."""
    held: list[m.UserPart] = []
    for message in messages:
        if held and type(message) is not m.ToolMessage:
            yield m.UserMessage(held)
            held = []
        # Types are compared: to be told that a struct is no instance of a type takes long.
        if _is_common(message):
            yield message
        elif type(message) is m.AssistantMessage:
            yield _assistant(message, server)
        elif type(message) is m.ToolMessage:
            texts = _result(message, held)
            yield m.ToolMessage(texts, message.tool_call_id)
        elif type(message) is m.UserMessage:
            yield m.UserMessage(_parts(message.content, server), message.name)
        elif isinstance(message, m.FunctionMessage):
            yield message
        elif isinstance(message, m.SystemMessage | m.DeveloperMessage):
            content = _texts(message.content, server)
            known = server.developer and isinstance(message, m.DeveloperMessage)
            yield m.DeveloperMessage(content) if known else m.SystemMessage(content)
    if held:
        yield m.UserMessage(held)


def _is_common(message: m.Message) -> bool:
    """Nothing is in it that OpenAI does not know, as in most."""
    kind = type(message)
    if kind is m.FunctionMessage or message.cache_control is not None:  # type: ignore[union-attr]  # all others have one
        return False
    if type(message.content) is list:
        return False
    if type(message) is m.AssistantMessage:
        return not (
            message.reasoning_content is not None
            or message.reasoning is not None
            or message.reasoning_details is not None
            or message.images is not None
            or any(_is_ours(one) for one in message.tool_calls or ())
        )
    if type(message) is m.ToolMessage:
        return message.is_error is None
    return kind is m.UserMessage


def _is_ours(call: m.FunctionCall | m.CustomCall) -> bool:
    return type(call) is m.FunctionCall and not (
        call.extra_content is None and call.cache_control is None
    )


def _result(message: m.ToolMessage, held: list[m.UserPart]) -> str | list[Any]:
    if isinstance(message.content, str):
        return message.content
    texts = [structs.replace(one, cache_control=None)
             for one in message.content if isinstance(one, m.TextPart)]  # fmt: skip
    others = [one for one in message.content if not isinstance(one, m.TextPart)]
    if others:
        held.append(m.TextPart(f"The result of {message.tool_call_id} has this:"))
        held += [structs.replace(one, cache_control=None) for one in others]
    return texts or "(see the next message)"


def _texts(content: str | list[m.TextPart], server: Server) -> str | list[m.TextPart]:
    if isinstance(content, str) or "cache_control" in server.takes:
        return content
    return [structs.replace(one, cache_control=None) for one in content]


def _parts(content: str | list[m.UserPart], server: Server) -> str | list[m.UserPart]:
    if isinstance(content, str):
        return content
    if "cache_control" not in server.takes:
        content = [structs.replace(one, cache_control=None) for one in content]
    return [
        structs.replace(one, citations=None) if isinstance(one, m.FilePart) else one
        for one in content
    ]


def _assistant(message: m.AssistantMessage, server: Server) -> m.AssistantMessage:
    changes: dict[str, Any] = {"cache_control": None, "images": None}
    thought = message.reasoning_content or message.reasoning
    for name in _THOUGHTS:
        changes[name] = None
    if "reasoning_content" in server.turns:
        changes["reasoning_content"] = thought
    elif "reasoning" in server.turns:
        changes["reasoning"] = thought
    if "reasoning_details" in server.turns:
        changes["reasoning_details"] = message.reasoning_details
    if message.tool_calls and "extra_content" not in server.turns:
        changes["tool_calls"] = [
            structs.replace(one, extra_content=None, cache_control=None)
            if isinstance(one, m.FunctionCall)
            else one
            for one in message.tool_calls
        ]
    if not isinstance(message.content, str) and message.content:
        changes["content"] = [
            structs.replace(one, cache_control=None) if isinstance(one, m.TextPart) else one
            for one in message.content
        ]
    return structs.replace(message, **changes)
