"""What providers say of their ceilings."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc.dialects import load
from extproc.headers import TARGET_READS
from extproc.limits.feedback import EVERY, LONGEST, PAUSE, Feedback, corrections
from extproc.policy import Ceilings, TargetPolicy
from tests.unit.limits.test_ceilings import target

CASES = Path(__file__).parents[4] / "shared" / "cases"
EVERYTHING = Ceilings(rpm=1000, tpm=100_000, itpm=80_000, otpm=20_000, concurrent=50)
OWN = target(EVERYTHING)
SHARED = target(None, EVERYTHING)


def remaining(policy: TargetPolicy, headers: dict[str, str], status: int = 200) -> dict[str, float]:
    found = corrections(policy, status, headers)
    return {one.counter.key: one.remaining for one in found if one.remaining is not None}


def until(
    policy: TargetPolicy, status: int, headers: dict[str, str], wait: float | None = None
) -> dict[str, float]:
    found = corrections(policy, status, headers, wait)
    return {one.counter.key: one.until for one in found if one.until is not None}


ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "399",
    "anthropic-ratelimit-requests-reset": "2026-11-23T10:00:00Z",
    "anthropic-ratelimit-tokens-limit": "480000",
    "anthropic-ratelimit-tokens-remaining": "47000",
    "anthropic-ratelimit-input-tokens-limit": "400000",
    "anthropic-ratelimit-input-tokens-remaining": "39000",
    "anthropic-ratelimit-output-tokens-limit": "80000",
    "anthropic-ratelimit-output-tokens-remaining": "8000",
}
OPENAI = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "99",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-tokens": "1999",
    "x-ratelimit-reset-tokens": "1m3.5s",
}
MISTRAL = {
    "x-ratelimit-limit-tokens-minute": "5000000",
    "x-ratelimit-remaining-tokens-minute": "4999",
    "x-ratelimit-limit-req-minute": "720",
    "x-ratelimit-remaining-req-minute": "717",
}
FIREWORKS = {
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-remaining-tokens-prompt": "59000",
    "x-ratelimit-remaining-tokens-generated": "590",
}
COHERE = {"x-trial-endpoint-call-limit": "20", "x-trial-endpoint-call-remaining": "19"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (ANTHROPIC, {"rpm": 399, "tpm": 47_000, "itpm": 39_000, "otpm": 8000}),
        (OPENAI, {"rpm": 99, "tpm": 1999}),
        (MISTRAL, {"rpm": 717, "tpm": 4999}),
        (FIREWORKS, {"rpm": 599, "itpm": 59_000, "otpm": 590}),
        (COHERE, {"rpm": 19}),
        ({"x-ratelimit-remaining-requests": "0"}, {"rpm": 0}),
        ({"x-ratelimit-remaining-tokens": " 12.5 "}, {"tpm": 12.5}),
    ],
)
def test_what_is_left(headers: dict[str, str], expected: dict[str, float]) -> None:
    assert remaining(OWN, headers) == {f"t:t:{name}": value for name, value in expected.items()}


def test_every_header_that_is_read_reaches_the_filter() -> None:
    """Envoy sends no others than these."""
    for name in {
        **ANTHROPIC,
        **OPENAI,
        **MISTRAL,
        **FIREWORKS,
        "retry-after": "",
        "retry-after-ms": "",
    }:
        assert any(
            name.startswith(one.removesuffix("*")) if one.endswith("*") else name == one
            for one in TARGET_READS
        ), name


def test_a_ceiling_that_is_not_written_down_is_not_corrected() -> None:
    assert remaining(target(Ceilings(otpm=9000)), ANTHROPIC) == {"t:t:otpm": 8000}
    assert corrections(target(), 429, {**ANTHROPIC, "retry-after": "9"}) == []


def test_more_than_the_ceiling_corrects_nothing() -> None:
    assert remaining(target(Ceilings(rpm=50)), OPENAI) == {}


def test_the_least_of_two_holds() -> None:
    both = {"x-ratelimit-remaining-requests": "70", "x-ratelimit-remaining-req-minute": "7"}
    assert remaining(OWN, both) == {"t:t:rpm": 7}


def test_what_is_left_is_the_targets_own_where_it_has_that_ceiling() -> None:
    policy = target(Ceilings(rpm=500), EVERYTHING)
    assert remaining(policy, OPENAI) == {"t:t:rpm": 99, "p:p:tpm": 1999}


def test_a_models_limit_says_nothing_of_the_whole_key() -> None:
    """The key allows 1,000 requests, this model 10: other models have the rest."""
    model = {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "1"}
    assert remaining(SHARED, model) == {}
    assert remaining(OWN, model) == {"t:t:rpm": 1}
    key = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "1"}
    assert remaining(SHARED, key) == {"p:p:rpm": 1}


@pytest.mark.parametrize(
    ("status", "headers", "wait", "expected"),
    [
        (429, {"retry-after": "7"}, None, 7),
        (429, {"retry-after-ms": "250", "retry-after": "1"}, None, 0.25),
        (503, {"retry-after": "7"}, None, 7),
        (529, {"retry-after": "7"}, None, 7),
        (429, {"retry-after": "7"}, 34.07, 34.07),
        (429, {}, 34.07, 34.07),
        (429, {}, None, PAUSE),
        (429, {"retry-after": "soon"}, None, PAUSE),
        (429, {"retry-after": "99999999"}, None, LONGEST),
        (429, {}, math.nan, PAUSE),
    ],
)
def test_a_provider_that_says_no_is_left_alone(
    status: int, headers: dict[str, str], wait: float | None, expected: float
) -> None:
    policy = target(Ceilings(rpm=5, concurrent=2))
    assert until(policy, status, headers, wait) == {
        "t:t:rpm": expected,
        "t:t:concurrent": expected,
    }


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"retry-after": "7"}),
        (500, {"retry-after": "7"}),
        (503, {}),
        (529, {}),
        (429, {"retry-after": "0"}),
        (429, {"retry-after": "-3"}),
    ],
)
def test_and_otherwise_it_is_not(status: int, headers: dict[str, str]) -> None:
    assert until(OWN, status, headers) == {}


def test_a_no_is_about_the_key_only_where_the_target_has_no_ceilings() -> None:
    assert set(until(target(Ceilings(rpm=5), EVERYTHING), 429, {})) == {"t:t:rpm"}
    assert set(until(target(None, Ceilings(rpm=5)), 429, {})) == {"p:p:rpm"}


def test_a_no_and_what_is_left_come_together() -> None:
    [found] = corrections(
        target(Ceilings(rpm=50)), 429, {"retry-after": "3", "x-ratelimit-remaining-requests": "0"}
    )
    assert (found.remaining, found.until) == (0, 3)


QUOTA = (
    b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded","details":['
    b'{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":'
    b'"GenerateRequestsPerMinutePerProjectPerModel"}]},'
    b'{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"11.4s"}]}}'
)


@pytest.mark.parametrize(
    ("dialect", "headers", "body", "expected"),
    [
        ("gemini", {}, QUOTA, 11.4),
        ("vertex", {}, QUOTA, 11.4),
        ("bedrock", {"x-amzn-errortype": "ThrottlingException"}, b'{"message":"Slow"}', PAUSE),
        ("cohere", {}, b'{"message":"trial key"}', PAUSE),
        ("openai", {"retry-after": "20"}, b'{"error":{"code":"rate_limit_exceeded"}}', 20),
        ("azure", {"retry-after-ms": "1500"}, b'{"error":{"code":"429"}}', 1.5),
        ("anthropic", {"retry-after": "8"}, b'{"error":{"type":"rate_limit_error"}}', 8),
    ],
)
def test_what_each_provider_answers_at_its_limit(
    dialect: str, headers: dict[str, str], body: bytes, expected: float
) -> None:
    failure = load()[dialect].failure(429, headers, body)
    found = until(target(Ceilings(rpm=5)), 429, headers, failure.retry_after)
    assert found == {"t:t:rpm": expected}


# --- how often -------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_answers_that_went_well_only_some_are_heard() -> None:
    clock = Clock()
    feedback = Feedback(clock)
    other = target(EVERYTHING, name="other")
    assert feedback.heard(OWN, 200, OPENAI)
    assert not feedback.heard(OWN, 200, OPENAI)
    assert feedback.heard(other, 200, OPENAI)
    clock.now += EVERY
    assert feedback.heard(OWN, 200, OPENAI)


def test_a_no_is_always_heard() -> None:
    feedback = Feedback(Clock())
    assert feedback.heard(OWN, 200, OPENAI)
    for _ in range(3):
        assert feedback.heard(OWN, 429, {}, 5.0)


def test_an_answer_that_says_nothing_hides_none() -> None:
    feedback = Feedback(Clock())
    assert not feedback.heard(OWN, 200, {})
    assert feedback.heard(OWN, 200, OPENAI)
    assert not feedback.heard(target(), 429, {"retry-after": "1"})


def test_names_of_targets_do_not_pile_up() -> None:
    feedback = Feedback(Clock())
    for number in range(5000):
        assert feedback.heard(target(EVERYTHING, name=f"t{number}"), 200, OPENAI)
    assert len(feedback._last) <= 4096


# --- whatever comes --------------------------------------------------------------------------

NAMES = st.sampled_from(
    [*ANTHROPIC, *OPENAI, *MISTRAL, *FIREWORKS, *COHERE, "retry-after", "retry-after-ms"]
)
VALUES = (
    st.text(max_size=40)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(["", "-1", "1e9", "NaN", "inf", "0x10", "1_000", "٣", "1,000", "9" * 400])
)


@given(
    st.sampled_from([OWN, SHARED, target(Ceilings(rpm=5), EVERYTHING)]),
    st.integers(100, 599) | st.sampled_from([200, 429, 503, 529]),
    st.dictionaries(NAMES, VALUES),
    st.none() | st.floats(),
)
def test_no_header_does_harm(
    policy: TargetPolicy, status: int, headers: dict[str, str], wait: float | None
) -> None:
    for one in corrections(policy, status, headers, wait):
        for value in (one.remaining, one.until):
            assert value is None or (math.isfinite(value) and value >= 0)
        assert one.until is None or 0 < one.until <= LONGEST
        assert one.remaining is None or one.remaining < one.counter.most


def exchanges() -> Iterator[tuple[int, dict[str, str]]]:
    """Recorded answers of real providers: statuses and headers."""
    yaml = YAML(typ="safe", pure=True)
    for path in sorted(CASES.glob("**/cassettes/**/*.yaml")):
        if b"ratelimit" not in path.read_bytes().lower():
            continue
        tree: Any = yaml.load(path)
        for one in tree.get("interactions", ()):
            answer = one["response"]
            code = answer.get("code") or answer["status"]
            status = code["code"] if isinstance(code, dict) else code
            fields = {
                name.lower(): value[0] if isinstance(value, list) else value
                for name, value in answer.get("headers", {}).items()
            }
            if any("ratelimit" in name for name in fields):
                yield int(status), fields


@pytest.mark.skipif(not CASES.is_dir(), reason="the recorded exchanges are not at hand")
def test_what_real_providers_said_is_understood() -> None:
    vast = target(Ceilings(rpm=10**14, tpm=10**14, itpm=10**14, otpm=10**14))
    seen = 0
    for status, headers in exchanges():
        expected = {name for name in headers if "-remaining" in name and "project" not in name}
        found = remaining(vast, headers, status)
        assert bool(found) == bool(expected), headers
        seen += 1
        if seen == 40:
            break
    if not seen:
        pytest.skip("none of them has such headers")
