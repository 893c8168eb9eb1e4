"""Where texts stand in OpenAI's Responses API."""

from __future__ import annotations

from typing import Final

from extproc.guard.bodies.chat import ANNOTATION, CHOICE, GRAMMAR
from extproc.guard.bodies.shapes import (
    CACHE,
    CALL,
    CREDENTIAL,
    CREDENTIALS,
    FILE,
    FILE_ID,
    IMAGE,
    IMAGE_ID,
    OPAQUE,
    SAID,
    SCHEMA,
    SKIP,
    TOOL,
    Rule,
    Shape,
    fill,
    grown,
    obj,
)

_ANY_PART: Final = obj(
    "type detail media_type",
    Rule.SAID,
    text=SAID,
    image_url=IMAGE,
    file_id=FILE_ID,
    file_data=FILE,
    file_url=FILE,
    input_audio=obj("format", Rule.IMAGE, data=IMAGE),
    annotations=ANNOTATION,
    prompt_cache_breakpoint=CACHE,
    encrypted_content=OPAQUE,
)
_IMAGE_PART: Final = grown(_ANY_PART, file_id=IMAGE_ID)
PART: Final = Shape(
    Rule.SAID,
    _ANY_PART.fields,
    tag="type",
    tagged=dict.fromkeys(("input_image", "computer_screenshot"), _IMAGE_PART),
)

_OUTPUTS: Final = obj("type", Rule.SAID, outcome=obj("type"), url=IMAGE)
"""What a program wrote."""
_RESULT: Final = obj("file_id vector_store_id")
_ENVIRONMENT: Final = obj(
    "type container_id file_ids memory_limit",
    Rule.ID,
    skills=obj("type name skill_id version", source=obj("type media_type", data=FILE)),
    network_policy=obj("type"),
)

TOOLS: Final = obj(
    "type name mode server_label connector_id tunnel_id vector_store_ids search_context_size "
    "size quality background moderation output_format input_fidelity model action "
    "allowed_callers execution syntax",
    parameters=SCHEMA,
    input_schema=SCHEMA,
    output_schema=SCHEMA,
    input_examples=TOOL,
    format=GRAMMAR,
    allowed_tools=obj("tool_names", Rule.ID),
    server_url=CREDENTIAL,
    authorization=CREDENTIAL,
    headers=CREDENTIALS,
    require_approval=obj("", Rule.ID, always=obj("tool_names"), never=obj("tool_names")),
    container=_ENVIRONMENT,
    environment=_ENVIRONMENT,
    input_image_mask=obj(image_url=IMAGE, file_id=IMAGE_ID),
    ranking_options=obj("ranker"),
    user_location=obj("type"),
    svg=obj("model", reasoning=obj("effort")),
    cache_control=CACHE,
)
_FILTERS: Final = obj("type key")
fill(_FILTERS, filters=_FILTERS)
fill(TOOLS, tools=TOOLS, filters=_FILTERS)

_ANY_ITEM: Final = obj(
    "type id call_id role status phase name namespace server_label approval_request_id "
    "container_id output_format size quality background action execution caller_id fingerprint",
    content=PART,
    summary=PART,
    arguments=CALL,
    output=PART,
    outputs=_OUTPUTS,
    results=_RESULT,
    tools=TOOLS,
    encrypted_content=OPAQUE,
    caller=obj("type caller_id"),
    environment=_ENVIRONMENT,
    action=obj("type button", Rule.ID),
    actions=obj("type button"),
    operation=obj("type"),
    acknowledged_safety_checks=obj("id code"),
    pending_safety_checks=obj("id code"),
    error=obj("type code"),
)
ITEM: Final = Shape(
    Rule.SAID,
    _ANY_ITEM.fields,
    tag="type",
    tagged={
        "image_generation_call": grown(_ANY_ITEM, result=IMAGE),
        "shell_call_output": grown(_ANY_ITEM, output=_OUTPUTS),
    },
)

_SHARED: Final = obj(
    "model models include previous_response_id prompt_cache_retention service_tier truncation",
    input=ITEM,
    instructions=ITEM,
    tools=TOOLS,
    tool_choice=CHOICE,
    text=obj("verbosity", format=obj("type name", schema=SCHEMA)),
    reasoning=obj("effort summary generate_summary context mode"),
    conversation=obj("id", Rule.ID),
    prompt=obj("id version", variables=Shape(rest=PART)),
    prompt_cache_options=CACHE,
    context_management=obj("type"),
)
RESPONSES: Final = _SHARED

_SPOKEN: Final = grown(_ANY_PART, logprobs=SKIP)
_SAID: Final = Shape(
    Rule.SAID,
    _SPOKEN.fields,
    tag="type",
    tagged=dict.fromkeys(("input_image", "computer_screenshot"), grown(_IMAGE_PART, logprobs=SKIP)),
)
_DONE: Final = grown(_ANY_ITEM, content=_SAID)
RESPONSES_ANSWER: Final = grown(
    _SHARED,
    "id object status",
    output=Shape(
        fields=_DONE.fields,
        tag="type",
        tagged={
            "image_generation_call": grown(_DONE, result=IMAGE),
            "shell_call_output": grown(_DONE, output=_OUTPUTS),
        },
    ),
    usage=SKIP,
    tool_usage=SKIP,
    error=obj("code type"),
    incomplete_details=obj("reason"),
)
