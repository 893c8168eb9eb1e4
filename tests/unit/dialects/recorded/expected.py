"""What a recording says, read by the plainest means: text, calls, finish reason, usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.eventstream import EventStreamBuffer

from tests.unit.dialects.recorded.recordings import Exchange

Tree = dict[str, Any]


@dataclass
class Said:
    """`finish` in chat completions' words; `tokens` are (input, output) with all that counts."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    finish: str | None = None
    tokens: tuple[int, int] | None = None
    thinking: str = ""


def expected(one: Exchange) -> Said | None:
    """None: the provider failed within its answer."""
    trees = events(one) if one.streamed else [json.loads(one.response)]
    return READ[one.asked](trees)


def events(one: Exchange) -> list[Tree]:
    """The events of a stream, as trees."""
    if "amazon.eventstream" in one.headers["content-type"]:
        buffer = EventStreamBuffer()
        buffer.add_data(one.response)
        return [
            {message.headers.get(":event-type", "exception"): json.loads(message.payload)}
            for message in buffer
        ]
    lines = one.response.replace(b"\r\n", b"\n").split(b"\n")
    datas = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return [json.loads(data) for data in datas if data and data != b"[DONE]"]


def arguments(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


# --- OpenAI chat --------------------------------------------------------------------------


def chat(trees: list[Tree]) -> Said | None:
    said = Said()
    calls: dict[Any, list[str]] = {}
    for tree in trees:
        if tree.get("error"):
            return None
        for choice in (tree.get("choices") or [])[:1]:
            message = choice.get("message") or choice.get("delta") or {}
            _content(said, message.get("content"))
            said.thinking += message.get("reasoning_content") or message.get("reasoning") or ""
            for at, call in enumerate(message.get("tool_calls") or ()):
                if call.get("type", "function") not in {"function", None}:
                    continue
                known = calls.setdefault(call.get("index", at), ["", ""])
                known[0] = known[0] or call["function"].get("name") or ""
                known[1] += call["function"].get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
        usage = tree.get("usage") or (tree.get("x_groq") or {}).get("usage")
        if usage:
            said.tokens = (usage["prompt_tokens"], usage.get("completion_tokens") or 0)
    said.calls = [(name, arguments(text)) for name, text in calls.values()]
    return said


def _content(said: Said, content: Any) -> None:
    if isinstance(content, str):
        said.text += content
        return
    for part in content or ():
        if part["type"] == "text":
            said.text += part["text"]
        elif part["type"] == "thinking":
            said.thinking += "".join(one.get("text", "") for one in part["thinking"])


def completions(trees: list[Tree]) -> Said | None:
    said = Said()
    for tree in trees:
        for choice in tree["choices"]:
            if choice["index"] == 0:
                said.text += choice.get("text") or ""
                said.finish = choice.get("finish_reason") or said.finish
        if usage := tree.get("usage"):
            said.tokens = (usage["prompt_tokens"], usage["completion_tokens"])
    return said


# --- OpenAI responses ---------------------------------------------------------------------


def responses(trees: list[Tree]) -> Said | None:
    last = trees[-1].get("response", trees[-1])
    if last.get("status") not in {"completed", "incomplete"}:
        return None
    said = Said()
    for item in last["output"]:
        if item["type"] == "message":
            said.text += "".join(part.get("text", "") for part in item["content"])
        elif item["type"] == "reasoning":
            shown = item.get("content") or item.get("summary") or ()
            said.thinking += "".join(part["text"] for part in shown)
        elif item["type"] == "function_call":
            said.calls.append((item["name"], arguments(item["arguments"])))
    if usage := last.get("usage"):
        said.tokens = (usage["input_tokens"], usage["output_tokens"])
    said.finish = "tool_calls" if said.calls else "stop"
    if last["status"] == "incomplete":
        reason = (last.get("incomplete_details") or {}).get("reason")
        said.finish = "content_filter" if reason == "content_filter" else "length"
    return said


# --- Anthropic ----------------------------------------------------------------------------

STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def messages(trees: list[Tree]) -> Said | None:
    said = Said()
    counted: dict[str, int] = {}
    pieces: dict[int, list[Any]] = {}
    if trees[0]["type"] == "message":
        trees = [{"type": "message_start", "message": trees[0]}]
    for tree in trees:
        kind = tree["type"]
        if kind == "error":
            return None
        head = tree.get("message", {}) if kind == "message_start" else tree.get("delta", {})
        for block in head.get("content") or ():
            _add(said, block)
        if kind == "content_block_start":
            block = tree["content_block"]
            if block["type"] == "tool_use":
                pieces[tree["index"]] = [block["name"], "", block.get("input")]
            else:
                _add(said, block)
        elif kind == "content_block_delta":
            _add(said, {"type": "text", **head})
            if "partial_json" in head and tree["index"] in pieces:
                pieces[tree["index"]][1] += head["partial_json"]
        said.finish = STOPS.get(head.get("stop_reason"), said.finish)
        reported = head.get("usage") or (tree.get("usage") if kind == "message_delta" else None)
        counted.update({k: v for k, v in (reported or {}).items() if isinstance(v, int)})
    said.calls += [(n, json.loads(text) if text else given or {}) for n, text, given in
                   pieces.values()]  # fmt: skip
    cached = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    said.tokens = (sum(counted.get(key, 0) for key in cached), counted.get("output_tokens", 0))
    return said


def _add(said: Said, block: Tree) -> None:
    said.text += block.get("text") or ""
    said.thinking += block.get("thinking") or ""
    if block["type"] == "tool_use":
        said.calls.append((block["name"], block["input"]))


# --- Gemini -------------------------------------------------------------------------------


def generate(trees: list[Tree]) -> Said | None:
    said = Said()
    counted: dict[str, int] = {}
    reason = None
    for tree in trees:
        if tree.get("error"):
            return None
        for candidate in (tree.get("candidates") or [])[:1]:
            for part in (candidate.get("content") or {}).get("parts") or ():
                if "functionCall" in part:
                    call = part["functionCall"]
                    said.calls.append((call["name"], call.get("args") or {}))
                elif part.get("thought"):
                    said.thinking += part.get("text", "")
                else:
                    said.text += part.get("text", "")
            reason = candidate.get("finishReason") or reason
        known = tree.get("usageMetadata") or {}
        counted.update({k: v for k, v in known.items() if isinstance(v, int)})
    if (trees[-1].get("promptFeedback") or {}).get("blockReason"):
        reason = "SAFETY"
    kinds = {"STOP": "tool_calls" if said.calls else "stop", "MAX_TOKENS": "length"}
    said.finish = kinds.get(reason or "STOP", "content_filter")
    if reason and (reason.startswith(("MALFORMED", "UNEXPECTED", "TOO_MANY")) or reason == "OTHER"):
        said.finish = None
    written = counted.get("candidatesTokenCount", 0) + counted.get("thoughtsTokenCount", 0)
    read = counted.get("promptTokenCount", 0) + counted.get("toolUsePromptTokenCount", 0)
    said.tokens = (read, written)
    return said


# --- Bedrock ------------------------------------------------------------------------------


def converse(trees: list[Tree]) -> Said | None:
    if "output" in trees[0]:
        return _converse(trees[0])
    blocks: dict[int, Tree] = {}
    last: Tree = {"usage": {}}
    for tree in trees:
        for kind, event in tree.items():
            if kind.endswith("xception"):
                return None
            at = event.get("contentBlockIndex", 0)
            block = blocks.setdefault(at, {}) if kind.startswith("contentBlock") else {}
            if kind == "contentBlockStart" and "toolUse" in event.get("start", {}):
                block["toolUse"] = {**event["start"]["toolUse"], "input": ""}
            elif kind == "contentBlockDelta":
                _grow(block, event["delta"])
            elif kind in {"messageStop", "metadata"}:
                last |= event
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return _converse({**last, "output": {"message": {"content": list(blocks.values())}}})


def _grow(block: Tree, delta: Tree) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta and "toolUse" in block:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    if "text" in delta.get("reasoningContent", {}):
        known = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
        known["reasoningText"]["text"] += delta["reasoningContent"]["text"]


def _converse(tree: Tree) -> Said | None:
    said = Said()
    for block in tree["output"]["message"]["content"]:
        said.text += block.get("text", "")
        said.thinking += (block.get("reasoningContent", {}).get("reasoningText") or {}).get(
            "text", ""
        )
        for part in block.get("citationsContent", {}).get("content", ()):
            said.text += part.get("text", "")
        if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use":
            said.calls.append((block["toolUse"]["name"], block["toolUse"]["input"]))
    usage = tree["usage"]
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    if usage:
        said.tokens = (usage["inputTokens"] + cached, usage["outputTokens"])
    if "stopReason" in tree:
        said.finish = STOPS.get(tree["stopReason"], "stop")
    if said.finish == "tool_calls" and not said.calls:
        said.finish = "stop"
    return said


# --- Cohere -------------------------------------------------------------------------------

ENDS = {"MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def chat_v2(trees: list[Tree]) -> Said | None:
    said = Said()
    calls: dict[int, list[str]] = {}
    for tree in trees:
        delta = tree.get("delta") or tree
        message = delta.get("message") or {}
        content = message.get("content") or []
        for part in content if isinstance(content, list) else [content]:
            said.text += part.get("text") or ""
            said.thinking += part.get("thinking") or ""
        said.thinking += message.get("tool_plan") or ""
        found = message.get("tool_calls") or []
        for at, call in enumerate(found if isinstance(found, list) else [found]):
            known = calls.setdefault(tree.get("index", at), ["", ""])
            known[0] += call["function"].get("name") or ""
            known[1] += call["function"].get("arguments") or ""
        if reason := delta.get("finish_reason"):
            if reason == "ERROR":
                return None
            said.finish = ENDS.get(reason, "stop")
        if usage := delta.get("usage"):
            units = usage.get("tokens") or usage["billed_units"]
            said.tokens = (int(units["input_tokens"]), int(units["output_tokens"]))
    said.calls = [(name, arguments(text)) for name, text in calls.values()]
    return said


READ: dict[str, Callable[[list[Tree]], Said | None]] = {
    "chat": chat,
    "completions": completions,
    "responses": responses,
    "messages": messages,
    "generate": generate,
    "converse": converse,
    "chat_v2": chat_v2,
}
