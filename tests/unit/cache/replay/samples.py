"""Answers as the SDKs' types allow them: what a model may say, drawn."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Tree = dict[str, Any]

texts = st.text(st.characters(codec="utf-8"), max_size=120) | st.lists(
    st.sampled_from(["Paris", "is ", "the ", " of\n", "France. ", "日本", "🙂", '"q"', "\\"]),
    max_size=60,
).map("".join)
said = texts.filter(bool)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
inputs = st.dictionaries(texts, values, max_size=3)
counts = st.integers(0, 10_000)
tokens = st.fixed_dictionaries(
    {
        "token": texts,
        "logprob": st.floats(-20, 0),
        "bytes": st.none() | st.lists(st.integers(0, 255), max_size=3),
        "top_logprobs": st.just([]),
    }
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


# --- chat ---------------------------------------------------------------------------------

functions = st.fixed_dictionaries(
    {
        "id": names.map("call_{}".format),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": names, "arguments": texts}),
    }
)
customs = st.fixed_dictionaries(
    {
        "id": names.map("call_{}".format),
        "type": st.just("custom"),
        "custom": st.fixed_dictionaries({"name": names, "input": texts}),
    }
)
web_citations = st.fixed_dictionaries(
    {
        "type": st.just("url_citation"),
        "url_citation": st.fixed_dictionaries(
            {"end_index": counts, "start_index": counts, "title": texts, "url": texts}
        ),
    }
)
chat_usage = st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts, "total_tokens": counts},
    optional={
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": counts}),
        "prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": counts}),
    },
)


def chat_messages(calls: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": maybe(texts)},
        optional={
            "refusal": maybe(texts),
            "annotations": st.just([]),
            "reasoning_content": maybe(said),
            "tool_calls": st.lists(calls, max_size=3),
            "function_call": st.fixed_dictionaries({"name": names, "arguments": texts}),
            "audio": st.fixed_dictionaries(
                {"id": names, "data": names, "expires_at": counts, "transcript": texts}
            ),
        },
    )


def chat_choices(calls: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries(
        {
            "message": chat_messages(calls),
            "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
            "logprobs": maybe(
                st.fixed_dictionaries(
                    {"content": st.lists(tokens, max_size=2), "refusal": st.none()}
                )
            ),
        }
    )


def chats(calls: st.SearchStrategy[Any] = functions, most: int = 2) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries(
        {
            "id": names.map("chatcmpl-{}".format),
            "object": st.just("chat.completion"),
            "created": st.integers(1, 2_000_000_000),
            "model": names,
            "choices": st.lists(chat_choices(calls), min_size=1, max_size=most).map(_numbered),
            "usage": chat_usage,
        },
        optional={
            "system_fingerprint": maybe(names),
            "service_tier": st.sampled_from([None, "default", "flex"]),
        },
    )


def _numbered(found: list[Tree]) -> list[Tree]:
    return [{"index": index, **one} for index, one in enumerate(found)]


# --- legacy completions -------------------------------------------------------------------

completions = st.fixed_dictionaries(
    {
        "id": names.map("cmpl-{}".format),
        "object": st.just("text_completion"),
        "created": st.integers(1, 2_000_000_000),
        "model": names,
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "text": texts,
                    "logprobs": maybe(
                        st.fixed_dictionaries(
                            {
                                "tokens": st.lists(texts, max_size=2),
                                "token_logprobs": st.lists(st.floats(-9, 0), max_size=2),
                                "top_logprobs": st.just([]),
                                "text_offset": st.lists(counts, max_size=2),
                            }
                        )
                    ),
                    "finish_reason": st.sampled_from(["stop", "length", "content_filter"]),
                }
            ),
            min_size=1,
            max_size=2,
        ).map(_numbered),
        "usage": chat_usage,
    },
    optional={"system_fingerprint": names},
)

# --- messages -----------------------------------------------------------------------------

citations = st.fixed_dictionaries(
    {
        "type": st.just("char_location"),
        "cited_text": texts,
        "document_index": counts,
        "document_title": maybe(texts),
        "start_char_index": counts,
        "end_char_index": counts,
        "file_id": st.none(),
    }
)
blocks = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("text"),
            "text": texts,
            "citations": maybe(st.lists(citations, max_size=2)),
        }
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": texts}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("tool_use"),
            "id": names.map("toolu_{}".format),
            "name": names,
            "input": inputs,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("web_search_tool_result"),
            "tool_use_id": names,
            "content": st.just([]),
        }
    ),
)
messages = st.fixed_dictionaries(
    {
        "id": names.map("msg_{}".format),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": names,
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "max_tokens", "stop_sequence"]),
        "stop_sequence": maybe(texts),
        "usage": st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts},
            optional={
                "cache_creation_input_tokens": maybe(counts),
                "cache_read_input_tokens": maybe(counts),
                "service_tier": st.sampled_from([None, "standard"]),
                "server_tool_use": maybe(
                    st.fixed_dictionaries(
                        {"web_search_requests": counts, "web_fetch_requests": counts}
                    )
                ),
            },
        ),
    },
    optional={"stop_details": st.none(), "container": st.none()},
)

# --- responses ----------------------------------------------------------------------------

statuses = st.sampled_from(["completed", "incomplete"])
output_texts = st.fixed_dictionaries(
    {
        "type": st.just("output_text"),
        "text": texts,
        "annotations": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("url_citation"),
                    "end_index": counts,
                    "start_index": counts,
                    "title": texts,
                    "url": texts,
                }
            ),
            max_size=2,
        ),
    },
    optional={
        "logprobs": st.lists(
            tokens.map(lambda one: {**one, "bytes": one["bytes"] or []}), max_size=2
        )
    },
)
items = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "status": statuses,
            "content": st.lists(
                output_texts
                | st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
                max_size=2,
            ),
        },
        optional={"phase": st.sampled_from(["commentary", "final_answer"])},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("reasoning"),
            "summary": st.lists(
                st.fixed_dictionaries({"type": st.just("summary_text"), "text": texts}), max_size=2
            ),
        },
        optional={
            "content": st.lists(
                st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": texts}),
                max_size=2,
            ),
            "encrypted_content": maybe(texts),
        },
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "name": names,
            "arguments": texts,
            "status": statuses,
        }
    ),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "name": names, "input": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("web_search_call"),
            "status": st.sampled_from(["completed", "failed"]),
            "action": st.fixed_dictionaries({"type": st.just("search"), "query": texts}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("code_interpreter_call"),
            "status": st.just("completed"),
            "code": maybe(texts),
            "container_id": names,
            "outputs": st.none(),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("mcp_call"),
            "name": names,
            "server_label": names,
            "arguments": texts,
            "output": maybe(texts),
            "status": st.sampled_from(["completed", "failed"]),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("image_generation_call"), "status": st.just("completed"), "result": names}
    ),
)


def _identified(found: list[Tree]) -> list[Tree]:
    made = []
    for number, one in enumerate(found):
        more = {"id": f"item_{number}"}
        if one["type"] in ("function_call", "custom_tool_call"):
            more["call_id"] = f"call_{number}"
        made.append({**more, **one})
    return made


responses = st.fixed_dictionaries(
    {
        "id": names.map("resp_{}".format),
        "object": st.just("response"),
        "created_at": st.integers(1, 2_000_000_000),
        "status": st.just("completed"),
        "error": st.none(),
        "incomplete_details": st.none(),
        "instructions": maybe(texts),
        "metadata": st.just({}),
        "model": names,
        "output": st.lists(items, max_size=4).map(_identified),
        "parallel_tool_calls": st.booleans(),
        "temperature": st.just(1.0),
        "tool_choice": st.just("auto"),
        "tools": st.just([]),
        "top_p": st.just(1.0),
        "usage": st.fixed_dictionaries(
            {
                "input_tokens": counts,
                "input_tokens_details": st.just({"cached_tokens": 0, "cache_write_tokens": 0}),
                "output_tokens": counts,
                "output_tokens_details": st.just({"reasoning_tokens": 0}),
                "total_tokens": counts,
            }
        ),
    }
)
