"""Signatures of thinking, which clients hand back and providers check.

A signature is opaque to the client. The simulator's own can be told from others after a restart,
too: the key is fixed, as there is nothing to protect.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_KEY = b"simulated thinking"
_MARK = b"sim1"


def sign(text: str, kind: str = "thinking") -> str:
    """The signature of a text, in base64. It holds for no other text and no other kind."""
    return base64.b64encode(_MARK + _digest(text, kind)).decode()


def genuine(signature: str, text: str, kind: str = "thinking") -> bool:
    """Whether the simulator gave that signature for that text."""
    return hmac.compare_digest(signature.encode(), sign(text, kind).encode())


def seal(text: str, kind: str) -> str:
    """The text, hidden from the client as far as a simulator hides anything, and signed."""
    inner = text.encode()
    return base64.b64encode(_MARK + _digest(text, kind) + inner).decode()


def sealed(data: str, kind: str) -> bool:
    """Whether `data` is something the simulator sealed."""
    try:
        raw = base64.b64decode(data, validate=True)
        text = raw[len(_MARK) + 32 :].decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return False
    return hmac.compare_digest(raw, _MARK + _digest(text, kind) + text.encode())


def _digest(text: str, kind: str) -> bytes:
    return hmac.digest(_KEY, kind.encode() + b"\0" + text.encode(), hashlib.sha256)
