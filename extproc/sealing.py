"""What may be kept where others can read: sealed with a key of the gateway's secret.

AES-256-GCM (of `cryptography`). Each sealing draws a salt, and HKDF-SHA256 makes of the secret and
the salt a key and a nonce of its own: no nonce is ever used twice with a key, however many workers
seal with one secret. What is sealed for one place does not open for another (`context`).
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION: Final = b"\x01"
_SALT: Final = 16
_KEY: Final = 32
_NONCE: Final = 12


def seal(plain: bytes, key: bytes, *, purpose: bytes, context: bytes = b"") -> bytes:
    """`plain` for a store, 33 bytes longer.

    `key` is a secret of any length from 16 bytes; `purpose` says what is sealed, `context` where it
    will lie. Raises ValueError for a shorter key.
    """
    salt = secrets.token_bytes(_SALT)
    cipher, nonce = _cipher(key, salt, purpose)
    return VERSION + salt + cipher.encrypt(nonce, plain, VERSION + context)


def unseal(data: bytes, key: bytes, *, purpose: bytes, context: bytes = b"") -> bytes:
    """What `seal` was given. ValueError for anything else: another key, purpose, context, bytes."""
    if not data.startswith(VERSION):
        raise ValueError("not sealed")
    begin = len(VERSION) + _SALT
    cipher, nonce = _cipher(key, data[len(VERSION) : begin], purpose)
    try:
        return cipher.decrypt(nonce, data[begin:], VERSION + context)
    except InvalidTag:
        raise ValueError("sealed with another key, for another place, or damaged") from None


def _cipher(key: bytes, salt: bytes, purpose: bytes) -> tuple[AESGCM, bytes]:
    if len(key) < _SALT:
        raise ValueError(f"a key of {len(key)} bytes: at least {_SALT} are needed")
    derived = HKDF(SHA256(), _KEY + _NONCE, salt, purpose).derive(key)
    return AESGCM(derived[:_KEY]), derived[_KEY:]
