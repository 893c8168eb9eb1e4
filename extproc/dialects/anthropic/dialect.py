"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from extproc import strict_json
from extproc.dialects import ClientRequest, Counted, Failure, Reply, StreamReader, Wire
from extproc.dialects.anthropic import answer, problems
from extproc.dialects.anthropic.request import VERSION, beta_headers, refusal, write
from extproc.dialects.anthropic.stream import Reader
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.chat.request import ChatRequest
from extproc.dialects.provider import Translated
from extproc.policy import TargetPolicy

_JSON = ("content-type", "application/json")
_VERSION = ("anthropic-version", VERSION)
_PATHS = {"messages": "/messages", "count_tokens": "/messages/count_tokens"}


class Anthropic(Translated):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "anthropic"
    title: ClassVar[str] = "Anthropic"
    base_path: ClassVar[str] = "/v1"
    drops: ClassVar[frozenset[str]] = frozenset(
        {"seed", "penalties", "parallel_tool_calls", "json_object", "json_schema"}
    )
    """JSON is made by a forced tool where the model has no form of its own for it."""

    # --- its own formats ------------------------------------------------------------------

    def native(self, format_: str, target: TargetPolicy) -> bool:  # noqa: ARG002 - the door's shape
        """Messages, and the counting of their tokens."""
        return format_ in _PATHS

    def endpoint(self, format_: str, target: TargetPolicy) -> str:
        """Where a body of one of them goes."""
        return self.base(target) + _PATHS[format_]

    def write_native(self, request: ClientRequest, body: bytes, target: TargetPolicy) -> Wire:
        """A client's own body: only the model is another. The client's `anthropic-beta` goes
        along, and its `anthropic-version` if it sent one."""
        return Wire(
            self.endpoint(request.format, target),
            strict_json.splice(request.passing(body), {"model": target.model}),
            (_JSON,),
            defaults=(_VERSION,),
        )

    def read_count(self, body: bytes) -> Counted:
        """`{"input_tokens": N}`. Raises what msgspec raises."""
        return answer.counted(body)

    # --- translated -----------------------------------------------------------------------

    def refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What Anthropic cannot be asked for."""
        return refusal(_chat(request), target.model, request.uses)

    def write_chat(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST /v1/messages`. Raises ValueError."""
        written = write(_chat(request), target.model, target.output_cap)
        return Wire(
            self.endpoint("messages", target),
            written.body,
            (_VERSION, _JSON, *beta_headers(written.betas)),
            written.warnings,
            written.reply,
        )

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole message. Raises BadAnswerError, or what msgspec raises."""
        return answer.whole(body, int(self.clock()), reply)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream of message events."""
        return Reader(writer, int(self.clock()), reply)

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """`{"type": "error", "error": {…}}`."""
        return problems.of_error(status, tree, headers, body)

    def limits(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """`anthropic-ratelimit-…`."""
        return problems.limits(headers)


def _chat(request: ClientRequest) -> ChatRequest:
    if request.chat is None:
        raise ValueError("no chat request")
    return request.chat
