"""The same gateway with the simulator in place of every provider that has no key."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.config.gateway import Gateway, Provider
from extproc.config.urls import system_of


def simulated(gateway: Gateway, env: Mapping[str, str], ports: Mapping[str, int]) -> Gateway:
    """Point providers whose `key_env` is not in `env`, or who have none, at 127.0.0.1.

    `ports` says where the simulator speaks for a provider, by its name, else by its dialect. A
    provider that is in neither is left as it is. `key_env` stays: Envoy then sends whatever the
    variable holds. Targets of a replaced provider are marked, so that scripts pass through.
    """
    replaced: dict[str, Provider] = {}
    for name, provider in gateway.providers.items():
        if provider.key_env is not None and env.get(provider.key_env):
            continue
        port = ports.get(name) or ports.get(provider.dialect)
        if port is not None:
            replaced[name] = msgspec.structs.replace(
                provider, url=f"http://127.0.0.1:{port}", system=system_of(name, provider)
            )
    return msgspec.structs.replace(
        gateway,
        providers={**gateway.providers, **replaced},
        targets={
            name: msgspec.structs.replace(one, simulator=True) if one.provider in replaced else one
            for name, one in gateway.targets.items()
        },
    )
