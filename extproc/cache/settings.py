"""What the cache of a worker is made of, as its flags say."""

from __future__ import annotations

import msgspec


class Caching(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache of a worker is made of."""

    embedder: str = "static"
    """What makes vectors of questions: `static`, `minilm` or `http`."""
    embedder_url: str | None = None
    """The endpoint of `http`."""
    embedder_model: str | None = None
    """The model that it is asked for."""
    vectors: str | None = None
    """A Postgres that holds the vectors (`postgresql://…`). None: each worker does."""
    entries: int = 1_000_000
    """Entries kept at most."""
    bytes: int = 4 << 30
    """Bytes kept at most."""
    judge_url: str | None = None
    """Where judges' chains are asked: this gateway, from within. None: nowhere."""
