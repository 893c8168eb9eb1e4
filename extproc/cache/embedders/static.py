"""The default embedder: the mean of the vectors of a text's tokens, from a table that comes with
the package wordllama (l2_supercat, 32,000 tokens of 256 numbers, MIT)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from extproc.cache import Vectors
from extproc.cache.embedders import Embedded, EmbedderError
from extproc.cache.embedders.tensors import TensorError, mapped
from extproc.cache.embedders.texts import ends, readable

LONGEST: Final = 32_768
"""Characters that are read of a text: some 10,000 words."""
_PACKAGE: Final = "wordllama"
_TABLE: Final = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER: Final = Path("tokenizers", "l2_supercat_tokenizer_config.json")
_TENSOR: Final = "embedding.weight"
_START: Final = "<s>"
_AT_ONCE: Final = 2_000
"""Characters that are embedded on the event loop: half a millisecond. More go to a thread."""
_BLANK: Final = "\u2581"
"""A space, in the vocabulary."""
_MOST_SPELLED: Final = 200
"""Words of a text that are looked up one by one."""
_MOST_NEW: Final = 6
"""Of these, ones not seen before; with more it is quicker to take the text as a whole."""
_MOST_WORDS: Final = 20_000
_LONGEST_WORD: Final = 16
_PLAIN: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?[?.,!;:]?").fullmatch
_MISSING: Final = (
    f"the embedder 'static' needs the package {_PACKAGE}, which comes with Tollgate: "
    f"pip install {_PACKAGE}"
)


class StaticEmbedder:
    """Some 20 µs for a short question. The table is mapped, not loaded: workers share it.

    A text without tokens has the vector of the token that begins a document, which no text has in
    it. What looks like such a token in a text is text. Bytes that the vocabulary has no word for
    are tokens too, so that texts in any script differ. White space around a text does not count.
    """

    def __init__(self, package: Path | None = None) -> None:
        """`package`: the folder of wordllama; None: the installed one. Raises EmbedderError."""
        version = "own"
        if package is None:
            package, version = _installed()
        try:
            tokenizer = (package / _TOKENIZER).read_bytes()
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            table = mapped(package / _TABLE)[_TENSOR]
            hashed = hashlib.sha256(tokenizer)
            with (package / _TABLE).open("rb") as file:
                table_hash = hashlib.file_digest(file, "sha256")
        except (OSError, KeyError, TensorError) as error:
            raise EmbedderError(f"{_MISSING} (here it cannot be read: {error})") from error
        except Exception as error:  # tokenizers raises no narrower class
            raise EmbedderError(f"{_MISSING} (its tokenizer cannot be read: {error})") from error
        if table.ndim != 2 or len(table) < self._tokenizer.get_vocab_size():  # noqa: PLR2004
            raise EmbedderError(f"{_MISSING} (here its table does not fit its tokenizer)")
        self._table = table
        self._start = [self._tokenizer.token_to_id(_START) or 0]
        _as_text(self._tokenizer)
        self._spelling = _Spelling(self._tokenizer)
        self.dim: int = table.shape[1]
        hashed.update(table_hash.digest())
        self.id: str = f"static/{_PACKAGE}-{version}/{hashed.hexdigest()[:12]}/{self.dim}"

    def whole(self, text: str) -> bool:
        """The vector stands for all of the text."""
        return len(text) <= LONGEST and readable(text) is text

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text."""
        if sum(map(len, texts)) <= _AT_ONCE:
            return self.vectors(texts)
        return await asyncio.to_thread(self.vectors, texts)

    async def embedded(self, texts: Sequence[str]) -> Embedded:
        """As `embed`; costs nothing."""
        return Embedded(await self.embed(texts), 0)

    async def prepare(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """As `embed`, on this thread."""
        made = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(made, texts, strict=True):
            self._fill(row, text)
        return made

    def _fill(self, row: Vectors, text: str) -> None:
        shown = ends(readable(text), LONGEST).strip()
        ids = self._spelling.ids(shown) if shown else self._start
        self._sum(ids, row)
        length = float(np.sqrt(row.dot(row)))
        if not length:
            self._sum(self._start, row)
            length = float(np.sqrt(row.dot(row)))
        row /= length

    def _sum(self, ids: list[int], row: Vectors) -> None:
        # The length is set to 1 after, so that the sum will do for the mean.
        np.add.reduce(self._table[ids], axis=0, dtype=np.float32, out=row)


class _Spelling:
    """Texts to tokens, by words. In this vocabulary no token goes on into the next word, so that a
    word's tokens are the same in every text; words that come often are then not taken apart again.

    It remembers plain words alone, without what stood beside them: no digits, nothing long.
    """

    __slots__ = ("_by_words", "_known", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._by_words = not any(
            _BLANK in token.lstrip(_BLANK) for token in tokenizer.get_vocab(with_added_tokens=False)
        )
        self._known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        words = text.split(" ")
        if not self._by_words or len(words) > _MOST_SPELLED or "" in words or _BLANK in text:
            return self._whole(text)
        known = self._known
        new = [word for word in words if word not in known]
        if len(new) > _MOST_NEW:
            for word in new[:_MOST_NEW]:
                self._learn(word)
            return self._whole(text)
        own = {word: self._learn(word) for word in new}
        ids: list[int] = []
        for word in words:
            ids += own[word] if word in own else known[word]
        return ids

    def _learn(self, word: str) -> list[int]:
        ids = self._whole(word)
        if len(word) <= _LONGEST_WORD and _PLAIN(word):
            if len(self._known) >= _MOST_WORDS:
                self._known = {}
            self._known[word] = ids
        return ids

    def _whole(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _installed() -> tuple[Path, str]:
    # Looked for, not imported: the package sets up logging and loads pydantic when it is.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderError(_MISSING)
    return Path(spec.submodule_search_locations[0]), metadata.version(_PACKAGE)


def _as_text(tokenizer: Tokenizer) -> None:
    """No marks in a text, no bounds, and no texts kept: this vocabulary is applied to a text as a
    whole, and a cache of the last ten thousand would be a cache of prompts."""
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    resize = getattr(tokenizer.model, "_resize_cache", None)
    if resize is not None:
        resize(0)
