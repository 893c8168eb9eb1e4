"""What is never kept, and why: requests whose answer is not one that another may get, and answers
that are not whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from extproc.cache.rules import Rules
from extproc.cache.shapes import SHAPES

_OK: Final = range(200, 300)


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
    if (given.get("n") or 1) > 1 or _prompts(given.get("prompt")) > 1:
        return Unfit.SEVERAL
    if format_ == "responses" and (given.get("background") or given.get("conversation")):
        return Unfit.STATEFUL
    if format_ == "messages" and given.get("container"):
        return Unfit.STATEFUL
    return None


def unfit_answer(  # noqa: PLR0911 - one line a reason
    answer: bytes, tree: Mapping[str, Any] | None, format_: str, rules: Rules, *, status: int = 200
) -> Unfit | None:
    """Why an answer is not kept. `tree` is `answer` read, None if that cannot be. None: it is
    kept."""
    if status not in _OK:
        return Unfit.STATUS
    if len(answer) > rules.max_entry_bytes:
        return Unfit.TOO_LARGE
    judge = _JUDGES.get(format_)
    if judge is None:
        return Unfit.FORMAT
    if not isinstance(tree, dict):
        return Unfit.UNREADABLE
    if tree.get("error"):
        return Unfit.STATUS
    found = judge(tree)
    if found is Unfit.TOOL_CALLS and rules.tool_calls:
        return None
    return found


def _prompts(prompt: object) -> int:
    """How many texts a completion goes on from; a list of numbers is one, as tokens."""
    several = isinstance(prompt, list) and not any(isinstance(one, int) for one in prompt)
    return len(prompt) if several and isinstance(prompt, list) else 1


# --- answers ------------------------------------------------------------------------------


def _first(found: Iterator[Unfit]) -> Unfit | None:
    """The gravest. Calls of tools come last, for they alone may be allowed."""
    return min(found, key=_ORDER.index, default=None)


_ORDER: Final = list(Unfit)
_ORDER.sort(key=lambda one: one is Unfit.TOOL_CALLS)


def _choices(tree: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    choices = tree.get("choices")
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        return None
    return choices


def _chat(tree: Mapping[str, Any]) -> Unfit | None:
    choices = _choices(tree)
    if not choices:
        return Unfit.UNREADABLE
    if len(choices) > 1:
        return Unfit.SEVERAL
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return Unfit.UNREADABLE
    return _first(_chat_faults(message, choices[0].get("finish_reason")))


def _chat_faults(message: Mapping[str, Any], finish: object) -> Iterator[Unfit]:
    if message.get("refusal"):
        yield Unfit.REFUSED
    calls = message.get("tool_calls") or message.get("function_call")
    if calls or finish in ("tool_calls", "function_call"):
        yield Unfit.TOOL_CALLS
    if finish not in ("stop", "tool_calls", "function_call"):
        yield _FINISHES.get(finish, Unfit.ABORTED)
    if not (calls or message.get("content") or message.get("audio") or message.get("images")):
        yield Unfit.EMPTY


_FINISHES: Final[dict[object, Unfit]] = {
    "length": Unfit.TRUNCATED,
    "content_filter": Unfit.REFUSED,
}


def _completion(tree: Mapping[str, Any]) -> Unfit | None:
    choices = _choices(tree)
    if not choices:
        return Unfit.UNREADABLE
    if len(choices) > 1:
        return Unfit.SEVERAL
    finish = choices[0].get("finish_reason")
    if finish != "stop":
        return _FINISHES.get(finish, Unfit.ABORTED)
    return None if choices[0].get("text") else Unfit.EMPTY


def _message(tree: Mapping[str, Any]) -> Unfit | None:
    content = tree.get("content")
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        return Unfit.UNREADABLE
    return _first(_message_faults(content, tree.get("stop_reason")))


def _message_faults(content: list[Mapping[str, Any]], stop: object) -> Iterator[Unfit]:
    if any(block.get("type") not in _SAID for block in content) or stop == "tool_use":
        yield Unfit.TOOL_CALLS
    if stop not in ("end_turn", "stop_sequence", "tool_use"):
        yield _STOPS.get(stop, Unfit.ABORTED)
    if not any(block.get("text") or block.get("type") not in _SAID for block in content):
        yield Unfit.EMPTY


_SAID: Final = frozenset({"text", "thinking", "redacted_thinking"})
"""Blocks of a message in which no tool has a part."""
_STOPS: Final[dict[object, Unfit]] = {
    "max_tokens": Unfit.TRUNCATED,
    "model_context_window_exceeded": Unfit.TRUNCATED,
    "pause_turn": Unfit.TRUNCATED,
    "refusal": Unfit.REFUSED,
}


def _response(tree: Mapping[str, Any]) -> Unfit | None:
    output = tree.get("output")
    if not isinstance(output, list) or not all(isinstance(one, dict) for one in output):
        return Unfit.UNREADABLE
    return _first(_response_faults(tree, output))


def _response_faults(tree: Mapping[str, Any], output: list[Mapping[str, Any]]) -> Iterator[Unfit]:
    status = tree.get("status")
    if status == "incomplete":
        details = tree.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        yield Unfit.REFUSED if reason == "content_filter" else Unfit.TRUNCATED
    elif status != "completed":
        yield Unfit.ABORTED
    parts = [
        part
        for item in output
        if item.get("type") == "message" and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict)
    ]
    if any(part.get("type") == "refusal" for part in parts):
        yield Unfit.REFUSED
    calls = any(item.get("type") not in ("message", "reasoning") for item in output)
    if calls:
        yield Unfit.TOOL_CALLS
    if not calls and not any(part.get("text") for part in parts):
        yield Unfit.EMPTY


def _vectors(tree: Mapping[str, Any]) -> Unfit | None:
    data = tree.get("data")
    if not isinstance(data, list) or not all(
        isinstance(one, dict) and one.get("embedding") for one in data
    ):
        return Unfit.UNREADABLE
    return None if data else Unfit.EMPTY


_JUDGES: Final = {
    "chat": _chat,
    "completions": _completion,
    "embeddings": _vectors,
    "messages": _message,
    "responses": _response,
}
