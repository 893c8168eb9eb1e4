"""Cohere's chat API, version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from extproc.dialects import ClientRequest, Failure, Reply, StreamReader, Vectors, Wire
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.cohere import answer, embeddings, problems, request, stream
from extproc.dialects.provider import Translated
from extproc.policy import TargetPolicy


class Cohere(Translated):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "cohere"
    title: ClassVar[str] = "Cohere"
    base_path: ClassVar[str] = "/v2"
    drops: ClassVar[frozenset[str]] = frozenset({"parallel_tool_calls"})

    def refusal(self, asked: ClientRequest, target: TargetPolicy) -> str | None:
        """What Cohere cannot be asked for."""
        assert asked.chat is not None  # noqa: S101 - `Translated` asks for no other
        return request.lacks(asked.chat, asked.uses, target.model)

    def write_chat(self, asked: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST /v2/chat`."""
        assert asked.chat is not None  # noqa: S101 - `Translated` asks for no other
        if refusal := request.lacks(asked.chat, asked.uses, target.model):
            raise ValueError(refusal)
        made = request.translate(asked.chat, target.model)
        reply = Reply(json_tool=made.json_tool, model=target.model)
        return Wire(f"{self.base(target)}/chat", made.body, (), made.warnings, reply)

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole answer."""
        return answer.translate(body, int(self.clock()), reply)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream of events."""
        return stream.Reader(writer, int(self.clock()), reply)

    def embeddings_refusal(self, asked: ClientRequest, target: TargetPolicy) -> str | None:  # noqa: ARG002 - the same for every target
        """What of an embeddings request Cohere lacks."""
        assert asked.embeddings is not None  # noqa: S101 - `Translated` asks for no other
        return embeddings.refusal(asked.embeddings)

    def write_embeddings(self, asked: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST /v2/embed`."""
        given = asked.embeddings
        assert given is not None  # noqa: S101 - `Translated` asks for no other
        body = embeddings.translate(given, target.model)
        base64 = given.encoding_format == "base64"
        reply = Reply("embeddings", model=target.model, base64=base64)
        return Wire(f"{self.base(target)}/embed", body, (), (), reply)

    def read_embeddings(self, body: bytes, reply: Reply) -> Vectors:
        """A whole answer to it."""
        return embeddings.read(body, reply.model, base64=reply.base64)

    def limits(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """Rate limits under OpenAI's names."""
        return problems.limits(headers)

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """An error object under a status."""
        return problems.of_error(status, tree, headers, body)
