"""Tokens estimated from the size of a text, without a tokenizer.

Good to about a quarter for prose. It decides what is refused beforehand and what an aborted
stream is billed, both marked as estimates; the provider's own figures always win.
"""

from __future__ import annotations

from typing import Final

ASCII_BYTES_PER_TOKEN: Final = 4
"""OpenAI's and Google's rule of thumb for English text: a token is about four characters."""
TOKENS_PER_MESSAGE: Final = 4
"""Role and separators of one chat message: OpenAI counts 3 or 4 and 3 for the whole."""


def estimate(ascii_bytes: int, wide_chars: int, messages: int = 0) -> int:
    """Tokens of a text of so many ASCII bytes and so many other characters; never negative.

    A character outside ASCII counts one token: about right for Chinese, Japanese and Korean
    (0.7 to 1.2), twice too much for Cyrillic or accented Latin letters, too little for rare
    scripts and emoji (1 to 3).
    """
    text = max(0, ascii_bytes) + ASCII_BYTES_PER_TOKEN - 1
    return text // ASCII_BYTES_PER_TOKEN + max(0, wide_chars) + TOKENS_PER_MESSAGE * messages


def estimate_text(text: str) -> int:
    """Tokens of a text at hand."""
    narrow = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return estimate(narrow, len(text) - narrow)
