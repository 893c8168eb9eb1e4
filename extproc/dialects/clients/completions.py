"""OpenAI's legacy completions as a client's format: a prompt to be gone on from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from extproc import strict_json
from extproc.catalogue import FEATURES
from extproc.dialects import (
    ClientRequest,
    Counted,
    StreamReader,
    Vectors,
    bodies,
)
from extproc.dialects.again import Again, unknown
from extproc.dialects.chat import ChatRequest
from extproc.dialects.chat import messages as m
from extproc.dialects.chat.completion import (
    DONE,
    Completion,
    ReasoningDetail,
    ToolCall,
    Usage,
    Writer,
)
from extproc.dialects.chat.request import Penalty, StreamOptions
from extproc.dialects.clients.chat import ChatWatch, judged, usage_included
from extproc.errors import ClientError, bad_request

_encode: Final = msgspec.json.encode


class CompletionRequest(Struct, frozen=True, kw_only=True):
    """A legacy completion request. Absent and `null` are the same."""

    model: str = ""
    prompt: str | list[str | int | list[int]] | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None

    def texts(self) -> list[str]:
        """The prompts that are text."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [one for one in self.prompt or () if isinstance(one, str)]

    def tokens(self) -> int:
        """Tokens of the prompts that are given as such."""
        if self.prompt is None or isinstance(self.prompt, str):
            return 0
        return sum(len(one) if isinstance(one, list) else isinstance(one, int)
                   for one in self.prompt)  # fmt: skip

    def answers(self) -> int:
        """Completions that are written: of each prompt as many as the best are chosen from."""
        prompts = 1
        if isinstance(self.prompt, list) and not any(isinstance(one, int) for one in self.prompt):
            prompts = max(1, len(self.prompt))
        return prompts * max(self.n or 1, self.best_of or 1)

    def uses(self) -> tuple[str, ...]:
        """See `ClientRequest.uses`."""
        given = {
            "completions": True,
            "streaming": self.stream,
            "n": self.n is not None and self.n > 1,
            "seed": self.seed is not None,
            "penalties": self.presence_penalty or self.frequency_penalty,
            "logit_bias": self.logit_bias,
        }
        return tuple(name for name, used in given.items() if used)

    def native_only(self) -> str | None:
        """What a chat cannot say."""
        if not isinstance(self.prompt, str):
            return "prompt: this target takes a single text as a prompt"
        asked = ("suffix", "echo", "best_of", "logprobs")
        if self.max_tokens == 0:
            return "max_tokens: this target completes by chat, which says something"
        name = next((name for name in asked if getattr(self, name)), None)
        return None if name is None else f"{name}: this target completes by chat, which has it not"

    def chat(self) -> ChatRequest | None:
        """The prompt as what a user says."""
        if self.native_only() is not None or not isinstance(self.prompt, str):
            return None
        return ChatRequest(
            model=self.model,
            messages=[m.UserMessage(self.prompt)],
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            max_tokens=self.max_tokens,
            n=self.n,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            stop=self.stop,
            stream=self.stream,
            temperature=self.temperature,
            top_p=self.top_p,
            user=self.user,
        )


FIELDS: Final = frozenset(CompletionRequest.__struct_fields__)
_NEEDED: Final = frozenset({"streaming", "n", "seed", "penalties", "logit_bias"}) & FEATURES
_DECODER: Final = Again(CompletionRequest)


class Completions:
    """See `extproc.dialects.ClientFormat`."""

    name = "completions"
    operation = "text_completion"

    def parse(self, body: bytes) -> ClientRequest:
        """A client's body. Raises ClientError (400)."""
        asked = bodies.convert(bodies.load(body, FIELDS), CompletionRequest)
        if not asked.model:
            raise bad_request("you must provide a model parameter", "model")
        if isinstance(asked.prompt, list) and len({type(one) for one in asked.prompt}) > 1:
            raise bad_request("'prompt' is a text, texts, or tokens, not a mixture.", "prompt")
        if asked.stream_options is not None and not asked.stream:
            raise bad_request(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                "stream_options",
            )
        uses = asked.uses()
        plain, wide = bodies.measure(asked.texts())
        options = asked.stream_options
        return ClientRequest(
            format=self.name,
            model=asked.model,
            stream=bool(asked.stream),
            hide_usage=bool(asked.stream) and not (options and options.include_usage),
            user=asked.user,
            max_output=bodies.allowed(asked.max_tokens),
            answers=asked.answers(),
            # A prompt of tokens counts four bytes each, as the estimator has it.
            text=(plain + 4 * asked.tokens(), wide),
            messages=1,
            uses=uses,
            needs=_NEEDED.intersection(uses),
            chat=asked.chat(),
            native_only=asked.native_only(),
        )

    def decode(self, body: bytes) -> ClientRequest:
        """A body that was parsed before."""
        asked = _DECODER.decode(body)
        return ClientRequest(
            format=self.name,
            model=asked.model,
            stream=bool(asked.stream),
            uses=asked.uses(),
            chat=asked.chat(),
            native_only=asked.native_only(),
            unknown=unknown(asked, body, FIELDS),
        )

    def forwarded(self, request: ClientRequest, body: bytes, model: str | None) -> bytes | None:
        """The body with usage asked for."""
        changes: dict[str, object] = {}
        if model is not None and model != request.model:
            changes["model"] = model
        if request.hide_usage:
            changes["stream_options"] = usage_included(body, given=b'"stream_options"' in body)
        return strict_json.splice(body, changes) if changes else None

    def capped(self, request: ClientRequest, body: bytes, cap: int) -> bytes:
        """The body with no more than `cap` tokens allowed for an answer."""
        return bodies.capped(body, "max_tokens", request.max_output, cap)

    def look(self, body: bytes) -> bool:
        """Judge a whole completion."""
        return judged(body, "a completion")

    def watch(self) -> StreamReader:
        """A reader that passes every byte on."""
        return ChatWatch()

    def whole(self, answer: Completion | Vectors | Counted, request: ClientRequest) -> bytes:  # noqa: ARG002 - the door's shape
        """A text completion."""
        assert isinstance(answer, Completion)  # noqa: S101 - such a request asks for no other
        choices = [
            {
                "text": one.message.content or "",
                "index": one.index,
                "logprobs": None,
                "finish_reason": _FINISH.get(one.finish_reason, "stop"),
            }
            for one in answer.choices
        ]
        return _encode(
            {
                "id": _id(answer.id),
                "object": "text_completion",
                "created": answer.created,
                "model": answer.model,
                "choices": choices,
                "usage": answer.usage.shape(),
            }
        )

    def writer(self, request: ClientRequest) -> Writer:  # noqa: ARG002 - the door's shape
        """Chunks of text."""
        return TextChunks()

    def error(self, error: ClientError) -> bytes:
        """OpenAI's error object."""
        return error.openai()

    def error_event(self, error: ClientError, position: int) -> bytes:  # noqa: ARG002 - chunks have no numbers
        """OpenAI's error object as an event."""
        return error.sse()


_FINISH: Final[dict[str, Literal["length", "content_filter"]]] = {
    "length": "length",
    "content_filter": "content_filter",
}
"""A completion ends with `stop` for every other reason."""


def _id(id_: str) -> str:
    return "cmpl-" + id_.removeprefix("chatcmpl-")


class TextChunks:
    """See `extproc.dialects.chat.completion.Writer`. Thinking, tools and the like have no place
    here, and are not asked for."""

    def __init__(self) -> None:
        self._head = b""

    def start(self, id_: str, created: int, model: str) -> bytes:
        """See `Writer`."""
        self._head = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,' % (
            _encode(_id(id_)),
            created,
            _encode(model),
        )
        return b""

    def choice(self, index: int = 0) -> bytes:  # noqa: ARG002 - nothing to say
        """See `Writer`."""
        return b""

    def _chunk(self, index: int, text: bytes, finish: bytes) -> bytes:
        return b'%b"choices":[{"text":%b,"index":%d,"logprobs":null,"finish_reason":%b}]}\n\n' % (
            self._head,
            text,
            index,
            finish,
        )

    def text(self, text: bytes, index: int = 0, logprobs: bytes | None = None) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        return self._chunk(index, text, b"null")

    def reasoning(self, text: bytes, index: int = 0) -> bytes:  # noqa: ARG002 - no place for it
        """See `Writer`."""
        return b""

    def detail(self, detail: ReasoningDetail, index: int = 0) -> bytes:  # noqa: ARG002 - no place for it
        """See `Writer`."""
        return b""

    def refusal(self, text: bytes, index: int = 0) -> bytes:  # noqa: ARG002 - the finish reason tells
        """See `Writer`."""
        return b""

    def annotations(self, found: list[dict[str, Any]], index: int = 0) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        return b""

    def image(self, url: str, index: int = 0) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        return b""

    def call(self, number: int, call: ToolCall, index: int = 0) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        return b""

    def arguments(self, number: int, piece: bytes, index: int = 0) -> bytes:  # noqa: ARG002 - not asked for
        """See `Writer`."""
        return b""

    def finish(self, reason: str, index: int = 0, stop_sequence: str | None = None) -> bytes:  # noqa: ARG002 - no place for it
        """See `Writer`."""
        return self._chunk(index, b'""', _encode(_FINISH.get(reason, "stop")))

    def usage(self, usage: Usage, service_tier: str | None = None) -> bytes:  # noqa: ARG002 - no place for it
        """See `Writer`."""
        return b'%b"choices":[],"usage":%b}\n\n' % (self._head, _encode(usage.shape()))

    def done(self) -> bytes:
        """See `Writer`."""
        return DONE

    def error(self, error: ClientError) -> bytes:
        """See `Writer`."""
        return error.sse()
