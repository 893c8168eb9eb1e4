"""Leases on answers that are being asked for, in Redis: see `flights`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from extproc.state.flights import KEPT_SECONDS, SECONDS, Standing, standing_of
from extproc.state.shared import Script
from extproc.state.shared_wire import Part, Wire, command, good

TAKE_SECONDS: Final = 0.01
"""How long a request waits for a lease: a round trip takes some 0.1 ms."""
PATIENT_SECONDS: Final = 0.1
"""How long where Redis has just answered this request: a burst of the same question makes a machine
busy, and is what leases are for."""
PATIENCE: Final = 2.0
"""Seconds for one round trip where no request waits."""
PREFIX: Final = b"{tollgate:flights}:"
AT_ONCE: Final = 256
"""Leases looked at, renewed or given back in one go: Redis is busy with them for some 0.2 ms."""

RENEW: Final = Script("""\
-- KEYS: what all leases' names begin with. ARGV: milliseconds; then of each: exact key, token.
for i = 2, #ARGV, 2 do
  local name = KEYS[1] .. ARGV[i]
  if redis.call('GET', name) == ARGV[i + 1] then redis.call('PEXPIRE', name, ARGV[1]) end
end
return 1
""")
RELEASE: Final = Script("""\
-- KEYS: as above. ARGV: milliseconds for which it is remembered that an answer is in the store;
-- then of each: exact key, token, 1 if it is.
for i = 2, #ARGV, 3 do
  local name = KEYS[1] .. ARGV[i]
  if redis.call('GET', name) == ARGV[i + 1] then
    if ARGV[i + 2] == '1' then
      redis.call('SET', name, '', 'PX', ARGV[1])
    else
      redis.call('DEL', name)
    end
  end
end
return 1
""")


class SharedLeases:
    """Leases of several workers. See `FlightLeases`.

    What a request waits for goes over a connection of its own. All names have one hash tag: a
    worker looks at all that it waits for in one command.
    """

    def __init__(
        self, url: str, *, seconds: float = SECONDS, patience: float = TAKE_SECONDS
    ) -> None:
        """`patience`: seconds that `take` and `standing` wait. Raises ValueError for a URL that
        cannot be."""
        self.seconds = seconds
        self._quick = Wire(url, (), patience)
        self._slow = Wire(url, (RENEW, RELEASE), PATIENCE)

    async def take(self, exact: bytes, token: bytes, *, patient: bool = False) -> bool:
        """See `FlightLeases`."""
        asked = command("SET", PREFIX + exact, token, "NX", "PX", int(self.seconds * 1000))
        within = PATIENT_SECONDS if patient else None
        (reply,) = await self._quick.ask(asked, within=within)
        return good(reply) is not None

    async def standing(self, exacts: Sequence[bytes]) -> list[Standing]:
        """See `FlightLeases`."""
        found: list[Standing] = []
        for at in range(0, len(exacts), AT_ONCE):
            names = (PREFIX + exact for exact in exacts[at : at + AT_ONCE])
            (reply,) = await self._quick.ask(command("MGET", *names))
            tokens: list[Any] = good(reply)
            found += map(standing_of, tokens)
        return found

    async def renew(self, held: Mapping[bytes, bytes]) -> None:
        """See `FlightLeases`."""
        parts: list[tuple[Part, ...]] = list(held.items())
        await self._each(RENEW, int(self.seconds * 1000), parts)

    async def release(self, ended: Mapping[bytes, tuple[bytes, bool]]) -> None:
        """See `FlightLeases`."""
        parts: list[tuple[Part, ...]] = [
            (exact, token, "1" if kept else "0") for exact, (token, kept) in ended.items()
        ]
        await self._each(RELEASE, int(KEPT_SECONDS * 1000), parts)

    async def _each(self, script: Script, milliseconds: int, parts: list[tuple[Part, ...]]) -> None:
        for at in range(0, len(parts), AT_ONCE):
            some = [value for part in parts[at : at + AT_ONCE] for value in part]
            await self._slow.run(script, PREFIX, milliseconds, *some)

    async def ping(self) -> None:
        """See `FlightLeases`."""
        for wire in (self._slow, self._quick):
            (reply,) = await wire.ask(command("PING"))
            good(reply)

    async def close(self) -> None:
        """See `FlightLeases`."""
        await self._quick.close()
        await self._slow.close()
