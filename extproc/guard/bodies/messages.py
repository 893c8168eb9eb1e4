"""Where texts stand in Anthropic's Messages API."""

from __future__ import annotations

from typing import Final

from extproc.guard.bodies.shapes import (
    ANY,
    CACHE,
    CREDENTIAL,
    FILE,
    FILE_ID,
    ID,
    IMAGE,
    IMAGE_ID,
    OPAQUE,
    SAID,
    SCHEMA,
    SKIP,
    TEXT,
    TOOL,
    Rule,
    Shape,
    fill,
    grown,
    obj,
)

_CITATIONS: Final = obj("type file_id", encrypted_index=OPAQUE)
_CALLER: Final = obj("type tool_id")

BLOCK: Final = obj(
    "type id tool_use_id server_name toolset_name tool_name file_id error_code",
    Rule.SAID,
    text=SAID,
    citations=_CITATIONS,
    input=TOOL,
    caller=_CALLER,
    cache_control=CACHE,
    encrypted_content=OPAQUE,
    encrypted_stdout=OPAQUE,
    encrypted_index=OPAQUE,
    signature=OPAQUE,
)
"""A content block of any type, or what stands in one."""


def _source(link: Shape, id_: Shape) -> Shape:
    """An image's or document's source. `link`: of its data and URL."""
    rest = obj("type media_type", link.rule, data=link, url=link, file_id=id_, content=BLOCK)
    return Shape(
        rest.rule,
        rest.fields,
        tag="type",
        tagged={"text": grown(rest, data=SAID), "content": rest},
    )


_IMAGE: Final = _source(IMAGE, IMAGE_ID)
_FILE: Final = _source(FILE, FILE_ID)
_PICTURE: Final = grown(BLOCK, source=_IMAGE)

fill(BLOCK, content=BLOCK, source=_FILE)
_NAMED: Final = grown(BLOCK, "name")
BLOCKS: Final = Shape(
    Rule.SAID,
    BLOCK.fields,
    tag="type",
    tagged={
        "thinking": Shape(fields=BLOCK.fields, signed=True),
        "redacted_thinking": grown(BLOCK, data=OPAQUE),
        **dict.fromkeys(("image", "video", "audio"), _PICTURE),
        **dict.fromkeys(("tool_use", "server_tool_use", "mcp_tool_use"), _NAMED),
        "search_result": grown(BLOCK, source=TEXT),
        "container_upload": grown(BLOCK, file_id=FILE_ID),
    },
)
for _shape in (BLOCK, *BLOCKS.tagged.values(), _PICTURE, _NAMED):
    fill(_shape, content=BLOCKS)
for _source_shape in (_IMAGE, _FILE):
    for _inner in (_source_shape, *_source_shape.tagged.values()):
        fill(_inner, content=BLOCKS)

_TOOLS: Final = obj(
    "type name mcp_server_name allowed_callers",
    input_schema=SCHEMA,
    output_schema=SCHEMA,
    input_examples=TOOL,
    cache_control=CACHE,
    user_location=obj("type"),
)
_EDITS: Final = obj("type", trigger=obj("type"), keep=obj("type", Rule.ID), exclude_tools=ID)
_FORMAT: Final = obj("type", schema=SCHEMA)

MESSAGES: Final = obj(
    "model service_tier speed inference_geo",
    messages=obj("role clear_at", content=BLOCKS),
    system=BLOCKS,
    tools=_TOOLS,
    tool_choice=obj("type name", Rule.ID),
    thinking=obj("type display"),
    output_config=obj("effort", format=_FORMAT),
    output_format=_FORMAT,
    cache_control=CACHE,
    context_management=obj(edits=_EDITS),
    container=obj("id", Rule.ID, skills=obj("type skill_id version")),
    mcp_servers=obj(
        "type name",
        tool_configuration=obj(allowed_tools=ID),
        url=CREDENTIAL,
        authorization_token=CREDENTIAL,
    ),
)
"""Also of requests to count tokens."""

MESSAGES_ANSWER: Final = obj(
    "id type role model stop_reason",
    content=BLOCKS,
    usage=SKIP,
    stop_details=obj("type category"),
    container=obj("id", expires_at=SKIP, skills=obj("type skill_id version")),
    context_management=SKIP,
)
COUNT: Final = ANY
"""An answer of numbers."""
