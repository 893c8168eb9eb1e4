"""What OpenAI keeps of responses: the last thousand, for `previous_response_id` and `GET`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from extproc.simulator.chat import Ask, Reply

KEPT = 1000

Item = dict[str, Any]


class Kept(msgspec.Struct):
    """One response. `waits`: it runs in the background and nobody has asked for it yet."""

    response: dict[str, Any]
    input: list[Item]
    ask: Ask
    reply: Reply
    waits: bool = False

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.response["id"])


class Store:
    """Responses by id, and their items."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._items: dict[str, Item] = {}

    def put(self, kept: Kept) -> None:
        """Keep it; the oldest goes when there are too many."""
        self._kept[kept.id] = kept
        for item in (*kept.input, *kept.response["output"]):
            if "id" in item:
                self._items[item["id"]] = item
        while len(self._kept) > KEPT:
            self.drop(next(iter(self._kept)))

    def get(self, name: str) -> Kept | None:
        """The response of that id."""
        return self._kept.get(name)

    def item(self, name: str) -> Item | None:
        """The item of that id, of any response that is kept."""
        return self._items.get(name)

    def drop(self, name: str) -> bool:
        """Forget it. Whether there was one."""
        kept = self._kept.pop(name, None)
        if kept is None:
            return False
        for item in (*kept.input, *kept.response["output"]):
            self._items.pop(item.get("id", ""), None)
        return True

    def context(self, name: str | None) -> list[Item]:
        """The items of that response and of those before it, as far back as they are kept."""
        chain: list[Kept] = []
        while name is not None and len(chain) < KEPT:
            kept = self._kept.get(name)
            if kept is None:
                break
            chain.append(kept)
            name = kept.response["previous_response_id"]
        return [
            item for kept in reversed(chain) for item in (*kept.input, *kept.response["output"])
        ]
