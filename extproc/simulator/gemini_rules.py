"""What Gemini refuses although every field is well typed."""

from __future__ import annotations

import re

from extproc.simulator import gemini_request as wire

Wrong = tuple[str, str | None]
"""Message, and the field at fault."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_STOPS = 5
_CANDIDATES = 8


def broken_rule(asked: wire.Body, model: str) -> Wrong | None:
    """The first rule that the request breaks."""
    return (
        _contents(asked.contents or [])
        or _turns(asked.contents or [])
        or _signatures(asked.contents or [], model)
        or _tools(asked)
        or _config(asked.generation_config)
    )


def _contents(contents: list[wire.Content]) -> Wrong | None:
    if not contents:
        return "* GenerateContentRequest.contents: contents is not specified\n", None
    for n, content in enumerate(contents):
        if content.role not in (None, "user", "model", "function"):
            return "Please use a valid role: user, model.", None
        if not content.parts:
            return (
                (
                    f"* GenerateContentRequest.contents[{n}].parts: contents.parts must not be "
                    "empty.\n"
                ),
                None,
            )
        for k, part in enumerate(content.parts):
            count = sum(getattr(part, name) is not None for name in wire.DATA_FIELDS)
            if count == 0:
                return (
                    (
                        f"* GenerateContentRequest.contents[{n}].parts[{k}].data: required oneof "
                        "field 'data' must have one initialized field\n"
                    ),
                    None,
                )
            if count > 1:
                return (
                    (
                        f"Invalid value at 'contents[{n}].parts[{k}]' (oneof), oneof field "
                        "'data' is already set."
                    ),
                    f"contents[{n}].parts[{k}]",
                )
    return None


def _calls(content: wire.Content) -> list[wire.Part]:
    return [part for part in content.parts or () if part.function_call is not None]


def _answers(content: wire.Content) -> list[wire.Part]:
    return [part for part in content.parts or () if part.function_response is not None]


def _turns(contents: list[wire.Content]) -> Wrong | None:
    """Calls come after the user, and are answered in the next turn, all of them."""
    for n, content in enumerate(contents):
        calls, answers = _calls(content), _answers(content)
        if calls and content.role != "model":
            return "Function call is only allowed in a model turn.", None
        if calls and n == 0:
            return (
                (
                    "Please ensure that function call turn comes immediately after a user turn or "
                    "after a function response turn."
                ),
                None,
            )
        if answers:
            expected = len(_calls(contents[n - 1])) if n else 0
            if not expected:
                return (
                    (
                        "Please ensure that function response turn comes immediately after a "
                        "function call turn."
                    ),
                    None,
                )
            if expected != len(answers):
                return (
                    (
                        "Please ensure that the number of function response parts is equal to the "
                        "number of function call parts of the function call turn."
                    ),
                    None,
                )
            for part in answers:
                found = part.function_response
                if found is not None and not found.name:
                    return (
                        (
                            f"* GenerateContentRequest.contents[{n}].parts[0]"
                            ".function_response.name: Name cannot be empty.\n"
                        ),
                        None,
                    )
    return None


def _signatures(contents: list[wire.Content], model: str) -> Wrong | None:
    """Gemini 3 wants the thought signature of the first call of each step of the current turn."""
    if not re.match(r"gemini-[3-9]", model):
        return None
    current = 0
    for n, content in enumerate(contents):
        if content.role in (None, "user") and not _answers(content):
            current = n
    for content in contents[current:]:
        calls = _calls(content)
        if calls and calls[0].thought_signature is None:
            name = calls[0].function_call.name if calls[0].function_call else ""
            return (
                (
                    "Function call is missing a thought_signature in functionCall parts. This is "
                    "required for tools to work correctly, and missing thought_signature may lead "
                    "to degraded model performance. Additional data, function call "
                    f"`default_api:{name}`. Please refer to "
                    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
                ),
                None,
            )
    return None


def _tools(asked: wire.Body) -> Wrong | None:
    names: list[str] = []
    for n, tool in enumerate(asked.tools or ()):
        for k, one in enumerate(tool.function_declarations or ()):
            where = f"GenerateContentRequest.tools[{n}].function_declarations[{k}]"
            if not _NAME.fullmatch(one.name or ""):
                return (
                    (
                        f"* {where}.name: Invalid function name. Must start with a letter or an "
                        "underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots "
                        "(.), colons (:), or dashes (-), with a maximum length of 128.\n"
                    ),
                    None,
                )
            if one.parameters is not None and one.parameters_json_schema is not None:
                return (
                    (
                        f"* {where}: only one of `parameters` and `parameters_json_schema` may be "
                        "set\n"
                    ),
                    None,
                )
            wrong = _object(one.parameters, f"{where}.parameters")
            if wrong is not None:
                return wrong
            if one.name in names:
                return f"Duplicate function declaration found: {one.name}", None
            names.append(one.name or "")
    calling = asked.tool_config.function_calling_config if asked.tool_config else None
    if calling is not None:
        return _calling(calling, names)
    return None


def _object(  # noqa: PLR0911 - one return for each rule
    schema: wire.Schema | None, where: str
) -> Wrong | None:
    if schema is None:
        return None
    kind = (schema.type or "").upper()
    if kind == "OBJECT" and not schema.properties:
        return f"* {where}.properties: should be non-empty for OBJECT type\n", None
    if kind == "ARRAY" and schema.items is None:
        return f"* {where}.items: missing field.\n", None
    for name in schema.required or ():
        if name not in (schema.properties or {}):
            return f"* {where}.required[0]: property is not defined\n", None
    if schema.enum and kind not in ("STRING", ""):
        return f"* {where}.enum: only allowed for STRING type\n", None
    for name, inner in (schema.properties or {}).items():
        wrong = _object(inner, f"{where}.properties[{name}]")
        if wrong is not None:
            return wrong
    return _object(schema.items, f"{where}.items")


def _calling(calling: wire.FunctionCallingConfig, names: list[str]) -> Wrong | None:
    if calling.allowed_function_names and calling.mode not in ("ANY", "VALIDATED"):
        return (
            "Function calling config's allowed_function_names is only allowed when mode is ANY.",
            None,
        )
    if calling.mode == "ANY" and not names:
        return "Function calling mode is ANY but no function_declarations are provided.", None
    for name in calling.allowed_function_names or ():
        if name not in names:
            return (
                (
                    f"Function calling config's allowed_function_names contains unknown function: "
                    f"{name}"
                ),
                None,
            )
    return None


def _config(config: wire.GenerationConfig | None) -> Wrong | None:  # noqa: PLR0911 - one rule each
    if config is None:
        return None
    where = "GenerateContentRequest.generation_config"
    if config.stop_sequences and len(config.stop_sequences) > _STOPS:
        return f"* {where}.stop_sequences: at most {_STOPS} stop sequences are allowed\n", None
    if any(not one for one in config.stop_sequences or ()):
        return f"* {where}.stop_sequences: the element at index 0 is empty\n", None
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        return "max_output_tokens must be positive.", None
    for name, value, top in (
        ("temperature", config.temperature, 2.0),
        ("top_p", config.top_p, 1.0),
    ):
        if value is not None and not 0 <= value <= top:
            return f"* {where}.{name}: {name} must be in the range [0.0, {top}].\n", None
    if config.candidate_count is not None and not 1 <= config.candidate_count <= _CANDIDATES:
        return f"* {where}.candidate_count: must be between 1 and {_CANDIDATES}\n", None
    if config.response_schema is not None and config.response_json_schema is not None:
        return (
            f"* {where}: only one of `response_schema` and `response_json_schema` may be set\n",
            None,
        )
    wants_json = config.response_schema is not None or config.response_json_schema is not None
    if wants_json and config.response_mime_type not in ("application/json", "text/x.enum"):
        return (
            (
                f"* {where}.response_schema: only allowed when response_mime_type is "
                "application/json\n"
            ),
            None,
        )
    return None
