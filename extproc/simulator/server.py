"""The way of a request through the simulator: route, key, replay, validation, script, answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs

import msgspec

from extproc.simulator.anthropic import Anthropic
from extproc.simulator.bedrock import Bedrock
from extproc.simulator.chat import (
    KINDS,
    NOTHING,
    Ask,
    Dialect,
    Failure,
    RejectedError,
    kind_of,
)
from extproc.simulator.cohere import Cohere
from extproc.simulator.gemini import Gemini
from extproc.simulator.generate import Model
from extproc.simulator.http import Connection, Request, head
from extproc.simulator.openai_routes import SERVERS, endpoint_of, endpoints, spoken_by
from extproc.simulator.play import Plan, Player, garbled
from extproc.simulator.recorder import Record, Recorder
from extproc.simulator.replay import Library, Recording
from extproc.simulator.script import HEADER, PLAIN, Rules, Script, Turns, parse_config, parse_header
from extproc.simulator.vertex import Vertex, VertexClaude
from extproc.simulator.vertex import route as vertex_route


class Port(msgspec.Struct, frozen=True):
    """One listening port. `dialect` decides where a path is nobody's or everybody's; a port
    that is not `hosted` needs no key and has no rules of OpenAI's own service."""

    name: str
    number: int
    dialect: str = "openai"
    hosted: bool = True


class Route(msgspec.Struct, frozen=True):
    """What a path means. `kind`: `chat`, `models` or `none`."""

    kind: str
    dialect: str
    model: str | None = None


_CHATS = {
    "anthropic": re.compile(r"(/[^/]+)*/messages(/count_tokens)?"),
    "bedrock": re.compile(r"(/[^/]+)*/model/[^/]+/(converse|converse-stream|count-tokens)"),
    "cohere": re.compile(r"(/[^/]+)*/v2/(chat|embed)"),
    "gemini": re.compile(
        r"(/[^/]+)*/models/[^/:]+:"
        r"(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)"
    ),
}
_MODELS = re.compile(r"(?P<base>(?:/[^/]+)*?)/models(?:/(?P<model>[^:]+))?")


@lru_cache(maxsize=4096)
def route_of(method: str, path: str, usual: str) -> Route:
    """Find the meaning of a path. `usual` is the dialect where the path does not tell."""
    endpoint = endpoint_of(method, path, usual)
    if endpoint is not None:
        return Route("chat", endpoint)
    if method == "POST":
        if "/publishers/" in path:
            on_vertex = vertex_route(path)
            return Route("chat" if on_vertex else "none", on_vertex or "vertex")
        name = next((name for name, pattern in _CHATS.items() if pattern.fullmatch(path)), None)
        if name is not None:
            return Route("chat", name)
    elif method == "GET":
        found = _MODELS.fullmatch(path)
        if found is not None:
            return Route("models", _lister(found["base"], usual), found["model"])
    return Route("none", "gemini" if "v1beta" in path else usual)


def _lister(base: str, usual: str) -> str:
    """Whose models are listed below that path."""
    if usual in SERVERS or "openai" in base:
        return usual if usual in SERVERS else "openai"
    return "gemini" if "v1beta" in base else usual


@dataclass(slots=True)
class Visit:
    """One request on its way."""

    connection: Connection
    request: Request
    record: Record
    port: Port
    route: Route
    dialect: Dialect
    rules: Rules | None = None
    script: Script = PLAIN


class Application:
    """Answers requests. Owns the records, the configuration and the model that is not there."""

    def __init__(self, ports: list[Port], seed: int, library: Library | None) -> None:
        self._ports = {port.name: port for port in ports}
        self._dialects: dict[str, Dialect] = {
            one.name: one
            for one in (Anthropic(), Gemini(), Vertex(), VertexClaude(), Bedrock(), Cohere())
        }
        self._dialects |= endpoints()
        self._model = Model(seed)
        self._turns = Turns()
        self._library = library
        self._written: object = {}
        self._rules = Rules({}, "config")
        self.recorder = Recorder()

    def configure(self, scripts: object) -> None:
        """Set the default script of each port. Raises ValueError naming the key at fault."""
        self._rules = parse_config(scripts)
        self._written = scripts
        self._turns = Turns()

    def serve(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.path.startswith("/_sim/"):
            self._control(connection, request)
            return
        visit = self._visit(connection, request)
        try:
            plan = self._answer(visit)
        except RejectedError as error:
            visit.script = PLAIN
            plan = self._error_plan(visit, error.failure)
        except ValueError as error:  # the script is at fault
            visit.script = PLAIN
            body = {"error": {"message": str(error), "type": "simulator", "param": HEADER}}
            plan = self._error_plan(visit, Failure(400, msgspec.json.encode(body)))
        self._play(visit, plan)

    # the way of a request

    def _visit(self, connection: Connection, request: Request) -> Visit:
        port = self._ports[connection.port]
        target = f"{request.path}?{request.query}" if request.query else request.path
        record = self.recorder.start(port.name, request.method, target, request.head, request.body)
        route = route_of(request.method, request.path, _usual(request, port))
        record.dialect = self._dialects[route.dialect].name
        return Visit(connection, request, record, port, route, self._dialects[route.dialect])

    def _answer(self, visit: Visit) -> Plan:
        """What to answer. Raises RejectedError, and ValueError for a script that is wrong."""
        request, dialect = visit.request, visit.dialect
        written = request.headers.get(HEADER)
        if written is not None:
            visit.rules = parse_header(written)
        if visit.port.hosted:
            _authenticate(dialect, request)
        if self._library is not None:
            found = self._library.find(request.method, request.path, request.body)
            if found is not None:
                visit.script = self._script(visit)
                return _replayed(visit, found)
        ask = _understood(visit)
        visit.script = self._script(visit)
        visit.dialect = self._dialects[spoken_by(visit.route.dialect, visit.script.server)]
        if _fails(visit.script):
            return self._error_plan(visit, _failure(visit))
        return self._models(visit) if ask is None else self._chat(visit, ask)

    def _script(self, visit: Visit) -> Script:
        """The request's own script, else the configured one, else none."""
        for rules in (visit.rules, self._rules):
            if rules is not None:
                script = self._turns.choose(rules, visit.record.model, visit.port.name)
                if script is not None:
                    return script
        return PLAIN

    def _models(self, visit: Visit) -> Plan:
        body = visit.dialect.models(visit.route.model)
        if body is None:
            raise RejectedError(visit.dialect.error("not_found"))
        return _body_plan(visit, body, 0, self._model.identifier(24))

    def _chat(self, visit: Visit, ask: Ask) -> Plan:
        dialect, script, record = visit.dialect, visit.script, visit.record
        reply = self._model.reply(ask, script)
        events = dialect.content_events(ask, reply)
        record.usage = NOTHING if ask.free else reply.usage or NOTHING
        record.total = events if ask.stream else 1
        if not ask.stream:
            return _body_plan(visit, dialect.answer(ask, reply), events, reply.id)
        plan = Plan(
            status=200,
            headers=_headers(visit, reply.id, stream=ask.sse),
            frames=dialect.frames(ask, reply),
            length=None,
            events=events,
        )
        return garbled(plan, script, b"")

    def _error_plan(self, visit: Visit, failure: Failure) -> Plan:
        visit.record.usage = None
        visit.record.total = 1
        headers = _headers(visit, self._model.identifier(24), stream=False)
        plan = Plan(
            status=failure.status,
            headers=_merged(headers, failure.headers),
            frames=iter([(failure.body, True)]),
            length=len(failure.body),
            events=0,
        )
        return garbled(plan, visit.script, failure.body)

    def _play(self, visit: Visit, plan: Plan) -> None:
        if visit.script is not PLAIN or plan.length is None:
            failure = _failure(visit)
            Player(visit.connection, self.recorder, visit.record, plan, visit.script).start(
                visit.dialect, failure, keep_alive=visit.request.keep_alive
            )
            return
        record = visit.record
        body = b"".join(data for data, _ in plan.frames)
        record.status = plan.status
        record.events = record.total
        visit.connection.write(plan.head + body)
        self.recorder.end(record, "error" if plan.status >= 400 else "whole")  # noqa: PLR2004
        visit.connection.done(keep_alive=visit.request.keep_alive)

    # control

    def _control(self, connection: Connection, request: Request) -> None:
        """`/_sim/…`: not recorded."""
        status, body = 200, b"{}"
        match (request.method, request.path):
            case ("GET", "/_sim/healthz"):
                pass
            case ("GET", "/_sim/requests"):
                asked = parse_qs(request.query)
                since = asked.get("since", ["0"])[0]
                records = self.recorder.since(
                    int(since) if since.isdigit() else 0, asked.get("port", [None])[0]
                )
                body = msgspec.json.encode([one.as_dict() for one in records])
            case ("GET", "/_sim/body"):
                wanted = parse_qs(request.query).get("sequence", [""])[0]
                kept = {str(one.sequence): one.body for one in self.recorder.since()}
                body = kept.get(wanted) or b""
            case ("DELETE", "/_sim/requests"):
                self.recorder.clear()
            case ("GET", "/_sim/totals"):
                body = msgspec.json.encode(self.recorder.totals())
            case ("GET", "/_sim/config"):
                body = msgspec.json.encode(self._written)
            case ("PUT", "/_sim/config"):
                try:
                    self.configure(msgspec.json.decode(request.body))
                except (ValueError, msgspec.DecodeError) as error:
                    status, body = 400, msgspec.json.encode({"error": str(error)})
            case _:
                status, body = 404, b'{"error":"no such control path"}'
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        connection.write(head(status, headers) + body)
        connection.done(keep_alive=request.keep_alive)


def _usual(request: Request, port: Port) -> str:
    """The dialect that the request's headers speak, else the port's."""
    if "anthropic-version" in request.headers:
        return "anthropic"
    if "api-key" in request.headers and request.path.startswith("/openai/"):
        return "azure"
    return "gemini" if "x-goog-api-key" in request.headers else port.dialect


def _authenticate(dialect: Dialect, request: Request) -> None:
    refused = dialect.authenticate(request.headers, request.query)
    if refused is not None:
        raise RejectedError(refused)


def _understood(visit: Visit) -> Ask | None:
    """The valid request; None for a list of models. Raises RejectedError."""
    request, route, dialect = visit.request, visit.route, visit.dialect
    if route.kind == "none":
        raise RejectedError(dialect.not_found(request.method, request.path))
    if route.kind == "models":
        return None
    ask = dialect.parse(
        request.body, request.headers, request.path, request.query, hosted=visit.port.hosted
    )
    visit.record.model, visit.record.stream = ask.model, ask.stream
    return ask


def _fails(script: Script) -> bool:
    """Whether the script wants an error status (and not an error within a stream)."""
    if script.first_event_error or script.error_at is not None:
        return False
    if script.error is not None:
        return True
    return script.status is not None and script.status >= 400  # noqa: PLR2004


def _failure(visit: Visit) -> Failure:
    """The error that a script asks for. Raises ValueError when its name is unknown."""
    script, dialect, hosted = visit.script, visit.dialect, visit.port.hosted
    status = script.status
    if status is not None and status < 400:  # noqa: PLR2004
        status = None
    if isinstance(script.error, dict):
        extra = dialect.error("server", retry_after=script.retry_after, hosted=hosted).headers
        return Failure(status or 400, msgspec.json.encode(script.error), extra)
    kind = script.error or ("server" if status is None else kind_of(status))
    if kind not in KINDS:
        raise ValueError(f"'script.error' has a wrong value: {kind}")
    return dialect.error(
        kind,
        status=status,
        message=script.message,
        retry_after=script.retry_after,
        hosted=hosted,
    )


def _body_plan(visit: Visit, body: bytes, events: int, reply_id: str) -> Plan:
    plan = Plan(
        status=visit.script.status or 200,
        headers=_headers(visit, reply_id, stream=False),
        frames=iter([(body, True)]),
        length=len(body),
        events=events,
    )
    return garbled(plan, visit.script, body)


def _replayed(visit: Visit, found: Recording) -> Plan:
    record = visit.record
    record.replayed = found.source
    record.stream = found.stream
    record.total = len(found.frames) if found.stream else 1
    return Plan(
        status=found.status,
        headers=[*found.headers, ("x-sim-replay", found.source)],
        frames=((data, True) for data in found.frames),
        length=None if found.stream else sum(map(len, found.frames)),
        events=len(found.frames),
    )


def _headers(visit: Visit, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
    return _merged(visit.dialect.headers(reply_id, stream=stream), visit.script.headers)


def _merged(
    headers: list[tuple[str, str]], extra: tuple[tuple[str, str], ...] | dict[str, str]
) -> list[tuple[str, str]]:
    """Headers with others set over them."""
    items = list(extra.items()) if isinstance(extra, dict) else list(extra)
    if not items:
        return headers
    over = {name.lower() for name, _ in items}
    return [one for one in headers if one[0] not in over] + items
