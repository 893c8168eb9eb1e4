"""The embedder `http`: any endpoint that answers as OpenAI's `/v1/embeddings` does.

Texts that come within two milliseconds go together. Whoever waits is told within the deadline; an
endpoint that fails again and again is left alone for a while, so that it costs no request its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np

from extproc.cache import CacheAway, Vectors
from extproc.cache.embedders import TOKEN, Embedded, EmbedderError
from extproc.cache.embedders.answered import LONGEST, MOST_DIM, AnswerError, Row, rows
from extproc.cache.embedders.texts import ends, readable
from extproc.retry import retry_after

WITHIN: Final = 0.3
"""Seconds; a provider would have begun to answer by then."""
FIRST_WITHIN: Final = 5.0
"""Seconds for the first answer, which may find a model that is not loaded."""
TOGETHER: Final = 0.002
"""Seconds that a text waits for others."""
BATCH: Final = 64
"""Texts of one request: far below OpenAI's 2,048, and what servers of one GPU take at once."""
IN_FLIGHT: Final = 8
"""Requests at a time."""
WAITING: Final = 1_024
"""Texts that may wait for a request; more are told at once."""
CHARACTERS: Final = 16_384
"""That are sent of a text: some 4,000 tokens, half of what OpenAI's models read."""
FAILURES: Final = 3
"""In a row, after which the endpoint is left alone."""
PAUSE: Final = 1.0
"""Seconds that it is left alone the first time; twice as long each further time."""
LONGEST_PAUSE: Final = 30.0
_PATH: Final = "/embeddings"
_OK: Final = 200
_TOO_MANY: Final = 429
_OF_TEXT: Final = frozenset({400, 413, 422})
"""Statuses that may blame one text of several."""

log = logging.getLogger(__name__)


class _Asked:
    """A text that waits for its row."""

    __slots__ = ("alone", "found", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: asyncio.Future[Row | CacheAway] = asyncio.get_running_loop().create_future()
        self.alone = False
        """It goes in a request of its own: one of those that it went with was refused."""

    def settle(self, found: Row | CacheAway) -> None:
        """Tell whoever waits. (No exception is set: nobody might be left to take it.)"""
        if not self.found.done():
            self.found.set_result(found)


class _RefusedError(Exception):
    """The endpoint blames what it was sent."""


class EndpointEmbedder:
    """Belongs to one event loop.

    `dim` is 0 and `id` not final before the first answer, which fixes them; an answer of another
    width is an error from then on. A text without characters is sent as a space, which every
    endpoint takes.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        token: str | None = None,
        within: float = WITHIN,
        pause: float = PAUSE,
    ) -> None:
        """`url`: of the endpoint, `/v1/embeddings` or what comes before it. `token`: sent as bearer
        token, to no other place. Raises EmbedderError."""
        self._url = endpoint(url)
        if not model.strip():
            raise EmbedderError("the embedder 'http' needs the name of the endpoint's model")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise EmbedderError(f"{TOKEN} must be printable ASCII")
        split = urlsplit(self._url)
        self._place = f"{split.scheme}://{split.netloc}"
        self._model = model.strip()
        self._place_id = hashlib.sha256(self._url.encode()).hexdigest()[:8]
        self._headers = {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._within = within
        self._pause = pause
        self.dim: int = 0
        self._session: aiohttp.ClientSession | None = None
        self._waiting: deque[_Asked] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._requests: dict[asyncio.Task[None], list[_Asked]] = {}
        self._failures = 0
        self._pauses = 0
        self._away_until = 0.0
        self._closed = False

    @property
    def id(self) -> str:
        """Of the model, the place that serves it and the width."""
        return f"http/{self._model}@{self._place_id}/{self.dim}"

    def whole(self, text: str) -> bool:
        """All of the text is sent. What the model then reads of it is not known."""
        return len(text) <= CHARACTERS and readable(text) is text

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text. Raises CacheAway."""
        return (await self.embedded(texts)).vectors

    async def embedded(self, texts: Sequence[str]) -> Embedded:
        """The rows, and the tokens that the endpoint counted; of a request that texts of others
        shared, these texts' part. Raises CacheAway."""
        return await self._embedded(texts, self._within)

    async def prepare(self) -> None:
        """Ask once, so that `dim` and `id` are final. Raises CacheAway."""
        if not self.dim:
            await self._embedded(["dimension"], max(self._within, FIRST_WITHIN))

    async def close(self) -> None:
        """Give connections back; what waits fails."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        waiting = [*self._waiting, *(one for batch in self._requests.values() for one in batch)]
        self._waiting.clear()
        tasks = list(self._requests)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for asked in waiting:
            asked.settle(CacheAway("the embedder is closed"))
        if self._session is not None:
            await self._session.close()

    # --- waiting ------------------------------------------------------------------------

    async def _embedded(self, texts: Sequence[str], within: float) -> Embedded:
        if not texts:
            return Embedded(np.empty((0, self.dim), np.float32), 0)
        if self._closed:
            raise CacheAway("the embedder is closed")
        if time.monotonic() < self._away_until:
            raise CacheAway(f"{self._place}: left alone after failures")
        if len(self._waiting) + len(texts) > WAITING:
            raise CacheAway(f"{self._place}: too many texts wait")
        asked = [_Asked(ends(readable(text), CHARACTERS) or " ") for text in texts]
        self._waiting.extend(asked)
        self._wake()
        try:
            async with asyncio.timeout(within):
                # What is cancelled here is left out when its turn comes.
                found = await asyncio.gather(*(one.found for one in asked))
        except TimeoutError:
            raise CacheAway(f"{self._place}: no vector in time") from None
        return _joined(found)

    def _wake(self) -> None:
        if len(self._waiting) >= BATCH:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER, self._send)

    def _send(self) -> None:
        """Let go what waits, in as many requests as may be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._requests) < IN_FLIGHT:
            batch = self._next()
            if batch:
                task = asyncio.create_task(self._ask(batch))
                self._requests[task] = batch
                task.add_done_callback(self._done)

    def _next(self) -> list[_Asked]:
        batch: list[_Asked] = []
        while self._waiting and len(batch) < BATCH:
            if batch and (batch[0].alone or self._waiting[0].alone):
                break
            asked = self._waiting.popleft()
            if not asked.found.done():
                batch.append(asked)
        return batch

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._requests[task]
        if not self._closed:
            self._send()

    # --- asking -------------------------------------------------------------------------

    async def _ask(self, batch: list[_Asked]) -> None:
        """Settles every text of the batch, or puts it back to go alone."""
        try:
            found = await self._rows([one.text for one in batch])
        except _RefusedError as error:
            if len(batch) > 1:
                for asked in batch:
                    asked.alone = True
                self._waiting.extendleft(reversed(batch))
            else:
                # It answers; the text is what it does not take.
                batch[0].settle(CacheAway(f"{self._place}: {error}"))
        except (AnswerError, aiohttp.ClientError, OSError) as error:
            # A TimeoutError is an OSError.
            away = CacheAway(f"{self._place}: {_why(error)}")
            self._failed(str(away))
            for asked in batch:
                asked.settle(away)
        else:
            self._succeeded()
            for asked, row in zip(batch, found, strict=True):
                asked.settle(row)

    async def _rows(self, texts: list[str]) -> list[Row]:
        """Raises what `_ask` catches."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=IN_FLIGHT),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        body = msgspec.json.encode({"model": self._model, "input": texts})
        within = self._within if self.dim else max(self._within, FIRST_WITHIN)
        async with self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=within),
        ) as response:
            if response.status in _OF_TEXT:
                raise _RefusedError(f"status {response.status}")
            if response.status != _OK:
                if response.status == _TOO_MANY:
                    self._leave_alone(retry_after(response.headers) or 0.0)
                raise AnswerError(f"status {response.status}")
            answer = await _read(response, LONGEST + len(texts) * MOST_DIM * 32)
        found = rows(answer, texts, self.dim)
        self.dim = len(found[0].vector)
        return found

    # --- leaving it alone ---------------------------------------------------------------

    def _failed(self, why: str) -> None:
        self._failures += 1
        if self._failures < FAILURES or time.monotonic() < self._away_until:
            return  # those that were on their way when it was given up count once
        self._leave_alone(self._pause * 2 ** min(self._pauses, 16))
        if not self._pauses:
            log.warning("the embedding endpoint is away", extra={"reason": why})
        self._pauses += 1

    def _succeeded(self) -> None:
        if self._pauses:
            log.info("the embedding endpoint is back", extra={"place": self._place})
        self._failures = self._pauses = 0

    def _leave_alone(self, seconds: float) -> None:
        until = time.monotonic() + min(seconds, LONGEST_PAUSE)
        self._away_until = max(self._away_until, until)


def endpoint(url: str) -> str:
    """The whole URL: `/embeddings` comes after a path that ends without it, `/v1/embeddings` after
    none. Raises EmbedderError."""
    with contextlib.suppress(ValueError):
        split = urlsplit(url.strip())
        port_is_right = split.port != 0
        if split.username is not None or split.password is not None:
            raise EmbedderError(f"an embedder's URL must hold no user: set {TOKEN}")
        if split.scheme in ("http", "https") and split.hostname and port_is_right:
            path = split.path.rstrip("/") or "/v1"
            path = path if path.endswith(_PATH) else path + _PATH
            return split._replace(path=path, fragment="").geturl()
    raise EmbedderError("an embedder's URL must be http:// or https:// with a host")


def _joined(found: Sequence[Row | CacheAway]) -> Embedded:
    made: list[Row] = []
    for one in found:
        if isinstance(one, CacheAway):
            raise one
        made.append(one)
    return Embedded(np.stack([one.vector for one in made]), sum(one.tokens for one in made))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) if isinstance(error, AnswerError) else type(error).__name__


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, unpacked. Raises AnswerError where it is longer."""
    answer = bytearray()
    async for part in response.content.iter_any():
        answer += part
        if len(answer) > most:
            raise AnswerError("the answer is too long")
    return bytes(answer)
