"""What stands for a tenant in the store of answers."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_DIGITS: Final = 32
"""Hexadecimal: 16 bytes, of which two of a million tenants are never the same."""


def tenant_mark(secret: bytes, tenant: str | None) -> str:
    """The mark of a tenant: the same each time, and nobody without the secret can tell whose it is,
    or make it. Empty for nobody."""
    if not tenant:
        return ""
    text = b"tollgate:tenant:" + tenant.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, text, hashlib.sha256).hex()[:_DIGITS]
