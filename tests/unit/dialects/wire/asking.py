"""Providers' request bodies, read back into what a client of chat completions would have said.

What has several spellings has one here: content of the user and of tools is a list of parts,
arguments and results that are JSON are what they stand for, and what is a default is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Chat = dict[str, Any]


def text(said: str) -> Chat:
    return {"type": "text", "text": said}


def image(kind: str, data: str) -> Chat:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def file(kind: str, data: str) -> Chat:
    return {"type": "file", "file": {"file_data": f"data:{kind};base64,{data}"}}


def call(id_: str, name: str, arguments: Any, **more: Any) -> Chat:
    return {
        "id": id_,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        **more,
    }


def tool(name: str, description: str | None, parameters: Any) -> Chat:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": without_none(function)}


def without_none(tree: Chat) -> Chat:
    return {name: value for name, value in tree.items() if value is not None}


def normal(chat: Chat) -> Chat:
    """A client's request in the one spelling."""
    found = {**chat, "messages": [_message(one) for one in chat["messages"]]}
    if "max_tokens" in found:
        found["max_completion_tokens"] = found.pop("max_tokens")
    if found.get("tool_choice") == "auto":
        del found["tool_choice"]
    return found


def _message(message: Chat) -> Chat:
    found = without_none(message)
    if found["role"] == "assistant":
        if "tool_calls" in found:
            found["tool_calls"] = [_called(one) for one in found["tool_calls"]]
        if not isinstance(found.get("content", ""), str):
            found["content"] = "".join(one["text"] for one in found["content"])
        return found
    content = found["content"]
    parts = [text(content)] if isinstance(content, str) else [_part(one) for one in content]
    return {**found, "content": parts}


def _called(one: Chat) -> Chat:
    arguments = one["function"]["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return {**one, "function": {**one["function"], "arguments": arguments}}


def _part(part: Chat) -> Chat:
    # Names of files are given back by few.
    return file_only(part) if part["type"] == "file" else part


def file_only(part: Chat) -> Chat:
    return {"type": "file", "file": {"file_data": part["file"]["file_data"]}}


# --- Gemini ---------------------------------------------------------------------------------

SKIP = "skip_thought_signature_validator"


def gemini(body: bytes) -> Chat:
    tree = json.loads(body)
    found: Chat = {"messages": []}
    for part in tree.get("systemInstruction", {}).get("parts", []):
        found["messages"].append({"role": "system", "content": [text(part["text"])]})
    for content in tree["contents"]:
        read = _model if content["role"] == "model" else _user
        found["messages"] += read(content["parts"])
    generation = tree.get("generationConfig", {})
    for name, other in _GEMINI.items():
        if other in generation:
            found[name] = generation[other]
    if (schema := generation.get("responseJsonSchema")) is not None:
        found["response_format"] = schema
    if "tools" in tree:
        [declared] = [one["functionDeclarations"] for one in tree["tools"]]
        found["tools"] = [
            tool(one["name"], one.get("description"), one["parametersJsonSchema"])
            for one in declared
        ]
    calling = tree.get("toolConfig", {}).get("functionCallingConfig", {})
    choice: Any = {"ANY": "required", "NONE": "none"}.get(calling.get("mode"))
    if names := calling.get("allowedFunctionNames"):
        choice = {"type": "function", "function": {"name": names[0]}}
    return without_none({**found, "tool_choice": choice})


_GEMINI = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_completion_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
}


def _media(part: Chat) -> Chat:
    if "fileData" in part:
        return {"type": "image_url", "image_url": {"url": part["fileData"]["fileUri"]}}
    kind, data = part["inlineData"]["mimeType"], part["inlineData"]["data"]
    return image(kind, data) if kind.startswith("image/") else file(kind, data)


def _user(parts: list[Chat]) -> list[Chat]:
    messages: list[Chat] = []
    content = []
    for part in parts:
        if "functionResponse" not in part:
            content.append(text(part["text"]) if "text" in part else _media(part))
            continue
        given = part["functionResponse"]
        response = given["response"]
        error = True if set(response) == {"error"} else None
        said = response.get("error", response.get("output", response))
        said = said if isinstance(said, str) else json.dumps(said)
        media = [_media(one) for one in given.get("parts", [])]
        made = {"role": "tool", "content": [text(said), *media], "tool_call_id": given["id"]}
        messages.append(without_none({**made, "is_error": error}))
    return [*messages, {"role": "user", "content": content}] if content else messages


def _model(parts: list[Chat]) -> list[Chat]:
    said = "".join(part.get("text", "") for part in parts)
    calls = []
    for part in parts:
        if "functionCall" not in part:
            continue
        called = part["functionCall"]
        signature = part.get("thoughtSignature", SKIP)
        extra = None if signature == SKIP else {"google": {"thought_signature": signature}}
        made = call(called["id"], called["name"], called["args"], extra_content=extra)
        calls.append(without_none(made))
    return [
        without_none({"role": "assistant", "content": said or None, "tool_calls": calls or None})
    ]


# --- Bedrock --------------------------------------------------------------------------------


def bedrock(body: bytes) -> Chat:
    tree = json.loads(body)
    found: Chat = {
        "messages": [
            {"role": "system", "content": [text(one["text"])]} for one in tree.get("system", [])
        ]
    }
    for turn in tree["messages"]:
        found["messages"] += _BEDROCK_TURNS[turn["role"]](turn["content"])
    inference = tree["inferenceConfig"]
    for name, other in _BEDROCK.items():
        if other in inference:
            found[name] = inference[other]
    more = tree.get("additionalModelRequestFields", {})
    if "top_k" in more:
        found["top_k"] = more["top_k"]
    if "outputConfig" in tree:
        structure = tree["outputConfig"]["textFormat"]["structure"]
        found["response_format"] = json.loads(structure["jsonSchema"]["schema"])
    config = tree.get("toolConfig", {})
    if "tools" in config:
        specs = [one["toolSpec"] for one in config["tools"]]
        found["tools"] = [
            tool(one["name"], one.get("description"), one["inputSchema"]["json"]) for one in specs
        ]
    choice = more.get("tool_choice") or config.get("toolChoice") or {}
    if choice.get("type") == "none":
        found["tool_choice"] = "none"
    elif "any" in choice:
        found["tool_choice"] = "required"
    elif "tool" in choice:
        found["tool_choice"] = {"type": "function", "function": {"name": choice["tool"]["name"]}}
    return found


_BEDROCK = {
    "temperature": "temperature",
    "top_p": "topP",
    "max_completion_tokens": "maxTokens",
    "stop": "stopSequences",
}


def _bedrock_user(content: list[Chat]) -> list[Chat]:
    messages = []
    parts = []
    for block in content:
        if "toolResult" not in block:
            parts.append(_bedrock_part(block))
            continue
        result = block["toolResult"]
        error = True if result.get("status") == "error" else None
        given = [_bedrock_part(one) for one in result["content"]]
        made = {"role": "tool", "content": given, "tool_call_id": result["toolUseId"]}
        messages.append(without_none({**made, "is_error": error}))
    return [*messages, {"role": "user", "content": parts}] if parts else messages


def _bedrock_part(block: Chat) -> Chat:
    if "text" in block:
        return text(block["text"])
    if "image" in block:
        return image("image/" + block["image"]["format"], block["image"]["source"]["bytes"])
    document = block["document"]
    return file("application/" + document["format"], document["source"]["bytes"])


def _bedrock_assistant(content: list[Chat]) -> list[Chat]:
    found: Chat = {"role": "assistant", "content": "", "tool_calls": [], "reasoning_details": []}
    for block in content:
        if "text" in block:
            found["content"] += block["text"]
        elif "toolUse" in block:
            use = block["toolUse"]
            found["tool_calls"].append(call(use["toolUseId"], use["name"], use["input"]))
        else:
            thought = block["reasoningContent"]
            if "reasoningText" in thought:
                made = {"type": "reasoning.text", **thought["reasoningText"]}
            else:
                made = {"type": "reasoning.encrypted", "data": thought["redactedContent"]}
            found["reasoning_details"].append({**made, "format": "anthropic-claude-v1"})
    return [{name: value for name, value in found.items() if value}]


_BEDROCK_TURNS: dict[str, Callable[[list[Chat]], list[Chat]]] = {
    "user": _bedrock_user,
    "assistant": _bedrock_assistant,
}


# --- Cohere ---------------------------------------------------------------------------------


def cohere(body: bytes) -> Chat:
    tree = json.loads(body)
    found: Chat = {"messages": [_cohere_message(one) for one in tree["messages"]]}
    for name, other in _COHERE.items():
        if other in tree:
            found[name] = tree[other]
    if "response_format" in tree:
        found["response_format"] = tree["response_format"]["json_schema"]
    if "tools" in tree:
        functions = [one["function"] for one in tree["tools"]]
        found["tools"] = [
            tool(one["name"], one.get("description"), one["parameters"]) for one in functions
        ]
    choice = {"REQUIRED": "required", "NONE": "none"}.get(tree.get("tool_choice"))
    return without_none({**found, "tool_choice": choice})


_COHERE = {
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "logprobs": "logprobs",
}


def _cohere_message(message: Chat) -> Chat:
    if message["role"] != "assistant":
        return _message(message)
    content = message.get("content")
    found: Chat = {"role": "assistant"}
    if isinstance(content, list):
        found["content"] = "".join(one["text"] for one in content if one["type"] == "text")
        thoughts = [one["thinking"] for one in content if one["type"] == "thinking"]
        found["reasoning_details"] = [
            {"type": "reasoning.text", "text": one, "format": "cohere-v2"} for one in thoughts
        ]
    elif content:
        found["content"] = content
    if "tool_calls" in message:
        found["tool_calls"] = [_called(one) for one in message["tool_calls"]]
    return {name: value for name, value in found.items() if value}
