"""The `response` object and its output items."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from msgspec import UNSET

from extproc.simulator import responses_request as wire
from extproc.simulator.chat import Ask, Reply, Usage
from extproc.simulator.openai_message import REFUSAL, SOURCE, moderated, tokens_of
from extproc.simulator.openai_rules import reasons
from extproc.simulator.openai_service import tier
from extproc.simulator.responses_rules import ENCRYPTED, Understood

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Own(msgspec.Struct, frozen=True):
    """The request, and what it leads to."""

    body: wire.Body
    read: Understood
    searches: bool
    extra: dict[str, Any]
    """What the server adds to the answer."""
    hosted: bool
    """A self-hosted server shows its reasoning as it is."""

    def includes(self, what: str) -> bool:
        """Whether the answer is to hold that."""
        return what in (self.body.include or ())


def status_of(reply: Reply) -> str:
    """How it ended."""
    if reply.finish == "failed":
        return "failed"
    return "incomplete" if reply.finish in _INCOMPLETE else "completed"


def response_of(ask: Ask, reply: Reply, status: str | None = None) -> dict[str, Any]:
    """The response as it ends, or in an earlier `status`: `queued` or `in_progress`."""
    own: Own = ask.own
    body = own.body
    ended = status is None
    status = status or status_of(reply)
    reason = _INCOMPLETE.get(reply.finish) if ended else None
    failed = status == "failed"
    made = {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "background": bool(body.background),
        "completed_at": reply.created + 1 if status == "completed" else None,
        "error": {"code": "server_error", "message": "The model failed to generate a response."}
        if failed
        else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "frequency_penalty": 0.0,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "model": reply.model,
        "output": output_of(ask, reply) if ended and not failed else [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "presence_penalty": 0.0,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "prompt_cache_retention": body.prompt_cache_retention,
        "reasoning": _reasoning(body),
        "safety_identifier": body.safety_identifier,
        "service_tier": tier(body.service_tier) if ended else body.service_tier or "auto",
        "store": body.store is not False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": _text(body),
        "tool_choice": "auto" if body.tool_choice is None else body.tool_choice,
        "tools": [_tool(one) for one in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "usage": _usage(reply.usage) if ended and not failed and reply.usage else None,
        "user": None if body.user is UNSET else body.user,
        "metadata": body.metadata or {},
    }
    if body.moderation is not None and ended:
        found = moderated(body.moderation.model)
        made["moderation"] = {"input": found, "output": found}
    if body.prompt is not None:
        made["prompt"] = msgspec.to_builtins(body.prompt)
    return made | own.extra if ended else made


def output_of(ask: Ask, reply: Reply) -> list[dict[str, Any]]:
    """Reasoning, searches, the message, then calls."""
    own: Own = ask.own
    items: list[dict[str, Any]] = []
    if ask.reasons or reply.thinking:
        items.append(_reasoning_item(own, reply))
    if own.searches:
        items.append(_search(own, reply))
    if reply.pieces or reply.finish == "refusal" or not reply.calls:
        items.append(_message(own, reply))
    for call in reply.calls:
        head = {"id": f"ctc_{call.id}" if call.custom else f"fc_{call.id}", "status": "completed"}
        said = {"call_id": f"call_{call.id}", "name": call.name}
        if call.custom:
            items.append({**head, "type": "custom_tool_call", **said, "input": call.arguments})
        else:
            items.append({**head, "type": "function_call", **said, "arguments": call.arguments})
    return items


def _reasoning_item(own: Own, reply: Reply) -> dict[str, Any]:
    text = "".join(reply.thinking)
    item: dict[str, Any] = {"id": f"rs_{reply.id}", "type": "reasoning", "summary": []}
    if text and own.hosted:
        item["summary"] = [{"type": "summary_text", "text": text}]
    elif text:
        item["content"] = [{"type": "reasoning_text", "text": text}]
    if own.includes("reasoning.encrypted_content"):
        item["encrypted_content"] = (
            ENCRYPTED + base64.urlsafe_b64encode(f"{reply.id}{text}".encode() * 2).decode()
        )
    return item


def _search(own: Own, reply: Reply) -> dict[str, Any]:
    action: dict[str, Any] = {"type": "search", "query": reply.text[:40] or "tollgate"}
    action["queries"] = [action["query"]]
    if own.includes("web_search_call.action.sources"):
        action["sources"] = [{"type": "url", "url": SOURCE[0]}]
    return {
        "id": f"ws_{reply.id}",
        "type": "web_search_call",
        "status": "completed",
        "action": action,
    }


def _message(own: Own, reply: Reply) -> dict[str, Any]:
    part: dict[str, Any]
    if reply.finish == "refusal":
        part = {"type": "refusal", "refusal": reply.text or REFUSAL}
    else:
        wanted = own.includes("message.output_text.logprobs") or own.body.top_logprobs
        part = {
            "type": "output_text",
            "annotations": [cited(reply.text)] if own.searches and reply.pieces else [],
            "logprobs": tokens_of(reply.pieces, own.body.top_logprobs or 0) if wanted else [],
            "text": reply.text,
        }
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "status": "incomplete" if reply.finish in _INCOMPLETE else "completed",
        "content": [part],
        "role": "assistant",
    }


def cited(text: str) -> dict[str, Any]:
    """What the text cites."""
    url, title = SOURCE
    place = {"start_index": 0, "end_index": len(text), "title": title}
    return {"type": "url_citation", **place, "url": url}


def _reasoning(body: wire.Body) -> dict[str, Any]:
    asked = body.reasoning
    usual = "medium" if reasons(body.model or "") else None
    return {
        "effort": usual if asked is None or asked.effort is None else asked.effort,
        "summary": None if asked is None else asked.summary or asked.generate_summary,
    }


def _text(body: wire.Body) -> dict[str, Any]:
    form: Any = {"type": "text"}
    verbosity = "medium"
    if body.text is not None:
        verbosity = body.text.verbosity or verbosity
        if body.text.format is not UNSET:
            form = msgspec.to_builtins(body.text.format)
    if form["type"] == "json_schema":
        form = {"description": None, **form}
        form["strict"] = bool(form.get("strict"))
    return {"format": form, "verbosity": verbosity}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as the answer shows it: functions are strict unless they say otherwise."""
    if tool.get("type") != "function":
        return tool
    usual = {"description": None, "parameters": None, "strict": True}
    return usual | {key: value for key, value in tool.items() if value is not None}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
