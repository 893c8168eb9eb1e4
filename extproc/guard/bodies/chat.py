"""Where texts stand in OpenAI's chat completions, legacy completions and embeddings, with what
other servers have added to them."""

from __future__ import annotations

from typing import Final

from extproc.guard.bodies.shapes import (
    CACHE,
    CALL,
    FILE,
    FILE_ID,
    IMAGE,
    OPAQUE,
    SAID,
    SCHEMA,
    SKIP,
    TEXT,
    THOUGHT,
    TOOL,
    Rule,
    Shape,
    fill,
    grown,
    obj,
)

EXTRA: Final = obj(google=obj(thought_signature=OPAQUE))
"""`extra_content` of a tool call: what belongs to it for its provider."""
DETAIL: Final = Shape(
    fields=obj("type id format", signature=OPAQUE, data=THOUGHT).fields,
    signed=True,
)
"""OpenRouter's `reasoning_details`."""
SEALED: Final = obj(details=DETAIL, calls=Shape(rest=EXTRA))
"""What Tollgate seals: details, and `extra_content` by a call's id."""

GRAMMAR: Final = obj("type syntax", grammar=obj("syntax"))
DEFINITION: Final = obj(
    "name",
    parameters=SCHEMA,
    input_schema=SCHEMA,
    output_schema=SCHEMA,
    input_examples=TOOL,
    format=GRAMMAR,
)
FUNCTION: Final = obj("name", arguments=CALL)
CALLS: Final = obj(
    "id type",
    function=FUNCTION,
    custom=obj("name"),
    extra_content=EXTRA,
    cache_control=CACHE,
)
ANNOTATION: Final = obj(
    "type file_id container_id",
    encrypted_index=OPAQUE,
    url_citation=obj("type file_id", encrypted_index=OPAQUE),
    file_citation=obj("type file_id"),
    file=obj("type", content=obj("type", text=TEXT, image_url=obj("detail", url=IMAGE))),
)
PART: Final = obj(
    "type",
    Rule.SAID,
    text=SAID,
    image_url=obj("detail format", Rule.IMAGE, url=IMAGE),
    video_url=obj("detail format", Rule.IMAGE, url=IMAGE),
    audio_url=obj("detail format", Rule.IMAGE, url=IMAGE),
    input_audio=obj("format", Rule.IMAGE, data=IMAGE, url=IMAGE),
    input_video=obj("format", Rule.IMAGE, data=IMAGE, url=IMAGE),
    file=obj(
        "format media_type mime_type", file_data=FILE, file_url=FILE, file_id=FILE_ID, url=FILE
    ),
    file_url=obj("media_type mime_type", Rule.FILE, url=FILE),
    document_url=FILE,
    cache_control=CACHE,
    annotations=ANNOTATION,
)  # fmt: skip
fill(PART, thinking=PART, images=PART)

_SAYS: Final = grown(
    PART,
    "role tool_call_id",
    Rule.TEXT,
    content=PART,
    tool_calls=CALLS,
    function_call=FUNCTION,
    audio=obj("id format", data=IMAGE),
    reasoning_details=DETAIL,
)
MESSAGE: Final = Shape(
    fields=_SAYS.fields,
    tag="role",
    # A name is a tool's here; elsewhere it is somebody's.
    tagged=dict.fromkeys(("function", "tool"), grown(_SAYS, "name")),
)
TOOLS: Final = grown(
    DEFINITION, "type", function=DEFINITION, custom=DEFINITION, cache_control=CACHE
)
CHOICE: Final = obj(
    "type name mode server_label", Rule.ID, function=obj("name"), custom=obj("name")
)
fill(CHOICE, allowed_tools=CHOICE, tools=CHOICE)
FORMAT: Final = obj("type", json_schema=obj("name", schema=SCHEMA), schema=SCHEMA)
"""The answer's."""

_COMMON: Final = (
    "model models service_tier encoding_format modalities verbosity reasoning_effort "
    "prompt_cache_retention truncation input_type"
)
_SETTINGS: Final = obj(
    _COMMON,
    cache_control=CACHE,
    prompt_cache_options=CACHE,
    reasoning=obj("effort summary"),
    thinking=obj("type display"),
)

CHAT: Final = grown(
    _SETTINGS,
    messages=MESSAGE,
    tools=TOOLS,
    functions=DEFINITION,
    tool_choice=CHOICE,
    function_call=CHOICE,
    response_format=FORMAT,
    prediction=obj("type", content=PART),
    audio=obj("format voice"),
    web_search_options=obj(
        "search_context_size",
        user_location=obj("type"),
    ),
)
COMPLETIONS: Final = grown(_SETTINGS, prompt=SAID)
EMBEDDINGS: Final = grown(_SETTINGS, input=PART)

_ANSWER: Final = obj("id object model service_tier system_fingerprint", usage=SKIP)
CHAT_ANSWER: Final = grown(
    _ANSWER,
    choices=obj("finish_reason native_finish_reason", message=MESSAGE, logprobs=SKIP),
)
COMPLETIONS_ANSWER: Final = grown(
    _ANSWER, choices=obj("finish_reason native_finish_reason", text=SAID, logprobs=SKIP)
)
EMBEDDINGS_ANSWER: Final = grown(_ANSWER, data=obj("object", embedding=SKIP))
