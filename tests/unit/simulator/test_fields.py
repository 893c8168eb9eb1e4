"""The fields that the simulator takes are those that the official SDKs send."""

from typing import Any

import msgspec
import pytest
from anthropic import types as claude
from anthropic.types import message_count_tokens_params, message_create_params
from google.genai import types as gemini
from openai.types import chat, shared_params
from openai.types.chat import completion_create_params

from extproc.simulator import anthropic_request, gemini_request, openai_request


def fields(struct: type[msgspec.Struct]) -> set[str]:
    found = set(struct.__struct_encode_fields__)
    tag = struct.__struct_config__.tag_field
    return found | ({tag} if tag else set())


def keys(typed: Any) -> set[str]:
    found: set[str] = set()
    for base in (typed, *getattr(typed, "__orig_bases__", ())):
        found |= set(getattr(base, "__annotations__", {}))
    return found


OPENAI = [
    (completion_create_params.CompletionCreateParamsStreaming, openai_request.Body),
    (completion_create_params.Function, openai_request.OldFunction),
    (completion_create_params.WebSearchOptions, openai_request.WebSearch),
    (completion_create_params.PromptCacheOptions, openai_request.CacheOptions),
    (completion_create_params.Moderation, openai_request.Moderation),
    (chat.ChatCompletionDeveloperMessageParam, openai_request.Developer),
    (chat.ChatCompletionSystemMessageParam, openai_request.System),
    (chat.ChatCompletionUserMessageParam, openai_request.User),
    (chat.ChatCompletionAssistantMessageParam, openai_request.Assistant),
    (chat.ChatCompletionToolMessageParam, openai_request.ToolMessage),
    (chat.ChatCompletionFunctionMessageParam, openai_request.FunctionMessage),
    (chat.ChatCompletionContentPartTextParam, openai_request.TextPart),
    (chat.ChatCompletionContentPartImageParam, openai_request.ImagePart),
    (chat.ChatCompletionContentPartInputAudioParam, openai_request.AudioPart),
    (chat.ChatCompletionContentPartRefusalParam, openai_request.RefusalPart),
    (chat.chat_completion_content_part_param.File, openai_request.FilePart),
    (chat.chat_completion_content_part_param.FileFile, openai_request.FileRef),
    (chat.chat_completion_content_part_image_param.ImageURL, openai_request.ImageURL),
    (chat.ChatCompletionAudioParam, openai_request.AudioOptions),
    (chat.ChatCompletionFunctionToolParam, openai_request.FunctionTool),
    (chat.ChatCompletionCustomToolParam, openai_request.CustomTool),
    (chat.ChatCompletionAllowedToolsParam, openai_request.AllowedTools),
    (chat.ChatCompletionStreamOptionsParam, openai_request.StreamOptions),
    (chat.ChatCompletionPredictionContentParam, openai_request.Prediction),
    (chat.ChatCompletionMessageFunctionToolCallParam, openai_request.FunctionCall),
    (chat.ChatCompletionMessageCustomToolCallParam, openai_request.CustomCall),
    (shared_params.FunctionDefinition, openai_request.FunctionDefinition),
    (shared_params.response_format_json_schema.JSONSchema, openai_request.SchemaText),
]
ANTHROPIC = [
    (message_create_params.MessageCreateParamsStreaming, anthropic_request.Body),
    (message_count_tokens_params.MessageCountTokensParams, anthropic_request.CountBody),
    (claude.UserMessageParam, anthropic_request.Message),
    (claude.TextBlockParam, anthropic_request.Text),
    (claude.ImageBlockParam, anthropic_request.Image),
    (claude.DocumentBlockParam, anthropic_request.Document),
    (claude.SearchResultBlockParam, anthropic_request.SearchResult),
    (claude.ThinkingBlockParam, anthropic_request.Thinking),
    (claude.RedactedThinkingBlockParam, anthropic_request.RedactedThinking),
    (claude.ToolUseBlockParam, anthropic_request.ToolUse),
    (claude.ToolResultBlockParam, anthropic_request.ToolResult),
    (claude.ServerToolUseBlockParam, anthropic_request.ServerToolUse),
    (claude.WebSearchToolResultBlockParam, anthropic_request.WebSearchResult),
    (claude.ContainerUploadBlockParam, anthropic_request.ContainerUpload),
    (claude.ToolParam, anthropic_request.CustomTool),
    (claude.ToolChoiceAutoParam, anthropic_request.ChoiceAuto),
    (claude.ToolChoiceToolParam, anthropic_request.ChoiceTool),
    (claude.ThinkingConfigEnabledParam, anthropic_request.ThinkingEnabled),
    (claude.ThinkingConfigAdaptiveParam, anthropic_request.ThinkingAdaptive),
    (claude.OutputConfigParam, anthropic_request.OutputConfig),
    (claude.MetadataParam, anthropic_request.Metadata),
    (claude.CacheControlEphemeralParam, anthropic_request.CacheControl),
]
OLDER = {"temperature", "top_k", "top_p"}
"""Of API version 2023-06-01; the SDK speaks a newer one."""
BETA = {"context_management", "mcp_servers"}
"""A header brings them; the SDK types them apart."""


@pytest.mark.parametrize(("typed", "struct"), OPENAI, ids=lambda one: one.__name__)
def test_openai(typed: Any, struct: type[msgspec.Struct]) -> None:
    assert fields(struct) - {"annotations"} == keys(typed)


@pytest.mark.parametrize(("typed", "struct"), ANTHROPIC, ids=lambda one: one.__name__)
def test_anthropic(typed: Any, struct: type[msgspec.Struct]) -> None:
    assert fields(struct) - OLDER - BETA == keys(typed)


GEMINI: list[tuple[type[Any], type[msgspec.Struct], set[str]]] = [
    # The SDK's own comments name what only Vertex takes.
    (gemini.Content, gemini_request.Content, set()),
    (gemini.Part, gemini_request.Part, set()),
    (gemini.Blob, gemini_request.Blob, set()),
    (gemini.FileData, gemini_request.FileData, set()),
    (gemini.FunctionCall, gemini_request.FunctionCall, {"partialArgs", "willContinue"}),
    (gemini.FunctionResponse, gemini_request.FunctionResponse, set()),
    (gemini.FunctionResponsePart, gemini_request.ResponsePart, set()),
    (gemini.FunctionResponseBlob, gemini_request.ResponseBlob, set()),
    (gemini.FunctionDeclaration, gemini_request.FunctionDeclaration, set()),
    (gemini.Schema, gemini_request.Schema, {"additionalProperties", "defs", "ref"}),
    (gemini.ThinkingConfig, gemini_request.ThinkingConfig, set()),
    (gemini.ToolConfig, gemini_request.ToolConfig, set()),
    (gemini.FunctionCallingConfig, gemini_request.FunctionCallingConfig, set()),
    (gemini.SafetySetting, gemini_request.SafetySetting, {"method"}),
    (
        gemini.Tool,
        gemini_request.Tool,
        {"retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch"},
    ),
    (
        gemini.GenerationConfig,
        gemini_request.GenerationConfig,
        {"modelSelectionConfig", "audioTimestamp", "routingConfig"},
    ),
]


@pytest.mark.parametrize(("model", "struct", "vertex"), GEMINI, ids=lambda one: str(one)[-40:])
def test_gemini(model: type[Any], struct: type[msgspec.Struct], vertex: set[str]) -> None:
    sent = {field.alias or name for name, field in model.model_fields.items()}
    assert fields(struct) - {"imageConfig"} == sent - vertex - {"imageConfig"}
