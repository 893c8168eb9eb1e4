"""Chains of embeddings: vectors of two models do not compare, whatever their length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extproc.catalogue import Catalogue, load
from extproc.config.configuration import Configuration, policy_at
from extproc.config.findings import Finding
from extproc.config.tree import At
from extproc.policy import Level, TargetPolicy

_FEATURE = "embeddings"
_Found = tuple[str, TargetPolicy]


def one_model(config: Configuration) -> Iterator[Finding]:
    """Of each virtual host."""
    for host, policy in config.hosts:
        yield from mixed(policy_at(host).get("chains"), policy.chains, policy.targets)


def mixed(
    at: At, chains: Mapping[str, list[Level]], targets: Mapping[str, TargetPolicy]
) -> Iterator[Finding]:
    """The findings, for both forms of configuration. `at` is where the chains stand."""
    catalogue: Catalogue | None = None
    for name, levels in chains.items():
        members = [
            (target, targets[target]) for level in levels for target in level if target in targets
        ]
        if len(members) > 1:
            catalogue = catalogue or load()
            yield from _chain(at.get(name), members, catalogue)


def _chain(at: At, members: list[_Found], catalogue: Catalogue) -> Iterator[Finding]:
    vectors = [one for one in members if _makes(one[1], catalogue)]
    if not vectors:
        return
    first, model = vectors[0][0], vectors[0][1].model
    for name, policy in members:
        if _plain(policy.model) == _plain(model):
            continue
        if _makes(policy, catalogue) is False:
            message = (
                f"'{first}' makes embeddings and '{name}' does not: no request suits both; "
                "make it two chains"
            )
        else:
            message = (
                f"holds embeddings of two models, '{model}' ({first}) and '{policy.model}' "
                f"({name}): their vectors do not compare; keep one model"
            )
        yield at.say(message, "embedding-chain")
        return


def _makes(policy: TargetPolicy, catalogue: Catalogue) -> bool | None:
    """The target's model makes embeddings; None: nothing is known of it, so it may."""
    features = policy.features
    if features is None:
        known = catalogue.find(policy.system, policy.model)
        if known is None or known.features is None:
            return None
        return _FEATURE in known.features
    return _FEATURE in features


def _plain(model: str) -> str:
    """A model's name without its owner's, as routers of several write it, and without a tag that
    says nothing: `openai/text-embedding-3-small`, `bge-m3:latest`."""
    return model.rpartition("/")[2].removesuffix(":latest").lower()


RULES = (one_model,)
