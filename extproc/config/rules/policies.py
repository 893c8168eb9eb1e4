"""Tollgate's own metadata: route, virtual host and target policies."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc.config.configuration import Configuration, chain_of, policy_at
from extproc.config.findings import Finding, Severity, suggest
from extproc.config.tree import At
from extproc.policy import HostPolicy, RoutePolicy, TargetPolicy

_APART = ("target", "cluster")
"""Fields in which the two places of a target's policy differ."""


def readable(config: Configuration) -> Iterator[Finding]:
    """Every policy fits its schema, and none is missing."""
    yield from config.policy_findings


def chains(config: Configuration) -> Iterator[Finding]:
    """Chains name targets, routes name chains."""
    shared = {host.path: policy for host, policy in config.hosts}
    for host, policy in config.hosts:
        yield from _targets_exist(policy_at(host), policy)
        yield from _levels_exist(config, policy_at(host), policy)
    for host, route, rule in config.rules:
        if host.path in shared:
            yield from _chains_exist(policy_at(route), rule, shared[host.path])


def _targets_exist(at: At, policy: HostPolicy) -> Iterator[Finding]:
    for name, levels in policy.chains.items():
        for index, level in enumerate(levels):
            for target in level:
                if target not in policy.targets:
                    message = f"no target '{target}'{suggest(target, policy.targets)}"
                    yield at.get("chains", name, index).say(message, "missing-target")


def _levels_exist(config: Configuration, at: At, policy: HostPolicy) -> Iterator[Finding]:
    if config.remote:
        return
    names = config.cluster_names
    for name, target in policy.targets.items():
        if target.cluster not in names:
            found = at.get("targets", name, "cluster")
            message = f"no cluster '{target.cluster}'{suggest(target.cluster, names)}"
            yield found.say(message, "missing-cluster")


def _chains_exist(at: At, rule: RoutePolicy, policy: HostPolicy) -> Iterator[Finding]:
    if rule.chain not in policy.chains:
        message = f"no chain '{rule.chain}'{suggest(rule.chain, policy.chains)}"
        yield at.get("chain").say(message, "missing-chain")
    known = [*policy.chains, *policy.targets]
    for alias, choice in rule.models.items():
        if choice not in known:
            message = f"no chain or target '{choice}'{suggest(choice, known)}"
            yield at.get("models", alias).say(message, "missing-chain")


def static_chains(config: Configuration) -> Iterator[Finding]:
    """The route's own levels are those of its chain: they serve when the service names none."""
    shared = {host.path: policy for host, policy in config.hosts}
    for host, route, rule in config.rules:
        policy = shared.get(host.path)
        if policy is None or rule.chain not in policy.chains:
            continue
        groups = chain_of(route).get("priority_groups")
        said = [{one.get("cluster_name").text for one in group.get("clusters")} for group in groups]
        wanted = [
            {policy.targets[one].cluster for one in level if one in policy.targets}
            for level in policy.chains[rule.chain]
        ]
        if said != wanted:
            message = f"the levels differ from those of chain '{rule.chain}' in the virtual host"
            yield groups.say(message, "chain-differs")


def same_targets(config: Configuration) -> Iterator[Finding]:
    """What the gateway filter believes of a target is what the target's filter is told."""
    told = {policy.target: (manager, policy) for manager, policy in config.targets}
    for host, policy in config.hosts:
        for name, believed in policy.targets.items():
            at = policy_at(host).get("targets", name)
            found = told.get(name)
            if found is None:
                if not config.remote:
                    yield at.say("no internal listener is this target", "target-differs")
                continue
            for key in _different(believed, found[1]):
                said = msgspec.json.encode(getattr(found[1], key)).decode()
                message = f"differs from what the target's own route says ({said})"
                yield at.get(key).say(message, "target-differs")


def _different(one: TargetPolicy, other: TargetPolicy) -> list[str]:
    fields = [field.name for field in msgspec.structs.fields(TargetPolicy)]
    return [key for key in fields if key not in _APART and getattr(one, key) != getattr(other, key)]


def prices(config: Configuration) -> Iterator[Finding]:
    """Without a price the cost of a request is unknown."""
    for manager, policy in config.targets:
        route = next((route for _, route in manager.routes), manager.table)
        yield from no_price(policy_at(route), policy)


def no_price(at: At, policy: TargetPolicy) -> Iterator[Finding]:
    """The finding, for both forms of configuration. `at` is the target."""
    from extproc.catalogue import load  # noqa: PLC0415 - it reads its tables

    if policy.price is not None:
        return
    known = load().find(policy.system, policy.model)
    if known is None or known.price is None:
        message = (
            f"no price is known of '{policy.model}' at {policy.system}: its cost is unknown; "
            "say price: {input: …, output: …}"
        )
        yield at.get("model").say(message, "no-price", Severity.WARNING)


RULES = (readable, chains, static_chains, same_targets, prices)
