"""Routes that hand the caller's own key to the provider: which targets they lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from extproc.config.credentials import callers_header
from extproc.config.gateway import Gateway, Route
from extproc.config.providers import Mistake
from extproc.policy import Level, RoutePolicy

UNFIT = (
    "leads to '{target}', which takes no key of a caller's: Envoy signs its requests, or adds a "
    "token of the gateway's; give the route a chain and models without it"
)


def reachable(
    chains: Mapping[str, Sequence[Level]], targets: Iterable[str], route: Route | RoutePolicy
) -> list[str]:
    """The targets that requests of a route may get to, by its chain and its models."""
    choices = {route.chain, *route.models.values()} if route.models else {*chains, *targets}
    found: dict[str, None] = {}
    for name, levels in chains.items():
        if name in choices:
            found |= dict.fromkeys(target for level in levels for target in level)
    return [*found, *(one for one in targets if one in choices and one not in found)]


def unfit(gateway: Gateway, index: int) -> Iterator[Mistake]:
    """Targets of route `index` that a caller's own key is of no use to. All names must exist."""
    route = gateway.routes[index]
    if route.credentials != "caller":
        return
    for name in reachable(gateway.chains, gateway.targets, route):
        target = gateway.targets.get(name)
        provider = gateway.providers.get(target.provider) if target else None
        if provider is not None and callers_header(provider) is None:
            message = UNFIT.format(target=name)
            yield Mistake(("routes", index, "credentials"), message, "caller-credentials")
