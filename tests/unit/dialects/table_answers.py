"""What comes back of each feature of an answer, by dialect: the second part of docs/dialects.md.

Each row's answer is written in the provider's format (`wire`) and read back by `test_answers`.
"""

from __future__ import annotations

from typing import Final

from tests.unit.dialects.cells import DIALECTS, Cell, Never, Row, Shown
from tests.unit.dialects.wire.said import Call, Said, Used

GREY: Final = "Grey, 11 °C."
CALL: Final = Call("call_1", "get_weather", {"city": "Paris", "days": 1.5, "é": None})
SECOND: Final = Call("call_2", "get_time", {})
IMAGE: Final = "data:image/png;base64,iVBORw0KGgo="

SAID: Final[dict[str, Said]] = {
    "text": Said(text=GREY),
    "tool calls": Said(text="Let me look.", calls=(CALL,), finish="tool_calls"),
    "parallel calls": Said(calls=(CALL, SECOND), finish="tool_calls"),
    "thinking": Said(text=GREY, thinking="Paris is in France."),
    "thinking and calls": Said(thinking="Paris…", calls=(CALL,), finish="tool_calls"),
    "signatures": Said(text=GREY, thinking="Paris is in France.", signature="c2ln"),
    "sealed thinking": Said(text=GREY, sealed="eHh4"),
    "finish: length": Said(text="Gr", finish="length"),
    "finish: filter": Said(text="Gr", finish="content_filter"),
    "stop sequence": Said(text="Gr", stop_sequence="END"),
    "refusal": Said(finish="content_filter", used=Used(60, 0)),
    "refusal's reason": Said(finish="content_filter", refusal="It is not safe."),
    "citations": Said(text=GREY, cited=((6, 12, "https://example.com/sky", "Sky"),)),
    "logprobs": Said(text="ab", logprobs=(("a", -0.5), ("b", -1.0))),
    "n": Said(text=GREY, others=("Blue.",)),
    "images": Said(text="Here.", image=IMAGE),
    "usage": Said(text=GREY, used=Used(60, 12)),
    "cached tokens": Said(text=GREY, used=Used(60, 12, cached=30)),
    "cache-write tokens": Said(text=GREY, used=Used(60, 12, cached=20, cache_write=10)),
    "cache-write tokens, 1 h": Said(text=GREY, used=Used(60, 12, 20, 10, cache_write_1h=4)),
    "reasoning tokens": Said(text=GREY, thinking="Hm.", used=Used(60, 12, reasoning=4)),
    "audio tokens": Said(text=GREY, used=Used(60, 12, audio_prompt=7)),
    "service tier": Said(text=GREY, tier="priority"),
}

_CANNOT: Final[dict[str, dict[str, str]]] = {
    "signatures": {
        "openai": "OpenAI's chat completions keep the thinking",
        "azure": "OpenAI's chat completions keep the thinking",
        "gemini": "Gemini signs text and calls, which comes as sealed thinking",
        "vertex": "Gemini signs text and calls, which comes as sealed thinking",
        "cohere": "Cohere takes its thinking back unsigned",
    },
    "sealed thinking": {
        "openai": "OpenAI's chat completions keep the thinking",
        "azure": "OpenAI's chat completions keep the thinking",
        "cohere": "Cohere seals none",
    },
    "stop sequence": {
        "openai": "OpenAI does not say which",
        "azure": "OpenAI does not say which",
        "gemini": "Gemini does not say which",
        "vertex": "Gemini does not say which",
        "bedrock": "Converse does not say which",
        "cohere": "Cohere does not say which",
    },
    "refusal's reason": {
        "bedrock": "Bedrock gives none",
        "cohere": "Cohere gives none",
    },
    "logprobs": {
        "anthropic": "refused when asked for",
        "bedrock": "refused when asked for",
    },
    "n": {
        "anthropic": "refused when asked for",
        "bedrock": "refused when asked for",
        "cohere": "refused when asked for",
    },
    "images": {
        "anthropic": "Claude makes no images",
        "bedrock": "Converse's models make none",
        "cohere": "Cohere's models make none",
    },
    "cache-write tokens": {
        "gemini": "Gemini caches without being paid for writing",
        "vertex": "Gemini caches without being paid for writing",
        "cohere": "Cohere does not say",
    },
    "cache-write tokens, 1 h": {
        "gemini": "Gemini caches without being paid for writing",
        "vertex": "Gemini caches without being paid for writing",
        "cohere": "Cohere does not say",
    },
    "reasoning tokens": {
        "bedrock": "Bedrock counts them as output only",
        "cohere": "Cohere counts them as output only",
    },
    "audio tokens": {
        "anthropic": "Claude does not hear",
        "bedrock": "Converse's models do not hear",
        "cohere": "Cohere's models do not hear",
    },
    "service tier": {"cohere": "Cohere has none"},
}


def _cell(feature: str, dialect: str) -> Cell:
    if why := _CANNOT.get(feature, {}).get(dialect):
        return Never(why)
    node = f"test_answers.py::test_answer[{dialect}-{feature}"
    return Shown(node + "-whole]", node + "-streamed]")


ANSWERS: Final[dict[str, Row]] = {
    feature: {dialect: _cell(feature, dialect) for dialect in DIALECTS} for feature in SAID
}


ANSWERS["JSON by a forced tool"] = {
    name: Never("it has a form for JSON")
    if name in ("openai", "azure")
    else Shown(
        f"test_answers.py::test_json_of_a_forced_tool[{name}-whole]",
        f"test_answers.py::test_json_of_a_forced_tool[{name}-streamed]",
    )
    for name in DIALECTS
}


def _of_each(whole: str, streamed: str | None = None) -> Row:
    """One test, or two, with the dialect as their first parameter."""
    return {
        one: Shown(whole.format(one), streamed.format(one) if streamed else None)
        for one in DIALECTS
    }


E, S = "test_errors.py::", "test_streams.py::"
FAILURES: Final[dict[str, Row]] = {
    "errors by status": _of_each(E + "test_own_errors_by_status[{}]"),
    "a prompt that is too long": _of_each(E + "test_own_error_of_a_prompt_that_is_too_long[{}]"),
    "HTML, empty, not JSON": _of_each(E + "test_a_body_that_is_not_the_providers_own[{}]"),
    "an error in a 200": _of_each(
        E + "test_an_error_in_a_200[{}]", E + "test_an_error_instead_of_a_stream[{}]"
    ),
    "an error within a stream": _of_each(E + "test_an_error_within_a_stream[{}]"),
    "retry-after": _of_each(E + "test_retry_after_is_told[{}]"),
    "rate-limit headers": {
        **dict.fromkeys(DIALECTS, Never("the provider sends none")),
        **{
            name: Shown(E + f"test_rate_limits_have_openais_names[{name}]")
            for name in ("openai", "azure", "anthropic")
        },
    },
    "any bytes": _of_each(
        S + "test_an_answer_of_anything_is_one_or_the_typed_error[{}]",
        S + "test_a_stream_of_anything_gives_a_result_and_never_raises[{}]",
    ),
    "cut at any byte": _of_each(S + "test_cut_at_every_byte[{}]"),
    "no clean end without the terminal event": _of_each(
        S + "test_cut_off_at_every_byte_is_never_a_clean_end[{}]"
    ),
}
