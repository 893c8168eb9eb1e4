"""What can be done with a response once it is kept, and counting the input of one that is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from extproc.simulator import responses_request as wire
from extproc.simulator.chat import Ask, Frame, Reply
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_stream import content_events
from extproc.simulator.responses import Reader
from extproc.simulator.responses_items import Own, response_of
from extproc.simulator.responses_store import Kept
from extproc.simulator.responses_stream import Stream


class _Kept(Reader):
    """An operation on a kept response. Nothing is written by a model, nothing billed."""

    place = -1
    """Where the id stands in the path."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Find the response. Raises RejectedError: 404 when there is none of that id."""
        del body, headers
        self.service.admit(path, query)
        name = path.split("/")[self.place]
        kept = self.store.get(name) if self.service.keeps else None
        if kept is None:
            wrong = Wrong(f"Response with id '{name}' not found.", None, None, 404)
            raise self.refused(wrong, hosted=hosted)
        self.check(kept, hosted=hosted)
        return self.ask(kept, query)

    def check(self, kept: Kept, *, hosted: bool) -> None:
        """Refuse what cannot be done. Raises RejectedError."""

    def ask(self, kept: Kept, query: str) -> Ask:
        """What to answer."""
        del query
        return Ask(model=kept.ask.model, silent=True, free=True, own=kept)


class Get(_Kept):
    """`GET …/responses/{id}`; with `stream=true` its events again, those after
    `starting_after`. One that runs in the background has ended when it is asked for twice."""

    def ask(self, kept: Kept, query: str) -> Ask:
        """The response, or its events."""
        asked = parse_qs(query)
        stream = asked.get("stream", [""])[0] == "true"
        made = super().ask(kept, query)
        return msgspec.structs.replace(made, stream=stream, choices=_after(asked))

    def answer(self, ask: Ask, reply: Reply) -> bytes:  # noqa: ARG002
        """The response."""
        kept: Kept = ask.own
        if kept.waits:
            kept.waits = False
            return msgspec.json.encode(response_of(kept.ask, kept.reply, "in_progress"))
        return msgspec.json.encode(kept.response)

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:  # noqa: ARG002
        """Its events."""
        kept: Kept = ask.own
        for n, frame in enumerate(Stream(kept.ask, kept.reply).frames()):
            if n >= ask.choices:
                yield frame

    def content_events(self, ask: Ask, reply: Reply) -> int:  # noqa: ARG002
        """Those of the response."""
        kept: Kept = ask.own
        return content_events(kept.ask, kept.reply)


def _after(asked: dict[str, list[str]]) -> int:
    """The number of the first event to tell."""
    text = asked.get("starting_after", [""])[0]
    return int(text) + 1 if text.isdigit() else 0


class Delete(_Kept):
    """`DELETE …/responses/{id}`."""

    def answer(self, ask: Ask, reply: Reply) -> bytes:  # noqa: ARG002
        """It is gone."""
        kept: Kept = ask.own
        self.store.drop(kept.id)
        return msgspec.json.encode({"id": kept.id, "object": "response", "deleted": True})


class Cancel(_Kept):
    """`POST …/responses/{id}/cancel`."""

    place = -2

    def check(self, kept: Kept, *, hosted: bool) -> None:
        """Only one that runs in the background can be cancelled."""
        own: Own = kept.ask.own
        if not own.body.background:
            raise self.refused(Wrong("Cannot cancel a synchronous response."), hosted=hosted)

    def answer(self, ask: Ask, reply: Reply) -> bytes:  # noqa: ARG002
        """The response: cancelled unless it has ended."""
        kept: Kept = ask.own
        if kept.waits:
            kept.waits = False
            kept.response = response_of(kept.ask, kept.reply, "cancelled")
        return msgspec.json.encode(kept.response)


class InputItems(_Kept):
    """`GET …/responses/{id}/input_items`."""

    place = -2

    def ask(self, kept: Kept, query: str) -> Ask:
        """The items in the order asked for."""
        rising = parse_qs(query).get("order", [""])[0] == "asc"
        return msgspec.structs.replace(super().ask(kept, query), parallel=rising)

    def answer(self, ask: Ask, reply: Reply) -> bytes:  # noqa: ARG002
        """A list, the last item first unless `order=asc`."""
        kept: Kept = ask.own
        items: list[dict[str, Any]] = kept.input if ask.parallel else kept.input[::-1]
        return msgspec.json.encode(
            {
                "object": "list",
                "data": items,
                "first_id": items[0]["id"] if items else None,
                "last_id": items[-1]["id"] if items else None,
                "has_more": False,
            }
        )


class InputTokens(Reader):
    """`POST …/responses/input_tokens`."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as for a response. Raises RejectedError."""
        named = self.service.admit(path, query)
        self.require_json(headers, hosted=hosted)
        sent = self.decode(wire.CountBody, body, hosted=hosted)
        self.understand(sent, body, hosted=hosted, named=named)
        return Ask(model=sent.model or "", silent=True, free=True)

    def answer(self, ask: Ask, reply: Reply) -> bytes:  # noqa: ARG002
        """The count."""
        counted = reply.usage.input if reply.usage is not None else 0
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": counted})
