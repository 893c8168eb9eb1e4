"""A thousand streams at once through Tollgate: does every byte arrive?

Each stream has a text of its own that the simulator is told to send. The answer is whole when its
framing ended as HTTP says, `[DONE]` came last, the pieces together are that text to the
character, and there are as many of them as the simulator says it sent.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tests.bench import workload
from tests.bench.gateway import Running
from tests.bench.load import Answer, Job, answers

EVENTS: Final = 40
RATE: Final = 5.0
"""Events a second of each stream: they last for 8 s, longer than it takes to open them all."""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_DECODER: Final = msgspec.json.Decoder(_Chunk)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the streams."""

    streams: int
    lost: int
    """Streams of which anything is missing."""
    events: int
    """Content events that arrived."""
    sent: int
    """Content events that the simulator says it sent."""
    size: int
    """Bytes of all bodies."""
    seconds: float
    reasons: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """For a person."""
        why = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common())
        return (
            f"{self.streams} streams at once: {self.lost} lost a byte"
            f"{f' ({why})' if why else ''}; {self.events:,} content events of {self.sent:,} sent, "
            f"{self.size / 1e6:.1f} MB, {self.seconds:.1f} s"
        )

    def plain(self) -> dict[str, Any]:
        """For the JSON object."""
        return {
            "streams": self.streams,
            "lost": self.lost,
            "events": self.events,
            "sent": self.sent,
            "seconds": round(self.seconds, 2),
            "reasons": dict(self.reasons),
        }


def _text(number: int) -> str:
    return " ".join(f"s{number}w{word}" for word in range(EVENTS))


async def check(gateway: Running, streams: int) -> Report:
    """Run them all at once."""
    requests = [
        workload.chat(
            stream=True, sim={"text": _text(number), "rate": RATE, "latency": workload.LATENCY}
        )
        for number in range(streams)
    ]
    await gateway.forget()
    began = time.perf_counter()
    job = Job(port=gateway.port, requests=requests, connections=streams, each=1, keep=True)
    found = await answers(job)
    seconds = time.perf_counter() - began
    records = [one for one in await gateway.records() if one["stream"]]
    return _report(streams, found, records, seconds)


def _report(
    streams: int, found: list[Answer], records: list[dict[str, Any]], seconds: float
) -> Report:
    wanted = {_text(number) for number in range(streams)}
    reasons = Counter[str]()
    events = 0
    for answer in found:
        pieces = _pieces(answer.body)
        events += len(pieces)
        reason = _fault(answer, pieces, wanted)
        if reason:
            reasons[reason] += 1
    if len(found) < streams:
        reasons["no answer"] += streams - len(found)
    return Report(
        streams=streams,
        lost=reasons.total(),
        events=events,
        sent=sum(one["events"] for one in records),
        size=sum(one.size for one in found),
        seconds=seconds,
        reasons=reasons,
    )


def _fault(answer: Answer, pieces: list[str], wanted: set[str]) -> str:
    """What is wrong with a stream; nothing if it is whole. Takes its text out of `wanted`."""
    if answer.status != 200:
        return f"status {answer.status}"
    if not answer.whole:
        return "truncated"
    if not answer.done:
        return "no [DONE]"
    if len(pieces) != EVENTS:
        return "other number of events"
    text = "".join(pieces)
    if text not in wanted:
        return "other text"
    wanted.remove(text)
    return ""


def _pieces(body: bytes) -> list[str]:
    """The content of every event that has any."""
    found = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            chunk = _DECODER.decode(line[6:])
            found += [one.delta.content for one in chunk.choices if one.delta.content]
    return found
