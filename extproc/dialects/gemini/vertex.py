"""Vertex AI: Gemini under other paths, and Claude.

Models stand under a project's location; `base_path` replaces that part of the path (`/v1` is the
"express mode", which has neither). Google's own models take what the Developer API's take, but
for counting and embeddings. Claude takes Anthropic's messages by `rawPredict`, with the version
in the body and the model in the path.

Sources: cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, and Anthropic's
SDK for Vertex AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
from msgspec import structs

from extproc import strict_json
from extproc.dialects import ClientRequest, Counted, Failure, Reply, StreamReader, Wire
from extproc.dialects.anthropic import Anthropic
from extproc.dialects.anthropic.request import (
    VERTEX_VERSION,
    beta_headers,
    body_for_vertex,
    native_for_vertex,
)
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.clients.embeddings import EmbeddingsRequest
from extproc.dialects.gemini import embeddings
from extproc.dialects.gemini.body import Request
from extproc.dialects.gemini.dialect import JSON, Gemini
from extproc.dialects.provider import EMBEDDINGS_LACK
from extproc.policy import TargetPolicy


class ClaudeReply(Reply, frozen=True):
    """The answer comes in Anthropic's format."""


class Vertex(Gemini):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "vertex"
    title: ClassVar[str] = "Vertex AI"
    base_path: ClassVar[str] = "/v1"
    drops: ClassVar[frozenset[str]] = Gemini.drops | Anthropic.drops
    vertex: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._claude = Anthropic(clock=self.clock, mint=self.mint)

    # --- where ----------------------------------------------------------------------------

    def base(self, target: TargetPolicy) -> str:
        """What stands in front of a publisher's models."""
        if target.base_path is not None:
            return target.base_path.rstrip("/")
        if target.project is None:
            return self.base_path
        project = quote(target.project, safe="-_.:~")
        location = quote(target.location or "global", safe="-_.~")
        return f"{self.base_path}/projects/{project}/locations/{location}"

    def resource(self, target: TargetPolicy) -> str:
        """A model of Google's, or what else the name is the path of (`endpoints/123`)."""
        model = target.model
        path = model if "/" in model else f"publishers/google/models/{model}"
        return f"{self.base(target)}/{quote(path, safe='/@.-_~')}"

    def _claudes(self, target: TargetPolicy, method: str) -> str:
        model = quote(_claude_name(target), safe="@.-_~")
        return f"{self.base(target)}/publishers/anthropic/models/{model}:{method}"

    # --- Claude's own formats -------------------------------------------------------------

    def native(self, format_: str, target: TargetPolicy) -> bool:
        """Claude's are messages, and the counting of their tokens."""
        return _is_claude(target) and self._claude.native(format_, target)

    def write_native(self, request: ClientRequest, body: bytes, target: TargetPolicy) -> Wire:
        """A client's own body: the model stands in the path, or, for counting, in the body."""
        body = request.passing(body)
        if request.format == "count_tokens":
            path = f"{self.base(target)}/publishers/anthropic/models/count-tokens:rawPredict"
            named = {"model": _claude_name(target), "anthropic_version": VERTEX_VERSION}
            return Wire(path, strict_json.splice(body, named), JSON)
        return Wire(self._claudes(target, _method(request)), native_for_vertex(body), JSON)

    # --- translated -----------------------------------------------------------------------

    def refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What the model cannot be asked for."""
        if _is_claude(target):
            return self._claude.refusal(request, _claude_target(target))
        return super().refusal(request, target)

    def write_chat(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """`:generateContent` and `:streamGenerateContent`, or `:rawPredict` and
        `:streamRawPredict`."""
        if not _is_claude(target):
            return super().write_chat(request, target)
        if request.chat is None:
            raise ValueError("no chat request")
        written = body_for_vertex(request.chat, _claude_name(target), target.output_cap)
        known = structs.asdict(written.reply)
        headers = (*JSON, *beta_headers(written.betas))
        path = self._claudes(target, _method(request))
        return Wire(path, written.body, headers, written.warnings, ClaudeReply(**known))

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole answer."""
        if isinstance(reply, ClaudeReply):
            return self._claude.read_chat(body, reply)
        return super().read_chat(body, reply)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream."""
        if isinstance(reply, ClaudeReply):
            return self._claude.stream(writer, reply)
        return super().stream(writer, reply)

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """Google's errors or, from behind them, Anthropic's."""
        if tree.get("type") == "error":
            return self._claude.of_error(status, tree, headers, body)
        return super().of_error(status, tree, headers, body)

    # --- counting and embeddings ----------------------------------------------------------

    def write_count(self, request: ClientRequest, target: TargetPolicy) -> Wire | Counted:
        """`:countTokens`."""
        if _is_claude(target):
            return self._claude.write_count(request, target)
        return super().write_count(request, target)

    def count_body(self, body: Request, target: TargetPolicy) -> bytes:  # noqa: ARG002 - the model stands in the path
        """What is counted stands in the body itself."""
        return msgspec.json.encode(
            msgspec.structs.replace(body, tool_config=None, service_tier=None)
        )

    def method(self, asked: EmbeddingsRequest, target: TargetPolicy) -> str:
        """The endpoint that takes the embeddings request."""
        return embeddings.vertex_method(asked, target.model)

    def embeddings_refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What of an embeddings request cannot be carried."""
        if _is_claude(target):
            return EMBEDDINGS_LACK.format("Claude")
        return super().embeddings_refusal(request, target)

    def write_embeddings(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """Only of Google's models. Raises ValueError."""
        if _is_claude(target):
            raise ValueError(EMBEDDINGS_LACK.format("Claude"))
        return super().write_embeddings(request, target)

    def embeddings_body(self, asked: EmbeddingsRequest, method: str, target: TargetPolicy) -> bytes:  # noqa: ARG002 - the model stands in the path
        """The endpoint's body."""
        return embeddings.vertex(asked, method)


def _is_claude(target: TargetPolicy) -> bool:
    return target.model.rpartition("/")[2].startswith("claude")


def _claude_name(target: TargetPolicy) -> str:
    return target.model.rpartition("/")[2]


def _claude_target(target: TargetPolicy) -> TargetPolicy:
    return msgspec.structs.replace(target, model=_claude_name(target))


def _method(request: ClientRequest) -> str:
    return "streamRawPredict" if request.stream else "rawPredict"
