"""What a client's `model` means on one route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from extproc.errors import ClientError
from extproc.policy import HostPolicy, Level, RoutePolicy

AUTO: Final = "auto"
ANY: Final = "*"
OWN: Final = "models"
"""What the chain of a request is called that names several models."""
MOST_MODELS: Final = 8
"""Names in a request's `models`: more would only make the walk longer than anyone waits."""


def unknown_model(name: str, param: str = "model") -> ClientError:
    """404 as OpenAI answers it; a name of any length is shown in part."""
    shown = name if len(name) <= 100 else name[:100] + "…"  # noqa: PLR2004 - one line of text
    message = f"The model '{shown}' does not exist or this route does not allow it."
    return ClientError(404, "invalid_request_error", "model_not_found", message, param)


class Names:
    """The names one route allows, and the levels each stands for."""

    def __init__(self, route: RoutePolicy, host: HostPolicy) -> None:
        self._host = host
        self._default = route.chain
        self._aliases = dict(route.models)
        known = self._everything()
        aliases = {name: known[to] for name, to in route.models.items() if to in known}
        self._any = aliases.pop(ANY, None)
        default = known.get(route.chain)
        if route.models and self._any is None:
            allowed = set(route.models.values()) | {route.chain}
            known = {name: levels for name, levels in known.items() if name in allowed}
        self._levels: Mapping[str, Sequence[Level]] = {**known, **aliases}
        if default is not None:
            self._levels = {**self._levels, AUTO: default}

    def _everything(self) -> dict[str, Sequence[Level]]:
        # A chain shadows a target of the same name, and both shadow a provider's model name.
        host = self._host
        models: dict[str, list[str]] = {}
        for name, target in host.targets.items():
            models.setdefault(target.model, []).append(name)
        only = {model: [{names[0]: 1}] for model, names in models.items() if len(names) == 1}
        targets: dict[str, Sequence[Level]] = {name: [{name: 1}] for name in host.targets}
        return {**only, **targets, **host.chains}

    def levels(self, model: str, models: Sequence[str] | None) -> Sequence[Level]:
        """The levels of a request, in order. Raises ClientError for a name not allowed."""
        if not models:
            return self._one(model, "model")
        if len(models) > MOST_MODELS:
            message = f"'models' has {len(models)} names; at most {MOST_MODELS} are allowed."
            raise ClientError(400, "invalid_request_error", None, message, "models")
        found: list[Level] = []
        if model and model not in models:
            found.extend(self._one(model, "model"))
        for at, name in enumerate(models):
            found.extend(one for one in self._one(name, f"models[{at}]") if one not in found)
        return found

    def _one(self, name: str, param: str) -> Sequence[Level]:
        levels = self._levels.get(name) or self._any
        if not levels:
            raise unknown_model(name, param)
        return levels

    def chain(self, model: str, models: Sequence[str] | None) -> str:
        """What the chain is called that a request gets: a chain's or a target's name, the route's
        own for `auto`, and `OWN` for a request that brings several names."""
        if models:
            return OWN
        if model not in self._levels:
            model = ANY
        name = self._default if model == AUTO else self._aliases.get(model, model)
        if name in self._host.chains:
            return name
        levels = self._levels.get(name, ())
        return next(iter(levels[0])) if len(levels) == 1 and len(levels[0]) == 1 else name

    def listed(self) -> list[tuple[str, str]]:
        """Every name allowed with who owns it, sorted: what `GET /v1/models` shows."""
        owners = {name: target.provider for name, target in self._host.targets.items()}
        return sorted((name, owners.get(name, "tollgate")) for name in self._levels)

    def __contains__(self, name: str) -> bool:
        """Whether `name` is listed."""
        return name in self._levels
