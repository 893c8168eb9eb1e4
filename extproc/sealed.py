"""The envelope of what Tollgate hands to a client to be sent back as it is: a mark, and JSON in
base64 behind it. Nothing in it is secret, and nothing vouches for it: a client can read it, and
change it."""

from __future__ import annotations

import base64
import binascii
from typing import Final

PREFIX: Final = "tollgate.1."
"""How such content begins. OpenAI's own is a Fernet token (`gAAAA…`), without a dot."""


def is_sealed(content: str | None) -> bool:
    """The content was written by `wrap`."""
    return content is not None and content.startswith(PREFIX)


def wrap(data: bytes) -> str:
    """The content, ASCII."""
    return PREFIX + base64.urlsafe_b64encode(data).decode()


def unwrap(content: str) -> bytes:
    """What was wrapped. Raises ValueError if the content was changed to what is no base64."""
    try:
        return base64.b64decode(content[len(PREFIX) :], altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
