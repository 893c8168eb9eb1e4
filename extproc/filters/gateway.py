"""The filter at the gateway: who asks for what, which levels may serve, what it cost.

The way of a request reads top to bottom: `_on_request`, `_on_body`, Envoy walks the chain,
`_on_answer`, then `_on_whole` or `_on_stream`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import msgspec

from extproc import headers as h
from extproc.accounting import Meter, estimate_answer, meter_of, read_answer
from extproc.cache.replay.pieces import StreamError
from extproc.catalogue import Price
from extproc.errors import ClientError
from extproc.filters import cached, embedded, guarded, keeping, limited, models
from extproc.filters.admission import (
    CALLER_SECRETS,
    PATHS,
    Asked,
    Planned,
    check_endpoint,
    check_head,
    format_of,
    mint,
    plain_path,
    reserved,
    upstream_headers,
)
from extproc.filters.entry import let_in, who
from extproc.filters.exchange import (
    GO,
    HOLD,
    Actions,
    Answer,
    BodyMode,
    Chunk,
    Emit,
    Event,
    Pass,
    RequestBody,
    RequestHead,
    ResponseHead,
    Trailers,
    Wait,
)
from extproc.filters.provider_headers import model_header
from extproc.filters.rooms import Rooms
from extproc.filters.settlement import Ending, Facts, Settlement, early_facts
from extproc.filters.walked import learn
from extproc.policy import PolicyError
from extproc.records import NOBODY, Usage

log = logging.getLogger(__name__)

OK: Final = range(200, 300)
MISCONFIGURED: Final = ClientError(
    500, "server_error", "misconfigured", "The gateway's route carries no usable policy."
)
NO_ROUTE: Final = ClientError(
    404, "invalid_request_error", "not_found", "No route of this gateway takes the request."
)
STALLED: Final = ClientError(
    504, "server_error", "provider_stalled", "The provider stopped sending before it was done."
)
CUT: Final = ClientError(
    502, "server_error", "provider_cut", "The provider ended the stream before it was done."
)
UNREADABLE: Final = ClientError(
    502, "server_error", "bad_answer", "The provider's answer could not be read."
)


class GatewayFilter:
    """Opens an exchange for each stream."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def open(self) -> GatewayExchange:
        """A handler for one stream."""
        return GatewayExchange(self._rooms)


class GatewayExchange:
    """One request of one client."""

    __slots__ = ("_asked", "_closed", "_first", "_format", "_meter", "_passage", "_path",
                 "_rooms", "_settlement", "_status", "_upstream", "alarm")  # fmt: skip

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.alarm: float | None = None
        self._asked: Asked | None = None
        self._settlement: Settlement | None = None
        self._path = ""
        self._format = rooms.formats["chat"]
        self._upstream = False  # the request is, or was, on its way to a level
        self._status = 0
        self._meter: Meter | None = None
        self._passage: guarded.Passage | None = None
        self._first: float | None = None
        self._closed = False

    async def on(self, event: Event) -> Actions:
        """See `Handler`."""
        try:
            return await self._step(event)
        except ClientError as error:
            return self._fail(error)
        except PolicyError as error:
            log.error("unusable policy", extra={"reason": str(error)})  # noqa: TRY400 - a configuration mistake needs no stack
            return self._fail(MISCONFIGURED)

    async def _step(self, event: Event) -> Actions:
        if isinstance(event, Chunk):
            return await (self._on_stream(event) if self._meter else self._on_whole(event))
        if isinstance(event, RequestHead):
            return await self._on_request(event)
        if isinstance(event, RequestBody):
            return await self._on_body(event)
        if isinstance(event, ResponseHead):
            return await self._on_answer(event)
        return await self._on_trailers(event)

    # --- the request ----------------------------------------------------------------------

    async def _on_request(self, event: RequestHead) -> Actions:
        sent = event.headers
        self._path = plain_path(sent.get(":path", ""))
        spoken = format_of(self._path, anthropic="anthropic-version" in sent)
        self._format = self._rooms.formats[spoken]
        if "xds.route_metadata" not in event.attributes:
            raise NO_ROUTE  # no prefix of a path matches CONNECT, for one
        route = self._rooms.routes.of(
            event.attributes.get("xds.route_metadata"),
            event.attributes.get("xds.virtual_host_metadata"),
        )
        asked = Asked(
            mint(), time.time(), time.monotonic(), sent, route,
            self._format.name, self._format.operation,
        )  # fmt: skip
        self._asked = asked
        self._settlement = Settlement(
            asked,
            self._rooms.telemetry,
            self._rooms.ledger,
            self._rooms.limits,
            self._rooms.secret,
        )
        self._rooms.telemetry.started()
        asked.caller = await who(self._rooms, event, asked)
        check_endpoint(sent.get(":method", ""), self._path)
        if self._path not in PATHS:
            return self._list(asked)
        asked.recorded = True
        check_head(sent, end=event.end)
        return GO

    async def _on_body(self, event: RequestBody) -> Actions:
        asked, rooms = self._known(), self._rooms
        planned = await let_in(rooms, asked, self._format, event.data)
        planned = await cached.ask(rooms, asked, self._format, planned)
        if asked.served is not None:
            try:
                return await self._serve(asked, planned)
            except StreamError:
                await cached.spoiled(rooms, asked)
        if asked.question is not None and asked.question.follows:
            longest = min(asked.question.rules.wait + limited.longest(asked), limited.MOST_WAIT)
            return (Wait(longest + limited.WAIT_MARGIN, partial(self._on_flight, planned)),)
        return await self._admit(asked, planned)

    async def _on_flight(self, planned: Planned) -> Sequence[Pass | Answer]:
        """The same is being asked: its answer is this one's, or this one goes on."""
        asked = self._known()
        try:
            await cached.waited(self._rooms, asked)
            if asked.served is not None:
                try:
                    return await self._serve(asked, planned)
                except StreamError:
                    await cached.spoiled(self._rooms, asked)
            actions = await self._admit(asked, planned)
            # Envoy has been told how long it may take, and takes that once.
            if isinstance(actions[0], Wait):
                return await actions[0].then()
        except ClientError as error:
            return self._fail(error)
        return cast("Sequence[Pass | Answer]", actions)

    async def _serve(self, asked: Asked, planned: Planned) -> Sequence[Answer]:
        """Answer with what is kept. Raises StreamError for what cannot be sent, and ClientError
        for what may not be."""
        fields, body = await cached.answer(self._rooms, asked)
        if self._settlement is not None and asked.served is not None:
            self._settlement.serves(planned.body, asked.served.entry.value)
        cached.hit(self._rooms, asked)
        self._first = time.monotonic() - asked.clock if asked.stream else None
        facts = self._settle(200, usage=Usage(0, 0), ttft=self._first)
        return (Answer(200, fields, body, f"tg_cache_{asked.cache}", facts),)

    async def _admit(self, asked: Asked, planned: Planned) -> Sequence[Pass | Wait]:
        """Reserve what it may use, and send it up when its turn has come."""
        planned = await limited.ask(self._rooms, asked, planned)
        if self._settlement is not None:
            self._settlement.reserve(planned.body, reserved(asked, planned), asked.price)
        grant = asked.grant
        if grant is not None and grant.wait is not None:
            return (Wait(grant.wait + limited.WAIT_MARGIN, partial(self._on_turn, planned)),)
        return await self._send_up(asked, planned)

    async def _on_turn(self, planned: Planned) -> Sequence[Pass | Answer]:
        asked = self._known()
        try:
            if asked.grant is not None:
                await self._rooms.limits.turn(asked.grant)
            return await self._send_up(asked, planned)
        except ClientError as error:
            return self._fail(error)

    async def _send_up(self, asked: Asked, planned: Planned) -> Sequence[Pass]:
        admitted = await limited.ready(self._rooms, asked, planned, self._format)
        self._upstream = True
        asked.forwarded = time.monotonic()
        body = admitted.body
        go = Pass(
            set=upstream_headers(asked, admitted, body or b""),
            remove=(*CALLER_SECRETS, *asked.route.private),
            body=body,
            levels=admitted.chain,
            facts={"request_id": asked.id, "route": asked.route.policy.route},
        )
        return (go,)

    def _list(self, asked: Asked) -> Actions:
        anthropic = "anthropic-version" in asked.headers
        caller = asked.caller or NOBODY
        body = models.listing(asked.route, self._path, caller, anthropic=anthropic)
        fields = [("content-type", "application/json"), (h.REQUEST_ID, asked.id)]
        self._settle(200)
        return (Answer(200, fields, body, "tg_models", {"request_id": asked.id}),)

    # --- the answer -----------------------------------------------------------------------

    async def _on_answer(self, event: ResponseHead) -> Actions:
        asked = self._asked
        self._status = event.status
        if asked is None or not self._upstream:
            # Envoy's own answer (413, no route): its body has our shape already.
            return self._pass_local(event)
        sent = event.headers
        asked.answered = time.monotonic()
        asked.attempts = int(event.attributes.get("upstream.request_attempt_count") or 1)
        await learn(self._rooms, asked, event)
        facts = asked.route.targets.get(sent.get(h.I_TARGET, ""))
        asked.target = facts.policy if facts else None
        fields = [
            (h.REQUEST_ID, asked.id),
            (h.TARGET, asked.target.target if asked.target else ""),
            (h.MODEL, asked.target.model if asked.target else ""),
            (h.ATTEMPTS, str(asked.attempts)),
            (h.CACHE, asked.cache),
        ]
        remove = [name for name in sent if name.startswith(h.INTERNAL)]
        remove += keeping.heard(asked, sent)
        self._rooms.last.served(asked)
        limited.tell(asked, fields, remove)
        if event.status not in OK or event.end:
            keeping.drop(self._rooms, asked)  # its body may take its time
            settled = self._settle(event.status, error=str(event.status))
            return (Pass(set=fields, remove=remove, facts=settled),)
        remove.append("content-length")
        if not sent.get("content-type", "").startswith("text/event-stream"):
            self._watch(asked, whole=True)
            return (Pass(set=fields, remove=remove, mode=BodyMode.BUFFERED),)
        price = facts.model.price if facts else None
        self._meter = meter_of(
            asked.format, hide_usage=asked.hide_usage, price=price, input_estimate=asked.tokens
        )
        self._passage = guarded.Passage(self._rooms, asked)
        self._watch(asked)
        return (
            Pass(
                set=fields,
                remove=remove,
                mode=BodyMode.DUPLEX,
                facts=early_facts(asked, self._rooms.secret),
            ),
        )

    def _pass_local(self, event: ResponseHead) -> Actions:
        if self._asked is None:
            return GO
        self._settle(event.status, error=str(event.status))
        return (Pass(set=[(h.REQUEST_ID, self._asked.id)]),)

    # --- its body -------------------------------------------------------------------------

    async def _on_whole(self, event: Chunk) -> Actions:
        asked = self._known()
        if self._settlement is None or self._settlement.settled:
            return GO
        self.alarm = None
        usage, model = read_answer(event.data, asked.format)
        if usage is None:
            _readable(event.data)
            usage = estimate_answer(event.data, asked.format, asked.tokens)
        known = {"usage": usage, "price": self._price(asked), "model": model}
        try:
            body = await guarded.answer(self._rooms, asked, event.data)
        except ClientError as error:
            return self._fail(error, **known)
        self._settlement.saw(guarded.kept(asked, event.data))
        facts = self._settle(self._status, **known)
        spent = int(facts.get("cost_nanousd", 0))
        keeping.keep_whole(self._rooms, asked, event.data, spent)
        body = await embedded.joined(self._rooms, asked, body, spent)
        fields = [(h.MODEL, model_header(model))] if model else []
        if "cost_usd" in facts:
            fields.append((h.COST, str(facts["cost_usd"])))
        return (Pass(set=fields, body=None if body is event.data else body, facts=facts),)

    async def _on_stream(self, event: Chunk) -> Actions:
        if self._closed:
            return HOLD
        meter = self._meter
        assert meter is not None  # noqa: S101 - the caller asked
        try:
            return await self._on_piece(meter, event)
        except guarded.Cut as cut:
            return (self._broken(meter, cut),)

    async def _on_piece(self, meter: Meter, event: Chunk) -> Actions:
        asked = self._known()
        keeping.piece(self._rooms, asked, event.data)
        data = meter.feed(event.data)
        if meter.failed:
            keeping.drop(self._rooms, asked)
        if self._settlement is not None and (self._passage is None or self._passage.may_be_kept):
            self._settlement.saw(data)
        if self._first is None and meter.content:
            self._first = time.monotonic() - asked.clock
        if event.end:
            return (await self._last(meter, data + meter.end()),)
        data = await self._through(data)
        self._watch(asked)
        if meter.done:
            # Before the client knows that its answer is whole: what it got is then on record,
            # whatever happens to this process before the provider closes the stream.
            settled = self._settle_stream(meter, "provider_error" if meter.failed else None)
            return (Emit(data, end=False, facts=settled),) if data else HOLD
        return (Emit(data, end=False),) if data else HOLD

    async def _on_trailers(self, event: Trailers) -> Actions:
        meter = self._meter
        if meter is None or self._closed:
            return GO
        rest = b64decode(event.headers.get(h.I_REST, ""))
        keeping.piece(self._rooms, self._known(), rest)
        try:
            last = await self._last(meter, meter.feed(rest) + meter.end())
        except guarded.Cut as cut:
            last = self._broken(meter, cut)
        return (Emit(last.data, end=False, facts=last.facts), Pass(remove=[h.I_REST]))

    async def _last(self, meter: Meter, data: bytes) -> Emit:
        data = await self._through(data, end=True)
        error = None
        if meter.failed:
            error = "provider_error"
        elif not meter.done:
            error = CUT.code
            data += self._error_event(meter, CUT)
        return Emit(data, end=True, facts=self._close(meter, error))

    def _broken(self, meter: Meter, cut: guarded.Cut) -> Emit:
        """The guard lets no more of a stream pass."""
        data = cut.sent + self._error_event(meter, cut.error)
        return Emit(data, end=True, facts=self._close(meter, cut.error.code))

    async def _through(self, data: bytes, *, end: bool = False) -> bytes:
        """What the client may have of a stream now. Raises Cut."""
        return data if self._passage is None else await self._passage.feed(data, end=end)

    def _error_event(self, meter: Meter, error: ClientError) -> bytes:
        more = self._passage.events if self._passage is not None else 0
        return self._format.error_event(error, meter.position + more)

    async def ring(self) -> Actions:
        """The provider has been silent for too long: after its first content, or, of a whole
        answer, after its head."""
        meter = self._meter
        if self._closed or self._settlement is None:
            return HOLD
        if meter is None:
            return HOLD if self._settlement.settled else self._fail(STALLED)
        try:
            if meter.done:
                return (await self._last(meter, meter.end()),)  # nothing is missing but the end
            if self._settlement.settled:
                return HOLD
            data = await self._through(meter.end(), end=True) + self._error_event(meter, STALLED)
        except guarded.Cut as cut:
            return (self._broken(meter, cut),)
        return (Emit(data, end=True, facts=self._close(meter, STALLED.code)),)

    def _watch(self, asked: Asked, *, whole: bool = False) -> None:
        target = asked.target
        if target is not None:
            # A head may come long before the body that the level's time was meant for.
            silence = max(target.stall, target.timeout) if whole else target.stall
            self.alarm = asyncio.get_running_loop().time() + silence

    # --- the end --------------------------------------------------------------------------

    def _close(self, meter: Meter, error: str | None, *, aborted: bool = False) -> Facts:
        self._closed = True
        self.alarm = None
        return self._settle_stream(meter, error, aborted=aborted)

    def _settle_stream(self, meter: Meter, error: str | None, *, aborted: bool = False) -> Facts:
        known = self._settlement is None or self._settlement.settled
        facts = self._settle(
            self._status,
            error=error,
            usage=meter.billed(),
            price=self._price(self._known()),
            model=meter.model,
            ttft=self._first,
            aborted=aborted,
        )
        if not known and meter.done and error is None:
            spent = int(facts.get("cost_nanousd", 0))
            keeping.keep_stream(self._rooms, self._known(), spent)
        return facts

    def _fail(self, error: ClientError, **known: object) -> Sequence[Answer]:
        asked = self._asked
        if asked is not None:
            keeping.drop(self._rooms, asked)
            error = limited.refused(asked, error)
        fields = error.headers()
        if asked is not None:
            fields.append((h.REQUEST_ID, asked.id))
            if asked.attempts:
                fields.append((h.ATTEMPTS, str(asked.attempts)))
        code = error.code or error.type
        facts = self._settle(error.status, error=code, **known)
        return (Answer(error.status, fields, self._format.error(error), f"tg_{code}", facts),)

    async def gone(self) -> None:
        """The client left, or the provider's connection broke: bill what was produced."""
        self.alarm = None
        if self._asked is None:
            return
        keeping.drop(self._rooms, self._asked)
        if self._meter is not None and not self._closed:
            self._close(self._meter, "cancelled", aborted=True)
        elif self._settlement is not None and not self._settlement.settled:
            # What had no answer yet may be billed all the same: its prompt went up.
            prompt = Usage(self._asked.tokens, estimated=True) if self._unheard() else None
            self._settle(
                self._status or 499,
                error="cancelled",
                usage=prompt,
                price=self._asked.price,
                aborted=True,
            )
        self._rooms.telemetry.finished()

    def _unheard(self) -> bool:
        return self._upstream and not self._status

    def _settle(self, status: int, **known: object) -> Facts:
        if self._settlement is None:
            return {}
        return self._settlement.settle(Ending(status, **known))  # type: ignore[arg-type]

    def _known(self) -> Asked:
        if self._asked is None:
            raise MISCONFIGURED
        return self._asked

    def _price(self, asked: Asked) -> Price | None:
        if asked.target is None:
            return None
        return asked.route.targets[asked.target.target or ""].model.price


def _readable(body: bytes) -> None:
    """Raises ClientError for a body that is no JSON object."""
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UNREADABLE from None
