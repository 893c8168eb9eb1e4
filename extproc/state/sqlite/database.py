"""One SQLite file: made whole or not at all, written by one thread, read by another, and looked
into at once by whoever cannot wait.

A crash leaves a file whole. One that is cut short, overwritten or of another version is *corrupt*,
and told apart from one that merely cannot be used now (disk full, read-only, locked), which is
tried again with the next call.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import quote

from extproc.state import StateError
from extproc.state.threads import Desk

log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
"""How long to wait for another process's lock; nobody else should have the file open."""
WAL_BYTES: Final = 64 * 1024 * 1024
"""What a write-ahead log that grew under a long query is cut to afterwards."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BEYOND_REPAIR: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds."""

    version: int
    """Kept as `user_version`; 1 or more. Changes with the statements."""
    statements: tuple[str, ...]
    synchronous: Literal["NORMAL", "FULL"]
    """NORMAL may lose the last transactions when power fails, and only then."""
    replaceable: bool
    """A file that cannot be read is moved aside and a new one begun; else nothing works until
    somebody has looked at it."""
    wiped: bool = False
    """What is deleted is overwritten with zeros. The log beside the file may still hold it until
    it begins anew."""


class CorruptError(Exception):
    """The file is not what was written."""


class Database:
    """A file with a connection for writing and one for reading, each on its own thread."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._writing = Desk(f"{path.stem}-writer")
        self._reading = Desk(f"{path.stem}-reader")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._peeker: sqlite3.Connection | None = None
        self._in_query = threading.Lock()
        self._in_peek = threading.Lock()
        self._lock: int | None = None
        self._age = 0
        self.corrupted = 0
        """How often a file was moved aside since the start."""
        self.undone = 0
        """Transactions that were begun and not committed, the one that runs included: it has the
        number of the one before if that was committed. For the writer's thread."""

    async def write(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run `work` in one transaction: all of it happens or nothing. Raises StateError, and
        what `work` raises."""
        return await self._writing.run(lambda: self._write(work))

    async def read(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run queries beside the writer, on one state of the file. Raises StateError."""
        if self._writer is None:
            await self._writing.run(self._opened)
        age = self._age
        try:
            return await self._reading.run(lambda: self._read(work))
        except CorruptError as error:
            reason = str(error)
            await self._writing.run(lambda: self._exchange(reason, age))
        try:
            return await self._reading.run(lambda: self._read(work))
        except CorruptError as error:
            raise StateError(f"{self._path}: {error}") from error

    async def peek(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run a short query on the thread of the caller: a row by its key takes some 20 us. On
        another thread every step would wait for Python's lock, 4 ms in all beside a busy loop.
        Raises StateError, also if somebody else has locked the file at the moment."""
        if self._writer is None:
            await self._writing.run(self._opened)
        age = self._age
        try:
            return self._peek(work)
        except CorruptError as error:
            reason = str(error)
            await self._writing.run(lambda: self._exchange(reason, age))
        try:
            return self._peek(work)
        except CorruptError as error:
            raise StateError(f"{self._path}: {error}") from error

    def _peek(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with self._in_peek, _said(self._path):
            if self._peeker is None:
                self._peeker = self._connect(0.0)
                self._peeker.execute("PRAGMA query_only = ON")
            return work(self._peeker)

    def _close_peeker(self) -> None:
        if self._peeker is not None:
            with contextlib.suppress(sqlite3.Error):
                self._peeker.close()
            self._peeker = None

    async def generation(self) -> str:
        """Changes when the file was exchanged, and when the machine was restarted: what was not
        on the disk then is lost."""
        (made,) = await self.read(
            lambda reader: reader.execute("SELECT value FROM about WHERE name = 'made'").fetchone()
        )
        boot = ""
        with contextlib.suppress(OSError):
            boot = BOOT_ID.read_text().strip()
        return f"{made} {boot}"

    async def close(self) -> None:
        """Close all connections after what is waiting."""
        with self._in_peek:
            self._close_peeker()
        await self._reading.close(self._close_reader)
        await self._writing.close(self._close_writer)

    # On the writer's thread.

    def _write(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            return self._committed(work)
        except CorruptError as error:
            self._exchange(str(error), self._age)
        try:
            return self._committed(work)
        except CorruptError as error:
            raise StateError(f"{self._path}: {error}") from error

    def _committed(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        connection = self._opened()
        self.undone += 1
        with _said(self._path), _transaction(connection):
            answer = work(connection)
        self.undone -= 1
        return answer

    def _opened(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        with _said(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold(fcntl.LOCK_SH)
            try:
                self._writer = self._begun()
            except BaseException:
                self._release()
                raise
        return self._writer

    def _begun(self) -> sqlite3.Connection:
        try:
            with _said(self._path):
                return self._begin()
        except CorruptError as error:
            self._move_aside(str(error))
        try:
            with _said(self._path):
                return self._begin()
        except CorruptError as error:
            raise StateError(f"{self._path}: {error}, and was made a moment ago") from error

    def _begin(self) -> sqlite3.Connection:
        if not self._path.exists():
            left = [name for name in self._names()[1:] if name.exists()]
            # Another process may just have made it: the file comes first.
            if left and not self._path.exists():
                raise CorruptError(f"there is {left[0].name}, but the file itself is gone")
            self._make()
        connection = self._connect()
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """A file under another name first, so that one that is empty or has no tables is never
        one that was about to be made."""
        new = self._path.with_name(f"{self._path.name}.new-{uuid.uuid4().hex}")
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                with _transaction(connection):
                    for statement in self._schema.statements:
                        connection.execute(statement)
                    connection.execute(
                        "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
                    )
                    connection.execute("INSERT INTO about VALUES ('made', ?)", (uuid.uuid4().hex,))
                    connection.execute(f"PRAGMA user_version = {self._schema.version}")
                connection.execute("PRAGMA journal_mode = WAL")
            with contextlib.suppress(FileExistsError):
                os.link(new, self._path)
        finally:
            new.unlink(missing_ok=True)

    def _connect(self, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=patience,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self._schema.synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(f"PRAGMA secure_delete = {int(self._schema.wiped)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version != self._schema.version:
            raise CorruptError(
                f"its schema is of version {version}, wanted is {self._schema.version}"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        if not self._schema.replaceable:
            # A small file that nobody may lose: looked through, a few ms for 10,000 keys.
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise CorruptError(found.replace("\n", ": "))

    def _exchange(self, reason: str, age: int) -> None:
        """Give the file up that is found corrupt in use, unless that has happened already."""
        if self._age != age:
            return
        if not self._schema.replaceable:
            raise StateError(_closed(self._path, reason))
        with _said(self._path):
            self._move_aside(reason)
        self._opened()

    def _move_aside(self, reason: str) -> None:
        if not self._schema.replaceable:
            raise StateError(_closed(self._path, reason))
        # The last one to close a file deletes the log that bears its name, which would be the new
        # file's: so nobody may have it open when it is renamed.
        if self._reader is not None:
            self._reader.interrupt()
        with self._in_query, self._in_peek:
            self._close_peeker()
            self._close_reader()
            self._close_writer()
            self._hold(fcntl.LOCK_EX)
            now = datetime.now(UTC)
            aside = f"{self._path.name}.corrupt-{now:%Y%m%dT%H%M%S}.{now.microsecond:06}Z"
            for name in self._names():
                suffix = name.name.removeprefix(self._path.name)
                with contextlib.suppress(FileNotFoundError):
                    name.rename(self._path.with_name(aside + suffix))
            self._age += 1
            self.corrupted += 1
            self._hold(fcntl.LOCK_SH)
        log.error(
            "%s is corrupt (%s): moved aside as %s, a new one begun", self._path, reason, aside
        )

    def _names(self) -> list[Path]:
        return [self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm")]

    def _hold(self, how: int) -> None:
        """Hold the file's lock: shared while it is open, alone while it is exchanged."""
        if self._lock is None:
            name = self._path.with_name(self._path.name + ".lock")
            self._lock = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise StateError(f"{self._path}: another process has it open") from error

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None
        self._release()

    # On the reader's thread; `_close_reader` also where no query runs.

    def _read(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with self._in_query, _said(self._path):
            if self._reader is None:
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
            # One state of the file, however many statements.
            with _transaction(self._reader, "BEGIN"):
                return work(self._reader)

    def _close_reader(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(sqlite3.Error):
                self._reader.close()
            self._reader = None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say what SQLite and the file system say as this room does."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BEYOND_REPAIR:
            raise CorruptError(str(error)) from error
        raise StateError(f"{path}: {error}") from error
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}") from error


def _closed(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be read ({reason}); nobody can be identified until it is restored from a "
        "copy, or moved away to begin without keys"
    )
