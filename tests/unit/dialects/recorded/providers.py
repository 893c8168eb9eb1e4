"""The providers that recorded requests are translated for, and their SDKs' own types."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import botocore.session
from anthropic.types.beta.message_create_params import (
    MessageCreateParamsBase as BetaMessageCreateParams,
)
from anthropic.types.message_create_params import MessageCreateParamsBase
from botocore.validate import ParamValidator
from google.genai import types
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from extproc.dialects import Wire
from tests.unit.dialects.samples import drain

PROVIDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai": ("openai", "gpt-5.2", {"server": "openai"}),
    "unknown": ("openai", "llama-3.1-8b-instruct", {}),
    "groq": ("openai", "openai/gpt-oss-120b", {"server": "groq"}),
    "azure": ("azure", "gpt-4o", {"api_version": "2024-10-21"}),
    "anthropic": ("anthropic", "claude-sonnet-4-5", {}),
    "gemini": ("gemini", "gemini-2.5-pro", {}),
    "gemini-3": ("gemini", "gemini-3-pro", {}),
    "vertex": ("vertex", "gemini-2.5-flash", {"project": "p", "location": "l"}),
    "vertex-claude": ("vertex", "claude-sonnet-4-5", {"project": "p", "location": "l"}),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {}),
    "bedrock-nova": ("bedrock", "us.amazon.nova-pro-v1:0", {}),
    "cohere": ("cohere", "command-a-03-2025", {}),
}
"""By a name of its own: dialect, model, and what else the target's policy says."""

ANTHROPIC: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsBase)
BETA: TypeAdapter[Any] = TypeAdapter(BetaMessageCreateParams)
OPENAI: TypeAdapter[Any] = TypeAdapter(
    CompletionCreateParamsNonStreaming | CompletionCreateParamsStreaming
)
GEMINI: dict[str, Any] = {
    "systemInstruction": types.Content,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
}


def validate(dialect: str, made: Wire, *, stream: bool) -> None:
    """Raises for a body that the provider's SDK would not send."""
    tree = json.loads(made.body)
    if made.reply.kind == "embeddings":
        embeddings(dialect, tree)
        return
    if made.reply.kind == "count_tokens":
        if dialect == "bedrock":
            bedrock(tree["input"]["converse"])
        else:
            counted = tree.get("generateContentRequest", tree)
            gemini({name: value for name, value in counted.items() if name != "model"})
        return
    if dialect in {"openai", "azure"}:
        OPENAI.validate_python(tree)
    elif dialect == "anthropic" or "anthropic_version" in tree:
        assert bool(tree.get("stream")) is stream or dialect == "vertex"
        beta = "anthropic-beta" in dict(made.headers)
        tree.setdefault("model", "m")
        drain((BETA if beta else ANTHROPIC).validate_python(tree))
    elif dialect in {"gemini", "vertex"}:
        assert (":stream" in made.path) is stream
        gemini(tree)
    elif dialect == "bedrock":
        assert made.path.endswith("/converse-stream" if stream else "/converse")
        bedrock(tree)
    else:
        assert tree["stream"] is stream
        assert {one["role"] for one in tree["messages"]} <= {"user", "assistant", "system", "tool"}


def embeddings(dialect: str, tree: dict[str, Any]) -> None:
    if dialect == "cohere":
        assert set(tree) <= {"model", "input_type", "texts", "embedding_types", "output_dimension",
                             "truncate"}  # fmt: skip
        assert all(isinstance(one, str) for one in tree["texts"])
        return
    for one in tree.get("requests", tree.get("instances", [])):
        if "content" in one and isinstance(one["content"], dict):
            types.Content.model_validate(one["content"])
        else:
            assert isinstance(one["content"], str)


def gemini(tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        if name in {"contents", "tools"}:
            kind: Any = types.Content if name == "contents" else types.Tool
            for one in value:
                kind.model_validate(one)
        elif name in GEMINI:
            GEMINI[name].model_validate(value)
        else:
            assert name in {"serviceTier", "safetySettings", "cachedContent", "labels"}


def bedrock(tree: dict[str, Any]) -> None:
    """Held against the service's own model. On the wire what is bytes to it is base64."""
    shape = _converse()
    report = ParamValidator().validate(_decoded({**tree, "modelId": "a.b"}, shape), shape)
    assert not report.has_errors(), report.generate_report()


def _decoded(value: Any, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "blob":
        return base64.b64decode(value)
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        assert set(value) <= set(shape.members), set(value) - set(shape.members)
        return {key: _decoded(inner, shape.members[key]) for key, inner in value.items()}
    if kind == "list":
        return [_decoded(inner, shape.member) for inner in value]
    return value


@cache
def _converse() -> Any:
    service = botocore.session.get_session().get_service_model("bedrock-runtime")
    return service.operation_model("Converse").input_shape
