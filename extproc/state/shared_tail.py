"""Finished requests told to whoever listens, over several workers: Redis publish and subscribe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from extproc.state.shared import connect, said

CHANNEL: Final = "tollgate:tail"
MESSAGE_BYTES: Final = 256 * 1024
"""Lines are sent together up to about this much."""
LISTEN_SECONDS: Final = 5.0
"""How long to wait for a message before the connection is looked after."""


class SharedTail:
    """A line a request, to all who listen at the moment; nothing is kept."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)

    async def publish(self, lines: Sequence[bytes]) -> None:
        """Send lines (without line breaks in them) in one round trip. Raises StateError."""
        if not lines:
            return
        pipe = self._client.pipeline(transaction=False)
        waiting: list[bytes] = []
        size = 0
        for line in lines:
            if waiting and size + len(line) > MESSAGE_BYTES:
                pipe.publish(CHANNEL, b"\n".join(waiting))
                waiting, size = [], 0
            waiting.append(line)
            size += len(line) + 1
        pipe.publish(CHANNEL, b"\n".join(waiting))
        with said():
            await pipe.execute()

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Lines from the first step of the iteration on, on a connection of their own; close the
        iterator (`aclose`) to be rid of it. Raises StateError when the connection is lost; Redis
        ends that of a reader who is too slow."""
        listener = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            with said():
                await listener.subscribe(CHANNEL)
            while True:
                with said():
                    message = await listener.get_message(timeout=LISTEN_SECONDS)
                if message is not None:
                    for line in message["data"].split(b"\n"):
                        yield line
        finally:
            await listener.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()
