"""Who asks: what Envoy has to verify and to send, so that the service can say."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.config.callers import UNFIT, reachable
from extproc.config.configuration import Configuration, Manager, chain_of, policy_at
from extproc.config.credentials import KEY_FILTERS
from extproc.config.findings import Finding
from extproc.config.gateway import Identity
from extproc.config.identity import (
    JWT_AUTHN,
    SOURCE,
    needed_attributes,
    policies_of,
    trusted_headers,
)
from extproc.config.parts import is_loopback
from extproc.config.proofs import mistakes
from extproc.config.tree import At
from extproc.headers import I_CREDENTIAL, NO_KEY
from extproc.policy import IdentityPolicy, JwtIdentity

_FILTER = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_INJECTOR = KEY_FILTERS[1]


def _identities(config: Configuration) -> Iterator[tuple[At, IdentityPolicy]]:
    """Every identity of the configuration, with its place."""
    for host, policy in config.hosts:
        for one in policies_of([policy.identity]):
            yield policy_at(host).get("identity"), one
    for _, route, rule in config.rules:
        for one in policies_of([rule.identity]):
            yield policy_at(route).get("identity"), one


def open_identity(config: Configuration) -> Iterator[Finding]:
    """`identity: open` asks nobody who they are: for trying out, on loopback."""
    if not any(is_public(one) for _, one in _identities(config)):
        return
    for manager in config.of_role("gateway"):
        address = manager.listener.get("address", "socket_address", "address")
        if address.text and not is_loopback(address.text):
            yield public_identity(address, address.text)


def is_public(identity: Identity | IdentityPolicy) -> bool:
    """Anybody is let in, and it was not said that this is meant."""
    return identity.open and not identity.beyond_loopback


def public_identity(place: At, address: str) -> Finding:
    """The finding, for both forms of configuration."""
    message = (
        f"identity is open, and anyone who reaches {address} spends your money; listen on "
        "127.0.0.1, or say identity: {open: true, beyond_loopback: true}"
    )
    return place.say(message, "open-identity")


def proofs(config: Configuration) -> Iterator[Finding]:
    """Proofs that prove nothing, or that nobody can bring."""
    tiers = {one for _, policy in config.hosts for one in policy.tiers}
    for at, policy in _identities(config):
        for one in mistakes(policy, tiers):
            yield at.get(*one.path).say(one.message, one.rule)


def facts(config: Configuration) -> Iterator[Finding]:
    """Facts of the connection, and headers of a gateway in front."""
    policies = [one for _, one in _identities(config)]
    for manager in config.of_role("gateway"):
        found = manager.filter.get("request_attributes")
        names = [one.text for one in found]
        for name in needed_attributes(policies):
            if name not in names:
                message = f"the service is not told {name}, by which it knows who asks; add it"
                yield found.say(message, "attributes")
        for name in trusted_headers(policies):
            yield from _trusted(manager, name)
        if SOURCE in needed_attributes(policies):
            yield from _own_address(manager)


def _own_address(manager: Manager) -> Iterator[Finding]:
    """The address by which the service decides is that of the connection."""
    hops = manager.node.get("xff_num_trusted_hops")
    others = manager.node.get("original_ip_detection_extensions")
    for at, said in ((hops, hops.number), (others, list(others))):
        if said:
            message = "a header says where requests come from, and with it who asks; leave it out"
            yield at.say(message, "identity-sources")


def _trusted(manager: Manager, name: str) -> Iterator[Finding]:
    allowed = manager.filter.get("forward_rules", "allowed_headers")
    if allowed and not any(_matches(one, name) for one in allowed.get("patterns")):
        message = f"the service is not sent {name}, by which it knows who asks; add it"
        yield allowed.get("patterns").say(message, "identity-header")
    for host, route in manager.routes:
        places = (manager.table, host, route)
        removed = [one.text.lower() for at in places for one in at.get("request_headers_to_remove")]
        if chain_of(route) and name not in removed:
            message = f"providers get {name}; add it"
            yield host.get("request_headers_to_remove").say(message, "identity-header")
            return


def _matches(pattern: At, name: str) -> bool:
    prefix = pattern.get("prefix").text
    return pattern.get("exact").text.lower() == name or bool(prefix and name.startswith(prefix))


def certificates(config: Configuration) -> Iterator[Finding]:
    """A client shows its certificate when it is asked for it, and it is held against its issuer."""
    if not any(one.mtls for _, one in _identities(config)):
        return
    for manager in config.of_role("gateway"):
        for chain in manager.listener.get("filter_chains"):
            common = chain.get("transport_socket", "typed_config", "common_tls_context")
            if common.get("validation_context_sds_secret_config"):
                continue
            context = common.get("combined_validation_context", "default_validation_context")
            if not context:
                context = common.get("validation_context")
            by = ("trusted_ca", "ca_certificate_provider_instance")
            if not any(context.get(one) for one in by):
                message = (
                    "anybody's certificate would do, or none is asked for; say {filename: PATH}"
                )
                yield context.get("trusted_ca").say(message, "client-ca")
            lenient = context.get("trust_chain_verification")
            if lenient.text == "ACCEPT_UNTRUSTED":
                message = "anybody's certificate would do; say VERIFY_TRUST_CHAIN"
                yield lenient.say(message, "client-ca")


def tokens(config: Configuration) -> Iterator[Finding]:
    """Envoy verifies tokens, before the service is asked, and refuses nobody."""
    wanted = [
        (at.get("jwt", index), jwt)
        for at, policy in _identities(config)
        for index, jwt in enumerate(policy.jwt)
    ]
    if not wanted:
        return
    for manager in config.of_role("gateway"):
        forwarding = manager.filter.get("metadata_options", "forwarding_namespaces", "untyped")
        if JWT_AUTHN not in [one.text for one in forwarding]:
            message = f"the service is not told what a token says; add {JWT_AUTHN}"
            yield forwarding.say(message, "namespaces")
        found = _before(manager)
        if found is None:
            message = f"tokens are not verified; add {JWT_AUTHN} before the gateway's filter"
            yield manager.node.get("http_filters").say(message, "jwt-filter")
            continue
        yield from _clashes(found)
        yield from _demands(found)
        for at, jwt in wanted:
            yield from _verified(found, at, jwt)


def _before(manager: Manager) -> At | None:
    for one in manager.node.get("http_filters"):
        config = one.get("typed_config")
        if config.path == manager.filter.path:
            return None
        if config.get("@type").text.endswith(_FILTER):
            return config
    return None


def _clashes(found: At) -> Iterator[Finding]:
    """The last of two payloads under one name is taken for the other's."""
    seen: dict[str, str] = {}
    for provider in found.get("providers"):
        name = provider.get("payload_in_metadata")
        if name.text in seen:
            message = f"'{name.text}' is also where '{seen[name.text]}' leaves its payload"
            yield name.say(message, "jwt-payload")
        elif name.text:
            seen[name.text] = provider.key


def _demands(found: At) -> Iterator[Finding]:
    """Envoy's own 401 is in no client's format, and also for who has a key."""
    for rule in found.get("rules"):
        requires = rule.get("requires")
        alone = requires.get("allow_missing_or_failed")
        listed = requires.get("requires_any", "requirements")
        if requires and not alone and not any(one.get(alone.key) for one in listed):
            message = (
                "Envoy refuses requests itself, also of who has a key; "
                "say allow_missing_or_failed: {}"
            )
            yield requires.say(message, "jwt-filter")


def _verified(found: At, at: At, jwt: JwtIdentity) -> Iterator[Finding]:
    named = [
        one for one in found.get("providers") if one.get("payload_in_metadata").text == jwt.payload
    ]
    if not named:
        message = f"no provider of {JWT_AUTHN} leaves its payload under '{jwt.payload}'"
        yield at.get("payload").say(message, "jwt-filter")
        return
    provider = named[0]
    issuer = provider.get("issuer")
    if issuer.text != jwt.issuer:
        message = f"differs from the issuer that Envoy verifies ('{issuer.text}')"
        yield at.get("issuer").say(message, "jwt-filter")
    failed = provider.get("failed_status_in_metadata")
    if failed.text != jwt.payload:
        message = f"a token that does not hold passes for none; say {jwt.payload}"
        yield failed.say(message, "jwt-filter")
    forward = provider.get("forward")
    if forward.node is True:
        message = "a token that holds would pass for a caller's own key; say false"
        yield forward.say(message, "jwt-filter")
    if not list(provider.get("audiences")):
        message = "is empty: tokens that the issuer made for other services would be taken"
        yield provider.get("audiences").say(message, "jwt-audiences")


# --- callers' own keys --------------------------------------------------------------------


def caller_keys(config: Configuration) -> Iterator[Finding]:
    """A caller's own key goes to a provider that takes it, and ours stays here."""
    shared = {host.path: policy for host, policy in config.hosts}
    levels = {policy.target: manager for manager, policy in config.targets}
    asked: dict[str, None] = {}
    for host, route, rule in config.rules:
        policy = shared.get(host.path)
        if rule.credentials != "caller" or policy is None:
            continue
        if not _marks(route):
            message = (
                "who sends no key is served with ours; add "
                f"{{header: {{key: {I_CREDENTIAL}, value: '{NO_KEY}'}}, "
                "append_action: ADD_IF_ABSENT}"
            )
            yield route.get("request_headers_to_add").say(message, "caller-credentials")
        for name in reachable(policy.chains, policy.targets, rule):
            target = policy.targets.get(name)
            if target is not None and target.key_header is None:
                message = UNFIT.format(target=name)
                yield policy_at(route).get("credentials").say(message, "caller-credentials")
            elif target is not None:
                asked[name] = None
    for name in asked:
        if name in levels:
            yield from _apart(levels[name])


def _marks(route: At) -> bool:
    return any(
        one.get("header", "key").text.lower() == I_CREDENTIAL
        and one.get("append_action").text == "ADD_IF_ABSENT"
        for one in route.get("request_headers_to_add")
    )


def _apart(manager: Manager) -> Iterator[Finding]:
    """The level has a route of its own for callers' keys, before others, that adds none of ours."""
    for host, route in manager.routes:
        headers = route.get("match", "headers")
        if not any(one.get("name").text.lower() == I_CREDENTIAL for one in headers):
            message = f"a caller's key is replaced by ours; put a route that matches {I_CREDENTIAL}"
            yield route.say(f"{message} first", "caller-credentials")
            return
        for place in (manager.table, host, route):
            if list(place.get("request_headers_to_add")):
                message = "our key goes where the caller's should; leave it out here"
                yield place.get("request_headers_to_add").say(message, "caller-credentials")
        injects = [one.get("name").text for one in manager.node.get("http_filters")]
        config = route.get("typed_per_filter_config", _INJECTOR)
        if _INJECTOR in injects and config.get("disabled").node is not True:
            message = f"our key goes where the caller's should; disable {_INJECTOR} here"
            yield config.say(message, "caller-credentials")
        return


RULES = (open_identity, proofs, facts, certificates, tokens, caller_keys)
