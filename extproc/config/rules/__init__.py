"""What a configuration must have to work with Tollgate. One function a concern.

Each takes the whole configuration and yields findings; the name of the rule in a finding is
that of a fixture which shows it. Every rule says what goes wrong without it.
"""

from collections.abc import Callable, Iterable
from typing import Final

from extproc.config.configuration import Configuration
from extproc.config.findings import Finding
from extproc.config.rules import (
    cache,
    chains,
    clusters,
    edge,
    embeddings,
    filters,
    guard,
    identity,
    levels,
    limits,
    policies,
    signing,
)

Rule = Callable[[Configuration], Iterable[Finding]]

ALL: Final[tuple[Rule, ...]] = (
    *edge.RULES,
    *filters.RULES,
    *identity.RULES,
    *chains.RULES,
    *levels.RULES,
    *signing.RULES,
    *clusters.RULES,
    *policies.RULES,
    *limits.RULES,
    *guard.RULES,
    *cache.RULES,
    *embeddings.RULES,
)
