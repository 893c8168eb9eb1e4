"""The same gateway with the simulator in place of every provider that has no key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from extproc.config.credentials import AWS_VARIABLES, NO_METADATA, signs
from extproc.config.gateway import Gateway, Provider
from extproc.config.providers import completed

PLACEHOLDER_VARIABLE = "TOLLGATE_SIMULATED_KEY"
"""Where a simulated provider's key is that would otherwise be in a file."""
_AWS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""Variables by which Envoy finds AWS's credentials without asking anybody."""


def simulated(gateway: Gateway, env: Mapping[str, str], ports: Mapping[str, int]) -> Gateway:
    """Point providers whose key is not in `env` or in their file, or who have none, at 127.0.0.1.

    `ports` says where the simulator speaks for a provider, by its name, else by its dialect. A
    provider that is in neither is left as it is. `key_env` stays, and a file becomes
    `PLACEHOLDER_VARIABLE`: Envoy then sends whatever the variable holds. Requests to Bedrock stay
    signed. Targets of a replaced provider are marked, so that scripts pass through.
    """
    replaced: dict[str, Provider] = {}
    for name, provider in gateway.providers.items():
        if _has_key(provider, env):
            continue
        port = ports.get(name) or ports.get(provider.dialect)
        if port is not None:
            replaced[name] = _at(name, provider, port)
    return msgspec.structs.replace(
        gateway,
        providers={**gateway.providers, **replaced},
        targets={
            name: msgspec.structs.replace(one, simulator=True) if one.provider in replaced else one
            for name, one in gateway.targets.items()
        },
    )


def _has_key(provider: Provider, env: Mapping[str, str]) -> bool:
    if signs(provider):
        files = (env.get("AWS_SHARED_CREDENTIALS_FILE"), f"{env.get('HOME', '')}/.aws/credentials")
        return any(env.get(one) for one in _AWS) or any(
            one and Path(one).is_file() for one in files
        )
    if provider.key_file is not None:
        return Path(provider.key_file).is_file()
    return provider.key_env is not None and bool(env.get(provider.key_env))


def _at(name: str, provider: Provider, port: int) -> Provider:
    """The provider at the simulator. What its address told of it is kept."""
    return msgspec.structs.replace(
        completed(name, provider),
        url=f"http://127.0.0.1:{port}",
        key_file=None,
        key_env=provider.key_env if provider.key_file is None else PLACEHOLDER_VARIABLE,
        profile=None,
    )


def placeholders(providers: Iterable[Provider], value: str) -> dict[str, str]:
    """What Envoy's environment needs to send `value` where a real provider would get a key, or to
    sign with it: variable to value."""
    found: dict[str, str] = {}
    for provider in providers:
        if provider.key_env is not None:
            found[provider.key_env] = value
        if signs(provider):
            found |= dict.fromkeys(AWS_VARIABLES, value)
            found[NO_METADATA] = "true"
    return found


def keyless(provider: Provider) -> bool:
    """Nobody is asked for a key there."""
    return provider.key_env is None and provider.key_file is None and not signs(provider)
