"""What goes up to a provider, and what comes back from it."""

from __future__ import annotations

import pytest

from extproc.filters.provider_headers import (
    foreign,
    model_header,
    private,
    unwanted,
    upward,
    vendor_of,
    warning_header,
)


def test_what_comes_back_can_be_read() -> None:
    assert ("accept-encoding", "identity") in upward("/v1/x")


@pytest.mark.parametrize(
    "name",
    [
        *("x-tollgate-user", "x-sim-script", "helicone-user-id"),
        *("x-tollgate-cache-ttl", "helicone-cache-seed", "x-portkey-cache-namespace"),
        *("cf-aig-cache-key", "cf-aig-skip-cache"),
    ],
)
def test_what_is_for_the_gateway_stays_with_it(name: str) -> None:
    assert private(name)
    assert not private("x-stainless-lang")


def test_a_warning_is_a_header_whatever_it_repeats() -> None:
    assert warning_header(["seed", "top_k (a)"]) == "seed; top_k (a)"
    assert warning_header(["a\r\nset-cookie: x", "é"]) == "a??set-cookie: x; ?"
    assert len(warning_header(["x" * 100] * 100)) == 1024


def test_a_models_name_is_a_header_whatever_a_provider_calls_it() -> None:
    assert model_header("gpt-4o/x:1") == "gpt-4o/x:1"
    assert model_header("a\r\nset-cookie: x\0") == "a??set-cookie: x?"
    assert len(model_header("m" * 200_000)) == 256


def test_a_vendors_headers_are_foreign_to_others() -> None:
    assert foreign("anthropic-beta", "")
    assert foreign("openai-beta", vendor_of("messages"))
    assert not foreign("anthropic-beta", vendor_of("count_tokens"))
    assert not foreign("openai-beta", vendor_of("chat"))
    assert not foreign("content-type", "")


@pytest.mark.parametrize("name", ["set-cookie", "openai-organization", "x-tollgate-cost"])
def test_a_client_does_not_see_our_account(name: str) -> None:
    assert unwanted(name)
    assert not unwanted("x-ratelimit-limit-requests")


@pytest.mark.parametrize("name", ["x-tollgate-cache-ttl", "x-tollgate-cache-kind"])
def test_what_an_answer_says_of_its_age_reaches_the_gateways_filter(name: str) -> None:
    assert not unwanted(name)


@pytest.mark.parametrize("name", ["x-tollgate-cache", "x-tollgate-cache-scope", "x-tollgate-tags"])
def test_a_provider_says_nothing_else_of_the_cache(name: str) -> None:
    assert unwanted(name)
