"""Envoy as the filters see it, without a socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from extproc.filters.exchange import (
    Action,
    Answer,
    Chunk,
    Emit,
    Event,
    Handler,
    Leave,
    Pass,
    RequestBody,
    RequestHead,
    ResponseHead,
    Trailers,
    Wait,
)


class Envoy:
    """Drives one handler and applies its actions as Envoy does."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.waiting: deque[Event] = deque()
        self.headers: dict[str, str] = {}
        """The message's headers as they went on."""
        self.body = b""
        """What went on of the body."""
        self.answer: Answer | None = None
        self.left = False
        self.passed: list[Pass] = []
        self.waits: list[float] = []
        """Seconds that were asked for."""

    async def request(
        self, headers: dict[str, str], body: bytes, attributes: dict[str, str]
    ) -> None:
        """A whole request; afterwards `body` is what went up."""
        await self.request_head(headers, attributes)
        if self.answer is None:
            self.body = body
            await self._send(RequestBody(body))

    async def request_head(self, headers: dict[str, str], attributes: dict[str, str]) -> None:
        """A request whose body the handler does not get."""
        self.headers = dict(headers)
        await self._send(RequestHead(headers, attributes, False))

    async def head(
        self,
        status: int,
        headers: dict[str, str],
        *,
        attributes: dict[str, str | float] | None = None,
        end: bool = False,
    ) -> None:
        """The response's head."""
        self.headers, self.body = dict(headers), b""
        await self._send(
            ResponseHead(
                status, headers, attributes or {"response.code_details": "via_upstream"}, end
            )
        )

    async def chunks(self, pieces: Iterable[bytes], *, end: bool = True) -> None:
        """The response's body, in pieces as the provider sent them."""
        for piece in pieces:
            await self.chunk(piece)
        if end:
            await self.chunk(b"", end=True)

    async def chunk(self, data: bytes, *, end: bool = False) -> None:
        """One piece. Once the handler has left, everything flows by untouched."""
        if self.left:
            self.body += data
        elif self.answer is None:
            await self._send(Chunk(data, end))

    async def trailers(self, headers: dict[str, str] | None = None) -> dict[str, str]:
        """The response ends with trailers; returns them as they went on."""
        self.headers = dict(headers or {})
        if not self.left and self.answer is None:
            await self._send(Trailers(dict(self.headers)))
        return self.headers

    async def ring(self) -> None:
        """The alarm's time has come."""
        self._apply(await self.handler.ring())

    async def _send(self, event: Event) -> None:
        self.waiting.append(event)
        actions = await self.handler.on(event)
        if actions and isinstance(actions[0], Wait):
            self.waits.append(actions[0].seconds)
            actions = await actions[0].then()
        self._apply(actions)

    def _apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Answer):
                self.answer = action
            elif isinstance(action, Leave):
                assert not self.waiting, "left with messages unanswered"
                self.left = True
            elif isinstance(action, Emit):
                while self.waiting and isinstance(self.waiting[0], Chunk):
                    self.waiting.popleft()
                self.body += action.data
            elif isinstance(action, Pass):
                self._pass(action)

    def _pass(self, action: Pass) -> None:
        event = self.waiting.popleft()
        self.passed.append(action)
        for name in action.remove:
            self.headers.pop(name, None)
        self.headers.update(action.set)
        if isinstance(event, RequestBody):
            self.body = event.data if action.body is None else action.body
        elif isinstance(event, Chunk):
            self.body += event.data if action.body is None else action.body
