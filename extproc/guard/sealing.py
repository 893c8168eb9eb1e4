"""A mapping as it may be kept where others can read: sealed with a key of the gateway's secret.

AES-256-GCM (of `cryptography`). Each sealing draws a salt, and HKDF-SHA256 makes of the secret and
the salt a key and a nonce of its own: no nonce is ever used twice with a key, however many workers
seal with one secret. What is sealed for one conversation does not open for another (`context`).
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from extproc.guard.placeholders import Mapping

_VERSION: Final = b"\x01"
_SALT: Final = 16
_KEY: Final = 32
_NONCE: Final = 12
_PURPOSE: Final = b"tollgate guard mapping"


def seal(mapping: Mapping, key: bytes, *, context: bytes = b"") -> bytes:
    """`mapping` for a store, 33 bytes longer than `Mapping.to_bytes`.

    `key` is the gateway's secret, of any length from 16 bytes; `context` names the conversation (a
    session's id and its owner). Raises ValueError for a shorter key.
    """
    salt = secrets.token_bytes(_SALT)
    cipher, nonce = _cipher(key, salt)
    return _VERSION + salt + cipher.encrypt(nonce, mapping.to_bytes(), _VERSION + context)


def unseal(data: bytes, key: bytes, *, context: bytes = b"") -> Mapping:
    """What `seal` was given. ValueError for anything else: another key, context, bytes."""
    if not data.startswith(_VERSION):
        raise ValueError("not a sealed mapping")
    begin = len(_VERSION) + _SALT
    cipher, nonce = _cipher(key, data[len(_VERSION) : begin])
    try:
        plain = cipher.decrypt(nonce, data[begin:], _VERSION + context)
    except InvalidTag:
        raise ValueError(
            "a mapping sealed with another key, for another place, or damaged"
        ) from None
    return Mapping.from_bytes(plain)


def _cipher(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    if len(key) < _SALT:
        raise ValueError(f"a key of {len(key)} bytes: at least {_SALT} are needed")
    derived = HKDF(SHA256(), _KEY + _NONCE, salt, _PURPOSE).derive(key)
    return AESGCM(derived[:_KEY]), derived[_KEY:]
