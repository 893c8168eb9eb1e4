"""The guard in the gateway filter: what goes up holds no value, what comes down holds them all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.filters.gateway import GatewayExchange
from extproc.records import Caller
from tests.unit.filters.envoy import Envoy
from tests.unit.filters.samples import chat, event, openai_chunk
from tests.unit.filters.test_gateway import SERVED, Gateway

MAIL = "mary.major@corp.example"
CARD = "4111 1111 1111 1111"
TEXT = f"Write to {MAIL} about card {CARD}."
ON: dict[str, Any] = {"actions": {"default": "redact"}}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def ask(
    gateway: Gateway,
    text: str = TEXT,
    guard: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> tuple[Envoy, GatewayExchange]:
    route = {"guard": ON if guard is None else guard}
    body = chat(messages=[{"role": "user", "content": text}], **more)
    return await gateway.ask(body, headers, **route)


def said(envoy: Envoy) -> str:
    return str(json.loads(envoy.body)["messages"][0]["content"])


def whole(content: str, **message: Any) -> bytes:
    answer = {
        "model": "gpt-4o-x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content, **message}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }
    return json.dumps(answer).encode()


async def answered(envoy: Envoy, body: bytes) -> dict[str, Any]:
    await envoy.head(200, {**SERVED, "content-type": "application/json"})
    await envoy.chunk(body, end=True)
    if envoy.answer is not None:
        return {"status": envoy.answer.status, **json.loads(envoy.answer.body)}
    found: dict[str, Any] = json.loads(envoy.body)
    return found


async def test_values_stay_and_come_back(gateway: Gateway) -> None:
    envoy, _ = await ask(gateway)
    assert said(envoy) == "Write to <EMAIL_ADDRESS_1> about card <CREDIT_CARD_1>."
    assert envoy.headers["content-length"] == str(len(envoy.body))
    answer = await answered(envoy, whole("I wrote to <EMAIL_ADDRESS_1> (**credit_card_1** <x>)."))
    text = answer["choices"][0]["message"]["content"]
    assert text == f"I wrote to {MAIL} (**credit_card_1** <x>)."


async def test_arguments_of_calls_come_back_as_json(gateway: Gateway) -> None:
    envoy, _ = await ask(gateway, 'My password is "a\\"b9!xQ". Mail: ' + MAIL)
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "mail", "arguments": '{"to": "<EMAIL_ADDRESS_1>"}'},
    }
    answer = await answered(envoy, whole("", tool_calls=[call]))
    function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"to": MAIL}


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_a_stream_is_restored_however_it_is_cut(gateway: Gateway, size: int) -> None:
    envoy, _ = await ask(gateway, stream=True)
    content = "To <EMAIL_ADDRESS_1>: your card <CREDIT_CARD_1> is <b>fine</b>."
    pieces = [content[at : at + 4] for at in range(0, len(content), 4)]
    stream = b"".join(
        [
            *(openai_chunk({"content": piece}) for piece in pieces),
            openai_chunk({}, "stop"),
            b"data: [DONE]\n\n",
        ]
    )
    await envoy.head(200, SERVED)
    await envoy.chunks(stream[at : at + size] for at in range(0, len(stream), size))
    assert spoken(envoy.body) == f"To {MAIL}: your card {CARD} is <b>fine</b>."
    assert envoy.body.rstrip().endswith(b"data: [DONE]")


def spoken(body: bytes) -> str:
    found: list[str] = []
    for block in body.decode().split("\n\n"):
        data = next((line[6:] for line in block.split("\n") if line.startswith("data: ")), "")
        if data and data != "[DONE]":
            parsed = json.loads(data)
            choices = parsed.get("choices", ())
            found += [choice["delta"].get("content") or "" for choice in choices]
    return "".join(found)


async def test_what_must_not_pass_is_stopped_without_a_word_of_it(gateway: Gateway) -> None:
    guard = {"actions": {"CREDIT_CARD": "block"}}
    envoy, handler = await ask(gateway, guard=guard)
    assert envoy.answer is not None
    assert envoy.answer.status == 400
    error = json.loads(envoy.answer.body)["error"]
    assert (error["code"], error["param"]) == ("content_blocked", "messages[0].content")
    assert "CREDIT_CARD" in error["message"]
    assert CARD not in envoy.answer.body.decode()
    await handler.gone()
    (record,) = gateway.records.kept
    assert record.error_type == "content_blocked"
    counted = {(one.type, one.action, one.count) for one in record.guard}
    assert counted == {("CREDIT_CARD", "block", 1), ("EMAIL_ADDRESS", "redact", 1)}


async def test_mask_hash_and_flag(gateway: Gateway) -> None:
    guard = {"actions": {"CREDIT_CARD": "mask", "EMAIL_ADDRESS": "hash"}}
    envoy, _ = await ask(gateway, guard=guard)
    assert "about card **** **** **** 1111." in said(envoy)
    assert "EMAIL_ADDRESS#" in said(envoy)
    envoy, _ = await ask(gateway, guard={"actions": {"default": "flag"}})
    assert said(envoy) == TEXT


async def test_a_route_that_observes_changes_nothing_and_says_what_it_would(
    gateway: Gateway,
) -> None:
    for guard, route in (({**ON, "mode": "observe"}, {}), (ON, {"mode": "observe"})):
        body = chat(messages=[{"role": "user", "content": TEXT}])
        envoy, handler = await gateway.ask(body, None, guard=guard, **route)
        assert said(envoy) == TEXT
        await answered(envoy, whole("<EMAIL_ADDRESS_1>"))
        await handler.gone()
        record = gateway.records.kept[-1]
        found = {(one.capability, one.outcome, one.detail) for one in record.observed}
        assert ("guard", "redacted", "CREDIT_CARD x1, EMAIL_ADDRESS x1") in found


async def test_who_said_so_is_recorded_and_the_provider_does_not_learn(gateway: Gateway) -> None:
    envoy, handler = await ask(gateway, "Hello", user=MAIL)
    assert json.loads(envoy.body)["user"] == "<EMAIL_ADDRESS_1>"
    await handler.gone()
    assert gateway.records.kept[0].attribution.user == MAIL


async def test_a_session_goes_on_with_its_placeholders_and_is_nobody_elses(
    gateway: Gateway,
) -> None:
    for name in ("one", "two"):
        gateway.known.callers[f"tg-{name}"] = Caller(
            source="key", key=name, may_set=frozenset({"session"})
        )

    async def turn(key: str, text: str) -> Envoy:
        headers = {"authorization": f"Bearer tg-{key}", "x-tollgate-session": "s1"}
        body = chat(messages=[{"role": "user", "content": text}])
        envoy, _ = await gateway.ask(body, headers, guard=ON, identity="keys")
        assert envoy.answer is None
        return envoy

    assert said(await turn("one", f"I am at {MAIL}")) == "I am at <EMAIL_ADDRESS_1>"
    second = await turn("one", "Not at anna.b@corp.example. Where am I?")
    assert said(second) == "Not at <EMAIL_ADDRESS_2>. Where am I?"
    answer = await answered(second, whole("At <EMAIL_ADDRESS_1>."))
    assert answer["choices"][0]["message"]["content"] == f"At {MAIL}."
    other = await turn("two", "Where am I? me@corp.example")
    answer = await answered(other, whole("At <EMAIL_ADDRESS_1>, not <EMAIL_ADDRESS_2>."))
    text = answer["choices"][0]["message"]["content"]
    assert text == "At me@corp.example, not <EMAIL_ADDRESS_2>."


async def test_answers_are_looked_through(gateway: Gateway) -> None:
    guard = {"direction": "both", "actions": {"EMAIL_ADDRESS": "redact", "IBAN_CODE": "block"}}
    envoy, handler = await ask(gateway, guard=guard)
    answer = await answered(envoy, whole("<EMAIL_ADDRESS_1> knows bob.b@corp.example."))
    text = answer["choices"][0]["message"]["content"]
    assert text == f"{MAIL} knows <EMAIL_ADDRESS>."
    await handler.gone()
    assert ("EMAIL_ADDRESS", "response") in {
        (one.type, one.direction) for one in gateway.records.kept[0].guard
    }


async def test_an_answer_that_must_not_pass_is_billed_and_stopped(gateway: Gateway) -> None:
    guard = {"direction": "response", "actions": {"EMAIL_ADDRESS": "block"}}
    envoy, handler = await ask(gateway, guard=guard)
    assert said(envoy) == TEXT
    answer = await answered(envoy, whole("It is bob.b@corp.example."))
    assert (answer["status"], answer["error"]["code"]) == (400, "content_blocked")
    assert "bob" not in json.dumps(answer)
    await handler.gone()
    (record,) = gateway.records.kept
    assert record.usage is not None
    assert record.usage.output == 7
    assert (record.status, record.error_type) == (400, "content_blocked")


async def test_a_stream_that_must_not_pass_ends_with_an_error(gateway: Gateway) -> None:
    guard = {"direction": "response", "actions": {"EMAIL_ADDRESS": "block"}}
    envoy, _ = await ask(gateway, guard=guard, stream=True)
    await envoy.head(200, SERVED)
    pieces = ["It is bob", ".b@corp", ".example", " and more " * 60]
    await envoy.chunks(openai_chunk({"content": piece}) for piece in pieces)
    assert b"bob.b@corp.example" not in envoy.body
    assert "bob.b@corp" not in spoken_before_error(envoy.body)
    assert b"content_blocked" in envoy.body


def spoken_before_error(body: bytes) -> str:
    return spoken(body.split(b'data: {"error"')[0])


async def test_pictures_may_be_barred(gateway: Gateway) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}
    body = chat(messages=[{"role": "user", "content": [part]}])
    envoy, _ = await gateway.ask(body, None, guard={"images": "block"})
    assert envoy.answer is not None
    assert json.loads(envoy.answer.body)["error"]["code"] == "content_blocked"
    envoy, _ = await gateway.ask(body, None, guard={"images": "pass"})
    assert envoy.answer is None


async def test_what_is_kept_of_content_has_placeholders(gateway: Gateway) -> None:
    body = chat(messages=[{"role": "user", "content": TEXT}])
    envoy, handler = await gateway.ask(body, None, guard=ON, record="content")
    await answered(envoy, whole("Hi <EMAIL_ADDRESS_1>"))
    await handler.gone()
    ((_, content),) = gateway.ledger.settled
    assert content is not None
    for text in (content.request, content.answer):
        assert MAIL not in text
        assert "<EMAIL_ADDRESS_1>" in text


async def test_other_formats(gateway: Gateway) -> None:
    body = json.dumps(
        {
            "model": "main",
            "max_tokens": 10,
            "system": f"Be kind to {MAIL}",
            "messages": [{"role": "user", "content": TEXT}],
        }
    ).encode()
    envoy, _ = await gateway.ask(
        body, {":path": "/v1/messages", "anthropic-version": "2023-06-01"}, guard=ON
    )
    sent = json.loads(envoy.body)
    assert sent["system"] == "Be kind to <EMAIL_ADDRESS_1>"
    assert MAIL not in envoy.body.decode()
    stream = b"".join(
        event({"type": name, **data}, name)
        for name, data in (
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            (
                "content_block_delta",
                {"index": 0, "delta": {"type": "text_delta", "text": "To <EMAIL_"}},
            ),
            (
                "content_block_delta",
                {"index": 0, "delta": {"type": "text_delta", "text": "ADDRESS_1> now"}},
            ),
            ("content_block_stop", {"index": 0}),
            ("message_stop", {}),
        )
    )
    await envoy.head(200, SERVED)
    await envoy.chunks([stream])
    texts = [
        json.loads(line[6:])["delta"]["text"]
        for line in envoy.body.decode().split("\n")
        if line.startswith("data: ") and "text_delta" in line
    ]
    assert "".join(texts) == f"To {MAIL} now"


async def test_names_so_long_that_they_may_have_been_cut_share_no_session(
    gateway: Gateway,
) -> None:
    async def turn(user: str, text: str) -> Envoy:
        headers = {"x-tollgate-session": "s1", "x-tollgate-user": user}
        body = chat(messages=[{"role": "user", "content": text}])
        envoy, _ = await gateway.ask(body, headers, guard=ON)
        return envoy

    for one, other in (("u" * 300 + "1", "u" * 300 + "2"), ("me\x01", "me")):
        await turn(one, f"I am at {MAIL}")
        envoy = await turn(other, "I am at other@corp.example")
        answer = await answered(envoy, whole("<EMAIL_ADDRESS_1> <EMAIL_ADDRESS_2>"))
        text = answer["choices"][0]["message"]["content"]
        assert text == "other@corp.example <EMAIL_ADDRESS_2>"


async def test_events_that_cannot_be_looked_through_do_not_pass(gateway: Gateway) -> None:
    guard = {"direction": "both"}
    for odd in (b"data: it is bob.b@corp.example\n\n", b'data: "' + b"x" * (2 << 20) + b'"\n\n'):
        envoy, _ = await ask(gateway, guard=guard, stream=True)
        await envoy.head(200, SERVED)
        await envoy.chunks([openai_chunk({"content": "Hi"}), odd])
        assert b"bob.b" not in envoy.body
        assert b"xxxx" not in envoy.body
        assert b"guard_unavailable" in envoy.body


async def test_what_a_server_adds_to_its_chunks_is_looked_through(gateway: Gateway) -> None:
    envoy, _ = await ask(gateway, guard={"direction": "both"}, stream=True)
    await envoy.head(200, SERVED)
    chunk = json.loads(openai_chunk({"content": "Hi", "thought": "bob.b@corp.example"})[6:])
    chunk["citations"] = ["mail bob.b@corp.example", "<EMAIL_ADDRESS_1>"]
    await envoy.chunks([event(chunk), openai_chunk({}, "stop"), b"data: [DONE]\n\n"])
    assert b"bob.b" not in envoy.body
    assert MAIL.encode() in envoy.body


async def test_a_guard_that_fails_lets_nothing_pass_and_tells_no_value(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(text: str, *_: object) -> str:
        raise KeyError(text)

    envoy, _ = await ask(gateway)
    monkeypatch.setattr("extproc.guard.answers.restore", fails)
    answer = await answered(envoy, whole(f"<EMAIL_ADDRESS_1> {MAIL}"))
    assert (answer["status"], answer["error"]["code"]) == (500, "guard_failed")
    monkeypatch.setattr("extproc.guard.placeholders.Redactor.redact", fails)
    envoy, _ = await ask(gateway)
    assert envoy.answer is not None
    assert envoy.answer.status == 500
    assert "KeyError" in str([vars(one) for one in caplog.records])
    assert MAIL not in str([vars(one) for one in caplog.records])


async def test_a_body_that_outgrows_what_envoy_holds_is_refused(gateway: Gateway) -> None:
    envoy, _ = await ask(gateway, "qq " * 120_000, {"words": {"w": ["qq"]}})
    assert envoy.answer is not None
    assert envoy.answer.status == 413
    assert json.loads(envoy.answer.body)["error"]["code"] == "request_too_large"
