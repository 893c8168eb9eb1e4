"""Embedders: texts to vectors, by a table in this process, a small transformer in this process, or
an endpoint that somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from extproc.cache import Embedder, Vectors

STATIC: Final = "static"
MINILM: Final = "minilm"
HTTP: Final = "http"
NAMES: Final = (STATIC, MINILM, HTTP)
TOKEN: Final = "TOLLGATE_EMBEDDER_TOKEN"  # noqa: S105 - the name of a variable
MODELS: Final = "TOLLGATE_MODELS"


class EmbedderError(Exception):
    """An embedder that cannot be had as things stand; the text is for a person and says what to
    do."""


class Embedded(NamedTuple):
    """Vectors and what they cost."""

    vectors: Vectors
    tokens: int
    """That an endpoint counted and will bill; 0 in this process."""


class OpenEmbedder(Embedder, Protocol):
    """An embedder with what whoever runs one needs besides."""

    def whole(self, text: str) -> bool:
        """The vector stands for all of the text. False: parts were left out, for length or because
        the model has no words for them, and texts that differ there alone have the same vector;
        such a text is not to be compared by its vector."""

    async def embedded(self, texts: Sequence[str]) -> Embedded:
        """As `embed`, with the tokens. Raises CacheAway."""

    async def prepare(self) -> None:
        """Make `id` and `dim` final, which they are before only for embedders in this process.
        Raises CacheAway; may be tried again."""

    async def close(self) -> None:
        """Give threads and connections back."""


def embedder(
    name: str, url: str | None, model: str | None, environ: Mapping[str, str], folder: Path
) -> OpenEmbedder:
    """The embedder called `name`, one of NAMES.

    `url`, `model`: of an endpoint, for `http` alone, whose bearer token is what
    TOLLGATE_EMBEDDER_TOKEN says. `folder`: the data folder, for `minilm`. Raises EmbedderError.
    Takes up to a second; a library is imported only for the embedder that needs it.
    """
    if name != HTTP and (url or model):
        raise EmbedderError(f"a URL and a model are for the embedder {HTTP!r}, not for {name!r}")
    if name == STATIC:
        from extproc.cache.embedders.static import StaticEmbedder  # noqa: PLC0415

        return StaticEmbedder()
    if name == MINILM:
        from extproc.cache.embedders.minilm import MiniLM  # noqa: PLC0415

        return MiniLM.load(models_folder(environ, folder))
    if name == HTTP:
        from extproc.cache.embedders.endpoint import EndpointEmbedder  # noqa: PLC0415

        token = environ.get(TOKEN, "").strip() or None
        return EndpointEmbedder(url or "", model or "", token=token)
    raise EmbedderError(f"there is no embedder {name!r}; there are {', '.join(NAMES)}")


def models_folder(environ: Mapping[str, str], data: Path) -> Path:
    """Where built models are: what TOLLGATE_MODELS says, else `models` in the data folder."""
    said = environ.get(MODELS, "").strip()
    return Path(said) if said else data / "models"
