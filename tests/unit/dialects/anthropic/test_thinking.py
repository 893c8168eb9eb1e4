from typing import Any

import pytest

from extproc.dialects.anthropic import models
from tests.unit.dialects.anthropic.sending import betas, sent, turn
from tests.unit.dialects.samples import CALLS, RESULTS, USER, WEATHER

BUDGET = "claude-sonnet-4-5"
EITHER = "claude-opus-4-6"
ADAPTIVE = "claude-opus-4-8"
OPUS_5 = "claude-opus-5"
ALWAYS = "claude-opus-5-5"
SONNET_55 = "claude-sonnet-5-5"
SUMMARY = {"type": "adaptive", "display": "summarized"}


def thinking(fields: dict[str, Any], model: str, cap: int | None = None) -> tuple[Any, ...]:
    """`thinking`, the effort, `max_tokens` and the warnings."""
    tree, warned = sent(fields, model, cap)
    return (
        tree.get("thinking"),
        tree.get("output_config", {}).get("effort"),
        tree["max_tokens"],
        warned,
    )


def enabled(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget}


@pytest.mark.parametrize(
    ("effort", "share"),
    [
        ("minimal", 0.1),
        ("low", 0.2),
        ("medium", 0.5),
        ("high", 0.8),
        ("xhigh", 0.95),
        ("max", 0.95),
    ],
)
def test_effort_is_a_share_of_what_may_be_written(effort: str, share: float) -> None:
    expected = (enabled(int(20_000 * share)), None, 20_000, ())
    assert thinking({"reasoning_effort": effort, "max_tokens": 20_000}, BUDGET) == expected
    assert thinking({"reasoning": {"effort": effort}}, BUDGET, 20_000) == expected


@pytest.mark.parametrize(
    ("fields", "cap", "expected"),
    [
        ({"reasoning_effort": "high"}, None, (enabled(12_800), None, 16_000, ())),
        ({"reasoning": {"enabled": True}}, 10_000, (enabled(5_000), None, 10_000, ())),
        ({"reasoning": {"max_tokens": 2_000}}, 10_000, (enabled(2_000), None, 10_000, ())),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
            10_000,
            (enabled(2_000), None, 10_000, ()),
        ),
        (
            {"reasoning": {"max_tokens": 100}},
            10_000,
            (enabled(1_024), None, 10_000, ("reasoning (a budget of 1024 was sent)",)),
        ),
        (
            {"reasoning_effort": "low", "max_tokens": 500},
            10_000,
            (
                enabled(1_024),
                None,
                1_524,
                ("max_tokens (raised to 1524: it counts thinking too)",),
            ),
        ),
        (
            {"reasoning": {"max_tokens": 9_000}, "max_tokens": 4_000},
            10_000,
            (
                enabled(9_000),
                None,
                10_000,
                ("max_tokens (raised to 10000: it counts thinking too)",),
            ),
        ),
        (
            {"reasoning": {"max_tokens": 20_000}},
            10_000,
            (enabled(5_000), None, 10_000, ("reasoning (a budget of 5000 was sent)",)),
        ),
        (
            {"reasoning_effort": "low"},
            1_000,
            (
                None,
                None,
                1_000,
                ("reasoning_effort (the model may not write enough tokens for it)",),
            ),
        ),
        ({"reasoning_effort": "none"}, 10_000, (None, None, 10_000, ())),
        ({"thinking": {"type": "disabled"}}, 10_000, (None, None, 10_000, ())),
        ({"reasoning": {"enabled": False}}, 10_000, (None, None, 10_000, ())),
        ({"reasoning": {}}, 10_000, (None, None, 10_000, ())),
        (
            {"reasoning_effort": "huge"},
            10_000,
            (enabled(5_000), None, 10_000, ("reasoning_effort (no such effort)",)),
        ),
        (
            {"reasoning": {"effort": "high", "exclude": True}},
            10_000,
            ({**enabled(8_000), "display": "omitted"}, None, 10_000, ()),
        ),
    ],
)
def test_budget(fields: dict[str, Any], cap: int | None, expected: Any) -> None:
    assert thinking(fields, BUDGET, cap) == expected


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (ADAPTIVE, {}, (None, None)),
        (ADAPTIVE, {"reasoning_effort": "xhigh"}, (SUMMARY, "xhigh")),
        (EITHER, {"reasoning_effort": "high"}, ({"type": "adaptive"}, "high")),
        (EITHER, {"reasoning": {"enabled": True}}, ({"type": "adaptive"}, None)),
        (EITHER, {"reasoning": {"max_tokens": 2_000}}, (enabled(2_000), None)),
        (ADAPTIVE, {"thinking": {"type": "adaptive"}}, (SUMMARY, None)),
        (
            ADAPTIVE,
            {"thinking": {"type": "adaptive", "display": "omitted"}, "reasoning_effort": "low"},
            ({"type": "adaptive", "display": "omitted"}, "low"),
        ),
        (
            ADAPTIVE,
            {"reasoning": {"effort": "max", "exclude": True}},
            ({"type": "adaptive", "display": "omitted"}, "max"),
        ),
        (ADAPTIVE, {"reasoning_effort": "none"}, (None, None)),
        (OPUS_5, {}, (None, None)),
        (OPUS_5, {"reasoning_effort": "none"}, ({"type": "disabled"}, None)),
        (OPUS_5, {"thinking": {"type": "disabled"}}, ({"type": "disabled"}, None)),
        (SONNET_55, {"reasoning": {"enabled": False}}, ({"type": "between_tools"}, None)),
        (ALWAYS, {"reasoning_effort": "medium"}, (SUMMARY, "medium")),
    ],
)
def test_models_that_decide_for_themselves(
    model: str, fields: dict[str, Any], expected: Any
) -> None:
    made = thinking(fields, model)
    assert made[:2] == expected
    assert made[3] == ()


@pytest.mark.parametrize(
    ("model", "fields", "expected", "warned"),
    [
        (
            EITHER,
            {"reasoning_effort": "xhigh"},
            ({"type": "adaptive"}, "high"),
            "reasoning_effort (effort high was sent)",
        ),
        (
            ADAPTIVE,
            {"reasoning": {"effort": "minimal"}},
            (SUMMARY, "low"),
            "reasoning (effort low was sent)",
        ),
        (
            ADAPTIVE,
            {"reasoning": {"effort": "huge"}},
            (SUMMARY, None),
            "reasoning (no such effort)",
        ),
        (
            ADAPTIVE,
            {"thinking": {"type": "enabled", "budget_tokens": 4_000}},
            (SUMMARY, None),
            "thinking (no budget: the model itself decides)",
        ),
        (
            ALWAYS,
            {"reasoning_effort": "none"},
            (None, "low"),
            "reasoning_effort (the model always thinks: effort low was sent)",
        ),
        (
            "claude-mythos-preview",
            {"thinking": {"type": "disabled"}},
            (None, "low"),
            "thinking (the model always thinks: effort low was sent)",
        ),
    ],
)
def test_what_a_model_lacks_of_it_is_said(
    model: str, fields: dict[str, Any], expected: Any, warned: str
) -> None:
    made = thinking(fields, model)
    assert made[:2] == expected
    assert made[3] == (warned,)


NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize(
    ("model", "config", "effort"),
    [
        (BUDGET, None, None),
        (EITHER, None, "high"),
        (OPUS_5, {"type": "disabled"}, "high"),
        ("claude-fable-5", None, "high"),
    ],
)
def test_a_forced_choice_comes_before_thinking(
    model: str, config: Any, effort: str | None, choice: Any
) -> None:
    fields = {"tools": [WEATHER], "tool_choice": choice, "reasoning_effort": "high"}
    made = thinking(fields, model)
    assert made[:2] == (config, effort)
    assert made[3] == ("reasoning_effort (not with a forced tool choice)",)
    plain = thinking({"tools": [WEATHER], "tool_choice": choice}, model)
    assert (plain[0], plain[3]) == (config, ())


def test_effort_without_thinking_is_at_most_high() -> None:
    fields = {"tools": [WEATHER], "tool_choice": "required", "reasoning_effort": "max"}
    assert thinking(fields, OPUS_5)[1] == "high"


def test_a_choice_that_is_free_goes_with_thinking() -> None:
    fields = {"tools": [WEATHER], "tool_choice": "auto", "reasoning_effort": "high"}
    made = thinking(fields, BUDGET)
    assert made[0] is not None
    assert made[3] == ()


@pytest.mark.parametrize(
    ("fields", "expected", "warned"),
    [
        ({"temperature": 1, "top_p": 1}, {}, ()),
        ({"temperature": 0.5}, {}, ("temperature (not with thinking)",)),
        ({"top_p": 0.97}, {"top_p": 0.97}, ()),
        (
            {"top_p": 0.5, "top_k": 5},
            {},
            ("top_k (not with thinking)", "top_p (not with thinking)"),
        ),
    ],
)
def test_sampling_of_thought(
    fields: dict[str, Any], expected: dict[str, Any], warned: tuple[str, ...]
) -> None:
    tree, warnings = sent({"reasoning_effort": "low", **fields}, BUDGET)
    names = ("temperature", "top_p", "top_k")
    assert {name: tree[name] for name in names if name in tree} == expected
    assert warnings == warned


def test_thought_is_not_a_continuation() -> None:
    messages = [USER, {"role": "assistant", "content": "It is"}]
    tree, _ = sent({"messages": messages, "reasoning_effort": "low"}, BUDGET)
    assert tree["messages"][-1] == turn("user", "Continue.")


# --- over turns ---------------------------------------------------------------------------

FORMAT = "anthropic-claude-v1"
SIGNED = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": FORMAT}
SEALED = {"type": "reasoning.encrypted", "data": "eHh4", "format": FORMAT}
FOREIGN = [
    {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"},
    {"type": "reasoning.text", "text": "x", "signature": "s", "format": "google-gemini-v1"},
    {"type": "reasoning.text", "text": "x", "signature": "s"},
    {"type": "reasoning.text", "text": "no seal", "format": FORMAT},
    {"type": "reasoning.summary", "summary": "x", "format": FORMAT},
]


def thought(*details: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**CALLS, "reasoning_details": list(details), **more}


def told(*details: dict[str, Any], model: str = BUDGET, **more: Any) -> list[dict[str, Any]]:
    """The blocks in front of the calls."""
    messages = [USER, thought(*details, **more), *RESULTS]
    tree, warned = sent({"messages": messages, "reasoning_effort": "low"}, model)
    assert warned == ()
    blocks: list[dict[str, Any]] = tree["messages"][1]["content"]
    assert [one["type"] for one in blocks[-2:]] == ["tool_use", "tool_use"]
    return blocks[:-2]


def test_thinking_goes_back_as_it_was() -> None:
    assert told(SIGNED, SEALED, *FOREIGN, reasoning_content="Hm.") == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHh4"},
    ]


def test_thinking_of_a_stream_has_its_text_beside_it() -> None:
    first = {**SIGNED, "text": None}
    second = {**SIGNED, "text": " So.", "signature": "c2"}
    assert told(first, reasoning_content="Hm.")[0]["thinking"] == "Hm."
    both = told(first, second, reasoning_content="Hm. So.")
    assert [(one["thinking"], one["signature"]) for one in both] == [
        ("Hm.", "c2ln"),
        (" So.", "c2"),
    ]
    assert told(first)[0]["thinking"] == ""


def test_thinking_that_is_not_asked_for_again_stays_behind() -> None:
    messages = [USER, thought(SIGNED), *RESULTS]
    forced = {"tools": [WEATHER], "tool_choice": "required"}
    for model, fields in (
        (OPUS_5, {"reasoning_effort": "none"}),
        (OPUS_5, {"thinking": {"type": "disabled"}}),
        (OPUS_5, forced),
        (ADAPTIVE, {}),
        (BUDGET, {**forced, "reasoning_effort": "low"}),
    ):
        tree, _ = sent({"messages": messages, **fields}, model)
        assert [one["type"] for one in tree["messages"][1]["content"]] == ["tool_use", "tool_use"]


def test_thinking_goes_back_to_a_model_that_thinks_by_itself() -> None:
    messages = [USER, thought(SIGNED), *RESULTS]
    for model, fields in (
        (OPUS_5, {}),
        (ALWAYS, {"reasoning_effort": "none"}),
        (SONNET_55, {"reasoning_effort": "none"}),
    ):
        tree, _ = sent({"messages": messages, **fields}, model)
        assert tree["messages"][1]["content"][0]["type"] == "thinking"


@pytest.mark.parametrize("details", [[], FOREIGN])
def test_a_loop_without_its_thinking_goes_on_without(details: list[dict[str, Any]]) -> None:
    messages = [USER, thought(*details), *RESULTS]
    made = thinking({"messages": messages, "reasoning_effort": "low"}, BUDGET)
    assert made[0] is None
    assert made[3] == ("reasoning_effort (the conversation lacks the thinking of its tool calls)",)
    for model in (EITHER, ADAPTIVE, ALWAYS):
        # Models that decide for themselves may begin to think at any time.
        assert thinking({"messages": messages, "reasoning_effort": "low"}, model)[0] is not None


def test_what_begins_a_loop_of_tools_is_its_first_call() -> None:
    first, later = thought(SIGNED), CALLS
    loop = [USER, first, *RESULTS, later, *RESULTS]
    asked = {"reasoning_effort": "low"}
    assert thinking({"messages": loop, **asked}, BUDGET)[0] is not None
    # What came before the user's last words does not count.
    done = [USER, CALLS, *RESULTS, {"role": "assistant", "content": "Grey."}, USER]
    assert thinking({"messages": done, **asked}, BUDGET)[0] is not None
    again = [*done, CALLS, *RESULTS, {"role": "user", "content": "Hurry."}]
    assert thinking({"messages": again, **asked}, BUDGET)[0] is None


def test_a_turn_of_thinking_alone_is_left_out() -> None:
    alone = {"role": "assistant", "content": "", "reasoning_details": [SIGNED]}
    tree, _ = sent({"messages": [USER, alone, USER], "reasoning_effort": "low"}, BUDGET)
    assert [one["role"] for one in tree["messages"]] == ["user"]


def test_thinking_behind_a_changed_conversation_is_no_error() -> None:
    fields = {"messages": [USER, thought(SIGNED), *RESULTS]}
    tree, warned = sent(fields, ALWAYS)
    assert tree["thinking"] == {
        "type": "adaptive",
        "block_binding": {"prefix_mismatch_behavior": "drop_block"},
    }
    assert warned == ()
    assert betas(fields, ALWAYS) == "thinking-binding-controls-2026-08-01"
    tree, _ = sent({**fields, "reasoning_effort": "high"}, ALWAYS)
    assert tree["thinking"]["display"] == "summarized"
    assert betas(fields, OPUS_5) is None
    assert betas({}, ALWAYS) is None


# --- what models take ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-3-opus-20240229", ("none", "omit", "both", True, True, False)),
        ("claude-3-7-sonnet-latest", ("budget", "omit", "both", True, True, False)),
        ("claude-opus-4-20250514", ("budget", "omit", "both", True, True, False)),
        ("claude-opus-4-1@20250805", ("budget", "omit", "either", True, True, False)),
        ("claude-haiku-4-5-20251001", ("budget", "omit", "either", True, True, True)),
        ("claude-sonnet-4-6", ("either", "omit", "either", False, True, True)),
        ("claude-opus-4-7", ("adaptive", "omit", "none", False, True, True)),
        ("claude-sonnet-5", ("adaptive", "disabled", "none", False, True, True)),
        ("claude-fable-5", ("adaptive", "never", "none", False, True, True)),
        ("claude-mythos-5-2", ("adaptive", "never", "none", False, False, True)),
        ("claude-haiku-5-5", ("adaptive", "disabled", "none", False, True, True)),
        ("claude-sonnet-5-5", ("adaptive", "between_tools", "none", False, False, True)),
        ("claude-opus-5-5", ("adaptive", "never", "none", False, False, True)),
        ("claude-next", ("adaptive", "never", "none", False, False, True)),
        ("minimax-m2", ("budget", "omit", "both", True, True, False)),
    ],
)
def test_what_models_take(name: str, expected: tuple[Any, ...]) -> None:
    found = models.of(name)
    assert (
        found.thinking,
        found.off,
        found.sampling,
        found.prefill,
        found.forced,
        found.structured,
    ) == expected
