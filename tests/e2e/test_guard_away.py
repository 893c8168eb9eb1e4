"""A detector behind HTTP: used, away, and back again; and limits, which count what goes up."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.conftest import Json
from tests.e2e.figures import figures
from tests.e2e.guard_gateways import (
    EMAIL,
    VALUES,
    Guarded,
    chat_text,
    events,
    guarded_gateway,
    leaks,
    scripted,
)

pytestmark = pytest.mark.e2e

NAME = "Zorblax Quiff"
"""A name that the default detector does not know."""
TEXT = f"zorblax quiff is {NAME}, and writes to {EMAIL}"
UP = "<PERSON_1> is <PERSON_1_2>, and writes to <EMAIL_ADDRESS_1>"
DEADLINE = 0.5


@dataclass
class Detector:
    """Somebody who knows one name, in any case, and can be away in several ways."""

    url: str = ""
    mode: str = "well"
    asked: list[Json] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: bytes) -> tuple[int, bytes]:
        if self.mode == "slow":
            self.free.wait(10)
        if self.mode == "failing":
            return 500, b""
        if self.mode == "garbled":
            return 200, b'{"findings": [[{"start": 0, "end": 10000, "type": "X"}]]}'
        question: Json = json.loads(body)
        self.asked.append(question)
        found = [
            [
                {"start": one.start(), "end": one.end(), "type": "PERSON", "confidence": 0.9}
                for one in re.finditer(NAME, each["text"], re.IGNORECASE)
            ]
            for each in question["texts"]
        ]
        return 200, json.dumps({"findings": found}).encode()


@contextmanager
def listening() -> Iterator[Detector]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if detector.mode == "gone":
                self.close_connection = True
                return
            status, body = detector.answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library has it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    detector = Detector(f"http://127.0.0.1:{server.server_port}/find")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield detector
    finally:
        detector.free.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Asking:
    """The gateway, and the detector that it asks."""

    guarded: Guarded
    detector: Detector

    def counted(self, name: str, **labels: str) -> float:
        """`tollgate_guard_…`."""
        return figures(self.guarded.gateway).sum(f"tollgate_guard_{name}_total", **labels)


@pytest.fixture(scope="module")
def asking_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with listening() as detector:
        flags = ("--guard", "http", "--guard-url", detector.url, "--guard-timeout", f"{DEADLINE}")
        with guarded_gateway(tmp_path_factory.mktemp("away"), *flags) as guarded:
            yield Asking(guarded, detector)


@pytest.fixture
def asking(asking_one: Asking) -> Iterator[Asking]:
    """The gateway with the simulator's record empty, and a detector that is well."""
    asking_one.guarded.gateway.forget()
    asking_one.detector.asked.clear()
    yield asking_one
    asking_one.detector.mode = "well"


def unseen(text: str) -> str:
    """A text that nobody has looked through yet."""
    return f"{text} {time.monotonic_ns()}x"


@pytest.mark.parametrize("stream", [False, True])
def test_what_it_finds_counts_too(stream: bool, asking: Asking) -> None:
    with asking.guarded.openai() as sdk:
        answer: Any = sdk.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": TEXT}], stream=stream,
            extra_headers=scripted(text=UP, events=20),
        )  # fmt: skip
        chunks = (one.choices for one in answer) if stream else ()
        read = "".join(one[0].delta.content or "" for one in chunks if one)
    assert (read if stream else answer.choices[0].message.content) == TEXT
    assert asking.guarded.prompt() == UP
    assert NAME.encode().lower() not in asking.guarded.sent().lower()
    assert leaks(asking.guarded.sent()) == []


def test_it_is_asked_for_texts_and_nothing_else(asking: Asking) -> None:
    text = unseen(TEXT)
    asking.guarded.post(
        "chat/completions",
        {"model": "gpt", "messages": [{"role": "system", "content": "Be brief."},
                                      {"role": "user", "content": text}]},
    )  # fmt: skip
    asked = [one["text"] for question in asking.detector.asked for one in question["texts"]]
    assert text in asked
    assert "Be brief." in asked
    assert all(set(question) == {"texts", "types"} for question in asking.detector.asked)


AWAY = ["failing", "garbled", "slow", "gone"]


@pytest.mark.parametrize("mode", AWAY)
def test_away(mode: str, asking: Asking) -> None:
    """Nothing passes unseen, and the client is told, in its own format."""
    asking.detector.mode = mode
    before = (
        asking.counted("failures", part="detector"),
        asking.counted("requests", outcome="failed"),
    )
    with asking.guarded.openai() as sdk, pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": unseen(TEXT)}]
        )
    assert (caught.value.status_code, caught.value.code) == (503, "guard_unavailable")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert leaks(caught.value.response.content) == []
    with asking.guarded.anthropic() as claude, pytest.raises(anthropic.APIStatusError) as told:
        claude.messages.create(
            model="claude", max_tokens=9, messages=[{"role": "user", "content": unseen(TEXT)}]
        )
    assert told.value.status_code == 503
    assert asking.guarded.gateway.asked() == []
    after = (
        asking.counted("failures", part="detector"),
        asking.counted("requests", outcome="failed"),
    )
    assert after == (before[0] + 2, before[1] + 2)


@pytest.mark.parametrize("mode", AWAY)
def test_away_on_an_open_route(mode: str, asking: Asking) -> None:
    """What it alone would have found goes up, and that is counted."""
    asking.detector.mode = mode
    before = asking.counted("requests", outcome="unguarded")
    text = unseen(TEXT)
    answer = asking.guarded.chat(text, "open", said=f"Fine, {NAME}.")
    assert answer.status_code == 200, answer.text
    assert f"is {NAME}, and writes to" in asking.guarded.prompt()
    assert answer.json()["choices"][0]["message"]["content"] == f"Fine, {NAME}."
    assert asking.counted("requests", outcome="unguarded") == before + 1


def test_back_again(asking: Asking) -> None:
    """At once, and what failed is not remembered as clean."""
    text = unseen(TEXT) + " and so on, for more than a few characters"
    asking.detector.mode = "failing"
    assert asking.guarded.chat(text).status_code == 503
    asking.detector.mode = "well"
    assert asking.guarded.chat(text).status_code == 200
    assert NAME not in asking.guarded.prompt()


@pytest.mark.parametrize("mode", AWAY)
def test_away_when_the_answer_comes(mode: str, asking: Asking) -> None:
    """No answer passes unseen: an error, or one that ends the stream."""
    asking.detector.mode = mode
    said = unseen(f"Ask {NAME}, who has much to tell, or {EMAIL}.")
    answer = asking.guarded.chat("Hello", "answers", said=said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "guard_unavailable")
    with asking.guarded.openai("answers") as sdk, pytest.raises(openai.APIError) as caught:
        list(
            sdk.chat.completions.create(
                model="gpt", messages=[{"role": "user", "content": "Hello"}], stream=True,
                extra_headers=scripted(text=said, events=9),
            )
        )  # fmt: skip
    assert caught.value.code == "guard_unavailable"
    assert leaks(repr(caught.value.body).encode()) == []


@pytest.mark.parametrize("stream", [False, True])
def test_away_when_the_answer_comes_on_an_open_route(stream: bool, asking: Asking) -> None:
    """What the endpoint alone would have found passes; what the default detector finds does not."""
    asking.detector.mode = "failing"

    def answered(said: str) -> Any:
        return asking.guarded.gateway.chat(
            "gpt", "Hello", script={"text": said}, stream=stream,
            headers=asking.guarded.head("answers-open"),
        )  # fmt: skip

    said = unseen(f"Ask {NAME}, who has much to tell.")
    answer = answered(said)
    assert answer.status_code == 200
    if stream:
        assert chat_text(events(answer.content)) == said
    else:
        assert answer.json()["choices"][0]["message"]["content"] == said
    answer = answered(unseen(f"Ask {NAME} or {EMAIL}."))
    assert "content_blocked" in answer.text
    assert EMAIL not in answer.text


# --- limits -------------------------------------------------------------------------------


def taken(asking: Asking, text: str, route: str) -> int:
    """Input tokens that a request of somebody new takes before it is answered."""
    somebody = asking.guarded.other()
    script = {"usage": {"input": 0, "output": 1}, "text": "Hello", "latency": 0}
    answer = asking.guarded.gateway.chat("gpt", text, script=script, headers=somebody.head(route))
    assert answer.status_code == 200, answer.text
    return 1000 - int(answer.headers["x-ratelimit-remaining-tokens"])


SHRINKS = [
    (VALUES[kind][0].format(VALUES[kind][1]), VALUES[kind][0].format(f"<{kind}_1>"))
    for kind in ("PRIVATE_KEY", "JWT", "API_KEY")
]
GROWS = [(f"from 10.1.{n}.7", f"from <IP_ADDRESS_{n}>") for n in range(1, 20)]


@pytest.mark.parametrize("lines", [SHRINKS, GROWS], ids=["shrinks", "grows"])
def test_limits_count_what_goes_up(lines: list[tuple[str, str]], asking: Asking) -> None:
    text, up = ("\n".join(part) for part in zip(*lines, strict=True))
    plain, changed = (taken(asking, one, "counted-unguarded") for one in (text, up))
    assert abs(plain - changed) > 15
    assert taken(asking, text, "counted") == changed
    assert asking.guarded.prompt() == up


def test_limits_refuse_by_what_goes_up(asking: Asking) -> None:
    """A text that is too long by itself is not, once a long secret has gone out of it."""
    key = VALUES["PRIVATE_KEY"][1]
    text = "\n".join(f"{number}: {key}" for number in range(25))
    refused = asking.guarded.other().chat(text, "bounded-unguarded")
    assert refused.status_code in (400, 429), refused.text
    served = asking.guarded.other().chat(text, "bounded")
    assert served.status_code == 200, served.text
    assert leaks(asking.guarded.sent()) == []
