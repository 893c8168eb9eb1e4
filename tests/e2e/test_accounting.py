"""What is counted: the provider's record, the answer, the access log and /metrics are one."""

from __future__ import annotations

import hashlib
import json
import math
import re
import socket
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import httpx2 as httpx
import pytest

from extproc import catalogue
from tests.e2e.conftest import Running, poll
from tests.e2e.figures import Figures, figures
from tests.e2e.sockets import CHAT, request

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
TARGETS = {
    "claude-sonnet": ("anthropic", "claude-sonnet-4-5"),
    "gpt-4-turbo": ("openai", "gpt-4-turbo"),
    "patient": ("openai", "gpt-4o"),
    "gemini-pro": ("gcp.gemini", "gemini-2.5-pro"),
    "llama": ("local", "llama-3.1-8b-instruct"),
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
USAGE_COMMENT = re.compile(
    r"^: tollgate(?: cost=(\S+))? input=(\d+) output=(\d+)( estimated)?$", re.MULTILINE
)
KINDS = {
    "input": "input",
    "output": "output",
    "cached_input": "cached",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
}
"""Our words for tokens, and the simulator's."""


def nanodollars(target: str, usage: Json) -> int:
    """What the catalogue says it costs, worked out anew."""
    if target == "llama":
        return 0
    model = catalogue.load().find(*TARGETS[target])
    assert model is not None
    price = model.price
    assert price is not None
    if price.long is not None and usage["input"] > price.above:
        price = price.long
    plain = usage["input"] - usage["cached"] - usage["cache_write"]
    exact: int = (
        plain * price.input
        + usage["cached"] * price.cached_input
        + usage["cache_write"] * price.cache_write
        + (usage["output"] - usage["reasoning"]) * price.output
        + usage["reasoning"] * price.reasoning
    )
    return math.floor(Fraction(exact, 1_000_000) + Fraction(1, 2))


def dollars(value: str | int) -> int:
    """Decimal dollars as nano-dollars; exact or not at all."""
    text = str(value)
    assert re.fullmatch(r"\d+(\.\d+)?", text), text
    nano = Fraction(text) * 10**9
    assert nano.denominator == 1
    return int(nano)


def chunks(answer: httpx.Response) -> list[Json]:
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line, parse_float=str) for line in lines]


@dataclass(slots=True)
class Sum:
    """What should have been counted meanwhile."""

    requests: int = 0
    cost: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def add(self, usage: Json, cost: int) -> None:
        self.requests += 1
        self.cost += cost
        for kind, theirs in KINDS.items():
            self.tokens[kind] += usage[theirs]

    def check(self, before: Figures, after: Figures) -> None:
        def rise(name: str, **labels: str) -> float:
            return after.sum(name, **labels) - before.sum(name, **labels)

        for kind in ("input", "output"):
            label = {"gen_ai_token_type": kind}
            assert rise("gen_ai_client_token_usage_sum", **label) == self.tokens[kind]
            assert rise("gen_ai_client_token_usage_count", **label) == self.requests
        for kind, tokens in self.tokens.items():
            assert rise("tollgate_tokens_total", kind=kind, estimated="false") == tokens
        assert rise("tollgate_tokens_total", estimated="true") == 0
        assert rise("tollgate_cost_nanodollars_total") == self.cost
        assert rise("tollgate_requests_total", status="200") == self.requests


def check_body(answer: httpx.Response, usage: Json, cost: int) -> None:
    """Tokens and cost where the client sees them."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        reported = answer.json()["usage"]
        assert dollars(answer.headers["x-tollgate-cost"]) == cost
        check_usage(reported, usage)
        return
    assert "x-tollgate-cost" not in answer.headers
    reported = [one["usage"] for one in chunks(answer) if one.get("usage")]
    comments = USAGE_COMMENT.findall(answer.text)
    if reported:
        assert len(reported) == 1
        assert dollars(reported[0]["cost"]) == cost
        check_usage(reported[0], usage)
        assert comments == []
    else:
        ((told, into, out, estimated),) = comments
        assert (dollars(told), int(into), int(out), estimated) == (
            cost,
            usage["input"],
            usage["output"],
            "",
        )


def check_usage(reported: Json, usage: Json) -> None:
    assert reported["prompt_tokens"] == usage["input"]
    assert reported["completion_tokens"] == usage["output"]
    assert reported["total_tokens"] == usage["input"] + usage["output"]
    assert reported["prompt_tokens_details"]["cached_tokens"] == usage["cached"]
    reasoning = (reported.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    assert reasoning == usage["reasoning"]


def check_log(line: Json, target: str, usage: Json, cost: int) -> None:
    assert line["target"] == target
    assert line["provider"] == TARGETS[target][0]
    assert line["model"] == TARGETS[target][1]
    assert line["input_tokens"] == usage["input"]
    assert line["output_tokens"] == usage["output"]
    assert line["cached_tokens"] == usage["cached"]
    assert line["cost_nanousd"] == cost
    assert line["estimated"] == "false"
    assert line["cache"] == "bypass"
    assert line["status"] == 200


FIGURES: dict[str, Json] = {
    "drawn": {},
    "plain": {"input": 1, "output": 1},
    "cached": {"input": 1023, "output": 77, "cached": 1001},
    "long": {"input": 250_001, "output": 33, "cached": 3},
}
SHAPES: dict[str, Json] = {
    "whole": {},
    "stream": {"stream": True},
    "stream with usage": {"stream": True, "stream_options": {"include_usage": True}},
}
# Cached, written and reasoning tokens only where the provider has a word for them.
ALL_KINDS = {"input": 907, "output": 503, "cached": 401, "reasoning": 211}
WRITTEN = {"input": 907, "output": 503, "cached": 401, "cache_write": 307}


def test_everybody_counts_the_same(gateway: Running) -> None:
    """To the unit, over whole answers, streams, tools and walks, of all four providers."""
    before, total = figures(gateway), Sum()
    served: list[tuple[str, str, Json, int]] = []

    def settle(answer: httpx.Response, target: str) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-tollgate-target"] == target
        usage = gateway.asked()[-1]["billed"]
        cost = nanodollars(target, usage)
        check_body(answer, usage, cost)
        total.add(usage, cost)
        served.append((answer.headers["x-tollgate-request-id"], target, usage, cost))
        gateway.forget()

    for target in TARGETS:
        for shape in SHAPES.values():
            for given in FIGURES.values():
                script: Json = {"usage": given} if given else {}
                settle(gateway.chat(target, script=script, **shape), target)
            settle(gateway.chat(target, "Use a tool: look", tools=[TOOL], **shape), target)
    for target in ("patient", "gemini-pro", "llama"):
        for shape in SHAPES.values():
            settle(gateway.chat(target, script={"usage": ALL_KINDS}, **shape), target)
    for shape in SHAPES.values():
        settle(gateway.chat("claude-sonnet", script={"usage": WRITTEN}, **shape), "claude-sonnet")
        failing: Json = {"by": {"claude-sonnet-4-5": {"error": "rate_limit"},
                                "gpt-4-turbo": {"first_event_error": True, "status": 500},
                                "*": {}}}  # fmt: skip
        settle(gateway.chat(script=failing, **shape), "gemini-pro")
    for script in ({"error": "invalid_request"}, {"status": 500}, {"error": "content_filter"}):
        assert gateway.chat("gpt-4-turbo", script=script).status_code in {400, 503}
    assert gateway.raw(b"{}").status_code == 400

    total.check(before, figures(gateway))
    for identity, target, usage, cost in served:
        check_log(gateway.access_log(identity), target, usage, cost)
    assert len(served) == total.requests == 5 * 3 * 5 + 9 + 6


def test_an_unknown_price_is_unknown_and_not_nothing(gateway: Running) -> None:
    before = figures(gateway)
    whole = gateway.chat("unpriced")
    assert "x-tollgate-cost" not in whole.headers
    stream = gateway.chat("unpriced", stream=True)
    assert [told for told, *_ in USAGE_COMMENT.findall(stream.text)] == [""]
    asked_for = gateway.chat("unpriced", stream=True, stream_options={"include_usage": True})
    (usage,) = [one["usage"] for one in chunks(asked_for) if one.get("usage")]
    assert "cost" not in usage
    after = figures(gateway)
    label = {"target": "unpriced", "reason": "price"}
    unknown = "tollgate_cost_unknown_total"
    assert after.sum(unknown, **label) - before.sum(unknown, **label) == 3
    assert not [
        one
        for one in after.samples
        if one.name == "tollgate_cost_nanodollars_total" and one.labels["target"] == "unpriced"
    ]
    for answer in (whole, stream, asked_for):
        line = gateway.access_log(answer.headers["x-tollgate-request-id"])
        assert line["cost_nanousd"] is None
        assert line["input_tokens"] > 0


def test_nothing_is_a_price_too(gateway: Running) -> None:
    """Self-hosted: it costs nothing, which is known."""
    assert gateway.chat("llama").headers["x-tollgate-cost"] == "0"


@pytest.mark.parametrize("shape", SHAPES)
def test_usage_that_the_provider_does_not_give_is_estimated(shape: str, gateway: Running) -> None:
    before = figures(gateway)
    text = "word " * 400
    script = {"usage": "none", "text": "answer " * 100}
    answer = gateway.chat("llama", text, script=script, **SHAPES[shape])
    after = figures(gateway)
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["estimated"] == "true"
    # Four characters a token, for the prompt and for what was answered.
    assert 400 <= line["input_tokens"] <= 600
    assert 140 <= line["output_tokens"] <= 260
    for name in ("gen_ai_client_token_usage_sum", "gen_ai_client_token_usage_count"):
        assert after.sum(name) == before.sum(name)
    for kind in ("input", "output"):
        label = {"kind": kind, "estimated": "true", "target": "llama"}
        name = "tollgate_tokens_total"
        assert after.sum(name, **label) - before.sum(name, **label) == line[f"{kind}_tokens"]
    if shape != "whole":
        assert USAGE_COMMENT.findall(answer.text)[-1][3] == " estimated"


@pytest.mark.parametrize("target", ["claude-sonnet", "gpt-4-turbo"])
def test_an_aborted_stream_is_billed_apart(target: str, gateway: Running) -> None:
    before = figures(gateway)
    text = " ".join(f"word{number:05}" for number in range(2000))
    script = json.dumps({"text": text, "events": 2000, "rate": 400})
    body = json.dumps(
        {"model": target, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    ).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request(CHAT, body, f"x-sim-script: {script}"))
        seen = b""
        while seen.count(b"word") < 20:
            seen += connection.recv(65536)
    found = re.search(rb"x-tollgate-request-id: (\w+)", seen)
    assert found is not None
    aborted = {"target": target}

    def rise(name: str, **labels: str) -> float:
        return figures(gateway).sum(name, **labels) - before.sum(name, **labels)

    poll(lambda: rise("tollgate_requests_aborted_total", **aborted) == 1, what="the abort counted")
    poll(lambda: gateway.asked()[0]["disconnected"], what="the provider left alone")
    assert rise("gen_ai_client_token_usage_sum") == 0
    # What was produced: at least what the client saw (19 words of 9 letters), not the whole.
    out = rise("tollgate_tokens_total", kind="output", estimated="true", **aborted)
    assert 19 * 9 // 4 <= out < len(text) // 4
    assert rise("tollgate_tokens_total", kind="input", estimated="true", **aborted) > 0
    assert rise("tollgate_cost_nanodollars_total", **aborted) > 0
    line = gateway.access_log(found[1].decode())
    assert line["target"] == target
    assert "DC" in line["flags"]


def test_time_to_first_token(gateway: Running) -> None:
    before = figures(gateway)
    stream = gateway.chat("gpt-4-turbo", stream=True, script={"ttft": 0.25, "events": 5})
    whole = gateway.chat("gpt-4-turbo", script={"ttft": 0.1})
    after = figures(gateway)
    line = gateway.access_log(stream.headers["x-tollgate-request-id"])
    assert 250 <= line["ttft_ms"] <= line["duration_ms"] + 1
    assert gateway.access_log(whole.headers["x-tollgate-request-id"])["ttft_ms"] is None
    name = "gen_ai_server_time_to_first_token_seconds"
    assert after.sum(f"{name}_count") - before.sum(f"{name}_count") == 1
    rise = after.sum(f"{name}_sum") - before.sum(f"{name}_sum")
    assert abs(rise * 1000 - line["ttft_ms"]) < 0.1
    per_token = "gen_ai_server_time_per_output_token_seconds_count"
    assert after.sum(per_token) - before.sum(per_token) == 1


# --- whose it was -------------------------------------------------------------------------


def hashed(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:16]


USER = "canary-user@example.com"
SOURCES: dict[str, tuple[dict[str, str], Json]] = {
    "ours": (
        {"x-tollgate-user": USER, "x-tollgate-feature": "search", "x-tollgate-team": "red"},
        {},
    ),
    "OpenAI's": ({}, {"user": USER, "metadata": {"feature": "search", "team": "red"}}),
    "OpenAI's metadata alone": (
        {},
        {"metadata": {"user": USER, "feature": "search", "team": "red", "other": "x"}},
    ),
    "Portkey's": (
        {"x-portkey-metadata": json.dumps({"_user": USER, "feature": "search", "team": "red"})},
        {},
    ),
    "Helicone's": (
        {
            "helicone-user-id": USER,
            "Helicone-Property-Feature": "search",
            "Helicone-Property-Team": "red",
        },
        {},
    ),
    "all, of which ours win": (
        {
            "x-tollgate-user": USER,
            "x-tollgate-feature": "search",
            "x-portkey-metadata": '{"_user": "p", "feature": "p", "team": "p"}',
            "helicone-user-id": "h",
        },
        {"user": "o", "metadata": {"team": "red"}},
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_attribution(source: str, gateway: Running) -> None:
    headers, body = SOURCES[source]
    before = figures(gateway)
    answers = [
        gateway.chat("gpt-4-turbo", headers=headers, stream=stream, **body)
        for stream in (False, True)
    ]
    after = figures(gateway)
    lines = [gateway.access_log(one.headers["x-tollgate-request-id"]) for one in answers]
    for line in lines:
        assert (line["feature"], line["team"]) == ("search", "red")
        assert line["user_hash"] == lines[0]["user_hash"]
        assert re.fullmatch("[0-9a-f]{16}", line["user_hash"])
        assert line["user_hash"] != hashed(USER), "anyone can check a guess"
    label = {"feature": "search", "target": "gpt-4-turbo"}
    name = "tollgate_cost_nanodollars_total"
    cost = sum(line["cost_nanousd"] for line in lines)
    assert after.sum(name, **label) - before.sum(name, **label) == cost


def test_attribution_of_what_was_refused(gateway: Running) -> None:
    answer = gateway.chat("all-small", "x" * 20_000, headers={"x-tollgate-team": "blue"})
    assert answer.status_code == 400
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["team"] == "blue"
    assert line["refusals"] == "small:context_length"


def test_attribution_that_is_odd(gateway: Running) -> None:
    """Bounded, printable, and never a reason to fail."""
    headers = {
        "x-tollgate-feature": "f" * 5000,
        "x-tollgate-team": "t\t\x85é",
        "x-portkey-metadata": "{not json",
        **{f"x-tollgate-label-{number}": "x" for number in range(40)},
    }
    answer = gateway.http.post(
        f"{gateway.url}/chat/completions",
        json={"model": "llama", "messages": [{"role": "user", "content": "Hello"}]},
        headers={name.encode(): value.encode("latin-1") for name, value in headers.items()},
    )
    assert answer.status_code == 200
    line = gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert line["feature"] == "f" * 256
    assert line["team"].startswith("t")
    assert "\x85" not in line["team"]


# --- what is written nowhere --------------------------------------------------------------


def test_no_prompt_answer_or_key_is_written_down_and_users_in_the_ledger_only(
    gateway: Running,
) -> None:
    prompt, said, key, user = (f"canary-{name}-4711" for name in ("prompt", "said", "key", "user"))
    tool = {"type": "function", "function": {"name": f"f_{prompt}", "description": prompt}}
    secrets = {
        "authorization": f"Bearer {key}",
        "x-api-key": key,
        "cookie": key,
        "x-tollgate-user": user,
    }
    for target in TARGETS:
        for shape in SHAPES.values():
            script = {"text": said, "thinking": said}
            gateway.chat(target, prompt, script=script, headers=secrets, tools=[tool], **shape)
            broken = {"error_at": 2, "text": said * 3, "message": said}
            gateway.chat(target, prompt, script=broken, headers=secrets, **shape)
            failing = {"error": "invalid_request", "message": f"{prompt} {said}"}
            gateway.chat(target, prompt, script=failing, headers=secrets, **shape)
            garbage = {"garbage": "truncated_json", "text": said}
            gateway.chat(target, prompt, script=garbage, headers=secrets, **shape)
    bad = b'{"model": "llama", "messages": [{"role": "canary-prompt-4711", "content": 1}]}'
    assert gateway.raw(bad, **secrets).status_code == 400
    assert gateway.raw(b"{canary-prompt-4711", **secrets).status_code == 400
    assert gateway.raw(bad, **{"content-type": "canary-prompt-4711"}).status_code == 415
    url = f"{gateway.url}/chat/completions?key={key}"
    last = gateway.http.post(url, content=bad.replace(b"canary", b"user"), headers=secrets)
    gateway.access_log(last.headers["x-tollgate-request-id"])
    for file in gateway.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            written = file.read_bytes()
            # Whose a request was is what the ledger is for.
            ledger = gateway.folder / "data" in file.parents
            for canary in (prompt, said, key) if ledger else (prompt, said, key, user):
                assert canary.encode() not in written, (file, canary)
    admin = f"http://127.0.0.1:{gateway.envoy_admin}"
    shown = [gateway.metrics(), *(gateway.http.get(f"{admin}/{page}").text
                                  for page in ("stats", "config_dump", "clusters"))]  # fmt: skip
    assert not [text for text in shown if "-4711" in text]
