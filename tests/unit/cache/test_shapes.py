"""Each thing that a client can say: it shapes the answer, or it does not."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessages
from anthropic.types.message_create_params import MessageCreateParamsBase as Messages
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as Chat
from openai.types.completion_create_params import CompletionCreateParamsBase as Completions
from openai.types.embedding_create_params import EmbeddingCreateParams as Embeddings
from openai.types.responses.response_create_params import ResponseCreateParamsBase as Responses

from extproc.cache.fingerprint import Asked, Place, asked, fields
from extproc.dialects import formats
from extproc.errors import ClientError

Tree = dict[str, Any]
BASES: dict[str, Tree] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "m", "prompt": "Hi"},
    "embeddings": {"model": "m", "input": "Hi"},
    "messages": {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    },
    "responses": {"model": "m", "input": "Hi"},
}
CARRIED = {"metadata", "service_tier", "user"}
KEPT_OR_BILLED = {
    *CARRIED,
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
}
SILENT: dict[str, set[str]] = {
    "chat": {*KEPT_OR_BILLED, "store"},
    "completions": {*KEPT_OR_BILLED, "store"},
    "embeddings": CARRIED,
    "messages": {"cache_control", "metadata", "service_tier"},
    "responses": KEPT_OR_BILLED,
}
"""All that an SDK can send and that does not shape the answer."""
SDKS: list[tuple[str, Any]] = [
    ("chat", Chat),
    ("completions", Completions),
    ("embeddings", Embeddings),
    ("messages", Messages),
    ("messages", BetaMessages),
    ("responses", Responses),
]
FIELDS = [
    pytest.param(format_, name, id=f"{kind.__module__}-{name}")
    for format_, kind in SDKS
    for name in kind.__annotations__
]


def of(tree: Tree | bytes, format_: str = "chat", **more: Any) -> Asked:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return asked(fields(body), Place(format=format_, route="r", scope=b"s" * 32), **more)


def said(content: Any, **more: Any) -> Asked:
    return of({"model": "m", "messages": [{"role": "user", "content": content, **more}]})


@pytest.mark.parametrize(("format_", "name"), FIELDS)
def test_every_field_of_the_sdks(format_: str, name: str) -> None:
    base = BASES[format_]
    one, other = ({**base, name: value} for value in (["x"], ["y"]))
    same = of(one, format_) == of(other, format_)
    assert same == (name in SILENT[format_])
    assert (of(one, format_) == of(base, format_)) == same


@pytest.mark.parametrize(
    "more",
    [
        {"models": ["a", "b"]},
        {"models": ["b", "a"]},
        {"provider": {"order": ["x"], "allow_fallbacks": False}},
        {"route": "fallback"},
        {"transforms": ["middle-out"]},
        {"plugins": [{"id": "web"}]},
        {"reasoning": {"effort": "high"}},
        {"reasoning": {"exclude": True}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"guided_json": {"type": "object"}},
        {"top_k": 5},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
        {"safe_prompt": True},
        {"thinking": {"type": "disabled"}},
        {"extra_body": {"google": {}}},
        {"inference_geo": "us"},
    ],
)
def test_what_other_servers_know_beside_it(more: Tree) -> None:
    assert of({**BASES["chat"], **more}).exact != of(BASES["chat"]).exact


def test_no_two_formats_share() -> None:
    both = {**BASES["chat"], **BASES["responses"], **BASES["completions"], "max_tokens": 9}
    keys = {of(both, format_).exact for format_ in BASES}
    families = {of(both, format_).family for format_ in BASES}
    assert len(keys) == len(families) == len(BASES)


# --- how it is written --------------------------------------------------------------------


def test_normal_forms_of_a_text_are_other_texts() -> None:
    """A model gets other tokens of them; what only looks alike is compared as a question is."""
    forms = [
        unicodedata.normalize(form, "\u00c5ngstr\u00f6m \ufb01") for form in ("NFC", "NFD", "NFKC")
    ]
    found = [said(text) for text in forms]
    assert len({one.exact for one in found}) == 3
    assert len({one.family for one in found}) == 1
    names = {of({**BASES["chat"], "x": {unicodedata.normalize(form, "\u00f6"): 1}}).exact
             for form in ("NFC", "NFD")}  # fmt: skip
    assert len(names) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"0", b"-0.0", True),
        (b"100", b"1e2", True),
        (b"0.1", b"1E-1", True),
        (b"9007199254740993", b"9007199254740992", False),
        (b"18446744073709551616", b"18446744073709551617", False),
        (b"1e300", b"1e301", False),
        (b"1", b"true", False),
        (b"1", b'"1"', False),
        (b"0", b"false", False),
        (b"0", b"null", False),
    ],
)
def test_numbers(one: bytes, other: bytes, same: bool) -> None:
    def seeded(number: bytes) -> Asked:
        return of(b'{"model":"m","messages":[{"role":"user","content":"a"}],"seed":%b}' % number)

    assert (seeded(one) == seeded(other)) == same


@pytest.mark.parametrize("format_", list(BASES))
@pytest.mark.parametrize(
    "more",
    [
        b'"model":"other"',
        b'"x":{"a":1,"a":2}',
        b'"x":NaN',
        b'"x":1e999',
        b'"x":-Infinity',
        b'"x":"\\ud800"',
        b'"Model":"other"',
    ],
)
def test_what_parsers_read_in_two_ways_never_gets_a_key(format_: str, more: bytes) -> None:
    body = json.dumps(BASES[format_]).encode()[:-1] + b"," + more + b"}"
    with pytest.raises(ClientError):
        formats()[format_].parse(body)


# --- within turns -------------------------------------------------------------------------


def test_a_text_and_its_parts() -> None:
    """Anthropic says that they are one; templates of what speaks OpenAI's format may not."""
    part = [{"type": "text", "text": "Hi"}]
    assert said("Hi").exact != said(part).exact
    assert said("Hi").family == said(part).family
    messages = BASES["messages"]
    parts = {**messages, "messages": [{"role": "user", "content": part}]}
    assert of(parts, "messages") == of(messages, "messages")
    two = {**messages, "messages": [{"role": "user", "content": [*part, *part]}]}
    assert of(two, "messages").exact != of(messages, "messages").exact
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]
    responses = BASES["responses"]
    assert of({**responses, "input": items}, "responses").exact != of(responses, "responses").exact


def test_who_says_it() -> None:
    user = {"role": "user", "content": "Hi"}
    found = {
        of(
            {"model": "m", "messages": [{"role": role, "content": "Be brief.", **more}, user]}
        ).family
        for role, more in (
            ("system", {}),
            ("developer", {}),
            ("user", {}),
            ("assistant", {}),
            ("system", {"name": "a"}),
        )
    }
    assert len(found) == 5
    instructed = of({**BASES["responses"], "instructions": "Be brief."}, "responses")
    items = [{"role": "developer", "content": "Be brief."}, user]
    assert of({**BASES["responses"], "input": items}, "responses").family != instructed.family


def test_a_name_of_the_asker_shapes_the_answer() -> None:
    assert said("Who am I?", name="Al").family != said("Who am I?", name="Bo").family


def test_what_is_for_a_prompt_cache_does_not_shape_an_answer() -> None:
    hint = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    part = {"type": "text", "text": "Hi"}
    assert said([{**part, **hint}]) == said([part])
    tool = {"name": "f", "input_schema": {"type": "object"}}
    base = {**BASES["messages"], "tools": [tool]}
    assert of({**base, "tools": [{**tool, **hint}]}, "messages") == of(base, "messages")
    # The same words within a tool are its own.
    named = {**tool, "input_schema": {"type": "object", "properties": hint}}
    assert of({**base, "tools": [named]}, "messages").exact != of(base, "messages").exact


def test_pictures_are_told_apart_by_what_stands_in_the_request() -> None:
    def shown(url: str, **more: str) -> Asked:
        picture = {"type": "image_url", "image_url": {"url": url, **more}}
        return said([{"type": "text", "text": "What is this?"}, picture])

    found = [
        shown("https://x.example/a.png"),
        shown("https://x.example/b.png"),
        shown("https://x.example/a.png?v=2"),
        shown("https://x.example/a.png", detail="low"),
        shown("data:image/png;base64,aaaa"),
        shown("data:image/png;base64,aaab"),
    ]
    assert len({one.exact for one in found}) == len(found)
    assert [one.text for one in found] == [None] * len(found)


def test_the_order_of_a_list_matters() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "fg"]
    one, other = ({**BASES["chat"], "tools": tools[::step]} for step in (1, -1))
    assert of(one).exact != of(other).exact


# --- over what a provider keeps -----------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"tool_choice": "auto"},
        {"tools": []},
        {"temperature": 1},
        {"text": {"format": {"type": "text"}}},
        {"text": {"verbosity": "medium"}},
        {"include": []},
        {"truncation": "disabled"},
    ],
)
def test_over_a_kept_prompt_a_default_is_no_default(more: Tree) -> None:
    kept = {"model": "m", "prompt": {"id": "pmpt_1", "variables": {"city": "Paris"}}}
    assert of({**kept, **more}, "responses").exact != of(kept, "responses").exact
    other = {**kept, "prompt": {"id": "pmpt_1", "variables": {"city": "Rome"}}}
    assert of(other, "responses").family != of(kept, "responses").family


def test_what_may_not_be_gone_on_from_is_not_what_may() -> None:
    base = BASES["responses"]
    assert of({**base, "store": False}, "responses").exact != of(base, "responses").exact
    assert of({**base, "store": True}, "responses") == of(base, "responses")
    assert of({**base, "store": None}, "responses") == of(base, "responses")


def test_none_of_the_tools_is_not_any_of_them() -> None:
    """Where they come from elsewhere too: of servers of tools, of a kept prompt."""
    for format_ in ("messages", "responses"):
        base = {**BASES[format_], "mcp_servers": [{"type": "url", "url": "https://x.example"}]}
        for choice in ("none", {"type": "none"}, "required"):
            assert of({**base, "tool_choice": choice}, format_).exact != of(base, format_).exact
