"""The gateway filter: one reading of a request, one record of it, one answer."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import catalogue, dialects
from extproc.errors import Reason
from extproc.filters.exchange import BodyMode
from extproc.filters.gateway import GatewayExchange, GatewayFilter
from extproc.filters.large import Large
from extproc.filters.last import Last
from extproc.filters.rooms import Rooms
from extproc.filters.verdict import Note, encode
from extproc.identity import Identify
from extproc.records import Caller, Content, RequestRecord
from extproc.routing import Routes
from extproc.state.memory import MemoryNotes
from extproc.telemetry import Telemetry
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import STREAMS, cache, chat, gate, guard, openai_chunk, outer

POST = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
    "authorization": "Bearer tg-mine",
}
SERVED = {"x-tollgate-i-target": "t-openai", "content-type": "text/event-stream"}
ANSWER = {
    "model": "gpt-4o-x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
}


class Records(Telemetry):
    """Keeps what is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[RequestRecord] = []

    def record(self, record: RequestRecord) -> None:
        self.kept.append(record)


class Written:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.reserved: list[RequestRecord] = []
        self.settled: list[tuple[RequestRecord, Content | None]] = []
        self.full = False

    def reserve(self, record: RequestRecord) -> bool:
        if not self.full:
            self.reserved.append(record)
        return not self.full

    def settle(self, record: RequestRecord, content: Content | None = None) -> bool:
        if not self.full:
            self.settled.append((record, content))
        return not self.full


class Known:
    """Callers by their keys."""

    def __init__(self) -> None:
        self.callers: dict[str, Caller] = {}

    async def caller(self, token: str) -> Caller | None:
        return self.callers.get(token)


class Gateway:
    """One filter with its rooms."""

    def __init__(self) -> None:
        self.records = Records()
        self.notes = MemoryNotes()
        self.ledger = Written()
        self.known = Known()
        rooms = Rooms(
            dialects.load(),
            dialects.formats(),
            Routes(catalogue.load()),
            self.notes,
            self.records,
            Identify(self.known),
            self.ledger,
            gate(self.records),
            Large(),
            guard(self.records),
            cache(self.records),
            Last(),
            b"secret",
        )
        self.rooms = rooms
        self.filter = GatewayFilter(rooms)

    async def ask(
        self, body: bytes, headers: dict[str, str] | None = None, **route: Any
    ) -> tuple[Envoy, GatewayExchange]:
        handler = self.filter.open()
        envoy = Envoy(handler)
        await envoy.request({**POST, **(headers or {})}, body, outer(**route))
        return envoy, handler


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def test_the_chain_goes_up_with_retries_to_fit(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat())
    assert envoy.answer is None
    assert envoy.passed[-1].levels == (
        (("target-t-openai", 1),),
        (("target-t-anthropic", 1),),
        (("target-t-gemini", 1),),
    )
    assert envoy.headers["x-envoy-max-retries"] == "2"
    assert "authorization" not in envoy.headers


async def test_what_is_forwarded_is_what_came(gateway: Gateway) -> None:
    odd = b'"z":1.0,"big":12345678901234567890}'
    body = b'{"model":"main", "messages":[{"role":"user","content":"x"}],' + odd
    envoy, _ = await gateway.ask(body.replace(b"main", b"t-gemini"))
    assert envoy.body == body.replace(b"main", b"t-gemini")
    assert "x-tollgate-i-ready" not in envoy.headers


async def test_a_first_level_in_the_clients_dialect_gets_its_body_ready(gateway: Gateway) -> None:
    odd = b'"z":1.0,"big":12345678901234567890}'
    body = b'{"model":"main","messages":[{"role":"user","content":"x"}],' + odd
    envoy, _ = await gateway.ask(body)
    assert envoy.headers["x-tollgate-i-ready"] == "t-openai"
    assert envoy.body == body.replace(b"main", b"gpt-4o")


async def test_what_a_dialect_drops_leaves_no_level_out(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat(seed=7, presence_penalty=0.5, model="t-anthropic"))
    assert envoy.answer is None
    envoy, _ = await gateway.ask(chat(logit_bias={"1": 5}, model="t-anthropic"))
    assert envoy.answer is not None
    assert envoy.answer.status == 400


async def test_attribution_that_openai_would_refuse_stays_here(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat(metadata={"feature": "f"}))
    assert "metadata" not in json.loads(envoy.body)
    envoy, _ = await gateway.ask(chat(metadata={"feature": "f"}, store=True))
    assert json.loads(envoy.body)["metadata"] == {"feature": "f"}


async def test_usage_is_asked_for_on_streams(gateway: Gateway) -> None:
    options = {"include_obfuscation": False}
    envoy, _ = await gateway.ask(chat(stream=True, stream_options=options))
    assert json.loads(envoy.body)["stream_options"] == {**options, "include_usage": True}
    assert envoy.headers["content-length"] == str(len(envoy.body))


async def test_models_of_the_request_stay_here(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat(models=["t-gemini", "t-openai"], model="t-gemini"))
    assert envoy.passed[-1].levels == ((("target-t-gemini", 1),), (("target-t-openai", 1),))
    assert "models" not in json.loads(envoy.body)


async def test_a_whole_answer_is_priced_and_recorded_once(gateway: Gateway) -> None:
    envoy, handler = await gateway.ask(chat(user="u1"), {"x-tollgate-feature": "f1"})
    await envoy.head(200, {**SERVED, "content-type": "application/json"})
    assert envoy.passed[-1].mode is BodyMode.BUFFERED
    await envoy.chunk(json.dumps(ANSWER).encode(), end=True)
    # gpt-4o: $2.50 and $10 a million.
    assert envoy.headers["x-tollgate-cost"] == "0.00032"
    assert envoy.headers["x-tollgate-target"] == "t-openai"
    assert not [name for name in envoy.headers if name.startswith("x-tollgate-i-")]
    await handler.gone()
    (record,) = gateway.records.kept
    assert record.usage is not None
    assert (record.usage.input, record.usage.output) == (100, 7)
    assert (record.attribution.user, record.attribution.feature) == ("u1", "f1")
    assert record.error_type is None


async def test_a_body_that_is_no_json_is_502(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat())
    await envoy.head(200, {**SERVED, "content-type": "application/json"})
    await envoy.chunk(b'{"choices": [', end=True)
    assert envoy.answer is not None
    assert envoy.answer.status == 502
    (record,) = gateway.records.kept
    assert record.error_type == "bad_answer"


async def stream(gateway: Gateway, pieces: list[bytes], **more: Any) -> tuple[Envoy, Any]:
    envoy, handler = await gateway.ask(chat(stream=True, **more))
    await envoy.head(200, SERVED)
    assert envoy.passed[-1].mode is BodyMode.DUPLEX
    await envoy.chunks(pieces)
    return envoy, handler


async def test_usage_is_hidden_from_who_did_not_ask(gateway: Gateway) -> None:
    envoy, _ = await stream(gateway, [STREAMS["openai"]])
    assert b"prompt_tokens" not in envoy.body
    assert b": tollgate cost=0.00032 input=100 output=7\n\ndata: [DONE]\n\n" in envoy.body


async def test_usage_comes_with_its_cost_to_who_asked(gateway: Gateway) -> None:
    asked = {"stream_options": {"include_usage": True}}
    envoy, _ = await stream(gateway, [STREAMS["openai"]], **asked)
    usage = [line for line in envoy.body.split(b"\n") if b"prompt_tokens" in line]
    assert json.loads(usage[0][6:])["usage"]["cost"] == 0.00032


@given(data=st.data())
async def test_any_cutting_gives_the_same(data: st.DataObject) -> None:
    gateway = Gateway()
    whole = STREAMS["openai"]
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, len(whole) - 1)))), len(whole)]
    cut, _ = await stream(gateway, [whole[a:b] for a, b in pairwise(edges)])
    once, _ = await stream(gateway, [whole])
    assert cut.body == once.body
    first, second = (record.usage for record in gateway.records.kept)
    assert first == second


async def test_a_stream_that_ends_early_ends_with_an_error(gateway: Gateway) -> None:
    envoy, _ = await stream(gateway, [openai_chunk({"content": "Hel"})])
    assert b'"code":"provider_cut"' in envoy.body
    assert b"[DONE]" not in envoy.body
    (record,) = gateway.records.kept
    assert record.usage is not None
    assert record.usage.estimated


async def test_the_end_of_a_stream_may_come_as_a_trailer(gateway: Gateway) -> None:
    whole = STREAMS["openai"]
    at = whole.index(b"data: [DONE]")
    envoy, handler = await gateway.ask(chat(stream=True))
    await envoy.head(200, SERVED)
    await envoy.chunks([whole[:at]], end=False)
    trailers = {"x-tollgate-i-rest": b64encode(whole[at:]).decode(), "x-other": "1"}
    assert await envoy.trailers(trailers) == {"x-other": "1"}
    assert envoy.body.endswith(b"data: [DONE]\n\n")
    await handler.gone()
    (record,) = gateway.records.kept
    assert record.error_type is None


async def test_a_stream_that_stalls_ends_with_an_error(gateway: Gateway) -> None:
    envoy, handler = await gateway.ask(chat(stream=True))
    await envoy.head(200, SERVED)
    await envoy.chunk(openai_chunk({"content": "Hel"}))
    assert handler.alarm is not None
    await envoy.ring()
    await envoy.chunk(openai_chunk({"content": "lo"}))
    assert envoy.body.endswith(b"}\n\n")
    assert b'"code":"provider_stalled"' in envoy.body
    assert b'"lo"' not in envoy.body
    await handler.gone()
    assert len(gateway.records.kept) == 1


async def test_a_client_that_leaves_is_billed_for_what_was_produced(gateway: Gateway) -> None:
    envoy, handler = await gateway.ask(chat(stream=True))
    await envoy.head(200, SERVED)
    await envoy.chunk(openai_chunk({"content": "Hello there, how are you?"}))
    await handler.gone()
    (record,) = gateway.records.kept
    assert record.aborted
    assert record.usage is not None
    assert record.usage.estimated
    assert record.usage.output > 0
    assert record.cost is not None


async def test_the_answer_is_made_from_all_notes(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat())
    up = envoy.headers["x-tollgate-i-id"]
    for wait in (9.0, 2.5):
        await gateway.notes.leave(up, encode(Note("t", Reason.CAPACITY, 429, wait)))
    last = {"x-tollgate-i-refusal": "capacity", "x-tollgate-i-target": "t-gemini"}
    await envoy.head(429, last, attributes={"upstream.request_attempt_count": 2.0})
    assert envoy.answer is not None
    assert envoy.answer.status == 429
    assert dict(envoy.answer.headers)["retry-after"] == "3"
    assert dict(envoy.answer.headers)["x-tollgate-attempts"] == "2"


async def test_a_level_that_left_no_note_is_no_matter_of_capacity(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat())
    up = envoy.headers["x-tollgate-i-id"]
    for target in ("t-anthropic", "t-gemini"):
        await gateway.notes.leave(up, encode(Note(target, Reason.CAPACITY, 429, 2)))
    last = {"x-tollgate-i-refusal": "capacity", "x-tollgate-i-target": "t-gemini"}
    await envoy.head(429, last, attributes={"upstream.request_attempt_count": 3.0})
    assert envoy.answer is not None
    assert envoy.answer.status == 503
    assert b"t-openai: unavailable; t-anthropic: capacity; t-gemini: capacity" in envoy.answer.body


async def test_a_level_that_could_not_speak_counts_as_unavailable(gateway: Gateway) -> None:
    envoy, _ = await gateway.ask(chat())
    up = envoy.headers["x-tollgate-i-id"]
    await gateway.notes.leave(up, encode(Note("t", Reason.CAPACITY, 429, 1)))
    await envoy.head(503, {}, attributes={"response.code_details": "upstream_reset"})
    assert envoy.answer is not None
    assert envoy.answer.status == 503


async def test_envoys_own_answer_before_anything_went_up_is_let_be(gateway: Gateway) -> None:
    handler = gateway.filter.open()
    envoy = Envoy(handler)
    await envoy.head(413, {"content-type": "application/json"})
    assert envoy.answer is None
    assert not gateway.records.kept


BAD: list[tuple[dict[str, str], bytes, int, str | None]] = [
    ({":path": "/v1/nothing"}, b"{}", 404, None),
    ({":path": "/"}, b"{}", 404, None),
    ({":method": "PUT"}, b"{}", 405, None),
    ({":method": "POST", ":path": "/v1/models"}, b"{}", 405, None),
    ({"content-encoding": "gzip"}, b"\x1f\x8b", 415, "content-encoding"),
    ({"content-type": "text/plain"}, b"{}", 415, "content-type"),
    ({}, b"", 400, None),
    ({}, b"[]", 400, None),
    ({}, b'{"model":"main","model":"main","messages":[]}', 400, "model"),
    ({}, b'{"model":"main","messages":[{"role":"wizard","content":"x"}]}', 400, "messages[0].role"),
    ({}, b'{"model":5,"messages":[{"role":"user","content":"x"}]}', 400, "model"),
    ({}, b'{"messages":[{"role":"user","content":"x"}]}', 400, "model"),
]


@pytest.mark.parametrize(("headers", "body", "status", "param"), BAD)
async def test_bad_input_names_its_place_and_costs_nothing(
    headers: dict[str, str], body: bytes, status: int, param: str | None, gateway: Gateway
) -> None:
    envoy, _ = await gateway.ask(body, headers)
    assert envoy.answer is not None
    assert envoy.answer.status == status
    assert envoy.answer.details.startswith("tg_")
    error = json.loads(envoy.answer.body)["error"]
    assert error["message"]
    if param is not None:
        assert error["param"] == param
    (record,) = gateway.records.kept
    assert record.usage is None
    assert record.cost is None


async def test_no_route_is_404_and_a_route_without_policy_our_fault(gateway: Gateway) -> None:
    unusable = {"xds.route_metadata": 'filter_metadata { key: "other" value { } }'}
    for attributes, status in (({}, 404), (unusable, 500)):
        envoy = Envoy(gateway.filter.open())
        await envoy.request(dict(POST), chat(), attributes)
        assert envoy.answer is not None
        assert envoy.answer.status == status


async def test_models_are_listed_and_found(gateway: Gateway) -> None:
    for path, status in (("/v1/models", 200), ("/v1/models/main", 200), ("/v1/models/no", 404)):
        envoy = Envoy(gateway.filter.open())
        await envoy.request({":method": "GET", ":path": path}, b"", outer())
        assert envoy.answer is not None
        assert envoy.answer.status == status
