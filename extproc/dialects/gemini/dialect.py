"""Gemini's generateContent at Google's AI endpoint, the Developer API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar
from urllib.parse import quote

import msgspec

from extproc.dialects import ClientRequest, Counted, Failure, Reply, StreamReader, Vectors, Wire
from extproc.dialects.chat.completion import Completion, Count, Writer
from extproc.dialects.clients.embeddings import EmbeddingsRequest
from extproc.dialects.gemini import answer, embeddings, problems
from extproc.dialects.gemini.body import CountRequest, Request
from extproc.dialects.gemini.media import Carrier, carrier_of
from extproc.dialects.gemini.reader import Reader
from extproc.dialects.gemini.request import Translation, asked_for, refusal
from extproc.dialects.provider import Translated
from extproc.policy import TargetPolicy

JSON: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


class _Tokens(msgspec.Struct, rename="camel"):
    """What countTokens answers; a count of 0 is left out."""

    total_tokens: Count = 0


class Gemini(Translated):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "gemini"
    title: ClassVar[str] = "Gemini"
    base_path: ClassVar[str] = "/v1beta"
    drops: ClassVar[frozenset[str]] = frozenset({"parallel_tool_calls"})
    vertex: ClassVar[bool] = False
    """It is Vertex AI: bodies and what they may hold differ a little."""

    # --- where ----------------------------------------------------------------------------

    def resource(self, target: TargetPolicy) -> str:
        """The model's path in front of the method."""
        return f"{self.base(target)}/{_resource(target.model)}"

    def carrier(self, target: TargetPolicy) -> Carrier:
        """What the target's model takes."""
        return carrier_of(self.title, target.model, vertex=self.vertex)

    # --- chat -----------------------------------------------------------------------------

    def refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What Gemini cannot be asked for."""
        return refusal(request, self.carrier(target))

    def write_chat(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST …/models/{model}:generateContent`, or `:streamGenerateContent`."""
        if found := asked_for(request, self.carrier(target)):
            raise ValueError(found)
        translated = self._translated(request, target)
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return Wire(
            f"{self.resource(target)}:{method}",
            translated.encode(),
            JSON,
            tuple(translated.warnings),
            _PLAIN if translated.json_tool is None else Reply(json_tool=translated.json_tool),
        )

    def _translated(self, request: ClientRequest, target: TargetPolicy) -> Translation:
        if request.chat is None:
            raise ValueError("not a chat request")
        return Translation(request.chat, self.carrier(target))

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole answer."""
        return answer.read(body, reply, int(self.clock()), self.mint)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream of answers."""
        return Reader(writer, reply, int(self.clock()), self.mint)

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """An error body that is a JSON object."""
        return problems.of_error(status, tree, headers, body)

    # --- counting -------------------------------------------------------------------------

    def write_count(self, request: ClientRequest, target: TargetPolicy) -> Wire | Counted:
        """`POST …/models/{model}:countTokens`; an estimate of what cannot be carried."""
        try:
            translated = self._translated(request, target)
        except ValueError:
            return super().write_count(request, target)
        path = f"{self.resource(target)}:countTokens"
        body = self.count_body(translated.body, target)
        return Wire(path, body, JSON, (), Reply(kind="count_tokens"))

    def count_body(self, body: Request, target: TargetPolicy) -> bytes:
        """What is counted: a whole request stands under a name of its own."""
        named = msgspec.structs.replace(body, model=_resource(target.model))
        return msgspec.json.encode(CountRequest(named))

    def read_count(self, body: bytes) -> Counted:
        """What countTokens said."""
        return Counted(_TOKENS.decode(body).total_tokens)

    # --- embeddings -----------------------------------------------------------------------

    def method(self, asked: EmbeddingsRequest, target: TargetPolicy) -> str:  # noqa: ARG002 - Vertex AI has several
        """The endpoint that takes the embeddings request."""
        return "batchEmbedContents"

    def embeddings_refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What of an embeddings request cannot be carried."""
        asked = _embeddings(request)
        return embeddings.refusal(asked, self.method(asked, target))

    def write_embeddings(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST …/models/{model}:batchEmbedContents`, or another of Vertex AI's."""
        asked = _embeddings(request)
        method = self.method(asked, target)
        if refusal := embeddings.refusal(asked, method):
            raise ValueError(refusal)
        reply = Reply(
            kind="embeddings", model=target.model, base64=asked.encoding_format == "base64"
        )
        path = f"{self.resource(target)}:{method}"
        return Wire(path, self.embeddings_body(asked, method, target), JSON, (), reply)

    def embeddings_body(self, asked: EmbeddingsRequest, method: str, target: TargetPolicy) -> bytes:  # noqa: ARG002 - Vertex AI has several
        """The endpoint's body."""
        return embeddings.developer(asked, _resource(target.model))

    def read_embeddings(self, body: bytes, reply: Reply) -> Vectors:
        """A whole answer to an embeddings request."""
        return embeddings.read(body, reply)


def _embeddings(request: ClientRequest) -> EmbeddingsRequest:
    if request.embeddings is None:
        raise ValueError("not an embeddings request")
    return request.embeddings


_PLAIN = Reply()
_TOKENS = msgspec.json.Decoder(_Tokens)


@lru_cache(maxsize=256)
def _resource(model: str) -> str:
    return quote(model if "/" in model else f"models/{model}", safe="/@.-_~")
