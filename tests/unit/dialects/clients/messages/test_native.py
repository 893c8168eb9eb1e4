"""A body for a target that speaks the Messages API: what was sealed for others stays behind."""

import json
from typing import Any

from extproc.dialects.clients.messages import for_native, thoughts
from tests.unit.dialects.clients.messages.driver import (
    GEMINI,
    answer,
    assistant,
    body,
    call,
    shapes,
    text,
    user,
    whole,
)

OWN = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
SEALED = {"type": "thinking", "thinking": "Hm.", "signature": thoughts.seal([GEMINI])}


def messages(given: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(for_native(given))["messages"]
    return found


def test_a_body_without_seals_is_the_same() -> None:
    given = body(user(text("x")), assistant(OWN, text("y")))
    assert for_native(given) is given


def test_a_user_who_speaks_of_seals_is_heard() -> None:
    given = body(user(text("What is tollgate.1.?")), {"role": "user", "content": "tollgate.1.x"})
    assert json.loads(for_native(given)) == json.loads(given)


def test_seals_stay_behind_and_the_rest_goes_on() -> None:
    redacted = {"type": "redacted_thinking", "data": thoughts.seal([GEMINI])}
    assert messages(
        body(
            user(text("x")),
            assistant(SEALED, OWN, redacted, text("y")),
            assistant(SEALED),
            user(text("z")),
        )
    ) == [user(text("x")), assistant(OWN, text("y")), user(text("z"))]


def test_what_another_provider_answered_can_be_told_to_claude() -> None:
    web = {"start_index": 0, "end_index": 5, "title": "T", "url": "https://x"}
    extra = {"google": {"thought_signature": "Z2Vt"}}
    blocks = shapes(
        whole(
            answer(
                "tool_calls",
                content="Paris.",
                reasoning_content="Hm.",
                reasoning_details=[GEMINI],
                annotations=[{"type": "url_citation", "url_citation": web}],
                tool_calls=[call("t1", "f", "{}", extra_content=extra)],
            )
        )
    )
    (message,) = messages(body(assistant(*blocks)))
    assert message["content"] == [
        {"type": "text", "text": "Paris"},
        {"type": "text", "text": ".", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]


def test_claudes_own_citations_stay() -> None:
    own = {"type": "web_search_result_location", "encrypted_index": "abc", "url": "https://x"}
    foreign = {**own, "encrypted_index": thoughts.seal()}
    (message,) = messages(body(assistant(text("x", citations=[own, foreign]))))
    assert message["content"][0]["citations"] == [own]
