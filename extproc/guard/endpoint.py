"""Asks a detector over HTTP: one POST with all texts of a body that were not seen of late.

The request is `{"texts": [{"text", "under"}], "types": [...] | null}`, the answer
`{"findings": [[{"start", "end", "type", "confidence"}]]}`: a list for each text, in the same order,
offsets in characters (Unicode code points). A URL that ends in `/analyze` is asked as Presidio's
analyzer service is: `{"text": [...], "language": "en"}`, answered by
`[[{"start", "end", "entity_type", "score"}]]`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from extproc.guard import Finding, GuardError, Scan, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.local import LocalScanner
from extproc.guard.together import ALIASES, Both, encodable

CONCURRENCY: Final = 32
"""Requests at once, of one worker. More wait, their deadline running."""
LARGEST: Final = 16 << 20
"""Bytes of an answer. Some hundred thousand findings are as long."""
MOST: Final = 100_000
"""Findings of one text: more are no findings."""
ASIDE: Final = 64 << 10
"""Bytes of JSON above which it is written and read in a thread."""
_OK: Final = 200
_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_READ: Final = 64 << 10

Result = TypeVar("Result")


class _Asked(msgspec.Struct, frozen=True):
    text: str
    under: str = ""


class _Question(msgspec.Struct, frozen=True):
    texts: list[_Asked]
    types: list[str] | None
    """Types that are wanted; null: all that there are."""


class _Found(msgspec.Struct, frozen=True):
    start: int
    end: int
    type: str
    confidence: float


class _Answer(msgspec.Struct, frozen=True):
    findings: list[list[_Found]]


class _Batch(msgspec.Struct, frozen=True):
    """Presidio's question."""

    text: list[str]
    language: str = "en"


class _Result(msgspec.Struct, frozen=True):
    """Presidio's finding."""

    start: int
    end: int
    type: str = msgspec.field(name="entity_type")
    confidence: float = msgspec.field(name="score")


class Endpoint:
    """One place, asked by one process. Redirects are not followed: texts and token are for the one
    that was named."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 2.0) -> None:
        """`token`: sent as bearer token. `timeout`: seconds for a body, from its first attempt to
        the last byte of the answer. Raises ValueError for what is no http(s) URL, and for a token
        that no header can carry."""
        try:
            split = urlsplit(url)
            usable = split.scheme in ("http", "https") and split.hostname is not None
            self._place = f"{split.scheme}://{split.hostname}" + (
                f":{split.port}" if split.port else ""
            )
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("--guard-url must be http:// or https:// with a host")
        if token is not None and split.username is not None:
            raise ValueError(
                "--guard-url names a user, and TOLLGATE_GUARD_TOKEN is set: choose one"
            )
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise ValueError("TOLLGATE_GUARD_TOKEN must be printable ASCII")
        self._url = url
        self._headers = {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._presidio = split.path.rstrip("/").endswith("/analyze")
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(CONCURRENCY)

    async def ask(self, texts: Sequence[Text], types: Sequence[str] | None) -> list[list[Finding]]:
        """Its findings for each text. Raises GuardError, which tells no value."""
        size = sum(len(one.value) for one in texts)
        body = await _aside(size, partial(self._question, texts, types))
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._answered(body)
        except TimeoutError:
            raise GuardError(f"{self._place}: no answer in {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise GuardError(f"{self._place}: {type(error).__name__}") from None
        try:
            check = partial(findings, answer, texts, presidio=self._presidio)
            return await _aside(len(answer), check)
        except ValueError as error:
            raise GuardError(f"{self._place}: {error}") from None

    def _question(self, texts: Sequence[Text], types: Sequence[str] | None) -> bytes:
        if self._presidio:
            return msgspec.json.encode(_Batch([encodable(one.value) for one in texts]))
        asked = [_Asked(encodable(one.value), encodable(one.under)) for one in texts]
        return msgspec.json.encode(_Question(asked, None if types is None else list(types)))

    async def close(self) -> None:
        """Give connections back."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _answered(self, body: bytes) -> bytes:
        async with self._free:
            try:
                return await self._once(body)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # It had just closed a connection that was kept. Looking twice changes nothing.
                return await self._once(body)

    async def _once(self, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONCURRENCY),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        async with self._session.post(
            self._url, data=body, headers=self._headers, allow_redirects=False
        ) as response:
            if response.status != _OK:
                raise GuardError(f"{self._place}: status {response.status}")
            parts, size = [], 0
            async for part in response.content.iter_chunked(_READ):
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise GuardError(f"{self._place}: an answer of more than {LARGEST} bytes")
            return b"".join(parts)


async def _aside(size: int, call: Callable[[], Result]) -> Result:
    """What `call` returns; from a thread if so many bytes take it longer than a millisecond."""
    return call() if size <= ASIDE else await asyncio.to_thread(call)


def findings(
    answer: bytes, texts: Sequence[Text], *, presidio: bool = False
) -> list[list[Finding]]:
    """What an answer says of these texts. `presidio`: it has the form of Presidio's service. Raises
    ValueError, which tells no value."""
    said: Sequence[Sequence[_Found | _Result]]
    try:
        if presidio:
            said = msgspec.json.decode(answer, type=list[list[_Result]])
        else:
            said = msgspec.json.decode(answer, type=_Answer).findings
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        # The decoder's own words may quote what stands there.
        raise ValueError("no findings as JSON in the answer") from None
    if len(said) != len(texts):
        raise ValueError(f"findings of {len(said)} texts, not of {len(texts)}")
    return [
        _checked(found, at, len(text.value))
        for at, (found, text) in enumerate(zip(said, texts, strict=True))
    ]


def _checked(found: Sequence[_Found | _Result], at: int, size: int) -> list[Finding]:
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} findings in text {at}")
    out = []
    for one in found:
        if not 0 <= one.start < one.end <= size:
            raise ValueError(f"a finding of text {at} is not within its {size} characters")
        if _TYPE.fullmatch(one.type) is None:
            raise ValueError(f"a finding of text {at} has a type that is none")
        if not 0 <= one.confidence <= 1:
            raise ValueError(f"a finding of text {at} has a confidence that is not from 0 to 1")
        kind = ALIASES.get(one.type, one.type)
        out.append(Finding(one.start, one.end, kind, one.confidence))
    return out


class HttpScanner:
    """Looks with the default detector and with an endpoint's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._local = LocalScanner()

    def scan(self, policy: DetectorPolicy) -> Scan:
        """Made once for each route's policy. Raises PatternError."""
        local = self._local
        types = None if policy.types is None else sorted(policy.types | policy.named)
        others = partial(self._endpoint.ask, types=types)
        return local.remembering(Both(local.looking(policy), others, policy, local.threads))

    async def ping(self) -> None:
        """Ask it of a text without anything in it. Raises GuardError."""
        await self._endpoint.ask([Text("ping", "ping")], [])

    async def close(self) -> None:
        """Give threads and connections back."""
        await self._endpoint.close()
        await self._local.close()
