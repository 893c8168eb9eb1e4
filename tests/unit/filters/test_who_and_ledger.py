"""The gateway filter: who is let in, what is said of a request, what is written of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from extproc.filters.exchange import RequestBody, RequestHead
from extproc.identity import DENIED_AFTER
from extproc.records import Caller
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import STREAMS, chat, outer
from tests.unit.filters.test_gateway import ANSWER, POST, SERVED, Gateway

KEY = "tg-" + "k" * 50
KEYS: dict[str, Any] = {"identity": "keys"}


@pytest.fixture
def gateway() -> Gateway:
    found = Gateway()
    found.known.callers[KEY] = Caller(
        source="key",
        key="k1",
        tenant="acme",
        team="search",
        tier="pro",
        models=("main", "t-openai"),
        may_set=frozenset({"feature"}),
    )
    return found


async def ask(
    gateway: Gateway,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    key: str | None = KEY,
    host: dict[str, Any] = KEYS,
    **route: Any,
) -> Envoy:
    """A request with a key as a bearer token, as Envoy goes on with it."""
    sent = {name: value for name, value in POST.items() if name != "authorization"}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    envoy = Envoy(gateway.filter.open())
    await envoy.request({**sent, **(headers or {})}, body, outer(host, **route))
    return envoy


async def answered(envoy: Envoy) -> None:
    await envoy.head(200, {**SERVED, "content-type": "application/json"})
    await envoy.chunk(json.dumps(ANSWER).encode(), end=True)


def refused(envoy: Envoy) -> tuple[int, str]:
    assert envoy.answer is not None
    return envoy.answer.status, json.loads(envoy.answer.body)["error"]["code"]


async def test_a_key_opens_and_goes_no_further(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat())
    assert envoy.answer is None
    assert KEY not in str(envoy.headers)
    await answered(envoy)
    record, content = gateway.ledger.settled[0]
    assert (record.identity, record.key, record.tenant, record.tier) == (
        "key", "k1", "acme", "pro",
    )  # fmt: skip
    assert record.attribution.team == "search"
    assert content is None


@pytest.mark.parametrize("key", [None, "", "tg-wrong", "tg-" + "x" * 50, "Bearer"])
async def test_who_is_not_known_is_refused_before_the_body_and_not_recorded(
    gateway: Gateway, key: str | None
) -> None:
    begun = time.monotonic()
    envoy = await ask(gateway, chat(), key=key)
    assert refused(envoy)[0] == 401
    assert time.monotonic() - begun >= DENIED_AFTER * 0.9
    assert not gateway.ledger.settled
    assert not gateway.ledger.reserved
    counted = gateway.records.expose()[0].decode()
    assert 'tollgate_identities_total{identity="none",outcome=' in counted


async def test_a_refusal_is_in_the_clients_format(gateway: Gateway) -> None:
    sent = {":path": "/v1/messages", "anthropic-version": "2023-06-01", "x-api-key": "tg-wrong"}
    envoy = await ask(gateway, chat(), sent, key=None)
    assert envoy.answer is not None
    assert json.loads(envoy.answer.body)["error"]["type"] == "authentication_error"


async def test_a_model_that_the_key_may_not_use_is_403_and_costs_nothing(gateway: Gateway) -> None:
    begun = time.monotonic()
    envoy = await ask(gateway, chat(model="t-gemini"))
    assert refused(envoy) == (403, "model_not_allowed")
    assert time.monotonic() - begun >= DENIED_AFTER * 0.9
    assert not gateway.ledger.reserved
    record, _ = gateway.ledger.settled[0]
    assert (record.status, record.error_type, record.cost) == (403, "model_not_allowed", None)


async def test_one_name_of_several_that_is_not_allowed_refuses_all(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(models=["main", "t-gemini"]))
    assert refused(envoy) == (403, "model_not_allowed")


async def test_only_models_that_the_key_may_use_are_listed(gateway: Gateway) -> None:
    envoy = Envoy(gateway.filter.open())
    head = {":method": "GET", ":path": "/v1/models", "authorization": f"Bearer {KEY}"}
    await envoy.request_head(head, outer(KEYS))
    assert envoy.answer is not None
    listed = {one["id"] for one in json.loads(envoy.answer.body)["data"]}
    assert listed == {"main", "t-openai"}
    assert not gateway.ledger.settled


async def test_an_unknown_path_is_not_told_to_who_is_not_let_in(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(), {":path": "/v1/secret"}, key=None)
    assert refused(envoy)[0] == 401


async def test_a_tier_that_the_gateway_does_not_have_is_refused(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(), host={**KEYS, "tiers": {"free": {}}})
    assert refused(envoy) == (403, "tier_not_allowed")


async def test_what_the_caller_may_not_say_is_ignored_and_counted(gateway: Gateway) -> None:
    said = {"x-tollgate-user": "ceo", "x-tollgate-feature": "f", "x-tollgate-team": "finance"}
    envoy = await ask(gateway, chat(user="ceo"), said)
    await answered(envoy)
    whose = gateway.ledger.settled[0][0].attribution
    assert (whose.user, whose.feature, whose.team) == (None, "f", "search")
    counted = gateway.records.expose()[0].decode()
    assert 'tollgate_attribution_ignored_total{field="user"} 1.0' in counted
    assert 'tollgate_attribution_ignored_total{field="team"} 1.0' in counted


@pytest.mark.parametrize("body", [b"no json", chat(model="t-gemini"), chat(messages=5)])
async def test_what_is_refused_is_its_callers_all_the_same(gateway: Gateway, body: bytes) -> None:
    envoy = await ask(gateway, body, {"x-tollgate-feature": "f", "x-tollgate-user": "ceo"})
    assert envoy.answer is not None
    record, _ = gateway.ledger.settled[0]
    assert (record.attribution.team, record.attribution.feature) == ("search", "f")
    assert record.ignored == ("user",)


async def test_no_prompt_gets_into_a_record_as_the_name_of_a_model(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(model="tell me a story " * 10_000), host={"identity": "open"})
    await answered(envoy)
    assert len(gateway.ledger.reserved[0].request_model) == 256
    assert len(gateway.ledger.settled[0][0].request_model) == 256


async def test_open_is_for_loopback(gateway: Gateway) -> None:
    envoy = Envoy(gateway.filter.open())
    attributes = {**outer(), "source.address": "10.1.2.3:4711"}
    await envoy.request(dict(POST), chat(), attributes)
    assert refused(envoy) == (403, "open_on_loopback_only")


async def test_a_route_says_for_itself_who_is_let_in(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(), key=None, host={"identity": "open"}, identity="keys")
    assert refused(envoy)[0] == 401
    envoy = await ask(gateway, chat(), key=None, host=KEYS, identity="open")
    assert envoy.answer is None


async def test_headers_that_say_who_asks_go_no_further(gateway: Gateway) -> None:
    policy = {"header": {"headers": {"user": "X-Auth-User", "tenant": "x-auth-org"}}}
    sent = {"x-auth-user": "ann", "x-auth-org": "acme"}
    envoy = await ask(gateway, chat(), sent, key=None, host={"identity": policy})
    assert envoy.answer is None
    assert "ann" not in str(envoy.headers)
    await answered(envoy)
    record = gateway.ledger.settled[0][0]
    assert (record.identity, record.tenant, record.attribution.user) == ("header", "acme", "ann")


async def test_metadata_of_a_verified_token_says_who_asks(gateway: Gateway) -> None:
    policy = {"jwt": [{"issuer": "https://idp", "payload": "idp", "claims": {"user": "sub"}}]}
    payload = {"idp": {"iss": "https://idp", "sub": "ann"}}
    envoy = Envoy(gateway.filter.open())
    attributes = outer({"identity": policy})
    found = {"envoy.filters.http.jwt_authn": payload}
    await envoy.handler.on(RequestHead(dict(POST), attributes, False, found))
    await envoy.handler.on(RequestBody(chat()))
    await envoy.handler.gone()
    record = gateway.ledger.settled[0][0]
    assert (record.identity, record.attribution.user) == ("jwt", "ann")


async def test_a_callers_own_provider_key_goes_to_its_level(gateway: Gateway) -> None:
    sent = {"authorization": "Bearer sk-mine", "x-tollgate-key": KEY}
    envoy = await ask(gateway, chat(), sent, key=None, credentials="caller")
    assert envoy.answer is None
    assert envoy.headers["x-tollgate-i-credential"] == "sk-mine"
    assert "authorization" not in envoy.headers
    assert "x-tollgate-i-ready" not in envoy.headers
    await answered(envoy)
    assert gateway.ledger.settled[0][0].credentials == "caller"


async def test_a_route_that_wants_the_callers_provider_key_says_so(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(), {"x-tollgate-key": KEY}, key=None, credentials="caller")
    assert refused(envoy) == (401, "missing_provider_key")


async def test_a_callers_key_for_one_provider_is_no_other_providers_to_see(
    gateway: Gateway,
) -> None:
    sent = {"authorization": "Bearer sk-mine", "x-tollgate-key": KEY}
    envoy = await ask(gateway, chat(), sent, key=None)
    assert envoy.passed[-1].levels is not None
    assert len(envoy.passed[-1].levels) > 1
    envoy = await ask(gateway, chat(), sent, key=None, credentials="caller")
    assert envoy.passed[-1].levels == ((("target-t-openai", 1),),)
    assert envoy.headers["x-envoy-max-retries"] == "0"


async def test_a_key_of_the_gateway_is_never_taken_for_a_providers(gateway: Gateway) -> None:
    both = {"authorization": f"Bearer {KEY}", "x-tollgate-key": KEY}
    envoy = await ask(gateway, chat(), both, key=None, credentials="caller")
    assert refused(envoy) == (401, "missing_provider_key")
    beside = {**both, "x-api-key": "sk-mine"}
    envoy = await ask(gateway, chat(), beside, key=None, credentials="caller")
    assert envoy.headers["x-tollgate-i-credential"] == "sk-mine"


# --- what is written ----------------------------------------------------------------------


async def test_a_request_is_reserved_before_it_goes_up_and_settled_at_its_end(
    gateway: Gateway,
) -> None:
    envoy = await ask(gateway, chat(max_tokens=50))
    reserved = gateway.ledger.reserved[0]
    assert (reserved.aborted, reserved.error_type) == (True, "lost")
    assert reserved.usage is not None
    assert reserved.usage.estimated
    assert reserved.usage.output == 50
    assert reserved.usage.input == reserved.input_estimate > 0
    # gpt-4o: $2.50 and $10 a million.
    assert reserved.cost is not None
    assert reserved.cost.total == reserved.usage.input * 2500 + 50 * 10_000
    await answered(envoy)
    await envoy.handler.gone()
    record, _ = gateway.ledger.settled[0]
    assert len(gateway.ledger.settled) == 1
    assert record.id == reserved.id
    assert (record.status, record.aborted) == (200, False)
    assert record.usage is not None
    assert (record.usage.input, record.usage.output) == (100, 7)
    assert record.admission is not None
    assert record.upstream is not None
    assert 0 <= record.admission + record.upstream <= record.duration


async def test_what_a_request_asks_for_at_most_is_no_more_than_the_model_gives(
    gateway: Gateway,
) -> None:
    await ask(gateway, chat(max_tokens=16_000, model="t-openai"))
    usage = gateway.ledger.reserved[0].usage
    assert usage is not None
    assert usage.output == 16_000


async def test_a_stream_that_breaks_is_settled_as_aborted(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(stream=True))
    await envoy.head(200, SERVED)
    await envoy.chunk(STREAMS["openai"][:200])
    await envoy.handler.gone()
    record, _ = gateway.ledger.settled[0]
    assert record.aborted
    assert record.usage is not None
    assert record.usage.estimated


async def test_a_full_spool_stops_only_routes_that_must_record(gateway: Gateway) -> None:
    gateway.ledger.full = True
    envoy = await ask(gateway, chat())
    assert envoy.answer is None
    await answered(envoy)
    assert "tollgate_ledger_unrecorded_total 1.0" in gateway.records.expose()[0].decode()
    envoy = await ask(gateway, chat(), ledger="required")
    assert refused(envoy) == (503, "ledger_unavailable")
    assert envoy.answer is not None
    assert dict(envoy.answer.headers)["retry-after"] == "5"


@pytest.mark.parametrize("stream", [False, True])
async def test_content_is_kept_where_a_route_says_so(gateway: Gateway, *, stream: bool) -> None:
    body = chat(stream=stream, stream_options={"include_usage": True}) if stream else chat()
    envoy = await ask(gateway, body, record="content")
    if stream:
        await envoy.head(200, SERVED)
        await envoy.chunks([STREAMS["openai"]])
        expected = "Grüße"
    else:
        await answered(envoy)
        expected = "Hi"
    content = gateway.ledger.settled[0][1]
    assert content is not None
    assert "Hello" in content.request
    assert expected in content.answer


async def test_content_is_kept_up_to_a_size(gateway: Gateway) -> None:
    envoy = await ask(gateway, chat(x="y" * 600_000), record="content")
    await answered(envoy)
    content = gateway.ledger.settled[0][1]
    assert content is not None
    assert len(content.request) == 256 * 1024


async def test_routes_that_observe_tell_requests_that_repeat(gateway: Gateway) -> None:
    for text in ("a", "a", "b"):
        messages = [{"role": "user", "content": text}]
        await ask(gateway, chat(messages=messages), mode="observe")
    await ask(gateway, chat())
    prints = [one.fingerprint for one in gateway.ledger.reserved]
    assert prints[0] == prints[1] != prints[2]
    assert prints[3] is None
    assert len(str(prints[0])) == 32


async def test_what_cannot_be_parsed_is_a_record_without_a_reservation(gateway: Gateway) -> None:
    envoy = await ask(gateway, b"{")
    assert refused(envoy)[0] == 400
    assert not gateway.ledger.reserved
    record, _ = gateway.ledger.settled[0]
    assert (record.status, record.usage) == (400, None)


async def test_who_leaves_before_an_answer_has_used_the_prompt_as_estimated(
    gateway: Gateway,
) -> None:
    envoy = await ask(gateway, chat())
    await envoy.handler.gone()
    record, _ = gateway.ledger.settled[0]
    assert (record.status, record.aborted, record.target) == (499, True, None)
    assert record.usage is not None
    assert (record.usage.input, record.usage.output) == (record.input_estimate, 0)
    assert record.usage.estimated
    assert record.cost is not None
    assert record.cost.total == record.usage.input * 2500


async def test_who_leaves_before_anything_went_up_has_used_nothing(gateway: Gateway) -> None:
    envoy = Envoy(gateway.filter.open())
    await envoy.request_head({**POST, "authorization": f"Bearer {KEY}"}, outer(KEYS))
    await envoy.handler.gone()
    record, _ = gateway.ledger.settled[0]
    assert (record.status, record.usage, record.cost) == (499, None, None)
