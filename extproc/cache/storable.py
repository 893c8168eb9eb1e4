"""What is never kept, and why: requests whose answer is not one that another may get, and answers
that are not whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from extproc.cache.rules import Rules
from extproc.cache.shapes import SHAPES


class Unfit(StrEnum):
    """Why a request or an answer has no part in the cache. The value goes into metrics."""

    FORMAT = "format"
    """Of this client format nothing is kept."""
    TEMPERATURE = "temperature"
    """Above the route's `temperature_max`."""
    SEVERAL = "several"
    """More than one answer was asked for."""
    STATEFUL = "stateful"
    """It goes on from, or changes, what a provider keeps, or is answered later."""
    SCOPE = "scope"
    """Nobody can be told to share the answer: no user, or no session, was named."""
    NO_STORE = "no_store"
    """A header said so."""
    PERSONAL = "personal"
    """The guard found personal data that was not taken out."""
    STATUS = "status"
    """The answer is an error."""
    UNREADABLE = "unreadable"
    """It is no answer of its format."""
    ABORTED = "aborted"
    """It did not come to its end."""
    TRUNCATED = "truncated"
    """It was cut by a bound on its length."""
    REFUSED = "refused"
    """The model, or a filter, declined."""
    TOOL_CALLS = "tool_calls"
    """It calls tools, and the route does not keep such answers."""
    EMPTY = "empty"
    """It says nothing."""
    TOO_LARGE = "too_large"
    """Over the route's `max_entry_bytes`."""


def unfit_request(  # noqa: PLR0911 - one line a reason
    given: Mapping[str, Any], format_: str, rules: Rules
) -> Unfit | None:
    """Why a request has no part in the cache: it is neither answered from it nor is its answer
    kept. `given` as `fingerprint.fields` reads a body. None: it has."""
    if format_ not in SHAPES:
        return Unfit.FORMAT
    if format_ == "embeddings":
        return None
    temperature = given.get("temperature")
    # Every client format documents 1 as the temperature of a request that says none.
    if (1 if temperature is None else temperature) > rules.temperature_max:
        return Unfit.TEMPERATURE
    if _answers(given.get("n")) > 1 or _prompts(given.get("prompt")) > 1:
        return Unfit.SEVERAL
    if format_ == "responses" and (given.get("background") or given.get("conversation")):
        return Unfit.STATEFUL
    if format_ == "messages" and (given.get("container") or given.get("thread")):
        return Unfit.STATEFUL
    return None


def unfit_answer(tree: Mapping[str, Any] | None, format_: str, rules: Rules) -> Unfit | None:
    """Why a 2xx answer is not kept, whatever its size. `tree`: as it is read; None if that cannot
    be. None: it is kept."""
    judge = _JUDGES.get(format_)
    if judge is None:
        return Unfit.FORMAT
    if not isinstance(tree, dict):
        return Unfit.UNREADABLE
    if tree.get("error"):
        return Unfit.STATUS
    try:
        msgspec.convert(tree, _FORMS[format_])
    except (msgspec.ValidationError, RecursionError):
        return Unfit.UNREADABLE
    found = judge(tree)
    if found is Unfit.TOOL_CALLS and rules.tool_calls:
        return None
    return found


def _answers(number: object) -> float:
    """How many answers are asked for. A format that has no such field lets anything stand there."""
    return number if isinstance(number, int | float) else 1


def _prompts(prompt: object) -> int:
    """How many texts a completion goes on from; a list of numbers is one, as tokens."""
    several = isinstance(prompt, list) and not any(isinstance(one, int) for one in prompt)
    return len(prompt) if several and isinstance(prompt, list) else 1


# --- what can be sent again ---------------------------------------------------------------


class _Call(Struct):
    type: str | None = None


class _Function(Struct):
    arguments: str = ""


class _Said(Struct):
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    message: _Said


class _Chat(Struct):
    choices: list[_Choice]


class _Continued(Struct):
    text: str = ""


class _Completion(Struct):
    choices: list[_Continued]


class _Block(Struct):
    type: str
    text: str = ""
    thinking: str = ""
    citations: list[Any] | None = None


class _Message(Struct):
    content: list[_Block]
    usage: dict[str, Any] | None = None


class _Part(Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class _Item(Struct):
    type: str


class _Parts(Struct):
    """Of a message, or of a thought."""

    summary: list[_Part] | None = None
    content: list[_Part] | None = None


class _Response(Struct):
    output: list[dict[str, Any]]


class _Vectors(Struct):
    data: list[dict[str, Any]]


_FORMS: Final[Mapping[str, type[Struct]]] = {
    "chat": _Chat,
    "completions": _Completion,
    "embeddings": _Vectors,
    "messages": _Message,
    "responses": _Response,
}
"""What an answer must have so that it can be sent as a stream: `replay.events` takes what has
it."""


# --- answers ------------------------------------------------------------------------------


def _first(found: Iterator[Unfit]) -> Unfit | None:
    """The gravest. Calls of tools come last, for they alone may be allowed."""
    return min(found, key=_ORDER.index, default=None)


_ORDER: Final = list(Unfit)
_ORDER.sort(key=lambda one: one is Unfit.TOOL_CALLS)


def _why(end: object, known: Mapping[str, Unfit]) -> Unfit:
    """Why an answer that ended so is not kept."""
    return known.get(end, Unfit.ABORTED) if isinstance(end, str) else Unfit.ABORTED


def _judge_chat(tree: Mapping[str, Any]) -> Unfit | None:
    choices = tree["choices"]
    if not choices:
        return Unfit.UNREADABLE
    if len(choices) > 1:
        return Unfit.SEVERAL
    return _first(_chat_faults(choices[0]["message"], choices[0].get("finish_reason")))


def _chat_faults(message: Mapping[str, Any], finish: object) -> Iterator[Unfit]:
    if message.get("refusal"):
        yield Unfit.REFUSED
    calls = message.get("tool_calls") or message.get("function_call")
    if calls or finish in ("tool_calls", "function_call"):
        yield Unfit.TOOL_CALLS
    if finish not in ("stop", "tool_calls", "function_call"):
        yield _why(finish, _FINISHES)
    if not (calls or message.get("content") or message.get("audio") or message.get("images")):
        yield Unfit.EMPTY


_FINISHES: Final[dict[str, Unfit]] = {
    "length": Unfit.TRUNCATED,
    "content_filter": Unfit.REFUSED,
}


def _judge_completion(tree: Mapping[str, Any]) -> Unfit | None:
    choices = tree["choices"]
    if not choices:
        return Unfit.UNREADABLE
    if len(choices) > 1:
        return Unfit.SEVERAL
    finish = choices[0].get("finish_reason")
    if finish != "stop":
        return _why(finish, _FINISHES)
    return None if choices[0].get("text") else Unfit.EMPTY


def _judge_message(tree: Mapping[str, Any]) -> Unfit | None:
    return _first(_message_faults(tree["content"], tree.get("stop_reason")))


def _message_faults(content: list[Mapping[str, Any]], stop: object) -> Iterator[Unfit]:
    calls = [block for block in content if block.get("type") not in _SAID]
    if calls or stop == "tool_use":
        yield Unfit.TOOL_CALLS
    if stop not in ("end_turn", "stop_sequence", "tool_use"):
        yield _why(stop, _STOPS)
    if not calls and not any(block.get("text") for block in content):
        yield Unfit.EMPTY


_SAID: Final = ("text", "thinking", "redacted_thinking")
"""Blocks of a message in which no tool has a part."""
_STOPS: Final[dict[str, Unfit]] = {
    "max_tokens": Unfit.TRUNCATED,
    "model_context_window_exceeded": Unfit.TRUNCATED,
    "pause_turn": Unfit.TRUNCATED,
    "refusal": Unfit.REFUSED,
}


def _judge_response(tree: Mapping[str, Any]) -> Unfit | None:
    try:
        for item in tree["output"]:
            if msgspec.convert(item, _Item).type in _OF_PARTS:
                msgspec.convert(item, _Parts)
    except msgspec.ValidationError:
        return Unfit.UNREADABLE
    return _first(_response_faults(tree, tree["output"]))


_OF_PARTS: Final = frozenset({"message", "reasoning"})
"""Items that a model says; all others are calls of tools, or of what a provider does by itself."""


def _response_faults(tree: Mapping[str, Any], output: list[Mapping[str, Any]]) -> Iterator[Unfit]:
    status = tree.get("status")
    if status == "incomplete":
        details = tree.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        yield Unfit.REFUSED if reason == "content_filter" else Unfit.TRUNCATED
    elif status != "completed":
        yield Unfit.ABORTED
    parts = [
        part for item in output if item["type"] == "message" for part in item.get("content") or ()
    ]
    if any(part.get("type") == "refusal" for part in parts):
        yield Unfit.REFUSED
    calls = any(item["type"] not in _OF_PARTS for item in output)
    if calls:
        yield Unfit.TOOL_CALLS
    if not calls and not any(part.get("text") for part in parts):
        yield Unfit.EMPTY


def _judge_vectors(tree: Mapping[str, Any]) -> Unfit | None:
    if not all(one.get("embedding") for one in tree["data"]):
        return Unfit.UNREADABLE
    return None if tree["data"] else Unfit.EMPTY


_JUDGES: Final = {
    "chat": _judge_chat,
    "completions": _judge_completion,
    "embeddings": _judge_vectors,
    "messages": _judge_message,
    "responses": _judge_response,
}
