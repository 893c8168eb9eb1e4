"""A bound on the answer: what clients say, what a policy makes of it, what providers get."""

import json
from typing import Any

import msgspec
import pytest

from extproc.dialects import MOST_OUTPUT, Wire
from extproc.errors import ClientError
from tests.unit.dialects.level import FORMATS
from tests.unit.dialects.samples import TARGETS, USER, level

ASKED: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [USER]},
    "completions": {"model": "m", "prompt": "2 + 2 ="},
    "responses": {"model": "m", "input": "hi"},
    "messages": {"model": "m", "messages": [USER], "max_tokens": 4000},
}
NAMES = {
    "chat": "max_tokens",
    "completions": "max_tokens",
    "responses": "max_output_tokens",
    "messages": "max_tokens",
}
FIELDS = [*NAMES.items(), ("chat", "max_completion_tokens")]
GENERATE = list(ASKED)


def body(format_: str, **fields: Any) -> bytes:
    return json.dumps({**ASKED[format_], **fields}).encode()


def capped(format_: str, given: bytes, cap: int) -> bytes:
    one = FORMATS[format_]
    return one.capped(one.parse(given), given, cap)


# --- what a client may say -------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "field"), FIELDS)
@pytest.mark.parametrize("value", ["-1", "-" + "9" * 300, "1.5", "1e3", '"5"', "true", "[]"])
def test_a_bound_is_a_whole_number(format_: str, field: str, value: str) -> None:
    given = body(format_, **{field: "@"}).replace(b'"@"', value.encode())
    with pytest.raises(ClientError) as refused:
        FORMATS[format_].parse(given)
    assert (refused.value.status, refused.value.param) == (400, field)
    assert field.encode() in FORMATS[format_].error(refused.value)


@pytest.mark.parametrize(
    ("format_", "field"),
    [("chat", "max_tokens"), ("chat", "max_completion_tokens"), ("responses", "max_output_tokens")],
)
def test_a_chat_is_of_at_least_one_token(format_: str, field: str) -> None:
    with pytest.raises(ClientError) as refused:
        FORMATS[format_].parse(body(format_, **{field: 0}))
    assert (refused.value.status, refused.value.param) == (400, field)


def test_a_prompt_that_is_only_read_goes_where_that_can_be_asked() -> None:
    """Anywhere else it would be answered, and without any bound."""
    given = body("completions", max_tokens=0)
    assert FORMATS["completions"].parse(given).max_output == 0
    for name in ("anthropic", "gemini", "bedrock", "cohere"):
        assert (level(name, "completions").lacks(given) or "").startswith("max_tokens:")
    instruct = level("openai", "completions", model="gpt-3.5-turbo-instruct")
    assert json.loads(instruct.request(given).body)["max_tokens"] == 0


@pytest.mark.parametrize(("format_", "field"), FIELDS)
@pytest.mark.parametrize("value", [2**31, 2**64, 10**300])
def test_a_huge_bound_is_none_that_overflows(format_: str, field: str, value: int) -> None:
    given = body(format_, **{field: value})
    assert FORMATS[format_].parse(given).max_output == MOST_OUTPUT
    for name in TARGETS:
        one = level(name, format_)
        made = one.request(given)
        if one.native or (name in ("openai", "azure") and format_ == "chat"):
            assert str(value).encode() in made.body  # as the client sent it
        else:
            assert bound(made) == MOST_OUTPUT
            assert bound(one.request(given, output_cap=8192)) == 8192


@pytest.mark.parametrize("value", [0, -1, 129, 10**30, 1.5, "2"])
@pytest.mark.parametrize("format_", ["chat", "completions"])
def test_answers_are_counted_in_small_numbers(format_: str, value: Any) -> None:
    with pytest.raises(ClientError) as refused:
        FORMATS[format_].parse(body(format_, n=value))
    assert (refused.value.status, refused.value.param) == (400, "n")


@pytest.mark.parametrize(
    ("format_", "fields", "answers"),
    [
        ("chat", {}, 1),
        ("chat", {"n": None}, 1),
        ("chat", {"n": 3}, 3),
        ("completions", {}, 1),
        ("completions", {"n": 2}, 2),
        ("completions", {"n": 2, "best_of": 5}, 5),
        ("completions", {"prompt": ["a", "b", "c"], "n": 2}, 6),
        ("completions", {"prompt": [[1, 2], [3]], "best_of": 4}, 8),
        ("completions", {"prompt": [1, 2, 3]}, 1),
        ("completions", {"prompt": None}, 1),
        ("completions", {"prompt": []}, 1),
        ("responses", {}, 1),
        ("messages", {}, 1),
    ],
)
def test_how_many_answers_are_written(format_: str, fields: dict[str, Any], answers: int) -> None:
    assert FORMATS[format_].parse(body(format_, **fields)).answers == answers


# --- what a policy makes of it ---------------------------------------------------------------


@pytest.mark.parametrize("format_", GENERATE)
def test_a_cap_is_added_or_replaces_and_nothing_else_changes(format_: str) -> None:
    odd = {"x": "@", "user": "u", "é": [1, 2]}
    raw = b'{"a" :  1.50e0, "b":"\\u00e9"}'
    name = NAMES[format_]
    for bounds in ({name: 5000}, {name: 10**40}, {}):
        given = body(format_, **odd, **bounds).replace(b'"@"', raw)
        made = capped(format_, given, 300)
        fields = msgspec.json.decode(made, type=dict[str, msgspec.Raw])
        before = msgspec.json.decode(given, type=dict[str, msgspec.Raw])
        assert bytes(fields.pop(name)) == b"300"
        before.pop(name, None)
        assert {key: bytes(value) for key, value in fields.items()} == {
            key: bytes(value) for key, value in before.items()
        }
        assert raw in made
        assert FORMATS[format_].parse(made).max_output == 300


@pytest.mark.parametrize("format_", GENERATE)
@pytest.mark.parametrize("allowed", [1, 299, 300])
def test_a_body_that_allows_no_more_stays_as_it_is(format_: str, allowed: int) -> None:
    given = body(format_, **{NAMES[format_]: allowed})
    assert capped(format_, given, 300) is given


def test_of_the_two_names_that_which_was_used_is_kept() -> None:
    assert json.loads(capped("chat", body("chat", max_completion_tokens=9), 5)) == {
        **ASKED["chat"],
        "max_completion_tokens": 5,
    }
    given = body("chat", max_completion_tokens=None, max_tokens=9)
    assert json.loads(capped("chat", given, 5))["max_tokens"] == 5


def test_what_writes_nothing_has_no_cap() -> None:
    for format_, fields in (
        ("embeddings", {"input": "hi"}),
        ("count_tokens", {"messages": [USER]}),
    ):
        given = json.dumps({"model": "m", **fields}).encode()
        assert capped(format_, given, 1) is given


@pytest.mark.parametrize(
    ("budget", "cap", "expected"),
    [
        (2000, 3000, {"type": "enabled", "budget_tokens": 2000}),
        (2999, 3000, {"type": "enabled", "budget_tokens": 2999}),
        (3000, 3000, {"type": "enabled", "budget_tokens": 1500}),
        (3000, 1025, {"type": "enabled", "budget_tokens": 1024}),
        (1024, 1024, {"type": "disabled"}),
        (3000, 10, {"type": "disabled"}),
    ],
)
def test_a_cap_leaves_room_beside_thinking(budget: int, cap: int, expected: Any) -> None:
    """Anthropic refuses a budget that is not below the bound."""
    asked = {"type": "enabled", "budget_tokens": budget}
    made = capped("messages", body("messages", thinking=asked), cap)
    assert json.loads(made)["thinking"] == expected
    FORMATS["messages"].parse(made)


# --- what providers get ----------------------------------------------------------------------

PLACES = (
    ("max_tokens",),
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("generationConfig", "maxOutputTokens"),
    ("inferenceConfig", "maxTokens"),
)


def bound(wire: Wire) -> int | None:
    """The one bound on the answer that a provider reads in the body."""
    found = []
    for place in PLACES:
        tree: Any = json.loads(wire.body)
        for name in place:
            tree = tree.get(name) if isinstance(tree, dict) else None
        if tree is not None:
            found.append(tree)
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("format_", GENERATE)
@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("given", [None, 5000])
def test_a_cap_reaches_every_provider(format_: str, name: str, given: int | None) -> None:
    fields = {} if given is None else {NAMES[format_]: given}
    made = level(name, format_).request(capped(format_, body(format_, **fields), 321))
    assert bound(made) == 321


CLAUDES = [
    ("anthropic", "claude-sonnet-4-5"),
    ("vertex", "claude-sonnet-4-5"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
]


@pytest.mark.parametrize(("name", "model"), CLAUDES)
@pytest.mark.parametrize(
    "asks",
    [
        {"reasoning": {"max_tokens": 9000}},
        {"thinking": {"type": "enabled", "budget_tokens": 9000}},
        {"reasoning_effort": "high"},
    ],
)
@pytest.mark.parametrize("cap", [1, 500, 1024, 1025, 4000])
def test_thinking_stays_within_what_is_reserved(
    name: str, model: str, asks: dict[str, Any], cap: int
) -> None:
    given = capped("chat", body("chat", **asks), cap)
    one = level(name, model=model)
    request = FORMATS["chat"].decode(given)
    within = msgspec.structs.replace(request, bounded=True)
    made = one.dialect.write(within, given, one.target)
    assert isinstance(made, Wire)
    assert bound(made) == cap
    tree = json.loads(made.body)
    thinking = (tree.get("additionalModelRequestFields") or tree).get("thinking") or {}
    assert thinking.get("budget_tokens", 0) < cap


@pytest.mark.parametrize("server", ["ollama", "deepseek", "together", "mistral"])
def test_servers_that_know_one_name_get_the_bound_under_it(server: str) -> None:
    made = level("openai", server=server).request(body("chat", max_completion_tokens=7))
    assert json.loads(made.body)["max_tokens"] == 7
    assert bound(made) == 7


@pytest.mark.parametrize("model", ["o3", "gpt-5.1"])
def test_models_that_know_the_newer_name_get_an_added_cap_under_it(model: str) -> None:
    made = level("openai", model=model).request(capped("chat", body("chat"), 64))
    assert json.loads(made.body)["max_completion_tokens"] == 64
    assert bound(made) == 64
