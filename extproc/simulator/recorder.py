"""What the simulator received and what it answered, so that tests can look.

Heads and bodies are kept as received and parsed only when somebody asks.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec

from extproc.simulator.chat import NOTHING, Usage

KEPT = 10_000
KEPT_BYTES = 256 * 1024 * 1024
"""Bodies beyond this together are dropped, oldest first; their records stay."""


class Record:
    """One request and its answer. Times are seconds since the request was whole."""

    __slots__ = (
        "body",
        "dialect",
        "disconnected",
        "events",
        "head",
        "method",
        "model",
        "outcome",
        "path",
        "port",
        "replayed",
        "seconds",
        "sequence",
        "started",
        "status",
        "stream",
        "time",
        "total",
        "usage",
    )

    def __init__(self, sequence: int, port: str, method: str, path: str, head: bytes) -> None:
        self.sequence = sequence
        self.port = port
        self.dialect = ""
        self.method = method
        self.path = path
        self.head = head
        self.body: bytes | None = b""
        self.time = time.time()
        self.started = time.monotonic()
        self.model = ""
        self.stream = False
        self.status: int | None = None
        """None until the head is sent."""
        self.usage: Usage | None = None
        """What the whole answer reports, or would."""
        self.events = 0
        """Content events sent; 1 for a whole answer that is not streamed."""
        self.total = 0
        self.outcome = "open"
        """`open`, `whole`, `reset`, `silent`, `cut` (ended early or garbled), `error` (an error
        answer or event) or `gone` (the client left)."""
        self.disconnected: float | None = None
        self.seconds: float | None = None
        self.replayed: str | None = None

    @property
    def billed(self) -> Usage:
        """Tokens for what has been sent."""
        return NOTHING if self.usage is None else self.usage.after(self.events, self.total)

    def headers(self) -> list[list[str]]:
        """Headers as received, in order, names in the client's case."""
        found = []
        for line in self.head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            found.append([name.decode("latin-1"), value.strip(b" \t").decode("latin-1")])
        return found

    def header(self, name: str) -> str | None:
        """The first header of that name, any case, or None."""
        name = name.lower()
        return next((value for key, value in self.headers() if key.lower() == name), None)

    def json(self) -> Any:
        """The body, parsed if it is JSON, else as text; None if it was dropped."""
        if self.body is None:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.body.decode("utf-8", "replace")

    def as_dict(self) -> dict[str, Any]:
        """The record for `GET /_sim/requests`."""
        return {
            "sequence": self.sequence,
            "time": self.time,
            "port": self.port,
            "dialect": self.dialect,
            "method": self.method,
            "path": self.path,
            "headers": self.headers(),
            "body": self.json(),
            "model": self.model,
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome,
            "usage": self.usage,
            "billed": self.billed,
            "events": self.events,
            "total_events": self.total,
            "disconnected": self.disconnected is not None,
            "disconnected_at": self.disconnected,
            "seconds": self.seconds,
            "replayed": self.replayed,
        }


class Totals(msgspec.Struct):
    """Sums of one port since the start or the last clearing."""

    requests: int = 0
    ended: int = 0
    """Requests whose answer is over, whatever its outcome."""
    failed: int = 0
    """Those answered with a status of 400 or more."""
    disconnected: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Recorder:
    """The last 10,000 records, and totals of all."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._with_body: deque[Record] = deque()
        self._bytes = 0
        self._sequence = 0
        self._totals: dict[str, Totals] = {}

    def start(self, port: str, method: str, path: str, head: bytes, body: bytes) -> Record:
        """A request came."""
        self._sequence += 1
        record = Record(self._sequence, port, method, path, head)
        record.body = body
        self._records.append(record)
        self.totals_of(port).requests += 1
        self._bytes += len(body)
        self._with_body.append(record)
        while self._bytes > KEPT_BYTES or len(self._with_body) > KEPT:
            oldest = self._with_body.popleft()
            self._bytes -= len(oldest.body or b"")
            oldest.body = None
        return record

    def end(self, record: Record, outcome: str) -> None:
        """Its answer is over. Only the first end counts."""
        if record.seconds is not None:
            return
        record.seconds = time.monotonic() - record.started
        record.outcome = outcome
        totals = self.totals_of(record.port)
        totals.ended += 1
        totals.failed += record.status is not None and record.status >= 400  # noqa: PLR2004
        if outcome == "gone":
            record.disconnected = record.seconds
            totals.disconnected += 1
        billed = record.billed
        totals.input += billed.input
        totals.output += billed.output
        totals.cached += billed.cached
        totals.cache_write += billed.cache_write
        totals.reasoning += billed.reasoning

    def totals_of(self, port: str) -> Totals:
        """The sums of a port."""
        found = self._totals.get(port)
        if found is None:
            found = self._totals[port] = Totals()
        return found

    def totals(self) -> dict[str, Totals]:
        """The sums of every port that was asked anything."""
        return dict(self._totals)

    def since(self, sequence: int = 0, port: str | None = None) -> list[Record]:
        """Records after that sequence number, oldest first."""
        return [
            one
            for one in self._records
            if one.sequence > sequence and (port is None or one.port == port)
        ]

    def clear(self) -> None:
        """Forget records and sums. Sequence numbers go on; requests still open count from here
        when they end."""
        self._records.clear()
        self._with_body.clear()
        self._bytes = 0
        self._totals.clear()
