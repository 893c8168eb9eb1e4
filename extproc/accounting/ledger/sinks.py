"""Sinks: takers of every record beside the store, at least once, each record with its id.

A sink that does not take them never holds up the store or a request. What it has missed waits on
disk, in a part of the spool's room; beyond that the oldest are lost to it, counted and said.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec

from extproc.accounting.ledger.follower import AwayError, Batch, Follower
from extproc.accounting.ledger.pace import PACE, Pace
from extproc.accounting.ledger.segments import LedgerError, id_of_record
from extproc.accounting.ledger.spool import Spool

log = logging.getLogger(__name__)

TOKEN: Final = "TOLLGATE_SINK_TOKEN"  # noqa: S105 - the variable's name
SEND_WITHIN: Final = 10.0
"""Seconds for one request to a webhook."""


class SinkError(Exception):
    """The sink did not take the lines; the text says why and holds no secret."""


class Sink(Protocol):
    """A taker of lines."""

    @property
    def name(self) -> str:
        """For logs and for its cursor's file: letters, digits and dashes, another one for each
        place that records go to."""
        ...

    async def send(self, lines: Sequence[bytes]) -> None:
        """Take records, each as JSON without a line end. Raises SinkError: they come again."""
        ...

    async def close(self) -> None:
        """Give connections and files back."""
        ...


class FileSink:
    """Appends to a file of JSON lines, one write a batch, so several workers may share it.

    The file is opened again when it has been moved or removed (logrotate).
    """

    def __init__(self, path: Path) -> None:
        self.name = f"sink-file-{_digest(str(path.absolute()))}"
        self._path = path
        self._fd: int | None = None
        self._torn = False
        self._one_by_one = asyncio.Lock()

    async def send(self, lines: Sequence[bytes]) -> None:
        """See `Sink`."""
        data = b"".join(line + b"\n" for line in lines)
        try:
            async with self._one_by_one:
                await asyncio.to_thread(self._append, data)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        fd = self._reopened()
        # After a write in part the next line must not be glued to what there is of the last one.
        whole = b"\n" + data if self._torn else data
        written = os.write(fd, whole)
        self._torn = written != len(whole)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _reopened(self) -> int:
        if self._fd is not None:
            try:
                same = os.path.samestat(os.fstat(self._fd), self._path.stat())
            except FileNotFoundError:
                same = False
            if same:
                return self._fd
            os.close(self._fd)
            self._fd = None
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        return self._fd

    async def close(self) -> None:
        """See `Sink`."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class WebhookSink:
    """Posts JSON lines to a URL; any 2xx means taken. Redirects are not followed: the token is
    for the one place that was named.

    The header `idempotency-key` is the same when the same lines come again.
    """

    def __init__(self, url: str, token: str | None = None, within: float = SEND_WITHIN) -> None:
        """`token`: sent as bearer token. Raises LedgerError for what is no http(s) URL and for
        what cannot be sent in a header."""
        try:
            split = urlsplit(url)
            usable = split.scheme in ("http", "https") and split.hostname is not None
            place = f"{split.scheme}://{split.hostname}" + (f":{split.port}" if split.port else "")
        except ValueError:
            usable, place = False, ""
        if not usable:
            raise LedgerError("a sink's URL must be http:// or https:// with a host")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise LedgerError(f"{TOKEN} must be printable ASCII")
        self.name = f"sink-webhook-{_digest(url)}"
        self._url = url
        self._place = place
        self._headers = {"content-type": "application/x-ndjson"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._timeout = aiohttp.ClientTimeout(total=within)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, lines: Sequence[bytes]) -> None:
        """See `Sink`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        ids = "\n".join(map(_id, lines))
        headers = {**self._headers, "idempotency-key": hashlib.sha256(ids.encode()).hexdigest()}
        body = b"".join(line + b"\n" for line in lines)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError as error:
            raise SinkError(f"{self._place}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise SinkError(f"{self._place}: {type(error).__name__}") from error
        if not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3: successful
            raise SinkError(f"{self._place}: status {status}")

    async def close(self) -> None:
        """See `Sink`."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def webhook(url: str, environ: Mapping[str, str]) -> WebhookSink:
    """A webhook with the token of the environment, if there is one. Raises LedgerError."""
    return WebhookSink(url, environ.get(TOKEN) or None)


class SinkFollower(Follower):
    """A sink as taker of one spool's records."""

    def __init__(self, spool: Spool, sink: Sink, pace: Pace = PACE) -> None:
        super().__init__(sink.name, spool, pace)
        self.lost = 0
        """Records that were deleted before the sink took them."""
        self._sink = sink
        self._losing = False

    async def deliver(self, batch: Batch) -> None:
        """Send a batch."""
        try:
            await self._sink.send([each.record for each in batch.settled])
        except SinkError as error:
            raise AwayError(str(error)) from error
        self._losing = False

    def give_up(self, number: int) -> None:
        """Lose what stands in segments up to a number."""
        before = self.waiting
        self.cursor = msgspec.structs.replace(self.cursor, segment=number + 1, offset=0, taken=0)
        lost = before - self.waiting
        self.lost += lost
        if lost and not self._losing:
            self._losing = True
            log.error(
                "sink too far behind, it loses the oldest records",
                extra={"sink": self.name, "records": lost, "waiting": self.waiting},
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _id(line: bytes) -> str:
    try:
        return id_of_record(line)
    except (msgspec.DecodeError, ValueError):
        return _digest(line.decode(errors="replace"))
