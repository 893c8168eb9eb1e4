"""Gemini's methods beside generating: counting tokens, and embeddings as both of Google's APIs
take them."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.simulator import gemini_request as wire
from extproc.simulator import vectors
from extproc.simulator.chat import NOTHING, Ask, Reply
from extproc.simulator.gemini_answer import Own, details

_SIZE = 768


class CountRequest(wire.Strict):
    """The body of `:countTokens`: contents, or a whole request."""

    contents: list[wire.Content] | None = None
    generate_content_request: wire.Body | None = None
    system_instruction: wire.Content | None = None
    tools: list[wire.Tool] | None = None
    generation_config: wire.GenerationConfig | None = None
    model: str | None = None


TASKS = (
    "TASK_TYPE_UNSPECIFIED",
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)


class EmbedRequest(wire.Strict):
    """The body of `:embedContent`."""

    content: wire.Content
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    auto_truncate: bool | None = None
    embed_content_config: dict[str, Any] | None = None


class BatchRequest(wire.Strict):
    """The body of `:batchEmbedContents`."""

    requests: list[EmbedRequest]


class Instance(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A text, as `:predict` takes it."""

    content: str
    task_type: str | None = None
    title: str | None = None


class Parameters(wire.Strict):
    """How `:predict` embeds."""

    auto_truncate: bool | None = None
    output_dimensionality: int | None = None


class PredictRequest(wire.Strict):
    """The body of `:predict`."""

    instances: list[Instance]
    parameters: Parameters | None = None


DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "countTokens": msgspec.json.Decoder(CountRequest),
    "embedContent": msgspec.json.Decoder(EmbedRequest),
    "batchEmbedContents": msgspec.json.Decoder(BatchRequest),
    "predict": msgspec.json.Decoder(PredictRequest),
}
"""How the body of each method is read."""

Asked = CountRequest | EmbedRequest | BatchRequest | PredictRequest


def understood(asked: Asked, model: str, method: str, *, on_vertex: bool) -> Ask | str:
    """The valid request, or what is wrong with it."""
    wrong = _wrong(asked, model, on_vertex=on_vertex)
    if wrong is not None:
        return wrong
    texts: list[str] = []
    size = _SIZE
    match asked:
        case EmbedRequest():
            texts, size = [_text(asked)], asked.output_dimensionality or _SIZE
        case BatchRequest():
            texts = [_text(one) for one in asked.requests]
            size = asked.requests[0].output_dimensionality or _SIZE
        case PredictRequest():
            texts = [one.content for one in asked.instances]
            size = (asked.parameters and asked.parameters.output_dimensionality) or _SIZE
    own = Own(method=method, texts=tuple(texts), size=size, on_vertex=on_vertex)
    return Ask(model=model, silent=True, free=method == "countTokens", own=own)


def answer(ask: Ask, reply: Reply) -> dict[str, Any]:
    """The answer of one of these methods."""
    own: Own = ask.own
    usage = reply.usage or NOTHING
    rows = [vectors.vector(text, own.size) for text in own.texts]
    metadata = {"promptTokenCount": usage.input, "totalTokenCount": usage.input}
    match own.method:
        case "countTokens":
            found = {"totalTokens": usage.input, "promptTokensDetails": details(ask, usage)}
            return found | ({"totalBillableCharacters": usage.input * 4} if own.on_vertex else {})
        case "embedContent":
            return {"embedding": {"values": rows[0]}, "usageMetadata": metadata}
        case "batchEmbedContents":
            return {"embeddings": [{"values": one} for one in rows], "usageMetadata": metadata}
        case _:
            share = _shares(usage.input, len(rows))
            return {
                "predictions": [
                    {
                        "embeddings": {
                            "values": row,
                            "statistics": {"truncated": False, "token_count": tokens},
                        }
                    }
                    for row, tokens in zip(rows, share, strict=True)
                ],
                "metadata": {"billableCharacterCount": sum(map(len, own.texts))},
            }


def _shares(total: int, count: int) -> list[int]:
    """A number in `count` about equal parts."""
    return [total * (n + 1) // count - total * n // count for n in range(count)]


def _text(one: EmbedRequest) -> str:
    return msgspec.json.encode(one.content).decode()


def _wrong(  # noqa: C901, PLR0911 - one return for each rule
    asked: Asked, model: str, *, on_vertex: bool
) -> str | None:
    match asked:
        case CountRequest():
            both = asked.contents and asked.generate_content_request is not None
            if both or not (asked.contents or asked.generate_content_request is not None):
                return "contents is not specified"
            extra = asked.system_instruction or asked.tools or asked.generation_config
            if extra and not on_vertex:
                return (
                    "* CountTokensRequest: system_instruction, tools and generation_config go into "
                    "generate_content_request\n"
                )
            return None
        case PredictRequest():
            if not asked.instances:
                return "Request contains no instances."
            size = asked.parameters.output_dimensionality if asked.parameters else None
            return _size_wrong(size)
    requests = asked.requests if isinstance(asked, BatchRequest) else [asked]
    if not requests:
        return "* BatchEmbedContentsRequest.requests: must not be empty\n"
    if len(requests) > _BATCH:
        return (
            f"* BatchEmbedContentsRequest.requests: at most {_BATCH} requests can be in one batch\n"
        )
    for one in requests:
        if isinstance(asked, BatchRequest) and one.model != f"models/{model}":
            return (
                "* BatchEmbedContentsRequest.requests[0].model: must match the model of the batch\n"
            )
        if not one.content.parts or not any(
            part.text or part.inline_data or part.file_data for part in one.content.parts
        ):
            return "* EmbedContentRequest.content: contents is not specified\n"
        if one.task_type is not None and one.task_type not in TASKS:
            return f"Invalid value at 'task_type' (TaskType), \"{one.task_type}\""
        wrong = _size_wrong(one.output_dimensionality)
        if wrong is not None:
            return wrong
    return None


_BATCH = 100
_LARGEST = 3072


def _size_wrong(size: int | None) -> str | None:
    if size is None or 1 <= size <= _LARGEST:
        return None
    return f"* output_dimensionality: must be between 1 and {_LARGEST}\n"
