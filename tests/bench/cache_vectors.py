"""Vectors of the texts of a benchmark, kept on disk by the hash of the text: a second run is
quick."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.cache_embedders import Embed

Vectors = NDArray[np.float32]

_BATCH = 256
FAMILIES = ("static", "minilm")


def vectors(embed: Embed, texts: Sequence[str], *, folder: Path | None = None) -> Vectors:
    """A row of length 1 for each text, by `embed` where it is not on disk."""
    place = folder or Path(tempfile.gettempdir()) / "tollgate-bench-vectors"
    place.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(place / f"{embed.id.replace('/', '-')}.sqlite") as disk:
        disk.execute("CREATE TABLE IF NOT EXISTS v (text BLOB PRIMARY KEY, vector BLOB)")
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        kept = dict(disk.execute("SELECT text, vector FROM v"))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
        rows = list(missing.items())
        # Texts of one length together: an embedder that pads does not pad far.
        rows.sort(key=lambda row: len(row[1]))
        for at in range(0, len(rows), _BATCH):
            part = rows[at : at + _BATCH]
            made = embed([text for _, text in part]).astype(np.float32)
            fresh = [(key, row.tobytes()) for (key, _), row in zip(part, made, strict=True)]
            disk.executemany("INSERT OR REPLACE INTO v VALUES (?, ?)", fresh)
            disk.commit()
            kept.update(fresh)
    return np.stack([np.frombuffer(kept[key], np.float32) for key in keys])
