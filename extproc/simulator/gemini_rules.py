"""What Gemini refuses although every field is well typed."""

from __future__ import annotations

import base64
import binascii
import re

from extproc.simulator import gemini_request as wire
from extproc.simulator.signatures import sealed

Wrong = tuple[str, str | None]
"""Message, and the field at fault."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_MIME = re.compile(
    r"(image|audio|video|text)/[\w.+-]+(;.*)?|application/(pdf|json|rtf|x-javascript|x-python|xml)"
)
_DUMMIES = ("context_engineering_is_the_way_to_go", "skip_thought_signature_validator")
"""What the documentation lets a client send for a call that another model made."""
_LEAST_OF_PRO = 128
_BUDGETS = (
    (r"gemini-2\.5-flash-lite", (512, 24576)),
    (r"gemini-2\.5-flash", (1, 24576)),
    (r"gemini-2\.5-pro", (_LEAST_OF_PRO, 32768)),
    (r"", (1, 32768)),
)
"""Least and most thinking tokens, by the documentation."""
_LOGPROBS = 20
_FILLED = re.compile(r"gemini-(1|2\.0)")
"""Models that take no object without properties."""
_STOPS = 5
_CANDIDATES = 8


def broken_rule(asked: wire.Body, model: str, *, on_vertex: bool = False) -> Wrong | None:
    """The first rule that the request breaks."""
    contents = asked.contents or []
    return (
        _contents(contents, on_vertex=on_vertex)
        or _files(contents)
        or _turns(contents)
        or _signatures(contents, model)
        or _tools(asked, model)
        or _config(asked.generation_config)
        or _thinking(asked.generation_config, model)
        or _together(asked, model, on_vertex=on_vertex)
    )


def _contents(contents: list[wire.Content], *, on_vertex: bool) -> Wrong | None:
    if not contents:
        return "* GenerateContentRequest.contents: contents is not specified\n", None
    for n, content in enumerate(contents):
        roles = ("user", "model", "function") if on_vertex else (None, "user", "model", "function")
        if content.role not in roles:
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
    """Gemini 3 wants the thought signature of the first call of each step of the current turn.
    What is given must be a signature, whatever the model."""
    for content in contents:
        for part in content.parts or ():
            given = part.thought_signature
            if given is not None and not _genuine(given):
                return "Corrupted thought signature.", None
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


def _genuine(signature: str) -> bool:
    """Clients may send base64 for URLs, with or without its padding."""
    if signature in _DUMMIES:
        return True
    text = signature.translate(str.maketrans("-_", "+/")).rstrip("=")
    text += "=" * (-len(text) % 4)
    if sealed(text, "thought"):
        return True
    try:
        return base64.b64decode(text, validate=True).decode() in _DUMMIES
    except (binascii.Error, UnicodeDecodeError):
        return False


def _files(contents: list[wire.Content]) -> Wrong | None:
    for n, content in enumerate(contents):
        for k, part in enumerate(content.parts or ()):
            where = f"contents[{n}].parts[{k}]"
            wrong = _bytes(part.inline_data, f"{where}.inline_data")
            given = part.file_data
            if given is not None and not given.file_uri:
                wrong = (
                    f"* GenerateContentRequest.{where}.file_data.file_uri: missing field.\n",
                    None,
                )
            for m, one in enumerate(
                (part.function_response.parts or ()) if part.function_response else ()
            ):
                at = f"{where}.function_response.parts[{m}].inline_data"
                wrong = wrong or _bytes(one.inline_data, at)
            if wrong is not None:
                return wrong
    return None


def _bytes(blob: wire.Blob | wire.ResponseBlob | None, where: str) -> Wrong | None:
    if blob is None:
        return None
    data = (blob.data or "").translate(str.maketrans("-_", "+/"))
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        shown = (blob.data or "")[:40]
        return (
            f"Invalid value at '{where}.data' (TYPE_BYTES), Base64 decoding failed for \"{shown}\"",
            f"{where}.data",
        )
    if not blob.mime_type or not data:
        return f"Unable to process input. {where} needs mime_type and data.", None
    if not _MIME.fullmatch(blob.mime_type):
        return f"Unsupported MIME type: {blob.mime_type}", None
    return None


def _thinking(  # noqa: C901, PLR0911 - one return for each rule
    config: wire.GenerationConfig | None, model: str
) -> Wrong | None:
    """Budgets are of Gemini 2.5 (3 takes them, too), levels of 3; older models do not think."""
    asked = config.thinking_config if config is not None else None
    if asked is None:
        return None
    budget, level = asked.thinking_budget, asked.thinking_level
    if budget is not None and level is not None:
        return "You can only set only one of thinking budget and thinking level.", None
    if re.match(r"gemini-(1|2\.0)", model):
        if budget or level or asked.include_thoughts:
            return f"Thinking is not supported for models/{model}.", None
        return None
    if level is not None:
        levels = ("low", "high") if "-pro" in model else ("minimal", "low", "medium", "high")
        if not re.match(r"gemini-[3-9]", model):
            return "Thinking level is not supported for this model.", None
        if level.lower() not in levels:
            return f"Thinking level {level.upper()} is not supported for this model.", None
    if budget is None or budget == -1:
        return None
    least, most = next(range_ for name, range_ in _BUDGETS if re.match(name, model))
    if budget == 0 and least == _LEAST_OF_PRO:
        return "Budget 0 is invalid. This model only works in thinking mode.", None
    if budget and not least <= budget <= most:
        return (
            (
                f"The thinking budget {budget} is invalid. Please choose a value between "
                f"{least} and {most}."
            ),
            None,
        )
    return None


def _together(  # noqa: C901, PLR0911 - one return for each rule
    asked: wire.Body, model: str, *, on_vertex: bool
) -> Wrong | None:
    """What may not stand beside each other."""
    if asked.cached_content is not None:
        if asked.system_instruction or asked.tools or asked.tool_config:
            return (
                (
                    "CachedContent can not be used with GenerateContent request setting "
                    "system_instruction, tools or tool_config.\n\nProposed fix: move those values "
                    "to CachedContent from GenerateContent request."
                ),
                None,
            )
        if "cachedContents/" not in asked.cached_content:
            return "Invalid CachedContent name.", None
    config = asked.generation_config or wire.GenerationConfig()
    if config.logprobs is not None:
        if not config.response_logprobs:
            return "Logprobs is only allowed when response_logprobs is set to true.", None
        if not 0 <= config.logprobs <= _LOGPROBS:
            return f"Logprobs must be between 0 and {_LOGPROBS}.", None
    if asked.labels is not None and not on_vertex:
        return "labels are not supported on this API.", None
    functions = any(tool.function_declarations for tool in asked.tools or ())
    own = any(
        getattr(tool, name) is not None
        for tool in asked.tools or ()
        for name in ("google_search", "google_search_retrieval", "code_execution", "url_context")
    )
    if re.match(r"gemini-[3-9]", model):
        return None
    if functions and own:
        return (
            (
                "Built-in tools ({google_search}) and Function Calling cannot be combined in the "
                "same request. Please choose one or the other."
            ),
            None,
        )
    if (functions or own) and config.response_mime_type == "application/json":
        return (
            (
                "Function calling with a response mime type: 'application/json' is unsupported"
                if functions
                else "Tool use with a response mime type: 'application/json' is unsupported"
            ),
            None,
        )
    return None


def _tools(asked: wire.Body, model: str) -> Wrong | None:
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
            wrong = _object(one.parameters, f"{where}.parameters", filled=_FILLED.match(model))
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
    schema: wire.Schema | None, where: str, *, filled: object
) -> Wrong | None:
    if schema is None:
        return None
    kind = (schema.type or "").upper()
    if filled and kind == "OBJECT" and not schema.properties:
        return f"* {where}.properties: should be non-empty for OBJECT type\n", None
    if kind == "ARRAY" and schema.items is None:
        return f"* {where}.items: missing field.\n", None
    for name in schema.required or ():
        if name not in (schema.properties or {}):
            return f"* {where}.required[0]: property is not defined\n", None
    if schema.enum and kind not in ("STRING", ""):
        return f"* {where}.enum: only allowed for STRING type\n", None
    for name, inner in (schema.properties or {}).items():
        wrong = _object(inner, f"{where}.properties[{name}]", filled=filled)
        if wrong is not None:
            return wrong
    return _object(schema.items, f"{where}.items", filled=filled)


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
