"""The gateway's secret: what makes a stored digest useless to who reads the store.

It comes from the environment or from a file in the data folder, which is made at the first start.
All gateways that share a store must have the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from extproc.state import KeyStore

VARIABLE: Final = "TOLLGATE_KEY_SECRET"
FILE: Final = "key-secret"
LEAST: Final = 16
"""Bytes. Whoever holds the store and one key could try out secrets that are shorter."""
MOST: Final = 4096
"""Bytes; more is not a secret but a wrong file."""
SETTLED: Final = "key-secret"
"""The name under which a store keeps the fingerprint of the secret its digests were made with."""

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretError(Exception):
    """The gateway must not start with this secret; the text says why and what to do."""


class KeySecret:
    """The secret, and what is made of it."""

    __slots__ = ("_keyed", "_secret", "fingerprint")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keyed = hmac.new(secret, digestmod="sha256")
        self.fingerprint = self.derive("fingerprint").hex()[:32]
        """Tells two secrets apart and gives neither away."""

    def digest(self, token: str) -> str:
        """What is stored of a key: HMAC-SHA-256, 64 hex digits."""
        # Not hmac.digest, which lets other threads run: it is called for every request.
        keyed = self._keyed.copy()
        keyed.update(token.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose. No key begins as these texts do, so no digest of a key is
        ever one of them."""
        return hmac.digest(self._secret, f"tollgate:{purpose}".encode(), hashlib.sha256)

    def __repr__(self) -> str:
        return f"KeySecret({self.fingerprint[:8]}…)"


async def settle(secret: KeySecret, store: KeyStore) -> None:
    """Agree with the store on the secret. Raises SecretError if its digests were made with another
    one, StateError when the store is away."""
    settled = await store.settle(SETTLED, secret.fingerprint)
    if not hmac.compare_digest(settled.encode(), secret.fingerprint.encode()):
        raise SecretError(
            f"the keys in this store were made with another secret; give every gateway that "
            f"shares it the same {VARIABLE} (or the same file {FILE}), or use another store"
        )


def load(environment: Mapping[str, str], folder: Path) -> KeySecret:
    """The secret of the environment, else of the file in `folder`, which is made if it is not
    there. Raises SecretError."""
    if (text := environment.get(VARIABLE)) is not None:
        return KeySecret(_checked(text.encode("utf-8", "surrogateescape"), VARIABLE))
    path = folder / FILE
    try:
        if not path.exists():
            _make(path)
        return KeySecret(_checked(_read(path), str(path)))
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror or error}") from error


def _checked(found: bytes, where: str) -> bytes:
    found = found.strip()
    if len(found) < LEAST:
        raise SecretError(
            f"{where}: {len(found)} bytes are too short for a secret, {LEAST} are the least; "
            f"'openssl rand -hex 32' makes a good one"
        )
    if len(found) > MOST:
        raise SecretError(f"{where}: more than {MOST} bytes are not a secret but another file")
    return found


def _read(path: Path) -> bytes:
    # What is checked is what is read: the open file, not the name.
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{path}: not a regular file")
        if mode & _OTHERS:
            raise SecretError(
                f"{path}: others may read or change it (mode {mode:04o}); 'chmod 600 {path}' if "
                f"nobody has, else a new secret and new keys"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise SecretError(f"{path}: it belongs to user {status.st_uid}, not to this one")
        return file.read(MOST + 2)


def _make(path: Path) -> None:
    """Written aside and linked into place: of several workers that start at once one wins, and
    nobody reads half a secret."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
