"""A request's place in the queue: its class, how long it waits, and beside whom."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from extproc.limits import Asking
from extproc.limits.deadline import ready_to_wait
from extproc.limits.rules import Compiled
from extproc.limits.told import Told
from extproc.state.counters import Option, Place, Take

NOBODY: Final = "-"
"""The tenant, or feature, of requests that have none."""
MOST_COST: Final = 1e7
"""Tokens that a turn costs at most: more than any model reads and writes at once. What a client
asks for is not bounded by that, and beside the sum of such figures a plain turn's cost would be
lost to rounding."""
LONGEST_POOL: Final = 64
"""Characters of a pool's name; of longer ones a digest stands for it."""


def place_of(
    asking: Asking,
    compiled: Compiled,
    own: str | None,
    takes: Sequence[Take],
    options: Sequence[Option],
    *,
    cost: int,
    now: float,
    told: Told,
) -> Place | None:
    """Where a request waits that finds no room; None if it never does. `own`: the class that its
    key or tier has; `cost`: its tokens; `now`: epoch seconds. Raises ClientError for a deadline
    that cannot be read."""
    queue, ttl = compiled.queue, compiled.ttl
    if asking.deadline is not None:
        ttl = min(ttl, ready_to_wait(asking.deadline, now))
    limited = any(one.queue for one in takes)
    if ttl <= 0 or not (limited or _may_fill(options)):
        return None
    class_ = _class(asking, compiled, own, told)
    depths = queue.class_depth
    return Place(
        pool=_pool(takes, options),
        rank=queue.classes.index(class_),
        weight=float(queue.weights.get(class_, 1)) if queue.between == "weighted" else 0.0,
        tenant=_tenant(asking),
        feature=asking.attribution.feature or NOBODY,
        cost=min(float(max(1, cost)), MOST_COST),
        ttl=ttl,
        depth=queue.depth,
        class_depth=depths if isinstance(depths, int) else depths.get(class_, queue.depth),
        tenant_depth=queue.tenant_depth,
        feature_depth=queue.feature_depth,
        label=class_,
    )


def _may_fill(options: Sequence[Option]) -> bool:
    """All of them may be without room: the last has always some if it takes nothing."""
    return bool(options and options[-1].takes)


def _tenant(asking: Asking) -> str:
    """Whose turn it is; who has no tenant is his own, by his key or as a user."""
    caller = asking.caller
    if caller.tenant:
        return caller.tenant
    if caller.key:
        return f"key:{caller.key}"
    user = asking.attribution.user
    return f"user:{user}" if user else NOBODY


def _class(asking: Asking, compiled: Compiled, own: str | None, told: Told) -> str:
    """The priority class: what the request says, else its key or tier, the route, the queue. A
    digit is a class by its number: 0 is served first, and the last stands for all beyond it. What
    is no class is ignored."""
    classes = compiled.queue.classes
    said = asking.attribution.priority
    if said is not None:
        if said in classes:
            return said
        if len(said) == 1 and "0" <= said <= "9":
            return classes[min(int(said), len(classes) - 1)]
        told.decided("queue", "priority_ignored")
    for found in (own, compiled.priority):
        if found in classes:
            return found
    return compiled.queue.default


def _pool(takes: Sequence[Take], options: Sequence[Option]) -> str:
    """Requests that wait for the same levels, or, where a level has always room, for the same
    limits."""
    if _may_fill(options):
        text = "|".join(sorted(one.name for one in options))
    else:
        text = "#".join(one.counter.key for one in takes if one.queue)
    if len(text) <= LONGEST_POOL:
        return text
    return f"#{blake2b(text.encode(), digest_size=16).hexdigest()}"
