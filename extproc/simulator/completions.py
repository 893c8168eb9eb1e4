"""OpenAI's older completions (`POST /v1/completions`): text goes on where the prompt ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Ask, Frame, Reply
from extproc.simulator.openai_errors import Wrong
from extproc.simulator.openai_rules import unknown_model
from extproc.simulator.openai_service import Endpoint, usage_of
from extproc.simulator.openai_stream import padding

_FINISH = {"refusal": "stop", "tool_calls": "stop"}

Count = Annotated[int, msgspec.Meta(ge=1, le=128)]
Tokens = Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1)]


class Body(wire.Strict):
    """The whole body."""

    model: str
    prompt: Any = None
    """Text, texts, tokens or lists of tokens; `_prompts` tells them apart."""
    best_of: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    frequency_penalty: wire.Penalty | None = None
    logit_bias: dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]] | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    n: Count | None = None
    presence_penalty: wire.Penalty | None = None
    seed: int | None = None
    stop: str | wire.Stop | None = None
    stream: bool | None = None
    stream_options: wire.StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | UnsetType = UNSET


class AzureBody(Body):
    """The path names the model."""

    model: str = ""


class _Own(msgspec.Struct, frozen=True):
    """The request, and its prompts as text."""

    body: Body
    prompts: tuple[str, ...]


class Completions(Endpoint):
    """`POST …/completions`."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], path: str, query: str, *, hosted: bool
    ) -> Ask:
        """Validate as OpenAI does. Raises RejectedError."""
        named = self.service.admit(path, query)
        self.require_json(headers, hosted=hosted)
        sent = self.decode(AzureBody if named else Body, body, hosted=hosted)
        sent.model = named or sent.model
        prompts = _prompts(sent.prompt)
        wrong = (
            prompts
            if isinstance(prompts, Wrong)
            else unknown_model(sent.model, hosted=hosted) or _broken_rule(sent)
        )
        if wrong is not None:
            raise self.refused(wrong, hosted=hosted)
        assert not isinstance(prompts, Wrong)  # noqa: S101 - refused above
        options = sent.stream_options
        return Ask(
            model=sent.model,
            stream=bool(sent.stream),
            include_usage=options is not None and options.include_usage is True,
            obfuscate=hosted and (options is None or options.include_obfuscation is not False),
            max_tokens=sent.max_tokens,
            choices=(sent.n or 1) * len(prompts),
            prompt=prompts[-1],
            logprobs=sent.logprobs is not None,
            own=_Own(sent, prompts),
        )

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """A `text_completion`."""
        own: _Own = ask.own
        finish = _FINISH.get(reply.finish, reply.finish)
        choices = []
        for n in range(ask.choices):
            pieces = self._pieces(ask, reply, n)
            shown = _logprobs(pieces, own.body.logprobs, 0)
            choices.append(
                self.service.choice(
                    {
                        "text": "".join(pieces),
                        "index": n,
                        "logprobs": shown,
                        "finish_reason": finish,
                    }
                )
            )
        body = _head(reply) | {"choices": choices}
        if reply.usage is not None:
            body["usage"] = self.service.usage(reply.usage, usage_of(reply.usage))
        return msgspec.json.encode(self.service.whole(body, reply))

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """`text_completion` events, then `[DONE]`."""
        head = _head(reply)
        own: _Own = ask.own
        events = 0

        def event(choices: list[dict[str, Any]], usage: Any = None) -> bytes:
            nonlocal events
            made = head | {"choices": choices}
            if ask.include_usage:
                made["usage"] = usage
            if ask.obfuscate:
                events += 1
                made["obfuscation"] = padding(events)
            return b"data: " + msgspec.json.encode(made) + b"\n\n"

        def choice(n: int, text: str, finish: str | None, logprobs: Any = None) -> dict[str, Any]:
            made = {"text": text, "index": n, "logprobs": logprobs, "finish_reason": finish}
            return self.service.choice(made)

        yield from self.service.opening(head)
        finish = _FINISH.get(reply.finish, reply.finish)
        for n in range(ask.choices):
            offset = 0
            for piece in self._pieces(ask, reply, n):
                shown = _logprobs((piece,), own.body.logprobs, offset)
                yield event([choice(n, piece, None, shown)]), True
                offset += len(piece)
            yield event([choice(n, "", finish)]), False
        if ask.include_usage and reply.usage is not None:
            yield event([], self.service.usage(reply.usage, usage_of(reply.usage))), False
        yield b"data: [DONE]\n\n", False

    def content_events(self, ask: Ask, reply: Reply) -> int:
        """Pieces of text, the prompt's echo included, for each choice."""
        return sum(len(self._pieces(ask, reply, n)) for n in range(ask.choices))

    def _pieces(self, ask: Ask, reply: Reply, n: int) -> tuple[str, ...]:
        """The text of a choice: choices of one prompt stand together."""
        own: _Own = ask.own
        prompt = own.prompts[n // (own.body.n or 1)]
        return (prompt, *reply.pieces) if own.body.echo and prompt else reply.pieces


def _head(reply: Reply) -> dict[str, Any]:
    return {
        "id": f"cmpl-{reply.id}",
        "object": "text_completion",
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": "fp_51e1070cf2",
    }


def _logprobs(pieces: tuple[str, ...], top: int | None, offset: int) -> dict[str, Any] | None:
    """The old shape: lists beside each other. A token's place is counted in characters."""
    if top is None:
        return None
    places = []
    for piece in pieces:
        places.append(offset)
        offset += len(piece)
    return {
        "tokens": list(pieces),
        "token_logprobs": [-0.25] * len(pieces),
        "top_logprobs": [
            {one if n == 0 else f"{one}{n}": -0.25 - n * 2.0 for n in range(top)} for one in pieces
        ]
        if top
        else None,
        "text_offset": places,
    }


def _prompts(prompt: Any) -> tuple[str, ...] | Wrong:
    """Each prompt as text; tokens have none. What is none of the four kinds is refused."""
    if prompt is None or isinstance(prompt, str):
        return (prompt or "",)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(one, str) for one in prompt):
            return tuple(prompt)
        if _are_tokens(prompt):
            return ("",)
        if all(isinstance(one, list) and one and _are_tokens(one) for one in prompt):
            return ("",) * len(prompt)
    if prompt == []:
        return Wrong(
            "Invalid 'prompt': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "prompt",
            "empty_array",
        )
    return Wrong(
        "Invalid type for 'prompt': expected one of a string, array of strings, array of tokens, "
        "or array of token arrays.",
        "prompt",
        "invalid_type",
    )


def _are_tokens(value: list[Any]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)


def _broken_rule(sent: Body) -> Wrong | None:
    if sent.stream_options is not None and not sent.stream:
        return Wrong(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if sent.best_of is not None:
        if sent.best_of < (sent.n or 1):
            return Wrong(
                f"You requested that the server return more choices than it will generate (HINT: "
                f"you must set 'n' (currently {sent.n or 1}) to be at most 'best_of' (currently "
                f"{sent.best_of}), or omit either parameter if you don't specifically want to use "
                "them.)",
                "best_of",
            )
        if sent.stream and sent.best_of > 1:
            return Wrong("Cannot stream results when 'best_of' is greater than 1.", "best_of")
    if sent.suffix is not None and sent.echo:
        return Wrong("Cannot use 'suffix' and 'echo' together.", "suffix")
    if sent.max_tokens == 0 and not sent.echo:
        return Wrong(
            "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got 0 "
            "instead.",
            "max_tokens",
            "integer_below_min_value",
        )
    return None
