"""`/v1/responses` when providers fail, when input is wrong, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import Json, Running
from tests.e2e.figures import figures
from tests.e2e.levels import dollars, nanodollars, post, scripted

pytestmark = pytest.mark.e2e


@pytest.fixture
def sdk(gateway: Running) -> Iterator[OpenAI]:
    with gateway.openai() as found:
        yield found


SOME = ("gpt-five", "claude-sonnet", "gemini-three", "bedrock-claude", "command", "llama")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", SOME)
def test_errors(target: str, streamed: bool, sdk: OpenAI) -> None:
    def fails(**script: Any) -> None:
        sdk.responses.create(
            model=target, input="Hello", stream=streamed, extra_headers=scripted(**script)
        )

    with pytest.raises(openai.RateLimitError) as limited:
        fails(error="rate_limit", retry_after=9)
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after"] == "9"
    with pytest.raises(openai.BadRequestError, match="canary"):
        fails(error="invalid_request", message="canary")
    with pytest.raises(openai.InternalServerError) as broken:
        fails(error="server")
    assert broken.value.code == "no_provider_available"
    # Half an event after thinking has gone out is for `test_streams_that_fail_half_way`.
    half = [] if streamed and target == "gpt-five" else ["truncated_json"]
    for garbage in ("html", "empty", "binary", *half):
        with pytest.raises(openai.InternalServerError):
            fails(garbage=garbage)


HALF: tuple[tuple[Json, str], ...] = (
    ({"error_at": 2}, "server_error"),
    ({"silence": 2}, "provider_stalled"),
    ({"stop_early": 2}, "provider_cut"),
)


@pytest.mark.parametrize("target", SOME)
def test_streams_that_fail_half_way(target: str, sdk: OpenAI) -> None:
    """The last event says so, as OpenAI's own stream would; the SDK's helper raises."""
    asked: Any = {"model": target, "input": "Hello"}
    for script, code in HALF:
        headers = scripted(text="one two three four", **script)
        events = list(sdk.responses.create(stream=True, extra_headers=headers, **asked))
        deltas = [one.delta for one in events if one.type == "response.output_text.delta"]
        assert "".join(deltas).split() == ["one", "two"]
        last = events[-1]
        assert last.type in ("error", "response.failed")
        assert (last if last.type == "error" else last.response.error).code == code
        assert [one.sequence_number for one in events] == list(range(len(events)))
        with sdk.responses.stream(extra_headers=headers, **asked) as stream:
            for _ in stream:
                pass
            with pytest.raises(RuntimeError):
                stream.get_final_response()


@pytest.mark.parametrize("asked", [{"input": 3}, {"input": "x", "temperature": 9}, {"input": []}])
def test_input_that_is_wrong(asked: Json, gateway: Running) -> None:
    answer = post(gateway, "/v1/responses", {"model": "claude-sonnet", **asked})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == list(asked)[-1]
    assert gateway.asked() == []


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", ["azure-gpt", "claude-sonnet", "bedrock-claude", "command"])
def test_what_is_counted(target: str, streamed: bool, gateway: Running) -> None:
    before = figures(gateway)
    answer = post(gateway, "/v1/responses", {"model": target, "input": "Hello", "stream": streamed})
    assert answer.status_code == 200, answer.text
    billed = gateway.asked()[0]["billed"]
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    cost = nanodollars(target, billed)
    assert line["cost_nanousd"] == cost
    assert (line["input_tokens"], line["output_tokens"]) == (billed["input"], billed["output"])
    after = figures(gateway)
    name = "tollgate_cost_nanodollars_total"
    assert after.sum(name, target=target) - before.sum(name, target=target) == cost
    if streamed:
        (comment,) = [one for one in answer.text.splitlines() if one.startswith(": tollgate")]
        words = dict(one.split("=") for one in comment.split()[2:])
        assert dollars(words["cost"]) == cost
