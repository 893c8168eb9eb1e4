"""The fields that responses take are those that the official SDK sends."""

from typing import Any

import msgspec
import pytest
from openai.types import responses, shared_params
from openai.types.responses import (
    input_token_count_params,
    response_create_params,
    response_input_item_param,
    web_search_tool_param,
)

from extproc.simulator import responses_request as wire
from tests.unit.simulator.test_fields import fields, keys

PAIRS: list[tuple[Any, type[msgspec.Struct]]] = [
    (response_create_params.ResponseCreateParamsStreaming, wire.Body),
    (response_create_params.StreamOptions, wire.StreamOptions),
    (response_create_params.PromptCacheOptions, wire.CacheOptions),
    (response_create_params.ContextManagement, wire.Compaction),
    (input_token_count_params.InputTokenCountParams, wire.CountBody),
    (responses.ResponseInputTextParam, wire.InputText),
    (responses.ResponseInputImageParam, wire.InputImage),
    (responses.ResponseInputFileParam, wire.InputFile),
    (responses.ResponseOutputTextParam, wire.OutputText),
    (responses.ResponseOutputRefusalParam, wire.Refusal),
    (responses.ResponseOutputMessageParam, wire.Message),
    (responses.ResponseFunctionToolCallParam, wire.FunctionCall),
    (response_input_item_param.FunctionCallOutput, wire.CallOutput),
    (responses.ResponseCustomToolCallParam, wire.CustomCall),
    (responses.ResponseReasoningItemParam, wire.Reasoning),
    (response_input_item_param.ItemReference, wire.Reference),
    (responses.FunctionToolParam, wire.FunctionTool),
    (responses.CustomToolParam, wire.CustomTool),
    (responses.WebSearchToolParam, wire.WebSearch),
    (web_search_tool_param.UserLocation, wire.Place),
    (responses.WebSearchPreviewToolParam, wire.WebSearchPreview),
    (responses.FileSearchToolParam, wire.FileSearch),
    (responses.ToolChoiceFunctionParam, wire.Named),
    (responses.ToolChoiceCustomParam, wire.NamedCustom),
    (responses.ToolChoiceMcpParam, wire.NamedServer),
    (responses.ToolChoiceAllowedParam, wire.Allowed),
    (responses.ResponseFormatTextJSONSchemaConfigParam, wire.SchemaFormat),
    (responses.ResponseTextConfigParam, wire.TextConfig),
    (responses.ResponsePromptParam, wire.Prompt),
    (shared_params.Reasoning, wire.ReasoningConfig),
]


@pytest.mark.parametrize(("typed", "struct"), PAIRS, ids=lambda one: one.__name__)
def test_fields(typed: Any, struct: type[msgspec.Struct]) -> None:
    told = {"status"} if struct is wire.CustomCall else set()  # in answers that are handed back
    assert fields(struct) - told == keys(typed)


def tags(union: Any) -> set[str]:
    """The `type` of every member of a union of the SDK."""
    found: set[str] = set()
    for one in union.__args__:
        hint = one.__annotations__["type"]
        found |= set(getattr(hint, "__forward_arg__", str(hint)).replace('"', "'").split("'")[1::2])
    return found


def test_every_item_and_tool_of_the_sdk_is_known() -> None:
    assert tags(responses.ResponseInputItemParam) == set(wire.ITEMS)
    assert tags(responses.ToolParam) == set(wire.TOOLS)
