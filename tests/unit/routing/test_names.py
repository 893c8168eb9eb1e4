from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import ClientError
from extproc.policy import HostPolicy, RoutePolicy, TargetPolicy
from extproc.routing.names import MOST_MODELS, Names


def target(model: str) -> TargetPolicy:
    return TargetPolicy(provider="p", system="openai", dialect="openai", model=model)


HOST = HostPolicy(
    chains={"flagship": [{"a": 1}, {"b": 1}], "cheap": [{"c": 3, "d": 1}]},
    targets={"a": target("m-a"), "b": target("m-b"), "c": target("m-c"), "d": target("m-c")},
)


def names(**route: Any) -> Names:
    return Names(RoutePolicy(route="r", chain="flagship", **route), HOST)


def test_a_name_is_a_chain_a_target_or_a_model_of_one_target() -> None:
    every = names()
    assert every.levels("flagship", None) == [{"a": 1}, {"b": 1}]
    assert every.levels("b", None) == [{"b": 1}]
    assert every.levels("m-b", None) == [{"b": 1}]
    assert every.levels("auto", None) == [{"a": 1}, {"b": 1}]


def test_a_model_that_two_targets_serve_is_no_name() -> None:
    with pytest.raises(ClientError) as caught:
        names().levels("m-c", None)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_a_route_with_names_of_its_own_allows_no_other() -> None:
    some = names(models={"gpt-4o": "cheap"})
    assert some.levels("gpt-4o", None) == [{"c": 3, "d": 1}]
    assert some.levels("cheap", None) == [{"c": 3, "d": 1}]
    assert some.levels("flagship", None)
    for name in ("a", "m-a", "gpt-5"):
        with pytest.raises(ClientError):
            some.levels(name, None)


def test_a_star_takes_what_has_no_other_meaning() -> None:
    every = names(models={"*": "cheap", "mine": "b"})
    assert every.levels("never-heard-of", None) == [{"c": 3, "d": 1}]
    assert every.levels("mine", None) == [{"b": 1}]
    assert every.levels("a", None) == [{"a": 1}]
    assert "*" not in dict(every.listed())


def test_models_of_a_request_are_a_chain_without_repeats() -> None:
    every = names()
    assert every.levels("b", ["flagship", "cheap"]) == [{"b": 1}, {"a": 1}, {"c": 3, "d": 1}]
    assert every.levels("b", ["b", "a"]) == [{"b": 1}, {"a": 1}]


def test_a_name_not_allowed_in_models_is_named() -> None:
    with pytest.raises(ClientError) as caught:
        names().levels("a", ["b", "nobody"])
    assert caught.value.param == "models[1]"


def test_models_are_bounded() -> None:
    with pytest.raises(ClientError) as caught:
        names().levels("a", ["a"] * (MOST_MODELS + 1))
    assert caught.value.status == 400


def test_a_long_name_is_shown_in_part() -> None:
    with pytest.raises(ClientError) as caught:
        names().levels("x" * 10_000, None)
    assert len(caught.value.message) < 300


def test_the_chain_of_a_request_is_called_by_its_own_name() -> None:
    some = names(models={"gpt-4o": "cheap", "*": "flagship", "mine": "b"})
    called = {
        name: some.chain(name, None)
        for name in ("flagship", "cheap", "gpt-4o", "auto", "anything", "mine", "b", "m-b")
    }
    assert called == {
        "flagship": "flagship",
        "cheap": "cheap",
        "gpt-4o": "cheap",
        "auto": "flagship",
        "anything": "flagship",
        "mine": "b",
        "b": "b",
        "m-b": "b",
    }
    assert some.chain("b", ["flagship"]) == "models"
