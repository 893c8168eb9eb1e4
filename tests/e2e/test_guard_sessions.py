"""Conversations over several turns, workers and a restart, on both stores; and no value in anything
that the gateway writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.e2e.conftest import Json, poll
from tests.e2e.guard_gateways import (
    CARD,
    EMAIL,
    EVERYTHING,
    EVERYTHING_UP,
    LETTER,
    LETTER_UP,
    PERSON,
    VALUES,
    Guarded,
    guarded_gateway,
    leaks,
    scripted,
)
from tests.e2e.ledger_books import admin, at_rest, rows, told
from tests.e2e.ledger_processes import Service
from tests.e2e.levels import PNG

pytestmark = pytest.mark.e2e

OTHER = "bob.other@posteo-mail.example"
CANARY = "canary-7c1f-stands-here"
KEEPING = ("content", "hidden")
"""Routes that keep what was asked and answered."""


@pytest.fixture(scope="module", params=["embedded", "redis"])
def guarded_one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    with guarded_gateway(tmp_path_factory.mktemp(request.param), store=request.param) as found:
        yield found


@pytest.fixture
def guarded(guarded_one: Guarded) -> Guarded:
    """The gateway, with the simulator's record empty."""
    guarded_one.gateway.forget()
    return guarded_one


def turn(guarded: Guarded, text: str, said: str, session: str, user: str = "ann") -> str:
    """What the client of a session reads."""
    whose = {"session": session, "user": user}
    answer = guarded.chat(text, said=said, attribution=whose)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def session() -> str:
    """A new one."""
    return f"s-{time.monotonic_ns()}"


# --- turns --------------------------------------------------------------------------------


def test_a_later_turn_knows_what_was_said(guarded: Guarded) -> None:
    """Clients that send only what is new; each turn goes to whatever worker."""
    name = session()
    emails = [f"guest{number}.quill@posteo-mail.example" for number in range(8)]
    for number, email in enumerate(emails, 1):
        so_far = " ".join(f"<EMAIL_ADDRESS_{one}>" for one in range(1, number + 1))
        read = turn(guarded, f"And write to {email}.", f"To {so_far}!", name)
        assert guarded.prompt() == f"And write to <EMAIL_ADDRESS_{number}>."
        assert read == f"To {' '.join(emails[:number])}!"
    assert turn(guarded, "Hello", "<EMAIL_ADDRESS_3>", name) == emails[2]
    sent = guarded.sent()
    assert not [one for one in emails if one.encode() in sent]


def test_every_worker_had_a_part(guarded: Guarded) -> None:
    """So that the test before is about two processes where there are two."""
    url = f"http://127.0.0.1:{guarded.gateway.envoy_admin}/clusters?format=json"
    clusters = guarded.gateway.http.get(url).json()["cluster_statuses"]
    asked = {
        host["address"]["pipe"]["path"]: int(stat.get("value", 0))
        for cluster in clusters
        for host in cluster.get("host_statuses", ())
        if "pipe" in host["address"]
        for stat in host["stats"]
        if stat["name"] == "rq_total"
    }
    assert len(asked) == (2 if guarded.redis else 1)
    assert all(asked.values())


def test_a_history_that_comes_back(guarded: Guarded) -> None:
    """With values put back, as clients keep it: the numbers stay, in a session and without."""
    for whose in ({}, {"x-tollgate-session": session(), "x-tollgate-user": "ann"}):
        guarded.gateway.forget()
        turns: list[Any] = [{"role": "user", "content": f"Not {OTHER}. {LETTER}"}]
        up = [f"Not <EMAIL_ADDRESS_1>. {LETTER_UP.replace('ADDRESS_1', 'ADDRESS_2')}"]
        with guarded.openai() as sdk:
            for text, said in [
                ("And now?", "<PERSON_1> has <EMAIL_ADDRESS_2>."),
                (f"To {EMAIL}?", "Yes, <EMAIL_ADDRESS_2> and not <EMAIL_ADDRESS_1>."),
                ("So?", "<PERSON_1>"),
            ]:
                answer = sdk.chat.completions.create(
                    model="claude", messages=turns, extra_headers={**whose, **scripted(text=said)}
                )
                read = answer.choices[0].message.content
                turns += [{"role": "assistant", "content": read}, {"role": "user", "content": text}]
                up += [said, text.replace(EMAIL, "<EMAIL_ADDRESS_2>")]
        assert turns[-2]["content"] == PERSON
        assert turns[-4]["content"] == f"Yes, {EMAIL} and not {OTHER}."
        sent = json.dumps(guarded.gateway.asked()[-1]["body"]["messages"])
        assert not [one for one in up[:-2] if json.dumps(one)[1:-1] not in sent]
        assert leaks(guarded.sent()) == []
        assert OTHER.encode() not in guarded.sent()


def test_nobody_else_gets_a_sessions_values(guarded: Guarded) -> None:
    """Another user, another key, another session, and nobody's: the name alone opens nothing."""
    name = session()
    said = "<PERSON_1> <EMAIL_ADDRESS_1>"
    assert turn(guarded, LETTER, said, name) == f"{PERSON} {EMAIL}"
    assert turn(guarded, "Hello", said, name) == f"{PERSON} {EMAIL}"
    assert turn(guarded, "Hello", said, name, user="bob") == said
    assert turn(guarded, "Hello", said, session()) == said
    assert turn(guarded.other(), "Hello", said, name) == said
    assert turn(guarded.other(tenant="acme"), "Hello", said, name) == said
    no_session = guarded.chat("Hello", said=said, attribution={"user": "ann"})
    assert no_session.json()["choices"][0]["message"]["content"] == said
    # Bob's numbers are his own, and leave Ann's alone.
    assert turn(guarded, f"Write to {OTHER}.", said, name, user="bob") == f"<PERSON_1> {OTHER}"
    assert turn(guarded, "Hello", said, name) == f"{PERSON} {EMAIL}"


def test_many_at_once_in_one_session(guarded: Guarded) -> None:
    """No number is given twice, whichever worker is faster."""
    name = session()
    emails = [f"crowd{number}.quill@posteo-mail.example" for number in range(12)]

    def ask(email: str) -> str:
        said = " ".join(f"<EMAIL_ADDRESS_{number}>" for number in range(1, len(emails) + 1))
        return turn(guarded, f"Write to {email}.", said, name)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, emails))
    prompts = [one["body"]["messages"][0]["content"] for one in guarded.gateway.asked()]
    assert len(set(prompts)) == len(emails)
    assert all(email in answer for email, answer in zip(emails, answers, strict=True))
    said = " ".join(f"<EMAIL_ADDRESS_{number}>" for number in range(1, len(emails) + 1))
    assert sorted(turn(guarded, "Hello", said, name).split()) == sorted(emails)


def test_a_streamed_turn(guarded: Guarded) -> None:
    name = session()
    turn(guarded, LETTER, "Well.", name)
    with guarded.anthropic(session=name, user="ann") as sdk:
        ask: Any = {"model": "gemini", "max_tokens": 99}
        with sdk.messages.stream(
            **ask, messages=[{"role": "user", "content": "Who?"}],
            extra_headers=scripted(text=LETTER_UP, events=20),
        ) as events:  # fmt: skip
            assert events.get_final_text() == LETTER


# --- nothing is written -------------------------------------------------------------------


def use(guarded: Guarded) -> None:
    """Requests of every kind, with values of every type."""
    name = session()
    up = {"text": f"{EVERYTHING_UP} {CANARY}", "events": 50}
    whose = {"session": name, "user": "ann"}
    for route in ("guarded", "one-way", "mask", "hash", "flag", "observe", "block", "both",
                  "answers-observed", "content", "hidden", "counted"):  # fmt: skip
        for stream in (False, True):
            body: Json = {"messages": [{"role": "user", "content": EVERYTHING}], "stream": stream}
            for path, model, asked in (
                ("chat/completions", "gpt", body),
                ("chat/completions", "gemini", body),
                ("messages", "claude", {**body, "max_tokens": 2000}),
                ("responses", "gpt-five", {"input": EVERYTHING, "stream": stream}),
            ):
                head = {**guarded.head(route, **whose), **scripted(**up)}
                url = f"{guarded.gateway.url}/{path}"
                guarded.gateway.http.post(url, json={"model": model, **asked}, headers=head)
    # What the model says of its own, and what must not come out.
    own = scripted(text=f"{EVERYTHING} {CANARY}", events=50)
    for stream in (False, True):
        for route in ("answers", "both", "both-block", "answers-observed"):
            head = {**guarded.head(route, **whose), **own}
            body = {"messages": [{"role": "user", "content": "Hello"}], "stream": stream}
            url = f"{guarded.gateway.url}/chat/completions"
            guarded.gateway.http.post(url, json={"model": "claude", **body}, headers=head)
    # Mistakes of the client's, and of the provider's.
    for wrong in (
        {"model": "gpt", "messages": EVERYTHING},
        {"model": "gpt", "messages": [{"role": EMAIL, "content": EVERYTHING}]},
        {"model": "gpt", "messages": [{"role": "user", "content": EVERYTHING}], EMAIL: CARD},
        {"model": "gpt", "messages": [{"role": "tool", "content": EVERYTHING}]},
        {"model": "gpt", "messages": [
            {"role": "user", "content": EVERYTHING},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
        ]},
    ):  # fmt: skip
        guarded.post("chat/completions", wrong, "media", **whose)
    head = guarded.head(**whose)
    guarded.gateway.raw(f'{{"model": "gpt", {EVERYTHING}'.encode(), **head)
    for script in ({"status": 400, "message": EVERYTHING_UP}, {"status": 500}, {"garbage": "html"},
                   {"error_at": 1, "message": EVERYTHING_UP}, {"stop_early": 2}):  # fmt: skip
        guarded.gateway.chat("gpt", EVERYTHING, headers=head, script=script, stream=True)
    guarded.post("embeddings", {"model": "vectors", "input": [EVERYTHING]})


def written(guarded: Guarded) -> dict[str, bytes]:
    """Everything that the gateway has written or tells, by its name."""
    gateway = guarded.gateway
    found = {
        str(one.relative_to(gateway.folder)): one.read_bytes()
        for one in sorted(gateway.folder.rglob("*"))
        if one.is_file()
    }
    found["metrics"] = gateway.metrics().encode()
    found["records"] = admin(gateway, "/usage/records", since="1h").content
    for line in found["records"].splitlines():
        one = json.loads(line)
        if one["route"] in KEEPING:
            found[f"{one['route']} {one['id']}"] = admin(
                gateway, f"/usage/requests/{one['id']}"
            ).content
    found["usage"] = told(gateway, "usage", "--by", "route,user", "--json").encode()
    found["guard"] = told(gateway, "usage", "--by", "guard_type,guard_action", "--json").encode()
    for path in ("config_dump", "stats", "clusters", "server_info"):
        url = f"http://127.0.0.1:{gateway.envoy_admin}/{path}"
        found[f"envoy {path}"] = gateway.http.get(url).content
    if guarded.redis is not None:
        with redis.Redis.from_url(guarded.redis.url) as client:
            for key in client.scan_iter(count=1000):
                found[f"redis {key!r}"] = key + _value(client, key)
        for one in guarded.redis.folder.rglob("*"):
            if one.is_file():
                found[f"redis {one.name}"] = one.read_bytes()
    return found


def _value(client: Any, key: bytes) -> bytes:
    """All that a key holds."""
    match client.type(key):
        case b"string":
            return bytes(client.get(key))
        case b"hash":
            return b"\n".join(part for pair in client.hgetall(key).items() for part in pair)
        case b"list":
            return b"\n".join(client.lrange(key, 0, -1))
        case b"set":
            return b"\n".join(client.smembers(key))
        case b"zset":
            return b"\n".join(client.zrange(key, 0, -1))
        case b"stream":
            return b"\n".join(
                part for _, entry in client.xrange(key) for pair in entry.items() for part in pair
            )
        case other:
            raise AssertionError(other)


def test_no_value_is_written(guarded: Guarded) -> None:
    """Not into the store, the ledger, logs, figures, nor Envoy's: looked for byte by byte."""
    own = f"{guarded.gateway.simulator}"
    answer = guarded.chat(f"{EVERYTHING} {CANARY}", "unguarded")
    assert answer.status_code == 200, own
    use(guarded)
    at_rest(guarded.gateway)
    name = answer.headers["x-tollgate-request-id"]
    guarded.gateway.access_log(name)
    found = written(guarded)
    # The configuration says that this word is to be found, and so does Envoy wherever it tells it.
    where = {
        name: kinds
        for name, data in found.items()
        if (kinds := leaks(data)) and not (kinds == ["CUSTOM:project"] and b"words" in data)
    }
    assert where == {}
    # It was looked for where things are: what was asked and answered is on record.
    kept = [data.decode() for name, data in found.items() if name.startswith("content ")]
    assert len(kept) == 8
    assert all("<US_ITIN_1>" in data for data in kept)
    assert sum(CANARY in data for data in kept) >= 4  # a stream may have it in pieces
    assert {row["guard_type"] for row in rows(guarded.gateway, "--by", "guard_type")} >= {
        "EMAIL_ADDRESS", "PERSON", "CUSTOM:project",
    }  # fmt: skip


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (EVERYTHING.replace(CARD, "4711"), 200),  # redacted
        (f"{CANARY} Dear Mrs {PERSON}, charge card {CARD}.", 400),  # blocked
    ],
)
def test_what_is_kept_of_answers(said: str, status: int, streams: bool, guarded: Guarded) -> None:
    """The record of a request has nothing that the guard let not through to the client."""
    text = f"{LETTER} {CANARY}"
    script = {"text": f"{said} {LETTER_UP}", "events": 40}
    head = guarded.head("content-both")
    answer = guarded.gateway.chat("gpt", text, script=script, headers=head, stream=streams)
    assert answer.status_code == (200 if streams else status)
    at_rest(guarded.gateway)
    name = answer.headers["x-tollgate-request-id"]
    found = admin(guarded.gateway, f"/usage/requests/{name}")
    assert CANARY in found.text
    assert leaks(found.content) == []
    if status == 200:
        assert EMAIL in answer.text


# --- the store is away --------------------------------------------------------------------


def test_without_its_store_no_turn_goes_up_unseen(guarded: Guarded) -> None:
    """Whatever else needs the store may be what refuses."""
    if guarded.redis is None:
        pytest.skip("the embedded store is in the service itself")
    name = session()
    whose = {"session": name, "user": "ann"}
    assert turn(guarded, LETTER, "<PERSON_1>", name) == PERSON
    guarded.gateway.forget()
    guarded.redis.kill()
    try:
        closed = guarded.chat(LETTER, attribution=whose)
        assert closed.status_code == 503, closed.text
        assert leaks(closed.content) == []
        assert guarded.gateway.asked() == []
    finally:
        guarded.redis.start()
    poll(
        lambda: guarded.chat("Hello", attribution=whose).status_code == 200,
        within=30,
        what="an answer after Redis came back",
    )
    assert turn(guarded, "Hello", "<PERSON_1>", name) == PERSON


# --- a restart ----------------------------------------------------------------------------


def test_a_restart_between_turns(guarded: Guarded) -> None:
    """The last test of its gateway: its service is killed and started by another parent."""
    name = session()
    said = "<PERSON_1> <EMAIL_ADDRESS_1>"
    assert turn(guarded, LETTER, said, name) == f"{PERSON} {EMAIL}"
    gateway = guarded.gateway
    with Service.held(gateway) as service:
        service.kill()
        service.start()

        def ready() -> bool:
            try:
                return admin(gateway, "/readyz").status_code == 200
            except Exception:  # noqa: BLE001 - nobody listens yet
                return False

        poll(ready, within=60, what="the service's second start")

        def served() -> Any:
            answer = guarded.chat(
                f"And {OTHER}?", said=f"{said} <EMAIL_ADDRESS_2>",
                attribution={"session": name, "user": "ann"},
            )  # fmt: skip
            return answer if answer.status_code == 200 else None

        answer = poll(served, within=30, what="an answer after the restart")
        read = answer.json()["choices"][0]["message"]["content"]
        assert read == f"{PERSON} {EMAIL} {OTHER}"
        assert guarded.prompt() == "And <EMAIL_ADDRESS_2>?"
        assert leaks(guarded.sent(), VALUES) == []
