from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from extproc.catalogue import Model, load
from extproc.errors import Reason
from extproc.policy import HostPolicy, RoutePolicy, TargetPolicy
from extproc.routing.fit import misfit
from extproc.routing.route import Demand, Route

NOTHING: frozenset[str] = frozenset()


def target(cluster: str, **more: object) -> TargetPolicy:
    return TargetPolicy(
        provider="p",
        system="nobody",
        dialect="openai",
        model=cluster,
        cluster=cluster,
        **more,  # type: ignore[arg-type]
    )


HOST = HostPolicy(
    chains={"main": [{"small": 1, "large": 2}, {"plain": 1}]},
    targets={
        "small": target("t-small", context_window=100),
        "large": target("t-large"),
        "plain": target("t-plain", features=()),
    },
)
ROUTE = Route(RoutePolicy(route="r", chain="main"), HOST, load())
LEVELS = HOST.chains["main"]


def asking(*needs: str) -> Callable[[TargetPolicy], Demand]:
    return lambda _: Demand(frozenset(needs))


def test_every_level_that_fits_is_in_the_chain_with_its_weights() -> None:
    plan = ROUTE.plan(LEVELS, 10, None, asking())
    assert plan.levels == ((("small", 1), ("large", 2)), (("plain", 1),))
    assert ROUTE.chain(plan.levels) == ((("t-small", 1), ("t-large", 2)), (("t-plain", 1),))
    assert plan.left_out == ()


def test_a_target_that_cannot_leaves_its_level_to_the_others() -> None:
    plan = ROUTE.plan(LEVELS, 101, None, asking("tools"))
    assert plan.levels == ((("large", 2),),)
    assert [(name, refusal.reason) for name, refusal in plan.left_out] == [
        ("small", Reason.CONTEXT),
        ("plain", Reason.FEATURE),
    ]


def test_what_the_dialect_cannot_carry_is_left_out() -> None:
    plan = ROUTE.plan(
        LEVELS, 1, None, lambda target: Demand(NOTHING, f"audio: not in {target.dialect}")
    )
    assert plan.levels == ()
    assert {refusal.detail for _, refusal in plan.left_out} == {"audio: not in openai"}


def test_unknown_facts_refuse_nothing() -> None:
    assert misfit(Model(), frozenset({"tools"}), 10**9, 10**9) is None


def test_output_asked_for_counts_up_to_what_the_model_gives() -> None:
    model = Model(context_window=100, output_cap=20)
    assert misfit(model, NOTHING, 80, 10**9) is None
    assert misfit(model, NOTHING, 81, 10**9) is not None
    assert misfit(model, NOTHING, 100, None) is None


def test_levels_at_one_provider_are_those_of_the_first() -> None:
    at = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}
    targets = {
        name: structs.replace(target(f"t-{name}"), provider=provider)
        for name, provider in at.items()
    }
    route = Route(RoutePolicy(route="r", chain="main"), HostPolicy(targets=targets), load())
    assert route.at_one_provider([{"a1": 1}, {"b1": 1}, {"a2": 1, "b2": 3}]) == [
        {"a1": 1},
        {"a2": 1},
    ]
    assert route.at_one_provider([{"b1": 9, "a1": 1}, {"b2": 1}]) == [{"a1": 1}]
    assert route.at_one_provider([]) == []
