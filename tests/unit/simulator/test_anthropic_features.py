import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from extproc.simulator import Simulator
from tests.unit.simulator.talk import ANTHROPIC, KEYS, Talk

MODEL = "claude-haiku-4-5"
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object"}}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
THINK: Any = {"type": "enabled", "budget_tokens": 1024}
USER: Any = {"role": "user", "content": "hello"}
PDF = base64.b64encode(b"%PDF-1.4").decode()
PNG = base64.b64encode(b"\x89PNG\r\n").decode()


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=sim.url("anthropic"), api_key="sk-test", max_retries=0
    ) as made:
        yield made


async def create(client: anthropic.AsyncAnthropic, script: Any = None, **more: Any) -> Any:
    sent: Any = {"model": MODEL, "max_tokens": 2000, "messages": [USER]} | more
    headers = None if script is None else {"x-sim-script": json.dumps(script)}
    return await client.messages.create(**sent, extra_headers=headers)


async def streamed(client: anthropic.AsyncAnthropic, **more: Any) -> Any:
    sent: Any = {"model": MODEL, "max_tokens": 2000, "messages": [USER]} | more
    async with client.messages.stream(**sent) as stream:
        return await stream.get_final_message()


def turn(answer: Any) -> Any:
    content = [one.model_dump(exclude_none=True) for one in answer.content]
    return {"role": "assistant", "content": content}


async def test_thinking_is_taken_back_unless_it_was_changed(
    client: anthropic.AsyncAnthropic,
) -> None:
    for make in (create, streamed):
        said = turn(await make(client, thinking=THINK))
        assert said["content"][0]["type"] == "thinking"
        await create(client, messages=[USER, said, USER], thinking=THINK)
        said["content"][0]["thinking"] += "!"
        with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking`"):
            await create(client, messages=[USER, said, USER])


async def test_omitted_and_hidden_thinking(client: anthropic.AsyncAnthropic) -> None:
    for make in (create, streamed):
        quiet = turn(await make(client, thinking={**THINK, "display": "omitted"}))
        assert (quiet["content"][0]["thinking"], len(quiet["content"])) == ("", 2)
        magic = {"role": "user", "content": "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46"}
        hidden = turn(await make(client, messages=[magic], thinking=THINK))
        assert hidden["content"][0]["type"] == "redacted_thinking"
        await create(client, messages=[USER, quiet, USER, hidden, USER], thinking=THINK)
        hidden["content"][0]["data"] = "AAAA"
        with pytest.raises(anthropic.BadRequestError, match="Invalid `data`"):
            await create(client, messages=[USER, hidden, USER])


async def test_a_loop_of_tools_keeps_its_thinking(client: anthropic.AsyncAnthropic) -> None:
    ask = {"role": "user", "content": "use get_time"}
    options: Any = {"thinking": THINK, "tools": [CLOCK]}
    said = turn(await create(client, messages=[ask], **options))
    assert [one["type"] for one in said["content"]] == ["thinking", "tool_use"]
    use = said["content"][1]["id"]
    image = {"type": "base64", "media_type": "image/png", "data": PNG}
    parts = [{"type": "text", "text": "x"}, {"type": "image", "source": image}]
    result = {"type": "tool_result", "tool_use_id": use, "content": parts}
    back = {"role": "user", "content": [result]}
    await create(client, messages=[ask, said, back], **options)
    said["content"] = said["content"][1:]
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thin"):
        await create(client, messages=[ask, said, back], **options)
    await create(client, messages=[ask, said, back], tools=[CLOCK])


def document(source: Any, **more: Any) -> Any:
    return {"type": "document", "source": source, "citations": {"enabled": True}, **more}


async def test_documents_are_cited(client: anthropic.AsyncAnthropic) -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "The sky is blue."}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    blocks = {"type": "content", "content": [{"type": "text", "text": "a block"}]}
    found = {
        "type": "search_result",
        "source": "s",
        "title": "t",
        "content": [{"type": "text", "text": "found"}],
        "citations": {"enabled": True},
    }
    content = [document(text, title="T"), document(pdf), document(blocks), found]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": "why"}]}]
    for make in (create, streamed):
        answer = await make(client, messages=messages)
        cited, rest = answer.content
        assert [one.type for one in cited.citations] == [
            "char_location",
            "page_location",
            "content_block_location",
            "search_result_location",
        ]
        assert cited.citations[0].document_title == "T"
        assert cited.citations[2].document_index == 2
        assert not rest.citations


async def test_the_web_is_searched(client: anthropic.AsyncAnthropic) -> None:
    ask = {"role": "user", "content": "search the news"}
    for make in (create, streamed):
        answer = await make(client, messages=[ask], tools=[SEARCH])
        assert [one.type for one in answer.content] == [
            "server_tool_use",
            "web_search_tool_result",
            "text",
            "text",
        ]
        assert answer.content[0].input == {"query": "search the news"}
        assert answer.content[2].citations[0].type == "web_search_result_location"
        assert answer.usage.server_tool_use.web_search_requests == 1
        said = turn(answer)
        await create(client, messages=[ask, said, USER], tools=[SEARCH])
        said["content"][1]["content"][0]["encrypted_content"] = "AAAA"
        with pytest.raises(anthropic.BadRequestError, match="encrypted_content"):
            await create(client, messages=[ask, said, USER], tools=[SEARCH])


async def test_a_marked_prefix_is_written_then_read_then_grown(
    client: anthropic.AsyncAnthropic,
) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "be brief", "cache_control": mark}]
    first = (await create(client, system=system)).usage
    assert first.cache_creation.ephemeral_1h_input_tokens > 0
    assert first.cache_creation_input_tokens == first.cache_creation.ephemeral_1h_input_tokens
    content = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    second = (await create(client, system=system, messages=[{**USER, "content": content}])).usage
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation.ephemeral_5m_input_tokens > 0
    # The mark moves on with the conversation; what it marked before is still found.
    grown = [
        {**USER, "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": "y"},
        {**USER, "content": content},
    ]
    third = await streamed(client, system=system, messages=grown)
    total = second.cache_read_input_tokens + second.cache_creation_input_tokens
    assert third.usage.cache_read_input_tokens == total


async def test_counting_tokens_bills_nothing(
    client: anthropic.AsyncAnthropic, sim: Simulator
) -> None:
    counted = await client.messages.count_tokens(
        model=MODEL, messages=[USER], thinking={"type": "enabled", "budget_tokens": 4000}
    )
    assert counted.input_tokens > 0
    assert sim.totals()["anthropic"].input == 0
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: Extra inputs"):
        await client.messages.count_tokens(
            model=MODEL, messages=[USER], extra_body={"max_tokens": 5}
        )


async def test_json_stops_and_effort(client: anthropic.AsyncAnthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert json.loads((await create(client, output_config=config)).content[0].text) == {"n": 7}
    stopped = await create(client, {"text": "one two"}, stop_sequences=["two", "one "])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "one ")
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    answer = await create(client, model="claude-opus-4-8", **adaptive)
    assert answer.content[0].type == "thinking"


async def test_the_beta_of_managing_context(client: anthropic.AsyncAnthropic) -> None:
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    answer = await client.beta.messages.create(
        model=MODEL,
        max_tokens=9,
        messages=[USER],
        betas=["context-management-2025-06-27"],
        context_management=edits,
    )
    assert answer.context_management is not None
    assert answer.context_management.applied_edits == []


@pytest.mark.parametrize(
    ("model", "thinking", "blocks"),
    [
        ("claude-sonnet-5", None, [("thinking", ""), ("text", None)]),
        ("claude-sonnet-5", {"type": "disabled"}, [("text", None)]),
        ("claude-sonnet-5-5", {"type": "between_tools"}, [("text", None)]),
        (
            "claude-opus-4-8",
            {"type": "adaptive", "display": "summarized"},
            [("thinking", "Let me think about it."), ("text", None)],
        ),
    ],
)
async def test_how_each_family_thinks(
    client: anthropic.AsyncAnthropic, model: str, thinking: Any, blocks: Any
) -> None:
    more = {} if thinking is None else {"thinking": thinking}
    answer = await create(client, model=model, **more)
    assert [(one.type, getattr(one, "thinking", None)) for one in answer.content] == blocks


def image(kind: str, data: str) -> Any:
    source = {"type": "base64", "media_type": kind, "data": data}
    return {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}


OBJECT: Any = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"thinking": THINK, "max_tokens": 1024}, "`max_tokens` must be greater than `thinking.b"),
        ({"thinking": THINK, "temperature": 0.5}, "`temperature` may only be set to 1 when"),
        ({"thinking": THINK, "top_p": 0.5}, "`top_p` must be greater than or equal to 0.95"),
        ({"thinking": THINK, "top_k": 5}, "`top_k` must be unset when thinking"),
        (
            {"thinking": THINK, "tools": [CLOCK], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
        ({"thinking": THINK, "model": "claude-opus-4-8"}, '"thinking.type.enabled" is not suppor'),
        (
            {"thinking": {"type": "disabled"}, "model": "claude-opus-5-5"},
            '"thinking.type.disabled" is not supported for this model.',
        ),
        ({"output_config": {"effort": "low"}}, "This model does not support the effort parameter"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": OBJECT}}},
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be",
        ),
        (
            {"tools": [{"name": "f", "input_schema": OBJECT, "strict": True}]},
            "tools.0.custom: For 'object' type, 'additionalProperties' must be",
        ),
        (image("image/png", "!"), "messages.0.content.0.image.source.base64.data: The image was"),
        (image("image/jpeg", PNG), "messages.0.content.0.image.source.base64: The image was speci"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "url", "url": "http://x/a.png"}}
                        ],
                    }
                ]
            },
            "messages.0.content.0.image.source.url.url: Only HTTPS URLs",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            document(
                                {"type": "base64", "media_type": "application/pdf", "data": "eA=="}
                            )
                        ],
                    }
                ]
            },
            "messages.0.content.0.document.source.base64.data: The PDF specified was not valid.",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "thinking",
             "thinking": "x", "signature": "AAAA"}]}, USER]},
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            {
                "system": [
                    {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "y", "cache_control": {"type": "ephemeral",
                     "ttl": "1h"}},
                ]
            },
            "a ttl='1h' cache_control block must not come after a ttl='5m'",
        ),
        ({"context_management": {"edits": []}}, "context_management: Extra inputs are not"),
    ],
)  # fmt: skip
async def test_refuses_as_anthropic_does(talk: Talk, body: Any, words: str) -> None:
    sent = {"model": MODEL, "max_tokens": 2000, "messages": [USER]} | body
    heard = await talk.send("anthropic", f"{ANTHROPIC}?beta=true", sent, headers=KEYS["anthropic"])
    assert heard.status == 400
    assert heard.json["error"]["message"].startswith(words)
