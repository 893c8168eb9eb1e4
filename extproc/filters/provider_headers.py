"""Headers between a level and its provider: what goes up, what must not, and what must not come
back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from extproc import headers as h
from extproc.records import MOST_MODEL

_UNFIT: Final = re.compile(r"[^ -~]")
_MAX_WARNING: Final = 1024
"""Characters: all headers of an answer together may be some tens of thousands."""


def upward(path: str) -> list[tuple[str, str]]:
    """What is set on every request. What comes back is read: it must not be compressed."""
    return [
        (":path", path),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
    ]


def callers_key(key: str | None, header: str | None) -> list[tuple[str, str]]:
    """The caller's own key where the provider takes it. `header`: None takes none."""
    if key is None or key == h.NO_KEY or header is None:
        return []
    return [(header, f"Bearer {key}" if header == "authorization" else key)]


def private(name: str) -> bool:
    """Headers that are nobody's business but ours."""
    return name.startswith(("x-tollgate-", "x-sim-", "x-portkey-", "helicone-", "cf-aig-"))


def vendor_of(format_: str) -> str:
    """How the headers begin of the vendor whose format this is."""
    return "anthropic-" if format_ in ("messages", "count_tokens") else "openai-"


def foreign(name: str, own: str) -> bool:
    """Headers of a client that mean something to the vendor whose SDK it uses, and to no other."""
    return name.startswith(("anthropic-", "openai-")) and not (own and name.startswith(own))


def unwanted(name: str) -> bool:
    """Headers of a provider that the client must not see: our names, cookies, our account. What it
    says of how long its answer holds goes as far as the gateway's filter, and Envoy removes it."""
    return name in h.ACCOUNT or (name.startswith("x-tollgate-") and name not in h.CACHE_OF_ANSWER)


def model_header(name: str) -> str:
    """A model's name, as a provider says it, as it may stand in a header: Envoy would refuse the
    whole answer for a control character or for some tens of kilobytes."""
    return _UNFIT.sub("?", name[:MOST_MODEL])


def warning_header(warnings: Iterable[str]) -> str:
    """What was left out, as it may stand in a header: a warning can repeat the client's own
    words, the keyword of a schema for one."""
    return _UNFIT.sub("?", "; ".join(warnings))[:_MAX_WARNING]
