"""What each dialect can carry, and the test that shows it.

`TABLE` becomes docs/dialects.md. A cell is a pytest node id of this folder, or a `Refusal` with
its exact text: what `lacks` says of the feature's sample in `samples.FEATURES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DIALECTS: Final = ("openai", "anthropic", "gemini")
COLUMNS: Final = [(dialect, mode) for dialect in DIALECTS for mode in ("whole", "streamed")]


@dataclass(frozen=True)
class Refusal:
    text: str


Cell = str | Refusal
Row = dict[tuple[str, str], Cell]


def row(openai: Cell, anthropic: Cell, gemini: Cell, *streamed: Cell) -> Row:
    """Cells of the three dialects; the streamed ones are the same unless given."""
    cells = (openai, anthropic, gemini)
    found: Row = {}
    for dialect, whole, stream in zip(DIALECTS, cells, streamed or cells, strict=True):
        found[dialect, "whole"] = whole
        found[dialect, "streamed"] = stream
    return found


def asked(feature: str, anthropic: Cell, gemini: Cell) -> Row:
    """A row about the request alone, which is the same for an answer and for a stream. To a
    provider that speaks OpenAI it goes as it is."""
    keeps = "test_openai.py::test_request_keeps_every_byte_but_the_model[{}-" + feature + "]"
    return row(
        keeps.format("whole"),
        anthropic,
        gemini,
        keeps.format("streamed"),
        anthropic,
        gemini,
    )


A = "test_anthropic.py::"
AR = "test_anthropic_request.py::"
G = "test_gemini.py::"
GR = "test_gemini_request.py::"
P = "test_openai.py::"
E = "test_errors.py::"
KEEPS = P + "test_answer_passes_unchanged[text]"
KEEPS_STREAM = P + "test_stream_text_tools_usage_and_finish_reach_the_client"


def not_yet(feature: str, provider: str) -> Refusal:
    return Refusal(f"{feature}: not yet for {provider}")


TABLE: Final[dict[str, Row]] = {
    "text": row(
        KEEPS,
        A + "test_answer_text",
        G + "test_answer_text",
        KEEPS_STREAM,
        A + "test_stream_text",
        G + "test_stream_text",
    ),
    "system": asked(
        "system",
        AR + "test_system_and_developer_messages_come_first",
        GR + "test_system_and_developer_messages_come_first",
    ),
    "multi-turn": asked("multi-turn", AR + "test_multi_turn", GR + "test_multi_turn"),
    "tools": asked("tools", AR + "test_tools", GR + "test_tools"),
    "tool calls": row(
        P + "test_answer_passes_unchanged[tools]",
        A + "test_answer_tools",
        G + "test_answer_tools",
        KEEPS_STREAM,
        A + "test_stream_tools",
        G + "test_stream_tools",
    ),
    "parallel tools": row(
        P + "test_request_keeps_every_byte_but_the_model[whole-parallel tools]",
        A + "test_answer_tools",
        G + "test_answer_tools",
        P + "test_request_keeps_every_byte_but_the_model[streamed-parallel tools]",
        A + "test_stream_tools",
        G + "test_stream_tools",
    ),
    "parallel_tool_calls": asked(
        "parallel_tool_calls",
        AR + "test_tool_choice",
        Refusal("parallel_tool_calls: Gemini cannot be held to one call at a time"),
    ),
    "tool choice": asked("tool choice", AR + "test_tool_choice", GR + "test_tool_choice"),
    "tool results": asked("tool results", AR + "test_tool_results", GR + "test_tool_results"),
    "custom_tools": asked(
        "custom_tools",
        Refusal("custom_tools: Anthropic's tools take JSON, not free text"),
        Refusal("custom_tools: Gemini's tools take JSON, not free text"),
    ),
    "vendor_tools": asked(
        "vendor_tools",
        Refusal("vendor_tools: Anthropic has none of another vendor's tools"),
        Refusal("vendor_tools: Gemini has none of another vendor's tools"),
    ),
    "functions": asked(
        "functions",
        Refusal("functions: not yet for Anthropic, use tools"),
        Refusal("functions: not yet for Gemini, use tools"),
    ),
    "stop": asked("stop", AR + "test_stop", GR + "test_sampling_and_bounds"),
    "temperature and top_p": asked(
        "temperature and top_p", AR + "test_temperature_and_top_p", GR + "test_sampling_and_bounds"
    ),
    "max_tokens": asked("max_tokens", AR + "test_max_tokens", GR + "test_sampling_and_bounds"),
    "seed": asked("seed", AR + "test_what_is_dropped_is_said", GR + "test_sampling_and_bounds"),
    "n": row(
        P + "test_request_keeps_every_byte_but_the_model[whole-n]",
        Refusal("n: Anthropic gives one answer a request"),
        G + "test_n",
        P + "test_request_keeps_every_byte_but_the_model[streamed-n]",
        Refusal("n: Anthropic gives one answer a request"),
        G + "test_stream_n",
    ),
    "penalties": asked(
        "penalties", AR + "test_what_is_dropped_is_said", GR + "test_sampling_and_bounds"
    ),
    "logit_bias": asked(
        "logit_bias",
        Refusal("logit_bias: Anthropic has no logit bias"),
        Refusal("logit_bias: Gemini has no logit bias"),
    ),
    "logprobs": asked(
        "logprobs",
        Refusal("logprobs: Anthropic has no log probabilities"),
        not_yet("logprobs", "Gemini"),
    ),
    "json_object": asked(
        "json_object", not_yet("json_object", "Anthropic"), not_yet("json_object", "Gemini")
    ),
    "json_schema": asked(
        "json_schema", not_yet("json_schema", "Anthropic"), not_yet("json_schema", "Gemini")
    ),
    "vision": asked("vision", not_yet("vision", "Anthropic"), not_yet("vision", "Gemini")),
    "audio": asked(
        "audio",
        Refusal("audio: Anthropic neither hears nor speaks"),
        not_yet("audio", "Gemini"),
    ),
    "files": asked("files", not_yet("files", "Anthropic"), not_yet("files", "Gemini")),
    "reasoning": asked(
        "reasoning", not_yet("reasoning", "Anthropic"), not_yet("reasoning", "Gemini")
    ),
    "thinking in answers": row(
        KEEPS,
        A + "test_answer_thinking",
        G + "test_answer_thinking",
        P + "test_stream_knows_its_first_content_event",
        A + "test_stream_thinking",
        G + "test_stream_thinking",
    ),
    "web_search": asked(
        "web_search", not_yet("web_search", "Anthropic"), not_yet("web_search", "Gemini")
    ),
    "finish reasons": row(
        P + "test_answer_passes_unchanged[length]",
        A + "test_finish_reasons",
        G + "test_finish_reasons",
        KEEPS_STREAM,
        A + "test_finish_reasons",
        G + "test_finish_reasons",
    ),
    "usage": row(
        KEEPS,
        A + "test_usage_counts_cached_tokens_as_prompt",
        G + "test_usage_counts_thoughts_as_completion",
        KEEPS_STREAM,
        A + "test_usage_of_a_stream_is_cumulative",
        G + "test_usage_counts_thoughts_as_completion",
    ),
    "cached tokens": row(
        KEEPS,
        A + "test_usage_counts_cached_tokens_as_prompt",
        G + "test_usage_counts_thoughts_as_completion",
        P + "test_stream_passes_unchanged",
        A + "test_usage_counts_cached_tokens_as_prompt",
        G + "test_usage_counts_thoughts_as_completion",
    ),
    "include_usage": row(
        KEEPS,
        A + "test_usage_counts_cached_tokens_as_prompt",
        G + "test_usage_counts_thoughts_as_completion",
        KEEPS_STREAM,
        AR + "test_stream_is_asked_for",
        G + "test_stream_text",
    ),
    "errors by status": row(
        E + "test_errors_by_status",
        A + "test_errors_by_status",
        G + "test_errors_by_status",
        P + "test_stream_that_fails_says_why",
        A + "test_stream_that_fails_says_why",
        G + "test_stream_that_fails_says_why",
    ),
    "error in a 200": row(
        P + "test_answer_that_is_none_raises",
        A + "test_answer_that_is_none_raises",
        G + "test_answer_that_is_none_raises",
        P + "test_stream_sees_an_error_after_content",
        A + "test_stream_that_fails_after_content_keeps_what_came",
        G + "test_stream_that_fails_after_content_keeps_what_came",
    ),
    "HTML error": row(
        E + "test_a_body_that_is_not_the_providers_own",
        E + "test_a_body_that_is_not_the_providers_own",
        E + "test_a_body_that_is_not_the_providers_own",
        P + "test_stream_that_fails_says_why",
        A + "test_stream_that_fails_says_why",
        G + "test_stream_that_fails_says_why",
    ),
    "refusal": row(
        P + "test_answer_that_a_filter_emptied_is_refused",
        A + "test_refusal",
        G + "test_refusal",
        P + "test_stream_that_a_filter_ended_before_any_text_is_refused",
        A + "test_stream_refusal",
        G + "test_stream_refusal",
    ),
    "retry-after": row(
        E + "test_errors_by_status",
        A + "test_wait_for_the_limit_that_is_used_up",
        G + "test_retry_info_says_how_long_to_wait",
    ),
    "any bytes, cut anywhere": row(
        *(
            f"test_streams.py::test_an_answer_of_anything_is_one_or_the_typed_error[{name}]"
            for name in DIALECTS
        ),
        *(f"test_streams.py::test_any_cutting_of_any_stream[{name}]" for name in DIALECTS),
    ),
    "no clean end without the terminal event": row(
        P + "test_answer_that_is_none_raises",
        A + "test_answer_that_is_none_raises",
        G + "test_answer_that_is_none_raises",
        P + "test_stream_without_its_end_marker_is_not_finished",
        A + "test_stream_cut_short_has_no_clean_end",
        G + "test_stream_cut_short_has_no_clean_end",
    ),
    "user and metadata": asked(
        "user and metadata",
        AR + "test_user_goes_along_and_metadata_stays",
        GR + "test_what_is_dropped_is_said",
    ),
    "service_tier": asked(
        "service_tier", AR + "test_service_tier", GR + "test_what_is_dropped_is_said"
    ),
    "cache_control": asked(
        "cache_control", AR + "test_cache_control_is_kept", GR + "test_cache_control_is_left_out"
    ),
    "unknown fields": asked(
        "unknown fields",
        AR + "test_what_is_dropped_is_said",
        GR + "test_what_is_dropped_is_said",
    ),
}
