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

import msgspec

from extproc.accounting.ledger.follower import AwayError, Batch, Follower
from extproc.accounting.ledger.pace import PACE, Pace
from extproc.accounting.ledger.segments import LedgerError, id_of_record
from extproc.accounting.ledger.spool import Spool
from extproc.webhook import SEND_WITHIN, Webhook, WebhookError

log = logging.getLogger(__name__)

TOKEN: Final = "TOLLGATE_SINK_TOKEN"  # noqa: S105 - the variable's name


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
    """Posts JSON lines to a URL.

    The header `idempotency-key` is the same when the same lines come again.
    """

    def __init__(self, url: str, token: str | None = None, within: float = SEND_WITHIN) -> None:
        """`token`: sent as bearer token. Raises LedgerError for what is no http(s) URL and for
        what cannot be sent in a header."""
        try:
            self._webhook = Webhook(
                url, what="a sink's", variable=TOKEN, token=token, within=within
            )
        except ValueError as error:
            raise LedgerError(str(error)) from error
        self.name = f"sink-webhook-{_digest(url)}"

    async def send(self, lines: Sequence[bytes]) -> None:
        """See `Sink`."""
        ids = "\n".join(map(_id, lines))
        headers = {
            "content-type": "application/x-ndjson",
            "idempotency-key": hashlib.sha256(ids.encode()).hexdigest(),
        }
        try:
            await self._webhook.post(b"".join(line + b"\n" for line in lines), headers)
        except WebhookError as error:
            raise SinkError(str(error)) from error

    async def close(self) -> None:
        """See `Sink`."""
        await self._webhook.close()


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
