"""Somebody with a key, who asks a gateway whose routes are told apart by a header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.conftest import Running
from tests.e2e.ledger_books import make
from tests.e2e.ledger_processes import Redis


@dataclass(frozen=True, slots=True)
class Somebody:
    """The gateway, and somebody who may ask there."""

    route: ClassVar[str]
    """Where it asks unless it says so."""

    gateway: Running
    key: str
    redis: Redis | None = None

    def head(self, route: str | None = None, **said: str) -> dict[str, str]:
        """The headers of a request on a route, which says of itself what `said` does: `user=…` is
        `x-tollgate-user`, `cache_ttl=…` is `x-tollgate-cache-ttl`."""
        words = {f"x-tollgate-{name.replace('_', '-')}": one for name, one in said.items()}
        where = self.route if route is None else route
        return {"authorization": f"Bearer {self.key}", "x-test-route": where, **words}

    def other(self, **fields: Any) -> Self:
        """The same gateway, asked with another key."""
        return type(self)(self.gateway, new_key(self.gateway, **fields), self.redis)

    def openai(self, route: str | None = None, **said: str) -> OpenAI:
        """The OpenAI SDK on a route."""
        head = self.head(route, **said)
        del head["authorization"]
        return OpenAI(
            base_url=self.gateway.url, api_key=self.key, max_retries=0, default_headers=head
        )

    def anthropic(self, route: str | None = None, **said: str) -> Anthropic:
        """The Anthropic SDK on a route."""
        head = self.head(route, **said)
        del head["authorization"]
        return Anthropic(
            base_url=self.gateway.root, api_key=self.key, max_retries=0, default_headers=head
        )


def new_key(gateway: Running, **fields: Any) -> str:
    """Somebody new, who may say who asks."""
    said = {"may_set": ["user", "session", "team", "feature"], **fields}
    found: str = make(gateway, **said)["key"]
    return found
