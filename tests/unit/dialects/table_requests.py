"""What becomes of each feature of a chat request, by dialect: the first part of docs/dialects.md.

Each row's sample is in `features`; `test_features` sends it and looks at the provider's body.
"""

from __future__ import annotations

from typing import Final

from tests.unit.dialects.cells import (
    AS_IS,
    Cell,
    Dropped,
    LeftOut,
    Refused,
    Row,
    Sent,
)
from tests.unit.dialects.features import PIXEL


def row(
    anthropic: Cell,
    gemini: Cell,
    bedrock: Cell,
    cohere: Cell,
    openai: Cell = AS_IS,
    *,
    vertex: Cell | None = None,
) -> Row:
    """Azure takes what OpenAI takes, and Vertex AI what Gemini takes unless given."""
    return {
        "openai": openai,
        "azure": openai,
        "anthropic": anthropic,
        "gemini": gemini,
        "vertex": vertex or gemini,
        "bedrock": bedrock,
        "cohere": cohere,
    }


def lacks(text: str, cohere: Cell | None = None, gemini: Cell | None = None) -> Row:
    """Those that are translated refuse in the same words, `{}` being their name."""
    return row(
        Refused(text.format("Anthropic")),
        gemini or Refused(text.format("Gemini")),
        Refused(text.format("Bedrock")),
        cohere or Refused(text.format("Cohere")),
    )


def dropped(*names: str, cohere: Cell | None = None, gemini: Cell | None = None) -> Row:
    """Those that are translated leave it out and say so."""
    gone = Dropped(*names)
    return row(gone, gemini or gone, gone, cohere or gone)


A0, A1 = "messages.0.content.", "messages.0.content.1."
G1 = "contents.0.parts.1."
M1 = "messages.1.content."
B_TOOL = "toolConfig.tools.0.toolSpec."
B_CHOICE = "additionalModelRequestFields.tool_choice."
G_TOOL = "tools.0.functionDeclarations.0."
G_MODE = "toolConfig.functionCallingConfig.mode"
G_NAMES = "toolConfig.functionCallingConfig.allowedFunctionNames"
G_THINK = "generationConfig.thinkingConfig."
B_THINK = "additionalModelRequestFields.thinking."
TEXT_OF_SCHEMA = (
    '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
    '"additionalProperties":false}'
)
NO_FILES = Refused("files: Cohere's chat takes no files")
NO_AUDIO = row(
    Refused("audio: Anthropic neither hears nor speaks"),
    Refused("audio: Gemini's chat models do not answer in sound"),
    Refused("audio: no model behind Bedrock's Converse speaks"),
    Refused("audio: Cohere neither hears nor speaks"),
)
BY_A_TOOL = "response_format (by a forced tool)"
NO_BUDGETS = "{} (no budgets: level MEDIUM was sent)"
WARM = "temperature (above 1: 1 was sent)"
HINT = LeftOut("a hint for a cache that works otherwise here")
NOBODY = LeftOut("nobody to tell")

REQUESTS: Final[dict[str, Row]] = {
    "text": row(
        Sent(A0[:-1], "What is the weather in Paris?"),
        Sent("contents.0.parts.0.text", "What is the weather in Paris?"),
        Sent(A0 + "0.text", "What is the weather in Paris?"),
        Sent(A0[:-1], "What is the weather in Paris?"),
    ),
    "system": row(
        Sent("system.0.text", "Be brief."),
        Sent("systemInstruction.parts.0.text", "Be brief."),
        Sent("system.0.text", "Be brief."),
        Sent("messages.0.role", "system", "messages.0.content", "Be brief."),
    ),
    "developer": row(
        Sent("system.0.text", "Be brief."),
        Sent("systemInstruction.parts.0.text", "Be brief."),
        Sent("system.0.text", "Be brief."),
        Sent("messages.0.role", "system", "messages.0.content", "Be brief."),
    ),
    "multi-turn": row(
        Sent("messages.1.role", "assistant", "messages.1.content", "Grey."),
        Sent("contents.1.role", "model", "contents.1.parts.0.text", "Grey."),
        Sent("messages.1.role", "assistant", M1 + "0.text", "Grey."),
        Sent("messages.1.role", "assistant", "messages.1.content", "Grey."),
    ),
    "refusal of an earlier turn": row(
        Sent(M1 + "0.text", "No."),
        Sent("contents.1.parts.0.text", "No."),
        Sent(M1 + "0.text", "No."),
        Sent("messages.1.content", "No."),
    ),
    "image by URL": row(
        Sent(A1 + "source.url", "https://example.com/cat.png"),
        Sent(G1 + "fileData.fileUri", "https://example.com/cat.png"),
        Refused("vision: Bedrock takes what is inline or in S3, not by URL"),
        Sent(A1 + "image_url.url", "https://example.com/cat.png"),
    ),
    "image as base64": row(
        Sent(A1 + "source.media_type", "image/png", A1 + "source.data", PIXEL),
        Sent(G1 + "inlineData.mimeType", "image/png", G1 + "inlineData.data", PIXEL),
        Sent(A1 + "image.format", "png", A1 + "image.source.bytes", PIXEL),
        Sent(A1 + "image_url.url", f"data:image/png;base64,{PIXEL}"),
    ),
    "image detail": dropped("image_url.detail", cohere=Sent(A1 + "image_url.detail", "high")),
    "PDF as base64": row(
        Sent(A1 + "source.media_type", "application/pdf", A1 + "source.data", "JVBERg=="),
        Sent(G1 + "inlineData.mimeType", "application/pdf", G1 + "inlineData.data", "JVBERg=="),
        Sent(A1 + "document.format", "pdf", A1 + "document.source.bytes", "JVBERg=="),
        NO_FILES,
    ),
    "PDF by URL": row(
        Sent(A1 + "source.url", "https://example.com/a.pdf"),
        Sent(G1 + "fileData.fileUri", "https://example.com/a.pdf"),
        Refused("files: Bedrock takes what is inline or in S3, not by URL"),
        NO_FILES,
    ),
    "text file": row(
        Sent(A1 + "source.media_type", "text/plain", A1 + "source.data", "hi"),
        Sent(G1 + "inlineData.mimeType", "text/plain", G1 + "inlineData.data", "aGk="),
        Sent(A1 + "document.format", "txt", A1 + "document.source.bytes", "aGk="),
        NO_FILES,
    ),
    "other file": row(
        Refused("files: Anthropic takes PDF, text and images, not application/zip"),
        Sent(G1 + "inlineData.mimeType", "application/zip", G1 + "inlineData.data", "UEs="),
        Refused(
            "files: Bedrock takes PDF, Word, Excel, CSV, HTML, Markdown, text, images, sound and "
            "film, not application/zip"
        ),
        NO_FILES,
    ),
    "file by id": row(
        Sent(A1 + "source.file_id", "file-abc123"),
        Refused("files: 'file-abc123' is no file of Gemini's"),
        Refused("files: Bedrock keeps no files"),
        NO_FILES,
        vertex=Refused("files: 'file-abc123' is no file of Vertex AI's"),
    ),
    "audio in": {
        **NO_AUDIO,
        **dict.fromkeys(
            ("gemini", "vertex"),
            Sent(G1 + "inlineData.mimeType", "audio/wav", G1 + "inlineData.data", "UklGRg=="),
        ),
        "bedrock": Refused("audio: this model of Bedrock does not hear"),
    },
    "audio out": NO_AUDIO,
    "tools": row(
        Sent("tools.0.name", "get_weather", "tools.0.input_schema.required", ["city"]),
        Sent(G_TOOL + "name", "get_weather", G_TOOL + "parametersJsonSchema.required", ["city"]),
        Sent(B_TOOL + "name", "get_weather", B_TOOL + "inputSchema.json.required", ["city"]),
        Sent(
            "tools.0.function.name", "get_weather", "tools.0.function.parameters.required", ["city"]
        ),
    ),
    "strict schemas": row(
        Sent("tools.0.strict", True),
        Sent(G_MODE, "VALIDATED"),
        Sent(B_TOOL + "strict", True),
        Sent("strict_tools", True),
    ),
    "parallel calls": row(
        Sent("tools.1.name", "get_time"),
        Sent("tools.0.functionDeclarations.1.name", "get_time"),
        Sent("toolConfig.tools.1.toolSpec.name", "get_time"),
        Sent("tools.1.function.name", "get_time"),
    ),
    "one call at a time": row(
        Sent("tool_choice.disable_parallel_tool_use", True),
        Refused("parallel_tool_calls: Gemini cannot be held to one call at a time"),
        Sent(B_CHOICE + "disable_parallel_tool_use", True),
        Refused("parallel_tool_calls: Cohere cannot be held to one call at a time"),
    ),
    "a tool must be called": row(
        Sent("tool_choice.type", "any"),
        Sent(G_MODE, "ANY"),
        Sent("toolConfig.toolChoice.any", {}),
        Sent("tool_choice", "REQUIRED"),
    ),
    "one tool must be called": row(
        Sent("tool_choice", {"type": "tool", "name": "get_weather"}),
        Sent(G_MODE, "ANY", G_NAMES, ["get_weather"]),
        Sent("toolConfig.toolChoice.tool.name", "get_weather"),
        Sent("tool_choice", "REQUIRED", "tools.0.function.name", "get_weather", "tools.1", None),
    ),
    "no tool may be called": row(
        Sent("tool_choice.type", "none"),
        Sent(G_MODE, "NONE"),
        Sent(B_CHOICE + "type", "none"),
        Sent("tool_choice", "NONE"),
    ),
    "allowed tools": row(
        Sent("tools.0.name", "get_weather", "tools.1", None),
        Sent(G_TOOL + "name", "get_weather", "tools.0.functionDeclarations.1", None),
        Sent(B_TOOL + "name", "get_weather", "toolConfig.tools.1", None),
        Sent("tools.0.function.name", "get_weather", "tools.1", None),
    ),
    "tool results": row(
        Sent(
            "messages.2.content.1.tool_use_id",
            "call_2",
            "messages.2.content.1.content.0.text",
            "noon",
        ),
        Sent(
            "contents.2.parts.1.functionResponse.id",
            "call_2",
            "contents.2.parts.1.functionResponse.response.output",
            "noon",
        ),
        Sent(
            "messages.2.content.1.toolResult.toolUseId",
            "call_2",
            "messages.2.content.1.toolResult.content.0.text",
            "noon",
        ),
        Sent("messages.3.tool_call_id", "call_2", "messages.3.content", "noon"),
    ),
    "results with images": row(
        Sent("messages.2.content.1.content.0.source.data", PIXEL),
        Sent("contents.2.parts.1.functionResponse.parts.0.inlineData.data", PIXEL),
        Sent("messages.2.content.1.toolResult.content.0.image.source.bytes", PIXEL),
        Refused("vision: Cohere takes text alone as a tool's result"),
    ),
    "failed results": row(
        Sent("messages.2.content.0.is_error", True),
        Sent("contents.2.parts.0.functionResponse.response.error", '{"sky": "grey", "t": 11.50}'),
        Sent("messages.2.content.0.toolResult.status", "error"),
        Sent("messages.2.content", '{"sky": "grey", "t": 11.50}'),
        LeftOut("the result says what failed"),
    ),
    "custom tools": lacks("custom_tools: {}'s tools take JSON, not free text"),
    "vendor tools": lacks("vendor_tools: {} has none of another vendor's tools"),
    "functions": row(
        Sent("tools.0.name", "get_weather", "tool_choice.name", "get_weather"),
        Sent(G_TOOL + "name", "get_weather", G_NAMES, ["get_weather"]),
        Sent(B_TOOL + "name", "get_weather", B_CHOICE + "name", "get_weather"),
        Sent("tools.0.function.name", "get_weather", "tool_choice", "REQUIRED"),
    ),
    "web search": row(
        Sent("tools.0.type", "web_search_20250305"),
        Sent("tools.0.googleSearch", {}),
        Refused("web_search: Bedrock searches no web"),
        Refused("web_search: Cohere's chat searches no web"),
    ),
    "JSON object": row(
        Sent("tool_choice.name", "json", warns=(BY_A_TOOL,)),
        Sent("generationConfig.responseMimeType", "application/json"),
        Sent(B_CHOICE + "name", "json", warns=(BY_A_TOOL,)),
        Sent("response_format.type", "json_object"),
    ),
    "JSON schema": row(
        Sent("output_config.format.schema.required", ["a"]),
        Sent("generationConfig.responseJsonSchema.required", ["a"]),
        Sent("outputConfig.textFormat.structure.jsonSchema.schema", TEXT_OF_SCHEMA),
        Sent("response_format.json_schema.required", ["a"]),
    ),
    "JSON schema beside tools": row(
        Sent("output_config.format.schema.required", ["a"]),
        Sent("generationConfig.responseJsonSchema.required", ["a"]),
        Sent("outputConfig.textFormat.structure.jsonSchema.schema", TEXT_OF_SCHEMA),
        Sent("tool_choice", "REQUIRED", "tools.1.function.name", "x", warns=(BY_A_TOOL,)),
    ),
    "reasoning effort": row(
        Sent("thinking.budget_tokens", 12_800),
        Sent(G_THINK + "thinkingLevel", "HIGH"),
        Sent(B_THINK + "budget_tokens", 12_800),
        Sent("thinking.token_budget", 16_384),
    ),
    "reasoning budget": row(
        Sent("thinking.budget_tokens", 2000),
        Sent(
            G_THINK + "thinkingLevel", "MEDIUM", warns=(NO_BUDGETS.format("reasoning.max_tokens"),)
        ),
        Sent(B_THINK + "budget_tokens", 2000),
        Sent("thinking.token_budget", 2000),
        Sent("reasoning_effort", "low", "reasoning", None),
    ),
    "thinking, Anthropic's way": row(
        Sent("thinking.budget_tokens", 2000),
        Sent(
            G_THINK + "thinkingLevel",
            "MEDIUM",
            warns=(NO_BUDGETS.format("thinking.budget_tokens"),),
        ),
        Sent(B_THINK + "budget_tokens", 2000),
        Sent("thinking.token_budget", 2000),
        Sent("reasoning_effort", "low", "thinking", None),
    ),
    "thinking off": row(
        Sent("thinking", None),
        Sent(
            G_THINK + "thinkingLevel",
            "MINIMAL",
            warns=("reasoning_effort (cannot be switched off: MINIMAL was sent)",),
        ),
        Sent("additionalModelRequestFields", None),
        Sent("thinking.type", "disabled"),
    ),
    "thinking of earlier turns": row(
        Sent(M1 + "0.thinking", "Look up.", M1 + "0.signature", "c2ln"),
        Sent("contents.1.parts.1.thoughtSignature", "Z29v"),
        Sent(M1 + "0.reasoningContent.reasoningText", {"text": "Look up.", "signature": "c2ln"}),
        Sent(M1 + "0.thinking", "Look up."),
        Sent("messages.1", {"role": "assistant", "content": "Grey."}),
    ),
    "verbosity": dropped("verbosity"),
    "prediction": dropped("prediction"),
    "n": lacks(
        "n: {} gives one answer a request", gemini=Sent("generationConfig.candidateCount", 2)
    ),
    "stop": row(
        Sent("stop_sequences", ["END", "\n\n."]),
        Sent("generationConfig.stopSequences", ["END", "\n\n."]),
        Sent("inferenceConfig.stopSequences", ["END", "\n\n."]),
        Sent("stop_sequences", ["END", "\n\n."]),
    ),
    "max tokens": row(
        Sent("max_tokens", 77),
        Sent("generationConfig.maxOutputTokens", 77),
        Sent("inferenceConfig.maxTokens", 77),
        Sent("max_tokens", 77),
    ),
    "temperature": row(
        Sent("temperature", 0.5),
        Sent("generationConfig.temperature", 0.5),
        Sent("inferenceConfig.temperature", 0.5),
        Sent("temperature", 0.5),
    ),
    "temperature above 1": row(
        Sent("temperature", 1.0, warns=(WARM,)),
        Sent("generationConfig.temperature", 1.5),
        Sent("inferenceConfig.temperature", 1.0, warns=(WARM,)),
        Sent("temperature", 1.0, warns=(WARM,)),
    ),
    "top_p": row(
        Sent("top_p", 0.9),
        Sent("generationConfig.topP", 0.9),
        Sent("inferenceConfig.topP", 0.9),
        Sent("p", 0.9),
    ),
    "top_k": row(
        Sent("top_k", 40),
        Sent("generationConfig.topK", 40),
        Sent("additionalModelRequestFields.top_k", 40),
        Sent("k", 40),
        Dropped("top_k"),
    ),
    "seed": dropped("seed", gemini=Sent("generationConfig.seed", 7), cohere=Sent("seed", 7)),
    "penalties": dropped(
        "presence_penalty",
        "frequency_penalty",
        gemini=Sent(
            "generationConfig.presencePenalty", 0.5, "generationConfig.frequencyPenalty", 0.25
        ),
        cohere=Sent("presence_penalty", 0.5, "frequency_penalty", 0.25),
    ),
    "logit_bias": lacks("logit_bias: {} has no logit bias"),
    "logprobs": lacks(
        "logprobs: {} has no log probabilities",
        gemini=Sent("generationConfig.responseLogprobs", True),
        cohere=Sent("logprobs", True),
    ),
    "top_logprobs": lacks(
        "logprobs: {} has no log probabilities",
        gemini=Sent("generationConfig.logprobs", 2),
        cohere=Refused(
            "logprobs: Cohere has none of the tokens that were not chosen (top_logprobs)"
        ),
    ),
    "service_tier": row(
        Sent("service_tier", "standard_only", warns=("service_tier",)),
        Sent("serviceTier", "flex"),
        Sent("serviceTier.type", "flex"),
        Dropped("service_tier"),
    ),
    "cache_control": row(
        Sent(A0 + "0.cache_control.type", "ephemeral"),
        HINT,
        Sent(A0 + "1.cachePoint.type", "default"),
        HINT,
        HINT,
    ),
    "prompt_cache_key": row(HINT, HINT, HINT, HINT),
    "user": row(Sent("metadata.user_id", "u-1"), NOBODY, Dropped("user"), Dropped("user")),
    "safety_identifier": row(
        Sent("metadata.user_id", "s-1"),
        NOBODY,
        Dropped("safety_identifier"),
        Dropped("safety_identifier"),
    ),
    "metadata of what is stored": dropped("store"),
    "store": dropped("store"),
    "unknown fields": dropped("min_p", "chat_template_kwargs"),
}
"""Rows as in `features.FEATURES`."""
