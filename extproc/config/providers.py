"""What a provider's dialect asks of it: which fields go with it, and which may be told from the
address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from extproc.config.findings import Path, suggest
from extproc.config.gateway import Provider, Target
from extproc.config.urls import SYSTEM_OF_DIALECT, Origin
from extproc.dialects.openai.servers import servers

_FIELDS: Final[Mapping[str, str]] = {
    "server": "openai",
    "api_version": "azure",
    "project": "vertex",
    "location": "vertex",
    "region": "bedrock",
    "profile": "bedrock",
}
"""Fields of a provider that only one dialect has a meaning for."""
_KEYED: Final = ("azure", "vertex")
"""Dialects whose every server asks for a key; OpenAI's is also spoken by one's own machine."""
_API_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?")
"""`2024-10-21`, `2025-04-01-preview`."""
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_LOCATION: Final = re.compile(r"[a-z]+-[a-z]+\d+|us|eu|global")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{3,61}")
"""An id or a number; older ones have a domain in front."""


class Mistake(NamedTuple):
    """A field of a provider or target, what is wrong with it, and the rule it breaks."""

    path: Path
    message: str
    rule: str


def completed(name: str, provider: Provider) -> Provider:
    """The provider with all that its address tells. What is said wins."""
    origin = Origin.parse(provider.url)
    dialect = provider.dialect
    told: dict[str, str | None] = {
        "system": origin.system or SYSTEM_OF_DIALECT.get(dialect, name),
        "server": origin.server if dialect == "openai" else None,
        "region": origin.region if dialect == "bedrock" else None,
        "location": origin.location if dialect == "vertex" else None,
    }
    open_ = {key: one for key, one in told.items() if getattr(provider, key) is None}
    return msgspec.structs.replace(provider, **open_)


def mistakes(provider: Provider, *, passed: bool = False) -> Iterator[Mistake]:
    """What does not go with the provider's dialect, or is missing for it. `passed`: callers bring
    keys of their own, on every route."""
    yield from _misplaced(provider)
    yield from _keys(provider, passed=passed)
    yield from _spelling(provider)
    if provider.dialect in ("vertex", "bedrock"):
        yield from _place(provider)


def target_mistakes(target: Target, provider: Provider) -> Iterator[Mistake]:
    """What of a target does not go with its provider's dialect."""
    if target.deployment is not None and provider.dialect != "azure":
        message = f"only azure has deployments, and '{target.provider}' speaks {provider.dialect}"
        yield Mistake(("deployment",), message, "misplaced-field")
    elif target.deployment is not None and not re.fullmatch(r"[\w.-]+", target.deployment):
        message = f"'{target.deployment}' is not a name; use letters, digits, '.', '_' and '-'"
        yield Mistake(("deployment",), message, "bad-name")


def _misplaced(provider: Provider) -> Iterator[Mistake]:
    for field, dialect in _FIELDS.items():
        if getattr(provider, field) is not None and provider.dialect != dialect:
            message = f"only {dialect} has it, and this provider speaks {provider.dialect}"
            yield Mistake((field,), message, "misplaced-field")
    known = servers()
    if provider.server is not None and provider.server not in known:
        message = f"no server '{provider.server}'{suggest(provider.server, known)}"
        yield Mistake(("server",), message, "unknown-server")


def _keys(provider: Provider, *, passed: bool) -> Iterator[Mistake]:
    if provider.key_env is not None and provider.key_file is not None:
        message = "stands beside key_env; one of them has the key"
        yield Mistake(("key_file",), message, "key-twice")
    if provider.key_env is None and provider.key_file is None:
        if provider.dialect in _KEYED and not (passed and provider.dialect != "vertex"):
            message = f"{provider.dialect} needs a key; say key_env: VARIABLE or key_file: PATH"
            yield Mistake((), message, "missing-key")
        if provider.key_header is not None and not passed:
            message = "there is no key to send; say key_env or key_file"
            yield Mistake(("key_header",), message, "missing-key")
    elif provider.dialect == "bedrock" and provider.profile is not None:
        message = "requests carry a key then and are not signed; leave one of them out"
        yield Mistake(("profile",), message, "key-twice")


def _spelling(provider: Provider) -> Iterator[Mistake]:
    for field, pattern, rule, wanted in (
        ("api_version", _API_VERSION, "bad-api-version", "a version; write it as 2024-10-21"),
        ("region", _REGION, "bad-place", "an AWS region, e.g. us-east-1"),
        ("location", _LOCATION, "bad-place", "a location, e.g. us-central1, eu or global"),
        ("project", _PROJECT, "bad-place", "the id of a project"),
    ):
        value = getattr(provider, field)
        if value is not None and not pattern.fullmatch(value):
            yield Mistake((field,), f"'{value}' is not {wanted}", rule)


def _place(provider: Provider) -> Iterator[Mistake]:
    try:
        origin = Origin.parse(provider.url)
    except ValueError:
        return  # It is reported as what it is.
    if provider.dialect == "vertex":
        if provider.project is None:
            yield Mistake((), "vertex needs the id of a project; say project: ID", "missing-place")
        if provider.location is None and origin.location is None:
            message = "vertex needs a location, and the address names none; say location: global"
            yield Mistake((), message, "missing-place")
    elif provider.region is None and origin.region is None:
        message = "bedrock needs a region, and the address names none; say region: us-east-1"
        yield Mistake((), message, "missing-place")
