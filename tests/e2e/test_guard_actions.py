"""What a guard does about what it finds, in requests and in answers; and what clients are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.conftest import Json, Running
from tests.e2e.figures import figures
from tests.e2e.guard_gateways import (
    CARD,
    EMAIL,
    FORMATS,
    LETTER,
    LETTER_UP,
    PERSON,
    VALUES,
    Guarded,
    chat_text,
    events,
    guarded_gateway,
    leaks,
    say,
    scripted,
)
from tests.e2e.ledger_books import record
from tests.e2e.levels import PDF, PNG

pytestmark = pytest.mark.e2e

streamed = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def guarded_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_gateway(tmp_path_factory.mktemp("guarded")) as found:
        yield found


@pytest.fixture
def guarded(guarded_one: Guarded) -> Guarded:
    """The gateway, with the simulator's record empty."""
    guarded_one.gateway.forget()
    return guarded_one


# --- what is done -------------------------------------------------------------------------


def counted(gateway: Running, **labels: str) -> float:
    """Findings so far."""
    return figures(gateway).sum("tollgate_guard_findings_total", **labels)


def content(answer: Any) -> str:
    """What a whole chat completion says."""
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def test_one_way(guarded: Guarded) -> None:
    """Without `restore` the client gets what the model said."""
    assert content(guarded.chat(LETTER, "one-way", said=LETTER_UP)) == LETTER_UP
    assert leaks(guarded.sent()) == []


def test_flag(guarded: Guarded) -> None:
    before = counted(guarded.gateway, action="flag", type="PERSON")
    answer = guarded.chat(LETTER, "flag", said=LETTER_UP)
    assert guarded.prompt() == LETTER
    assert content(answer) == LETTER_UP
    assert counted(guarded.gateway, action="flag", type="PERSON") == before + 1
    found = record(guarded.gateway, answer.headers["x-tollgate-request-id"])["guard"]
    assert {(one["type"], one["action"]) for one in found} == {
        ("PERSON", "flag"), ("EMAIL_ADDRESS", "flag"),
    }  # fmt: skip


def test_mask(guarded: Guarded) -> None:
    answer = guarded.chat(f"Charge card {CARD}. {LETTER}", "mask", said="echo: <CREDIT_CARD_1>")
    assert leaks(guarded.sent()) == []
    assert "Charge card **** **** **** 5100." in guarded.prompt()
    assert content(answer) == "echo: <CREDIT_CARD_1>"


def test_hash(guarded: Guarded) -> None:
    """The same value has the same hash, in another conversation too."""
    hashes = set()
    for text in (LETTER, f"Hello, write to {EMAIL} now."):
        answer = guarded.chat(text, "hash", said="nothing")
        assert content(answer) == "nothing"
        _, _, rest = guarded.prompt().partition("rite to ")
        hashes.add(rest.split()[0])
    assert leaks(guarded.sent()) == []
    (one,) = hashes
    assert one.startswith("EMAIL_ADDRESS#")


# --- block --------------------------------------------------------------------------------

PLACES = {
    "chat": "messages[0].content",
    "responses": "input",
    "completions": "prompt",
    "embeddings": "input",
    "messages": "messages[0].content",
    "count_tokens": "messages[0].content",
}


def ask(guarded: Guarded, format_: str, route: str, text: str, *, streams: bool = False) -> Any:
    """A request by an SDK; it is expected to fail."""
    turn: Any = [{"role": "user", "content": text}]
    if format_ in ("messages", "count_tokens"):
        with guarded.anthropic(route) as claude:
            if format_ == "count_tokens":
                return claude.messages.count_tokens(model="claude", messages=turn)
            return claude.messages.create(
                model="claude", max_tokens=99, messages=turn, stream=streams
            )
    with guarded.openai(route) as sdk:
        match format_:
            case "chat":
                return sdk.chat.completions.create(model="gpt", messages=turn, stream=streams)
            case "responses":
                return sdk.responses.create(model="gpt-five", input=text, stream=streams)
            case "completions":
                return sdk.completions.create(model="instruct", prompt=text, stream=streams)
            case _:
                return sdk.embeddings.create(model="vectors", input=text)


@pytest.mark.parametrize("format_", PLACES)
def test_block(format_: str, guarded: Guarded) -> None:
    """An error of the client's own format names type and place, and never the value."""
    before = counted(guarded.gateway, action="block", type="CREDIT_CARD")
    error = anthropic if format_ in ("messages", "count_tokens") else openai
    with pytest.raises(error.BadRequestError) as caught:
        ask(guarded, format_, "block-card", f"{LETTER} Charge card {CARD}.")
    answer = caught.value.response
    body = answer.json()
    assert "CREDIT_CARD" in body["error"]["message"]
    assert PLACES[format_] in body["error"]["message"]
    if error is openai:
        assert (body["error"]["code"], body["error"]["type"]) == (
            "content_blocked", "invalid_request_error",
        )  # fmt: skip
        assert body["error"]["param"] == PLACES[format_]
    else:
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
        assert "content_blocked" in answer.text
    assert leaks(answer.content + repr(answer.headers.multi_items()).encode()) == []
    assert guarded.gateway.asked() == []
    assert counted(guarded.gateway, action="block", type="CREDIT_CARD") == before + 1
    found = record(guarded.gateway, answer.headers["x-tollgate-request-id"])
    assert found["status"] == 400
    assert {one["action"] for one in found["guard"]} == {"block", "redact"}
    assert leaks(json.dumps(found).encode()) == []


@pytest.mark.parametrize("kind", VALUES)
def test_block_of_every_type(kind: str, guarded: Guarded) -> None:
    sentence, value = VALUES[kind]
    answer = guarded.chat(sentence.format(value), "block")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_blocked")
    assert kind in answer.json()["error"]["message"]
    assert guarded.gateway.asked() == []


def test_block_by_type(guarded: Guarded) -> None:
    """Others are redacted on the same route, and those to be ignored stay."""
    address = VALUES["IP_ADDRESS"][1]
    answer = guarded.chat(f"{LETTER} From {address}.", "block-card", said=LETTER_UP)
    assert content(answer) == LETTER
    assert guarded.prompt() == f"{LETTER_UP} From {address}."


# --- observe ------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["observe", "observed-route"])
def test_observe(route: str, guarded: Guarded) -> None:
    """Nothing is done, and everything is told."""
    before = {
        action: counted(guarded.gateway, mode="observe", action=action)
        for action in ("redact", "block")
    }
    body = json.dumps(
        {"model": "gpt", "messages": [{"role": "user", "content": f"{LETTER} Card {CARD}."}]}
    ).encode()
    head = {"content-type": "application/json", **guarded.head(route), **scripted(text=LETTER_UP)}
    answer = guarded.gateway.raw(body, **head)
    assert content(answer) == LETTER_UP
    (one,) = guarded.gateway.asked()
    assert one["body"]["messages"] == json.loads(body)["messages"]
    after = {
        action: counted(guarded.gateway, mode="observe", action=action)
        for action in ("redact", "block")
    }
    assert after == {"redact": before["redact"] + 2, "block": before["block"] + 1}
    found = record(guarded.gateway, answer.headers["x-tollgate-request-id"])
    assert {(each["type"], each["action"], each["observed"]) for each in found["guard"]} == {
        ("PERSON", "redact", True), ("EMAIL_ADDRESS", "redact", True),
        ("CREDIT_CARD", "block", True),
    }  # fmt: skip
    line = guarded.gateway.access_log(answer.headers["x-tollgate-request-id"])
    assert sorted(line["guard"].split(",")) == [
        "CREDIT_CARD:would_block:1", "EMAIL_ADDRESS:would_redact:1", "PERSON:would_redact:1",
    ]  # fmt: skip


def test_what_was_found_is_told(guarded: Guarded) -> None:
    answer = guarded.chat(LETTER, said=LETTER_UP)
    identifier = answer.headers["x-tollgate-request-id"]
    line = guarded.gateway.access_log(identifier)
    assert sorted(line["guard"].split(",")) == ["EMAIL_ADDRESS:redact:1", "PERSON:redact:1"]
    found = record(guarded.gateway, identifier)["guard"]
    assert [(one["direction"], one["count"]) for one in found] == [("request", 1)] * 2


# --- images and files ---------------------------------------------------------------------

PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
PAPER = {
    "type": "file",
    "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@pytest.mark.parametrize(
    ("part", "kind", "place"),
    [
        (PICTURE, "IMAGE", "image_url.url"),
        (PAPER, "FILE", "file.file_data"),
        (SOUND, "IMAGE", "input_audio.data"),
    ],
)
def test_media(part: Json, kind: str, place: str, guarded: Guarded) -> None:
    content_ = [{"type": "text", "text": LETTER}, part]
    body = {"model": "gpt", "messages": [{"role": "user", "content": content_}]}
    answer = guarded.post("chat/completions", body, "media")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_blocked")
    assert kind in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == f"messages[0].content[1].{place}"
    assert guarded.gateway.asked() == []
    assert content(guarded.chat(LETTER, "media", said=LETTER_UP)) == LETTER


def test_media_in_messages(guarded: Guarded) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    turn: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with guarded.anthropic("media") as sdk, pytest.raises(anthropic.BadRequestError) as caught:
        sdk.messages.create(model="claude", max_tokens=9, messages=turn)
    assert "content_blocked" in caught.value.response.text
    assert guarded.gateway.asked() == []
    with guarded.anthropic() as sdk:
        sdk.messages.create(model="claude", max_tokens=9, messages=turn)
    assert PNG.encode() in guarded.sent()


# --- answers ------------------------------------------------------------------------------

PHONE, IBAN, HOST = (VALUES[one][1] for one in ("PHONE_NUMBER", "IBAN_CODE", "IP_ADDRESS"))


@streamed
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_answers_are_looked_through(
    format_: str, model: str, streams: bool, guarded: Guarded
) -> None:
    """What the model says of its own is acted upon; requests pass on such a route."""
    said = f"Dear Mrs {PERSON}, call {PHONE}, pay to {IBAN}, or ask {HOST} for {EMAIL}."
    script = {"text": said, "events": 40}
    found = say(guarded, format_, model, LETTER, script, streams=streams, route="answers")
    assert found.startswith(f"Dear Mrs {PERSON}, call +** ** **** 5014, pay to IBAN_CODE#")
    assert found.endswith(f", or ask {HOST} for <EMAIL_ADDRESS>.")
    assert leaks(found.encode(), ["PHONE_NUMBER", "IBAN_CODE", "EMAIL_ADDRESS"]) == []
    assert leaks(guarded.sent(), ["PERSON"]) == ["PERSON"]


@streamed
def test_both_ways(streams: bool, guarded: Guarded) -> None:
    """The client's own values come back, those of the model's do not come out."""
    said = f"{LETTER_UP} And call {PHONE}; not bob.other@posteo-mail.example."
    script = {"text": said, "events": 60}
    found = say(guarded, "chat", "claude", LETTER, script, streams=streams, route="both")
    assert found == f"{LETTER} And call <PHONE_NUMBER>; not <EMAIL_ADDRESS>."
    assert leaks(guarded.sent(), ["PERSON", "EMAIL_ADDRESS"]) == []


@pytest.mark.parametrize("route", ["answers", "both-block"])
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_answers_that_must_not_come_out(
    format_: str, model: str, route: str, guarded: Guarded
) -> None:
    before = counted(guarded.gateway, action="block", direction="response")
    script = {"text": f"Well then. Charge card {CARD}."}
    error = anthropic if format_ == "messages" else openai
    with pytest.raises(error.BadRequestError) as caught:
        say(guarded, format_, model, "Hello", script, streams=False, route=route)
    answer = caught.value.response
    assert "content_blocked" in answer.text
    assert leaks(answer.content) == []
    assert counted(guarded.gateway, action="block", direction="response") == before + 1
    found = record(guarded.gateway, answer.headers["x-tollgate-request-id"])
    assert found["usage"]["output"] > 0, "the provider has billed it"


@pytest.mark.parametrize("route", ["answers", "both-block"])
@pytest.mark.parametrize(("format_", "model"), FORMATS)
def test_streams_that_must_not_go_on(
    format_: str, model: str, route: str, guarded: Guarded
) -> None:
    """The stream ends with an error as that SDK knows it; the value has not come out."""
    script = {"text": f"Well then, {'so ' * 60}charge card {CARD}. And no more.", "events": 120}
    if format_ == "responses":
        # Its SDK hands the error on as the event that it is.
        with guarded.openai(route) as sdk:
            head = scripted(**script)
            *before, last = sdk.responses.create(
                model=model, input="Hello", stream=True, extra_headers=head
            )
        assert before[0].type == "response.created"
        assert last.type == "error"
        assert last.code == "content_blocked"
        assert "CREDIT_CARD" in last.message
        assert [one.sequence_number for one in (*before, last)] == list(range(len(before) + 1))
        seen = repr(before)
    else:
        error = anthropic if format_ == "messages" else openai
        with pytest.raises(error.APIError) as caught:
            say(guarded, format_, model, "Hello", script, streams=True, route=route)
        assert "CREDIT_CARD" in str(caught.value)
        seen = repr(caught.value.body)
    assert leaks(seen.encode()) == []
    assert "no more" not in seen


@pytest.mark.parametrize("rate", [None, 300])
def test_what_has_come_out_of_a_stream_that_is_blocked(rate: int | None, guarded: Guarded) -> None:
    """What nothing was found in; the sooner the provider is done, the less of it."""
    said = f"Well then, {'so ' * 200}charge card {CARD}. And no more."
    script = {"text": said, "events": 200, **({"rate": rate} if rate else {})}
    head = {**guarded.head("answers"), **scripted(**script)}
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    url = f"{guarded.gateway.url}/chat/completions"
    answer = guarded.gateway.http.post(url, json=body, headers=head)
    assert answer.status_code == 200
    *chunks, last = events(answer.content)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = chat_text(chunks)
    assert said.startswith(text)
    assert text.startswith("Well then, so so") or not rate
    assert not any(digits in text for digits in CARD.split())
    assert last["error"]["code"] == "content_blocked"
    assert leaks(answer.content) == []


def test_answers_are_observed(guarded: Guarded) -> None:
    before = counted(guarded.gateway, mode="observe", direction="response")
    for streams in (False, True):
        said = f"{LETTER} {CARD}"
        script = {"text": said, "events": 30}
        found = say(
            guarded, "chat", "gpt", "Hello", script, streams=streams, route="answers-observed"
        )
        assert found == said
    assert counted(guarded.gateway, mode="observe", direction="response") == before + 6
