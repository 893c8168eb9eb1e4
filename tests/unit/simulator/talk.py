"""Speaks plain HTTP to the simulator, for what an SDK would hide."""

import asyncio
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from extproc.simulator import Simulator
from extproc.simulator.recorder import Record

KEYS = {
    "openai": {"authorization": "Bearer sk-test"},
    "anthropic": {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"},
    "gemini": {"x-goog-api-key": "sk-test"},
    "local": {},
}
OPENAI = "/v1/chat/completions"
ANTHROPIC = "/v1/messages"
GEMINI = "/v1beta/models/gemini-2.0-flash:generateContent"
GEMINI_STREAM = "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse"


def chat(dialect: str, *, stream: bool = False, **more: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of a plain request."""
    turn = {"role": "user", "content": "hello"}
    body: dict[str, Any]
    match dialect:
        case "openai" | "local":
            body = {"model": "gpt-4o", "messages": [turn]}
            return OPENAI, body | ({"stream": True} if stream else {}) | more
        case "anthropic":
            body = {"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [turn]}
            return ANTHROPIC, body | ({"stream": True} if stream else {}) | more
        case _:
            body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
            return (GEMINI_STREAM if stream else GEMINI), body | more


@dataclass
class Heard:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: Exception | None = None
    head_at: float = 0.0
    first_at: float = 0.0
    ended_at: float = 0.0

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of each `data:` line but `[DONE]`."""
        lines = [line[6:].strip() for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [msgspec.json.decode(line) for line in lines if line != b"[DONE]"]


class Talk:
    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    def unlimited(self) -> None:
        """Allow any number of connections at once."""
        self._session.connector._limit = 0  # type: ignore[union-attr]

    async def send(
        self,
        port: str,
        path: str = OPENAI,
        body: Any = None,
        *,
        method: str = "POST",
        script: Any = None,
        headers: dict[str, str] | None = None,
        keyed: bool = True,
        patience: float = 10.0,
    ) -> Heard:
        sent = {"content-type": "application/json"} | (KEYS.get(port, {}) if keyed else {})
        sent |= headers or {}
        if script is not None:
            text = script if isinstance(script, str) else msgspec.json.encode(script).decode()
            sent["x-sim-script"] = text
        data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        heard = Heard()
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(patience),
                self._session.request(
                    method,
                    self.sim.url(port) + path,
                    data=None if body is None else data,
                    headers=sent,
                ) as answer,
            ):
                heard.head_at = time.monotonic() - began
                heard.status = answer.status
                heard.headers = {key.lower(): value for key, value in answer.headers.items()}
                async for chunk in answer.content.iter_any():
                    heard.first_at = heard.first_at or time.monotonic() - began
                    heard.body += chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            heard.broken = error
        heard.ended_at = time.monotonic() - began
        return heard

    async def chat(
        self, port: str, *, stream: bool = False, script: Any = None, patience: float = 10.0,
        **more: Any,
    ) -> Heard:  # fmt: skip
        """A plain chat in the port's own dialect."""
        path, body = chat(port, stream=stream, **more)
        return await self.send(port, path, body, script=script, patience=patience)

    def last(self, port: str | None = None) -> Record:
        return self.sim.requests(port)[-1]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110 - a record has no event to give
                await asyncio.sleep(0.001)

    async def ended(self, port: str | None = None) -> Record:
        """The last record, once its answer is over."""
        await self.until(lambda: self.last(port).seconds is not None)
        return self.last(port)

    async def sent(self, events: int) -> None:
        """Wait until a request came and that many content events of its answer left."""
        await self.until(lambda: bool(self.sim.requests()) and self.last().events >= events)
