"""OpenAI's responses (`POST /v1/responses`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from extproc.simulator import problems
from extproc.simulator import responses_request as wire
from extproc.simulator.chat import NEXT, Ask, Failure, Frame, Reply, Tool
from extproc.simulator.openai_errors import complaint
from extproc.simulator.openai_rules import reasons
from extproc.simulator.openai_service import Endpoint, Service
from extproc.simulator.openai_stream import content_events
from extproc.simulator.responses_items import Own, response_of
from extproc.simulator.responses_rules import Understood, broken_rule, understand
from extproc.simulator.responses_store import Item, Kept, Store
from extproc.simulator.responses_stream import Stream


class Reader(Endpoint):
    """What reading a request needs, for creating and for counting."""

    def __init__(self, service: Service, store: Store) -> None:
        super().__init__(service)
        self.store = store

    def understand(
        self, body: wire.Shared, raw: bytes, *, hosted: bool, named: str | None
    ) -> Understood:
        """Check items, tools and rules. Raises RejectedError."""
        body.model = named or body.model
        try:
            read = understand(body)
        except problems.InvalidError as error:
            raise self._malformed(error, hosted=hosted) from None
        own = hosted and self.service.keeps
        wrong = broken_rule(body, read, self.store, raw, own=own)
        if wrong is not None:
            raise self.refused(wrong, hosted=hosted)
        return read

    def _malformed(self, error: problems.InvalidError, *, hosted: bool) -> Exception:
        wrong = complaint(error)
        known = _known(error.problem)
        if known:
            name = (wrong.param or "").removesuffix(".type")
            words = f"{wrong.message} Supported values are: {_listed(known)}."
            wrong = msgspec.structs.replace(wrong, message=words, param=name)
        return self.refused(wrong, hosted=hosted)

    def error_event(self, failure: Failure) -> bytes:
        """An `error` event, whose fields are not within `error`."""
        told = msgspec.json.decode(failure.body)
        inner = told.get("error") if isinstance(told, dict) else None
        found: dict[str, Any] = inner if isinstance(inner, dict) else {}
        code = found.get("code") or found.get("type")
        event = {
            "type": "error",
            "code": None if code is None else str(code),
            "message": found.get("message") or "An error occurred.",
            "param": found.get("param"),
            "sequence_number": NEXT[1:-1].decode(),
        }
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


class Responses(Reader):
    """`POST …/responses`."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as OpenAI does. Raises RejectedError."""
        named = self.service.admit(path, query)
        self.require_json(headers, hosted=hosted)
        sent = self.decode(wire.Body, body, hosted=hosted)
        read = self.understand(sent, body, hosted=hosted, named=named)
        return _ask(sent, read, self.service.response_extra(), hosted=hosted)

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `response`; of one in the background, that it is queued."""
        own: Own = ask.own
        self._keep(ask, reply)
        waits = bool(own.body.background)
        return msgspec.json.encode(response_of(ask, reply, "queued" if waits else None))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """The events of a response."""
        self._keep(ask, reply)
        return Stream(ask, reply).frames()

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Pieces of reasoning and text, heads of calls and pieces of arguments."""
        return 0 if reply.finish == "failed" else content_events(ask, reply)

    def _keep(self, ask: Ask, reply: Reply) -> None:
        own: Own = ask.own
        if own.body.store is False or not self.service.keeps:
            return
        waits = bool(own.body.background) and not ask.stream
        kept = Kept(response_of(ask, reply), _input(own, reply), ask, reply, waits)
        self.store.put(kept)


def _ask(sent: wire.Body, read: Understood, extra: dict[str, Any], *, hosted: bool) -> Ask:
    form = sent.text.format if sent.text is not None else UNSET
    options = sent.stream_options
    asked = sent.reasoning
    choice = read.choice
    thinking = reasons(sent.model or "") and (asked is None or asked.effort != "none")
    prompt = _prompt(sent)
    return Ask(
        model=sent.model or "gpt-4o",
        stream=bool(sent.stream),
        obfuscate=hosted and (options is None or options.include_obfuscation is not False),
        tools=_tools(read),
        forced=choice.name if isinstance(choice, wire.Named | wire.NamedCustom) else None,
        required=(choice == "required" and bool(_tools(read)))
        or (isinstance(choice, wire.Allowed) and choice.mode == "required"),
        tools_off=choice == "none",
        parallel=sent.parallel_tool_calls is not False,
        max_tokens=sent.max_output_tokens,
        prompt=prompt,
        json_schema=form.schema if isinstance(form, wire.SchemaFormat) else None,
        json_mode=isinstance(form, wire.SchemaFormat | wire.JSONFormat),
        thinks=asked is not None
        and (asked.summary or asked.generate_summary) is not None
        and thinking,
        reasons=thinking,
        own=Own(sent, read, searches=_searches(read, prompt), extra=extra, hosted=hosted),
    )


def _tools(read: Understood) -> tuple[Tool, ...]:
    return tuple(
        Tool(one.name, one.parameters)
        if isinstance(one, wire.FunctionTool)
        else Tool(one.name, custom=True)
        for one in read.tools
        if isinstance(one, wire.FunctionTool | wire.CustomTool)
    )


def _searches(read: Understood, prompt: str) -> bool:
    """Whether the web is searched: it may be, and the prompt says `search` or it must be."""
    offered = [one for one in read.tools if isinstance(one, wire.WebSearch | wire.WebSearchPreview)]
    if not offered or read.choice == "none":
        return False
    forced = isinstance(read.choice, str) and read.choice.startswith("web_search")
    return forced or "search" in prompt.lower()


def _prompt(sent: wire.Body) -> str:
    """Text of the last item if that is the user's."""
    if isinstance(sent.input, str):
        return sent.input
    last = sent.input[-1] if sent.input else {}
    content = last.get("content") if last.get("role") == "user" else ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or ())


def _input(own: Own, reply: Reply) -> list[Item]:
    """The input as it is kept: every item has an id and a type."""
    sent = own.body.input
    if isinstance(sent, str):
        part = {"type": "input_text", "text": sent}
        sent = [{"type": "message", "role": "user", "status": "completed", "content": [part]}]
    kept: list[Item] = []
    for n, item in enumerate(sent or ()):
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        prefix = "msg" if kind == "message" else "item"
        made = {"id": f"{prefix}_{reply.id}{n:02x}", "type": kind} | item
        if kind == "message" and isinstance(item.get("content"), str):
            part_kind = "output_text" if item["role"] == "assistant" else "input_text"
            made["content"] = [{"type": part_kind, "text": item["content"]}]
        kept.append(made)
    return kept


def _known(problem: problems.Problem) -> tuple[str, ...]:
    """What a `type` may be, where another one was given."""
    if problem.kind != "value":
        return ()
    match problem.path:
        case ("input", int()):
            return tuple(wire.ITEMS)
        case ("tools", int()):
            return tuple(wire.TOOLS)
        case ("input", int(), "content", int(), *_):
            return wire.PARTS
        case _:
            return ()


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"'{one}'" for one in names]
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
