"""What is the same request, and what is not."""

from __future__ import annotations

import json
import random
import timeit
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.cache.fingerprint import Asked, Place, asked, fields, scope_key
from extproc.cache.shapes import SHAPES

Tree = dict[str, Any]
SECRET = b"s" * 32
SCOPE = scope_key(SECRET, "tenant", tenant="acme")
assert SCOPE is not None

WEATHER = {"type": "object", "properties": {"city": {"type": "string", "default": None}}}
CHAT: Tree = {
    "model": "flagship",
    "messages": [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": [{"type": "text", "text": "And Italy?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rome"},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0.25,
    "max_tokens": 100,
    "seed": 7,
    "stop": ["\n\n"],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": WEATHER}}],
    "response_format": {"type": "json_object"},
    "strange": {"new": [1, 2.5, True]},
}  # fmt: skip
COMPLETION: Tree = {"model": "m", "prompt": "Once upon a time", "max_tokens": 5, "suffix": "."}
RESPONSE: Tree = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "Hello"},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "Hi"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "What is a monad?"}]},
    ],
    "reasoning": {"effort": "low"},
}  # fmt: skip
MESSAGE: Tree = {
    "model": "m",
    "max_tokens": 10,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [{"role": "user", "content": "What is a monad?"}],
    "tools": [{"name": "f", "input_schema": WEATHER}],
}
EMBEDDINGS: Tree = {"model": "e", "input": ["one", "two"], "dimensions": 8}
ALL = {
    "chat": CHAT,
    "completions": COMPLETION,
    "responses": RESPONSE,
    "messages": MESSAGE,
    "embeddings": EMBEDDINGS,
}
TEXTS = {
    "chat": "What is the capital of France?",
    "completions": "Once upon a time",
    "responses": "What is a monad?",
    "messages": "What is a monad?",
    "embeddings": None,
}
formats = pytest.mark.parametrize("format_", list(ALL))


def at(format_: str = "chat", **more: Any) -> Place:
    return Place(**{"format": format_, "route": "support", "scope": SCOPE, **more})


def of(tree: Tree | bytes, format_: str = "chat", **more: Any) -> Asked:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return asked(fields(body), at(format_), **more)


def said(*messages: Any, **more: Any) -> Asked:
    return of({"model": "m", "messages": list(messages), **more})


def user(content: Any) -> Tree:
    return {"role": "user", "content": content}


# --- written otherwise --------------------------------------------------------------------


def shuffled(tree: Any, chance: random.Random) -> Any:
    if isinstance(tree, dict):
        names = list(tree)
        chance.shuffle(names)
        return {name: shuffled(tree[name], chance) for name in names}
    return [shuffled(one, chance) for one in tree] if isinstance(tree, list) else tree


def written(tree: Any, chance: random.Random) -> str:
    """JSON with white space, escapes and numbers as somebody else might write them."""
    space = chance.choice(["", " ", "\n\t"])
    if isinstance(tree, dict):
        parts = [f"{written(name, chance)}:{space}{written(one, chance)}"
                 for name, one in tree.items()]  # fmt: skip
        return "{" + space + f",{space}".join(parts) + space + "}"
    if isinstance(tree, list):
        return "[" + f"{space},".join(written(one, chance) for one in tree) + "]"
    if isinstance(tree, str):
        return '"' + "".join(
            f"\\u{ord(one):04x}" if chance.random() < 0.3 or ord(one) < 32 else one for one in tree
        ) + '"'  # fmt: skip
    if isinstance(tree, int) and not isinstance(tree, bool):
        return chance.choice([str(tree), f"{tree}.0", f"{tree}.00", f"{tree}0e-1"])
    return f"{tree * 10}e-1" if isinstance(tree, float) else json.dumps(tree)


@formats
@given(chance=st.randoms(use_true_random=False))
def test_how_a_request_is_written_does_not_matter(format_: str, chance: random.Random) -> None:
    tree = ALL[format_]
    body = written(shuffled(tree, chance), chance).encode()
    assert json.loads(body) == tree
    assert of(body, format_) == of(tree, format_)


@formats
def test_what_is_compared_is_the_last_thing_the_user_said(format_: str) -> None:
    assert of(ALL[format_], format_).text == TEXTS[format_]


# --- what matters -------------------------------------------------------------------------


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(tree, dict) and tree:
        return [leaf for name, one in tree.items() for leaf in leaves(one, (*path, name))]
    if isinstance(tree, list) and tree:
        return [leaf for n, one in enumerate(tree) for leaf in leaves(one, (*path, n))]
    return [path]


def changed(tree: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = changed(tree[path[0]], path[1:], other)
    return copy


def value(tree: Any, path: tuple[Any, ...]) -> Any:
    for one in path:
        tree = tree[one]
    return tree


@formats
@given(pick=st.data())
@settings(deadline=None)
def test_every_leaf_shapes_the_key(format_: str, pick: Any) -> None:
    tree = ALL[format_]
    path = pick.draw(st.sampled_from(leaves(tree)))
    before = value(tree, path)
    others = st.text() | st.integers(2, 2**70) | st.floats(2.5, 1e12) | st.booleans()
    if path[-1] in ("role", "type"):
        others = st.sampled_from(["x", "y"])
    other = pick.draw(
        others.filter(
            lambda one: one != before or isinstance(one, bool) != isinstance(before, bool)
        )
    )
    found, was = of(changed(tree, path, other), format_), of(tree, format_)
    assert found.exact != was.exact
    if format_ == "embeddings":
        return
    spoken = before == TEXTS[format_] and isinstance(other, str) and other.strip() != ""
    assert (found.family == was.family) == spoken


@formats
@given(name=st.text(), one=st.integers(2, 9) | st.text(min_size=1))
def test_a_field_that_nobody_knows_shapes_the_key(format_: str, name: str, one: Any) -> None:
    if name in ALL[format_] or name in SHAPES[format_].silent:
        return
    assert of({**ALL[format_], name: one}, format_).exact != of(ALL[format_], format_).exact


SILENT: Tree = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "alice",
    "safety_identifier": "alice",
    "metadata": {"a": "b"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "top_k": None,
}


@pytest.mark.parametrize("name", list(SILENT))
@pytest.mark.parametrize("format_", ["chat", "responses"])
def test_what_does_not_shape_the_answer_is_left_out(format_: str, name: str) -> None:
    assert of({**ALL[format_], name: SILENT[name]}, format_) == of(ALL[format_], format_)


@pytest.mark.parametrize(
    ("format_", "more"),
    [
        ("chat", {"n": 1, "presence_penalty": 0.0, "frequency_penalty": 0, "logit_bias": {}}),
        ("chat", {"logprobs": False, "parallel_tool_calls": True}),
        ("chat", {"tool_choice": "auto", "verbosity": "medium", "store": False}),
        ("completions", {"n": 1, "best_of": 1, "echo": False, "suffix": "."}),
        ("responses", {"text": {"format": {"type": "text"}}, "truncation": "disabled"}),
        ("responses", {"store": True, "tools": [], "tool_choice": "auto", "include": []}),
        ("messages", {"stop_sequences": [], "tool_choice": {"type": "auto"}}),
        ("embeddings", {"encoding_format": "float", "user": "alice"}),
    ],
)
def test_a_default_said_is_a_default_unsaid(format_: str, more: Tree) -> None:
    assert of({**ALL[format_], **more}, format_) == of(ALL[format_], format_)


@pytest.mark.parametrize(
    ("format_", "more"),
    [
        ("chat", {"temperature": 0}),
        ("chat", {"tool_choice": "none"}),
        ("chat", {"tool_choice": "required"}),
        ("chat", {"n": True}),
        ("chat", {"logprobs": True}),
        ("chat", {"temperature": 1}),
        ("chat", {"top_p": 1}),
        ("chat", {"modalities": ["text"]}),
        ("completions", {"temperature": 1}),
        ("messages", {"temperature": 1}),
        ("responses", {"temperature": 1}),
        ("responses", {"store": False}),
        ("responses", {"previous_response_id": "resp_1"}),
        ("responses", {"include": ["reasoning.encrypted_content"]}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("embeddings", {"encoding_format": "base64"}),
    ],
)
def test_what_is_no_default_makes_another_key(format_: str, more: Tree) -> None:
    assert of({**ALL[format_], **more}, format_).exact != of(ALL[format_], format_).exact


def test_nothing_but_text_of_the_last_turn_may_differ_in_a_family() -> None:
    one, other = said(user("Capital of France?")), said(user("What is France's capital?"))
    assert one.family == other.family
    assert one.exact != other.exact
    named = said({**user("Capital of France?"), "name": "Al"})
    assert named.family != one.family


def test_earlier_turns_stand_in_the_family() -> None:
    first = [user("Hello"), {"role": "assistant", "content": "Hi"}]
    second = [user("Good day"), {"role": "assistant", "content": "Hi"}]
    last = user("Who are you?")
    assert said(*first, last).family != said(*second, last).family
    assert said(*first, last).text == "Who are you?"


def test_a_conversation_is_compared_whole_where_that_is_wanted() -> None:
    tree = {"model": "m", "messages": [
        {"role": "system", "content": "Be brief."},
        user("Hello"), {"role": "assistant", "content": "Hi"}, user("Who are you?")]}  # fmt: skip
    other = json.loads(json.dumps(tree).replace("Hello", "Good day"))
    one = of(tree, conversation=True)
    assert one.text == "user: Hello\nassistant: Hi\nuser: Who are you?"
    assert one.family == of(other, conversation=True).family
    system = json.loads(json.dumps(tree).replace("brief", "verbose"))
    assert one.family != of(system, conversation=True).family


def test_nobody_puts_words_into_anothers_mouth() -> None:
    def told(*turns: tuple[str, str]) -> Asked:
        messages = [{"role": role, "content": text} for role, text in turns]
        return of({"model": "m", "messages": messages}, conversation=True)

    mild = told(("user", "A"), ("assistant", "B\nuser: C\nassistant: D"), ("user", "E"))
    other = told(("user", "A\nassistant: B\nuser: C"), ("assistant", "D"), ("user", "E"))
    assert mild.family == other.family
    assert mild.text != other.text
    assert mild.text is not None
    assert mild.text.startswith("user: A\nassistant: B\n user: C\n")


PICTURE = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}


@pytest.mark.parametrize(
    "messages",
    [
        [user([{"type": "text", "text": "What is this?"}, PICTURE])],
        [user([PICTURE])],
        [user("")],
        [user("  \n")],
        [user([])],
        [{"role": "system", "content": "Be brief."}],
        [user([{"type": "text", "text": "Hi", "strange": 1}])],
    ],
)
def test_what_is_more_than_text_or_none_is_not_compared(messages: list[Any]) -> None:
    assert said(*messages).text is None


@pytest.mark.parametrize(
    ("format_", "more"),
    [
        ("chat", {"logprobs": True}),
        ("completions", {"logprobs": 0}),
        ("completions", {"echo": True}),
        ("responses", {"include": ["message.output_text.logprobs"]}),
        ("chat", {"moderation": {"model": "omni-moderation-latest"}}),
        ("responses", {"moderation": {"model": "omni-moderation-latest"}}),
    ],
)
def test_chances_of_tokens_and_moderation_belong_to_the_very_words(
    format_: str, more: Tree
) -> None:
    assert of({**ALL[format_], **more}, format_).text is None


def test_two_ways_to_say_one_thing() -> None:
    assert of({**CHAT, "stop": "\n\n"}) == of(CHAT)
    text = [{"type": "text", "text": "What is a monad?", "cache_control": {"type": "ephemeral"}}]
    long = {**MESSAGE, "system": "Be brief.", "messages": [user(text)], "cache_control": None}
    assert of(long, "messages") == of(MESSAGE, "messages")
    short, item = {"model": "m", "input": "Hi"}, {"type": "message", **user("Hi")}
    assert of(short, "responses") == of({**short, "input": [item]}, "responses")
    assert of({**COMPLETION, "prompt": [COMPLETION["prompt"]]}, "completions") == of(
        COMPLETION, "completions"
    )


def test_nobody_can_name_the_place_of_the_text() -> None:
    hidden = {"role": "user", "content": "Hi", "\x00text": None}
    assert said(hidden).family == said(user("Ho")).family  # a null is as good as absent
    forged = said({"role": "user", "\x00text": None})
    assert forged.family != said(user("Hi")).family


# --- who shares ---------------------------------------------------------------------------


def key(
    scope: Any, tenant: str | None, user: str | None = None, session: str | None = None
) -> bytes | None:
    return scope_key(SECRET, scope, tenant=tenant, user=user, session=session)


def test_who_does_not_share_has_other_keys() -> None:
    found = [
        key("tenant", "acme"),
        key("tenant", "other"),
        key("tenant", None),
        key("tenant", ""),
        key("user", "acme", "al"),
        key("user", "acmeal", ""),
        key("session", "acme", "al", "1"),
        key("session", "acme", "bo", "1"),
        key("shared", "acme"),
        scope_key(b"t" * 32, "tenant", tenant="acme"),
    ]
    assert len({*found}) == len(found)
    assert None not in found
    assert key("shared", "acme") == key("shared", "other")
    assert key("tenant", "acme", "al") == key("tenant", "acme", "bo", "2")


def test_who_is_not_named_shares_with_nobody() -> None:
    assert key("user", "acme") is None
    assert key("session", "acme", "al") is None
    assert key("session", "acme", None, "s") is not None


@pytest.mark.parametrize(
    "more",
    [
        {"scope": b"x" * 32},
        {"route": "sales"},
        {"namespace": "a"},
        {"seed": "a"},
        {"key": "a"},
        {"beside": (("anthropic-beta", "x"),)},
        {"format": "completions"},
    ],
)
def test_where_a_request_comes_shapes_key_and_family(more: Tree) -> None:
    tree = {"model": "m", "messages": [user("Hi")], "prompt": "Hi"}
    one, other = asked(tree, at()), asked(tree, at(**more))
    assert one.exact != other.exact
    assert one.family != other.family


def test_a_namespace_is_no_seed() -> None:
    assert len({asked(CHAT, at(**{name: "a"})).exact for name in ("namespace", "seed", "key")}) == 3


def test_a_key_takes_the_place_of_the_request_only_where_that_is_allowed() -> None:
    one, other = user("Capital of France?"), user("Capital of Spain?")

    def keyed(message: Tree, **more: Any) -> Asked:
        return asked({"model": "m", "messages": [message]}, at(key="k", **more))

    assert keyed(one).exact != keyed(other).exact
    assert keyed(one, replaces=True).exact == keyed(other, replaces=True).exact
    assert keyed(one, replaces=True).text is None
    assert keyed(one, replaces=True, route="b").exact != keyed(one, replaces=True).exact


# --- embeddings ---------------------------------------------------------------------------


def items(given: Any, **more: Any) -> tuple[bytes, ...]:
    return of({"model": "e", "input": given, **more}, "embeddings").items


def test_each_input_has_a_key_of_its_own() -> None:
    one, two = items(["one", "two"])
    assert one != two
    assert items("one") == (one,)
    assert items(["two", "one", "two"]) == (two, one, two)
    assert items(["one"], dimensions=8) != (one,)


def test_numbers_are_one_input_as_tokens() -> None:
    assert len(items([1, 2, 3])) == 1
    assert len(items([[1, 2], [3]])) == 2
    assert items([[1, 2]]) == items([1, 2])
    assert items(["1"]) != items([1])


# --- cost ---------------------------------------------------------------------------------


def test_a_body_of_4_kb_costs_little() -> None:
    turns = [user("hello there " * 40), {"role": "assistant", "content": "and you? " * 40}]
    body = json.dumps({"model": "m", "messages": [*turns, *turns, *turns, user("Hi?")]}).encode()
    place = at()
    best = min(timeit.repeat(lambda: asked(fields(body), place), number=50, repeat=20)) / 50
    assert best < 300e-6  # a machine that does much else; measured below 80 us


def test_no_prompt_stands_in_what_is_printed_of_a_request() -> None:
    assert "capital" not in repr(of(CHAT))
