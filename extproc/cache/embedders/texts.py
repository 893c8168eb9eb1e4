"""Texts as tokenizers take them: of Unicode's characters, and no longer than they are read."""

from __future__ import annotations


def readable(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which JSON can carry and UTF-8
    cannot. Pairs become the character that they are."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def ends(text: str, most: int) -> str:
    """At most `most` characters: where there are more, the first and the last of them, for a
    question stands before or after what it is about."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]} {text[-half:]}"
