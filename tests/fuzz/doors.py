"""Targets behind the dialects' doors: whatever `formats()` and `load()` give is fuzzed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, cast

from extproc import accounting
from extproc.dialects import (
    BadAnswerError,
    ClientFormat,
    ClientRequest,
    Counted,
    Dialect,
    Failure,
    Fault,
    Passed,
    Reply,
    StreamReader,
    Vectors,
    Wire,
    formats,
    load,
    sse,
)
from extproc.dialects.chat.completion import Completion
from extproc.dialects.errors import client_error
from extproc.dialects.openai.servers import servers
from extproc.errors import ClientError
from extproc.policy import DialectName, TargetPolicy
from tests.fuzz import samples
from tests.fuzz.parsers import CUTS, blamed, one_reading, ways
from tests.fuzz.target import Door, Target

NOW: Final = 1_700_000_000.0


@cache
def dialects() -> dict[str, Dialect]:
    """Every provider, with a clock that stands and ids that are known. They are made so: one
    dialect hands both on to another that it holds."""
    steady: dict[str, Any] = {"clock": lambda: NOW, "mint": lambda: "minted"}
    return {name: cast("Any", type(one))(**steady) for name, one in load().items()}


@cache
def clients() -> dict[str, ClientFormat]:
    """Every client's format, likewise."""
    found = formats()
    for one in found.values():
        if hasattr(one, "clock"):
            one.clock = lambda: NOW
    return found


@cache
def streamed() -> tuple[str, ...]:
    """Formats that a model's answer can be written in."""
    return tuple(name for name in clients() if name in accounting.METERS)


def _target(dialect: str, model: str = "m-1", **fields: Any) -> TargetPolicy:
    return TargetPolicy(
        provider="p",
        system="s",
        dialect=cast("DialectName", dialect),
        model=model,
        deployment="d" if dialect == "azure" else None,
        project="p-1" if dialect == "vertex" else None,
        location="europe-west1" if dialect == "vertex" else None,
        **fields,
    )


@cache
def arms() -> list[TargetPolicy]:
    """One target of each dialect."""
    return [_target(name) for name in dialects()]


@cache
def variants() -> list[TargetPolicy]:
    """Targets in which a dialect does something else than usual."""
    found = [
        *(_target("openai", server=name) for name in servers()),
        _target("openai", "gpt-5", server="openai"),
        _target("azure", api_version="2024-10-21"),
        _target("anthropic", "claude-opus-4-1", output_cap=4096),
        _target("gemini", "gemini-2.5-pro"),
        _target("gemini", "gemini-3-pro"),
        _target("vertex", "claude-sonnet-4-5"),
        _target("bedrock", "anthropic.claude-sonnet-4-5-v1:0"),
        _target("bedrock", "amazon.nova-pro-v1:0"),
        _target("cohere", "command-a-reasoning"),
    ]
    return [one for one in found if one.dialect in dialects()]


# --- a client's request -------------------------------------------------------------------


def request(name: str, data: bytes) -> None:
    """A body is refused with the field that is wrong, or every provider can be asked."""
    format_ = clients()[name]
    option, body = data[:1], data[1:]
    try:
        seen = format_.parse(body)
    except ClientError as error:
        blamed(error)
        one_reading(format_.error(error))
        return
    assert seen.format == name
    again = format_.decode(body)
    for field in ("format", "stream", "native_only"):
        assert getattr(again, field) == getattr(seen, field), field
    _limited(format_, seen, body)
    forwarded = format_.forwarded(seen, body, "other")
    if forwarded is not None:
        body = forwarded
        again = format_.decode(body)
        assert again.model == "other"
        assert again.stream == seen.stream
    variant = variants()[option[0] % len(variants())] if option else variants()[0]
    for target in (*arms(), variant):
        _asked(dialects()[target.dialect], again, body, target)


def _limited(format_: ClientFormat, seen: ClientRequest, body: bytes) -> None:
    """Its input is bounded by no less than what is known of it, and its answer can be."""
    bound = seen.bound(body)
    assert bound is None or seen.chat is None or bound >= sum(seen.text)
    assert seen.answers >= 1
    cap = 2000
    capped = format_.parse(format_.capped(seen, body, cap))
    assert (capped.model, capped.stream, capped.text) == (seen.model, seen.stream, seen.text)
    if seen.format in ("embeddings", "count_tokens"):
        assert capped.max_output is None
    else:
        assert capped.max_output == min(cap, cap if seen.max_output is None else seen.max_output)


def _asked(dialect: Dialect, request: ClientRequest, body: bytes, target: TargetPolicy) -> None:
    lacking = dialect.lacks(request, target)
    if lacking is not None:
        assert lacking.partition(":")[0].strip()
        json.dumps(lacking).encode()
        return
    wire = dialect.write(request, body, target)
    if isinstance(wire, Counted):
        assert wire.tokens >= 0
        return
    if dialect.ready(request, target):
        assert dialect.native(request.format, target)
        assert wire.path == dialect.endpoint(request.format, target)
    assert wire.path.startswith("/")
    assert wire.path.isascii()
    assert wire.path.isprintable()
    assert " " not in wire.path
    assert isinstance(one_reading(wire.body), dict)
    for header, value in wire.headers:
        assert header == header.lower()
        assert value.isascii()
        assert value.isprintable()
    for warning in wire.warnings:
        assert warning.encode("ascii").decode().isprintable()


# --- an answer in a client's format -------------------------------------------------------


def look(name: str, data: bytes) -> None:
    """A whole answer that passes is judged, or is none."""
    usage, model = accounting.read_answer(data, name)
    accounting.estimate_answer(data, name, 10)
    assert model is None or isinstance(model, str)
    assert usage is None or usage.input >= 0
    try:
        refused = clients()[name].look(data)
    except BadAnswerError:
        return
    assert isinstance(refused, bool)
    assert isinstance(json.loads(data), dict)


def watch(name: str, data: bytes) -> None:
    """A stream that passes is not changed, and seen the same however it is cut."""
    places, stream = data[:CUTS], data[CUTS:]
    whole = _read(clients()[name].watch(), [stream])
    assert whole.out == stream
    for pieces in ways(stream, places):
        assert _read(clients()[name].watch(), pieces) == whole


def meter(name: str, data: bytes) -> None:
    """Usage and what goes on are the same however a stream is cut."""
    option, places, stream = data[:1], data[1 : 1 + CUTS], data[1 + CUTS :]
    hide = bool(option) and option[0] % 2 == 1

    def run(pieces: Sequence[bytes]) -> tuple[Any, ...]:
        one = accounting.meter_of(name, hide_usage=hide, price=None, input_estimate=5)
        out = b"".join(map(one.feed, pieces)) + one.end()
        return out, one.billed(), one.model, one.done, one.failed, one.content, one.events

    whole = run([stream])
    for pieces in ways(stream, places):
        assert run(pieces) == whole
    billed = whole[1]
    assert 0 <= billed.cached_input + billed.cache_write <= billed.input
    assert 0 <= billed.reasoning <= billed.output


# --- a provider's answer ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what reading the answer has to know of it."""

    client: str
    request: ClientRequest
    reply: Reply


@cache
def _asked_of(name: str) -> list[Asked]:
    """Everything that a dialect's answers may be answers to."""
    found: dict[tuple[str, Reply], Asked] = {}
    for client, format_ in clients().items():
        for body in samples.CLIENTS[client].requests:
            request = format_.decode(body)
            for target in (*arms(), *variants()):
                if target.dialect != name or dialects()[name].lacks(request, target) is not None:
                    continue
                wire = dialects()[name].write(request, body, target)
                native = dialects()[name].native(client, target)
                # Of what passes nothing is read here but for what the dialect wants to mend.
                if isinstance(wire, Wire) and (wire.reply.passed or not native):
                    found.setdefault((client, wire.reply), Asked(client, request, wire.reply))
    return list(found.values())


def answer(name: str, data: bytes) -> None:
    """A whole answer is read and can be written in every client's format, or is none."""
    every = _asked_of(name)
    asked = every[data[0] % len(every)] if data else every[0]
    reply = asked.reply
    try:
        found = dialects()[name].read(data[1:], reply)
    except BadAnswerError as error:
        json.dumps(str(error)).encode()
        return
    if isinstance(found, Passed):
        assert reply.passed
        clients()["chat"].look(found.body)
        return
    if isinstance(found, Completion):
        assert reply.kind == "chat"
    else:
        assert reply.kind == ("embeddings" if isinstance(found, Vectors) else "count_tokens")
    format_ = clients()[asked.client]
    written = format_.whole(found, asked.request)
    assert isinstance(one_reading(written), dict)
    format_.look(written)
    usage, _ = accounting.read_answer(written, asked.client)
    assert usage is not None or not _believable(found)


def _believable(found: Completion | Vectors | Counted) -> bool:
    most = 1_000_000_000
    if isinstance(found, Completion):
        return found.usage.prompt <= most and found.usage.completion <= most
    return found.tokens <= most


@dataclass(frozen=True, slots=True)
class Run:
    """What a reader made of a stream."""

    out: bytes
    content: bool
    finished: bool
    refused: bool
    failure: Failure | None


def _read(reader: StreamReader, pieces: Sequence[bytes]) -> Run:
    out = b"".join(map(reader.feed, pieces)) + reader.end()
    return Run(out, reader.content, reader.finished, reader.refused, reader.failure)


def stream(name: str, data: bytes) -> None:
    """A stream is translated the same however it is cut; what comes out is a stream of the
    client's format, up to where the provider's failed."""
    option, places, body = data[:1], data[1 : 1 + CUTS], data[1 + CUTS :]
    chosen = option[0] if option else 0
    every = [one for one in _asked_of(name) if one.client in streamed()]
    asked = every[chosen % len(every)]
    client, reply = asked.client, asked.reply
    format_ = clients()[client]

    def run(pieces: Sequence[bytes]) -> Run:
        return _read(dialects()[name].stream(format_.writer(asked.request), reply), pieces)

    whole = run([body])
    for pieces in ways(body, places):
        assert run(pieces) == whole
    if reply.passed:
        return  # what is not the provider's own format passes as it came
    out = whole.out
    if whole.failure is not None:
        told(whole.failure)
        out += format_.error_event(client_error(whole.failure), out.count(b"\n\n"))
    parser = sse.Parser()
    for event in (*parser.feed(out), *parser.end()):
        assert event.data == b"[DONE]" or isinstance(one_reading(event.data), dict)
    seen = _read(format_.watch(), [whole.out])
    assert not whole.out or seen.failure is None
    assert seen.finished or not (whole.out and whole.finished) or whole.failure is not None
    counted = accounting.meter_of(client, price=None)
    counted.feed(whole.out)
    assert not counted.failed


# --- a provider's error -------------------------------------------------------------------

_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"content-type": "application/json", "retry-after": "7"},
    {"content-type": "text/html", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"},
    {"retry-after-ms": "1500", "retry-after": "-1"},
    {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"},
    {"retry-after": "nan", "x-should-retry": "true"},
)
_STATUSES: Final = (200, 400, 401, 402, 403, 404, 408, 413, 422, 424, 429, 500, 502, 503, 504, 529)


def failure(name: str, data: bytes) -> None:
    """Any error answer is read, and can be told to every client."""
    option, body = data[:2] + bytes(2 - len(data[:2])), data[2:]
    status = _STATUSES[option[0]] if option[0] < len(_STATUSES) else option[0] * 4
    headers = _HEADERS[option[1] % len(_HEADERS)]
    found = dialects()[name].failure(status, headers, body)
    assert isinstance(found, Failure)
    told(found)


def limits(name: str, data: bytes) -> None:
    """Headers of any text: limits under OpenAI's names, and a wait that can be waited."""
    headers = {}
    for line in data.decode("latin-1").split("\n"):
        header, _, value = line.partition(":")
        headers[header.strip().lower()] = value.strip()
    for header, value in dialects()[name].limits(headers):
        assert header.startswith("x-ratelimit-")
        assert value.isascii()
        assert value.isprintable()
    for status in (429, 503):
        told(dialects()[name].failure(status, headers, b""))


def told(found: Failure) -> None:
    """A failure that every client can be told of."""
    assert isinstance(found.fault, Fault)
    assert found.message
    assert len(found.message) <= 1000
    assert found.retry_after is None or 0 <= found.retry_after <= 86_400
    error = client_error(found)
    assert 400 <= error.status < 600
    for format_ in clients().values():
        assert isinstance(one_reading(format_.error(error)), dict)
    for name in streamed():
        parser = sse.Parser()
        sent = clients()[name].error_event(error, 3)
        [event, *_] = parser.feed(sent) + parser.end()
        assert isinstance(one_reading(event.data), dict)
    for _, value in error.headers():
        assert value.isprintable()


# --- the table ----------------------------------------------------------------------------


def every() -> list[Target]:
    """The targets of all formats and all dialects that there are."""
    found = []
    for name in clients():
        known = samples.CLIENTS[name]
        asking = Door(partial(request, name), "json", 1, known.requests)
        answering = [Door(partial(look, name), "json", 0, known.answers)]
        if name in streamed():
            answering += [
                Door(partial(watch, name), "sse", CUTS, known.streams),
                Door(partial(meter, name), "sse", 1 + CUTS, known.streams),
            ]
        found += [
            Target(f"client.{name}", (asking,)),
            Target(f"client.{name}.answer", tuple(answering)),
        ]
    for name, dialect in dialects().items():
        said = samples.PROVIDERS[name]
        framing = "sse" if dialect.stream_type == "text/event-stream" else "event_stream"
        whole = (
            Door(partial(answer, name), "json", 1, said.answers),
            Door(partial(failure, name), "json", 2, said.errors),
            Door(partial(limits, name), "text", 0, said.headers),
        )
        flowing = Door(partial(stream, name), framing, 1 + CUTS, said.streams)
        found += [
            Target(f"provider.{name}.answer", whole),
            Target(f"provider.{name}.stream", (flowing,)),
        ]
    return found
