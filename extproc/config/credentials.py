"""How a provider learns who asks: a key from Envoy's environment, one from a file that is kept
fresh, or AWS's signature.

Three forms, because Envoy reads each at another place: a variable where a header is added, a file
only as a secret, which a filter injects, and AWS's credentials in the filter that signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from extproc.config.gateway import Gateway, KeyHeader, Provider
from extproc.config.parts import Node, extension
from extproc.config.urls import Origin

CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie")
"""Headers of clients that say who they are: never a provider's business."""
SIGNING: Final = "envoy.filters.http.aws_request_signing"
AWS_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
NO_METADATA: Final = "AWS_EC2_METADATA_DISABLED"
"""`true` keeps Envoy from asking the instance it runs on for credentials, and from logging that
nobody answered."""
KEY_FILTERS: Final = ("tollgate.strip-keys", "tollgate.key")
"""Filters of a level that take the caller's credentials away and add the gateway's key."""
_HEADERS: Final[Mapping[str, KeyHeader]] = {
    "openai": "authorization",
    "azure": "api-key",
    "anthropic": "x-api-key",
    "gemini": "x-goog-api-key",
    "vertex": "authorization",
    "bedrock": "authorization",
    "cohere": "authorization",
}
_SECRET: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type


def signs(provider: Provider) -> bool:
    """Requests are signed for AWS; with a key Bedrock takes that instead."""
    return provider.dialect == "bedrock" and provider.key_env is None and provider.key_file is None


def late(provider: Provider) -> bool:
    """A filter says who asks, so nothing may touch those headers after it."""
    return provider.key_file is not None or signs(provider)


def key_headers(provider: Provider) -> list[Node]:
    """The provider's key, from Envoy's environment, in place of whatever the client sent."""
    if provider.key_env is None:
        return []
    header, prefix = _form(provider)
    return [
        {
            "header": {"key": header, "value": f"{prefix}%ENVIRONMENT({provider.key_env})%"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
    ]


def callers_header(provider: Provider) -> KeyHeader | None:
    """The header in which the provider takes a caller's own key. None: it takes none. A signature
    is Envoy's to make, and Google's tokens hold for an hour and for one project, the gateway's."""
    if signs(provider) or provider.dialect == "vertex":
        return None
    return _header(provider)


def _header(provider: Provider) -> KeyHeader:
    return provider.key_header or _HEADERS[provider.dialect]


def _form(provider: Provider) -> tuple[str, str]:
    header = _header(provider)
    return header, "Bearer " if header == "authorization" else ""


def _strip(provider: Provider) -> Node:
    """What is removed before a filter that says who asks. The route would do it after, and take
    that filter's own headers away."""
    removed: list[Node] = [{"remove": one} for one in CREDENTIALS]
    if signs(provider):
        removed.append({"remove_on_match": {"key_matcher": {"prefix": "x-amz-"}}})
    return extension(
        "tollgate.strip-keys",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        {"mutations": {"request_mutations": removed}},
    )


def filters(name: str, provider: Provider, folder: Path | None) -> list[Node]:
    """The filter that says who asks, after all that changes the request, and before it the one
    that takes away what the client said. `folder` is where the files of secrets stand."""
    if signs(provider):
        return [_strip(provider), _signing(provider)]
    if provider.key_file is None or folder is None:
        return []
    return [_strip(provider), _injector(name, provider, folder)]


def _signing(provider: Provider) -> Node:
    node: Node = {
        "service_name": "bedrock",
        "region": provider.region,
        # The name is a part of what is signed, and the route sets it only afterwards.
        "host_rewrite": Origin.parse(provider.url).authority,
        # Beside host, date, token and body. What a proxy on the way may change is not signed.
        "match_included_headers": [{"exact": "content-type"}],
    }
    if provider.profile is not None:
        node["credential_provider"] = {
            "custom_credential_provider_chain": True,
            "credentials_file_provider": {"profile": provider.profile},
        }
    return extension(
        SIGNING, "extensions.filters.http.aws_request_signing.v3.AwsRequestSigning", node
    )


def _injector(name: str, provider: Provider, folder: Path) -> Node:
    header, prefix = _form(provider)
    generic: Node = {
        "credential": {
            "name": name,
            "sds_config": {
                "path_config_source": {"path": str(folder / secret_file(name))},
                "resource_api_version": "V3",
            },
        },
        "header": header,
    }
    if prefix:
        generic["header_value_prefix"] = prefix
    return extension(
        "tollgate.key",
        "extensions.filters.http.credential_injector.v3.CredentialInjector",
        {
            "overwrite": True,
            "credential": extension(
                "envoy.http.injected_credentials.generic",
                "extensions.http.injected_credentials.generic.v3.Generic",
                generic,
            ),
        },
    )


def local_reply(provider: Provider) -> Node | None:
    """A file that has no key yet is this level's trouble, not the client's: the next one serves."""
    if provider.key_file is None:
        return None
    expression = "response.code_details == 'failed_to_inject_credential'"
    accept = {
        "extension_filter": extension(
            "cel",
            "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            {"expression": expression},
        )
    }
    return {"mappers": [{"filter": accept, "status_code": 503}]}


def secret_file(name: str) -> str:
    """The file that tells Envoy where a provider's key is."""
    return f"secret-{name}.yaml"


def secrets(gateway: Gateway) -> dict[str, Node]:
    """Every such file, by its name. They hold no key, but the place of one: Envoy watches it."""
    used = {one.provider for one in gateway.targets.values()}
    return {
        secret_file(name): {
            "@type": _SECRET,
            "name": name,
            "generic_secret": {"secret": {"filename": one.key_file}},
        }
        for name, one in gateway.providers.items()
        if one.key_file is not None and name in used
    }
