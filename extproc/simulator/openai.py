"""OpenAI chat completions, as the provider speaks them (and vLLM, for self-hosted models)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Ask, Frame, Reply, Tool
from extproc.simulator.openai_message import finish_of, logprobs_of, message_of, moderation, old_way
from extproc.simulator.openai_rules import broken_rule, reasons
from extproc.simulator.openai_service import Endpoint, Service, tier, usage_of
from extproc.simulator.openai_stream import Stream, content_events


class Chat(Endpoint):
    """`POST …/chat/completions`."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as OpenAI does. Raises RejectedError."""
        service = self.service
        named = service.admit(path, query)
        self.require_json(headers, hosted=hosted)
        chat = self.decode(
            service.chat_body if hosted else wire.SelfHostedBody, body, hosted=hosted
        )
        chat.model = named or chat.model
        wrong = broken_rule(chat, body, hosted=hosted, own=hosted and service.own_rules)
        if wrong is not None:
            raise self.refused(wrong, hosted=hosted)
        return _ask(chat, service, hosted=hosted)

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `chat.completion`."""
        chat: wire.Body = ask.own
        service = self.service
        thought = service.thought("".join(reply.thinking), delta=False) if reply.thinking else {}
        message = service.message(message_of(chat, reply, thought))
        finish = finish_of(chat, reply)
        logprobs = None
        if ask.logprobs:
            logprobs = logprobs_of(reply, reply.pieces, chat.top_logprobs or 0)
        choices = [
            service.choice(
                {"index": n, "message": message, "logprobs": logprobs, "finish_reason": finish}
            )
            for n in range(ask.choices)
        ]
        body: dict[str, Any] = {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.model,
            "choices": choices,
        }
        usage = self._usage(ask, reply)
        if usage is not None:
            body["usage"] = usage
        if service.reports_system:
            body["service_tier"] = tier(chat.service_tier)
            body["system_fingerprint"] = "fp_51e1070cf2"
        if chat.moderation is not None:
            body["moderation"] = moderation(chat.moderation.model)
        body |= service.marks(reply, first=True, usage=None)
        return msgspec.json.encode(service.whole(body, reply))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`chat.completion.chunk` events, then `[DONE]`."""
        return Stream(self.service, ask, reply, self._usage(ask, reply)).frames()

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Text pieces, heads of calls and pieces of arguments, for each choice."""
        return content_events(ask, reply)

    def _usage(self, ask: Ask, reply: Reply) -> dict[str, Any] | None:
        if reply.usage is None:
            return None
        chat: wire.Body = ask.own
        visible = reply.usage.output - reply.usage.reasoning
        accepted = min(3, visible) if chat.prediction is not None else 0
        rejected = min(2, visible - accepted) if chat.prediction is not None else 0
        figures = usage_of(reply.usage, accepted=accepted, rejected=rejected)
        return self.service.usage(reply.usage, figures)


def _ask(chat: wire.Body, service: Service, *, hosted: bool) -> Ask:
    choice = chat.tool_choice
    options = chat.stream_options
    form = chat.response_format
    last = chat.messages[-1]
    forced = None
    if isinstance(choice, wire.FunctionChoice):
        forced = choice.function.name
    elif isinstance(choice, wire.CustomChoice):
        forced = choice.custom.name
    elif isinstance(chat.function_call, wire.FunctionName):
        forced = chat.function_call.name
    return Ask(
        model=chat.model,
        stream=bool(chat.stream),
        include_usage=options is not None and options.include_usage is True,
        obfuscate=hosted
        and service.own_rules
        and (options is None or options.include_obfuscation is not False),
        tools=_tools(chat),
        forced=forced,
        required=choice == "required"
        or (isinstance(choice, wire.AllowedChoice) and choice.allowed_tools.mode == "required"),
        tools_off="none" in (choice, chat.function_call),
        parallel=chat.parallel_tool_calls is not False and not old_way(chat),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        choices=chat.n or 1,
        prompt=_text(last) if isinstance(last, wire.User) else "",
        json_schema=form.json_schema.schema or None
        if isinstance(form, wire.SchemaFormat)
        else None,
        json_mode=isinstance(form, wire.SchemaFormat | wire.JSONFormat),
        thinks=service.thinks(chat),
        reasons=reasons(chat.model) and chat.reasoning_effort != "none",
        logprobs=bool(chat.logprobs),
        own=chat,
    )


def _tools(chat: wire.Body) -> tuple[Tool, ...]:
    """What may be called."""
    if old_way(chat):
        return tuple(Tool(one.name, one.parameters or None) for one in chat.functions or ())
    return tuple(
        Tool(one.function.name, one.function.parameters or None)
        if isinstance(one, wire.FunctionTool)
        else Tool(one.custom.name, custom=True)
        for one in chat.tools or ()
        if isinstance(one, wire.FunctionTool | wire.CustomTool)
    )


def _text(message: wire.User) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join(part.text for part in message.content if isinstance(part, wire.TextPart))
